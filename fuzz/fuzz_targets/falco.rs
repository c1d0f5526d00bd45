//! Any bytes as records of `falco`: see [`palisade_fuzz::decode`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| palisade_fuzz::decode("falco", data));
