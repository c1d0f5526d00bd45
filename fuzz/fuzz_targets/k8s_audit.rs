//! Any bytes as records of `k8s_audit`: see [`palisade_fuzz::decode`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| palisade_fuzz::decode("k8s_audit", data));
