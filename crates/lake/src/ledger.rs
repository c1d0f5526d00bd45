//! The ledger of files: which were read, under which identity, and how far.
//!
//! A file grows, is rotated, or turns up compressed; a source compares what it finds with these rows. Not here: that
//! comparison.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;

use crate::{Lake, Result, Table};

/// A file, and how far it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// Cut that recorded it.
    pub cut: i64,
    /// Name of the source in the configuration.
    pub source: String,
    /// Hash of its first record.
    pub fingerprint: String,
    /// Tells files apart that share a fingerprint.
    pub generation: u32,
    /// Path as it was last seen.
    pub path: String,
    /// Records read.
    pub records: i64,
    /// Bytes read, uncompressed.
    pub bytes: i64,
    /// Hash of the bytes read.
    pub prefix_hash: String,
    /// `none`, `gzip`, `zstd` …
    pub compression: String,
}

/// Files as rows of the sources table.
///
/// # Errors
/// When Arrow refuses the columns, which only memory limits can cause.
pub fn sources_batch(files: &[KnownFile]) -> Result<RecordBatch> {
    let text = |get: fn(&KnownFile) -> &str| -> ArrayRef {
        Arc::new(files.iter().map(|file| Some(get(file))).collect::<StringArray>())
    };
    let long = |get: fn(&KnownFile) -> i64| -> ArrayRef {
        Arc::new(files.iter().map(|file| Some(get(file))).collect::<Int64Array>())
    };
    let columns = vec![
        long(|f| f.cut),
        text(|f| &f.source),
        text(|f| &f.fingerprint),
        long(|f| f.generation.into()),
        text(|f| &f.path),
        long(|f| f.records),
        long(|f| f.bytes),
        text(|f| &f.prefix_hash),
        text(|f| &f.compression),
    ];
    Ok(RecordBatch::try_new(Table::Sources.schema(), columns)?)
}

impl Lake {
    /// The files of the ledger, each as of its newest cut, by (source, fingerprint, generation).
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn known_files(&mut self) -> Result<Vec<KnownFile>> {
        let schema = Table::Sources.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut newest: BTreeMap<(String, String, u32), KnownFile> = BTreeMap::new();
        for batch in self.rows(Table::Sources, &names).await? {
            for file in files_of(&batch)? {
                let key = (file.source.clone(), file.fingerprint.clone(), file.generation);
                match newest.get(&key) {
                    Some(known) if (known.cut, known.records) > (file.cut, file.records) => {}
                    _ => drop(newest.insert(key, file)),
                }
            }
        }
        Ok(newest.into_values().collect())
    }
}

fn files_of(batch: &RecordBatch) -> Result<Vec<KnownFile>> {
    let columns = crate::reading::cast_to(batch, &Table::Sources.schema())?;
    let text = |column: usize| cast(columns.column(column), &DataType::Utf8);
    let long = |column: usize| columns.column(column).as_primitive::<Int64Type>();
    let (source, fingerprint, path, prefix, compression) = (text(1)?, text(2)?, text(4)?, text(7)?, text(8)?);
    let text_at = |array: &ArrayRef, row: usize| array.as_string::<i32>().value(row).to_owned();
    Ok((0..columns.num_rows())
        .map(|row| KnownFile {
            cut: long(0).value(row),
            source: text_at(&source, row),
            fingerprint: text_at(&fingerprint, row),
            generation: u32::try_from(long(3).value(row)).unwrap_or_default(),
            path: text_at(&path, row),
            records: long(5).value(row),
            bytes: long(6).value(row),
            prefix_hash: text_at(&prefix, row),
            compression: text_at(&compression, row),
        })
        .collect())
}
