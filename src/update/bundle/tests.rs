use std::sync::LazyLock;

use proptest::prelude::*;
use semver::Version;

use super::super::making::{self, Bundle};
use super::super::{Running, fuzzing};
use super::*;

/// Three parts, the last of them small.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| Bundle::new("0.3.0", 2 * CHUNK + 1234).file());

fn terms() -> Terms {
    let running = Running { version: Version::new(0, 2, 0), state: 2, boards: "raspberry-pi-64".into() };
    Terms { running, allow_downgrade: false, room: None }
}

fn good() -> Bundle {
    Bundle::new("0.3.0", 5000).with("state", Some("2"))
}

fn judge_on(terms: Terms, file: &[u8]) -> Result<Manifest, Refused> {
    let mut arriving = Arriving::new(making::key(), terms);
    arriving.push(file)?;
    arriving.finish()
}

fn judge(file: &[u8]) -> Result<Manifest, Refused> {
    judge_on(terms(), file)
}

fn any_state() -> Terms {
    Terms { running: Running { state: 1, ..terms().running }, ..terms() }
}

#[test]
fn a_good_bundle_is_taken_and_says_what_it_is() {
    let bundle = good().with("state_note", Some("\"it keeps more\""));
    let manifest = judge(&bundle.file()).unwrap();
    assert_eq!((manifest.version, manifest.size), (Version::new(0, 3, 0), 5000));
    assert_eq!((manifest.state, manifest.state_note.as_deref()), (2, Some("it keeps more")));
    assert_eq!(judge_on(any_state(), &GOOD).unwrap().sha256.len(), 3);
}

#[test]
fn what_newer_programs_know_is_left_to_them() {
    assert!(judge(&good().with("colour", Some("\"green\"")).file()).is_ok());
}

#[test]
fn the_head_is_judged_as_soon_as_it_is_whole() {
    let file = Bundle::new("0.1.0", 5000).file();
    let head = Head::read(&file, &making::key()).unwrap().unwrap();
    let end = usize::try_from(head.payload_at).unwrap();
    let mut arriving = Arriving::new(making::key(), any_state());
    arriving.push(&file[..end - 1]).unwrap();
    assert_eq!(arriving.head(), None);
    assert_eq!(arriving.push(&file[end - 1..end]).unwrap_err().code(), "older_version");
}

#[test]
fn versions_are_compared_as_semantic_versioning_says() {
    for (version, code) in [
        ("0.2.1", None),
        ("0.10.0", None),
        ("1.0.0-rc.1", None),
        ("0.2.0", Some("same_version")),
        ("0.2.0+build.7", Some("same_version")),
        ("0.2.0-rc.9", Some("older_version")),
        ("0.1.9", Some("older_version")),
    ] {
        let file = Bundle::new(version, 5000).with("state", Some("2")).file();
        assert_eq!(judge(&file).err().map(|refused| refused.code()), code, "{version}");
        assert!(judge_on(Terms { allow_downgrade: true, ..terms() }, &file).is_ok(), "{version}");
    }
}

#[test]
fn what_the_box_keeps_is_never_given_to_a_program_that_cannot_read_it() {
    let older = good().with("state", Some("1"));
    for allow_downgrade in [false, true] {
        let refused = judge_on(Terms { allow_downgrade, ..terms() }, &older.file()).unwrap_err();
        assert_eq!(refused.code(), "older_state");
        assert!(refused.to_string().contains("cannot read what version 0.2.0 keeps"), "{refused}");
    }
    let noted = older.with("state_note", Some("\"lamps were kept elsewhere\""));
    assert!(judge(&noted.file()).unwrap_err().to_string().contains("back to it: lamps were kept elsewhere."));
}

#[test]
fn an_update_from_which_there_is_no_way_back_has_to_say_why() {
    let newer = good().with("state", Some("3"));
    for (note, is_taken) in
        [(None, false), (Some("\"\""), false), (Some("\" \""), false), (Some("\"lamps are kept elsewhere\""), true)]
    {
        for allow_downgrade in [false, true] {
            let judged = judge_on(Terms { allow_downgrade, ..terms() }, &newer.clone().with("state_note", note).file());
            match is_taken {
                true => assert!(judged.is_ok(), "{judged:?}"),
                false => {
                    let refused = judged.unwrap_err();
                    assert_eq!(refused.code(), "made_wrongly", "{note:?}");
                    assert!(refused.to_string().contains("no way back"), "{refused}");
                }
            }
        }
    }
}

