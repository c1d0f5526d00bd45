//! Lines of CSV: cut into cells, and put together again.

use crate::redact::{RedactionCounts, Redactor};

/// Cuts one record into its cells.
pub(super) fn cells(text: &str, delimiter: u8) -> Result<Vec<String>, (&'static str, String)> {
    // A quote that is left open swallows the line after it: the reader itself would take the record's end for the quote's.
    let probed = format!("{text}\nend");
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(probed.as_bytes());
    let mut records = reader.records();
    let first = records.next().ok_or(("not_csv", "no cells".to_owned()))?.map_err(|e| ("not_csv", e.to_string()))?;
    match records.count() {
        0 => Err(("not_csv", "a quote is left open: cells with line breaks are not read".to_owned())),
        1 => Ok(first.iter().map(str::to_owned).collect()),
        _ => Err(("not_csv", "several lines in one record".to_owned())),
    }
}

/// Replaces the secrets in the cells of a row, by pattern and by the name of their column.
///
/// This happens cell by cell, so that a secret's replacement never moves the cells around it.
pub(super) fn redacted(
    redactor: &Redactor,
    header: &[String],
    cells: Vec<String>,
    counts: &mut RedactionCounts,
) -> Vec<String> {
    header.iter().zip(cells).map(|(name, cell)| redactor.named(name, cell, counts)).collect()
}

/// Writes cells as one line, quoted where they need it.
pub(super) fn line(cells: &[String], delimiter: u8) -> String {
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    // Writing to memory does not fail.
    let _ = writer.write_record(cells);
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned()
}
