#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| returnfeed::http::fuzzing::cookies(data));
