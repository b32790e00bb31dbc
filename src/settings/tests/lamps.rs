//! What a file may say of lamps and their strip.

use super::*;

#[test]
fn lamps_without_pins_are_given_the_next_free_pair_and_a_name() {
    let settings = parse(
        r#"
        [[lamp]]
        any_of = ["A", "B"]
        [[lamp]]
        camera = "B"
        preview_pin = 22
        active = "low"
        brightness = 40
        [[lamp]]
        show = "recording"
        [[lamp]]
        input = "CAM 3"
        leds = "2-4"
        [[lamp]]
        name = "Door"
        input = 3
        [strip]
        leds = 4
        order = "RGB"
        device = "/dev/spidev0.1"
        [[camera]]
        name = "A"
        inputs = [1]
        [[camera]]
        name = "B"
        inputs = [2]
        "#,
    );
    let lamps: Vec<_> =
        settings.lamps.iter().map(|lamp| (lamp.name.as_str(), lamp.program_pin, lamp.preview_pin)).collect();
    let expected = [
        ("A, B", Some(17), Some(27)),
        ("B", None, Some(22)),
        ("recording", Some(24), None),
        ("CAM 3", None, None),
        ("Door", Some(16), Some(26)),
    ];
    assert_eq!(lamps, expected);
    assert_eq!((settings.lamps[1].active, settings.lamps[1].brightness), (ActiveLevel::Low, 40));
    assert_eq!(settings.lamps[3].leds, Some(Leds { first: 2, last: 4 }));
    assert_eq!(settings.lamps[4].follows, LampFollows::Input(InputRef::Number(3)));
    assert_eq!(settings.strip, Some(Strip { leds: 4, order: ColourOrder([0, 1, 2]), device: (0, 1) }));
    assert_eq!(Settings::default().needs_restart(&settings), ["lamp", "strip"]);
}

#[test]
fn lamps_that_a_low_level_lights_are_given_pins_that_are_high_while_the_box_starts() {
    let pins =
        |text: &str| -> Vec<_> { parse(text).lamps.iter().map(|lamp| (lamp.program_pin, lamp.preview_pin)).collect() };
    let low = |n: u32| format!("[[lamp]]\ninput = {n}\nactive = \"low\"\n");
    let three = [low(1), low(2), low(3)].concat();
    assert_eq!(pins(&three), [(Some(5), Some(6)), (Some(2), Some(3)), (Some(4), Some(7))]);
    let mixed = format!("{}[[lamp]]\ninput = 2\n{}[strip]\nleds = 1", low(1), low(3));
    assert_eq!(pins(&mixed), [(Some(5), Some(6)), (Some(17), Some(27)), (Some(2), Some(3))]);
    assert_eq!(mistakes(&format!("{three}[strip]\nleds = 1")).len(), 1, "7 is the strip's");
    assert_eq!(
        mistakes(&format!("{three}{}", low(4))),
        [
            "10:1: no pair of pins is left that keeps this lamp dark while the box starts; give it pins (on 9 to 27 it may be lit while the box starts), or use a lamp with `active = \"high\"`"
        ]
    );
}

#[test]
fn pins_that_cannot_be_a_lamps_are_refused_in_words() {
    let pin = |pin: &str, more: &str| {
        let text = format!("[[lamp]]\ninput = 1\nprogram_pin = {pin}\n{more}");
        mistakes(&text).into_iter().next().unwrap_or_default()
    };
    for (number, more, words) in [
        ("28", "", "3:15: `program_pin` must be 0 to 27; write it as `program_pin = 17`"),
        ("21", "", "3:15: GPIO 21 is the reset button's; choose one of 9 to 20 and 22 to 27"),
        ("1", "", "3:15: GPIO 1 is where a board on the header says what it is; choose one of 9 to 27"),
        (
            "4",
            "",
            "3:15: GPIO 4 is high while the box starts, so this lamp would be lit; choose one of 9 to 27, or a lamp with `active = \"low\"`",
        ),
        ("17", "preview_pin = 17", "4:15: GPIO 17 belongs to another lamp already; give each light a pin of its own"),
        (
            "17",
            "[[lamp]]\ninput = 2\npreview_pin = 17",
            "6:15: GPIO 17 belongs to another lamp already; give each light a pin of its own",
        ),
        (
            "10",
            "[strip]\nleds = 1",
            "3:15: GPIO 10 belongs to the SPI bus that the strip hangs on; choose one of 12 to 27",
        ),
    ] {
        assert_eq!(pin(number, more), words);
    }
    for (number, more) in [("4", "active = \"low\""), ("10", ""), ("9", "")] {
        parse(&format!("[[lamp]]\ninput = 1\nprogram_pin = {number}\n{more}"));
    }
    let many = "[[lamp]]\nname = 'N'\ninput = 1\n";
    let many: String = (0..9).map(|n| many.replace('N', &n.to_string())).collect();
    assert_eq!(
        mistakes(&many),
        [
            "25:1: no pair of pins is left for this lamp; give lamps with one light a `program_pin` alone, or hang some on a [strip]"
        ]
    );
}

