use std::sync::Mutex;

use axum::extract::ws::WebSocketUpgrade;
use axum::http::HeaderMap;
use axum::routing::{any, get, post};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::Notify;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::*;
use crate::access::Sources;
use crate::clock::{Clock, ManualClock};

/// Far longer than anything here takes.
const PATIENT: Duration = Duration::from_secs(60);

struct Served {
    address: SocketAddr,
    hand: ManualClock,
    running: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

fn server(router: Router) -> (Server, ManualClock) {
    let (clock, hand) = Clock::manual();
    let proxies = Arc::new(Proxies::new(vec!["127.0.0.1/32".parse().unwrap()]));
    let access = crate::access::Access::open(None, clock.clone());
    let unvouched = Unvouched::new(access, crate::problems::Problems::default(), clock.clone());
    let connections = Connections::new(Sources::default(), clock);
    (Server { router, proxies, unvouched, connections, viewers: Arc::new(Vec::new) }, hand)
}

async fn serve(router: Router) -> Served {
    let (server, hand) = server(router);
    let (address, running, stop) = serve_with(server).await;
    Served { address, hand, running, stop }
}

async fn serve_with(server: Server) -> (SocketAddr, JoinHandle<()>, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(vec![Door { listener, tls: None }], stopped.map(drop)));
    (address, running, stop)
}

