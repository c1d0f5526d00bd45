//! The program as a user runs it: scanning, killing, querying, and a real broker.

mod support;

mod kafka;
mod scan;
