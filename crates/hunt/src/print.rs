//! Rows as text: a table for people, NDJSON and CSV for programs.

use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::arrow::{csv, json};

use crate::Result;

/// How rows are written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Aligned columns with borders.
    Table,
    /// One JSON object a line; nulls are left out.
    Ndjson,
    /// A header line, then one line a row; lists as JSON-like text.
    Csv,
}

/// Writes batches out. Without rows, a table and CSV still have their header if there is any batch.
///
/// # Errors
/// When a column has a type that the layout cannot express.
pub fn layout(batches: &[RecordBatch], layout: Layout) -> Result<String> {
    let mut bytes = Vec::new();
    match layout {
        Layout::Table => return Ok(format!("{}\n", pretty_format_batches(batches)?)),
        Layout::Ndjson => {
            let mut writer = json::LineDelimitedWriter::new(&mut bytes);
            for batch in batches {
                writer.write(batch)?;
            }
            writer.finish()?;
        }
        Layout::Csv => {
            let mut writer = csv::WriterBuilder::new().with_header(true).build(&mut bytes);
            for batch in batches {
                writer.write(&lists_as_text(batch)?)?;
            }
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// CSV has no lists.
fn lists_as_text(batch: &RecordBatch) -> Result<RecordBatch> {
    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::DataType;
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let array: ArrayRef = match column.data_type() {
            DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_) => {
                let options = FormatOptions::default();
                let formatter = ArrayFormatter::try_new(column, &options)?;
                let rows = (0..column.len()).map(|row| Some(formatter.value(row).to_string()));
                std::sync::Arc::new(rows.collect::<StringArray>())
            }
            _ => std::sync::Arc::clone(column),
        };
        Ok((field.name().clone(), array, true))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn layouts_hold_the_same_rows() {
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
            ("s", Arc::new(StringArray::from(vec![Some("a,b"), None])) as ArrayRef),
        ])
        .unwrap();
        let batches = [batch];
        assert_eq!(layout(&batches, Layout::Ndjson).unwrap(), "{\"n\":1,\"s\":\"a,b\"}\n{\"n\":2}\n");
        assert_eq!(layout(&batches, Layout::Csv).unwrap(), "n,s\n1,\"a,b\"\n2,\n");
        assert!(layout(&batches, Layout::Table).unwrap().contains("a,b"));
    }
}
