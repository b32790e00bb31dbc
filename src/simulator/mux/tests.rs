use super::super::programme::Programme;
use super::*;
use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};

fn stream(start: u64, units: usize) -> (Vec<Unit>, Vec<u8>) {
    let (mut programme, mut muxer, mut out) = (Programme::new(start), Muxer::default(), Vec::new());
    let units: Vec<Unit> = (0..units).map(|_| programme.next()).collect();
    for unit in &units {
        muxer.write(unit, &mut out);
    }
    (units, out)
}

/// The payload of a packet: an independent reading of ISO/IEC 13818-1 §2.4.3.2.
fn payload(packet: &[u8]) -> &[u8] {
    let skipped = if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) };
    &packet[skipped..]
}

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff
}

fn read_timestamp(bytes: &[u8]) -> u64 {
    let part = |at: usize, mask: u8, shift: u32| u64::from(bytes[at] & mask) << shift;
    part(0, 0x0e, 29) + part(1, 0xff, 22) + part(2, 0xfe, 14) + part(3, 0xff, 7) + (part(4, 0xfe, 0) >> 1)
}

#[test]
fn every_counter_runs_on_without_a_gap() {
    let (_, stream) = stream(0, 1500);
    let mut counters: HashMap<u16, u8> = HashMap::new();
    for packet in stream.chunks(PACKET) {
        assert_eq!((packet.len(), packet[0]), (PACKET, 0x47));
        let counter = packet[3] & 0x0f;
        if let Some(before) = counters.insert(pid(packet), counter) {
            assert_eq!(counter, (before + 1) % 16);
        }
    }
    assert_eq!(counters.len(), 4);
}

#[test]
fn tables_check_out_and_come_ten_times_a_second() {
    let (_, stream) = stream(0, 800);
    let mut seen = 0;
    for packet in stream.chunks(PACKET).filter(|packet| matches!(pid(packet), PAT_PID | PMT_PID)) {
        let section = &payload(packet)[1..];
        let length = usize::from(u16::from_be_bytes([section[1], section[2]]) & 0x0fff) + 3;
        // Annex A: the CRC over a section and its CRC is zero.
        assert_eq!(crc(&section[..length]), 0);
        seen += 1;
    }
    assert!((200..260).contains(&seen), "{seen} in 10 s");
    // A value from outside: CRC-32/MPEG-2 of "123456789".
    assert_eq!(crc(b"123456789"), 0x0376_e6e7);
}

#[test]
fn what_was_packed_can_be_unpacked() {
    let (units, stream) = stream((1 << 33) - 40_000, 300);
    let mut packed: HashMap<u16, Vec<Vec<u8>>> = HashMap::new();
    for packet in stream.chunks(PACKET).filter(|packet| matches!(pid(packet), VIDEO_PID | AUDIO_PID)) {
        let list = packed.entry(pid(packet)).or_default();
        if packet[1] & 0x40 != 0 {
            list.push(Vec::new());
        }
        list.last_mut().unwrap().extend(payload(packet));
    }
    for (pid, pictures) in [(VIDEO_PID, true), (AUDIO_PID, false)] {
        let sent: Vec<&Unit> = units.iter().filter(|unit| (unit.kind != Kind::Sound) == pictures).collect();
        assert_eq!(packed[&pid].len(), sent.len());
        for (pes, unit) in packed[&pid].iter().zip(sent) {
            assert_eq!(pes[..3], [0, 0, 1]);
            let length = usize::from(u16::from_be_bytes([pes[4], pes[5]]));
            assert_eq!(length, if pictures { 0 } else { pes.len() - 6 });
            assert_eq!(read_timestamp(&pes[9..14]), unit.pts % (1 << 33));
            assert_eq!(pes[9 + usize::from(pes[8])..], unit.data[..]);
        }
    }
}

#[test]
fn the_clock_runs_behind_the_pictures_across_the_wrap() {
    let (units, stream) = stream((1 << 33) - 40_000, 100);
    let clocks = stream.chunks(PACKET).filter(|packet| packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x10 != 0);
    let clocks: Vec<u64> = clocks
        .map(|packet| {
            assert_eq!(packet[10] & 0x7e, 0x7e);
            u64::from(u32::from_be_bytes([packet[6], packet[7], packet[8], packet[9]])) << 1
                | u64::from(packet[10] >> 7)
        })
        .collect();
    let pictures: Vec<&Unit> = units.iter().filter(|unit| unit.kind != Kind::Sound).collect();
    assert_eq!(clocks.len(), pictures.len());
    for (clock, picture) in clocks.iter().zip(pictures) {
        assert_eq!(*clock, (picture.dts - CLOCK_LEAD) % (1 << 33));
    }
}

/// Runs a tool of ffmpeg over `stream` and answers what it printed.
fn tool(program: &str, arguments: &[&str], stream: &[u8]) -> (String, String) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|err| panic!("{program} is needed (apt-get install ffmpeg): {err}"));
    let mut input = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(stream));
        child.wait_with_output().unwrap()
    });
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn ffmpeg_decodes_it_without_a_complaint() {
    let (_, stream) = stream(126_000, 1000);
    let arguments = ["-v", "warning", "-f", "mpegts", "-i", "-", "-map", "0", "-f", "null", "-"];
    assert_eq!(tool("ffmpeg", &arguments, &stream).1, "");
}

#[test]
fn ffmpeg_decodes_a_change_to_b_frames_and_back_without_a_complaint() {
    let (mut programme, mut muxer, mut stream) = (Programme::new(126_000), Muxer::default(), Vec::new());
    for count in 0..700 {
        programme.set_b_frames((100..400).contains(&count));
        muxer.write(&programme.next(), &mut stream);
    }
    let arguments = ["-v", "warning", "-f", "mpegts", "-i", "-", "-map", "0", "-f", "null", "-"];
    assert_eq!(tool("ffmpeg", &arguments, &stream).1, "");
}

#[test]
fn ffprobe_reads_the_same_times() {
    let (units, stream) = stream(126_000, 1000);
    let arguments =
        ["-v", "error", "-f", "mpegts", "-show_entries", "packet=codec_type,pts,dts", "-of", "csv=p=0", "-"];
    let (printed, complaints) = tool("ffprobe", &arguments, &stream);
    assert_eq!(complaints, "");
    let read = |kind: &str| -> Vec<(u64, u64)> {
        let lines = printed.lines().filter(|line| line.starts_with(kind));
        let numbers =
            lines.map(|line| line.split(',').skip(1).filter_map(|part| part.parse().ok()).collect::<Vec<u64>>());
        numbers.map(|numbers| (numbers[0], numbers[1])).collect()
    };
    for (kind, pictures) in [("video", true), ("audio", false)] {
        let sent = units.iter().filter(|unit| (unit.kind != Kind::Sound) == pictures);
        assert_eq!(read(kind), sent.map(|unit| (unit.pts, unit.dts)).collect::<Vec<_>>(), "{kind}");
    }
}
