//! `GET /healthz`: whether the box does its work, for who has to decide that without a person. Documented in
//! `docs/api.md`.
//!
//! That there is an answer says that the page is served; what else must not stall is asked a question that it answers
//! between its own work, as the service manager does it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::timeout;

use super::Handles;
use super::refusal::Refused;

/// How long an answer may stay out; it is there within milliseconds as a rule.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Health {
    version: &'static str,
    uptime_s: u64,
}

pub(super) async fn health(State(handles): State<Handles>) -> Response {
    let (media, tally) = tokio::join!(
        timeout(ANSWERS_WITHIN, handles.sessions.felt()),
        timeout(ANSWERS_WITHIN, handles.tally_pulse.felt())
    );
    let stalled = [(media, "a thread that serves viewers does"), (tally, "the client that follows vMix's tally does")];
    let stalled: Vec<&str> = stalled.into_iter().filter_map(|(answer, who)| answer.err().map(|_| who)).collect();
    if !stalled.is_empty() {
        let words = format!("{} not answer", stalled.join(" not answer, and "));
        return Refused::new(StatusCode::SERVICE_UNAVAILABLE, "stalled", words).into_response();
    }
    let (about, now) = (handles.about.borrow().clone(), handles.clock.now());
    let uptime_s = now.saturating_duration_since(about.started).as_secs();
    Json(Health { version: about.version, uptime_s }).into_response()
}
