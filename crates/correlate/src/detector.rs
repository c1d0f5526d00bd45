//! A correlation on the stream: the [`Detector`] around a window.
//!
//! DataFusion is asynchronous, a detector is not: queries run on a runtime of one thread that belongs to the detector.
//! So `close` must not be called inside an asynchronous task; there it returns an error instead of blocking the task.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use palisade_events::seam::{Detector, LaneFold, Pane, PaneCoverage};
use palisade_events::{Error as EventError, Finding, Result};
use serde::Deserialize;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::Error;
use crate::retain::{Keep, Retention};
use crate::spec::Spec;
use crate::window::Window;

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
    runtime: Runtime,
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
    /// When the query cannot be planned, or no runtime can be made.
    pub fn new(spec: impl Into<Arc<Spec>>, bounds: Bounds) -> Result<Self, Error> {
        let window = Window::new(spec.into(), bounds)?;
        let keep = window.keep()?;
        let runtime = Builder::new_current_thread().build().map_err(|e| Error::query(&window.spec.uid, &e))?;
        Ok(Self { window, keep, bounds, runtime })
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
}

impl Detector for SqlCorrelation {
    fn uid(&self) -> &str {
        &self.window.spec.uid
    }

    fn lane(&self) -> Box<dyn LaneFold> {
        Box::new(Retention::new(self.keep.clone(), self.window.spec.plan.kept.clone(), self.bounds.rows_max))
    }

    fn close(&mut self, pane: Pane, coverage: PaneCoverage, partials: &[RecordBatch]) -> Result<Vec<Finding>> {
        let failed = |uid: &str, why: String| EventError::Detector { uid: uid.into(), why };
        if Handle::try_current().is_ok() {
            return Err(failed(self.uid(), "a pane was closed inside an asynchronous task".into()));
        }
        let closed = self.runtime.block_on(self.window.close(pane, coverage, partials));
        closed.map_err(|e| match e {
            Error::Query { uid, why } => EventError::Detector { uid, why },
            Error::Events(error) => error,
        })
    }

    fn snapshot(&self) -> Result<Vec<(String, Vec<u8>)>> {
        self.window.snapshot()
    }

    fn restore(&mut self, pieces: &[(String, Vec<u8>)]) -> Result<()> {
        self.window.restore(pieces)
    }
}
