#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| returnfeed::srt::fuzzing::stream_id(data));
