//! Delta's per-file statistics, from the footer of a Parquet file.

use palisade_events::time::format_rfc3339;
use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};

/// The statistics of a file as JSON: rows, and smallest, largest and null count of the named columns.
pub(super) fn of(footer: &ParquetMetaData, columns: &[&str]) -> String {
    let (mut smallest, mut largest, mut nulls) = (Map::new(), Map::new(), Map::new());
    let descriptor = footer.file_metadata().schema_descr();
    for index in 0..descriptor.num_columns() {
        let path = descriptor.column(index).path().parts().to_vec();
        let [name] = path.as_slice() else { continue };
        if !columns.contains(&name.as_str()) {
            continue;
        }
        let chunks: Vec<&ColumnChunkMetaData> = footer.row_groups().iter().map(|group| group.column(index)).collect();
        let Some(stats) = chunks.iter().map(|chunk| chunk.statistics()).collect::<Option<Vec<_>>>() else { continue };
        let Some(count) = stats.iter().map(|s| s.null_count_opt()).sum::<Option<u64>>() else { continue };
        nulls.insert(name.clone(), count.into());
        let logical = descriptor.column(index).logical_type_ref().cloned();
        let bounds: Vec<(Bound, Bound)> = stats.iter().filter_map(|s| bounds(s, logical.as_ref())).collect();
        // A chunk without bounds must be one of nulls only; otherwise nothing is known of the file.
        let known = stats.iter().zip(&chunks).all(|(s, chunk)| {
            bounds_known(s, logical.as_ref()) || s.null_count_opt() == Some(chunk.num_values() as u64)
        });
        if known {
            let min = bounds.iter().map(|(min, _)| min).min().map(Bound::to_json);
            let max = bounds.iter().map(|(_, max)| max).max().map(Bound::to_json);
            smallest.extend(min.map(|min| (name.clone(), min)));
            largest.extend(max.map(|max| (name.clone(), max)));
        }
    }
    json!({
        "numRecords": footer.file_metadata().num_rows(),
        "minValues": smallest,
        "maxValues": largest,
        "nullCount": nulls,
    })
    .to_string()
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Long(i64),
    Time(i64),
    Text(String),
}

impl Bound {
    fn to_json(&self) -> Value {
        match self {
            Bound::Long(long) => (*long).into(),
            Bound::Time(time) => format_rfc3339(*time).into(),
            Bound::Text(text) => text.as_str().into(),
        }
    }
}

fn bounds_known(stats: &Statistics, logical: Option<&LogicalType>) -> bool {
    bounds(stats, logical).is_some()
}

fn bounds(stats: &Statistics, logical: Option<&LogicalType>) -> Option<(Bound, Bound)> {
    let is_time = matches!(logical, Some(LogicalType::Timestamp(t)) if t.unit == TimeUnit::MICROS);
    match stats {
        Statistics::Int64(s) => {
            let bound = |value: i64| if is_time { Bound::Time(value) } else { Bound::Long(value) };
            Some((bound(*s.min_opt()?), bound(*s.max_opt()?)))
        }
        Statistics::Int32(s) => Some((Bound::Long((*s.min_opt()?).into()), Bound::Long((*s.max_opt()?).into()))),
        Statistics::ByteArray(s) => {
            // Long values were cut by the encoder, the largest upwards, so that they still bound every row.
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(|text| Bound::Text(text.to_owned()));
            Some((text(s.min_bytes_opt()?)?, text(s.max_bytes_opt()?)?))
        }
        _ => None,
    }
}
