#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| returnfeed::tally::fuzzing::relay_requests(data));
