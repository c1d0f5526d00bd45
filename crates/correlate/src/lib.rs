//! Correlation by SQL: a [`Spec`] is a query over a window of events, a [`SqlCorrelation`] runs it on the stream as panes
//! close, and [`run_over`] runs it over history. Both go through the same steps, so both give the same findings.
//!
//! On the stream only the rows and columns that the query can need are kept: which, is read off the optimised plan
//! (`plan.rs`). Not here: the loop that closes panes, the lake, and correlations written in Sigma.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod spec;
mod template;
mod plan;
mod retain;
mod table;
mod window;
mod row;
pub mod detector;
pub mod history;
pub mod starter;
#[cfg(test)]
mod tests;

pub use detector::{Bounds, SqlCorrelation};
pub use history::{LateRows, run_over};
pub use spec::{Spec, SpecError};
pub use starter::starter;

pub use datafusion;

/// Why a correlation cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// DataFusion could not plan or run the query.
    #[error("correlation {uid}: {why}")]
    Query {
        /// The correlation.
        uid: String,
        /// What DataFusion said.
        why: String,
    },
    /// Arrow or the event types refused something.
    #[error(transparent)]
    Events(#[from] palisade_events::Error),
}

impl Error {
    fn query(uid: &str, error: &dyn std::fmt::Display) -> Self {
        Self::Query { uid: uid.into(), why: error.to_string() }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Events(error.into())
    }
}
