//! A correlation on the stream: the [`Detector`] around a window.
//!
//! DataFusion is asynchronous, a detector is not: `close` runs the query on a small runtime of its own, made for this
//! query and gone after it, and blocks until it is done. Where the caller is inside a runtime already, the query runs on a
//! thread that `close` waits for.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use palisade_events::seam::{Detector, LaneFold, Pane, PaneCoverage};
use palisade_events::{Error as EventError, Finding, Result};
use serde::Deserialize;
use tokio::runtime::{Builder, Handle};

use crate::Error;
use crate::retain::{Keep, Retention};
use crate::spec::Spec;
use crate::window::{Due, Window};

pub use crate::window::Counters;

/// What a correlation may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Rows kept of one window. Beyond, the oldest are dropped and counted, and findings are marked `lossy`.
    pub rows_max: usize,
    /// Incidents remembered, so that each is told once. Beyond, the oldest are forgotten.
    pub incidents_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { rows_max: 1_000_000, incidents_max: 10_000 }
    }
}

/// Runs one correlation as panes close.
pub struct SqlCorrelation {
    window: Window,
    keep: Keep,
    bounds: Bounds,
}

impl std::fmt::Debug for SqlCorrelation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlCorrelation").field("uid", &self.window.spec.uid).field("rows", &self.rows()).finish()
    }
}

impl SqlCorrelation {
    /// A correlation that has seen nothing.
    ///
    /// # Errors
    /// When the query cannot be planned.
    pub fn new(spec: impl Into<Arc<Spec>>, bounds: Bounds) -> Result<Self, Error> {
        let window = Window::new(spec.into(), bounds)?;
        let keep = window.keep()?;
        Ok(Self { window, keep, bounds })
    }

    /// The correlation's text.
    pub fn spec(&self) -> &Spec {
        &self.window.spec
    }

    /// Rows kept at this moment, those of open panes aside.
    pub fn rows(&self) -> usize {
        self.window.rows()
    }

    /// What had to be left out so far.
    pub fn counters(&self) -> Counters {
        self.window.counters()
    }

    /// Runs the query over the window that ends with a pane.
    fn judge(&mut self, pane: Pane) -> Result<Vec<Finding>, Error> {
        let window = &mut self.window;
        if Handle::try_current().is_err() {
            return run_to_end(window, pane);
        }
        // A thread that belongs to a runtime must not drive another one. The scope joins the thread, so that nothing
        // outlives this call.
        let joined = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("palisade-query".into());
            thread.spawn_scoped(scope, || run_to_end(window, pane)).map(|thread| thread.join())
        });
        let why = match joined {
            Ok(Ok(judged)) => return judged,
            Ok(Err(_)) => "the query panicked".to_owned(),
            Err(error) => format!("no thread for the query: {error}"),
        };
        self.window.doubt(pane);
        Err(Error::query(&self.window.spec.uid, &why))
    }
}

fn run_to_end(window: &mut Window, pane: Pane) -> Result<Vec<Finding>, Error> {
    match Builder::new_current_thread().build() {
        Ok(runtime) => runtime.block_on(window.judge(pane)),
        Err(error) => {
            window.doubt(pane);
            Err(Error::query(&window.spec.uid, &error))
        }
    }
}

impl Detector for SqlCorrelation {
    fn uid(&self) -> &str {
        &self.window.spec.uid
    }

    fn lane(&self) -> Box<dyn LaneFold> {
        Box::new(Retention::new(self.keep.clone(), self.window.spec.plan.kept.clone(), self.bounds.rows_max))
    }

    fn close(&mut self, pane: Pane, coverage: PaneCoverage, partials: &[RecordBatch]) -> Result<Vec<Finding>> {
        let closed = self.window.take_in(pane, coverage, partials).and_then(|due| match due {
            Due::Nothing => Ok(Vec::new()),
            Due::Query => self.judge(pane),
        });
        closed.map_err(|e| match e {
            Error::Query { uid, why } => EventError::Detector { uid, why },
            Error::Events(error) => error,
        })
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let Counters { rows_dropped, results_skipped } = self.counters();
        vec![
            ("rows", self.rows() as u64),
            ("incidents", self.window.incidents() as u64),
            ("rows_dropped", rows_dropped),
            ("results_skipped", results_skipped),
        ]
    }

    fn snapshot(&self) -> Result<Vec<(String, Vec<u8>)>> {
        self.window.snapshot()
    }

    fn restore(&mut self, pieces: &[(String, Vec<u8>)]) -> Result<()> {
        self.window.restore(pieces)
    }
}
