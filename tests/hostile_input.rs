//! The bounded, deterministic half of `make fuzz`: every fuzz target on its seeds, on mutations of
//! them and on noise, with a fixed seed. A crash found by fuzzing becomes a unit test of its room.

use std::fs;
use std::path::Path;

use returnfeed::{access, codec, http, mpegts, settings, simulator, srt, tally, transcode, turn, update, webrtc};

type Target = (&'static str, fn(&[u8]));

/// One row for each file of `fuzz/fuzz_targets/`.
const TARGETS: &[Target] = &[
    ("aac", codec::fuzzing::aac),
    ("browser_video", transcode::fuzzing::browser_video),
    ("cookies", http::fuzzing::cookies),
    ("dtls", webrtc::fuzzing::dtls),
    ("framing", webrtc::fuzzing::framing),
    ("h264", codec::fuzzing::h264),
    ("h264_rewrite", codec::fuzzing::h264_rewrite),
    ("h265", codec::fuzzing::h265),
    ("mpegts", mpegts::fuzzing::ts),
    ("pes", mpegts::fuzzing::pes),
    ("relay_requests", tally::fuzzing::relay_requests),
    ("rtcp", webrtc::fuzzing::rtcp),
    ("sdp", webrtc::fuzzing::sdp),
    ("sdpfrag", webrtc::fuzzing::sdp_fragment),
    ("settings", settings::fuzzing::settings),
    ("simulator_commands", simulator::fuzzing::simulator_commands),
    ("sound", transcode::fuzzing::sound),
    ("srt_datagrams", srt::fuzzing::srt_datagrams),
    ("srt_stream_id", srt::fuzzing::stream_id),
    ("stun", webrtc::fuzzing::stun),
    ("tokens", access::fuzzing::tokens),
    ("turn", turn::fuzzing::turn),
    ("update", update::fuzzing::update),
    ("vmix_http", tally::fuzzing::vmix_http),
    ("vmix_lines", tally::fuzzing::vmix_lines),
    ("vmix_xml", tally::fuzzing::vmix_xml),
    ("websocket", http::fuzzing::websocket_message),
];

const ROUNDS_PER_SEED: usize = 400;
const ROUNDS_OF_NOISE: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `splitmix64`: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len());
        match random.below(6) {
            0 => data.truncate(at),
            1 => data.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
            2 => data.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xff),
            3 => {
                let len = 1 + random.below(8);
                let noise = random.bytes(len);
                data.splice(at..at, noise);
            }
            4 => {
                let from = random.below(data.len());
                let piece: Vec<u8> = data.iter().skip(from).take(200).copied().collect();
                data.splice(at..at, piece);
            }
            _ => {
                let end = (at + random.below(188)).min(data.len());
                data.drain(at.min(end)..end);
            }
        }
    }
    data
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let Ok(dir) = fs::read_dir(root().join("fuzz/seeds").join(target)) else { return Vec::new() };
    let mut paths: Vec<_> = dir.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn no_target_falls_over_its_seeds_their_mutations_or_noise() {
    for (number, (name, target)) in TARGETS.iter().enumerate() {
        let mut random = Random(number as u64);
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "fuzz/seeds/{name} is empty: a target needs something to start from");
        for seed in &seeds {
            target(seed);
            for _ in 0..ROUNDS_PER_SEED {
                target(&mutate(seed, &mut random));
            }
        }
        for _ in 0..ROUNDS_OF_NOISE {
            let len = random.below(2000);
            target(&random.bytes(len));
        }
    }
}

#[test]
fn every_fuzz_target_is_in_the_table() {
    let mut files: Vec<String> = fs::read_dir(root().join("fuzz/fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}
