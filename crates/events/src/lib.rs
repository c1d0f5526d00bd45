//! The nouns of Palisade: an [`EventBatch`] is telemetry by column, a [`Finding`] is one detection, a [`Lane`] is one
//! ordered input. Everything that flows between stages is defined here, and the seams ([`seam`]) that stages meet at.
//!
//! Nothing here reads a clock, a file or a socket, and nothing here knows DataFusion or tokio: two stages that know
//! this crate can be composed by a third that knows both.

pub mod position;
pub mod id;
pub mod time;
pub mod clock;
pub mod schema;
pub mod build;
pub mod fields;
pub mod batch;
pub mod entity;
pub mod facts;
pub mod object;
pub mod finding;
pub mod seam;
pub mod ipc;

pub use batch::EventBatch;
pub use build::EventBuilder;
pub use clock::{LaneClock, Moment};
pub use entity::{Entity, EntityKind};
pub use facts::{Coverage, CoverageKind, Decision, DecisionKind, Reject};
pub use fields::{FieldColumn, FieldPlan, FieldValue};
pub use finding::{Attack, Confidence, Evidence, Finding, FindingKind, Severity};
pub use id::LaneHash;
pub use object::{ObjectChange, ObjectImage, ObjectVersion};
pub use position::{Lane, Position};
pub use schema::col;
pub use seam::{Chunk, Detector, LaneFold, Pane, Panes, RecordMeta, Sink};

pub use arrow;

/// Says why this crate cannot continue. Bad *input* never becomes one of these: it is returned beside the good rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record batch does not have the columns of [`schema::events`].
    #[error("event batch does not fit the event schema: {0}")]
    Schema(String),
    /// Arrow refused to build or cast an array.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Stored state could not be read back: the snapshot is damaged or from another version.
    #[error("state of {what} cannot be restored: {why}")]
    State {
        /// The stage whose state it is.
        what: String,
        /// What was wrong with it.
        why: String,
    },
    /// A detector could not finish a pane; nothing of the pane was emitted.
    #[error("detector {uid} failed: {why}")]
    Detector {
        /// The detector's uid.
        uid: String,
        /// What went wrong.
        why: String,
    },
}

/// The result of this crate's fallible calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
