//! Which stream an address means.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::refusal::Refused;
use crate::media::StreamName;

/// The stream named by the path: `/{name}…`, `/{app}/{name}…`, or SRS's `?app=…&stream=…`.
pub(super) struct Named(pub(super) StreamName);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Refused::unknown_address())?;
        let param = |wanted| params.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value);
        let name = match (param("first"), param("second")) {
            (Some(name), None) => name.parse(),
            (Some(app), Some(name)) => StreamName::new(app, name),
            (None, _) => return srs_query(parts.uri.query().unwrap_or_default()).map(Self),
        };
        name.map(Self).map_err(Refused::from)
    }
}

/// The `{session}` of a path.
pub(super) struct SessionId(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for SessionId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let params = RawPathParams::from_request_parts(parts, state).await.ok();
        let session = params.iter().flatten().find(|(key, _)| *key == "session").map(|(_, value)| value.to_owned());
        Ok(Self(session.unwrap_or_default()))
    }
}

/// SRS names streams in the query: `?app=live&stream=pgm`.
fn srs_query(query: &str) -> Result<StreamName, Refused> {
    let value = |wanted: &str| {
        let pair = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == wanted);
        pair.map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
    };
    let app = value("app").unwrap_or_else(|| "live".into());
    let name = value("stream").ok_or_else(Refused::unknown_address)?;
    StreamName::new(&app, &name).map_err(Refused::from)
}
