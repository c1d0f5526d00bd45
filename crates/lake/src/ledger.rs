//! The ledger of files: which were read, under which identity, and how far.
//!
//! One row for every cut that read on in a file. A file grows, is rotated, or turns up compressed; a source compares what
//! it finds with these rows. Not here: that comparison.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;

use crate::{Lake, Result, Table};

/// A file, and how far it was read at a cut.
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
    /// Bytes that were ever read, uncompressed: more than `bytes` where a crash left tables ahead of the ledger.
    pub far_bytes: i64,
    /// Hash of those bytes.
    pub far_hash: String,
}

/// Files of a job as rows of the sources table.
///
/// # Errors
/// When Arrow refuses the columns, which only memory limits can cause.
pub fn sources_batch(job: &str, files: &[KnownFile]) -> Result<RecordBatch> {
    let text = |get: fn(&KnownFile) -> &str| -> ArrayRef {
        Arc::new(files.iter().map(|file| Some(get(file))).collect::<StringArray>())
    };
    let long = |get: fn(&KnownFile) -> i64| -> ArrayRef {
        Arc::new(files.iter().map(|file| Some(get(file))).collect::<Int64Array>())
    };
    let columns = vec![
        Arc::new(files.iter().map(|_| Some(job)).collect::<StringArray>()) as ArrayRef,
        long(|f| f.cut),
        text(|f| &f.source),
        text(|f| &f.fingerprint),
        long(|f| f.generation.into()),
        text(|f| &f.path),
        long(|f| f.records),
        long(|f| f.bytes),
        text(|f| &f.prefix_hash),
        text(|f| &f.compression),
        long(|f| f.far_bytes),
        text(|f| &f.far_hash),
    ];
    Ok(RecordBatch::try_new(Table::Sources.schema(), columns)?)
}

impl Lake {
    /// The ledger of a job as far as a run needs it that goes on from a cut: of each file the newest row up to that cut,
    /// and every row after it. Ordered by (source, fingerprint, generation, cut, records).
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn known_files(&mut self, job: &str, cut: i64) -> Result<Vec<KnownFile>> {
        let schema = Table::Sources.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut settled: BTreeMap<(String, String, u32), KnownFile> = BTreeMap::new();
        let mut files = Vec::new();
        for batch in self.rows(Table::Sources, &names).await? {
            for file in files_of(&batch, job)? {
                if file.cut > cut {
                    files.push(file);
                    continue;
                }
                let key = (file.source.clone(), file.fingerprint.clone(), file.generation);
                match settled.get(&key) {
                    Some(known) if (known.cut, known.records) > (file.cut, file.records) => {}
                    _ => drop(settled.insert(key, file)),
                }
            }
        }
        files.extend(settled.into_values());
        let order = |f: &KnownFile| (f.source.clone(), f.fingerprint.clone(), f.generation, f.cut, f.records);
        files.sort_by_cached_key(order);
        Ok(files)
    }
}

fn files_of(batch: &RecordBatch, job: &str) -> Result<Vec<KnownFile>> {
    let columns = crate::reading::cast_to(batch, &Table::Sources.schema())?;
    let text = |column: usize| cast(columns.column(column), &DataType::Utf8);
    let long = |column: usize| columns.column(column).as_primitive::<Int64Type>();
    let (jobs, source, fingerprint) = (text(0)?, text(2)?, text(3)?);
    let (path, prefix, compression, far_hash) = (text(5)?, text(8)?, text(9)?, text(11)?);
    let text_at = |array: &ArrayRef, row: usize| array.as_string::<i32>().value(row).to_owned();
    Ok((0..columns.num_rows())
        .filter(|row| jobs.as_string::<i32>().value(*row) == job)
        .map(|row| KnownFile {
            cut: long(1).value(row),
            source: text_at(&source, row),
            fingerprint: text_at(&fingerprint, row),
            generation: u32::try_from(long(4).value(row)).unwrap_or_default(),
            path: text_at(&path, row),
            records: long(6).value(row),
            bytes: long(7).value(row),
            prefix_hash: text_at(&prefix, row),
            compression: text_at(&compression, row),
            far_bytes: long(10).value(row),
            far_hash: text_at(&far_hash, row),
        })
        .collect())
}