/// Who asks under which name, as the routes see it.
fn mirror() -> Router {
    Router::new().route(
        "/",
        any(|caller: Caller, headers: HeaderMap| async move {
            format!("{} {} {}", caller.address, caller.secure, headers[header::HOST].to_str().unwrap())
        }),
    )
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn routes_are_told_who_asks_and_under_which_name() {
    let served = serve(mirror()).await;
    let answer = exchange(
        served.address,
        "GET / HTTP/1.1\r\nHost: box\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.await.ends_with("192.0.2.7 false box"));
    let answer = exchange(
        served.address,
        "GET http://elsewhere.example/ HTTP/1.1\r\nHost: box\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.await.ends_with("127.0.0.1 true elsewhere.example"));
}

/// Serves over TLS; gives where, and what a client needs.
async fn serve_encrypted(server: Server) -> (SocketAddr, tokio_rustls::TlsConnector, JoinHandle<()>) {
    let (config, mut client) = certified();
    Arc::make_mut(&mut client).alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = Tls { config, relay: None, pages: true };
    let running = tokio::spawn(server.run(vec![Door { listener, tls: Some(tls) }], std::future::pending()));
    (address, client.into(), running)
}

type Encrypted = tokio_rustls::client::TlsStream<TcpStream>;

async fn connect_encrypted(address: SocketAddr, connector: &tokio_rustls::TlsConnector) -> Encrypted {
    let stream = TcpStream::connect(address).await.unwrap();
    connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()
}

type Client = hyper::client::conn::http2::SendRequest<Body>;

async fn http_2(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, window: u32) -> Client {
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (client, connection) =
        builder.initial_stream_window_size(window).handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn http_2_is_spoken_over_tls_and_its_authority_is_the_host() {
    let (server, _hand) = server(mirror());
    let (address, connector, running) = serve_encrypted(server.clone()).await;
    let mut client = http_2(connect_encrypted(address, &connector).await, 65_535).await;
    let request = Request::get("https://box.example:8889/").body(Body::empty()).unwrap();
    let answer = timeout(PATIENT, client.send_request(request)).await.unwrap().unwrap();
    assert_eq!(answer.version(), axum::http::Version::HTTP_2);
    assert_eq!(server.connections.count_http_2(), 1);
    let body = axum::body::to_bytes(Body::new(answer.into_body()), 1_000).await.unwrap();
    assert_eq!(body, "127.0.0.1 true box.example:8889");
    running.abort();
}

#[tokio::test]
async fn whoever_comes_when_many_speak_http_2_is_served_by_http_1() {
    let (server, _hand) = server(mirror());
    let others = std::net::IpAddr::from([10, 0, 0, 1]);
    let places: Vec<_> =
        (0..connections::MOST_HTTP_2).map(|_| server.connections.admit(others, true).unwrap()).collect();
    assert!(places.iter().all(|place| place.speaks_http_2()));
    let (address, connector, running) = serve_encrypted(server).await;
    let mut stream = connect_encrypted(address, &connector).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = timeout(PATIENT, stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("127.0.0.1 true box"), "{answer}");
    running.abort();
}

#[tokio::test]
async fn answers_that_nobody_takes_are_waited_for_no_longer_than_they_need() {
    let (server, hand) = server(Router::new().route("/", get(|| async { vec![b'x'; 400_000] })));
    let connections = server.connections.clone();
    let (address, connector, running) = serve_encrypted(server.clone()).await;
    let plain = serve_with(server).await;
    // By HTTP/2 whoever takes nothing says so; by HTTP/1.1 nothing is read.
    let mut client = http_2(connect_encrypted(address, &connector).await, 0).await;
    let request = Request::get("https://box/").body(Body::empty()).unwrap();
    let _answer = timeout(PATIENT, client.send_request(request)).await.unwrap().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut unread = socket.connect(plain.0).await.unwrap();
    unread.write_all(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n").await.unwrap();
    let count = async |wanted: usize| {
        let reached = async {
            while connections.count() != wanted || connections.owed() != wanted * 400_000 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENT, reached).await.expect("in time")
    };
    count(2).await;
    hand.advance(connections::ANSWER_WITHIN + Duration::from_secs(199));
    tokio::time::sleep(LOOK_EVERY * 2).await;
    hand.advance(Duration::from_secs(2));
    count(0).await;
    assert!(timeout(PATIENT, client.ready()).await.unwrap().is_err(), "and the connection ends");
    running.abort();
}

#[tokio::test]
async fn one_connection_has_no_more_of_bodies_at_once_than_two_may_be_large() {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, wait) = (asked.clone(), go.clone());
    let take = move |body: axum::body::Bytes| async move {
        told.notify_one();
        wait.notified().await;
        body.len().to_string()
    };
    let (server, _hand) = server(Router::new().route("/", post(take)));
    let (address, connector, running) = serve_encrypted(server).await;
    let client = http_2(connect_encrypted(address, &connector).await, 65_535).await;
    let send = |bytes: usize| {
        let mut client = client.clone();
        let request = Request::post("https://box/").body(Body::from(vec![b'x'; bytes])).unwrap();
        tokio::spawn(async move { client.send_request(request).await.unwrap().status() })
    };
    let most = crate::http::MOST_BODY_BYTES;
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(send(most));
        timeout(PATIENT, asked.notified()).await.unwrap();
    }
    assert_eq!(timeout(PATIENT, send(1)).await.unwrap().unwrap(), StatusCode::BAD_REQUEST);
    for answer in answers {
        go.notify_one();
        assert_eq!(timeout(PATIENT, answer).await.unwrap().unwrap(), StatusCode::OK);
    }
    let answer = send(most);
    timeout(PATIENT, asked.notified()).await.unwrap();
    go.notify_one();
    assert_eq!(timeout(PATIENT, answer).await.unwrap().unwrap(), StatusCode::OK, "what was answered is held no more");
    running.abort();
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// `GET https://x/` by the static table (RFC 7541, appendix A), with literal authority.
const GET: &[u8] = &[0x82, 0x84, 0x87, 0x41, 1, b'x'];
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The nth thing of a flood.
type Flood<'f> = &'f dyn Fn(u32) -> Vec<u8>;

/// What becomes of a flood.
#[derive(Debug, PartialEq)]
enum End {
    CutOff,
    NotRead,
}

#[tokio::test]
async fn who_floods_http_2_with_frames_is_cut_off_or_not_read_any_more() {
    let (server, _hand) = server(Router::new().route("/", get(std::future::pending::<()>)));
    let connections = server.connections.clone();
    let (address, connector, running) = serve_encrypted(server).await;
    let opened_and_reset = |n: u32| {
        let id = 2 * n + 1;
        [frame(HEADERS, END_STREAM | END_HEADERS, id, GET), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
    };
    let too_many = |n: u32| frame(HEADERS, END_HEADERS, 2 * n + 1, GET);
    let continued = |n: u32| match n {
        0 => frame(HEADERS, 0, 1, GET),
        _ => frame(CONTINUATION, 0, 1, &[]),
    };
    let pings = |n: u32| frame(PING, 0, 0, &u64::from(n).to_be_bytes());
    let settings = |_| frame(SETTINGS, 0, 0, &[]);
    let kinds: [(&str, Flood<'_>, End); 5] = [
        ("requests taken back at once", &opened_and_reset, End::CutOff),
        ("requests beyond what may be", &too_many, End::CutOff),
        ("a head that goes on for ever", &continued, End::CutOff),
        ("pings", &pings, End::NotRead),
        ("settings", &settings, End::NotRead),
    ];
    for (what, next, end) in kinds {
        let mut stream = connect_encrypted(address, &connector).await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        // No answer is read meanwhile.
        let (mut sent, mut chunks) = (0, 0..);
        let ended = loop {
            let chunk = chunks.next().unwrap_or_default();
            let frames: Vec<u8> = (0..1_000).flat_map(|n| next(chunk * 1_000 + n)).collect();
            let write = async {
                stream.write_all(&frames).await?;
                stream.flush().await
            };
            match timeout(Duration::from_secs(5), write).await {
                Err(_) => break End::NotRead,
                Ok(Err(_)) => break End::CutOff,
                Ok(Ok(())) => sent += frames.len(),
            }
            assert!(sent < 64 << 20, "{what}: all of it was taken");
        };
        println!("{what}: {ended:?} after {sent} bytes");
        assert_eq!(ended, end, "{what}");
        drop(stream);
        let gone = async {
            while connections.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENT, gone).await.expect(what);
    }
    running.abort();
}

fn echo() -> Router {
    let echo = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        })
    };
    Router::new().route("/ws", get(echo))
}

async fn answers(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> bool {
    socket.send("still there?".into()).await.unwrap();
    let answer = timeout(PATIENT, socket.next()).await.unwrap();
    answer.is_some_and(|answer| answer.is_ok_and(|message| message.into_text().unwrap().as_str() == "still there?"))
}

#[tokio::test]
async fn a_flood_of_one_address_costs_its_own_oldest_connections_and_no_web_socket() {
    crate::system::raise_open_files();
    let (mut server, _hand) = server(echo());
    // Whoever is trusted stands for many.
    server.proxies = Arc::default();
    let served = serve_with(server).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", served.0)).await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..connections::MOST_OF_ONE + 50 {
        flood.push(TcpStream::connect(served.0).await.unwrap());
    }
    let request = "GET /none HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n";
    assert!(exchange(served.0, request).await.starts_with("HTTP/1.1 404"));
    // The oldest 52: with the WebSocket and the request there were so many too many.
    for stream in &mut flood[..52] {
        let ended = timeout(PATIENT, stream.read_u8()).await.expect("it is closed");
        assert!(ended.is_err());
    }
    assert!(flood[60].read_u8().now_or_never().is_none(), "a newer one is open");
    assert!(answers(&mut socket).await);
}

#[tokio::test]
async fn a_web_socket_that_gives_way_ends() {
    let (mut server, _hand) = server(echo());
    server.proxies = Arc::default();
    let connections = server.connections.clone();
    let served = serve_with(server).await;
    let url = format!("ws://{}/ws", served.0);
    let (mut first, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    let (mut second, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    assert!(answers(&mut first).await && answers(&mut second).await);
    let others: Vec<_> = (0..connections::MOST as u32 - 2)
        .map(|n| connections.admit(std::net::Ipv4Addr::from_bits(0x0a00_0000 | n).into(), true).unwrap())
        .collect();
    others.iter().for_each(|place| place.taken_over());
    let _newcomer = connections.admit([192, 0, 2, 1].into(), true).unwrap();
    let ended = timeout(PATIENT, second.next()).await.expect("it ends");
    assert!(ended.is_none_or(|message| message.is_err()));
    assert!(answers(&mut first).await, "the other one goes on");
}

#[tokio::test]
async fn over_tls_what_is_neither_http_nor_wanted_is_closed_and_http_loses_no_byte() {
    let (server, _hand) = server(mirror());
    let config = certified();
    for (pages, sent, answer) in [
        (true, &b"GET / HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n"[..], Some("127.0.0.1 true box")),
        (false, b"GET / HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n", None),
        // Allocate of TURN.
        (true, &[0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42], None),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = Tls { config: config.0.clone(), relay: None, pages };
        let running = tokio::spawn(server.clone().run(vec![Door { listener, tls: Some(tls) }], std::future::pending()));
        let connector = tokio_rustls::TlsConnector::from(config.1.clone());
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut got = Vec::new();
        let _ = timeout(PATIENT, stream.read_to_end(&mut got)).await.expect("it ends");
        let got = String::from_utf8_lossy(&got).into_owned();
        match answer {
            Some(answer) => assert!(got.ends_with(answer), "{got}"),
            None => assert_eq!(got, ""),
        }
        running.abort();
    }
}

/// Both ends of TLS, the client's trusting the server's.
fn certified() -> (Arc<ServerConfig>, Arc<tokio_rustls::rustls::ClientConfig>) {
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    let keeper = crate::tls::Keeper::new(
        crate::tls::Config {
            store: None,
            names: vec!["box".into()],
            addresses: Vec::new,
            own: None,
            built: std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
            clock_is_set: || false,
        },
        Clock::system(),
        crate::problems::Problems::default(),
    )
    .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(keeper.authority().der.clone().into()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (keeper.server().unwrap(), Arc::new(client.with_root_certificates(roots).with_no_client_auth()))
}

#[tokio::test]
async fn a_connection_that_sends_its_request_too_slowly_is_closed_and_a_web_socket_is_not() {
    let served = serve(echo()).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", served.address)).await.unwrap();
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    slow.write_all(b"GET /ws HTTP/1.1\r\nHost: box\r\nX-Slow: ").await.unwrap();
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    // So both have been accepted before time goes on.
    assert!(
        exchange(served.address, "GET /none HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n").await.contains("404")
    );
    served.hand.advance(FIRST_REQUEST_WITHIN);
    for stream in [&mut slow, &mut silent] {
        let mut rest = Vec::new();
        let _ = timeout(PATIENT, stream.read_to_end(&mut rest)).await.expect("it is closed");
        assert_eq!(rest, b"");
    }
    served.hand.advance(connections::IDLE_FOR * 2);
    tokio::time::sleep(LOOK_EVERY * 2).await;
    assert!(answers(&mut socket).await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_dribbles_in_is_given_up_and_a_slow_but_steady_one_is_not() {
    let (heard, seen) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
    let (ears, told) = (heard.clone(), seen.clone());
    let take = move |body: axum::body::Bytes| async move {
        ears.lock().unwrap().push(body.len());
        told.notify_one();
    };
    let (server, _hand) = server(Router::new().route("/", post(take)));
    let connections = server.connections.clone();
    let connect = || {
        let (client, stream) = duplex(64 << 10);
        let peer = SocketAddr::from(([10, 0, 0, 9], 1000));
        let place = connections.admit(peer.ip(), true).unwrap();
        tokio::spawn(server.clone().http_1(stream, None, peer, false, place, CancellationToken::new()));
        client
    };
    let head = "POST / HTTP/1.1\r\nHost: box\r\nContent-Length: 40000\r\n\r\n";
    let mut steady = connect();
    steady.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        steady.write_all(&[b'x'; 1_000]).await.unwrap();
    }
    seen.notified().await;
    let mut dribbling = connect();
    dribbling.write_all(head.as_bytes()).await.unwrap();
    let started = tokio::time::Instant::now();
    let mut answer = [0; 12];
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if dribbling.write_all(b"x").await.is_err() {
            break;
        }
        if let Some(Ok(_)) = dribbling.read_exact(&mut answer).now_or_never() {
            assert_eq!(&answer, b"HTTP/1.1 400");
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it is waited for for ever");
    }
    assert_eq!(*heard.lock().unwrap(), [40_000]);
}

#[tokio::test]
async fn what_is_being_answered_is_answered_before_the_end_and_nothing_new_is() {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, wait) = (asked.clone(), go.clone());
    let slow = move || async move {
        told.notify_one();
        wait.notified().await;
        "done"
    };
    let served = serve(Router::new().route("/", get(slow))).await;
    let request = tokio::spawn(exchange(served.address, "GET / HTTP/1.1\r\nHost: box\r\n\r\n"));
    timeout(PATIENT, asked.notified()).await.unwrap();
    served.stop.send(()).unwrap();
    let refused = async {
        while TcpStream::connect(served.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENT, refused).await.expect("nothing listens any more");
    assert!(!served.running.is_finished());
    go.notify_one();
    assert!(timeout(PATIENT, request).await.unwrap().unwrap().ends_with("done"), "and the connection ends by itself");
    timeout(PATIENT, served.running).await.unwrap().unwrap();
}
