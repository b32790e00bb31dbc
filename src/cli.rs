//! The command line: what can be typed, and what the program's end means. Types alone; `main` acts on them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::settings::Source;
use crate::simulator::Misbehaviour;
use crate::update::{self, Slot};

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or stopped as asked
  1  anything not named below
  2  wrong usage of the command line
  3  the settings or the update were refused; every mistake was told
  4  an address or port could not be bound; the setting was named";

/// Shows vMix's programme and each camera's tally in every crew member's browser.
///
/// Try it without vMix:   returnfeed demo
/// Then, with vMix:       returnfeed run
#[derive(Clone, Debug, Parser, PartialEq, Eq)]
#[command(name = "returnfeed", version, verbatim_doc_comment, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can be asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the box: take the feed and tally from vMix, and serve the page.
    #[command(after_help = EXIT_CODES)]
    Run(Run),
    /// Run the box with a simulated vMix: a moving picture and tally that cuts by itself.
    #[command(after_help = EXIT_CODES)]
    Demo(Demo),
    /// Be a vMix: send a test picture to a box and answer its tally questions.
    #[command(after_help = EXIT_CODES)]
    Simulate(Simulate),
    /// Drive the lamps: takes what `returnfeed run` says and lights pins and LEDs; a process of its own, so that no lamp
    /// stays red when that one is gone.
    #[command(after_help = EXIT_CODES)]
    Lamps(Run),
    /// Print what the settings mean for the machine itself: ports, its address, its Wi-Fi (for the SD-card image).
    #[command(after_help = EXIT_CODES)]
    Network(Run),
    /// Wait while the box's reset button is held; succeeds when a factory reset was asked for.
    #[command(after_help = EXIT_CODES)]
    ResetButton,
    /// Print a new identity for a box: its name, its Wi-Fi, its set-up code. The SD-card image keeps one.
    #[command(after_help = EXIT_CODES)]
    Identity,
    /// Print what the SD-card image leaves on its card for a laptop: names, Wi-Fi, set-up code.
    #[command(after_help = EXIT_CODES)]
    Sheet(Run),
    /// Show name, Wi-Fi and addresses with QR codes on this terminal, and keep them up to date.
    #[command(after_help = EXIT_CODES)]
    Console(Run),
    /// Ask the page of the program that runs on this machine whether it does its work; succeeds when it does.
    #[command(after_help = EXIT_CODES)]
    Health(Run),
    /// Write an update to a slot of the card that nothing runs from, and read it back (for the SD-card image).
    #[command(after_help = EXIT_CODES)]
    InstallUpdate(InstallUpdate),
    /// Check a settings file and list every mistake in it; starts nothing.
    #[command(after_help = EXIT_CODES)]
    Check(Check),
}

/// `returnfeed run`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The settings file [default: /etc/returnfeed/returnfeed.toml when it is there, else the defaults].
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `returnfeed demo`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Demo {
    /// The address and port of the page; [::] means every IPv6 and IPv4 address.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "[::]:8889")]
    pub http: SocketAddr,
}

/// `returnfeed simulate`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Simulate {
    /// The box to send the test picture to, as vMix's SRT output would.
    #[arg(long, value_name = "srt://HOST:PORT", default_value = "srt://127.0.0.1:8890")]
    pub srt: Source,
    /// The stream to publish [default: none, which the box calls "pgm"].
    #[arg(long, value_name = "NAME")]
    pub stream_id: Option<String>,
    /// The passphrase that the box asks for, if it does (10 to 79 characters).
    #[arg(long, value_name = "TEXT")]
    pub passphrase: Option<crate::settings::Passphrase>,
    /// The port of the simulated vMix's TCP API (tally).
    #[arg(long, value_name = "PORT", default_value_t = 8099)]
    pub tcp_port: u16,
    /// The port of the simulated vMix's Web Controller.
    #[arg(long, value_name = "PORT", default_value_t = 8088)]
    pub http_port: u16,
    /// Cut to the next input by itself, this often.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub auto_cut: Option<Duration>,
    /// Misbehave from the start; may be given again. A word that is none lists them all.
    #[arg(long, value_name = "FAULT[=VALUE]")]
    pub misbehave: Vec<Misbehaviour>,
}

