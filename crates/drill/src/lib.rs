//! A [`Drill`] is a seeded cluster; it yields [`Record`]s in the true wire formats of Kubernetes audit, Falco, auditd,
//! Tetragon, Hubble, Calico, Docker and image registries; a [`Scenario`] is an attack that is hidden among them, and the
//! [`Truth`] about a record's label says which step of it made the record.
//!
//! [`score`] compares findings with the truth. The same [`Settings`] give the same bytes on every machine: nothing here
//! reads a clock or a file, the random numbers are our own, and floating point is limited to operations that IEEE 754
//! defines exactly. Producing to Kafka, writing files and running pipelines is for whoever drives the iterator.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod random;
mod text;
mod cluster;
mod record;
mod settings;
mod wire;
mod act;
mod audit;
mod body;
mod ends;
mod falco;
mod auditd;
mod tetragon;
mod hubble;
mod calico;
mod docker;
mod registry;
mod benign;
mod traffic;
mod builds;
mod surprises;
pub mod scenario;
mod drill;
pub mod dataset;
pub mod score;

pub use drill::{Drill, audit_corpus};
pub use record::{Label, Record, Role, Stream, Truth};
pub use scenario::{Scenario, ScenarioError, Variant, scenarios};
pub use settings::{Attack, Life, Settings, every_attack};
pub use wire::{Loss, Stated};

#[cfg(test)]
mod tests;
