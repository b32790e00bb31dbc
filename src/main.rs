//! Arguments → settings → [`returnfeed::app`].

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use returnfeed::app::{self, Failure};
use returnfeed::cli::{Cli, Command, ExitReason, InstallUpdate};
use returnfeed::clock::Clock;
use returnfeed::settings::{Environment, RESET_BUTTON_GPIO, Settings};
use returnfeed::system::{logging, raise_open_files, reset_is_asked_for};
use returnfeed::update::Failed as InstallFailed;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.command == Command::ResetButton {
        return watch_reset_button();
    }
    if let Command::InstallUpdate(install) = &cli.command {
        return install_update(install);
    }
    let environment = Environment::read();
    let settings = match settings(&cli.command) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}");
            return ExitReason::SettingsRefused.into();
        }
    };
    if let Command::Check(check) = &cli.command {
        println!("{}: no mistakes", check.file.display());
        return ExitReason::Done.into();
    }
    let filter = environment.log_filter.as_deref().unwrap_or(settings.log.level.as_str());
    if matches!(cli.command, Command::Lamps(_)) {
        return match logging::start_without_waiting(filter, environment.logs_to_journal) {
            Ok(()) => ended(app::drive_lamps(&settings, &environment)),
            Err(error) => bad_filter(&error),
        };
    }
    let log = match logging::start(filter, environment.logs_to_journal) {
        Ok(log) => log,
        Err(error) => return bad_filter(&error),
    };
    if let Some(said) = say(&cli.command, &settings, &environment) {
        return ended(said);
    }
    raise_open_files();
    match run(cli.command, settings, &environment, log) {
        Ok(()) => ExitReason::Done.into(),
        Err(failure) => {
            eprintln!("{failure}");
            match failure {
                Failure::CannotBind(_) => ExitReason::CannotBind.into(),
                Failure::Other(_) => ExitReason::Failed.into(),
            }
        }
    }
}

fn bad_filter(error: &impl std::fmt::Display) -> ExitCode {
    eprintln!("RUST_LOG: {error}");
    ExitReason::Usage.into()
}

fn ended(said: anyhow::Result<()>) -> ExitCode {
    match said {
        Ok(()) => ExitReason::Done.into(),
        Err(error) => {
            eprintln!("{error:#}");
            ExitReason::Failed.into()
        }
    }
}

/// Settings play no part: a reset mends those that are wrong.
fn watch_reset_button() -> ExitCode {
    match reset_is_asked_for(RESET_BUTTON_GPIO, &Clock::system(), |words| println!("{words}")) {
        Ok(true) => ExitReason::Done.into(),
        Ok(false) => ExitReason::Failed.into(),
        Err(error) => {
            eprintln!("{error}");
            ExitReason::Failed.into()
        }
    }
}

/// Settings play no part: an update may mend what they cannot.
fn install_update(install: &InstallUpdate) -> ExitCode {
    match app::install_update(install) {
        Ok(words) => {
            println!("{words}");
            ExitReason::Done.into()
        }
        Err(failed) => {
            eprintln!("{failed}");
            match failed {
                InstallFailed::Refused(_) => ExitReason::UpdateRefused.into(),
                _ => ExitReason::Failed.into(),
            }
        }
    }
}

fn settings(command: &Command) -> Result<Settings, returnfeed::settings::SettingsError> {
    match command {
        Command::Run(run)
        | Command::Lamps(run)
        | Command::Network(run)
        | Command::Sheet(run)
        | Command::Console(run)
        | Command::Health(run) => Settings::load_named_or_default(run.config.as_deref()),
        Command::Check(check) => Settings::load(&check.file),
        Command::Demo(_)
        | Command::Simulate(_)
        | Command::Identity
        | Command::ResetButton
        | Command::InstallUpdate(_) => Ok(Settings::default()),
    }
}

/// What needs no runtime, if `command` is that: what only says something.
fn say(command: &Command, settings: &Settings, environment: &Environment) -> Option<anyhow::Result<()>> {
    match command {
        Command::Network(_) => {
            app::print_for_the_machine(settings, environment);
            Some(Ok(()))
        }
        Command::Identity => Some(app::print_identity()),
        Command::Health(_) => Some(app::ask_health(settings)),
        Command::Sheet(_) => Some(app::print_sheet(settings, environment)),
        Command::Console(_) => Some(app::keep_console(settings, environment)),
        _ => None,
    }
}

fn run(command: Command, settings: Settings, environment: &Environment, log: logging::Filter) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let ended = runtime.block_on(async {
        match command {
            Command::Run(run) => {
                let reload = move || Settings::load_named_or_default(run.config.as_deref());
                app::run(settings, environment, log, Box::new(reload)).await
            }
            Command::Demo(demo) => app::demo(&demo).await,
            Command::Simulate(simulate) => app::simulate(&simulate).await,
            _ => Ok(()),
        }
    });
    // A name being looked up cannot be called off, and is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}
