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

use super::*;
use crate::clock::ManualClock;

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
    (Server { router, clock, proxies }, hand)
}

async fn serve(router: Router) -> Served {
    let (server, hand) = server(router);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(vec![Door { listener, tls: None }], stopped.map(drop)));
    Served { address, hand, running, stop }
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

#[tokio::test]
async fn http_2_is_spoken_and_its_authority_is_the_host() {
    let served = serve(mirror()).await;
    let stream = TokioIo::new(TcpStream::connect(served.address).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake::<_, _, Body>(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://box.example:8889/").body(Body::empty()).unwrap();
    let answer = timeout(PATIENT, client.send_request(request)).await.unwrap().unwrap();
    assert_eq!(answer.version(), axum::http::Version::HTTP_2);
    let body = axum::body::to_bytes(Body::new(answer.into_body()), 1_000).await.unwrap();
    assert_eq!(body, "127.0.0.1 false box.example:8889");
}

#[tokio::test]
async fn a_connection_that_sends_its_request_too_slowly_is_closed_and_a_web_socket_is_not() {
    let echo = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        })
    };
    let served = serve(Router::new().route("/ws", get(echo))).await;
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
    socket.send("still there?".into()).await.unwrap();
    let answer = timeout(PATIENT, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.into_text().unwrap().as_str(), "still there?");
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
    let connections = Connections::new(server.clock.clone());
    let connect = || {
        let (client, stream) = duplex(64 << 10);
        let peer = SocketAddr::from(([10, 0, 0, 9], 1000));
        let place = connections.admit(peer.ip(), true).unwrap();
        tokio::spawn(server.clone().http(stream, None, peer, false, place, CancellationToken::new()));
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
