#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kohakuriver_proxy_fuzz::api_answer::run(data));
