//! Tests that need more than one crate. They are one binary, `tests/all/main.rs`, so that the heavy dependencies are
//! linked once; this library is empty unless helpers are shared between them.
//!
//! Not here: what one crate promises on its own, which its own tests hold.
