use proptest::prelude::*;

use super::*;
use crate::codec::annexb::escape;
use crate::codec::bits::BitWriter;
use crate::codec::fuzzing;
use crate::codec::h264::without_reordering;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Written by x264, and what ffprobe says of each: profile and level, width, height.
const X264: [(&str, &str, u32, u32); 8] = [
    ("6764001facd9405005bb0110000003001000000303c0f1831960", "High 3.1", 1280, 720),
    ("6742c028d900780227e5c044000003000400000300f03c60c920", "Constrained Baseline 4.0", 1920, 1080),
    ("674d4028eca03c0113f2e02d40404050000003001000000303c648000f424001e84e4c300f8c18cb", "Main 4.0", 1920, 1080),
    ("676e001ea6cd940a02ff970110000003001000000303c0f162d960", "High 10 3.0", 640, 360),
    ("677a001ebcd940a42fe227c044000003000400000300f03c58b658", "High 4:2:2 3.0", 642, 362),
    ("67f40015919b282c16f7780880000003008000001e078b16cb", "High 4:4:4 Predictive 2.1", 350, 350),
    ("67640028acd94078044fde0220000003002000000783e2c5b2c0", "High 4.0", 1920, 1080),
    ("6764000dacb202833f3e0220000003002000000791e28549", "High 1.3", 320, 180),
];

#[test]
fn reads_what_x264_writes() {
    for (text, profile, width, height) in X264 {
        let sps = Sps::parse(&hex(text)).unwrap();
        assert_eq!((sps.profile_name().as_str(), sps.width(), sps.height()), (profile, width, height));
        assert_eq!(sps.frame_rate(), Some(30.0));
        assert_eq!(sps.profile_level_id(), text[2..8]);
    }
    let hrd = Sps::parse(&hex(X264[2].0)).unwrap().vui.unwrap();
    let entries = hrd.nal_hrd.unwrap().entries;
    assert!(entries.len() == 1 && entries[0].constant);
    assert_eq!(hrd.video_signal.unwrap().colour, Some((1, 1, 1)));
    assert!(!Sps::parse(&hex(X264[6].0)).unwrap().frame_mbs_only);
}

#[test]
fn says_that_nothing_is_reordered_and_changes_nothing_else() {
    for (text, ..) in X264 {
        let nal = hex(text);
        fuzzing::h264_rewrite(&nal);
        let before = Sps::parse(&nal).unwrap();
        let after = Sps::parse(&without_reordering(&nal).unwrap()).unwrap();
        let old = before.vui.unwrap().restriction.unwrap();
        let new = after.vui.unwrap().restriction.unwrap();
        assert_eq!(
            new,
            Restriction { max_num_reorder_frames: 0, max_dec_frame_buffering: before.max_num_ref_frames, ..old }
        );
    }
}

#[test]
fn a_set_cut_short_is_refused() {
    for (text, ..) in X264 {
        let nal = hex(text);
        for end in 0..nal.len() - 1 {
            assert_eq!(Sps::parse(&nal[..end]), None, "{text} at {end}");
        }
    }
}

fn write_hrd(w: &mut BitWriter, entries: &[(u32, u32, bool)]) {
    w.ue(entries.len() as u32 - 1);
    w.bits(0x35, 8);
    for &(rate, size, constant) in entries {
        w.ue(rate);
        w.ue(size);
        w.bit(constant);
    }
    w.bits(0xabcde, 20);
}

#[derive(Clone, Debug)]
struct Made {
    high: bool,
    lists: Vec<Option<Vec<i32>>>,
    order: u32,
    refs: u32,
    size: (u32, u32),
    frames_only: bool,
    crop: Option<(u32, u32, u32, u32)>,
    vui: Option<MadeVui>,
}

#[derive(Clone, Debug)]
struct MadeVui {
    extended_aspect: Option<(u16, u16)>,
    colour: bool,
    timing: Option<(u32, u32)>,
    hrds: [Option<Vec<(u32, u32, bool)>>; 2],
    restriction: Option<[u32; 6]>,
}

fn se(w: &mut BitWriter, value: i32) {
    w.ue(if value > 0 { value as u32 * 2 - 1 } else { value.unsigned_abs() * 2 });
}

