#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| returnfeed::codec::fuzzing::h264(data));
