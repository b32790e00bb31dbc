//! The functions that run for every packet or picture.

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use returnfeed::media::{AccessUnit, MediaItem};
use returnfeed::mpegts::Demuxer;
use returnfeed::transcode::SoundConfig;
use returnfeed::webrtc::history::History;
use returnfeed::webrtc::ice::{Path, Transport};
use returnfeed::webrtc::packetizer::Packetizer;
use returnfeed::webrtc::sdp::NegotiatedVideo;
use returnfeed::webrtc::sending::{Batch, Pacing, Sending, SendingParts, Sources};
use returnfeed::webrtc::srtp::{Keys, Outbound, Profile};
use std::hint::black_box;
use std::sync::Arc;
use support::now;
use support::source::{Picture, clip};

/// Two seconds of 720p30 at 4 Mbit/s with sound.
fn feed() -> bytes::Bytes {
    clip(&Picture { size: "1280x720", bitrate: "4M", ..Picture::default() }, 2).expect("ffmpeg makes a clip")
}

fn items(feed: &[u8]) -> Vec<MediaItem> {
    let mut demuxer = Demuxer::new();
    feed.chunks(7 * 188).for_each(|datagram| demuxer.push(now(), datagram));
    std::iter::from_fn(|| demuxer.poll()).collect()
}

fn demux(criterion: &mut Criterion) {
    let feed = feed();
    let now = now();
    let mut group = criterion.benchmark_group("mpegts");
    group.throughput(Throughput::Bytes(feed.len() as u64));
    group.bench_function("demux 2 s of 4 Mbit/s", |bencher| {
        bencher.iter(|| {
            let mut demuxer = Demuxer::new();
            for datagram in feed.chunks(7 * 188) {
                demuxer.push(now, datagram);
                while let Some(item) = demuxer.poll() {
                    black_box(item);
                }
            }
        });
    });
    group.finish();
}

fn picture(criterion: &mut Criterion) {
    let items = items(&feed());
    let mut group = criterion.benchmark_group("transcode");
    group.throughput(Throughput::Elements(items.len() as u64));
    group.bench_function("picture of 2 s for browsers", |bencher| {
        bencher.iter_batched(
            returnfeed::transcode::picture,
            |mut transform| {
                for item in &items {
                    black_box(transform.push(item));
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Seconds of CPU for 2 s of sound: what one listener or more cost a core.
fn sound(criterion: &mut Criterion) {
    let items = items(&feed());
    let make = || returnfeed::transcode::sound(SoundConfig { bitrate_bps: 128_000 });
    criterion.bench_function("transcode/sound of 2 s, AAC 48 kHz stereo to Opus", |bencher| {
        bencher.iter_batched(
            make,
            |mut transform| {
                for item in &items {
                    black_box(transform.push(item));
                }
            },
            BatchSize::SmallInput,
        );
    });
}

/// The access units of the video, as browsers get them.
fn browser_units() -> Vec<Arc<AccessUnit>> {
    let mut transform = returnfeed::transcode::picture();
    let derived: Vec<_> = items(&feed()).iter().flat_map(|item| transform.push(item)).collect();
    let units = derived.into_iter().filter_map(|item| match item {
        MediaItem::Unit(unit) => Some(unit),
        MediaItem::Tracks(_) => None,
    });
    units.collect()
}

fn packetise(criterion: &mut Criterion) {
    let (units, now) = (browser_units(), now());
    let mut group = criterion.benchmark_group("webrtc");
    group.throughput(Throughput::Bytes(units.iter().map(|unit| unit.data.len() as u64).sum()));
    group.bench_function("packetise 2 s, once for all viewers", |bencher| {
        bencher.iter(|| {
            let mut packetizer = Packetizer::default();
            for (number, unit) in (0u32..).zip(&units) {
                black_box(packetizer.h264(&unit.data, unit.random_access, number * 3000, now));
            }
        });
    });
    group.finish();
}

fn protect(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("srtp");
    group.throughput(Throughput::Elements(1));
    for (name, profile, salt) in [
        ("protect 1200 bytes, AES-GCM", Profile::AeadAes128Gcm, 12),
        ("protect 1200 bytes, AES-CM with SHA-1", Profile::Aes128CmSha1_80, 14),
    ] {
        let keys = Keys::new(profile, &[7; 16], &vec![9; salt]).expect("the salt has the profile's length");
        let (outbound, _) = Outbound::new(&keys).split();
        let mut packet = vec![0x80; 1200 + outbound.rtp_overhead()];
        let mut index = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                index += 1;
                outbound.protect_rtp(black_box(&mut packet), 20, 1, index).expect("there is room for the tag");
            });
        });
    }
    group.finish();
}

/// One picture to one viewer, per packet: numbered, stamped, copied and protected, as far as the system call.
fn fill(criterion: &mut Criterion) {
    let now = now();
    let mut unit = vec![0, 0, 1, 0x65];
    unit.resize(60_000, 7);
    let frame = Packetizer::default().h264(&unit, true, 0, now).map(Arc::new).expect("a unit that is not empty");
    let (mut history, mut batch) = (History::default(), Batch::default());
    history.push(frame.clone());
    let mut group = criterion.benchmark_group("webrtc");
    group.throughput(Throughput::Elements(frame.packets() as u64));
    for (name, profile, salt) in [
        ("fill a picture's packets, AES-GCM", Profile::AeadAes128Gcm, 12),
        ("fill a picture's packets, AES-CM with SHA-1", Profile::Aes128CmSha1_80, 14),
    ] {
        let keys = Keys::new(profile, &[7; 16], &vec![9; salt]).expect("the salt has the profile's length");
        let mut sending = Sending::new(SendingParts {
            video: Sources { ssrc: 1, rtx_ssrc: 2, first_sequence: 0 },
            negotiated: NegotiatedVideo { payload_type: 96, rtx_payload_type: Some(97), playout_delay: Some(5) },
            sound: None,
            srtp: Outbound::new(&keys).split().0,
            path: Path { local: [127, 0, 0, 1].into(), peer: ([127, 0, 0, 1], 9).into(), transport: Transport::Udp },
            pacing: Pacing { live_bps: None, join_bps: 100_000_000 },
        });
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                sending.offer(now, &frame);
                while sending.fill(now, &history, &mut batch).is_some() {
                    sending.sent(now, black_box(&batch));
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = hot;
    config = Criterion::default().warm_up_time(std::time::Duration::from_secs(1)).measurement_time(std::time::Duration::from_secs(3)).sample_size(20);
    targets = demux, picture, sound, packetise, protect, fill
}
criterion_main!(hot);
