//! What most measurements start from: a box with a painted picture on air, and what a page's meter tells.

use crate::support::appliance::{Appliance, Settings};
use crate::support::chromium::Page;
use crate::support::impair::{Relay, Tap};
use crate::support::painter::{Encoding, Painted};
use crate::support::{Result, until};
use serde::Deserialize;
use std::net::Ipv4Addr;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A box with a painted picture on air as `pgm`.
#[derive(Debug)]
pub struct Studio {
    /// The sender.
    pub source: Painted,
    /// The box.
    pub appliance: Appliance,
    _relay: Option<Relay>,
}

impl Studio {
    /// Starts both; returns when the picture is on air.
    ///
    /// # Errors
    /// One of them does not come up.
    pub async fn start(encoding: &Encoding) -> Result<Self> {
        Self::on_air(encoding, None).await
    }

    /// Starts both with a tap between them.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_tapped(encoding: &Encoding, tap: Tap) -> Result<Self> {
        Self::on_air(encoding, Some(tap)).await
    }

    async fn on_air(encoding: &Encoding, tap: Option<Tap>) -> Result<Self> {
        let settings = Settings { srt_latency_ms: encoding.latency_ms as u32, show_log: false, ..Settings::default() };
        let appliance = Appliance::start(settings).await?;
        let relay = match tap {
            Some(tap) => Some(Relay::start((Ipv4Addr::LOCALHOST, appliance.srt_port).into(), 1, Some(tap))?),
            None => None,
        };
        let port = relay.as_ref().map_or(appliance.srt_port, |relay| relay.address.port());
        let source = Painted::publish(&format!("srt://127.0.0.1:{port}?streamid=pgm"), encoding)?;
        let studio = Self { source, appliance, _relay: relay };
        until("the picture", PATIENCE, || async {
            let status = studio.appliance.status().await.ok()?;
            let stream = status["streams"].as_array()?.iter().find(|stream| stream["live"] == true)?;
            stream["tracks"].as_array()?.iter().any(|track| track["width"].is_u64()).then_some(())
        })
        .await
        .map_err(|error| format!("{error}; ffmpeg: {}; box: {}", studio.source.log(), studio.appliance.log()))?;
        Ok(studio)
    }

    /// Address of the box's own page for the picture.
    pub fn page(&self) -> String {
        format!("{}/pgm", self.appliance.base())
    }
}

/// One picture that a page showed; times in ms on the page's clock.
#[derive(Clone, Debug, Deserialize)]
pub struct Shown {
    /// The callback ran: the picture is in the frame that is drawn next.
    pub at: f64,
    /// The picture was handed to the compositor.
    pub presented: f64,
    /// When the browser expects it to be seen.
    pub expected: f64,
    /// Its last packet had come.
    pub received: Option<f64>,
    /// Pictures handed to the compositor before it, and it.
    pub count: u64,
    /// The clock painted in it, 100 µs.
    pub painted: Option<u32>,
    /// 1 when it is a flash.
    pub flash: u8,
}

/// The first picture that a page let be seen.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct FirstShown {
    /// Just before it was drawn, ms on the page's clock.
    pub at: f64,
    /// Its number, as [`Shown::count`] has it.
    pub count: u64,
}

/// What a page's meter has noted.
#[derive(Clone, Debug, Deserialize)]
pub struct Take {
    /// Wall time of the page's zero, ms.
    pub origin: f64,
    /// Pictures, oldest first.
    pub frames: Vec<Shown>,
    /// When the stream was asked for.
    pub posts: Vec<f64>,
    /// When the box had answered.
    pub answers: Vec<f64>,
    /// When the connection stood.
    pub connected: Vec<f64>,
    /// When the page first let the picture be seen, and which one was up then.
    pub shown: Option<FirstShown>,
    /// When beeps were heard.
    pub beeps: Vec<f64>,
    /// What went wrong in the meter.
    pub faults: Vec<String>,
}

impl Take {
    /// Asks a page for what it has noted since the last time.
    ///
    /// # Errors
    /// The page is gone.
    pub async fn of(page: &Page) -> Result<Self> {
        Ok(serde_json::from_value(page.evaluate("__meter.take()").await?)?)
    }

    /// How old the clock in a picture was at `at` (ms on the page's clock).
    pub fn age(&self, painted: u32, at: f64, offset: f64) -> f64 {
        let wall = ((self.origin + at + offset) * 10.0) as u64;
        f64::from((wall as u32).wrapping_sub(painted) as i32) / 10.0
    }

    /// Age of every picture when `when` says, ms.
    pub fn ages(&self, offset: f64, when: impl Fn(&Shown) -> Option<f64>) -> Vec<f64> {
        self.frames.iter().filter_map(|frame| Some(self.age(frame.painted?, when(frame)?, offset))).collect()
    }
}
