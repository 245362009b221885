#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kohakuriver_proxy_fuzz::resume::run(data));
