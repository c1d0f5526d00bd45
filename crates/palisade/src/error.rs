//! Why a pipeline cannot continue. Bad input is not among the reasons: it becomes rejects.

/// Says what failed, and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(#[from] crate::config::ConfigError),
    /// Events could not be built, or a detector failed.
    #[error(transparent)]
    Events(#[from] palisade_events::Error),
    /// Rules cannot be used.
    #[error("rules: {0}")]
    Rules(String),
    /// A correlation cannot be used.
    #[error("correlation: {0}")]
    Correlate(String),
    /// The lake refused or could not be reached.
    #[error(transparent)]
    Lake(#[from] palisade_lake::Error),
    /// Another instance of this job has taken over; this one must stop.
    #[error("fenced: another instance of job `{job}` has taken over the lake (epoch {epoch}); this one stops")]
    Fenced {
        /// The job.
        job: String,
        /// Owner epoch that was found.
        epoch: i64,
    },
    /// A query failed.
    #[error(transparent)]
    Hunt(#[from] palisade_hunt::Error),
    /// A source cannot go on.
    #[error(transparent)]
    Source(#[from] palisade_events::seam::SourceError),
    /// Stored state cannot be used.
    #[error("state: {0}")]
    State(String),
    /// What was asked for cannot be done as it was said: a name that is not known, a call out of order. Nothing was
    /// changed, and trying the same again does not help.
    #[error("{0}")]
    Usage(String),
    /// Threads or files of the program's own failed.
    #[error("{what}: {why}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        why: std::io::Error,
    },
    /// A thread of the pipeline ended unexpectedly.
    #[error("the {0} thread ended unexpectedly")]
    Thread(&'static str),
}

impl Error {
    /// Names what was attempted when the system failed.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |why| Self::Io { what, why }
    }
}

/// The result of this crate's fallible calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
