//! A read-only session over a lake.

mod rules;

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{SessionConfig, SessionContext, ident};
use datafusion::sql::parser::DFParser;
use futures::{Stream, StreamExt, TryStreamExt};
use palisade_events::EventBatch;
use palisade_events::schema::COLUMNS;
use palisade_lake::{Lake, LakeOptions, Table};

use crate::{Error, Result, views};

/// Bounds on what an answer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most rows that [`Hunt::sql`] collects, and findings that [`Hunt::findings_of`] does: an analyst's screen and memory,
    /// not an export.
    pub rows_max: usize,
    /// Most bytes that sorts, joins and aggregates may hold; beyond, they spill to temporary files where they can.
    pub memory_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows_max: 1_000_000, memory_bytes_max: 4 << 30 }
    }
}

/// A snapshot of a lake, open for queries. Commits that land later are seen by a new hunt.
///
/// Tables: `events`, `findings`, `rejects`, `coverage`, `objects`, `decisions`, `sources`, `dispositions`. Views:
/// `events_ecs` (ECS names), `findings_judged` (with what analysts decided last), `findings_open` (those that stand),
/// `findings_grouped` (one row per group), `object_versions` (objects with the time over which each version held),
/// `addresses` (who had which address when), `images` (which container ran what when).
///
/// What holds over a time is joined as of an event: `valid_from` is inside, `valid_to` is not, and what still holds has
/// none. The workload behind the address that a connection went to, as it was at that moment:
///
/// ```sql
/// SELECT e.time, e.process_name, e.dst_endpoint_ip, a.kind, a.namespace_name, a.workload_name
/// FROM events e LEFT JOIN addresses a
///   ON a.cluster_name = coalesce(e.cluster_name, '') AND a.address = e.dst_endpoint_ip
///   AND e.time >= a.valid_from AND (a.valid_to IS NULL OR e.time < a.valid_to)
/// WHERE e.date = '2026-03-02'
/// ```
///
/// An address leads to more than one object where they share it, such as a node and the pods on its network.
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
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(limits.memory_bytes_max, 1.0).build_arc()?;
        let state = SessionStateBuilder::new_with_default_features()
            .with_config(session_config())
            .with_runtime_env(runtime)
            .with_physical_optimizer_rules(optimizer_rules())
            .build();
        let context = SessionContext::new_with_state(state);
        for table in Table::ALL {
            let delta = lake.delta(table).await?;
            delta.update_datafusion_session(&context.state()).map_err(palisade_lake::Error::from)?;
            let provider = delta.table_provider().await?;
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
        self.events_with(filter, &[], RowOrder::Any).await
    }

    /// As [`events`](Self::events), reading only some columns (none means all; those that every event must have are
    /// always read), and in an order.
    ///
    /// # Errors
    /// When the condition or a column is wrong, or the scan fails.
    pub async fn events_with(
        &self,
        filter: &str,
        columns: &[&str],
        order: RowOrder,
    ) -> Result<impl Stream<Item = Result<EventBatch>> + use<>> {
        let events = self.context.table("events").await?;
        let condition = events.parse_sql_expr(filter)?;
        let events =
            events.filter(condition)?.sort(order.keys().iter().map(|k| ident(*k).sort(true, true)).collect())?;
        let wanted =
            COLUMNS.iter().filter(|c| columns.is_empty() || columns.contains(&c.name) || REQUIRED.contains(&c.name));
        if let Some(unknown) = columns.iter().find(|name| !COLUMNS.iter().any(|c| c.name == **name)) {
            return Err(Error::Column { name: (*unknown).to_owned() });
        }
        let events = events.select(wanted.map(|c| ident(c.name)))?;
        let rows = events.execute_stream().await?;
        Ok(rows.map(|batch| Ok(EventBatch::from_columns(&batch?)?)))
    }
}

/// Cuts a text into its statements, at the semicolons that end one: not at those in quotes or comments.
///
/// # Errors
/// When one of them is no SQL.
pub fn statements(text: &str) -> Result<Vec<String>> {
    Ok(DFParser::parse_sql(text)?.iter().map(ToString::to_string).collect())
}

/// In which order rows come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RowOrder {
    /// As they are found.
    #[default]
    Any,
    /// Lane by lane, each in its own order: as the stream saw them.
    Lane,
    /// By event time; ties by id.
    Time,
}

impl RowOrder {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Any => &[],
            Self::Lane => &["origin", "partition", "source", "record_offset", "message_index"],
            Self::Time => &["time", "event_uid"],
        }
    }
}

/// Columns without which rows are no events.
const REQUIRED: [&str; 8] = ["event_uid", "time", "class_uid", "activity_id", "source", "format", "origin", "late"];

/// DataFusion's own rules, without the one that hands a LIMIT to the scan. The scan of a Delta table promises to keep it
/// and forgets it where no column is read, as in `SELECT 1 FROM events LIMIT 1`. A limit above the scan ends it as early.
fn optimizer_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    PhysicalOptimizer::new().rules.into_iter().filter(|rule| rule.name() != "LimitPushdown").collect()
}

/// Filters run while files are decoded, on row groups that partitions, statistics and bloom filters leave over. Text
/// comes as plain strings, the type that event batches are made from.
fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new().with_information_schema(true);
    let parquet = &mut config.options_mut().execution.parquet;
    parquet.pushdown_filters = true;
    parquet.reorder_filters = true;
    parquet.bloom_filter_on_read = true;
    parquet.schema_force_view_types = false;
    config
}

impl std::fmt::Debug for Hunt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hunt").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
