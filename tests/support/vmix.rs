//! A vMix of the tests' own: its TCP API, with a tally that a test sets and whose lines it times.

use super::Result;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One vMix input.
#[derive(Clone, Debug)]
pub struct Input {
    /// GUID that survives renumbering.
    pub key: String,
    /// Title.
    pub title: String,
    /// `Capture`, `Colour`, `GT`, …
    pub kind: String,
}

impl Input {
    /// Camera number `n` with a key made of it.
    pub fn camera(n: usize) -> Self {
        Self { key: format!("00000000-0000-4000-8000-{n:012}"), title: format!("CAM {n}"), kind: "Capture".to_owned() }
    }
}

#[derive(Debug, Default)]
struct State {
    inputs: Vec<Input>,
    tally: String,
    silent: bool,
}

/// A listening vMix. Dropped, it closes every connection and stops listening.
#[derive(Debug)]
pub struct FakeVmix {
    /// Port of its TCP API.
    pub port: u16,
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl FakeVmix {
    /// Listens on `port` of the loopback address (0: any) with cameras 1 to `cameras`, all safe.
    ///
    /// # Errors
    /// The port is in use.
    pub async fn start(port: u16, cameras: usize) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let port = listener.local_addr()?.port();
        let inputs = (1..=cameras).map(Input::camera).collect();
        let state = Arc::new(Mutex::new(State { inputs, tally: "0".repeat(cameras), silent: false }));
        let (changes, watched) = watch::channel(0);
        let task = tokio::spawn({
            let state = state.clone();
            async move {
                // The connections end with this set, hence with this task.
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(serve(stream, state.clone(), watched.clone()));
                }
            }
        });
        Ok(Self { port, state, changes, task })
    }

    /// Sets the digits of the tally line; every subscriber is sent it at once.
    pub fn set_tally(&self, digits: &str) {
        digits.clone_into(&mut lock(&self.state).tally);
        self.changes.send_modify(|change| *change += 1);
    }

    /// Replaces the inputs.
    pub fn set_inputs(&self, inputs: Vec<Input>) {
        lock(&self.state).inputs = inputs;
        self.changes.send_modify(|change| *change += 1);
    }

    /// Keeps connections open but answers nothing more, as a frozen vMix does.
    pub fn freeze(&self, frozen: bool) {
        lock(&self.state).silent = frozen;
    }
}

impl Drop for FakeVmix {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>, mut changes: watch::Receiver<u64>) -> Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"VERSION OK 29.0.0.49\r\n").await?;
    changes.mark_unchanged();
    let mut subscribed = false;
    loop {
        let answer = tokio::select! {
            changed = changes.changed() => {
                changed?;
                if subscribed { tally_line(&lock(&state)) } else { String::new() }
            }
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                reply(line.trim(), &lock(&state), &mut subscribed)
            }
        };
        if !lock(&state).silent {
            write.write_all(answer.as_bytes()).await?;
        }
    }
}

fn tally_line(state: &State) -> String {
    format!("TALLY OK {}\r\n", state.tally)
}

fn reply(line: &str, state: &State, subscribed: &mut bool) -> String {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    match (command, rest) {
        ("SUBSCRIBE", "TALLY") => {
            *subscribed = true;
            "SUBSCRIBE OK TALLY Subscribed\r\n".to_owned()
        }
        ("SUBSCRIBE" | "UNSUBSCRIBE", what) => format!("{command} OK {what}\r\n"),
        ("TALLY", _) => tally_line(state),
        ("VERSION", _) => "VERSION OK 29.0.0.49\r\n".to_owned(),
        ("XML", _) => {
            let document = xml(state);
            format!("XML {}\r\n{document}\r\n", document.len() + 2)
        }
        ("XMLTEXT", "vmix/version") => "XMLTEXT OK 29.0.0.49\r\n".to_owned(),
        ("FUNCTION", _) => "FUNCTION OK Completed\r\n".to_owned(),
        ("QUIT", _) => "QUIT OK Bye\r\n".to_owned(),
        _ => format!("{command} ER Unknown Command\r\n"),
    }
}

fn xml(state: &State) -> String {
    let with = |digit| state.tally.find(digit).map_or(0, |at| at + 1);
    let mut xml = String::from("<vmix><version>29.0.0.49</version><edition>4K</edition><inputs>");
    for (index, Input { key, title, kind }) in state.inputs.iter().enumerate() {
        let _ = write!(
            xml,
            "<input key=\"{key}\" number=\"{}\" type=\"{kind}\" title=\"{title}\" shortTitle=\"{title}\" \
             state=\"Running\" position=\"0\" duration=\"0\" loop=\"False\">{title}</input>",
            index + 1
        );
    }
    let _ = write!(
        xml,
        "</inputs><overlays><overlay number=\"1\" /><overlay number=\"2\" /><overlay number=\"3\" />\
         <overlay number=\"4\" /></overlays><preview>{}</preview><active>{}</active>\
         <fadeToBlack>False</fadeToBlack><recording>False</recording><external>False</external>\
         <streaming>False</streaming></vmix>",
        with('2'),
        with('1')
    );
    xml
}
