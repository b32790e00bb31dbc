//! Who gets what over HTTP, from the outside.

use std::io::Write;
use std::sync::Mutex;

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::caller::Caller;
use super::tests::Bench;
use super::*;
use crate::access::{self, Action, Asker, Parts, Policy, Secret, Viewing};

const CODE: &str = "bkmqp-xrthw";
const PASSWORD: &str = "correct horse";
const PIN: &str = "482915";
const FAR: [u8; 4] = [198, 51, 100, 9];
const JSON: (&str, &str) = ("content-type", "application/json");
const BY_CODE: (&str, &str) = ("authorization", "Bearer bkmqp-xrthw");

/// A box that is asked from far away.
struct House {
    bench: Bench,
    secure: bool,
}

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: String,
}

impl Answer {
    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What a browser sends back.
    fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}

impl House {
    fn with(policy: Policy) -> Self {
        let mut bench = Bench::new();
        let clock = bench.handles.clock.clone();
        let setup_code = CODE.to_owned();
        let interfaces = || None;
        let parts = Parts { setup_code, policy, interfaces, among_strangers: true, memory: None, clock };
        bench.handles.access = Access::new(parts);
        Self { bench, secure: true }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "box.local");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(Caller { address: FAR.into(), secure: self.secure, vouched: false });
        let response = router(self.bench.handles.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn link(&self, role: &str) -> serde_json::Value {
        let wish = format!(r#"{{"name":"Crane","role":"{role}"}}"#);
        let made = self.ask(Method::POST, "/api/v1/links", &[BY_CODE, JSON], &wish).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()
    }
}

fn viewing(viewing: Viewing) -> Policy {
    Policy { viewing, pin: Some(Secret::new(PIN)), ..Policy::default() }
}

/// An address of a route.
fn example(path: &str) -> String {
    let values = [("{first}", "pgm"), ("{second}", "cam"), ("{session}", "none"), ("{file}", "none.js")];
    let more = [("{token}", "none"), ("{id}", "none"), ("{name}", "none")];
    values.into_iter().chain(more).fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
}

const METHODS: [Method; 6] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

#[tokio::test(start_paused = true)]
async fn a_stranger_walks_over_every_route_and_gets_what_is_no_secret() {
    // Everything that gives anything at all to somebody who shows nothing.
    let given = [
        ("GET", "/", 200),
        ("GET", "/admin", 200),
        ("GET", "/api/v1/session", 200),
        ("DELETE", "/api/v1/session", 204),
        ("GET", "/assets/setup-sheet.css", 200),
        ("GET", "/healthz", 200),
        ("GET", "/join/none", 303),
        ("GET", "/pgm", 200),
        ("GET", "/pgm/", 307),
        ("GET", "/pgm/cam", 200),
        ("OPTIONS", "/pgm/cam/whep", 200),
        ("GET", "/pgm/join/none", 303),
        ("OPTIONS", "/pgm/whep", 200),
        ("OPTIONS", "/pgm/whep/none", 200),
        ("OPTIONS", "/pgm/cam/whep/none", 200),
        ("OPTIONS", "/rtc/v1/whep", 200),
        ("OPTIONS", "/rtc/v1/whep/", 200),
        ("OPTIONS", "/rtc/v1/whep/none", 200),
    ];
    for mode in [Viewing::Open, Viewing::Pin, Viewing::Links] {
        let house = House::with(viewing(mode));
        let paths = routes(&house.bench.handles).paths;
        assert!(paths.len() > 40, "the walk is over all of them");
        let mut got = std::collections::BTreeSet::new();
        for (role, path) in &paths {
            for method in METHODS {
                let path = example(path);
                let answer = house.ask(method.clone(), &path, &[JSON], "{}").await;
                if answer.status < 400 {
                    assert!(!answer.headers.contains_key("link"), "a relay's login for {method} {path}");
                    got.insert((method.as_str().to_owned(), path, answer.status));
                } else if *role > Role::Anyone {
                    let turned_down = [401, 403, 404, 405].contains(&answer.status);
                    // What has an open method as well may say that the body is none.
                    assert!(turned_down || answer.status == 415, "{method} {path} as {role:?}: {}", answer.status);
                }
            }
        }
        let expected: std::collections::BTreeSet<_> =
            given.iter().map(|(method, path, status)| ((*method).to_owned(), (*path).to_owned(), *status)).collect();
        assert_eq!(got, expected, "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_gets_as_far_as_their_role_goes() {
    let house = House::with(viewing(Viewing::Links));
    let (viewer, director) = (house.link("viewer").await, house.link("director").await);
    let bearer = |link: &serde_json::Value| format!("Bearer {}", link["token"].as_str().unwrap());
    let (viewer, director) = (bearer(&viewer), bearer(&director));
    for (path, method, as_viewer, as_director) in [
        ("/api/v1/ice-servers", Method::GET, 200, 200),
        ("/pgm/whep", Method::GET, 204, 204),
        ("/api/v1/status", Method::GET, 403, 200),
        ("/setup-sheet", Method::GET, 403, 200),
        ("/api/v1/links", Method::GET, 401, 401),
        ("/api/v1/links", Method::POST, 401, 401),
        ("/api/v1/update", Method::PUT, 401, 401),
        ("/api/v1/update/restart", Method::POST, 401, 401),
        ("/api/v1/lamps/test", Method::POST, 401, 401),
        ("/api/v1/administrator/password", Method::PUT, 401, 401),
    ] {
        for (token, status) in [(&viewer, as_viewer), (&director, as_director)] {
            let answer = house.ask(method.clone(), path, &[("authorization", token)], "").await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        }
        assert!(house.ask(method, path, &[BY_CODE], "").await.status != 401, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_shown_with_a_question_of_how_to_be_relayed_is_a_guess_like_any_other() {
    let house = House::with(viewing(Viewing::Links));
    for path in ["/pgm/whep", "/rtc/v1/whep", "/pgm/whep/none"] {
        let started = tokio::time::Instant::now();
        let wrong = house.ask(Method::OPTIONS, path, &[("authorization", "Bearer bkmqp-xrthv")], "").await;
        assert_eq!((wrong.status, wrong.code().as_str()), (401, "secret_wrong"), "{path}");
        assert_eq!(started.elapsed(), crate::access::WRONG_ANSWERED_AFTER, "{path}");
        assert_eq!(wrong.header("access-control-allow-origin"), "*", "{path}");
    }
    for _ in 0..7 {
        house.ask(Method::OPTIONS, "/pgm/whep", &[("authorization", "Bearer bkmqp-xrthv")], "").await;
    }
    let right = house.ask(Method::OPTIONS, "/pgm/whep", &[BY_CODE], "").await;
    assert_eq!((right.status, right.code().as_str()), (429, "locked_out"));
    let bare = house.ask(Method::OPTIONS, "/pgm/whep", &[], "").await;
    assert_eq!((bare.status, bare.header("link")), (200, ""), "a browser asks without a secret");
}

#[tokio::test(start_paused = true)]
async fn a_pin_is_entered_once_and_what_is_given_for_it_is_the_browsers_alone() {
    let mut house = House::with(viewing(Viewing::Pin));
    let refused = house.ask(Method::GET, "/api/v1/ice-servers", &[], "").await;
    assert_eq!((refused.status, refused.code()), (401, "pin_needed".into()));
    let started = tokio::time::Instant::now();
    let wrong = house.ask(Method::POST, "/api/v1/session", &[JSON], r#"{"pin":"482916"}"#).await;
    assert_eq!((wrong.status, wrong.code()), (401, "pin_wrong".into()));
    assert_eq!(started.elapsed(), crate::access::WRONG_ANSWERED_AFTER);
    for malformed in ["", "{}", r#"{"pin":1}"#, r#"{"pin":"482915","password":"x"}"#, r#"{"pin":"482915","x":1}"#] {
        assert_eq!(house.ask(Method::POST, "/api/v1/session", &[JSON], malformed).await.status, 400, "{malformed}");
    }
    let form = ("content-type", "application/x-www-form-urlencoded");
    assert_eq!(house.ask(Method::POST, "/api/v1/session", &[form], r#"{"pin":"482915"}"#).await.status, 415);
    for secure in [true, false] {
        house.secure = secure;
        let right = house.ask(Method::POST, "/api/v1/session", &[JSON], r#"{"pin":"482915"}"#).await;
        assert_eq!((right.status, right.json()["role"].as_str()), (200, Some("viewer")));
        assert_eq!(right.header("cache-control"), "no-store");
        let attributes = right.header("set-cookie");
        assert!(attributes.contains("; HttpOnly; SameSite=Strict"), "{attributes}");
        assert_eq!(attributes.starts_with("__Host-") && attributes.contains("; Secure"), secure, "{attributes}");
        let cookie = right.cookie();
        let shown = [("cookie", cookie.as_str())];
        assert_eq!(house.ask(Method::GET, "/api/v1/ice-servers", &shown, "").await.status, 200);
        house.secure = !secure;
        assert_eq!(house.ask(Method::GET, "/api/v1/ice-servers", &shown, "").await.status, 401, "of the other scheme");
        house.secure = secure;
        let out = house.ask(Method::DELETE, "/api/v1/session", &shown, "").await;
        assert_eq!((out.status, out.headers.get_all("set-cookie").iter().count()), (204, 2));
        assert_eq!(house.ask(Method::GET, "/api/v1/ice-servers", &shown, "").await.status, 401);
    }
    for _ in 0..9 {
        house.ask(Method::POST, "/api/v1/session", &[JSON], r#"{"pin":"000000"}"#).await;
    }
    let locked = house.ask(Method::POST, "/api/v1/session", &[JSON], r#"{"pin":"482915"}"#).await;
    assert_eq!((locked.status, locked.header("retry-after")), (429, "60"));
}

#[tokio::test(start_paused = true)]
async fn a_link_lets_in_and_its_token_leaves_the_address() {
    let house = House::with(viewing(Viewing::Links));
    let made = house.link("viewer").await;
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["url"], format!("https://box.local/join/{token}"));
    assert!(made["qr"].as_str().unwrap().starts_with("<svg"));
    for (path, page) in [("/join/", "../"), ("/studio_feed/join/", "../../studio_feed")] {
        let joined = house.ask(Method::GET, &format!("{path}{token}"), &[("sec-fetch-site", "cross-site")], "").await;
        assert_eq!((joined.status, joined.header("location")), (303, page));
        assert_eq!((joined.header("cache-control"), joined.header("referrer-policy")), ("no-store", "no-referrer"));
        let cookie = joined.cookie();
        let session = house.ask(Method::GET, "/api/v1/session", &[("cookie", &cookie)], "").await.json();
        assert_eq!((session["way"].as_str(), session["name"].as_str()), (Some("link"), Some("Crane")));
    }
    let hostile = house.ask(Method::GET, &format!("/%0d%0aset-cookie:x=y%2f%2fevil/join/{token}"), &[], "").await;
    assert!(!hostile.header("location").contains(['\r', '\n', ':']), "{}", hostile.header("location"));
    let listed = house.ask(Method::GET, "/api/v1/links", &[BY_CODE], "").await;
    assert!(!listed.body.contains(token) && listed.json()["links"][0]["name"] == "Crane");
    let id = made["link"]["id"].as_str().unwrap();
    let revoke = format!("/api/v1/links/{id}");
    assert_eq!(house.ask(Method::DELETE, &revoke, &[], "").await.status, 401);
    assert_eq!(house.ask(Method::DELETE, &revoke, &[BY_CODE], "").await.status, 204);
    assert_eq!(house.ask(Method::DELETE, &revoke, &[BY_CODE], "").await.status, 404);
    let ended = house.ask(Method::GET, &format!("/join/{token}"), &[], "").await;
    assert_eq!((ended.header("location"), ended.header("set-cookie")), ("../#link-ended", ""));
    let shown = format!("Bearer {token}");
    let refused = house.ask(Method::GET, "/pgm/whep", &[("authorization", &shown)], "").await;
    assert_eq!((refused.status, refused.code()), (401, "link_ended".into()));
}

#[tokio::test(start_paused = true)]
async fn the_password_is_set_with_the_set_up_code_and_a_browser_signed_in_cannot_change_it() {
    let mut house = House::with(Policy::default());
    let sign_in = format!(r#"{{"password":"{PASSWORD}"}}"#);
    let none = house.ask(Method::POST, "/api/v1/session", &[JSON], &sign_in).await;
    assert_eq!((none.status, none.code()), (409, "no_password".into()));
    let password = "/api/v1/administrator/password";
    assert_eq!(house.ask(Method::PUT, password, &[JSON], &sign_in).await.status, 401);
    let short = house.ask(Method::PUT, password, &[JSON, BY_CODE], r#"{"password":"short"}"#).await;
    assert_eq!((short.status, short.code()), (422, "weak_password".into()));
    let set = house.ask(Method::PUT, password, &[JSON, BY_CODE], &sign_in).await;
    assert_eq!((set.status, set.json()["role"].as_str()), (200, Some("administrator")), "{}", set.body);
    let cookie = set.cookie();
    let cookie = ("cookie", cookie.as_str());
    assert_eq!(house.ask(Method::GET, "/api/v1/links", &[cookie], "").await.status, 200);
    assert_eq!(house.ask(Method::PUT, password, &[JSON, cookie], &sign_in).await.status, 401);
    let wrong = house.ask(Method::POST, "/api/v1/session", &[JSON], r#"{"password":"wrong horse"}"#).await;
    assert_eq!((wrong.status, wrong.code()), (401, "password_wrong".into()));
    assert_eq!(house.ask(Method::POST, "/api/v1/session", &[JSON], &sign_in).await.status, 200);
    house.secure = false;
    for (https_port, code) in [(None, "https_off"), (Some(443), "https_needed")] {
        house.bench.handles.access.apply(Policy { https_port, ..Policy::default() });
        for (method, path, headers) in [
            (Method::POST, "/api/v1/session", &[JSON][..]),
            (Method::PUT, password, &[JSON, BY_CODE]),
            (Method::PUT, "/api/v1/update", &[BY_CODE]),
            (Method::GET, "/api/v1/links", &[BY_CODE]),
        ] {
            let refused = house.ask(method, path, headers, &sign_in).await;
            assert_eq!((refused.status, refused.code()), (403, code.into()), "{path}");
        }
        let session = house.ask(Method::GET, "/api/v1/session", &[], "").await.json();
        assert_eq!(session["administration"], code);
    }
    for (port, address) in [(443, "https://box.local/"), (8443, "https://box.local:8443/")] {
        house.bench.handles.access.apply(Policy { https_port: Some(port), ..Policy::default() });
        let refused = house.ask(Method::PUT, "/api/v1/update", &[BY_CODE], "").await;
        assert!(refused.body.contains(&format!("HTTPS only {address}")), "{}", refused.body);
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_of_another_site_makes_a_browser_change_nothing() {
    let house = House::with(viewing(Viewing::Pin));
    let password = format!(r#"{{"password":"{PASSWORD}"}}"#);
    let set = house.ask(Method::PUT, "/api/v1/administrator/password", &[JSON, BY_CODE], &password).await;
    let cookie = set.cookie();
    let cookie = ("cookie", cookie.as_str());
    let wish = r#"{"name":"x"}"#;
    for foreign in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://box.local")],
        &[("origin", "https://evil.example")],
        &[("origin", "https://box.local.evil.example")],
        &[("origin", "null")],
        &[("origin", "")],
    ] {
        let headers = [&[JSON, cookie][..], foreign].concat();
        for (method, path) in [
            (Method::POST, "/api/v1/links"),
            (Method::POST, "/api/v1/session"),
            (Method::DELETE, "/api/v1/session"),
            (Method::POST, "/api/v1/update/restart"),
        ] {
            let refused = house.ask(method.clone(), path, &headers, wish).await;
            assert_eq!((refused.status, refused.code()), (403, "another_site".into()), "{method} {path} {foreign:?}");
        }
        let socket = house.ask(Method::GET, "/ws", &headers, "").await;
        assert_eq!((socket.status, socket.code()), (403, "another_site".into()), "{foreign:?}");
        let read = house.ask(Method::GET, "/api/v1/links", &headers, "").await;
        assert_eq!(read.status, 401, "a cookie counts for nothing then: {foreign:?}");
        let watch = house.ask(Method::GET, "/api/v1/ice-servers", &headers, "").await;
        assert_eq!(watch.status, 401, "{foreign:?}");
        let by_code = [&[JSON, BY_CODE][..], foreign].concat();
        assert_eq!(house.ask(Method::POST, "/api/v1/links", &by_code, wish).await.status, 201, "no browser adds that");
    }
    for own in [
        &[("sec-fetch-site", "same-origin"), ("origin", "https://rewritten.example")][..],
        &[("origin", "https://box.local")],
        &[("origin", "https://box.local:8443")],
        &[],
    ] {
        let headers = [&[JSON, cookie][..], own].concat();
        assert_eq!(house.ask(Method::POST, "/api/v1/links", &headers, wish).await.status, 201, "{own:?}");
    }
    let trusting = Policy { origins: vec!["https://studio.example".into()], ..viewing(Viewing::Pin) };
    house.bench.handles.access.apply(trusting);
    let headers = [JSON, cookie, ("origin", "https://studio.example")];
    assert_eq!(house.ask(Method::POST, "/api/v1/links", &headers, wish).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn every_answer_hardens_the_browser() {
    let house = House::with(viewing(Viewing::Pin));
    for path in ["/", "/pgm", "/api/v1/session", "/api/v1/status", "/nothing/at/all", "/pgm/whep", "/join/none"] {
        let answer = house.ask(Method::GET, path, &[], "").await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "SAMEORIGIN"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        assert!(answer.header("permissions-policy").contains("camera=()"), "{path}");
    }
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_in_the_log_nor_in_the_status() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let key = Secret::new("key-of-the-programme");
    let house = House::with(Policy { key: Some(key), ..viewing(Viewing::Pin) });
    let access = &house.bench.handles.access;
    let by = Asker { from: Some(FAR.into()), secure: true, secret: Some(CODE.into()), ..Asker::default() };
    let owner = access.admit(&access::Request { action: Action::Act(Role::Administrator), by: &by }).unwrap();
    // In this thread, whose log is looked at, and first: the routes have it done by another.
    let (_, second) = access.make_link(&owner, "Jib", Role::Viewer, None).unwrap();
    let made = house.link("viewer").await;
    let token = made["token"].as_str().unwrap();
    let joined = house.ask(Method::GET, &format!("/join/{token}"), &[], "").await;
    let pin = house.ask(Method::POST, "/api/v1/session", &[JSON], &format!(r#"{{"pin":"{PIN}"}}"#)).await;
    house.ask(Method::POST, "/api/v1/session", &[JSON], r#"{"pin":"739182"}"#).await;
    house.ask(Method::PUT, "/api/v1/update", &[("authorization", "Bearer guessed-code")], "").await;
    let administrator = access.set_password(&owner, PASSWORD).unwrap();
    let _ = access.sign_in_with_password(&by, "guessed horse");
    access.sign_in_with_password(&by, PASSWORD).unwrap();
    for secret in ["key-of-the-programme", "guessed-key"] {
        let by = Asker { secret: Some(secret.into()), ..by.clone() };
        let action = Action::Publish(crate::media::StreamName::program());
        let _ = access.admit(&access::Request { action, by: &by });
    }
    let status = house.ask(Method::GET, "/api/v1/status", &[BY_CODE], "").await;
    assert_eq!((status.status, status.json()["access"]["links"].as_u64()), (200, Some(2)), "{}", status.body);
    let session = house.ask(Method::GET, "/api/v1/session", &[BY_CODE], "").await;
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for told in ["made a viewer's link", "let in by PIN", "a wrong PIN", "a wrong set-up code", "a wrong stream key"] {
        assert!(logged.contains(told), "{told} is not in the log:\n{logged}");
    }
    let cookies = [&joined, &pin].map(|answer| answer.cookie().split_once('=').unwrap().1.to_owned());
    let secrets =
        [CODE, PASSWORD, PIN, token, second.expose(), administrator.expose(), "key-of-the-programme", &cookies[1]];
    let guesses = ["739182", "guessed-code", "guessed horse", "guessed-key"];
    assert_eq!(cookies[0], token);
    for secret in secrets.into_iter().chain(guesses) {
        for (place, text) in [("the log", &logged), ("the status", &status.body), ("the session", &session.body)] {
            assert!(!text.contains(secret), "{secret} is in {place}:\n{text}");
        }
    }
}
