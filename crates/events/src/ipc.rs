//! Record batches as bytes: Arrow's IPC stream format, for state snapshots.

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;

/// Writes one batch as an IPC stream.
///
/// # Errors
/// When Arrow cannot write the batch.
pub fn to_bytes(batch: &RecordBatch) -> crate::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

/// Reads the one batch of an IPC stream.
///
/// # Errors
/// When the bytes are no such stream.
pub fn from_bytes(bytes: &[u8]) -> crate::Result<RecordBatch> {
    let mut reader = StreamReader::try_new(bytes, None)?;
    reader
        .next()
        .ok_or_else(|| crate::Error::State { what: "partial".into(), why: "empty IPC stream".into() })?
        .map_err(Into::into)
}
