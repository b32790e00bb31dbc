//! What only a box of the SD-card image has: an identity, names on the network, a sheet on its card and its console.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::termios::tcgetwinsize;

use super::convert;
use crate::problems::{Problem, Problems};
use crate::settings::{Environment, Identity, Settings};
use crate::sheet::{self, Sheet};
use crate::system::{Names, Store, local_addresses};

/// The fact under which a machine that has no card keeps its set-up code.
const SETUP_CODE: &str = "setup-code";

/// What is shorter was written by nobody who meant it.
const SHORTEST_SETUP_CODE: usize = 8;

/// How often the console looks for other addresses.
const LOOK: Duration = Duration::from_secs(2);

/// After as many looks the console is painted again even when nothing changed: a message of the kernel may stand on it.
const PAINT_AFTER: u32 = 5;

/// What makes this box one of a kind; none elsewhere. One that cannot be read costs what rests on it, the names and the
/// access point, not the picture.
pub(super) fn identity(environment: &Environment) -> Option<Identity> {
    let loaded = Identity::load(environment.identity.as_deref()?);
    loaded.inspect_err(|error| tracing::error!("{error}")).ok()
}

/// What shows that somebody holds the machine: what is on its card, elsewhere what is drawn at the first start and kept
/// for whoever may read the program's files. Being on the machine is not enough: everybody is, behind a proxy on it.
///
/// # Errors
/// When the system gives no random numbers.
pub(super) fn setup_code(identity: Option<&Identity>, store: &Store, problems: &Problems) -> anyhow::Result<String> {
    if let Some(identity) = identity {
        return Ok(identity.setup_code.clone());
    }
    let path = store.path(SETUP_CODE);
    let (code, kept) = match store.read(SETUP_CODE).filter(|code| code.len() >= SHORTEST_SETUP_CODE) {
        Some(code) => (code, Ok(())),
        None => {
            let drawn = draw()?.setup_code;
            let kept = store.write_private(SETUP_CODE, &drawn);
            (drawn, kept)
        }
    };
    match kept {
        Ok(()) => {
            tracing::info!("whoever administers this box is asked for the set-up code in {}", path.display());
        }
        Err(err) => problems.raise(Problem {
            code: "setup_code_not_kept",
            subject: path.display().to_string(),
            text: format!(
                "Nobody can administer this box, for its set-up code cannot be written to {} ({err}). Start it with \
                 STATE_DIRECTORY naming a directory that its user may write; in a container, one that is kept.",
                path.display()
            ),
        }),
    }
    Ok(code)
}

/// The set-up code of a box of which nothing is kept.
///
/// # Errors
/// When the system gives no random numbers.
pub(super) fn passing_setup_code() -> anyhow::Result<String> {
    Ok(draw()?.setup_code)
}

fn draw() -> anyhow::Result<Identity> {
    let mut random = [0; Identity::RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow!("the system gives no random numbers"))?;
    Identity::draw(&random).context("the system's random numbers are none")
}

/// Answers to the box's names for as long as what is returned lives. Only on the image, whose names are its own; a box
/// that cannot read its identity is still `returnfeed.local`.
pub(super) fn announce(environment: &Environment, identity: Option<&Identity>, page: u16) -> Option<Names> {
    environment.identity.as_ref()?;
    let own = identity.map(|identity| (identity.host_name.as_str(), identity.wifi_name.as_str()));
    let names = Names::announce(sheet::SHARED_NAME, own, page);
    names.inspect_err(|err| tracing::warn!(%err, "the box is not found by its name; its address works")).ok()
}

/// Prints what the image's scripts tell the machine: addresses, ports, radio.
#[expect(clippy::print_stdout, reason = "what was asked for")]
pub fn print_for_the_machine(settings: &Settings, environment: &Environment) {
    print!("{}", settings.for_the_machine(identity(environment).as_ref()));
}

/// Prints a new identity, for the image to keep.
///
/// # Errors
/// When the system gives no random numbers.
#[expect(clippy::print_stdout, reason = "what was asked for")]
pub fn print_identity() -> anyhow::Result<()> {
    print!("{}", draw()?.file());
    Ok(())
}

