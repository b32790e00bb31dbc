use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request as HttpRequest};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::hub::{PublishRequest, Renditions};
use crate::media::{Codec, MediaItem, StreamName, Track, TrackId, Transform, TransformProblem};

struct Nothing;

impl Transform for Nothing {
    fn push(&mut self, _: &MediaItem) -> Vec<MediaItem> {
        Vec::new()
    }

    fn problem(&self) -> Option<TransformProblem> {
        None
    }
}

/// A media thread that is not running, which has ended once it is dropped.
fn media(clock: &Clock) -> (webrtc::Handle, webrtc::Server) {
    let config = webrtc::Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        over_tcp: true,
        public_addresses: Vec::new(),
        local_addresses: Vec::new,
        max_viewers: 2,
        threads: 1,
        pacing: webrtc::Pacing { live_bps: None, join_bps: 100_000_000 },
        lip_sync: false,
        sources: crate::access::Sources::default(),
    };
    webrtc::Server::bind(config, clock.clone()).unwrap()
}

/// A client of vMix that is not running, which has ended once it is dropped.
fn client(clock: &Clock) -> tally::Vmix {
    let config = tally::VmixConfig { host: tally::Host::Auto, tcp_port: 1, http_port: 1, cameras: Vec::new() };
    tally::Vmix::new(tally::VmixParts {
        config: watch::channel(config).1,
        auto: watch::channel(None).1,
        clock: clock.clone(),
        problems: Problems::default(),
        shutdown: tokio_util::sync::CancellationToken::new(),
        publish: watch::channel(Arc::default()).0,
        seed: 1,
    })
}

/// The routes of a box on a manual clock whose media thread is not running.
pub(super) struct Bench {
    pub(super) handles: Handles,
    _tally: watch::Sender<Arc<tally::Snapshot>>,
    _about: watch::Sender<Arc<About>>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let (clock, _) = Clock::manual();
        let (access, problems) = (Access::open(None, clock.clone()), Problems::default());
        let renditions = Renditions::new(|| Box::new(Nothing), || Box::new(Nothing));
        let hub = Hub::new(clock.clone(), access.clone(), problems.clone(), renditions);
        let (sessions, _) = media(&clock);
        let tally_pulse = client(&clock).pulse();
        let (_tally, tally) = watch::channel(Arc::new(tally::Snapshot::default()));
        let (_about, about) = watch::channel(Arc::new(About {
            version: "1.2.3",
            started: clock.now(),
            http: "[::]:8889".parse().unwrap(),
            srt: "[::]:8890".parse().unwrap(),
            srt_latency_ms: 120,
            streams: vec!["main".into()],
            own: None,
        }));
        let reachable = |listen: SocketAddr| vec![SocketAddr::from(([10, 0, 0, 7], listen.port()))];
        let handles = Handles {
            connections: Connections::new(crate::access::Sources::default(), clock.clone()),
            clock,
            access,
            hub,
            sessions,
            tally,
            tally_pulse,
            problems,
            updates: Updates::default(),
            reachable,
            memory: MemoryBound { used: || Some(20 << 20), bound_bytes: 512 << 20 },
            about,
            lamps: crate::lamps::Commands::new(Vec::new()),
            portal: None,
            ice: None,
            https: None,
            guests: Guests::default(),
        };
        Self { handles, _tally, _about }
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = HttpRequest::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        request.extensions_mut().insert(caller::Caller {
            address: [10, 0, 0, 9].into(),
            secure: false,
            vouched: false,
        });
        let response = router(self.handles.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { parts, body: String::from_utf8_lossy(&body).into_owned() }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], Body::empty()).await
    }

    async fn offer(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.ask(Method::POST, path, &[("content-type", "application/sdp")], body).await
    }
}

