use super::super::CHUNK;
use super::super::making::{self, Bundle};
use super::*;

struct Bench {
    dir: tempfile::TempDir,
    spool: Spool,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path().join("update"), making::key());
        Self { dir, spool }
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("update")).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn upload(&self, file: &[u8], wishes: Wishes) -> Result<Manifest, NotTaken> {
        let mut upload = self.spool.take(wishes, None)?;
        for piece in file.chunks(70_000) {
            upload.push(piece)?;
        }
        upload.finish()
    }
}

#[test]
fn a_good_upload_waits_with_the_wishes_of_its_uploader() {
    for (wishes, lines) in [
        (Wishes::default(), ""),
        (Wishes { restart_now: true, allow_downgrade: false }, "restart=now\n"),
        (Wishes { restart_now: true, allow_downgrade: true }, "restart=now\nallow-downgrade=yes\n"),
    ] {
        let (bench, file) = (Bench::new(), Bundle::new("9.0.0", 5 * CHUNK + 7).file());
        bench.upload(&file, wishes).unwrap();
        assert_eq!(bench.files(), [WHOLE, OPTIONS]);
        assert!(fs::read(bench.spool.dir.join(WHOLE)).unwrap() == file);
        assert_eq!(fs::read_to_string(bench.spool.dir.join(OPTIONS)).unwrap(), lines);
        assert!(bench.spool.is_waiting() && bench.spool.uploading().is_none());
        assert!(matches!(bench.upload(&file, wishes), Err(NotTaken::Busy)));
        fs::remove_file(bench.spool.dir.join(WHOLE)).unwrap();
        bench.upload(&file, Wishes::default()).unwrap();
        assert_eq!(fs::read_to_string(bench.spool.dir.join(OPTIONS)).unwrap(), "", "older wishes are gone");
    }
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let good = Bundle::new("9.0.0", 2 * CHUNK).file();
    let mut damaged = good.clone();
    damaged[good.len() - CHUNK - 9] ^= 4;
    for (file, code) in [
        (damaged, "damaged"),
        (good[..good.len() - 1].to_vec(), "truncated"),
        ([&good[..], b"\0"].concat(), "trailing_bytes"),
        (Bundle::new("0.0.1", 5000).file(), "older_version"),
        (Vec::new(), "not_an_update"),
    ] {
        let bench = Bench::new();
        match bench.upload(&file, Wishes::default()) {
            Err(NotTaken::Refused(refused)) => assert_eq!(refused.code(), code),
            other => panic!("{code}: {other:?}"),
        }
        assert_eq!(bench.files(), [""; 0], "{code}");
        bench.upload(&good, Wishes::default()).unwrap();
    }
}

#[test]
fn only_one_comes_at_a_time_and_one_that_is_broken_off_makes_place() {
    let (bench, file) = (Bench::new(), Bundle::new("9.0.0", 2 * CHUNK).file());
    let mut first = bench.spool.take(Wishes::default(), None).unwrap();
    first.push(&file[..CHUNK]).unwrap();
    let (version, received, size) = (Some("9.0.0".into()), CHUNK as u64, Some(file.len() as u64));
    assert_eq!(bench.spool.uploading(), Some(Uploading { version, received, size }));
    assert!(matches!(bench.spool.take(Wishes::default(), None), Err(NotTaken::Busy)));
    assert_eq!(bench.files(), [PARTIAL]);
    drop(first);
    assert_eq!(bench.files(), [""; 0]);
    assert_eq!(bench.spool.uploading(), None);
    bench.upload(&file, Wishes::default()).unwrap();
}

#[test]
fn a_length_that_cannot_be_is_refused_before_the_rest_comes() {
    let (bench, file) = (Bench::new(), Bundle::new("9.0.0", 2 * CHUNK).file());
    let announced = |bytes| bench.spool.take(Wishes::default(), Some(bytes));
    assert!(matches!(announced(LARGEST_BUNDLE + 1), Err(NotTaken::TooLarge)));
    let short = announced(file.len() as u64 - 1).unwrap().push(&file[..4000]);
    assert!(matches!(short, Err(NotTaken::Refused(Refused::Truncated { missing: Some(1) }))), "{short:?}");
    let long = announced(file.len() as u64 + 1).unwrap().push(&file[..4000]);
    assert!(matches!(long, Err(NotTaken::Refused(Refused::TrailingBytes))), "{long:?}");
}

#[test]
fn what_an_earlier_life_left_half_done_is_removed_and_what_waits_is_kept() {
    let bench = Bench::new();
    fs::create_dir(&bench.spool.dir).unwrap();
    for name in [PARTIAL, WHOLE] {
        fs::write(bench.spool.dir.join(name), "x").unwrap();
    }
    let spool = Spool::new(bench.spool.dir.clone(), making::key());
    assert_eq!(bench.files(), [WHOLE]);
    assert!(spool.is_waiting());
}

#[test]
fn a_restart_is_asked_for_by_a_file() {
    let bench = Bench::new();
    bench.spool.ask_for_restart().unwrap();
    assert_eq!(bench.files(), [RESTART]);
}

#[test]
fn what_became_of_an_update_is_read_as_the_box_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let updates = Updates { outcome: dir.path().join("result"), ..Updates::default() };
    assert_eq!(updates.outcome(), None);
    fs::write(&updates.outcome, "{\"result\":\"rolled-back\",\"version\":\"0.2.0\",\"signature\":\"a\"}\n").unwrap();
    assert_eq!(updates.outcome(), Some(Outcome { result: "rolled-back".into(), version: "0.2.0".into() }));
    fs::write(&updates.outcome, "confirmed").unwrap();
    assert_eq!(updates.outcome(), None);
}
