//! Cells as text, whatever their type.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// The texts of an array, nulls left out.
pub(super) fn strings(values: &ArrayRef) -> Vec<String> {
    if let Some(texts) = values.as_string_opt::<i32>() {
        return texts.iter().flatten().map(str::to_owned).collect();
    }
    (0..values.len()).filter(|&row| values.is_valid(row)).map(|row| shown(values, row)).collect()
}

/// One cell.
pub(super) fn shown(column: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default();
    ArrayFormatter::try_new(column, &options).map(|f| f.value(row).to_string()).unwrap_or_default()
}
