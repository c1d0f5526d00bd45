//! The retained rows of a window, the query over them, and which results are news.
//!
//! The query runs at the close of each pane that brought rows that it can need; other panes cannot make it find
//! something new, except by the absence of rows, which is not what a correlation is for. Neighbouring windows overlap, so
//! an incident shows in many: a result that shares an event with one already told of the same entity (or, without
//! evidence, comes within a window of it) is the same incident and is not told again.
//!
//! A query that fails loses no rows: they stay in the window, whose later findings say that something is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::TreeNode;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, collect};
use palisade_events::ipc;
use palisade_events::seam::{Pane, PaneCoverage};
use palisade_events::time::{Micros, SECOND};
use palisade_events::{Error as EventError, Finding};
use serde::{Deserialize, Serialize};

use self::rows::Rows;
use crate::Error;
use crate::detector::Bounds;
use crate::plan;
use crate::retain::{Keep, check_kept, ordered};
use crate::row::{Candidate, candidates};
use crate::spec::Spec;
use crate::table::{WindowTable, kept_schema};

mod rows;

/// First number of the stored shared state.
const VERSION: u32 = 1;

/// A correlation at work.
pub(crate) struct Window {
    pub(crate) spec: Arc<Spec>,
    bounds: Bounds,
    session: SessionState,
    table: Arc<WindowTable>,
    query: LogicalPlan,
    /// The plan of the query, made at its first run, unless it is one that cannot run again.
    plan: Option<Arc<dyn ExecutionPlan>>,
    schema: SchemaRef,
    held: Held,
}

/// Whether the query has to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The pane brought no rows: nothing can be found that was not found before.
    Nothing,
    Query,
}

/// What it remembers.
#[derive(Debug, Default)]
struct Held {
    rows: Rows,
    shared: Shared,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Shared {
    version: u32,
    /// Panes of the window in which something is missing.
    lossy: BTreeSet<Pane>,
    /// By entity.
    incidents: BTreeMap<String, Vec<Incident>>,
    counters: Counters,
}

/// What a correlation has had to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Rows dropped from full windows.
    pub rows_dropped: u64,
    /// Results without a known entity.
    pub results_skipped: u64,
}

/// Something that was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Incident {
    /// End of the last pane in which it showed.
    until: Micros,
    event_uids: BTreeSet<String>,
    /// What shows of it in the pane that is being judged.
    #[serde(skip)]
    fresh: BTreeSet<String>,
}

impl Incident {
    /// Whether a result is part of it: it shares an event, or neither has any.
    fn shares(&self, event_uids: &BTreeSet<String>) -> bool {
        let is_bare = self.event_uids.is_empty() && self.fresh.is_empty() && event_uids.is_empty();
        is_bare || !self.event_uids.is_disjoint(event_uids) || !self.fresh.is_disjoint(event_uids)
    }
}

impl Window {
    pub(crate) fn new(spec: Arc<Spec>, bounds: Bounds) -> Result<Self, Error> {
        let failed = |e: DataFusionError| Error::query(&spec.uid, &e.strip_backtrace());
        let table = Arc::new(WindowTable::default());
        let session = plan::session(Arc::<WindowTable>::clone(&table)).map_err(failed)?;
        let query = plan::optimised(&session, spec.sql()).map_err(failed)?;
        let schema = kept_schema(&spec.plan.kept);
        let held = Held { shared: Shared { version: VERSION, ..Shared::default() }, ..Held::default() };
        Ok(Self { bounds, session, table, query, plan: None, schema, held, spec })
    }

    /// Which rows of the stream are kept.
    pub(crate) fn keep(&self) -> Result<Keep, Error> {
        Keep::new(&self.session, &self.spec.plan).map_err(|e| Error::query(&self.spec.uid, &e.strip_backtrace()))
    }

    /// Which rows of history are kept.
    pub(crate) fn keep_plain(&self) -> Result<Keep, Error> {
        Keep::plain(&self.session, &self.spec.plan).map_err(|e| Error::query(&self.spec.uid, &e.strip_backtrace()))
    }

    pub(crate) fn counters(&self) -> Counters {
        self.held.shared.counters
    }

    pub(crate) fn rows(&self) -> usize {
        self.held.rows.count()
    }

    /// Incidents that are remembered.
    pub(crate) fn incidents(&self) -> usize {
        self.held.shared.incidents.values().map(Vec::len).sum()
    }

