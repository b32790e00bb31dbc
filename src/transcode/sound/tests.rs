use std::f64::consts::TAU;
use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::clock::Clock;
use crate::codec::{aac::AdtsHeader, opus::Toc};
use crate::media::{AccessUnit, Timestamp90k, TrackId};
use crate::mpegts::Demuxer;

macro_rules! fixture {
    ($name:literal) => {
        frames(include_bytes!(concat!("../../../tests/fixtures/", $name, ".mpegts")))
    };
}

const CONFIG: SoundConfig = SoundConfig { bitrate_bps: 128_000 };

/// The frames of AAC in a transport stream.
fn frames(stream: &[u8]) -> Vec<AccessUnit> {
    let mut demuxer = Demuxer::new();
    stream.chunks(1316).for_each(|payload| demuxer.push(now(), payload));
    let units = std::iter::from_fn(|| demuxer.poll()).filter_map(|item| match item {
        MediaItem::Unit(unit) if unit.codec == Codec::Aac => Some(AccessUnit::clone(&unit)),
        _ => None,
    });
    units.collect()
}

fn now() -> Instant {
    Clock::manual().0.now()
}

/// What is heard: stereo samples and their time in seconds.
struct Heard(Vec<(f64, [f32; 2])>);

impl Heard {
    fn of(packets: &[AccessUnit]) -> Self {
        let mut decoder = opus::Decoder::new(RATE, opus::Channels::Stereo).unwrap();
        let mut samples = Vec::new();
        for packet in packets {
            let mut pcm = [0.0; 960];
            assert_eq!(decoder.decode_float(&packet.data, &mut pcm, false).unwrap(), 480);
            let at = |sample: usize| (packet.pts.0 as f64 + sample as f64 * 1.875) / 90_000.0;
            samples.extend(pcm.chunks(2).enumerate().map(|(sample, pair)| (at(sample), [pair[0], pair[1]])));
        }
        Self(samples)
    }

    /// When the energy within 50 ms of `near` is heard.
    fn click(&self, near: f64) -> f64 {
        let near = self.0.iter().filter(|(at, _)| (at - near).abs() < 0.05);
        let energy = near.map(|(at, [left, _])| (at, f64::from(left * left))).filter(|(_, energy)| *energy > 1e-4);
        let (sum, weighted) = energy.fold((0.0, 0.0), |(sum, all), (at, energy)| (sum + energy, all + at * energy));
        weighted / sum
    }

    /// The amplitude of a tone left and right, from 0.2 to 0.4 s.
    fn tone(&self, start: f64, hz: f64) -> [f64; 2] {
        [0, 1].map(|side| {
            let part = self.0.iter().filter(|(at, _)| (start + 0.2..start + 0.4).contains(at));
            let (mut re, mut im, mut count) = (0.0, 0.0, 0.0);
            for (at, sample) in part {
                re += f64::from(sample[side]) * (TAU * hz * at).cos();
                im += f64::from(sample[side]) * (TAU * hz * at).sin();
                count += 1.0;
            }
            2.0 * f64::hypot(re, im) / count
        })
    }
}

fn seconds(pts: Timestamp90k) -> f64 {
    pts.0 as f64 / 90_000.0
}

fn transcode(frames: &[AccessUnit]) -> Vec<AccessUnit> {
    let mut aac = AacToOpus::new(CONFIG);
    frames.iter().flat_map(|frame| aac.push(frame)).collect()
}

/// From each packet to the next, in ticks of 90 kHz; 900 are one of 10 ms.
fn steps(packets: &[AccessUnit]) -> Vec<i64> {
    packets.windows(2).map(|pair| pair[1].pts.0 - pair[0].pts.0).collect()
}

#[test]
fn a_click_is_heard_at_the_time_it_was_sent_for() {
    for (name, frames, rate) in [
        ("48 kHz stereo", fixture!("click48_stereo"), 48_000.0),
        ("44.1 kHz mono", fixture!("click44_mono"), 44_100.0),
        ("32 kHz stereo", fixture!("click32_stereo"), 32_000.0),
        ("22.05 kHz mono", fixture!("click22_mono"), 22_050.0),
        ("5.1", fixture!("click48_51"), 48_000.0),
    ] {
        let packets = transcode(&frames);
        assert!(packets.len() >= 96, "{name}: {}", packets.len());
        assert!(steps(&packets).iter().all(|&step| step == 900), "{name}: {:?}", steps(&packets));
        let sent = seconds(frames[0].pts) + 1024.0 / rate + 0.5005;
        let heard = Heard::of(&packets).click(sent);
        assert!((heard - sent).abs() < 0.0005, "{name}: {:.3} ms late", (heard - sent) * 1000.0);
    }
}

