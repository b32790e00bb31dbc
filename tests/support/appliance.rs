//! The box as a child process: its settings, its addresses, its log, its signals.

use super::{Result, http, now};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A port of the loopback address that nobody uses now, for TCP or UDP.
///
/// Successive calls in one process give different ports.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 199) as u16 * 60;
    loop {
        let port = 20_000 + start + NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

/// A command whose process ends with the thread that starts it, whatever becomes of that.
pub fn command(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let setpriv = Path::new("/usr/bin/setpriv");
    if setpriv.exists() {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Starts `command` with nothing on its input and output, and collects what it complains of.
///
/// # Errors
/// There is no such program.
pub fn spawn_logged(command: &mut Command) -> Result<(Child, Log)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let log = Log::default();
    log.follow(child.stderr.take().ok_or("no stderr")?);
    Ok((child, log))
}

/// The lines a child process writes.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Collects from `pipe` until it ends.
    pub fn follow(&self, pipe: impl Read + Send + 'static) {
        let lines = self.0.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(std::result::Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

/// How the box is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address that everything listens on.
    pub host: &'static str,
    /// `[srt] latency_ms`.
    pub srt_latency_ms: u32,
    /// `[srt] passphrase`; empty for none.
    pub passphrase: String,
    /// `[vmix] host`.
    pub vmix_host: &'static str,
    /// Port of the vMix TCP API; 1 (where nothing listens) without a vMix.
    pub vmix_port: u16,
    /// Whether HTTPS is on.
    pub https: bool,
    /// More TOML, after the fixed sections (`[[stream]]`, `[[camera]]`).
    pub more: String,
    /// Print the log when the box is dropped; the test harness shows it when the test fails.
    pub show_log: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "127.0.0.1",
            srt_latency_ms: 120,
            passphrase: String::new(),
            vmix_host: "127.0.0.1",
            vmix_port: 1,
            https: false,
            more: String::new(),
            show_log: true,
        }
    }
}

/// A running box. Dropped, it is killed.
#[derive(Debug)]
pub struct Appliance {
    child: Child,
    log: Log,
    settings: Settings,
    directory: tempfile::TempDir,
    /// Port of the page, WHEP and the API.
    pub http_port: u16,
    /// Port of the SRT listener.
    pub srt_port: u16,
    /// UDP port of all media.
    pub webrtc_port: u16,
    /// UDP and TCP port that viewers are relayed from.
    pub turn_port: u16,
    /// Port of HTTPS, where it is on.
    pub https_port: u16,
    /// The same for TLS alone, where HTTPS is on.
    turn_tls_port: u16,
}

impl Appliance {
    /// Starts a box on free ports of the loopback address and waits until its API answers.
    ///
    /// # Errors
    /// It does not come up within 10 s; the log is in the error.
    pub async fn start(settings: Settings) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let ports = std::array::from_fn(|_| free_port());
        let log = Log::default();
        let file = directory.path().join("returnfeed.toml");
        std::fs::write(&file, toml(&settings, ports))?;
        let child = spawn(&file, directory.path(), &log)?;
        let [http_port, srt_port, webrtc_port, turn_port, https_port, turn_tls_port] = ports;
        let mut appliance = Self {
            child,
            log,
            settings,
            directory,
            http_port,
            srt_port,
            webrtc_port,
            turn_port,
            https_port,
            turn_tls_port,
        };
        appliance.wait_ready().await?;
        Ok(appliance)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let url = format!("{}/api/v1/status", self.base());
        let deadline = now() + Duration::from_secs(10);
        while now() < deadline && self.child.try_wait()?.is_none() {
            if http::get(&url).await.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ended = self.child.try_wait()?;
        Err(format!("the box does not answer; ended: {ended:?}; log:\n{}", self.log.text()).into())
    }

    /// Ends the process without a word and starts it again with the same settings and ports.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(&self.settings_file(), self.directory.path(), &self.log)?;
        self.wait_ready().await
    }

    /// `http://127.0.0.1:port`.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// What makes an administrator; the box has drawn it at its first start.
    pub fn setup_code(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.directory.path().join("setup-code"))?.trim().to_owned())
    }

    /// `host:port` of the HTTP listener.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    /// The WHEP endpoint of a stream.
    pub fn whep(&self, stream: &str) -> String {
        format!("{}/{stream}/whep", self.base())
    }

    /// Where a source with that stream ID publishes.
    pub fn srt(&self, stream_id: &str) -> String {
        let query = if stream_id.is_empty() { String::new() } else { format!("?streamid={stream_id}") };
        format!("srt://127.0.0.1:{}{query}", self.srt_port)
    }

    /// The file the box reads its settings from.
    pub fn settings_file(&self) -> PathBuf {
        self.directory.path().join("returnfeed.toml")
    }

    /// Where its lamp process is to listen.
    pub fn lamps_socket(&self) -> PathBuf {
        lamps_socket(self.directory.path())
    }

    /// Writes the settings anew, with `change` made; the box rereads them on SIGHUP.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut Settings)) -> Result<()> {
        change(&mut self.settings);
        let Self { http_port, srt_port, webrtc_port, turn_port, https_port, turn_tls_port, .. } = *self;
        let ports = [http_port, srt_port, webrtc_port, turn_port, https_port, turn_tls_port];
        Ok(std::fs::write(self.settings_file(), toml(&self.settings, ports))?)
    }

    /// `GET /api/v1/status`.
    ///
    /// # Errors
    /// No answer, or no JSON.
    pub async fn status(&self) -> Result<serde_json::Value> {
        http::get(&format!("{}/api/v1/status", self.base())).await?.json()
    }

    /// Everything the box has logged.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Its process identifier.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// The operating system cannot say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.settings.show_log {
            eprintln!("--- log of the box ---\n{}\n--- end of log ---", self.log.text());
        }
    }
}

