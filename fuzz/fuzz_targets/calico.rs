//! Any bytes as records of `calico`: see [`palisade_fuzz::decode`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| palisade_fuzz::decode("calico", data));