/// Writes a parameter set by §7.3.2.1.1 and §E.1.1, independently of the reader.
fn write(made: &Made) -> Vec<u8> {
    let mut w = BitWriter::new();
    w.bits(if made.high { 100 } else { 66 }, 8);
    w.bits(0, 8);
    w.bits(40, 8);
    w.ue(3);
    if made.high {
        w.ue(1);
        w.ue(0);
        w.ue(0);
        w.bit(false);
        w.bit(!made.lists.is_empty());
        for list in &made.lists {
            w.bit(list.is_some());
            list.iter().flatten().for_each(|&delta| se(&mut w, delta));
        }
    }
    w.ue(4);
    w.ue(made.order);
    if made.order == 0 {
        w.ue(2);
    } else if made.order == 1 {
        w.bit(true);
        se(&mut w, -3);
        se(&mut w, 4);
        w.ue(2);
        se(&mut w, 5);
        se(&mut w, -1);
    }
    w.ue(made.refs);
    w.bit(false);
    w.ue(made.size.0 - 1);
    w.ue(made.size.1 - 1);
    w.bit(made.frames_only);
    if !made.frames_only {
        w.bit(true);
    }
    w.bit(true);
    w.bit(made.crop.is_some());
    if let Some((left, right, top, bottom)) = made.crop {
        [left, right, top, bottom].into_iter().for_each(|side| w.ue(side));
    }
    w.bit(made.vui.is_some());
    if let Some(vui) = &made.vui {
        w.bit(vui.extended_aspect.is_some());
        if let Some((x, y)) = vui.extended_aspect {
            w.bits(255, 8);
            w.bits(x.into(), 16);
            w.bits(y.into(), 16);
        }
        w.bits(0b11, 2);
        w.bit(vui.colour);
        if vui.colour {
            w.bits(0b10111, 5);
            w.bits(0x010203, 24);
        }
        w.bit(false);
        w.bit(vui.timing.is_some());
        if let Some((units, scale)) = vui.timing {
            w.bits(units, 32);
            w.bits(scale, 32);
            w.bit(true);
        }
        for hrd in &vui.hrds {
            w.bit(hrd.is_some());
            hrd.iter().for_each(|entries| write_hrd(&mut w, entries));
        }
        if vui.hrds.iter().any(Option::is_some) {
            w.bit(true);
        }
        w.bit(true);
        w.bit(vui.restriction.is_some());
        if let Some(restriction) = vui.restriction {
            w.bit(false);
            restriction.into_iter().for_each(|value| w.ue(value));
        }
    }
    let mut nal = vec![0x67];
    nal.extend(escape(&w.finish()));
    nal
}

fn made() -> impl Strategy<Value = Made> {
    let list =
        |size: usize| {
            // Sums that stay within a byte and never end a list early.
            prop::option::of((1..30i32).prop_map(move |delta| {
                (0..size).map(|at| if at % 2 == 0 { delta } else { -delta }).collect::<Vec<_>>()
            }))
        };
    let lists = prop_oneof![
        Just(Vec::new()),
        (prop::collection::vec(list(16), 6), prop::collection::vec(list(64), 2))
            .prop_map(|(small, large)| [small, large].concat()),
    ];
    let hrd = || prop::option::of(prop::collection::vec((0..u32::MAX, 0..u32::MAX, any::<bool>()), 1..33));
    let vui = (
        prop::option::of(any::<(u16, u16)>()),
        any::<bool>(),
        prop::option::of(any::<(u32, u32)>()),
        [hrd(), hrd()],
        prop::option::of(prop::array::uniform6(0u32..20)),
    )
        .prop_map(|(extended_aspect, colour, timing, hrds, restriction)| MadeVui {
            extended_aspect,
            colour,
            timing,
            hrds,
            restriction,
        });
    (
        any::<bool>(),
        lists,
        0u32..3,
        0u32..17,
        (1u32..200, 1u32..200),
        any::<bool>(),
        prop::option::of((0u32..2, 0u32..2, 0u32..2, 0u32..2)),
        prop::option::of(vui),
    )
        .prop_map(|(high, lists, order, refs, size, frames_only, crop, vui)| Made {
            high,
            lists,
            order,
            refs,
            size,
            frames_only,
            crop,
            vui,
        })
}

proptest! {
    #[test]
    fn any_set_is_read_and_rewritten_faithfully(made in made()) {
        let nal = write(&made);
        let sps = Sps::parse(&nal).expect("was written by the standard");
        prop_assert_eq!((sps.width_mbs, sps.height_map_units), made.size);
        prop_assert_eq!(sps.max_num_ref_frames, made.refs);
        prop_assert_eq!(sps.vui.is_some(), made.vui.is_some());
        if let (Some(vui), Some(made)) = (&sps.vui, &made.vui) {
            prop_assert_eq!(vui.timing.map(|timing| (timing.num_units_in_tick, timing.time_scale)), made.timing);
            prop_assert_eq!(
                vui.restriction.map(|restriction| restriction.max_dec_frame_buffering),
                made.restriction.map(|restriction| restriction[5])
            );
        }
        prop_assert!(without_reordering(&nal).is_some());
        fuzzing::h264_rewrite(&nal);
    }

    #[test]
    fn any_bytes_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..200), profile in 0usize..3) {
        fuzzing::h264(&data);
        fuzzing::h265(&data);
        let mut likely = vec![0x67, [66, 77, 100][profile], 0, 30];
        likely.extend(&data);
        fuzzing::h264_rewrite(&likely);
    }
}
