//! A mapping and records that it reads: see [`palisade_fuzz::mapped`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| palisade_fuzz::mapped(data));