/// HE-AAC of 48 kHz with a click at half a second: what the library that decodes it also encodes.
fn he_aac() -> Vec<AccessUnit> {
    use fdk_aac::enc::{AudioObjectType, BitRate, ChannelMode, Encoder, EncoderParams, Transport};
    let encoder = Encoder::new(EncoderParams {
        bit_rate: BitRate::Cbr(64_000),
        sample_rate: RATE,
        transport: Transport::Adts,
        channels: ChannelMode::Stereo,
        audio_object_type: AudioObjectType::Mpeg4HeAac,
    });
    let encoder = encoder.unwrap();
    let info = encoder.info().unwrap();
    let pcm: Vec<i16> = (0..96_000).map(|at| if (48_000..48_096).contains(&at) { 20_000 } else { 0 }).collect();
    let mut frames = Vec::new();
    for block in pcm.chunks_exact(info.frameLength as usize * 2) {
        let mut frame = vec![0; 8192];
        let made = encoder.encode(block, &mut frame).unwrap();
        if made.output_size > 0 {
            // The first sample of the first frame is that much before the first sample that went in.
            let pts = frames.len() as i64 * 2048 * 15 / 8 - i64::from(info.nDelay) * 15 / 8;
            frame.truncate(made.output_size);
            frames.push(AccessUnit { data: Bytes::from(frame), ..at(&tone()[0], pts) });
        }
    }
    frames
}

#[test]
fn he_aac_is_heard_in_full_and_in_time() {
    let frames = he_aac();
    assert_eq!(AdtsHeader::parse(&frames[0].data).unwrap().sample_rate(), 24_000);
    let packets = transcode(&frames);
    assert!(steps(&packets).iter().skip(3).all(|&step| step == 900), "{:?}", steps(&packets));
    let heard = Heard::of(&packets).click(0.5005);
    assert!((heard - 0.5005).abs() < 0.002, "{heard}");
}

#[test]
fn each_channel_of_surround_sound_goes_where_it_belongs() {
    const FULL: f64 = 0.2 / 1.7071;
    const HALF: f64 = FULL * std::f64::consts::FRAC_1_SQRT_2;
    let front = [(500.0, [FULL, 0.0]), (700.0, [0.0, FULL]), (900.0, [HALF, HALF]), (60.0, [0.0, 0.0])];
    let (left, right) = ([HALF, 0.0], [0.0, HALF]);
    for (name, frames, surround) in [
        ("5.1", fixture!("tones_51"), vec![(1100.0, left), (1300.0, right)]),
        ("7.1", fixture!("tones_71"), vec![(1100.0, left), (1300.0, right), (1500.0, left), (1700.0, right)]),
    ] {
        let heard = Heard::of(&transcode(&frames));
        for (hz, expected) in front.into_iter().chain(surround) {
            let levels = heard.tone(seconds(frames[0].pts), hz);
            let near = levels.iter().zip(expected).all(|(level, expected)| (level - expected).abs() < 0.01);
            assert!(near, "{name}, {hz} Hz: {levels:?} and not {expected:?}");
        }
    }
}

/// Stereo at 48 kHz with a tone all through it.
fn tone() -> Vec<AccessUnit> {
    fixture!("h264_aac48")
}

/// The loudest step from one sample to the next.
fn loudest_step(heard: &Heard) -> f32 {
    heard.0.windows(2).map(|pair| (pair[1].1[0] - pair[0].1[0]).abs()).fold(0.0, f32::max)
}

#[test]
fn packets_are_stereo_of_10_ms_and_need_no_more_than_the_last_frame() {
    let mut frames = tone();
    let start = frames[0].arrived;
    for (at, frame) in (0..).zip(&mut frames) {
        frame.arrived = start + std::time::Duration::from_millis(at);
    }
    let mut aac = AacToOpus::new(CONFIG);
    for frame in &frames {
        for packet in aac.push(frame) {
            assert_eq!(Toc::parse(&packet.data).map(|toc| (toc.stereo, toc.samples())), Some((true, 480)));
            assert_eq!((packet.codec, packet.track), (Codec::Opus, frame.track));
            assert_eq!((packet.arrived, packet.pts), (frame.arrived, packet.dts));
        }
    }
    assert_eq!(aac.lost_frames(), 0);
}

#[test]
fn silence_is_coded_like_everything_else() {
    let packets = transcode(&fixture!("click48_stereo"));
    assert!(packets.iter().all(|packet| packet.data.len() > 2), "nothing is left out");
}

#[test]
fn the_bit_rate_is_that_of_the_settings() {
    let frames = tone();
    let size = |bitrate_bps| {
        let mut aac = AacToOpus::new(SoundConfig { bitrate_bps });
        let packets: Vec<_> = frames.iter().flat_map(|frame| aac.push(frame)).collect();
        packets.iter().map(|packet| packet.data.len() * 8).sum::<usize>() / packets.len() * 100
    };
    let (low, high) = (size(32_000), size(128_000));
    assert!((16_000..48_000).contains(&low) && (64_000..192_000).contains(&high), "{low} {high}");
}

