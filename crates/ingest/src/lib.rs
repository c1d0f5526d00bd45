//! Bytes to events: a [`Decoder`] reads the records of one lane, a [`Decoded`] is what it made of them (events, rejects,
//! coverage facts, and how many records ended where), a [`Redactor`] takes secrets out before anything sees them.
//!
//! Nothing here knows rules, statistics or storage. Bad input is never an error: it comes back as a reject.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod decode;
pub mod redact;
mod frame;
mod envelope;
mod json;
mod document;
pub mod zone;
mod put;
mod labels;
mod process;
mod activity;
mod container;
mod image;
mod network;
mod k8s_audit;
mod k8s_objects;
mod falco;
mod tetragon;
mod tracee;
mod hubble;
mod calico;
mod docker;
mod kubearmor;
mod registry;
mod cloudtrail;
mod ocsf;
mod ecs;
pub mod mapped;
pub mod auditd;
pub mod file;
pub mod channel;
pub mod sniff;
#[cfg(test)]
mod testing;
#[cfg(feature = "kafka")]
pub mod kafka;

pub use decode::{Counts, Decoded, Decoder, EventEnd, Format, LaneContext, Limits, Settings, decoder};
pub use mapped::{Mapping, MappingError};
pub use redact::{RedactionCounts, RedactionRules, RedactionRulesError, Redactor};
pub use zone::Zone;
