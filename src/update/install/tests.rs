use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::Running;
use super::super::making::{self, Bundle};
use super::*;

static GOOD: LazyLock<Bundle> = LazyLock::new(|| Bundle::new("9.0.0", 2 * CHUNK + 1234));
static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| GOOD.file());

const FAST: u64 = u64::MAX / 8;

/// A folder with a bundle, a key, and a slot that has something else on it.
struct Bench {
    dir: TempDir,
    slot: Vec<u8>,
}

impl Bench {
    fn new(bundle: &[u8]) -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap(), slot: vec![0xaa; 3 * CHUNK] };
        fs::write(bench.path("bundle"), bundle).unwrap();
        fs::write(bench.path("key"), making::pem()).unwrap();
        fs::write(bench.path("slot"), &bench.slot).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn install(&self, slot: Slot, rate: u64) -> Result<Manifest, Failed> {
        let terms = Terms { running: Running::this(), allow_downgrade: false, room: None };
        let [bundle, target, key, report] = ["bundle", "slot", "key", "status"].map(|name| self.path(name));
        let order = Order { bundle: &bundle, target: &target, slot, key: &key, terms, rate, report: &report };
        install(&order, &Clock::system())
    }

    fn report(&self) -> Report {
        Report::read(&self.path("status")).unwrap()
    }

    fn written(&self) -> Vec<u8> {
        fs::read(self.path("slot")).unwrap()
    }

    fn source(&self) -> Source {
        let terms = Terms { running: Running::this(), allow_downgrade: false, room: None };
        Source::open(File::open(self.path("bundle")).unwrap(), &making::key(), &terms).unwrap()
    }

    fn write(&self, target: &impl Target) -> Result<(), Failed> {
        let (clock, report) = (Clock::system(), self.path("status"));
        write(&self.source(), target, Slot::B, &mut Telling::new(&report, &clock), &mut Pace::new(FAST, &clock))
    }
}

#[test]
fn a_bundle_is_written_to_either_slot_with_its_digit_and_leaves_the_rest_alone() {
    for (slot, digit) in [(Slot::A, b'2'), (Slot::B, b'3')] {
        let bench = Bench::new(&FILE);
        bench.install(slot, FAST).unwrap();
        let (written, wanted) = (bench.written(), GOOD.written(digit));
        assert!(written[..wanted.len()] == wanted, "{slot:?}");
        assert!(written[wanted.len()..].iter().all(|byte| *byte == 0xaa), "{slot:?}");
        let report = bench.report();
        assert_eq!((report.state, report.step, report.error), (State::Written, None, None));
        assert_eq!(
            (report.version.as_deref(), report.done, report.size),
            (Some("9.0.0"), report.size, GOOD.payload.len() as u64)
        );
    }
}

#[test]
fn one_of_less_than_a_sector_is_written_too() {
    let small = Bundle::new("9.0.0", 100);
    let bench = Bench::new(&small.file());
    bench.install(Slot::B, FAST).unwrap();
    assert!(bench.written()[..100] == small.written(b'3'));
}

#[test]
fn what_is_refused_is_told_and_writes_nothing() {
    for (bundle, words) in [
        (Bundle::new("9.0.0", 3 * CHUNK + 1).file(), "there is room for 3145728"),
        (Bundle::new("0.0.1", 5000).file(), "older than"),
        (FILE[..FILE.len() - 1].to_vec(), "1 bytes are missing"),
        ([&FILE[..], b"x"].concat(), "behind its end"),
        (vec![0; 400_000], "no update of ReturnFeed"),
        (FILE[..30].to_vec(), "not whole"),
        (Vec::new(), "no update of ReturnFeed"),
        (Bundle::new("9.0.0", 5000).with("slot_at", Some("7")).file(), "no slot's digit"),
    ] {
        let bench = Bench::new(&bundle);
        let failed = bench.install(Slot::B, FAST).unwrap_err();
        assert!(matches!(failed, Failed::Refused(_)) && failed.to_string().contains(words), "{failed}");
        assert!(bench.written() == bench.slot, "{words}");
        let report = bench.report();
        assert_eq!((report.state, report.error), (State::Refused, Some(failed.to_string())));
    }
}