#[test]
fn each_reason_has_its_own_words() {
    let (bundle, words_of) = (good(), |file: &[u8]| judge(file).unwrap_err().to_string());
    let file = bundle.file();
    let other_boards = bundle.clone().with("boards", Some("\"vax\"")).file();
    assert!(words_of(&other_boards).contains("another kind of box (vax)"));
    let small = Terms { room: Some(4999), ..terms() };
    assert!(judge_on(small, &file).unwrap_err().to_string().contains("5000 bytes, and there is room for 4999"));
    assert!(words_of(&file[..file.len() - 3]).contains("3 bytes are missing"));
    assert!(words_of(&file[..100]).contains("not whole: download"));
    assert!(words_of(&[&file[..], b"\n"].concat()).contains("behind its end"));
    assert!(words_of(b"PK\x03\x04").contains("this is no update"));
    assert!(words_of(b"").contains("this is no update"));
    assert!(words_of(&[0; 1000]).contains("this is no update"));
    assert!(words_of(b"RETURNFEED-UPDATE 1\r\n").contains("this is no update"));
    assert!(words_of(b"RETURNFEED-UPDATE 12\n").contains("newer kind"));
    assert!(words_of(b"RETURNFEED-UPDATE 0\n").contains("this is no update"));
    let mut damaged = GOOD.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(judge_on(any_state(), &damaged).unwrap_err().to_string().contains("damaged in part 3 of 3"));
}

#[test]
fn a_bundle_of_somebody_else_is_refused() {
    let somebody = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                    -----END PUBLIC KEY-----\n";
    let mut arriving = Arriving::new(Key::from_pem(somebody).unwrap(), terms());
    assert_eq!(arriving.push(&good().file()), Err(Refused::WrongSignature));
}

#[test]
fn the_length_of_the_manifest_is_a_plain_number_with_a_bound() {
    let file = String::from_utf8_lossy(&good().file()[..200]).into_owned();
    let length = file.lines().nth(2).unwrap().to_owned();
    for other in ["", "0", "+9", "-1", " 9", "9 ", "9\r", "0x9", "099", "1000000", "262145", "٣"] {
        let wrong = file.replacen(&format!("\n{length}\n"), &format!("\n{other}\n"), 1);
        assert_eq!(judge(wrong.as_bytes()), Err(Refused::DamagedHead), "{other:?}");
    }
    let endless = [THIS_KIND, b"\n", &[b'A'; 89]].concat();
    assert_eq!(judge(&endless), Err(Refused::DamagedHead));
}

#[test]
fn a_signed_manifest_that_makes_no_sense_is_told_to_its_makers() {
    for (name, value) in [
        ("version", Some("\"1\"")),
        ("version", Some("3")),
        ("version", None),
        ("built", Some("-1")),
        ("state", Some("-1")),
        ("state", Some("4294967296")),
        ("state_note", Some("\"a\\nb\"")),
        ("boards", Some("\"\\u0007\"")),
        ("size", Some("0")),
        ("size", Some("4999999999")),
        ("size", Some("1048577")),
        ("chunk", Some("4096")),
        ("chunk", Some("0")),
        ("sha256", Some("[]")),
        ("sha256", Some("[\"00\"]")),
        ("sha256", Some("[\"zz\"]")),
        ("slot_at", Some("5000")),
        ("slot_at", None),
    ] {
        let refused = judge(&good().with(name, value).file()).unwrap_err();
        assert_eq!(refused.code(), "made_wrongly", "{name} = {value:?}");
        assert!(!refused.to_string().contains(char::is_control), "{refused}");
    }
    assert_eq!(judge(&making::sign(b"\xff")).unwrap_err().code(), "made_wrongly");
    assert_eq!(judge(&making::sign("[".repeat(200_000).as_bytes())).unwrap_err().code(), "made_wrongly");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_flipped_bit_is_refused(at in 0..GOOD.len(), bit in 0..8) {
        let mut file = GOOD.clone();
        file[at] ^= 1_u8 << bit;
        prop_assert!(judge_on(any_state(), &file).is_err());
    }

    #[test]
    fn any_flipped_bit_of_the_head_is_refused_before_anything_else_comes(at in 0..500_usize, bit in 0..8) {
        let key = making::key();
        let end = usize::try_from(Head::read(&GOOD, &key).unwrap().unwrap().payload_at).unwrap();
        let mut head = GOOD[..end].to_vec();
        let at = at % end;
        head[at] ^= 1_u8 << bit;
        // A length that grew waits for more.
        prop_assert!(!matches!(Head::read(&head, &key), Ok(Some(_))));
    }

    #[test]
    fn a_bundle_that_is_cut_off_or_goes_on_is_refused(len in 0..GOOD.len(), more in 1..2000_usize) {
        prop_assert!(judge_on(any_state(), &GOOD[..len]).is_err());
        prop_assert_eq!(judge_on(any_state(), &[&GOOD[..], &vec![0; more]].concat()), Err(Refused::TrailingBytes));
    }

    #[test]
    fn the_pieces_it_comes_in_change_nothing(cuts in prop::collection::vec(0..GOOD.len(), 0..8)) {
        let (mut arriving, mut cuts, mut from) = (Arriving::new(making::key(), any_state()), cuts, 0);
        cuts.sort_unstable();
        for to in cuts.into_iter().chain([GOOD.len()]) {
            arriving.push(&GOOD[from..to]).unwrap();
            from = to;
        }
        prop_assert!(arriving.finish().is_ok());
    }

    #[test]
    fn any_bytes_get_one_judgement(data in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzzing::update(&data);
        fuzzing::update(&[b"RETURNFEED-UPDATE 1\n", &data[..]].concat());
    }
}
