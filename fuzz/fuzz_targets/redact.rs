//! Replacing secrets in any text: see [`palisade_fuzz::redact`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| palisade_fuzz::redact(data));
