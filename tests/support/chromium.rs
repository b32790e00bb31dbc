//! A headless Chromium driven over the DevTools protocol, with a meter in each of its pages.

use super::appliance::{command, spawn_logged};
use super::painter::{CELL, COLUMNS, LEFT, ROWS, TOP};
use super::{Result, until, wall_micros};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

/// As the end-to-end tests start it.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
];
const PATIENCE: Duration = Duration::from_secs(20);
const METER: &str = include_str!("meter.js");

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A running browser. Dropped, it is killed.
#[derive(Debug)]
pub struct Chromium {
    child: Child,
    wire: Wire,
    _profile: tempfile::TempDir,
}

#[derive(Clone, Debug)]
struct Wire {
    out: mpsc::UnboundedSender<String>,
    waiting: Waiting,
    next: Arc<AtomicU64>,
}

impl Wire {
    async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, reply);
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        self.out.send(message.to_string())?;
        let mut answer = tokio::time::timeout(PATIENCE, answer).await??;
        match answer.get("error") {
            Some(error) => Err(format!("{method}: {error}").into()),
            None => Ok(answer["result"].take()),
        }
    }
}

impl Chromium {
    /// Starts the browser.
    ///
    /// # Errors
    /// There is none, or it does not come up.
    pub async fn launch() -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut chromium = command("/usr/bin/chromium");
        chromium.args(FLAGS).arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let (child, log) = spawn_logged(chromium.env("HOME", profile.path()))?;
        let url = until("Chromium's DevTools", PATIENCE, || async {
            log.text().lines().find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned))
        })
        .await
        .map_err(|error| format!("{error}: {}", log.text()))?;
        let config = tokio_tungstenite::tungstenite::protocol::WebSocketConfig::default().max_message_size(None);
        let (socket, _) =
            tokio_tungstenite::connect_async_with_config(&url, Some(config.max_frame_size(None)), true).await?;
        let (mut sink, mut stream) = socket.split();
        let (out, mut queue) = mpsc::unbounded_channel::<String>();
        let waiting = Waiting::default();
        let replies = waiting.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    message = queue.recv() => {
                        let Some(message) = message else { return };
                        if sink.send(Message::text(message)).await.is_err() { return }
                    }
                    message = stream.next() => {
                        let Some(Ok(message)) = message else { return };
                        let Ok(text) = message.to_text() else { continue };
                        let Ok(value) = serde_json::from_str::<Value>(text) else { continue };
                        let Some(id) = value["id"].as_u64() else { continue };
                        if let Some(reply) = replies.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
                            let _ = reply.send(value);
                        }
                    }
                }
            }
        });
        let wire = Wire { out, waiting, next: Arc::new(AtomicU64::new(1)) };
        Ok(Self { child, wire, _profile: profile })
    }

    /// Opens `url` in a window of its own, with the meter run before the page's own scripts, `options` for it
    /// (`{"hold": true, "through": "127.0.0.1 40000"}`), and then `script`.
    ///
    /// # Errors
    /// The browser refuses.
    pub async fn open(&self, url: &str, script: &str, options: &str) -> Result<Page> {
        let context = self.wire.call(None, "Target.createBrowserContext", json!({})).await?;
        let target = json!({
            "url": "about:blank", "newWindow": true, "width": 1280, "height": 800,
            "browserContextId": context["browserContextId"],
        });
        let target = self.wire.call(None, "Target.createTarget", target).await?;
        let id = target["targetId"].as_str().ok_or("a target without an id")?.to_owned();
        let attached =
            self.wire.call(None, "Target.attachToTarget", json!({ "targetId": id, "flatten": true })).await?;
        let session = attached["sessionId"].as_str().ok_or("a session without an id")?.to_owned();
        let page = Page { wire: self.wire.clone(), session, target: id };
        let clock = json!({ "left": LEFT, "top": TOP, "cell": CELL, "columns": COLUMNS, "rows": ROWS });
        let source = format!("window.__clock = {clock};\nwindow.__meterOptions = {options};\n{METER}\n{script}");
        page.call("Page.enable", json!({})).await?;
        // The meter's own worklet is no part of the page.
        page.call("Page.setBypassCSP", json!({ "enabled": true })).await?;
        page.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source })).await?;
        page.call("Page.navigate", json!({ "url": url })).await?;
        Ok(page)
    }

    /// The product's name and version.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn version(&self) -> Result<String> {
        let version = self.wire.call(None, "Browser.getVersion", json!({})).await?;
        Ok(version["product"].as_str().unwrap_or_default().to_owned())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One page.
#[derive(Debug)]
pub struct Page {
    wire: Wire,
    session: String,
    target: String,
}

impl Page {
    async fn call(&self, method: &str, params: Value) -> Result<Value> {
        self.wire.call(Some(&self.session), method, params).await
    }

    /// The value of a JavaScript expression; promises are waited for.
    ///
    /// # Errors
    /// It throws, or the page is gone.
    pub async fn evaluate(&self, expression: &str) -> Result<Value> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", params).await?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(format!("{expression}: {details}").into()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Milliseconds to be added to the page's wall time to have ours: the quickest of many questions.
    ///
    /// # Errors
    /// The page is gone.
    pub async fn clock_offset(&self) -> Result<f64> {
        let mut best = (f64::MAX, 0.0);
        for _ in 0..40 {
            let asked = wall_micros() as f64 / 1000.0;
            let theirs = self.evaluate("__meter.now()").await?.as_f64().ok_or("no meter in the page")?;
            let answered = wall_micros() as f64 / 1000.0;
            if answered - asked < best.0 {
                best = (answered - asked, (asked + answered) / 2.0 - theirs);
            }
        }
        Ok(best.1)
    }

    /// Closes the page.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn close(self) -> Result<()> {
        self.wire.call(None, "Target.closeTarget", json!({ "targetId": self.target })).await?;
        Ok(())
    }
}
