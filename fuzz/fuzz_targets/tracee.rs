//! Any bytes as records of `tracee`: see [`palisade_fuzz::decode`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| palisade_fuzz::decode("tracee", data));