    /// Takes in a pane, then runs the query if it is due.
    pub(crate) async fn close(
        &mut self,
        pane: Pane,
        coverage: PaneCoverage,
        partials: &[RecordBatch],
    ) -> Result<Vec<Finding>, Error> {
        match self.take_in(pane, coverage, partials)? {
            Due::Nothing => Ok(Vec::new()),
            Due::Query => self.judge(pane).await,
        }
    }

    /// Takes in what a pane holds, and forgets what has left the window.
    ///
    /// # Errors
    /// When the partials are of another query, or too large to join. The pane then counts as lossy.
    pub(crate) fn take_in(
        &mut self,
        pane: Pane,
        coverage: PaneCoverage,
        partials: &[RecordBatch],
    ) -> Result<Due, Error> {
        let start = self.start(pane);
        self.held.rows.forget(start);
        self.held.shared.lossy.retain(|p| p.end > start);
        if coverage == PaneCoverage::Lossy {
            self.doubt(pane);
        }
        match self.joined(partials) {
            Ok(rows) if rows.num_rows() == 0 => Ok(Due::Nothing),
            Ok(rows) => {
                self.held.rows.insert(pane, rows);
                self.held.cut(self.bounds.rows_max);
                Ok(Due::Query)
            }
            Err(error) => {
                self.doubt(pane);
                Err(error)
            }
        }
    }

    /// Runs the query over the window that ends with a pane, and returns what is news.
    ///
    /// # Errors
    /// When the query fails. The rows stay: what they are part of is found when later rows come, and says `lossy`.
    pub(crate) async fn judge(&mut self, pane: Pane) -> Result<Vec<Finding>, Error> {
        let (found, skipped) = match self.found(pane).await {
            Ok(found) => found,
            Err(error) => {
                self.doubt(pane);
                return Err(error);
            }
        };
        let start = self.start(pane);
        let shared = &mut self.held.shared;
        shared.forget(start);
        shared.counters.results_skipped += skipped;
        let news = found.into_iter().filter_map(|candidate| shared.tell(pane, candidate)).collect();
        shared.settle(pane);
        shared.bound(self.bounds.incidents_max);
        Ok(news)
    }

    /// Marks a pane as one in which something is missing.
    pub(crate) fn doubt(&mut self, pane: Pane) {
        self.held.shared.lossy.insert(pane);
    }

    /// First moment of the window that ends with a pane.
    fn start(&self, pane: Pane) -> Micros {
        pane.end.saturating_sub(self.spec.window_secs() as i64 * SECOND)
    }

    fn joined(&self, partials: &[RecordBatch]) -> Result<RecordBatch, Error> {
        for partial in partials {
            check_kept(&self.schema, partial)?;
        }
        Ok(ordered(&self.schema, partials, usize::MAX)?)
    }

    /// What the query finds, told before or not, and how many results were about nobody.
    async fn found(&mut self, pane: Pane) -> Result<(Vec<Candidate>, u64), Error> {
        let start = self.start(pane);
        let rows = self.held.rows.since(start);
        let result = self.run(rows.clone()).await?;
        if result.iter().all(|batch| batch.num_rows() == 0) {
            return Ok((Vec::new(), 0));
        }
        let window = concat_batches(&self.schema, &rows)?;
        let coverage = if self.held.shared.lossy.is_empty() { PaneCoverage::Complete } else { PaneCoverage::Lossy };
        Ok(candidates(&self.spec, pane, coverage, &result, &window)?)
    }

