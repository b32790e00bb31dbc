#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| returnfeed::srt::fuzzing::srt_datagrams(data));
