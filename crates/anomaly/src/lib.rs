//! Streaming statistics over closed panes: an [`EventRate`] knows how many events an entity usually makes, a
//! [`FirstSeen`] knows which values it usually shows, and both keep to an alert budget.
//!
//! Pure and synchronous: no clock, no I/O, no randomness. What lanes fold are integer counts, extremes and bounded
//! samples by hash, so that any interleaving of lanes gives the same partials; all floating-point work happens at pane
//! close, over keys in sorted order.
//!
//! Not here: rules over single events, windows of SQL, and the loop that decides when a pane closes.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod fixed_hash;
mod numerics;
mod scene;
mod tally;
mod ticks;
mod store;
mod report;
pub mod event_rate;
pub mod first_seen;
#[cfg(test)]
mod testing;

pub use event_rate::{EventRate, EventRateConfig, Sides};
pub use first_seen::{Feature, FirstSeen, FirstSeenConfig};
