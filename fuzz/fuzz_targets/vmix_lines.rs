#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| returnfeed::tally::fuzzing::vmix_lines(data));
