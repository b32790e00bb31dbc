use super::*;
use crate::clock::Clock;
use crate::tally::Show;
use crate::tally::Tally::{Preview, Program, Safe, Unknown};
use crate::tally::xml;

struct Studio {
    state: State,
    now: Instant,
}

fn tally(digits: &str) -> Vec<Tally> {
    digits.bytes().map(|digit| [Safe, Program, Preview][usize::from(digit - b'0')]).collect()
}

/// A document with inputs `key, title`, and more XML inside the inputs and behind them.
fn document(inputs: &[(&str, &str, &str)], more: &str) -> Document {
    let input = |(at, (key, title, inside)): (usize, &(&str, &str, &str))| {
        let kind = if title.starts_with("Mix") { "Mix" } else { "Capture" };
        format!(r#"<input key="{key}" number="{}" type="{kind}" title="{title}">{inside}</input>"#, at + 1)
    };
    let inputs: String = inputs.iter().enumerate().map(input).collect();
    xml::parse(format!("<vmix><inputs>{inputs}</inputs>{more}</vmix>").as_bytes()).unwrap()
}

const THREE: [(&str, &str, &str); 3] = [("a", "CAM 1", ""), ("b", "CAM 2", ""), ("c", "CAM 3", "")];

impl Studio {
    fn new(cameras: Vec<CameraConfig>) -> Self {
        let mut studio = Self { state: State::new(cameras), now: Clock::system().now() };
        let _ = studio.state.apply(studio.now, Update::Trying(Some("vmix".into())));
        studio
    }

    fn line(&mut self, digits: &str) -> Change {
        self.state.apply(self.now, Update::Tally(tally(digits)))
    }

    fn document(&mut self, inputs: &[(&str, &str, &str)], more: &str) -> Change {
        let document = document(inputs, more);
        self.state.apply(self.now, Update::Document { document, asked: self.now })
    }

    fn older_document(&mut self, age_ms: u64, inputs: &[(&str, &str, &str)], more: &str) -> Change {
        let asked = self.now - Duration::from_millis(age_ms);
        self.state.apply(self.now, Update::Document { document: document(inputs, more), asked })
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        let _ = self.state.handle_timeout(self.now);
        assert!(self.state.poll_timeout().is_none_or(|at| at > self.now), "a deadline that stays behind");
    }

    fn inputs(&self) -> Vec<Tally> {
        self.state.snapshot().inputs.iter().map(|input| input.tally).collect()
    }

    fn cameras(&self) -> Vec<Tally> {
        self.state.snapshot().cameras.iter().map(|camera| camera.tally).collect()
    }
}

fn camera(name: &str, inputs: &[&str]) -> CameraConfig {
    CameraConfig::new(name, inputs.iter().map(|input| (*input).into()))
}

#[test]
fn the_tally_line_alone_is_enough_for_numbers() {
    let mut studio = Studio::new(vec![camera("one", &["1", "3"]), camera("named", &["CAM 2"])]);
    assert_eq!(studio.cameras(), [Unknown, Unknown]);
    assert_eq!(studio.line("012"), Change::Changed);
    let snapshot = studio.state.snapshot();
    assert_eq!((snapshot.source, snapshot.link.state), (Source::Live, LinkState::Live));
    assert_eq!(studio.inputs(), [Safe, Program, Preview]);
    assert_eq!(studio.cameras(), [Preview, Unknown]);
    assert_eq!(studio.state.missing(), None, "not known to be missing");
}

#[test]
fn only_a_change_counts_as_one() {
    let mut studio = Studio::new(Vec::new());
    let _ = studio.line("01");
    let first = studio.state.snapshot();
    studio.now += Duration::from_millis(500);
    assert_eq!(studio.line("01"), Change::Refreshed);
    let second = studio.state.snapshot();
    assert_eq!(first.seq, second.seq);
    assert_eq!(second.heard, Some(studio.now));
    assert!(Arc::ptr_eq(&first.inputs, &second.inputs));
    assert_eq!(studio.line("10"), Change::Changed);
    assert_eq!(studio.state.snapshot().seq, first.seq + 1);
}

#[test]
fn what_is_lost_is_unknown_and_keeps_its_names() {
    let mut studio = Studio::new(vec![camera("one", &["CAM 1"])]);
    let _ = studio.line("100");
    let _ = studio.document(&THREE, "<streaming>True</streaming>");
    assert!(studio.state.snapshot().show.streaming);
    assert_eq!(studio.cameras(), [Program]);
    assert_eq!(studio.state.apply(studio.now, Update::Lost), Change::Changed);
    let snapshot = studio.state.snapshot();
    assert_eq!((snapshot.source, snapshot.link.state), (Source::Unknown, LinkState::Lost));
    assert_eq!(studio.inputs(), [Unknown; 3]);
    assert_eq!(studio.cameras(), [Unknown]);
    assert_eq!(&*snapshot.inputs[0].title, "CAM 1");
    assert_eq!(snapshot.show, Show::default());
}

#[test]
fn what_the_show_does_is_not_known_once_its_document_is_old_though_tally_goes_on() {
    let mut studio = Studio::new(Vec::new());
    let _ = studio.line("100");
    assert!(!studio.state.snapshot().show_known);
    let _ = studio.document(&THREE, "<recording>True</recording>");
    let snapshot = studio.state.snapshot();
    assert!(snapshot.show_known && snapshot.show.recording);
    studio.wait(6000);
    let snapshot = studio.state.snapshot();
    assert_eq!((snapshot.source, snapshot.show_known, snapshot.show), (Source::Live, false, Show::default()));
}

#[test]
fn layers_of_what_is_on_air_are_on_air_however_deep_and_in_circles() {
    let layered = [
        ("a", "CAM 1", ""),
        ("b", "Split", r#"<overlay index="0" key="c"/><overlay index="1" key="d"/>"#),
        ("c", "Nested", r#"<overlay index="0" key="a"/><overlay index="1" key="b"/>"#),
        ("d", "CAM 2", r#"<overlay index="0" key="d"/><overlay index="1" key="gone"/>"#),
        ("e", "CAM 3", ""),
    ];
    let mut studio = Studio::new(vec![camera("one", &["CAM 1"])]);
    let _ = studio.line("01002");
    let _ = studio.document(&layered, "");
    assert_eq!(studio.inputs(), [Program, Program, Program, Program, Preview]);
    let _ = studio.line("02001");
    assert_eq!(studio.inputs(), [Preview, Preview, Preview, Preview, Program]);
    assert_eq!(studio.cameras(), [Preview]);
    let _ = studio.line("12000");
    assert_eq!(studio.cameras(), [Program], "the stronger of two uses");
}

#[test]
fn an_overlay_on_preview_is_next() {
    let mut studio = Studio::new(Vec::new());
    let _ = studio.line("100");
    let _ = studio.document(&THREE, r#"<overlays><overlay number="1" preview="True">3</overlay></overlays>"#);
    assert_eq!(studio.inputs(), [Program, Safe, Preview]);
}

#[test]
fn an_older_document_never_takes_a_camera_off_the_air() {
    let mut studio = Studio::new(vec![camera("two", &["CAM 2"])]);
    let _ = studio.line("100");
    let _ = studio.document(&THREE, "<active>1</active>");
    studio.wait(100);
    let _ = studio.line("010");
    let _ = studio.older_document(50, &THREE, "<active>1</active><preview>2</preview>");
    assert_eq!(studio.cameras(), [Program]);
    studio.wait(100);
    let _ = studio.document(&THREE, "<active>1</active>");
    assert_eq!(studio.inputs(), [Safe, Program, Safe], "the line decides for mix 1");
}

#[test]
fn mixes_count_for_the_cameras_that_say_so() {
    let mut wall = camera("wall", &["CAM 3"]);
    wall.mixes = vec![2];
    let mut both = camera("both", &["CAM 3", "CAM 1"]);
    both.mixes = vec![1, 2];
    let mut studio = Studio::new(vec![wall, both, camera("main", &["CAM 3"])]);
    let _ = studio.line("200");
    assert_eq!(studio.cameras(), [Unknown, Unknown, Unknown]);
    let _ = studio.document(&THREE, r#"<mix number="2"><preview>1</preview><active>3</active></mix>"#);
    assert_eq!(studio.cameras(), [Program, Program, Safe]);
    let _ = studio.document(&THREE, r#"<mix number="2"><preview>3</preview><active>2</active></mix>"#);
    assert_eq!(studio.cameras(), [Preview, Preview, Safe]);
    let overlay = r#"<overlays><overlay number="4">3</overlay></overlays>"#;
    let _ = studio.document(&THREE, overlay);
    assert_eq!(studio.cameras()[0], Program, "overlays count whichever mixes do");
}

#[test]
fn what_a_mix_shows_is_on_air_when_the_mix_is() {
    let inputs = [("a", "CAM 1", ""), ("m", "Mix2", ""), ("c", "CAM 3", "")];
    let mix = r#"<mix number="2"><preview>1</preview><active>3</active></mix>"#;
    let mut studio = Studio::new(Vec::new());
    let _ = studio.line("010");
    let _ = studio.document(&inputs, mix);
    assert_eq!(studio.inputs(), [Safe, Program, Program]);
    let _ = studio.line("120");
    assert_eq!(studio.inputs(), [Program, Preview, Preview]);
}

#[test]
fn an_overlay_that_does_not_count_is_forgiven_only_by_a_newer_document() {
    let mut talkback = camera("two", &["CAM 2"]);
    talkback.overlays = Some(vec![1]);
    let mut studio = Studio::new(vec![talkback]);
    let third = r#"<overlays><overlay number="3">2</overlay></overlays><active>1</active>"#;
    let _ = studio.line("110");
    assert_eq!(studio.cameras(), [Unknown], "no document yet");
    let _ = studio.older_document(50, &THREE, third);
    studio.wait(20);
    let _ = studio.document(&THREE, third);
    assert_eq!(studio.cameras(), [Safe]);
    assert_eq!(studio.inputs(), [Program, Program, Safe], "the input itself is on air");
    studio.wait(100);
    let _ = studio.line("010");
    assert_eq!(studio.cameras(), [Program], "it may have been cut to");
    studio.wait(20);
    let _ = studio.document(&THREE, r#"<overlays><overlay number="3">2</overlay></overlays><active>2</active>"#);
    assert_eq!(studio.cameras(), [Program]);
    studio.wait(20);
    let _ = studio.document(&THREE, r#"<overlays><overlay number="1">2</overlay></overlays><active>1</active>"#);
    assert_eq!(studio.cameras(), [Program]);
}

#[test]
fn a_camera_keeps_its_input_when_numbers_and_names_change() {
    let mut studio = Studio::new(vec![camera("one", &["1"]), camera("two", &["CAM 2"])]);
    let _ = studio.line("100");
    let _ = studio.document(&THREE, "");
    assert_eq!(studio.cameras(), [Program, Safe]);
    studio.wait(100);
    // An intro is put in front, and CAM 2 is renamed; the line comes before the document.
    let _ = studio.line("0100");
    assert_eq!(studio.cameras(), [Program, Program], "in doubt a tally only rises");
    studio.wait(10);
    let _ = studio.document(&[("i", "Intro", ""), ("a", "CAM 1", ""), ("b", "Anna", ""), ("c", "CAM 3", "")], "");
    assert_eq!(studio.cameras(), [Program, Safe]);
    assert_eq!(studio.state.snapshot().cameras[1].inputs, [3]);
    let _ = studio.line("1000");
    assert_eq!(studio.cameras(), [Safe, Safe]);
}

#[test]
fn doubt_ends_in_unknown_not_in_a_stuck_red() {
    let mut studio = Studio::new(vec![camera("one", &["CAM 1"]), camera("last", &["3"])]);
    let _ = studio.line("100");
    let _ = studio.document(&THREE, "");
    studio.wait(100);
    let _ = studio.line("0001");
    assert_eq!(studio.cameras()[0], Program);
    studio.wait(1000);
    let _ = studio.line("00010");
    studio.wait(499);
    assert_eq!(studio.cameras()[0], Program);
    studio.wait(1);
    assert_eq!(studio.cameras(), [Unknown, Safe]);
    assert_eq!(studio.inputs(), [Safe, Safe, Safe, Program, Safe]);
    assert_eq!(&*studio.state.snapshot().inputs[0].title, "");
}

#[test]
fn an_old_document_keeps_the_names_and_makes_nothing_safe_that_it_had_on_air() {
    let mut wall = camera("wall", &["CAM 3"]);
    wall.mixes = vec![2];
    let mut studio = Studio::new(vec![wall, camera("one", &["CAM 1"])]);
    let _ = studio.line("010");
    let inputs = [("a", "CAM 1", ""), ("b", "Split", r#"<overlay key="a"/>"#), ("c", "CAM 3", "")];
    let _ = studio.document(&inputs, r#"<mix number="2"><active>3</active></mix>"#);
    assert_eq!(studio.cameras(), [Program, Program]);
    studio.wait(5999);
    assert_eq!(studio.cameras(), [Program, Program]);
    studio.wait(1);
    assert_eq!(studio.cameras(), [Unknown, Unknown], "the layer may still be on air");
    assert_eq!(studio.inputs(), [Unknown, Program, Safe]);
    let _ = studio.line("001");
    assert_eq!(studio.cameras(), [Unknown, Safe], "what has it as a layer is not on air");
    let _ = studio.line("021");
    assert_eq!(studio.cameras(), [Unknown, Unknown]);
    assert_eq!(&*studio.state.snapshot().inputs[2].title, "CAM 3");
    let _ = studio.line("100");
    assert_eq!(studio.cameras(), [Unknown, Program]);
    let _ = studio.document(&inputs, "");
    assert_eq!(studio.cameras(), [Safe, Program]);
}

#[test]
fn a_missing_input_is_named_and_its_camera_unknown() {
    let mut studio = Studio::new(vec![camera("gone", &["CAM 9"]), camera("half", &["CAM 2", "x"])]);
    let _ = studio.line("010");
    let _ = studio.document(&THREE, "");
    assert_eq!(studio.cameras(), [Unknown, Program]);
    let missing = studio.state.missing().unwrap();
    assert_eq!(missing.len(), 2);
    assert_eq!((&*missing[0].camera, missing[0].references.as_slice()), ("gone", &["\"CAM 9\"".to_owned()][..]));
    let _ = studio.state.set_cameras(studio.now, vec![camera("gone", &["CAM 3"])]);
    assert_eq!(studio.state.missing(), Some(Vec::new()));
    assert_eq!(studio.cameras(), [Safe]);
}

#[test]
fn other_settings_keep_what_was_learnt_of_the_cameras_that_stay() {
    let mut studio = Studio::new(vec![camera("one", &["1"])]);
    let _ = studio.line("100");
    let _ = studio.document(&THREE, "");
    studio.wait(10);
    let _ = studio.document(&[("c", "CAM 3", ""), ("a", "CAM 1", ""), ("b", "CAM 2", "")], "");
    let _ = studio.state.set_cameras(studio.now, vec![camera("new", &["1"]), camera("one", &["1"])]);
    let numbers: Vec<_> = studio.state.snapshot().cameras.iter().map(|camera| camera.inputs.clone()).collect();
    assert_eq!(numbers, [[1], [2]]);
}

#[test]
fn another_host_begins_with_nothing() {
    let mut studio = Studio::new(vec![camera("one", &["1"])]);
    let _ = studio.line("100");
    let _ = studio.document(&THREE, "");
    let _ = studio.state.apply(studio.now, Update::Trying(Some("other".into())));
    let snapshot = studio.state.snapshot();
    assert_eq!(
        (snapshot.source, snapshot.link.state, snapshot.inputs.len()),
        (Source::Unknown, LinkState::Connecting, 0)
    );
    let _ = studio.state.apply(studio.now, Update::Trying(None));
    assert_eq!(studio.state.snapshot().link.state, LinkState::Waiting);
}

#[test]
fn an_input_that_only_the_document_knows_is_unknown_until_the_line_has_it() {
    let mut studio = Studio::new(Vec::new());
    let _ = studio.line("10");
    let _ = studio.document(&THREE, "");
    assert_eq!(studio.inputs(), [Program, Safe, Unknown]);
    let _ = studio.line("100");
    assert_eq!(studio.inputs(), [Program, Safe, Safe]);
}

#[test]
fn a_thousand_inputs_are_merged_quickly() {
    let titles: Vec<_> = (0..1000).map(|n| (format!("key-{n}"), format!("CAM {n}"))).collect();
    let layer = r#"<overlay index="0" key="key-500"/>"#;
    let inputs: Vec<_> = titles.iter().map(|(key, title)| (key.as_str(), title.as_str(), layer)).collect();
    let mut studio = Studio::new((0..100).map(|n| CameraConfig::new(format!("c{n}"), [n.into()])).collect());
    let digits = "0".repeat(999);
    let _ = studio.line(&(digits.clone() + "1"));
    let _ = studio.document(&inputs, "");
    assert_eq!(studio.inputs()[500], Program);
    let clock = Clock::system();
    let begun = clock.now();
    for _ in 0..50 {
        let _ = studio.line(&("1".to_owned() + &digits));
        let _ = studio.line(&(digits.clone() + "1"));
    }
    let each = (clock.now() - begun) / 100;
    assert!(each < Duration::from_millis(5), "{each:?}");
}

#[test]
fn what_a_mix_or_a_preview_overlay_showed_is_unknown_while_the_document_is_old() {
    let inputs = [("a", "CAM 1", ""), ("m", "Mix2", ""), ("c", "CAM 3", ""), ("d", "CAM 4", "")];
    let more = r#"<mix number="2"><active>3</active></mix><overlays><overlay number="1" preview="True">4</overlay></overlays>"#;
    let mut studio = Studio::new(vec![camera("two", &["CAM 1", "CAM 3"])]);
    let _ = studio.line("0100");
    let _ = studio.document(&inputs, more);
    assert_eq!(studio.inputs(), [Safe, Program, Program, Preview]);
    studio.wait(6000);
    assert_eq!(studio.inputs(), [Safe, Program, Unknown, Unknown]);
    assert_eq!(studio.cameras(), [Unknown], "one input safe, the other not known");
    let _ = studio.line("1000");
    assert_eq!(studio.inputs(), [Program, Safe, Safe, Unknown]);
    assert_eq!(studio.cameras(), [Program]);
}

#[test]
fn a_deleted_input_leaves_its_camera_unknown_until_it_is_back() {
    let mut studio = Studio::new(vec![camera("one", &["1"])]);
    let _ = studio.line("100");
    let _ = studio.document(&THREE, "");
    studio.wait(100);
    let _ = studio.line("10");
    studio.wait(10);
    let without = [("b", "CAM 2", ""), ("c", "CAM 3", "")];
    let _ = studio.document(&without, "");
    assert_eq!(studio.cameras(), [Unknown]);
    assert_eq!(studio.state.missing().unwrap().len(), 1);
    let _ = studio.state.set_cameras(studio.now, vec![camera("one", &["1"])]);
    let _ = studio.document(&without, "");
    assert_eq!(studio.cameras(), [Unknown]);
    let _ = studio.line("010");
    studio.wait(10);
    let _ = studio.document(&[("b", "CAM 2", ""), ("a", "CAM 1", ""), ("c", "CAM 3", "")], "");
    assert_eq!(studio.cameras(), [Program], "undone");
    assert_eq!(studio.state.missing(), Some(Vec::new()));
}

#[test]
fn only_an_overlay_on_air_beside_a_known_program_explains_a_program() {
    let mut talkback = camera("two", &["CAM 2"]);
    talkback.overlays = Some(vec![1]);
    let mut studio = Studio::new(vec![talkback]);
    let _ = studio.line("110");
    for more in [
        r#"<overlays><overlay number="3">2</overlay></overlays>"#,
        r#"<overlays><overlay number="3" preview="True">2</overlay></overlays><active>1</active>"#,
    ] {
        let _ = studio.document(&THREE, more);
        assert_eq!(studio.cameras(), [Program], "{more}");
    }
    let _ = studio.document(&THREE, r#"<overlays><overlay number="3">2</overlay></overlays><active>1</active>"#);
    assert_eq!(studio.cameras(), [Safe]);
}