#[test]
fn a_lamps_name_is_as_long_as_a_name_may_be() {
    let long = "가".repeat(LONGEST_NAME + 1);
    let found = mistakes(&format!("[[lamp]]\nname = '{long}'\ninput = 1"));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("a lamp's name has 1 to 64 characters; write a name such as"), "{found:?}");
    // One that it was not given itself is cut.
    let cut = |input: &str| parse(&format!("[[lamp]]\ninput = {input}")).lamps[0].name.clone();
    assert_eq!(cut(&format!("'{long}'")), format!("{}…", "가".repeat(LONGEST_NAME - 1)));
    assert_eq!(cut(&format!("'{}'", &long["가".len()..])), "가".repeat(LONGEST_NAME));
    assert_eq!(cut(r#""CAM\t1 ""#), "CAM 1");
}

#[test]
fn what_a_lamp_shows_is_checked() {
    let cameras = "[[camera]]\nname = \"Crane\"\ninputs = [1]\n";
    for (lamp, words) in [
        ("", "this [[lamp]] does not say what it shows"),
        ("input = 1\ncamera = \"Crane\"", "this [[lamp]] shows more than one thing"),
        ("camera = \"crane\"", "there is no [[camera]] named \"crane\"; did you mean \"Crane\"?"),
        ("camera = \"Dolly\"", "there is no [[camera]] named \"Dolly\"; the cameras are \"Crane\""),
        ("any_of = [\"Crane\", \"Dolly\"]", "there is no [[camera]] named \"Dolly\"; the cameras are \"Crane\""),
        ("any_of = []", "`any_of` is empty, so this lamp could never be lit"),
        ("show = \"stream\"", "`show` cannot be \"stream\"; did you mean \"streaming\"?"),
        (
            "show = \"streaming\"\npreview_pin = 17",
            "a lamp for streaming or recording knows no preview; leave `preview_pin` out",
        ),
        ("input = 1\nbrightness = 0", "`brightness` must be 1 to 100"),
        ("input = 1\nactive = \"hi\"", "`active` cannot be \"hi\""),
        ("input = 1\nleds = \"1-8\"", "there is no [strip] for these LEDs; add `[strip]` with `leds = 24`"),
        ("input = 1\nleds = \"8-1\"", "`8-1` names no LEDs of a strip"),
        ("input = 1\nleds = \"0\"", "`0` names no LEDs of a strip"),
        ("input = 1\nleds = \"3-5\"\n[strip]\nleds = 4", "the strip has 4 LEDs and no number 5"),
        (
            "input = 1\nleds = \"1-2\"\n[[lamp]]\ninput = 2\nleds = \"2\"\n[strip]\nleds = 4",
            "some of these LEDs belong to the lamp \"Input 1\"",
        ),
        (
            "input = 1\n[[lamp]]\ninput = 1",
            "there is already a [[lamp]] named \"Input 1\"; give each lamp a `name` of its own",
        ),
        ("input = 1\n[strip]\norder = \"GRB\"", "this [strip] has no `leds`"),
        ("input = 1\n[strip]\nleds = 401", "`leds` must be 1 to 400"),
        ("input = 1\n[strip]\nleds = 1\ndevice = \"/dev/spidev1.0\"", "a strip cannot hang on `/dev/spidev1.0`"),
        ("input = 1\n[strip]\nleds = 1\ndevice = \"/dev/ttyS0\"", "`/dev/ttyS0` is no SPI bus"),
    ] {
        let found = mistakes(&format!("{cameras}[[lamp]]\n{lamp}"));
        let [found] = found.as_slice() else { panic!("{lamp}: {found:?}") };
        assert!(found.contains(words), "{lamp}: {found}");
    }
}
