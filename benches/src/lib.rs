//! Benchmarks, each a program of its own in `benches/`. This library is empty on purpose.