fn lamps_socket(home: &Path) -> PathBuf {
    home.join("lamps.socket")
}

fn spawn(file: &Path, home: &Path, log: &Log) -> Result<Child> {
    // Examples share this module, but cargo tells them of no binary.
    let program = option_env!("CARGO_BIN_EXE_returnfeed").ok_or("only tests and benches start a box")?;
    let mut child = command(program)
        .args(["run", "--config"])
        .arg(file)
        .env("HOME", home)
        .env("XDG_STATE_HOME", home)
        .env("STATE_DIRECTORY", home)
        .env("RETURNFEED_LAMPS", lamps_socket(home))
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    log.follow(child.stdout.take().ok_or("no stdout")?);
    log.follow(child.stderr.take().ok_or("no stderr")?);
    Ok(child)
}

fn toml(settings: &Settings, [http, srt, webrtc, turn, https, turn_tls]: [u16; 6]) -> String {
    let Settings { host, srt_latency_ms, passphrase, vmix_host, vmix_port, more, .. } = settings;
    let (tls_listen, more) = match settings.https {
        true => {
            (format!("tls_listen = \"{host}:{turn_tls}\"\n"), format!("[https]\nlisten = \"{host}:{https}\"\n\n{more}"))
        }
        false => (String::new(), more.clone()),
    };
    let passphrase = if passphrase.is_empty() { String::new() } else { format!("passphrase = \"{passphrase}\"\n") };
    format!(
        "[http]\nlisten = \"{host}:{http}\"\n\n[srt]\nlisten = \"{host}:{srt}\"\nlatency_ms = {srt_latency_ms}\n\
         {passphrase}\n[webrtc]\nlisten = \"{host}:{webrtc}\"\n\n\
         [turn]\nlisten = \"{host}:{turn}\"\n{tls_listen}\n[vmix]\nhost = \"{vmix_host}\"\ntcp_port = {vmix_port}\nhttp_port = 2\n\n{more}\n"
    )
}
