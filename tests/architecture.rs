//! Keeps the rules between the rooms of `src/` that `ARCHITECTURE.md` draws, and `docs/security.md` true to the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may use. What everybody may use is in [`COMMON`].
const MAY_USE: &[(&str, &[&str])] = &[
    ("access", &["clock"]),
    (
        "app",
        &[
            "cli",
            "http",
            "hub",
            "lamps",
            "settings",
            "sheet",
            "simulator",
            "srt",
            "system",
            "tally",
            "tls",
            "transcode",
            "turn",
            "update",
            "webrtc",
        ],
    ),
    ("cli", &["settings", "simulator", "update"]),
    ("clock", &[]),
    ("codec", &[]),
    ("http", &["hub", "lamps", "sheet", "tally", "tls", "turn", "update", "webrtc"]),
    ("hub", &["codec"]),
    ("lamps", &["system"]),
    ("media", &[]),
    ("mpegts", &["codec"]),
    ("problems", &["clock"]),
    ("settings", &[]),
    ("sheet", &[]),
    ("simulator", &[]),
    ("srt", &["hub", "mpegts"]),
    ("system", &[]),
    ("tally", &[]),
    ("tls", &["system"]),
    ("transcode", &["codec"]),
    ("turn", &["webrtc"]),
    ("update", &[]),
    ("webrtc", &["codec", "hub"]),
];

/// The vocabulary every room but the simulator and the vocabulary itself may use.
const COMMON: &[&str] = &["access", "clock", "media", "problems"];

/// Rooms, or parts of rooms, that take time and bytes as input and touch nothing else.
const PURE: &[&str] = &[
    "codec",
    "lamps/look",
    "lamps/panel",
    "lamps/signal",
    "lamps/wire",
    "lamps/ws2812",
    "media",
    "mpegts",
    "sheet",
    "tally/camera",
    "tally/line",
    "tally/protocol",
    "tally/relay/dialogue",
    "tally/state",
    "tally/xml",
    "tls/acme/kept",
    "tls/acme/schedule",
    "tls/acme/trouble",
    "tls/dates",
    "tls/issued",
    "transcode",
    "turn/allocations",
    "turn/credentials",
    "turn/framing",
    "turn/limits",
    "turn/message",
    "update/bundle",
    "update/key",
    "update/manifest",
    "update/refused",
    "webrtc/batch",
    "webrtc/contained",
    "webrtc/dtls",
    "webrtc/fanout",
    "webrtc/history",
    "webrtc/ice",
    "webrtc/packetizer",
    "webrtc/rtcp",
    "webrtc/rtp",
    "webrtc/sdp",
    "webrtc/sender",
    "webrtc/sending",
    "webrtc/session",
    "webrtc/sound",
    "webrtc/srtp",
];

/// What a pure room may not name.
const IMPURE: &[&str] =
    &["tokio::", "std::net::Udp", "std::net::Tcp", "std::fs", "std::env", "std::thread", "clock::", "rand::"];

fn source_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .flat_map(|path| match path.is_dir() {
            true => source_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .collect();
    files.sort();
    files
}

/// Code without comments and without its test modules.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn relative(path: &Path) -> String {
    path.strip_prefix(src()).unwrap().with_extension("").to_string_lossy().into_owned()
}

/// Tests and fuzz targets make their own time.
fn is_test(path: &Path) -> bool {
    relative(path).split('/').any(|part| ["tests", "fuzzing"].contains(&part) || part.ends_with("_tests"))
}

/// The rooms a text names as `crate::room` or `crate::{room…, other…}`.
fn rooms_used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (start, _) in code.match_indices("crate::") {
        let rest = &code[start + "crate::".len()..];
        let word =
            |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            None => used.extend([word(rest)]),
            Some(list) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => used.extend([word(&std::mem::take(&mut item))]),
                        _ => {}
                    }
                    if depth == 0 && c != ',' {
                        item.push(c);
                    }
                }
                used.extend([word(&item)]);
            }
        }
    }
    used.remove("");
    used
}

