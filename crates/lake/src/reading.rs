//! Rows that come back from a table: a scan of some columns, and the types that they went in with.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use deltalake::DeltaTable;
use deltalake::datafile::datafusion_ext::DataFusionDataReader;
use deltalake::datafile::{BatchStream, DeltaDataReader, ReadOptions};
use deltalake::delta_datafusion::create_session;

use crate::Result;

/// Some columns of a table. (`scan_table` counts columns in another order than it reads them in, where a partition column
/// is not the last one.)
pub(crate) async fn scan(delta: &DeltaTable, columns: &[&str]) -> Result<BatchStream> {
    let session = Arc::new(create_session().state());
    let reader = DataFusionDataReader::try_new(delta, session).await?;
    let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    Ok(reader.read(ReadOptions::default().with_projection(columns)).await?)
}

/// The columns of `schema`, by name, cast to its types: readers may hand out views or other list names.
pub(crate) fn cast_to(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        let found = batch.schema().index_of(field.name())?;
        Ok(cast(batch.column(found), field.data_type())?)
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    let fields: Vec<_> = schema.fields().iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true))).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
