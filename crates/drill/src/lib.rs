//! A [`Drill`] is a seeded cluster; it yields [`Record`]s in the true wire formats of Kubernetes audit, Falco and auditd;
//! the [`Truth`] on a record says which step of an attack made it.
//!
//! The same [`Settings`] give the same bytes on every machine: nothing here reads a clock or a file, the random numbers
//! are our own, and floating point is limited to operations that IEEE 754 defines exactly. Producing to Kafka and
//! writing files is for whoever drives the iterator.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod random;
mod text;
mod cluster;
mod record;
mod settings;
mod wire;
mod audit;
mod body;
mod falco;
mod auditd;
mod benign;
mod attack;
mod drill;
pub mod dataset;

pub use drill::{Drill, SKEW_MAX, audit_corpus};
pub use record::{Record, Stream, Truth};
pub use settings::{Attack, Settings};

#[cfg(test)]
mod tests;
