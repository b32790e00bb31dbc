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
use super::refusal::Refused;
use crate::update::{self, NotTaken, Outcome, Report, State as Stage, Step, Upload, Uploading, Wishes};

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
    let wishes = wishes(query.as_deref().unwrap_or_default())?;
    let spool = handles.updates.spool.clone().ok_or_else(takes_none)?;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let upload = in_the_background(move || spool.take(wishes, announced)).await?;
    tracing::info!(peer = %caller.address, "an update is being uploaded");
    let mut body = body.into_data_stream();
    match take(upload, &mut body).await {
        Ok(manifest) => {
            tracing::info!(peer = %caller.address, "update {} is uploaded", manifest.version);
            Ok((StatusCode::ACCEPTED, Json(report(&handles).await)).into_response())
        }
        Err(refused) => {
            tracing::warn!(peer = %caller.address, err = refused.detail(), "an upload was not taken");
            tokio::spawn(timeout(HEARD_OUT_FOR, hear_out(body)));
            Err(refused)
        }
    }
}

/// What the query says.
fn wishes(query: &str) -> Result<Wishes, Refused> {
    let mut wishes = Wishes::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, &*value) {
            ("restart", "now") => wishes.restart_now = true,
            ("allow_downgrade", "yes") => wishes.allow_downgrade = true,
            _ => {
                let words =
                    "an update is uploaded with `restart=now`, with `allow_downgrade=yes`, with both or neither";
                return Err(Refused::new(StatusCode::BAD_REQUEST, "bad_option", words));
            }
        }
    }
    Ok(wishes)
}

/// Hands what comes to a thread that may wait for the card. Whatever ends this early leaves nothing on the card.
async fn take(mut upload: Upload, body: &mut BodyDataStream) -> Result<update::Manifest, Refused> {
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
    .ok_or_else(broken_off)
}

/// Passes the pieces on, and `None` behind the last one.
async fn feed(body: &mut BodyDataStream, pieces: mpsc::Sender<Option<Bytes>>) -> Result<(), Refused> {
    loop {
        let piece = match timeout(SILENT_FOR, body.next()).await {
            Ok(Some(Ok(bytes))) => Some(bytes),
            Ok(None) => None,
            Ok(Some(Err(_))) | Err(_) => return Err(broken_off()),
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
) -> Result<T, Refused> {
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(Refused::from),
        Err(error) => Err(NotTaken::from(io::Error::other(error)).into()),
    }
}

pub(super) async fn restart(State(handles): State<Handles>, caller: Caller) -> Result<Response, Refused> {
    let updates = handles.updates.clone();
    let spool = updates.spool.clone().ok_or_else(takes_none)?;
    let waits = in_the_background(move || {
        let waits = updates.report().is_some_and(|report| report.state == Stage::Written);
        if waits {
            spool.ask_for_restart()?;
        }
        Ok(waits)
    });
    if !waits.await? {
        let words = "no update is written and waits for a start";
        return Err(Refused::new(StatusCode::CONFLICT, "nothing_waits", words));
    }
    tracing::info!(peer = %caller.address, "the box is asked to start with the update");
    Ok((StatusCode::ACCEPTED, Json(report(&handles).await)).into_response())
}

fn takes_none() -> Refused {
    let words = "this machine takes no updates over the network: that is for boxes of the SD-card image";
    Refused::new(StatusCode::NOT_IMPLEMENTED, "no_updates", words)
}

fn broken_off() -> Refused {
    Refused::new(StatusCode::REQUEST_TIMEOUT, "broken_off", "the upload was broken off; nothing of it is kept")
}

impl From<NotTaken> for Refused {
    fn from(error: NotTaken) -> Self {
        let detail = error.to_string();
        let (status, code) = match error {
            NotTaken::Refused(refused) => (status_of(&refused), refused.code()),
            NotTaken::Busy => (StatusCode::CONFLICT, "busy"),
            NotTaken::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            NotTaken::NoRoom { .. } | NotTaken::Full => (StatusCode::INSUFFICIENT_STORAGE, "no_room"),
            NotTaken::Kept(_) => (StatusCode::INTERNAL_SERVER_ERROR, "not_kept"),
        };
        Self::new(status, code, detail)
    }
}

/// A bundle that would be right at another time is in conflict with the box; any other is wrong by itself.
fn status_of(refused: &update::Refused) -> StatusCode {
    match refused {
        update::Refused::SameVersion(_) | update::Refused::OlderVersion { .. } => StatusCode::CONFLICT,
        update::Refused::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

#[cfg(test)]
mod tests;