#[test]
fn rooms_use_only_the_rooms_they_may() {
    let rules: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut broken = Vec::new();
    for path in source_files(&src()) {
        let name = relative(&path);
        let room = name.split('/').next().unwrap();
        if ["lib", "main"].contains(&room) || is_test(&path) {
            continue;
        }
        let Some(allowed) = rules.get(room) else {
            broken.push(format!("{name}: room {room:?} is not in the table"));
            continue;
        };
        for used in rooms_used(&code(&path)) {
            let is_common = COMMON.contains(&used.as_str()) && room != "simulator";
            let is_vocabulary = COMMON.contains(&room) && used == "media";
            let is_room = rules.contains_key(used.as_str());
            let fine = used == room
                || allowed.contains(&used.as_str())
                || is_vocabulary
                || (is_common && !COMMON.contains(&room));
            if is_room && !fine {
                broken.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(broken.is_empty(), "rules between rooms are broken:\n{}", broken.join("\n"));
}

#[test]
fn pure_rooms_touch_nothing_but_their_input() {
    let mut broken = Vec::new();
    for path in source_files(&src()).into_iter().filter(|path| !is_test(path)) {
        let name = relative(&path);
        if !PURE.iter().any(|pure| name == *pure || name.starts_with(&format!("{pure}/"))) {
            continue;
        }
        let code = code(&path);
        broken.extend(IMPURE.iter().filter(|word| code.contains(**word)).map(|word| format!("{name} names {word}")));
    }
    assert!(broken.is_empty(), "pure rooms are not:\n{}", broken.join("\n"));
}

#[test]
fn every_pure_entry_exists() {
    let names: Vec<String> = source_files(&src()).iter().map(|path| relative(path)).collect();
    for pure in PURE {
        assert!(names.iter().any(|name| name.starts_with(pure)), "{pure} is gone: take it off the table");
    }
}

#[test]
fn every_file_says_what_it_owns() {
    let silent: Vec<String> = source_files(&src())
        .iter()
        .filter(|path| !is_test(path))
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!"))
        .map(|path| relative(path))
        .collect();
    assert!(silent.is_empty(), "files without an opening: {silent:?}");
}

#[test]
fn the_reader_of_rules_finds_every_form_of_use() {
    let found =
        rooms_used("use crate::{tally, webrtc::{self, x}, hub::Hub}; crate::media::X; use crate::http::{a, b};");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["http", "hub", "media", "tally", "webrtc"]);
}

/// Every test of the crate, by name, and every fuzz target.
fn tests_and_fuzz_targets() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests"].into_iter().flat_map(|folder| source_files(&root.join(folder)));
    let mut found = BTreeSet::new();
    for path in files {
        let text = fs::read_to_string(path).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                found.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
                is_test = false;
            }
        }
    }
    for path in source_files(&root.join("fuzz/fuzz_targets")) {
        found.insert(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    found
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_threat_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let known = tests_and_fuzz_targets();
    assert!(known.len() > 500, "the reader of tests found {}", known.len());
    let threats = text.split("\n## Threats\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = threats.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() > 20, "{}", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let shown_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let (files, names): (Vec<_>, Vec<_>) = quoted(shown_by).partition(|name| name.contains('/'));
        if files.is_empty() && names.is_empty() {
            wrong.push(format!("nothing shows: {row}"));
        }
        wrong.extend(
            names.iter().filter(|name| !known.contains(**name)).map(|name| format!("no test is called {name}")),
        );
        wrong.extend(files.iter().filter(|file| !root.join(file).exists()).map(|file| format!("there is no {file}")));
    }
    for file in quoted(&text).filter(|name| ["src/", "tests/", "web/"].iter().any(|folder| name.starts_with(folder))) {
        if !root.join(file).exists() {
            wrong.push(format!("there is no {file}"));
        }
    }
    assert!(wrong.is_empty(), "docs/security.md:\n{}", wrong.join("\n"));
}
