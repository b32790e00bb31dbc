//! `/.well-known/acme-challenge/`: what an ACME server asks for to see that a name leads here (RFC 8555 §8.3).

use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Handles;

/// Below which the tokens are.
const PLACE: &str = "/.well-known/acme-challenge/";

/// Answers for a token that is waited for, whoever asks and by whichever name: the server comes from anywhere, over plain
/// HTTP, and follows no portal. Everything else goes on as if this were not here.
pub(super) async fn answer(State(handles): State<Handles>, request: Request, next: Next) -> Response {
    match expected(&handles, &request) {
        Some(answer) => {
            let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
            (headers, answer).into_response()
        }
        None => next.run(request).await,
    }
}

fn expected(handles: &Handles, request: &Request) -> Option<String> {
    let token = request.uri().path().strip_prefix(PLACE)?;
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    handles.https.as_ref()?.public.as_ref().filter(|_| is_read)?.answer(token)
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::super::tests::Bench;
    use crate::http::{Https, Portal};
    use crate::tls::{Authority, Public};

    #[tokio::test]
    async fn an_acme_server_is_answered_before_everything_else_and_nobody_else_is() {
        let mut bench = Bench::new();
        let authority = Authority { name: "n".into(), der: Vec::new(), pem: String::new() };
        let public = Some(Public::awaiting("return.studio.tv", "tok-en_1", "tok-en_1.thumb"));
        bench.handles.https = Some(Https { port: 443, authority, redirect: true, public });
        // Whoever asks is in the network of the box's own Wi-Fi, for which every foreign name is the portal.
        bench.handles.portal = Some(Portal::new([10, 0, 0, 1].into(), bench.handles.clock.clone()));
        let host = ("host", "return.studio.tv");
        let told = bench.ask(Method::GET, "/.well-known/acme-challenge/tok-en_1", &[host], "").await;
        assert_eq!((told.status(), told.body.as_str()), (200, "tok-en_1.thumb"));
        assert_eq!(told.header("content-type"), "application/octet-stream");
        for (method, path) in [
            (Method::POST, "/.well-known/acme-challenge/tok-en_1"),
            (Method::GET, "/.well-known/acme-challenge/tok-en_2"),
            (Method::GET, "/.well-known/acme-challenge/"),
            (Method::GET, "/.well-known/acme-challenge/tok-en_1/"),
            (Method::GET, "/x/.well-known/acme-challenge/tok-en_1"),
        ] {
            let other = bench.ask(method, path, &[host], "").await;
            assert!(other.status() != 200 && !other.body.contains("thumb"), "{path}");
        }
        bench.handles.https = None;
        assert_ne!(bench.get("/.well-known/acme-challenge/tok-en_1").await.status(), 200);
    }
}
