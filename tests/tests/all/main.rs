//! The cross-crate tests, a module for each subject.
#![allow(clippy::unwrap_used)]

mod crate_edges;
mod schema_page;
mod determinism;
mod mutation;
mod drill;
mod providers;
