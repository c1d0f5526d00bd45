//! Rules as code that is tested: a [`Bundle`] is what a pack or a folder holds as text, a [`Remark`] is what a look at it
//! finds wrong, a [`Suite`] runs its tests, a [`Probe`] says which part of a condition failed for an event, and a
//! [`Replay`] runs rules over lines of JSON.
//!
//! Nothing here decides what a rule means: whether a part of a rule holds is asked of the engine, so that what is said of
//! a rule and what the rule does cannot differ. Nothing here reads a clock or prints.

mod bundle;
mod lint;
mod cases;
mod parts;
mod diagnose;
mod excepted;
mod replay;
mod coverage;
mod junit;

pub use bundle::Bundle;
pub use cases::{Case, Failure, Outcome, Suite, Wanted};
pub use coverage::navigator_layer;
pub use diagnose::{Diagnosis, Node, Probe, ProbeError};
pub use excepted::{Excepted, Verdict};
pub use junit::{JunitCase, JunitSuite, junit};
pub use lint::{Grade, Remark, lint};
pub use replay::Replay;

#[cfg(test)]
mod tests;
