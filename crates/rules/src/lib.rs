#![cfg_attr(test, allow(clippy::unwrap_used))]
//! Sigma rules over telemetry by column: a [`RuleSet`] is what packs and files hold, an [`Engine`] is their compiled
//! form, and a [`Match`] is a rule that holds for a row of an event batch.
//!
//! Pure and synchronous: nothing here reads a clock or a socket, and files only when asked to load them. Rules over
//! several events are the correlation stage's.
//!
//! With the feature `datafusion`, the same rules are filters of stored events too: `Rule::filter`, `RuleSet::filter`.
//!
//! ```
//! use std::sync::Arc;
//! use palisade_events::FieldPlan;
//! use palisade_rules::{JsonEvent, RuleSet, batch_of_json};
//!
//! let rules = RuleSet::starter()?;
//! let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
//! let engine = rules.compile(&plan)?;
//! let event = serde_json::json!({
//!     "stage": "ResponseStarted", "verb": "create", "user": {"username": "alice"},
//!     "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "prod", "name": "web-0"},
//! });
//! let event = JsonEvent { format: "k8s_audit".into(), event, ..JsonEvent::default() };
//! let batch = batch_of_json(&plan, &[event])?;
//! let findings = engine.findings(&batch, &engine.evaluate(&batch));
//! assert!(findings.iter().any(|f| f.title.contains("Command Run In A Pod")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod text;
mod predicate;
mod expr;
mod modifiers;
mod taxonomy;
mod lower;
mod placeholders;
mod rule;
mod exception;
mod load;
mod pack;
mod report;
mod starter;
mod bits;
mod engine;
mod suppress;
mod explain;
mod json;
#[cfg(feature = "datafusion")]
mod sql;
pub mod verify;
#[cfg(test)]
mod testing;

use std::path::PathBuf;

pub use engine::{Engine, Match};
pub use exception::Exception;
pub use json::{JsonEvent, batch_of_json, batch_of_lines, fields_of_json, fields_of_raw, put_json};
pub use load::entries;
pub use pack::{Pack, PackInfo, Problem, Reading, RuleSet};
pub use report::LoadReport;
pub use rule::{Logsource, Rule};

/// Says why rules cannot be loaded or compiled at all. What is wrong with one rule is a [`Problem`] instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path that was to be loaded cannot be read.
    #[error("rules at {path} cannot be read: {why}")]
    Unread {
        /// The path.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// The built-in pack is damaged.
    #[error("built-in pack: {0}")]
    Pack(String),
    /// The plan of raw fields lacks a path that a rule reads.
    #[error("rule `{rule}` reads the raw field `{path}`, which is not planned")]
    Unplanned {
        /// Title of the rule.
        rule: String,
        /// The path.
        path: String,
    },
}

/// The result of this crate's fallible calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