/// `returnfeed check`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The settings file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `returnfeed install-update`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct InstallUpdate {
    /// The update.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The block device of the slot, or a file that is as large.
    #[arg(long, value_name = "DEVICE")]
    pub to: PathBuf,
    /// Which slot that is: 2 or 3.
    #[arg(long, value_name = "NUMBER", value_parser = slot)]
    pub slot: Slot,
    /// The public key (PEM) of those whose updates are taken.
    #[arg(long, value_name = "PEM")]
    pub key: PathBuf,
    /// Where to tell how far it is, as JSON.
    #[arg(long, value_name = "FILE")]
    pub status: PathBuf,
    /// How fast to write, in MB/s, so that the card has time for its other work.
    #[arg(long, value_name = "MB/S", default_value_t = update::DEFAULT_RATE / 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub rate: u64,
    /// Take the same version and older ones too.
    #[arg(long)]
    pub allow_downgrade: bool,
}

/// A slot by the number of its partition.
fn slot(text: &str) -> Result<Slot, String> {
    match text {
        "2" => Ok(Slot::A),
        "3" => Ok(Slot::B),
        _ => Err("write 2 or 3".into()),
    }
}

/// A time between cuts.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write 0.1 to 86400 seconds".into()),
    }
}

/// Why the program ended. What each means is documented in `docs/config.md` and `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Done, or stopped as asked: 0.
    Done,
    /// Anything that has no number of its own: 1.
    Failed,
    /// The command line makes no sense: 2, as clap ends the program itself.
    Usage,
    /// The settings were refused, or their file could not be read: 3.
    SettingsRefused,
    /// The update was refused: 3.
    UpdateRefused,
    /// An address or port could not be bound: 4.
    CannotBind,
}

impl ExitReason {
    /// The number the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::SettingsRefused | Self::UpdateRefused => 3,
            Self::CannotBind => 4,
        }
    }
}

impl From<ExitReason> for ExitCode {
    fn from(reason: ExitReason) -> Self {
        Self::from(reason.code())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_can_be_typed() {
        assert_eq!(parse("returnfeed run").unwrap(), Command::Run(Run { config: None }));
        assert_eq!(
            parse("returnfeed run --config a.toml").unwrap(),
            Command::Run(Run { config: Some("a.toml".into()) })
        );
        assert_eq!(
            parse("returnfeed demo --http 127.0.0.1:0").unwrap(),
            Command::Demo(Demo { http: "127.0.0.1:0".parse().unwrap() })
        );
        assert_eq!(parse("returnfeed check a.toml").unwrap(), Command::Check(Check { file: "a.toml".into() }));
        assert_eq!(parse("returnfeed reset-button").unwrap(), Command::ResetButton);
        let line =
            "returnfeed install-update a.update --to /dev/b --slot 3 --key c.pem --status d.json --allow-downgrade";
        let Command::InstallUpdate(install) = parse(line).unwrap() else { panic!("install-update was asked for") };
        assert_eq!((install.slot, install.rate, install.allow_downgrade), (Slot::B, 4, true));
        let Command::Simulate(simulate) = parse("returnfeed simulate --srt srt://[::1]:9000 --auto-cut 2.5").unwrap()
        else {
            panic!("simulate was asked for");
        };
        assert_eq!(simulate.srt.address(), "[::1]:9000");
        assert_eq!((simulate.tcp_port, simulate.http_port), (8099, 8088));
        assert_eq!(simulate.auto_cut, Some(Duration::from_millis(2500)));
    }

    #[test]
    fn wrong_usage_ends_with_the_documented_code() {
        for line in [
            "returnfeed",
            "returnfeed runn",
            "returnfeed check",
            "returnfeed run --config",
            "returnfeed demo --http 8889",
            "returnfeed simulate --srt http://a:1",
            "returnfeed simulate --passphrase short",
            "returnfeed simulate --auto-cut 0",
            "returnfeed simulate --auto-cut NaN",
            "returnfeed simulate --tcp-port 70000",
            "returnfeed install-update a.update --to b --slot 4 --key c --status d",
            "returnfeed install-update a.update --to b --slot 3 --key c --status d --rate 0",
            "returnfeed install-update a.update --slot 3 --key c --status d",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), i32::from(ExitReason::Usage.code()), "{line}");
        }
    }

    #[test]
    fn every_help_text_names_the_exit_codes() {
        for line in ["returnfeed --help", "returnfeed run --help", "returnfeed check -h"] {
            let help = parse(line).unwrap_err();
            assert_eq!(help.exit_code(), i32::from(ExitReason::Done.code()));
            for reason in [ExitReason::Done, ExitReason::Usage, ExitReason::SettingsRefused, ExitReason::CannotBind] {
                assert!(help.to_string().contains(&format!("\n  {}  ", reason.code())), "{line}: {help}");
            }
        }
    }
}
