//! Files read back as what was written, by readers that know nothing of us.

use arrow::array::{StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::reading::cast_to;
use crate::testing::{NOON, events};

fn read(file: &DataFile) -> RecordBatch {
    let bytes = file.bytes.iter().flat_map(|part| part.to_vec()).collect::<Vec<u8>>();
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    let schema = Arc::clone(builder.schema());
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn write(batches: &[EventBatch], options: WriterOptions) -> Vec<DataFile> {
    let mut writer = EventWriter::new(options);
    for batch in batches {
        writer.push(batch).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn events_come_back_with_every_column_and_plain_strings() {
    let batch = events(0, 0..1000);
    let files = write(std::slice::from_ref(&batch), WriterOptions::default());
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].partition["date"], "2026-01-31");
    assert_eq!(files[0].partition["class_uid"], "6003");
    assert!(files[0].path.starts_with("date=2026-01-31/class_uid=6003/part-"), "{}", files[0].path);
    let found = read(&files[0]);
    assert_eq!(found.num_columns(), COLUMNS.len() - 1);
    for field in found.schema().fields() {
        assert!(!matches!(field.data_type(), DataType::Dictionary(..)), "{field}");
    }
    let kept: Vec<usize> = (0..COLUMNS.len()).filter(|index| *index != col::CLASS_UID.index()).collect();
    let expected = batch.columns().project(&kept).unwrap();
    let plain: Vec<_> = schema::events_stored()
        .fields()
        .iter()
        .filter(|f| !["date", "class_uid"].contains(&f.name().as_str()))
        .cloned()
        .collect();
    let plain = Arc::new(Schema::new(plain));
    assert_eq!(cast_to(&found, &plain).unwrap(), cast_to(&expected, &plain).unwrap());
}

#[test]
fn rows_are_in_the_order_of_time_and_id_whatever_the_batching() {
    let batch = events(0, 0..300);
    let order: Vec<u32> = (0..300u32).map(|row| row * 7 % 300).collect();
    let shuffled = batch.take(&order.into()).unwrap();
    let whole = write(std::slice::from_ref(&batch), WriterOptions::default());
    for size in [1, 7, 300] {
        let pieces: Vec<EventBatch> =
            (0..300).step_by(size).map(|start| shuffled.slice(start, size.min(300 - start))).collect();
        let files = write(&pieces, WriterOptions::default());
        assert_eq!(files.len(), 1);
        assert_eq!(read(&files[0]), read(&whole[0]), "in batches of {size}");
    }
    let times = read(&whole[0]);
    let times = times.column_by_name("time").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert!(times.values().is_sorted());
}

#[test]
fn the_same_batches_give_the_same_files_and_names() {
    let batches = [events(0, 0..50), events(1, 0..50)];
    let (one, two) = (write(&batches, WriterOptions::default()), write(&batches, WriterOptions::default()));
    assert_eq!(one[0].path, two[0].path);
    assert_eq!(one[0].stats, two[0].stats);
}

#[test]
fn row_groups_and_files_are_bounded() {
    let options = WriterOptions { group_rows_max: 100, file_rows_max: 250, ..WriterOptions::default() };
    let files = write(&[events(0, 0..90), events(0, 90..1000)], options);
    assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [300, 300, 300, 100]);
}

#[test]
fn rows_are_dated_by_their_time_and_doubtful_ones_by_their_carrier() {
    let batch = events(0, 0..4);
    let mut columns = batch.columns().columns().to_vec();
    let times = |values: Vec<Option<i64>>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
    };
    let far = NOON + 400 * DAY;
    columns[col::TIME.index()] = times(vec![Some(NOON), Some(far), Some(far), Some(far)]);
    columns[col::BROKER_TIME.index()] = times(vec![None, Some(NOON + DAY), None, None]);
    columns[col::LANE_MAX_BEFORE.index()] = times(vec![None, None, Some(NOON + 2 * DAY), None]);
    columns[col::TIME_DOUBTFUL.index()] =
        Arc::new(arrow::array::BooleanArray::from(vec![None, Some(true), Some(true), Some(true)]));
    let columns = RecordBatch::try_new(schema::events(), columns).unwrap();
    let files = write(&[EventBatch::try_new(columns, Vec::new()).unwrap()], WriterOptions::default());
    let dates: Vec<&str> = files.iter().map(|file| file.partition["date"].as_str()).collect();
    assert_eq!(dates, ["1970-01-01", "2026-01-31", "2026-02-01", "2026-02-02"]);
    assert!(files.iter().all(|file| file.rows == 1));
}

#[test]
fn statistics_bound_every_row_to_the_microsecond() {
    let files = write(&[events(0, 0..10)], WriterOptions { group_rows_max: 4, ..WriterOptions::default() });
    let stats: serde_json::Value = serde_json::from_str(&files[0].stats).unwrap();
    assert_eq!(stats["numRecords"], 10);
    assert_eq!(stats["minValues"]["time"], "2026-01-31T12:00:00.000000Z");
    assert_eq!(stats["maxValues"]["time"], "2026-01-31T12:00:09.000000Z");
    assert_eq!(stats["minValues"]["actor_user_name"], "alice");
    assert_eq!(stats["maxValues"]["actor_user_name"], "system:node:n1");
    assert_eq!(stats["maxValues"]["record_offset"], 9);
    assert_eq!(stats["nullCount"]["namespace_name"], 5);
    assert_eq!(stats["nullCount"]["process_name"], 10);
    assert!(stats["minValues"].get("process_name").is_none());
    assert!(stats["minValues"].get("raw").is_none());
}

#[test]
fn a_table_writer_dates_rows_and_refuses_foreign_columns() {
    let mut writer = TableWriter::new(Table::Rejects, WriterOptions::default());
    let lane = Arc::new(palisade_events::Lane::kafka("s", "t", 0));
    let reject = |time: Option<i64>| palisade_events::Reject {
        lane: Arc::clone(&lane),
        offset: 1,
        line: None,
        time,
        reason: "not_json".into(),
        detail: String::new(),
        raw: "x".into(),
    };
    let rows = palisade_events::facts::rejects_batch(&[reject(Some(NOON)), reject(None)]).unwrap();
    writer.push(&rows).unwrap();
    let dates: Vec<_> = writer.finish().unwrap().iter().map(|file| file.partition["date"].clone()).collect();
    assert_eq!(dates, ["1970-01-01", "2026-01-31"]);
    let other = RecordBatch::try_from_iter([("a", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]).unwrap();
    assert!(matches!(writer.push(&other), Err(Error::Table { .. })));
}
