//! Forensic SQL over a lake: a [`Hunt`] is a read-only DataFusion session with the lake's tables and a few views, a
//! [`Layout`] says how rows are written out. Rules run over history as they run over the stream.
//!
//! Nothing here writes to the lake, and nothing here knows how rows came to be there.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod hunt;
mod views;
mod print;

pub use hunt::{Hunt, Limits, RowOrder, statements};
pub use print::{Layout, layout};

/// Says why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lake cannot be opened.
    #[error(transparent)]
    Lake(#[from] palisade_lake::Error),
    /// The query is wrong, or failed.
    #[error("{0}")]
    Query(#[from] datafusion::error::DataFusionError),
    /// Rows cannot be written out.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// There is no such event column.
    #[error("no event column `{name}`")]
    Column {
        /// The name that was asked for.
        name: String,
    },
    /// Rows of the events table are no events.
    #[error(transparent)]
    Events(#[from] palisade_events::Error),
    /// Rules cannot be compiled.
    #[error(transparent)]
    Rules(#[from] palisade_rules::Error),
    /// The answer is larger than the bound.
    #[error("more than {rows_max} rows: add a LIMIT, or raise the bound")]
    TooManyRows {
        /// The bound.
        rows_max: usize,
    },
}

/// The result of this crate's fallible calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
