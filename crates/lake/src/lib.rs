//! The lake: history, findings, rejects and state, committed exactly once.
//!
//! A [`Lake`] is a folder (or an object-store prefix) of Delta tables, one per [`Table`]. A writer ([`EventWriter`],
//! [`TableWriter`]) turns batches into [`DataFile`]s on any thread. A commit puts files and application transactions
//! into a table's log in one step, and says what became of it: see [`decide()`] for the whole of that decision, which is a
//! pure function. Beside the tables, the [`StateStore`] keeps checkpoints under a name that no table reader looks at.
//!
//! Nothing here queries (that is `palisade-hunt`), runs in the background, or knows of sources, rules and panes.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod tables;
pub mod store;
pub mod encode;
pub mod decide;
mod log;
mod create;
mod reading;
#[cfg(test)]
mod testing;
pub mod lake;
pub mod state;
pub mod ledger;
pub mod disposition;
pub mod check;
pub mod maintain;

pub use check::{Problem, ProblemKind, TableStatus, status, verify};
pub use decide::{Intent, Observed, Outcome, decide};
pub use disposition::{Disposition, DispositionStatus};
pub use encode::{DataFile, EventWriter, TableWriter, WriterOptions};
pub use lake::{CommitError, Lake, LakeOptions, Landed};
pub use ledger::KnownFile;
pub use maintain::{MaintenanceOptions, MaintenanceReport};
pub use state::{LaneState, Manifest, StateStore};
pub use store::{Durability, Wrap, check_url};
pub use tables::Table;

pub use deltalake;

/// Says why the lake cannot go on. What a commit came to is a [`CommitError`] instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no lake at the place.
    #[error("no lake at {url}")]
    NoLake {
        /// The place, as it was given.
        url: String,
    },
    /// The place cannot be used.
    #[error("cannot use {url} as a lake: {why}")]
    Location {
        /// The place, as it was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A table is not as this version writes it.
    #[error("table {table} cannot be used: {why}")]
    Table {
        /// The table.
        table: Table,
        /// What is wrong with it.
        why: String,
    },
    /// Another writer took the tables over.
    #[error("fenced: the owner epoch of {owner} is {epoch}")]
    Fenced {
        /// The application id of the owner.
        owner: String,
        /// The epoch that was found.
        epoch: i64,
    },
    /// Stored state is taken, damaged or from another version.
    #[error("state {what}: {why}")]
    State {
        /// Which piece.
        what: String,
        /// What was wrong with it.
        why: String,
    },
    /// The store failed. Trying again can help.
    #[error("store: {0}")]
    Store(#[from] object_store::Error),
    /// The table format failed.
    #[error("delta: {0}")]
    Delta(#[from] deltalake::DeltaTableError),
    /// Columns did not fit.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A file could not be written or read.
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A batch does not fit the event schema.
    #[error(transparent)]
    Events(#[from] palisade_events::Error),
}

impl Error {
    /// Whether trying again can help: the store failed, not what was asked of it.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Delta(_))
    }
}

impl Error {
    /// Whether trying again can help.
    pub fn retry(&self) -> bool {
        matches!(self, Self::Store(_))
    }
}

/// The result of this crate's fallible calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
