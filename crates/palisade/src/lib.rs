//! Palisade: container and audit telemetry in, findings and history out.
//!
//! A [`Pipeline`] is the whole of it inside your own process: hand it bytes or Arrow batches, get [`Finding`]s back, no
//! server and no lake needed. A [`Plan`] made from a [`Config`] and driven by [`run::run`] is the deployed detector: Kafka
//! topics or files in, findings and history committed exactly once. The crates underneath work alone too: a `Decoder`
//! turns bytes into batches, a `Detector` judges closed panes.
//!
//! Configuration, the threads of a pipeline and the clock of its run loop live in this crate and nowhere else.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod config;
pub mod error;
pub mod plan;
pub mod engine;
pub mod pipeline;
pub mod run;
pub mod sink;
pub mod metrics;
pub mod owners;
mod clock;

pub use config::Config;
pub use error::{Error, Result};
pub use owners::Ownership;
pub use palisade_events::{Entity, EventBatch, Finding, Severity};
pub use pipeline::{Pipeline, PipelineBuilder};
pub use plan::Plan;

pub use palisade_anomaly as anomaly;
pub use palisade_correlate as correlate;
pub use palisade_events as events;
pub use palisade_hunt as hunt;
pub use palisade_ingest as ingest;
pub use palisade_lake as lake;
pub use palisade_rules as rules;

pub use arrow;
pub use datafusion;

/// The README's Rust, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
