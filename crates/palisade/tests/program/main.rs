//! The program as a user runs it: scanning, killing, querying, and a real broker.

#![allow(clippy::unwrap_used)]

mod support;

mod drill;
mod kafka;
mod recordings;
mod redaction;
mod rules;
mod run;
mod scan;
