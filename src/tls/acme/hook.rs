//! The program that sets records of DNS (DNS-01, RFC 8555 §8.4), for whichever name server a person has.
//!
//! It is called as lego's `exec` provider calls one: `PROGRAM present RECORD VALUE` and `PROGRAM cleanup RECORD VALUE`.

use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::trouble::tame;

/// For how long it may run; name servers with an interface over the web take seconds.
const WITHIN: Duration = Duration::from_secs(120);

/// How long the last words may take of what it has started, which may go on for ever.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Of what it says, the end is kept.
const MOST_KEPT: usize = 4 << 10;

/// Of the environment it gets these alone: the rest is between this program and the service manager.
const HANDED_ON: [&str; 3] = ["HOME", "PATH", "TZ"];

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
/// How, when it cannot be started, fails or takes too long. What it says of that is logged and goes nowhere else: it may
/// be a request with all that is secret in it.
pub(super) async fn run(program: &Path, action: Action, record: &Record) -> Result<(), String> {
    let Ended { status, words } = run_within(program, action, record, WITHIN).await;
    let how = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(how) => how,
    };
    match words.is_empty() {
        true => Err(how),
        false => {
            tracing::warn!(err = how, "the hook of [acme] says of {}: {}", record.name, tame(&words));
            Err(format!("{how}; what it said is in the journal"))
        }
    }
}

/// How one ended.
#[derive(Debug)]
struct Ended {
    status: Result<ExitStatus, String>,
    /// The last line that it wrote to its standard error.
    words: String,
}

async fn run_within(program: &Path, action: Action, record: &Record, within: Duration) -> Ended {
    let word = match action {
        Action::Present => "present",
        Action::Cleanup => "cleanup",
    };
    let mut command = Command::new(program);
    command.args([word, &record.name, &record.value]);
    command.env_clear().envs(HANDED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ended { status: Err(format!("it cannot be started: {error}")), words: String::new() },
    };
    let group = Group::of(&child);
    let (over, ended) = oneshot::channel::<()>();
    let said = child.stderr.take();
    let waiting = async {
        let in_time = tokio::time::timeout(within, group.leader_ended()).await;
        drop(over);
        in_time
    };
    let (in_time, words) = tokio::join!(waiting, last_words(said, ended));
    // What it has started ends with it.
    drop(group);
    let status = match in_time {
        Ok(()) => child.wait().await.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it was not done after {} s", within.as_secs())),
    };
    Ended { status, words }
}

/// A process and those it has started. Dropped, they are ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// Until the process itself has ended. Its status is not fetched: as long as nobody has, its number is nobody
    /// else's, and the group can be ended without fear.
    async fn leader_ended(&self) {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        while let Some(leader) = self.0
            && waitid(Id::Pid(leader), look) == Ok(WaitStatus::StillAlive)
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
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

/// The last line that says something, of what comes until a little after it has ended.
async fn last_words(said: Option<impl AsyncRead + Unpin>, ended: oneshot::Receiver<()>) -> String {
    let Some(mut said) = said else { return String::new() };
    let mut enough = pin!(async {
        let _ = ended.await;
        tokio::time::sleep(LAST_WORDS_WITHIN).await;
    });
    let mut kept = Vec::new();
    let mut piece = [0; 1024];
    while let Some(Ok(count @ 1..)) = tokio::select! {
        read = said.read(&mut piece) => Some(read),
        () = &mut enough => None,
    } {
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
    use std::path::PathBuf;

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

        async fn run(&self, action: Action, within: Duration) -> Ended {
            let record = Record::new("return.studio.tv", "va-l_ue".into());
            run_within(&self.path(), action, &record, within).await
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("hook")
        }

        /// The one whose number it has written.
        async fn until_its_child_is_gone(&self) {
            let child: i32 = self.written().trim().parse().unwrap();
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

        fn written(&self) -> String {
            std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default()
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_is_told_what_to_do_with_which_record() {
        let script = Script::new("echo \"$# $*\" >> out");
        for action in [Action::Present, Action::Cleanup] {
            assert!(script.run(action, LONG).await.status.unwrap().success());
        }
        let record = "_acme-challenge.return.studio.tv. va-l_ue";
        assert_eq!(script.written(), format!("3 present {record}\n3 cleanup {record}\n"));
    }

    #[tokio::test]
    async fn it_is_not_told_what_is_between_this_program_and_others() {
        let script = Script::new("tr '\\0' '\\n' < /proc/$$/environ > out");
        assert!(std::env::vars_os().count() > HANDED_ON.len());
        assert!(script.run(Action::Present, LONG).await.status.unwrap().success());
        let names: Vec<_> =
            script.written().lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
        assert!(names.iter().any(|name| name == "PATH"), "{names:?}");
        assert!(names.iter().all(|name| HANDED_ON.contains(&name.as_str())), "{names:?}");
    }

    #[tokio::test]
    async fn its_last_words_are_for_the_journal_and_how_it_ended_for_everybody() {
        let script = Script::new("echo first >&2; echo no such zone for token=abc >&2; echo >&2; exit 3");
        assert_eq!(script.run(Action::Present, LONG).await.words, "no such zone for token=abc");
        let record = Record::new("a.b", String::new());
        let silent = Script::new("exit 3");
        for (program, how) in [
            (script.path(), "exit status: 3; what it said is in the journal"),
            (silent.path(), "exit status: 3"),
            ("/no/such/program".into(), "it cannot be started: No such file or directory (os error 2)"),
        ] {
            assert_eq!(run(&program, Action::Present, &record).await, Err(how.into()));
        }
    }

    #[tokio::test]
    async fn one_that_says_more_than_anybody_reads_is_read_to_its_end() {
        let script = Script::new("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo the end >&2; exit 1");
        assert_eq!(script.run(Action::Present, LONG).await.words, "the end");
    }

    #[tokio::test]
    async fn one_that_takes_too_long_has_failed() {
        let ended = Script::new("echo slow >&2; sleep 600").run(Action::Present, Duration::from_secs(2)).await;
        assert_eq!((ended.status, ended.words.as_str()), (Err("it was not done after 2 s".into()), "slow"));
    }

    #[tokio::test]
    async fn one_that_leaves_something_behind_has_worked_and_that_is_ended() {
        let script = Script::new("sleep 600 & echo $! > out");
        assert!(script.run(Action::Present, LONG).await.status.unwrap().success());
        script.until_its_child_is_gone().await;
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
        script.until_its_child_is_gone().await;
    }
}
