//! How each column of each table is written to Parquet: encoding, dictionaries, statistics, bloom filters.
//!
//! Maintenance uses the same properties, since merging files with others would drop their bloom filters.

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::WriterOptions;
use crate::{Result, Table};

/// Chance that a bloom filter lets a row group through that does not hold the value.
const BLOOM_FPP: f64 = 0.01;

/// Text that is different in nearly every row: a dictionary of it would be built and then thrown away.
const DISTINCT_TEXT: [&str; 9] = [
    "event_uid",
    "time_original",
    "metadata_original_uid",
    "metadata_correlation_uid",
    "process_uid",
    "finding_uid",
    "excerpt",
    "evidence",
    "explanation",
];

/// Numbers that mostly grow from row to row.
const GROWING: [&str; 10] = [
    "time",
    "metadata_logged_time",
    "lane_max_before",
    "record_offset",
    "line",
    "first_seen",
    "last_seen",
    "detected_at",
    "window_start",
    "window_end",
];

/// The Parquet writer properties of a table.
///
/// # Errors
/// When the zstd level is none.
pub fn writer_properties(table: Table, options: &WriterOptions) -> Result<WriterProperties> {
    let column = |name: &str| ColumnPath::from(name);
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("palisade-lake ", env!("CARGO_PKG_VERSION")).into())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(options.zstd_level)?))
        .set_max_row_group_row_count(Some(options.group_rows_max))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(false)
        .set_coerce_types(true);
    // Plain text goes into the page as it is; other encodings would copy it once more.
    properties = properties.set_column_dictionary_enabled(column("raw"), false);
    for (names, encoding) in
        [(&DISTINCT_TEXT[..], Encoding::DELTA_LENGTH_BYTE_ARRAY), (&GROWING[..], Encoding::DELTA_BINARY_PACKED)]
    {
        for name in names {
            properties = properties
                .set_column_dictionary_enabled(column(name), false)
                .set_column_encoding(column(name), encoding);
        }
    }
    for name in table.statistics() {
        properties = properties.set_column_statistics_enabled(column(name), EnabledStatistics::Chunk);
    }
    if let Some(name) = table.dated_by() {
        properties = properties.set_column_statistics_enabled(column(name), EnabledStatistics::Page);
    }
    for name in table.blooms() {
        // A filter is sized for a full row group and folded down to what the rows need when it is written.
        properties = properties
            .set_column_bloom_filter_enabled(column(name), true)
            .set_column_bloom_filter_fpp(column(name), BLOOM_FPP)
            .set_column_bloom_filter_max_ndv(column(name), options.group_rows_max as u64);
    }
    Ok(properties.build())
}
