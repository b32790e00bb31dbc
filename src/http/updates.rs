//! `/api/v1/update`: an update comes in, and how far it is. Documented in `docs/api.md`.
//!
//! The body is taken piece by piece by a thread that may wait for the card; a refusal is answered as soon as it is
//! certain, while the rest of the body still comes.

use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use url::form_urlencoded;

use super::Handles;
use super::caller::Caller;
use super::language::Language;
use super::refusal::Refused;
use crate::update::{self, Manifest, NotTaken, Outcome, Report, State as Stage, Step, Upload, Uploading, Wishes};
use turned_down::TurnedDown;

mod turned_down;

/// How many pieces may wait for the card; each is what one read of the connection gave, less than half a megabyte.
const WAITING_PIECES: usize = 8;

/// An upload that is silent for so long has been broken off.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// How long the rest of a refused upload is still taken, so that its sender gets to read why.
const HEARD_OUT_FOR: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Update {
    version: &'static str,
    takes_updates: bool,
    upload: Option<UploadReport>,
    waiting: bool,
    install: Option<InstallReport>,
    last: Option<LastReport>,
}

#[derive(Serialize)]
struct UploadReport {
    version: Option<String>,
    received: u64,
    size: Option<u64>,
}

impl From<Uploading> for UploadReport {
    fn from(Uploading { version, received, size }: Uploading) -> Self {
        Self { version, received, size }
    }
}

#[derive(Serialize)]
struct InstallReport {
    state: &'static str,
    step: Option<&'static str>,
    version: Option<String>,
    done: u64,
    size: u64,
    error: Option<String>,
    note: Option<String>,
}

impl From<Report> for InstallReport {
    fn from(Report { state, step, version, done, size, error, note }: Report) -> Self {
        let state = match state {
            Stage::Writing => "writing",
            Stage::Written => "written",
            Stage::Refused => "refused",
            Stage::Failed => "failed",
        };
        let step = step.map(|step| match step {
            Step::Checking => "checking",
            Step::Writing => "writing",
            Step::ReadingBack => "reading_back",
        });
        Self { state, step, version, done, size, error, note }
    }
}

#[derive(Serialize)]
struct LastReport {
    result: String,
    version: String,
}

impl From<Outcome> for LastReport {
    fn from(Outcome { result, version }: Outcome) -> Self {
        Self { result, version }
    }
}

pub(super) async fn progress(State(handles): State<Handles>) -> Response {
    Json(report(&handles).await).into_response()
}

async fn report(handles: &Handles) -> Update {
    let (version, updates) = (handles.about.borrow().version, handles.updates.clone());
    let read = spawn_blocking(move || Update {
        version,
        takes_updates: updates.spool.is_some(),
        upload: updates.spool.as_ref().and_then(update::Spool::uploading).map(UploadReport::from),
        waiting: updates.spool.as_ref().is_some_and(update::Spool::is_waiting),
        install: updates.report().map(InstallReport::from),
        last: updates.outcome().map(LastReport::from),
    });
    read.await.unwrap_or(Update {
        version,
        takes_updates: false,
        upload: None,
        waiting: false,
        install: None,
        last: None,
    })
}

pub(super) async fn upload(
    State(handles): State<Handles>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let language = Language::of(&headers);
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let upload = begin(&handles, query.as_deref().unwrap_or_default(), announced);
    let upload = upload.await.map_err(|turned_down| turned_down.told_in(language))?;
    tracing::info!(peer = %caller.address, "an update is being uploaded");
    let mut body = body.into_data_stream();
    match take(upload, &mut body).await {
        Ok(manifest) => {
            tracing::info!(peer = %caller.address, "update {} is uploaded", manifest.version);
            Ok((StatusCode::ACCEPTED, Json(report(&handles).await)).into_response())
        }
        Err(turned_down) => {
            tracing::warn!(peer = %caller.address, err = %turned_down, "an upload was not taken");
            tokio::spawn(timeout(HEARD_OUT_FOR, hear_out(body)));
            Err(turned_down.told_in(language))
        }
    }
}

async fn begin(handles: &Handles, query: &str, announced: Option<u64>) -> Result<Upload, TurnedDown> {
    let wishes = wishes(query)?;
    let spool = handles.updates.spool.clone().ok_or(TurnedDown::TakesNone)?;
    in_the_background(move || spool.take(wishes, announced)).await
}

/// What the query says.
fn wishes(query: &str) -> Result<Wishes, TurnedDown> {
    let mut wishes = Wishes::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, &*value) {
            ("restart", "now") => wishes.restart_now = true,
            ("allow_downgrade", "yes") => wishes.allow_downgrade = true,
            _ => return Err(TurnedDown::BadOption),
        }
    }
    Ok(wishes)
}

/// Hands what comes to a thread that may wait for the card. Whatever ends this early leaves nothing on the card.
async fn take(mut upload: Upload, body: &mut BodyDataStream) -> Result<Manifest, TurnedDown> {
    let (pieces, mut coming) = mpsc::channel::<Option<Bytes>>(WAITING_PIECES);
    let writing = in_the_background(move || {
        while let Some(piece) = coming.blocking_recv() {
            match piece {
                Some(bytes) => upload.push(&bytes)?,
                None => return upload.finish().map(Some),
            }
        }
        Ok(None)
    });
    let mut writing = std::pin::pin!(writing);
    let feeding = feed(body, pieces);
    tokio::select! {
        // What was refused is known before the rest has come.
        written = &mut writing => written?,
        fed = feeding => {
            fed?;
            writing.await?
        }
    }
    .ok_or(TurnedDown::BrokenOff)
}

/// Passes the pieces on, and `None` behind the last one.
async fn feed(body: &mut BodyDataStream, pieces: mpsc::Sender<Option<Bytes>>) -> Result<(), TurnedDown> {
    loop {
        let piece = match timeout(SILENT_FOR, body.next()).await {
            Ok(Some(Ok(bytes))) => Some(bytes),
            Ok(None) => None,
            Ok(Some(Err(_))) | Err(_) => return Err(TurnedDown::BrokenOff),
        };
        let is_last = piece.is_none();
        // Nobody takes it when it was refused; why is known to who waits for the thread.
        if pieces.send(piece).await.is_err() || is_last {
            return Ok(());
        }
    }
}

/// Takes what still comes and forgets it: a connection that is closed before would take the answer along.
async fn hear_out(mut body: BodyDataStream) {
    while let Some(Ok(_)) = body.next().await {}
}

async fn in_the_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NotTaken> + Send + 'static,
) -> Result<T, TurnedDown> {
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(TurnedDown::from),
        Err(error) => Err(NotTaken::from(io::Error::other(error)).into()),
    }
}

pub(super) async fn restart(
    State(handles): State<Handles>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let asked = ask_for_restart(&handles).await;
    asked.map_err(|turned_down| turned_down.told_in(Language::of(&headers)))?;
    tracing::info!(peer = %caller.address, "the box is asked to start with the update");
    Ok((StatusCode::ACCEPTED, Json(report(&handles).await)).into_response())
}

async fn ask_for_restart(handles: &Handles) -> Result<(), TurnedDown> {
    let updates = handles.updates.clone();
    let spool = updates.spool.clone().ok_or(TurnedDown::TakesNone)?;
    let waits = in_the_background(move || {
        let waits = updates.report().is_some_and(|report| report.state == Stage::Written);
        if waits {
            spool.ask_for_restart()?;
        }
        Ok(waits)
    });
    if waits.await? { Ok(()) } else { Err(TurnedDown::NothingWaits) }
}

#[cfg(test)]
mod tests;