pub(super) struct Answer {
    parts: axum::http::response::Parts,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.parts.status.as_u16()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.parts.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        problem["code"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_page_finds_its_root_and_its_assets_from_every_address_it_is_served_at() {
    let bench = Bench::new();
    for (path, root, assets, stream) in
        [("/", "./", "", "main"), ("/pgm", "./", "pgm/", "pgm"), ("/b/cam", "../", "cam/", "b/cam")]
    {
        let page = bench.get(path).await;
        assert_eq!(page.status(), 200, "{path}");
        assert!(page.body.contains(&format!(r#"name="returnfeed-root" content="{root}""#)), "{path}: {}", page.body);
        assert!(page.body.contains(&format!(r#"name="returnfeed-stream" content="{stream}""#)), "{path}");
        assert!(!page.body.contains('%'), "{path}: a placeholder is left");
        let script = page.body.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(script.starts_with(&format!("{assets}assets/")), "{path}: {script}");
        let below = path.rsplit_once('/').unwrap().0;
        let script = bench.get(&format!("{below}/{script}")).await;
        assert_eq!((script.status(), script.header("content-type")), (200, "text/javascript; charset=utf-8"), "{path}");
    }
}

#[tokio::test]
async fn the_setup_sheet_is_nobody_elses_and_nobody_keeps_it() {
    let mut bench = Bench::new();
    bench.handles.reachable = |_| ["10.0.0.7:8889", "10.88.89.1:8889"].map(|address| address.parse().unwrap()).into();
    let wifi = crate::sheet::Wifi {
        name: "ReturnFeed 3F2A".into(),
        passphrase: "bkmqp-xrthw-dzcfg".into(),
        wpa3_only: false,
        address: [10, 88, 89, 1].into(),
    };
    let own = crate::sheet::Own { host_name: "returnfeed-3f2a".into(), wifi: Some(wifi) };
    bench._about.send_modify(|about| Arc::make_mut(about).own = Some(own));
    let sheet = bench.get("/setup-sheet").await;
    assert_eq!((sheet.status(), sheet.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!((sheet.header("cache-control"), sheet.header("access-control-allow-origin")), ("no-store", ""));
    for word in ["returnfeed-3f2a", "bkmqp-xrthw-dzcfg", "http://10.0.0.7/", "srt://10.0.0.7:8890", "lang=\"en\""] {
        assert!(sheet.body.contains(word), "{word}: {}", sheet.body);
    }
    let style = sheet.body.split("stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let style = bench.get(&format!("/{style}")).await;
    assert_eq!((style.status(), style.header("content-type")), (200, "text/css; charset=utf-8"));
    let korean = bench.ask(Method::GET, "/setup-sheet", &[("accept-language", "ko-KR,en;q=0.5")], Body::empty()).await;
    assert!(korean.body.contains("<html lang=\"ko\">"));
}

#[tokio::test]
async fn the_setup_sheet_is_shown_under_the_boxs_own_names_alone_and_the_status_under_any() {
    let bench = Bench::new();
    let ask = async |path: &str, host: &str| bench.ask(Method::GET, path, &[("host", host)], Body::empty()).await;
    for own in
        ["10.0.0.7", "10.0.0.7:8889", "[fd00::20]:8889", "localhost:8889", "returnfeed.local", "returnfeed-3f2a.local"]
    {
        assert_eq!(ask("/setup-sheet", own).await.status(), 200, "{own}");
    }
    for foreign in ["rebound.example", "10.0.0.7.rebound.example:8889", "tally.studio.example"] {
        let refused = ask("/setup-sheet", foreign).await;
        assert_eq!((refused.status(), refused.header("cache-control")), (421, "no-store"), "{foreign}");
        let (english, korean) = (refused.body.find("box's own address"), refused.body.find("박스 자신의 주소"));
        assert!(english.is_some() && english < korean && !refused.body.contains("10.0.0.7"), "{}", refused.body);
        assert_eq!(ask("/api/v1/status", foreign).await.status(), 200, "{foreign}");
    }
}

#[tokio::test]
async fn what_is_no_stream_and_no_route_is_not_found() {
    let bench = Bench::new();
    let paths =
        ["/api", "/setup", "/join", "/a/b/c", "/a%20b", "/..%2f..%2fetc%2fpasswd", "/assets/none.js", "/api/v1/none"];
    for path in paths {
        assert_eq!(bench.get(path).await.status(), 404, "{path}");
    }
    let slash = bench.get("/pgm/").await;
    assert_eq!((slash.status(), slash.header("location")), (307, "../pgm"));
}

#[tokio::test]
async fn whep_answers_each_mistake_with_its_own_status() {
    let bench = Bench::new();
    assert_eq!(bench.offer("/ws/whep", "v=0").await.status(), 404);
    let other = bench.ask(Method::POST, "/pgm/whep", &[("content-type", "text/plain")], "v=0").await;
    assert_eq!((other.status(), other.code()), (415, "wrong_type".into()));
    let nobody = bench.offer("/pgm/whep", "v=0").await;
    assert_eq!((nobody.status(), nobody.code(), nobody.header("retry-after")), (409, "not_live".into(), "1"));
    let from = SocketAddr::from(([10, 0, 0, 1], 1000));
    let request = PublishRequest { stream: StreamName::program(), from, secret: None, called: false, protocol: "SRT" };
    let _source = bench.handles.hub.publish(request).unwrap();
    for path in ["/pgm/whep", "/live/pgm/whep", "/rtc/v1/whep/?app=live&stream=pgm", "/rtc/v1/whep?stream=pgm"] {
        let bad = bench.offer(path, "this is no SDP").await;
        assert_eq!((bad.status(), bad.code()), (400, "bad_offer".into()), "{path}");
        assert_eq!(bad.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(bad.header("content-type"), "application/problem+json");
    }
    let huge = bench.offer("/pgm/whep", vec![b'x'; MOST_BODY_BYTES + 1]).await;
    assert_eq!((huge.status(), huge.header("access-control-allow-origin")), (413, "*"));
    assert_eq!(bench.offer("/pgm/whep", vec![0xff, 0xfe]).await.status(), 400);
    assert_eq!(bench.offer("/rtc/v1/whep/", "v=0").await.status(), 404);
    assert_eq!(bench.handles.hub.streams()[0].viewers, 0, "none of these became a viewer");
}

#[tokio::test]
async fn a_wish_for_lip_sync_is_yes_no_or_left_out() {
    let bench = Bench::new();
    let from = SocketAddr::from(([10, 0, 0, 1], 1000));
    let request = PublishRequest { stream: StreamName::program(), from, secret: None, called: false, protocol: "SRT" };
    let _source = bench.handles.hub.publish(request).unwrap();
    for (query, code) in [
        ("lip_sync=0", "bad_offer"),
        ("lip_sync=1", "bad_offer"),
        ("lips=2", "bad_offer"),
        ("lip_sync", "bad_lip_sync"),
        ("lip_sync=", "bad_lip_sync"),
        ("lip_sync=true", "bad_lip_sync"),
        ("lip_sync=01", "bad_lip_sync"),
        ("lip_sync=1&lip_sync=1", "bad_lip_sync"),
    ] {
        for path in ["/pgm/whep?", "/rtc/v1/whep/?app=live&stream=pgm&"] {
            let answer = bench.offer(&format!("{path}{query}"), "this is no SDP").await;
            assert_eq!((answer.status(), answer.code()), (400, code.into()), "{path}{query}");
        }
    }
}

#[tokio::test]
async fn whep_says_what_may_be_sent_where() {
    let bench = Bench::new();
    let options = bench.ask(Method::OPTIONS, "/pgm/whep", &[], Body::empty()).await;
    assert_eq!((options.status(), options.header("accept-post")), (200, "application/sdp"));
    assert!(options.header("access-control-allow-headers").contains("If-Match"));
    assert!(options.header("access-control-expose-headers").contains("Location"));
    let get = bench.get("/pgm/whep").await;
    assert_eq!((get.status(), get.body.as_str()), (204, ""));
    assert_eq!(bench.ask(Method::PUT, "/pgm/whep", &[], Body::empty()).await.status(), 405);
}

#[tokio::test]
async fn a_session_is_patched_only_with_its_tag() {
    let bench = Bench::new();
    let fragment = ("content-type", "application/trickle-ice-sdpfrag");
    let patch = async |headers: &[(&str, &str)]| bench.ask(Method::PATCH, "/pgm/whep/none", headers, "").await;
    assert_eq!(patch(&[("content-type", "application/sdp")]).await.status(), 415);
    assert_eq!(patch(&[fragment]).await.status(), 428);
    assert_eq!(bench.get("/pgm/whep/none").await.status(), 404);
    let delete = bench.ask(Method::DELETE, "/pgm/whep/none", &[], Body::empty()).await;
    assert_eq!((delete.status(), delete.code()), (404, "unknown_session".into()));
}

#[tokio::test]
async fn the_status_is_whole_without_a_source_or_vmix() {
    let bench = Bench::new();
    let status = bench.get("/api/v1/status").await;
    let status: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!(status["version"], "1.2.3");
    assert_eq!(status["tally"]["source"], "unknown");
    assert_eq!(status["tally"]["age_ms"], serde_json::Value::Null);
    assert_eq!(status["vmix"]["state"], "waiting");
    let connections = serde_json::json!({
        "now": 0, "most": 2048, "most_of_one_address": 512, "http_2": 0, "most_http_2": 256,
    });
    assert_eq!(status["connections"], connections);
    assert_eq!(status["memory"], serde_json::json!({ "used_bytes": 20 << 20, "bound_bytes": 512 << 20 }));
    for list in ["streams", "sessions", "problems"] {
        assert_eq!(status[list], serde_json::json!([]), "{list}");
    }
}

#[test]
fn instants_before_and_after_the_start_stand_on_one_clock() {
    let bench = Bench::new();
    let started = bench.handles.about.borrow().started;
    assert_eq!(bench.handles.box_ms(started + Duration::from_micros(1500)), 1.5);
    let earlier = started.checked_sub(Duration::from_millis(2)).unwrap();
    assert_eq!(bench.handles.box_ms(earlier), -2.0);
}

#[test]
fn a_page_may_say_three_things_and_no_more() {
    assert_eq!(ws::parse(r#"{"type":"ping","id":7}"#), Some(wire::FromPage::Ping { id: 7 }));
    let watch =
        |session: Option<&str>| wire::FromPage::Watch { stream: "pgm".into(), session: session.map(Into::into) };
    assert_eq!(ws::parse(r#"{"type":"watch","stream":"pgm"}"#), Some(watch(None)));
    assert_eq!(ws::parse(r#"{"type":"watch","stream":"pgm","session":"0af9"}"#), Some(watch(Some("0af9"))));
    assert_eq!(ws::parse(r#"{"type":"delay","ms":31}"#), Some(wire::FromPage::Delay { ms: 31 }));
    let long = format!(r#"{{"type":"watch","stream":"pgm","session":"{}"}}"#, "a".repeat(65));
    for text in [
        "",
        "{}",
        r#"{"type":"cut"}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"ping","id":-1}"#,
        r#"{"type":"ping","id":1,"x":1}"#,
        r#"{"type":"watch","session":"0af9"}"#,
        r#"{"type":"watch","stream":"pgm","session":""}"#,
        r#"{"type":"watch","stream":"pgm","session":"../whep"}"#,
        r#"{"type":"watch","stream":"pgm","session":7}"#,
        r#"{"type":"delay"}"#,
        r#"{"type":"delay","ms":-1}"#,
        r#"{"type":"delay","ms":60001}"#,
        r#"{"type":"delay","ms":1e99}"#,
        r#"{"type":"delay","ms":"31"}"#,
        r#"{"type":"delay","ms":31,"session":"0af9"}"#,
        r#"{"type":"edge","rtp":1}"#,
        &long,
    ] {
        assert_eq!(ws::parse(text), None, "{text}");
    }
}

#[test]
fn an_edge_names_its_session() {
    let edge = wire::ToPage::Edge { session: "0af9".into(), rtp: 7 };
    assert_eq!(edge.to_json(), r#"{"type":"edge","session":"0af9","rtp":7}"#);
}

#[test]
fn a_streams_sound_is_the_one_that_viewers_hear() {
    let bench = Bench::new();
    let from = SocketAddr::from(([10, 0, 0, 1], 1000));
    let request = PublishRequest { stream: StreamName::program(), from, secret: None, called: false, protocol: "SRT" };
    let mut source = bench.handles.hub.publish(request).unwrap();
    let sound = || serde_json::to_value(wire::Stream::from(&bench.handles.hub.streams()[0])).unwrap()["sound"].clone();
    assert_eq!(sound(), serde_json::Value::Null);
    let track = |id, codec| Track { id: TrackId(id), codec };
    let tracks = [track(1, Codec::H264), track(2, Codec::Aac), track(3, Codec::Opus)];
    source.send(MediaItem::Tracks(Arc::new(tracks))).unwrap();
    let described = serde_json::json!({ "codec": "Opus", "channels": null, "sample_rate_hz": null });
    assert_eq!(sound(), described);
}

#[tokio::test(start_paused = true)]
async fn the_box_is_well_as_long_as_media_and_tally_answer() {
    let mut bench = Bench::new();
    let well = bench.get("/healthz").await;
    assert_eq!((well.status(), well.body.as_str()), (200, r#"{"version":"1.2.3","uptime_s":0}"#));
    let client = client(&bench.handles.clock);
    bench.handles.tally_pulse = client.pulse();
    let stalled = bench.get("/healthz").await;
    assert_eq!((stalled.status(), stalled.code()), (503, "stalled".into()));
    assert!(stalled.body.contains("the client that follows vMix's tally does not answer"), "{}", stalled.body);
    let (sessions, media) = media(&bench.handles.clock);
    bench.handles.sessions = sessions;
    let both = bench.get("/healthz").await;
    assert!(both.body.contains("serves viewers does not answer, and the client"), "{}", both.body);
    drop((client, media));
    assert_eq!(bench.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_viewer_is_told_how_to_be_relayed() {
    let mut bench = Bench::new();
    let credentials = turn::Credentials::new(&[7; 32], bench.handles.clock.now());
    let public_addresses = vec!["203.0.113.9".parse().unwrap()];
    let tls = None;
    bench.handles.ice = Some(Ice { credentials, listen: "[::]:3478".parse().unwrap(), tls, public_addresses });
    for path in ["/api/v1/ice-servers", "/pgm/whep/ice-servers", "/studio/pgm/whep/ice-servers"] {
        let answer = bench.ask(Method::GET, path, &[("host", "10.0.0.7:8889")], Body::empty()).await;
        assert_eq!((answer.status(), answer.header("cache-control")), (200, "no-store"), "{path}");
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let server = &json["iceServers"][0];
        let urls = ["turn:10.0.0.7:3478?transport=udp", "turn:10.0.0.7:3478?transport=tcp"];
        assert_eq!(server["urls"], serde_json::json!(urls), "the address it was reached at is enough");
        let username = server["username"].as_str().unwrap();
        assert!(username.starts_with("3600:") && username.len() == 21, "{username}");
        assert_eq!(server["credential"].as_str().unwrap().len(), 28);
        assert_eq!(json["holds_s"], 3600);
    }
    let named = [("host", "box.example:443")];
    let answer = bench.ask(Method::OPTIONS, "/pgm/whep", &named, Body::empty()).await;
    let links: Vec<_> = answer.parts.headers.get_all("link").iter().map(|link| link.to_str().unwrap()).collect();
    let beginnings = [
        "<turn:box.example:3478?transport=udp>; rel=\"ice-server\"; username=\"3600:",
        "<turn:box.example:3478?transport=tcp>; rel=\"ice-server\"; username=\"3600:",
        "<turn:10.0.0.7:3478?transport=udp>; rel=\"ice-server\"; username=\"3600:",
        "<turn:10.0.0.7:3478?transport=tcp>; rel=\"ice-server\"; username=\"3600:",
        "<turn:203.0.113.9:3478?transport=udp>; rel=\"ice-server\"; username=\"3600:",
        "<turn:203.0.113.9:3478?transport=tcp>; rel=\"ice-server\"; username=\"3600:",
    ];
    assert_eq!(links.len(), beginnings.len(), "{links:?}");
    for (link, beginning) in links.iter().zip(beginnings) {
        assert!(link.starts_with(beginning) && link.ends_with("; credential-type=\"password\""), "{link}");
    }
    assert!(answer.header("access-control-expose-headers").contains("Link"));
    bench.handles.ice.as_mut().unwrap().tls = Some(443);
    let answer = bench.ask(Method::GET, "/api/v1/ice-servers", &[("host", "10.0.0.7:8889")], Body::empty()).await;
    assert!(
        answer.body.contains(r#""turn:10.0.0.7:3478?transport=tcp","turns:10.0.0.7:443?transport=tcp""#),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn without_a_relay_nobody_is_told_of_one() {
    let bench = Bench::new();
    assert_eq!(bench.get("/api/v1/ice-servers").await.body, r#"{"iceServers":[],"holds_s":3600}"#);
    let answer = bench.ask(Method::OPTIONS, "/pgm/whep", &[], Body::empty()).await;
    assert_eq!((answer.status(), answer.header("link")), (200, ""));
}