/// Prints the sheet for the card.
///
/// # Errors
/// When there is no identity, or it cannot be read.
#[expect(clippy::print_stdout, reason = "what was asked for")]
pub fn print_sheet(settings: &Settings, environment: &Environment) -> anyhow::Result<()> {
    let path =
        environment.identity.as_deref().context("RETURNFEED_IDENTITY names no file; only the SD card has one")?;
    let identity = Identity::load(path)?;
    // An address by DHCP is none to be written down.
    let fixed = settings.network.address.map(|network| network.address);
    let own = convert::own(settings, &identity);
    let addresses = fixed.into_iter().chain(own.wifi.as_ref().map(|wifi| wifi.address)).map(Into::into);
    let sheet = Sheet::new(Some(own), addresses, settings.http.listen.port(), settings.srt.listen.port());
    print!("{}", sheet::card(&sheet, &identity.setup_code));
    Ok(())
}

/// Shows the sheet on the terminal, and keeps it up to date until the terminal is gone.
///
/// # Errors
/// When the terminal cannot be written to.
pub fn keep_console(settings: &Settings, environment: &Environment) -> anyhow::Result<()> {
    let own = identity(environment).map(|identity| convert::own(settings, &identity));
    let (page, feed) = (settings.http.listen.port(), settings.srt.listen.port());
    let mut terminal = std::io::stdout().lock();
    let (mut known, mut lines) = (None, Vec::new());
    // UTF-8, the brightest white, no cursor, nothing of the start.
    write!(terminal, "\x1b%G\x1b[0;1m\x1b[?25l\x1b[2J")?;
    for look in 0_u32.. {
        // A monitor that is plugged in later has a size of its own. In its last column a line would not end.
        let size = tcgetwinsize(&terminal).map(|size| (size.ws_col.into(), size.ws_row.into()));
        let (columns, rows) = size.ok().filter(|size| *size != (0, 0)).unwrap_or(sheet::SMALLEST_CONSOLE);
        let facts = ((columns.saturating_sub(1), rows), local_addresses());
        let changed = known.as_ref() != Some(&facts);
        if changed {
            lines = sheet::console(&Sheet::new(own.clone(), facts.1.clone(), page, feed), facts.0);
            known = Some(facts);
        }
        if changed || look.is_multiple_of(PAINT_AFTER) {
            paint(&mut terminal, &lines)?;
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Each line over the one before, so that nothing flickers; no line feed, so that nothing scrolls.
fn paint(terminal: &mut impl Write, lines: &[String]) -> std::io::Result<()> {
    let mut picture = String::new();
    for (line, row) in lines.iter().zip(1..) {
        picture += &format!("\x1b[{row};1H{line}\x1b[K");
    }
    // What is below the last line.
    picture += "\x1b[J";
    terminal.write_all(picture.as_bytes())?;
    terminal.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_card_draws_its_set_up_code_once_and_keeps_it_to_itself() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (store, problems) = (Store::new(dir.path().join("state")), Problems::default());
        let first = setup_code(None, &store, &problems).unwrap();
        assert_eq!((first.len(), setup_code(None, &store, &problems).unwrap()), (11, first.clone()));
        let mode = std::fs::metadata(store.path(SETUP_CODE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        store.write_private(SETUP_CODE, "x").unwrap();
        assert_eq!(setup_code(None, &store, &problems).unwrap().len(), 11, "one that nobody meant");
        let box_of_the_card = draw().unwrap();
        assert_eq!(setup_code(Some(&box_of_the_card), &store, &problems).unwrap(), box_of_the_card.setup_code);
        assert_ne!(passing_setup_code().unwrap(), passing_setup_code().unwrap());
        assert_eq!(problems.list(), []);
    }
    #[test]
    fn a_set_up_code_that_cannot_be_kept_is_a_problem_that_names_its_cure() {
        let dir = tempfile::tempdir().unwrap();
        // Where a directory should be there is a file: that stops root too.
        let no_directory = dir.path().join("state");
        std::fs::write(&no_directory, "").unwrap();
        let (store, problems) = (Store::new(&no_directory), Problems::default());
        assert_eq!(setup_code(None, &store, &problems).unwrap().len(), 11);
        let told = problems.list();
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].code, told[0].subject.as_str()),
            ("setup_code_not_kept", store.path(SETUP_CODE).to_str().unwrap())
        );
        assert!(told[0].text.contains("STATE_DIRECTORY"), "{}", told[0].text);
    }
}
