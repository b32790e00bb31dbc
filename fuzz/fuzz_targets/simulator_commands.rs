#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| returnfeed::simulator::fuzzing::simulator_commands(data));