#[test]
fn what_cannot_be_opened_is_told() {
    for (gone, words) in
        [("bundle", "the update cannot be read"), ("slot", "the slot cannot be"), ("key", "the key of")]
    {
        let bench = Bench::new(&FILE);
        fs::remove_file(bench.path(gone)).unwrap();
        let failed = bench.install(Slot::B, FAST).unwrap_err();
        assert!(failed.to_string().contains(words), "{failed}");
        assert_eq!(bench.report().state, State::Failed);
    }
}

#[test]
fn what_is_no_file_is_not_read() {
    let bench = Bench::new(&FILE);
    fs::remove_file(bench.path("bundle")).unwrap();
    nix::unistd::mkfifo(&bench.path("bundle"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(bench.install(Slot::B, FAST).unwrap_err().to_string().contains("it is no file"));
    fs::remove_file(bench.path("bundle")).unwrap();
    // Where a link leads to does not matter: a good bundle is one that its owner could have put there himself.
    fs::write(bench.path("elsewhere"), &*FILE).unwrap();
    for to in ["/dev/zero", "elsewhere"] {
        let _ = fs::remove_file(bench.path("bundle"));
        std::os::unix::fs::symlink(to, bench.path("bundle")).unwrap();
        assert!(bench.install(Slot::B, FAST).unwrap_err().to_string().contains("it is no file"), "{to}");
    }
}

#[test]
fn a_part_that_changes_meanwhile_is_not_written() {
    let bench = Bench::new(&FILE);
    let mut changed = FILE.clone();
    let at = FILE.len() - GOOD.payload.len() + CHUNK + 5;
    changed[at] ^= 1;
    fs::write(bench.path("bundle"), changed).unwrap();
    let target = File::options().read(true).write(true).open(bench.path("slot")).unwrap();
    let failed = bench.write(&target).unwrap_err();
    assert!(matches!(failed, Failed::Changed(Refused::WrongChunk { part: 2, parts: 3 })), "{failed}");
    let written = bench.written();
    assert!(written[CHUNK..] == bench.slot[CHUNK..] && written[..SECTOR].iter().all(|byte| *byte == 0));
}

#[test]
fn a_slot_is_written_no_faster_than_told() {
    let (bench, clock) = (Bench::new(&FILE), Clock::system());
    let started = clock.now();
    bench.install(Slot::B, 10_000_000).unwrap();
    // A quarter for looking at it, one for writing it, one for reading it back.
    let least = Duration::from_secs_f64(2.25 * GOOD.payload.len() as f64 / 10e6);
    assert!(clock.now() - started >= least, "{:?}", clock.now() - started);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn with_any_flipped_bit_nothing_is_written(at in 0..FILE.len(), head in any::<bool>(), bit in 0..8) {
        let mut file = FILE.clone();
        let at = if head { at % (FILE.len() - GOOD.payload.len()) } else { at };
        file[at] ^= 1_u8 << bit;
        let bench = Bench::new(&file);
        prop_assert!(matches!(bench.install(Slot::B, FAST), Err(Failed::Refused(_))));
        prop_assert!(bench.written() == bench.slot);
        prop_assert_eq!(bench.report().state, State::Refused);
    }
}

/// A card that can lose power: of what was written since it was last told to sync, any sectors may be on it.
struct Card {
    kept: RefCell<Vec<u8>>,
    waiting: RefCell<Vec<(usize, Vec<u8>)>>,
    /// The power goes with this operation, counted down.
    lives: Cell<usize>,
    /// Which of the waiting sectors are on it then.
    luck: Cell<u64>,
    most_waiting: Cell<usize>,
}

impl Card {
    fn new(slot: &[u8], lives: usize, luck: u64) -> Self {
        let (kept, waiting) = (RefCell::new(slot.to_vec()), RefCell::default());
        Self { kept, waiting, lives: Cell::new(lives), luck: Cell::new(luck), most_waiting: Cell::default() }
    }

    fn live(&self) -> io::Result<()> {
        match self.lives.get().checked_sub(1) {
            Some(lives) => {
                self.lives.set(lives);
                Ok(())
            }
            None => {
                self.waiting.borrow_mut().retain(|_| {
                    self.luck.set(self.luck.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                    self.luck.get() >> 63 == 1
                });
                self.keep();
                Err(io::ErrorKind::NotConnected.into())
            }
        }
    }

    fn keep(&self) {
        for (at, sector) in self.waiting.borrow_mut().drain(..) {
            self.kept.borrow_mut()[at..at + sector.len()].copy_from_slice(&sector);
        }
    }
}

impl Target for Card {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).unwrap();
        let sectors = bytes.chunks(SECTOR).enumerate().map(|(n, sector)| (at + n * SECTOR, sector.to_vec()));
        self.waiting.borrow_mut().extend(sectors);
        self.most_waiting.set(self.most_waiting.get().max(self.waiting.borrow().len()));
        self.live()
    }

    fn sync(&self) -> io::Result<()> {
        self.live()?;
        self.keep();
        Ok(())
    }

    fn read_back(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.live()?;
        assert!(self.waiting.borrow().is_empty(), "what was not synced is read from memory");
        let at = usize::try_from(at).unwrap();
        bytes.copy_from_slice(&self.kept.borrow()[at..at + bytes.len()]);
        Ok(())
    }
}

#[test]
fn whenever_the_power_goes_the_slot_is_what_it_was_or_does_not_boot_or_is_whole() {
    let (bench, wanted) = (Bench::new(&FILE), GOOD.written(b'3'));
    let whole = Card::new(&bench.slot, usize::MAX, 0);
    bench.write(&whole).unwrap();
    assert!(whole.kept.borrow()[..wanted.len()] == wanted);
    assert!(whole.most_waiting.get() <= CHUNK / SECTOR, "more than a part waits in memory");
    let operations = usize::MAX - whole.lives.get();
    let (mut as_it_was, mut unbootable, mut done) = (0, 0, 0);
    for lives in 0..operations {
        for luck in 0..8 {
            let card = Card::new(&bench.slot, lives, luck << 61 | luck);
            assert!(bench.write(&card).is_err());
            let kept = card.kept.borrow();
            if *kept == bench.slot {
                as_it_was += 1;
            } else if kept[..SECTOR].iter().all(|byte| *byte == 0) {
                unbootable += 1;
            } else {
                assert!(kept[..wanted.len()] == wanted, "after {lives} operations: neither nor");
                done += 1;
            }
        }
    }
    assert!(as_it_was > 0 && unbootable > 20 && done > 0, "{as_it_was} {unbootable} {done}");
}

/// A card that gives back another bit than it was given.
struct Worn(Card, usize);

impl Target for Worn {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn read_back(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.0.read_back(bytes, at)?;
        if let Some(byte) = self.1.checked_sub(usize::try_from(at).unwrap()).and_then(|within| bytes.get_mut(within)) {
            *byte ^= 1;
        }
        Ok(())
    }
}

#[test]
fn a_card_that_keeps_something_else_is_told_and_does_not_boot() {
    let bench = Bench::new(&FILE);
    let slot_at = usize::try_from(bench.source().head.manifest.slot_at).unwrap();
    for (at, wrong) in [(0, 1), (SECTOR - 1, 1), (SECTOR, 1), (CHUNK, 2), (slot_at, 2), (2 * CHUNK + 1233, 3)] {
        let card = Worn(Card::new(&bench.slot, usize::MAX, 0), at);
        let failed = bench.write(&card).unwrap_err();
        assert!(matches!(failed, Failed::NotKept { part, parts: 3 } if part == wrong), "{at}: {failed}");
        assert!(card.0.kept.borrow()[..SECTOR].iter().all(|byte| *byte == 0), "{at}");
    }
}
