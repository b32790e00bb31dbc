//! The page, built into the binary.
//!
//! The page may stand behind a reverse proxy that forwards only `/{name}` and `/ws/`. So it is told
//! in relative terms where the root of the box is, and its assets are also served below its own
//! address.

use axum::Extension;
use axum::extract::{RawPathParams, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::caller::Caller;
use super::serve::BuiltIn;
use super::{Handles, Named, Refused};
use crate::media::StreamName;

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Built;

/// The page of the default stream.
pub(super) async fn index(State(handles): State<Handles>, caller: Caller) -> Response {
    let name = handles.about.borrow().streams.first().cloned();
    html("./", "", &name.unwrap_or_else(|| StreamName::program().short()), wants_trust(&handles, caller))
}

/// The page of the stream in the address.
pub(super) async fn stream(State(handles): State<Handles>, caller: Caller, uri: Uri, Named(name): Named) -> Response {
    let path = uri.path();
    let root = if path.matches('/').count() > 1 { "../" } else { "./" };
    let last = path.rsplit('/').next().unwrap_or_default();
    html(root, &format!("{last}/"), &name.short(), wants_trust(&handles, caller))
}

/// `/pgm/` is `/pgm`, told relatively so that it holds below any prefix.
pub(super) async fn without_slash(Named(name): Named) -> Redirect {
    Redirect::temporary(&format!("../{}", name.name()))
}

/// A file of the page. Its name changes with its content, so it may be kept for ever.
pub(super) async fn asset(params: RawPathParams) -> Result<Response, Refused> {
    let name = params.iter().find(|(key, _)| *key == "file").map(|(_, value)| value).unwrap_or_default();
    let file = Built::get(&format!("assets/{name}")).ok_or_else(Refused::unknown_address)?;
    Ok(answer(file, name, "public, max-age=31536000, immutable"))
}

/// Whether somebody looks at the page over HTTP who could have HTTPS.
fn wants_trust(handles: &Handles, caller: Caller) -> bool {
    handles.https.is_some() && !caller.secure
}

/// The administrator's page. What it shows is asked for, and answered, as everything else is.
pub(super) async fn administrator() -> Response {
    filled("admin.html", "./", "", "", false)
}

fn html(root: &str, assets: &str, stream: &str, wants_trust: bool) -> Response {
    filled("index.html", root, assets, stream, wants_trust)
}

fn filled(name: &str, root: &str, assets: &str, stream: &str, wants_trust: bool) -> Response {
    let Some(file) = Built::get(name) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "this binary was built without the page\n").into_response();
    };
    let template = String::from_utf8_lossy(&file.data);
    let page = template.replace("%ROOT%", root).replace("%ASSETS%", assets).replace("%STREAM%", stream);
    let page = page.replace("%TRUST%", if wants_trust { "trust" } else { "" });
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, page).into_response()
}

fn answer(file: EmbeddedFile, name: &str, keep: &'static str) -> Response {
    let kind = match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)];
    (headers, Extension(BuiltIn), file.data).into_response()
}