#[test]
fn packets_follow_one_another_however_timestamps_are_rounded() {
    let frames = fixture!("aac44_stereo");
    for round in [f64::floor, f64::ceil, |ticks: f64| (ticks / 90.0).round() * 90.0] {
        let stamped = (0..500).map(|number| {
            let pts = round(number as f64 * 1024.0 * 90_000.0 / 44_100.0) as i64;
            at(&frames[number % frames.len()], pts)
        });
        let packets = transcode(&stamped.collect::<Vec<_>>());
        assert!(steps(&packets).iter().all(|&step| step == 900), "{:?}", steps(&packets));
        assert!((packets[0].pts.0 + 225).abs() <= 1, "the first sample is that of the first frame: {:?}", packets[0]);
    }
}

#[test]
fn a_gap_is_a_step_of_the_timestamps_and_not_silence_without_end() {
    let frames = fixture!("aac44_stereo");
    for missing in [1024, 10 * 1024, 3600 * 44_100] {
        let stamped = (0..40).map(|number| {
            let samples = number * 1024 + if number < 20 { 0 } else { missing };
            at(&frames[number as usize], samples * 90_000 / 44_100)
        });
        let stamped: Vec<_> = stamped.collect();
        let packets = transcode(&stamped);
        assert!(packets.len() <= 94, "{missing}: {}", packets.len());
        let last = packets.last().unwrap().pts.0 + 900;
        let end = stamped[39].pts.0 + 1024 * 90_000 / 44_100;
        assert!((0..900 + 300).contains(&(end - last)), "{missing}: {last} and {end}");
        let steps = steps(&packets);
        assert!(steps.iter().all(|&step| step >= 900), "{missing}: {steps:?}");
        assert_eq!(steps.iter().filter(|&&step| step > 900).count(), 1, "{missing}: {steps:?}");
    }
}

#[test]
fn drift_of_the_senders_clock_is_followed() {
    // 200 ppm: 5 ms in 25 s, either way.
    let frames = fixture!("aac44_stereo");
    for faster in [0.9998, 1.0002] {
        let stamped: Vec<_> = (0..2600)
            .map(|number| {
                at(&frames[number % frames.len()], (number as f64 * 1024.0 * 90_000.0 / 44_100.0 * faster) as i64)
            })
            .collect();
        let packets = transcode(&stamped);
        let steps = steps(&packets);
        assert!(steps.iter().all(|&step| (900..1800).contains(&step)), "{faster}: {steps:?}");
        let off = stamped.last().unwrap().pts.0 - packets.last().unwrap().pts.0;
        assert!((-2200..4000).contains(&off), "{faster}: {off}");
    }
}

#[test]
fn jitter_of_the_timestamps_is_not_heard() {
    let frames = tone();
    let mut seed = 1_u32;
    let stamped = (0..2000).map(|number: i64| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // 8 ms either way, from the frame before to the next one, and at random.
        let jitter = match number {
            ..500 => 720 * (number % 2 * 2 - 1),
            _ => i64::from(seed >> 16) % 1441 - 720,
        };
        at(&frames[number as usize % frames.len()], 100_000 + number * 1920 + jitter)
    });
    let packets = transcode(&stamped.collect::<Vec<_>>());
    let steps = steps(&packets);
    let (steady, odd): (Vec<_>, Vec<_>) = steps.into_iter().partition(|&step| step == 900);
    assert!(odd.len() <= 3, "{odd:?} beside {} that are steady", steady.len());
    let late = packets.last().unwrap().pts.0 + 900 + 225 - (100_000 + 2000 * 1920);
    assert!((-900 - 450..450).contains(&late), "{late}: in the middle of the jitter");
}

#[test]
fn a_small_difference_that_stays_is_followed() {
    let frames = tone();
    let stamped = (0..40).map(|number| at(&frames[number as usize], number * 1920 + if number < 20 { 0 } else { 720 }));
    let packets = transcode(&stamped.collect::<Vec<_>>());
    let odd: Vec<_> = steps(&packets).into_iter().enumerate().filter(|&(_, step)| step != 900).collect();
    assert!(matches!(odd[..], [(55..=60, 901..=1620)]), "after eight frames: {odd:?}");
}