    async fn run(&mut self, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, Error> {
        self.table.put(rows);
        let result = match self.planned().await {
            Ok(plan) => collect(plan, self.session.task_ctx()).await,
            Err(error) => Err(error),
        };
        self.table.put(Vec::new());
        result.map_err(|e| Error::query(&self.spec.uid, &e.strip_backtrace()))
    }

    /// The plan of the query, ready to run: to plan takes longer than to run over few rows.
    async fn planned(&mut self) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        if let Some(plan) = &self.plan {
            return reset_plan_states(Arc::clone(plan));
        }
        let plan = self.session.query_planner().create_physical_plan(&self.query, &self.session).await?;
        let is_recursive = |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::RecursiveQuery(_)));
        if !self.query.exists(is_recursive)? {
            self.plan = Some(Arc::clone(&plan));
        }
        Ok(plan)
    }

    pub(crate) fn snapshot(&self) -> Result<Vec<(String, Vec<u8>)>, EventError> {
        let shared = serde_json::to_vec(&self.held.shared).map_err(|e| self.damaged(&e))?;
        let mut pieces = vec![("shared".to_owned(), shared)];
        for (pane, rows) in self.held.rows.panes() {
            pieces.push((format!("rows-{}-{}", pane.start, pane.end), ipc::to_bytes(rows)?));
        }
        Ok(pieces)
    }

    pub(crate) fn restore(&mut self, pieces: &[(String, Vec<u8>)]) -> Result<(), EventError> {
        let mut held = Held::default();
        let mut found = false;
        for (name, bytes) in pieces {
            if name == "shared" {
                held.shared = serde_json::from_slice(bytes).map_err(|e| self.damaged(&e))?;
                found = true;
                continue;
            }
            let pane = name.strip_prefix("rows-").and_then(pane_named);
            let pane = pane.ok_or_else(|| self.damaged(&format!("piece `{name}` is unknown")))?;
            let rows = ipc::from_bytes(bytes)?;
            check_kept(&self.schema, &rows)?;
            held.rows.insert(pane, rows);
        }
        if !found || held.shared.version != VERSION {
            return Err(self.damaged(&format!("its shared piece is missing or not of version {VERSION}")));
        }
        self.held = held;
        Ok(())
    }

    fn damaged(&self, why: &dyn std::fmt::Display) -> EventError {
        EventError::State { what: self.spec.uid.clone(), why: why.to_string() }
    }
}

fn pane_named(name: &str) -> Option<Pane> {
    // Times before 1970 are negative, so the middle dash is the first one that follows a digit.
    let middle = name.char_indices().skip(1).find(|(_, c)| *c == '-')?.0;
    Some(Pane { start: name[..middle].parse().ok()?, end: name[middle + 1..].parse().ok()? })
}

impl Held {
    /// Drops the oldest rows beyond the bound; what they were part of is no longer known completely.
    fn cut(&mut self, rows_max: usize) {
        let (dropped, hurt) = self.rows.cut(rows_max);
        self.shared.counters.rows_dropped += dropped as u64;
        self.shared.lossy.extend(hurt);
    }
}

impl Shared {
    fn forget(&mut self, start: Micros) {
        self.incidents.retain(|_, incidents| {
            incidents.retain(|incident| incident.until > start);
            !incidents.is_empty()
        });
    }

    /// The finding, if it is news.
    fn tell(&mut self, pane: Pane, candidate: Candidate) -> Option<Finding> {
        let incidents = self.incidents.entry(candidate.finding.entity.to_string()).or_default();
        let event_uids: BTreeSet<String> = candidate.event_uids.into_iter().collect();
        let same = |incident: &&mut Incident| incident.shares(&event_uids);
        match incidents.iter_mut().find(same) {
            Some(incident) => {
                incident.fresh.extend(event_uids);
                incident.until = pane.end;
                None
            }
            None => {
                incidents.push(Incident { until: pane.end, event_uids: BTreeSet::new(), fresh: event_uids });
                Some(candidate.finding)
            }
        }
    }

    /// All of a pane was told: what showed in an earlier pane and does not in this one has left the window.
    fn settle(&mut self, pane: Pane) {
        for incident in self.incidents.values_mut().flatten().filter(|incident| incident.until == pane.end) {
            incident.event_uids = std::mem::take(&mut incident.fresh);
        }
    }

    /// Forgets the oldest incidents beyond the bound.
    fn bound(&mut self, incidents_max: usize) {
        let count: usize = self.incidents.values().map(Vec::len).sum();
        if count <= incidents_max {
            return;
        }
        let all = self.incidents.iter().flat_map(|(entity, incidents)| incidents.iter().map(move |i| (entity, i)));
        let mut ages: Vec<(Micros, &String, &BTreeSet<String>)> =
            all.map(|(entity, incident)| (incident.until, entity, &incident.event_uids)).collect();
        ages.sort_unstable();
        let surplus: BTreeSet<(Micros, String, BTreeSet<String>)> = ages[..count - incidents_max]
            .iter()
            .map(|(until, entity, uids)| (*until, (*entity).clone(), (*uids).clone()))
            .collect();
        self.incidents.retain(|entity, incidents| {
            incidents.retain(|i| !surplus.contains(&(i.until, entity.clone(), i.event_uids.clone())));
            !incidents.is_empty()
        });
    }
}
