//! Entities of a batch, and batches of foreign columns.

use super::*;
use crate::build::EventBuilder;
use crate::fields::{FieldPlan, FieldRef};

fn batch(pods: &[Option<&str>]) -> EventBatch {
    let mut builder = EventBuilder::new(Arc::new(FieldPlan::new(["verb"])));
    for (row, pod) in pods.iter().enumerate() {
        builder.put_text(col::EVENT_UID, &format!("{row:032x}"));
        builder.put_time(col::TIME, row as i64);
        builder.put_int(col::CLASS_UID, 0);
        builder.put_int(col::ACTIVITY_ID, 0);
        for column in [col::SOURCE, col::FORMAT, col::ORIGIN] {
            builder.put_word(column, "x");
        }
        builder.put_flag(col::LATE, false);
        builder.put_long(col::OFFSET, row as i64);
        if let Some(pod) = pod {
            builder.put_word(col::WORKLOAD_NAME, pod);
            builder.put_word(col::NAMESPACE_NAME, "prod");
        }
        builder.fields().put(0, FieldRef::Str("get"));
        builder.end_row();
    }
    builder.finish().unwrap()
}

#[test]
fn entities_are_shared_and_follow_slices() {
    let batch = batch(&[Some("web"), None, Some("db"), Some("web")]);
    let workloads = batch.entities(EntityKind::Workload);
    assert_eq!(workloads.distinct().len(), 2);
    assert_eq!(workloads.get(0).unwrap().to_string(), "workload:/prod/web");
    assert_eq!(workloads.code(1), None);
    let tail = batch.slice(2, 2);
    assert_eq!(tail.entities(EntityKind::Workload).get(0).unwrap().name, "db");
    assert_eq!(tail.fields()[0].codes(1), [0]);
}

#[test]
fn raw_fields_are_known_by_their_plan() {
    let batch = batch(&[Some("web"), None]);
    let [same, other, more] =
        [&["verb"][..], &["user"], &["user", "verb"]].map(|paths| Arc::new(FieldPlan::new(paths)));
    for (batch, is_own) in [(batch.clone(), true), (batch.slice(1, 1), true), (batch.with_fields(Vec::new()), false)] {
        assert_eq!(batch.fields_of(&same).is_some(), is_own);
        assert!(batch.fields_of(&other).is_none() && batch.fields_of(&more).is_none());
    }
    assert!(batch.with_fields(Vec::new()).fields_of(&Arc::default()).is_some());
}

#[test]
fn foreign_batches_are_cast_or_refused_by_column() {
    let batch = batch(&[Some("web")]);
    let plain = cast(batch.columns().column(col::WORKLOAD_NAME.0), &arrow::datatypes::DataType::Utf8).unwrap();
    let mut columns: Vec<(&str, ArrayRef)> = COLUMNS
        .iter()
        .zip(batch.columns().columns())
        .filter(|(c, _)| c.name != "workload_name" && c.name != "raw")
        .map(|(c, a)| (c.name, Arc::clone(a)))
        .collect();
    columns.push(("workload_name", plain));
    columns.push(("something_else", Arc::new(StringArray::from(vec!["x"]))));
    let read = EventBatch::from_columns(
        &RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, a)| (*n, Arc::clone(a), true))).unwrap(),
    )
    .unwrap();
    assert_eq!(read.word(col::WORKLOAD_NAME).get(0), Some("web"));
    columns.retain(|(name, _)| *name != "time");
    let missing =
        RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, a)| (*n, Arc::clone(a), true))).unwrap();
    assert!(EventBatch::from_columns(&missing).unwrap_err().to_string().contains("time"));
}