#[test]
fn sound_that_cannot_be_decoded_is_a_problem_until_it_can() {
    let frames = tone();
    let mut aac = AacToOpus::new(CONFIG);
    let mut broken = frames[0].clone();
    let mut data = frames[0].data[..8].to_vec();
    // AAC Main, and a frame of 8 bytes.
    (data[2], data[3], data[4], data[5]) = (data[2] & 0x3f, data[3] & 0xfc, 1, 0x1f);
    broken.data = Bytes::from(data);
    for number in 0..48 {
        assert_eq!(aac.problem(), None, "{number}");
        aac.push(&broken);
    }
    let problem = aac.problem().unwrap();
    assert_eq!(problem.code, "sound_unreadable");
    assert!(problem.text.contains("(AAC Main, 2 channels, 48000 Hz)"), "{}", problem.text);
    assert!(problem.text.contains("Set the encoder's sound to AAC-LC"), "{}", problem.text);
    frames.iter().take(3).for_each(|frame| drop(aac.push(frame)));
    assert_eq!(aac.problem(), None);
}

#[test]
fn a_broken_frame_costs_no_more_than_itself() {
    let mut frames = tone();
    let whole = transcode(&frames);
    for at in [10, 20, 21] {
        let mut data = frames[at].data.to_vec();
        data[7..].fill(0xff);
        frames[at].data = Bytes::from(data);
    }
    frames[30].data = frames[30].data.slice(..100);
    frames[31].data = Bytes::new();
    let mut aac = AacToOpus::new(CONFIG);
    let packets: Vec<_> = frames.iter().flat_map(|frame| aac.push(frame)).collect();
    assert!((2..=5).contains(&aac.lost_frames()), "{}", aac.lost_frames());
    assert!(packets.len() + 12 >= whole.len(), "{} of {}", packets.len(), whole.len());
    assert_eq!(packets[..19], whole[..19], "before it");
}

#[test]
fn another_rate_or_other_channels_are_followed() {
    let mut frames: Vec<AccessUnit> = Vec::new();
    let mut pts = 0;
    for (part, samples) in [
        (fixture!("aac44_stereo"), 1024 * 90_000 / 44_100),
        (fixture!("tones_51"), 1920),
        (fixture!("click22_mono"), 1024 * 90_000 / 22_050),
        (tone(), 1920),
    ] {
        for frame in part {
            frames.push(at(&frame, pts));
            pts += samples;
        }
    }
    let packets = transcode(&frames);
    let missing = pts - packets.last().unwrap().pts.0 - 900;
    assert!((0..1500).contains(&missing), "{missing}");
    let steps = steps(&packets);
    assert!(steps.iter().all(|&step| (900..8000).contains(&step)), "what a decoder still held is gone: {steps:?}");
    assert!(steps.iter().filter(|&&step| step != 900).count() <= 3, "{steps:?}");
}

#[test]
fn sound_begins_and_goes_on_elsewhere_without_a_click() {
    let frames = tone();
    let steady = loudest_step(&Heard::of(&transcode(&frames)));
    let begun = transcode(&frames[10..]);
    assert!(loudest_step(&Heard::of(&begun)) < steady * 1.5, "in the middle of a tone");
    let mut jumping = frames[..20].to_vec();
    jumping.extend(frames[20..].iter().map(|frame| at(frame, frame.pts.0 + 900_000)));
    assert!(loudest_step(&Heard::of(&transcode(&jumping))) < steady * 1.5, "another timeline");
}

#[test]
fn the_first_sound_track_is_chosen_and_opus_is_passed_as_it_is() {
    let track = |id, codec| Track { id: TrackId(id), codec };
    let mut sound = sound(CONFIG);
    let mut tracks = |tracks: &[Track]| match sound.push(&MediaItem::Tracks(tracks.into())).as_slice() {
        [] => None,
        [MediaItem::Tracks(tracks)] => Some(tracks.to_vec()),
        other => panic!("{other:?}"),
    };
    let (video, aac, opus) = (track(256, Codec::H264), track(257, Codec::Aac), track(258, Codec::Opus));
    assert_eq!(tracks(std::slice::from_ref(&video)), Some(vec![]));
    assert_eq!(tracks(&[video.clone(), aac.clone()]), Some(vec![track(257, Codec::Opus)]));
    assert_eq!(tracks(&[aac.clone(), video.clone()]), None, "nothing changes");
    assert_eq!(tracks(&[aac, video, opus]), Some(vec![track(258, Codec::Opus)]));
    let frame = &tone()[0];
    let mut unit = |track, codec| {
        let unit = AccessUnit { track: TrackId(track), codec, ..frame.clone() };
        sound.push(&MediaItem::Unit(Arc::new(unit))).len()
    };
    assert_eq!((unit(258, Codec::Opus), unit(257, Codec::Aac), unit(256, Codec::H264)), (1, 0, 0));
}

fn at(frame: &AccessUnit, pts: i64) -> AccessUnit {
    AccessUnit { pts: Timestamp90k(pts), dts: Timestamp90k(pts), ..frame.clone() }
}
