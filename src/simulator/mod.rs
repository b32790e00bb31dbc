//! A vMix of our own: for the demonstration, for commissioning without a vMix, and for tests.
//!
//! Owns: the TCP API and HTTP API as vMix speaks them, an SRT feed of a moving test picture with sound,
//! a director who cuts by herself, and misbehaviour on command.
//! Does not own anything of the box: it writes vMix's bytes itself and shares no type with the rooms that read them,
//! so that a misreading is not tested against itself.
//! Flows: `programme → mux → feed → SRT`; `show → { dialogue, xml } → links → TCP, HTTP`.

use show::Arguments;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use studio::Studio;
use tokio::net::TcpListener;

mod clip;
mod dialogue;
mod director;
mod feed;
#[doc(hidden)]
pub mod fuzzing;
mod links;
mod misbehaviour;
mod mux;
mod programme;
mod random;
mod show;
mod studio;
#[cfg(test)]
mod tests;
mod xml;

pub use feed::FeedConfig;
pub use misbehaviour::{Misbehaviour, UnknownMisbehaviour};

/// What is simulated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimulatorConfig {
    /// Where the TCP API listens (vMix: port 8099); port 0 takes any.
    pub tcp: Option<SocketAddr>,
    /// Where the HTTP API listens (vMix: port 8088); port 0 takes any.
    pub http: Option<SocketAddr>,
    /// The SRT outputs.
    pub feeds: Vec<FeedConfig>,
    /// Cuts by itself this often.
    pub auto_cut: Option<Duration>,
    /// What the cuts are chosen by.
    pub seed: u64,
    /// Misbehaves from the start.
    pub misbehaviour: Vec<Misbehaviour>,
}

/// Why nothing can be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// A port is in use, or an address is not this computer's.
    #[error(
        "the simulated vMix cannot listen for {what} at {address}: {source}; is another program (a vMix?) using it?"
    )]
    Bind {
        /// TCP, HTTP or SRT.
        what: &'static str,
        /// Where.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A feed is described in a way that SRT does not take.
    #[error("the simulated feed {feed:?} cannot be sent: {reason}")]
    Feed {
        /// Its address.
        feed: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A running simulator. Stops when it is dropped.
#[derive(Debug)]
pub struct Simulator {
    studio: Arc<Studio>,
    tcp: Option<SocketAddr>,
    http: Option<SocketAddr>,
    feeds: Vec<Option<SocketAddr>>,
}

impl Simulator {
    /// Binds everything, then starts.
    ///
    /// # Errors
    ///
    /// [`SimulatorError`]; then nothing is left running.
    pub async fn start(config: SimulatorConfig) -> Result<Self, SimulatorError> {
        let studio = Studio::new();
        let tcp = bind("TCP", config.tcp).await?;
        let http = bind("HTTP", config.http).await?;
        let mut feeds = Vec::new();
        for feed in config.feeds {
            feeds.push(feed::Feed::new(feed, studio.clone()).await?);
        }
        let simulator = Self {
            tcp: tcp.as_ref().map(|(_, address)| *address),
            http: http.as_ref().map(|(_, address)| *address),
            feeds: feeds.iter().map(|feed| feed.address).collect(),
            studio: studio.clone(),
        };
        for misbehaviour in config.misbehaviour {
            studio.misbehave(misbehaviour);
        }
        if let Some((listener, address)) = tcp {
            studio.spawn(links::listen(listener, address, studio.clone(), links::serve_tcp));
        }
        if let Some((listener, address)) = http {
            studio.spawn(links::listen(listener, address, studio.clone(), links::serve_http));
        }
        for feed in feeds {
            studio.spawn(feed.run());
        }
        if let Some(period) = config.auto_cut {
            let (mut director, studio) = (director::Director::new(config.seed), studio.clone());
            let beat = (period / 2).max(Duration::from_millis(1));
            studio.clone().spawn(async move {
                let mut faults = studio.faults();
                // She cannot cut while the program is frozen or not running.
                while faults.wait_for(|faults| !faults.silent && !faults.down).await.is_ok() {
                    tokio::time::sleep(beat).await;
                    studio.change(|show| director.conduct(show));
                }
            });
        }
        Ok(simulator)
    }

    /// Where the TCP API listens.
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Where the HTTP API listens.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Where each feed listens; `None` for one that calls.
    pub fn feeds(&self) -> &[Option<SocketAddr>] {
        &self.feeds
    }

    /// How many feeds are connected now.
    pub fn connected_feeds(&self) -> usize {
        self.studio.connected_feeds.load(Ordering::Relaxed)
    }

    /// One digit for each input: 0 safe, 1 program, 2 preview.
    pub fn tally(&self) -> String {
        self.studio.show().tally()
    }

    /// The titles of the inputs, in order.
    pub fn titles(&self) -> Vec<String> {
        self.studio.show().inputs.into_iter().map(|input| input.title).collect()
    }

    /// The keys (GUIDs) of the inputs, in order.
    pub fn keys(&self) -> Vec<String> {
        self.studio.show().inputs.into_iter().map(|input| input.key).collect()
    }

    /// Puts the input with this number (from 1) on air; what was on air goes to preview.
    pub fn cut_to(&self, number: usize) {
        self.function("Cut", &format!("Input={number}"));
    }

    /// Puts the input with this number (from 1) on preview.
    pub fn preview(&self, number: usize) {
        self.function("PreviewInput", &format!("Input={number}"));
    }

    /// Calls a function as a client would: `OverlayInput1In` with `Input=5`.
    pub fn function(&self, name: &str, query: &str) {
        self.studio.function(name, &Arguments::parse(query));
    }

    /// Misbehaves from now on.
    pub fn misbehave(&self, misbehaviour: Misbehaviour) {
        self.studio.misbehave(misbehaviour);
    }

    /// Stops everything and waits until it has stopped.
    pub async fn stop(self) {
        self.studio.stopped.cancel();
        self.studio.tasks.close();
        self.studio.tasks.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.studio.stopped.cancel();
    }
}

async fn bind(
    what: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<(TcpListener, SocketAddr)>, SimulatorError> {
    let Some(address) = address else { return Ok(None) };
    let wrong = |source| SimulatorError::Bind { what, address: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    Ok(Some((listener, bound)))
}
