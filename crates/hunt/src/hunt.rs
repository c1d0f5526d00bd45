//! A read-only session over a lake.

use arrow::record_batch::RecordBatch;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{Stream, StreamExt, TryStreamExt};
use palisade_events::EventBatch;
use palisade_lake::{Lake, LakeOptions, Table};

use crate::{Error, Result, views};

/// Bounds on what an answer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most rows that [`Hunt::sql`] collects: an analyst's screen and memory, not an export.
    pub rows_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows_max: 1_000_000 }
    }
}

/// A snapshot of a lake, open for queries. Commits that land later are seen by a new hunt.
///
/// Tables: `events`, `findings`, `rejects`, `coverage`, `decisions`, `sources`, `dispositions`. Views: `events_ecs` (ECS
/// names), `findings_open` (without those that analysts closed), `findings_grouped` (one row per group).
pub struct Hunt {
    context: SessionContext,
    limits: Limits,
}

impl Hunt {
    /// Opens a lake's newest version.
    ///
    /// # Errors
    /// When there is no lake at `url`, or its tables cannot be read.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(url, LakeOptions::default(), Limits::default()).await
    }

    /// Opens a lake's newest version, with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(url: &str, options: LakeOptions, limits: Limits) -> Result<Self> {
        let mut lake = Lake::open_existing_with(url, options).await?;
        let config = SessionConfig::new().with_information_schema(true);
        let context = SessionContext::new_with_config(config);
        for table in Table::ALL {
            let delta = lake.delta(table).await?;
            delta.update_datafusion_session(&context.state()).map_err(palisade_lake::Error::from)?;
            let provider = delta.table_provider().await.map_err(palisade_lake::Error::from)?;
            context.register_table(table.name(), provider)?;
        }
        for view in views::all() {
            context.sql(&view).await?;
        }
        Ok(Self { context, limits })
    }

    /// The session, for callers that build plans themselves.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Answers a query. Statements that would change anything are refused.
    ///
    /// # Errors
    /// When the query is wrong or fails, or the answer is larger than the bound.
    pub async fn sql(&self, query: &str) -> Result<Vec<RecordBatch>> {
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let mut rows = self.context.sql_with_options(query, read_only).await?.execute_stream().await?;
        let (mut batches, mut count) = (Vec::new(), 0);
        while let Some(batch) = rows.try_next().await? {
            count += batch.num_rows();
            if count > self.limits.rows_max {
                return Err(Error::TooManyRows { rows_max: self.limits.rows_max });
            }
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Events of the past as batches, for rules and detectors that run over history. `filter` is a SQL condition.
    ///
    /// # Errors
    /// When the condition is wrong or the scan fails.
    pub async fn events(&self, filter: &str) -> Result<impl Stream<Item = Result<EventBatch>> + use<>> {
        let query = format!("SELECT * FROM events WHERE {filter}");
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let rows = self.context.sql_with_options(&query, read_only).await?.execute_stream().await?;
        Ok(rows.map(|batch| Ok(EventBatch::from_columns(&batch?)?)))
    }
}

impl std::fmt::Debug for Hunt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hunt").field("limits", &self.limits).finish_non_exhaustive()
    }
}
