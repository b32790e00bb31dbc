//! The program that sets records of DNS (DNS-01, RFC 8555 §8.4), for whichever name server a person has.
//!
//! It is called as lego's `exec` provider calls one: `PROGRAM present RECORD VALUE` and `PROGRAM cleanup RECORD VALUE`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// For how long it may run; name servers with an interface over the web take seconds.
const WITHIN: Duration = Duration::from_secs(120);

/// Of what it says, the end is kept.
const MOST_KEPT: usize = 4 << 10;

/// What it is to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Present,
    Cleanup,
}

/// A TXT record: its whole name, with the dot that ends it, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) value: String,
}

impl Record {
    /// For `name` (without `*.`, RFC 8555 §8.4).
    pub(super) fn new(name: &str, value: String) -> Self {
        Self { name: format!("_acme-challenge.{name}."), value }
    }
}

/// Has it set or remove a record.
///
/// # Errors
/// With its last words, when it cannot be started, fails or takes too long.
pub(super) async fn run(program: &Path, action: Action, record: &Record) -> Result<(), String> {
    run_within(program, action, record, WITHIN).await
}

async fn run_within(program: &Path, action: Action, record: &Record, within: Duration) -> Result<(), String> {
    let word = match action {
        Action::Present => "present",
        Action::Cleanup => "cleanup",
    };
    let mut command = Command::new(program);
    command.args([word, &record.name, &record.value]);
    // What it starts ends with it, and none of it speaks for the program to the service manager.
    command.process_group(0).kill_on_drop(true).env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let mut group = Group::of(&child);
    let said = child.stderr.take();
    let running = async { tokio::join!(child.wait(), last_words(said)) };
    let Ok((status, words)) = tokio::time::timeout(within, running).await else {
        return Err(format!("it was not done after {} s", within.as_secs()));
    };
    // Nobody is left who holds on to what was started, so that its number may be another's by now.
    group.0 = None;
    let status = status.map_err(|error| error.to_string())?;
    match status.success() {
        true => Ok(()),
        false if words.is_empty() => Err(status.to_string()),
        false => Err(words),
    }
}

/// A process and those it has started. Dropped, they are ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // There may be nobody left.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// The last line that says something.
async fn last_words(said: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut said) = said else { return String::new() };
    let mut kept = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = said.read(&mut piece).await {
        kept.extend_from_slice(piece.get(..count).unwrap_or_default());
        let beyond = kept.len().saturating_sub(MOST_KEPT);
        kept.drain(..beyond);
    }
    let text = String::from_utf8_lossy(&kept);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Script {
        dir: tempfile::TempDir,
    }

    impl Script {
        fn new(body: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("hook");
            std::fs::write(&path, format!("#!/bin/sh\ncd '{}'\n{body}\n", dir.path().display())).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            Self { dir }
        }

        async fn run(&self, action: Action, within: Duration) -> Result<(), String> {
            let record = Record::new("return.studio.tv", "va-l_ue".into());
            run_within(&self.dir.path().join("hook"), action, &record, within).await
        }

        fn written(&self) -> String {
            std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default()
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_is_told_what_to_do_with_which_record() {
        let script = Script::new("echo \"$# $*\" >> out");
        script.run(Action::Present, LONG).await.unwrap();
        script.run(Action::Cleanup, LONG).await.unwrap();
        let record = "_acme-challenge.return.studio.tv. va-l_ue";
        assert_eq!(script.written(), format!("3 present {record}\n3 cleanup {record}\n"));
    }

    #[tokio::test]
    async fn its_last_words_tell_what_is_wrong_with_it() {
        let script = Script::new("echo first >&2; echo no such zone >&2; echo >&2; exit 3");
        assert_eq!(script.run(Action::Present, LONG).await, Err("no such zone".into()));
        let silent = Script::new("exit 3").run(Action::Present, LONG).await.unwrap_err();
        assert!(silent.contains('3'), "{silent}");
        let record = Record::new("a.b", String::new());
        let absent = run(Path::new("/no/such/program"), Action::Present, &record).await.unwrap_err();
        assert!(absent.starts_with("it cannot be started"), "{absent}");
    }

    #[tokio::test]
    async fn one_that_says_more_than_anybody_reads_is_read_to_its_end() {
        let script = Script::new("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo the end >&2; exit 1");
        assert_eq!(script.run(Action::Present, LONG).await, Err("the end".into()));
    }

    #[tokio::test]
    async fn one_that_takes_too_long_has_failed() {
        let error = Script::new("sleep 600").run(Action::Present, Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error, "it was not done after 0 s");
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_all_it_has_started() {
        let script = Script::new("sleep 600 & echo $! > new; mv new out; wait");
        let started = async {
            while script.written().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            ended = script.run(Action::Present, LONG) => panic!("{ended:?}"),
            () = started => {}
        }
        let child: i32 = script.written().trim().parse().unwrap();
        // It is gone, or dead and not yet fetched by whoever inherited it.
        for _ in 0..500 {
            let status = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if status.is_empty() || status.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {child} goes on");
    }
}
