use std::path::PathBuf;

use axum::http::Method;
use futures_util::stream;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::serve;
use super::super::tests::{Answer, Bench};
use super::*;
use crate::access::Access;
use crate::update::making::{self, Bundle};
use crate::update::{CHUNK, Spool, Updates};

const PATH: &str = "/api/v1/update";
const CODE: (&str, &str) = ("authorization", "Bearer bkmqp-xrthw");

/// A box that takes updates.
struct Box {
    bench: Bench,
    dir: tempfile::TempDir,
}

impl Box {
    fn new() -> Self {
        let (mut bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
        bench.handles.access = Access::open(Some("bkmqp-xrthw"), bench.handles.clock.clone());
        let spool = Some(Spool::new(dir.path().join("update"), making::key()));
        bench.handles.updates =
            Updates { spool, report: dir.path().join("status"), outcome: dir.path().join("result") };
        Self { bench, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn put(&self, query: &str, body: impl Into<Body>) -> Answer {
        self.bench.ask(Method::PUT, &format!("{PATH}{query}"), &[CODE], body).await
    }

    async fn state(&self) -> Value {
        serde_json::from_str(&self.bench.get(PATH).await.body).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("update")).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Waits for the thread that writes: it ends after the answer when an upload is broken off.
    async fn until_nothing_is_left(&self) {
        for _ in 0..500 {
            if self.files().is_empty() && self.state().await["upload"].is_null() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.files());
    }
}

/// In pieces as a connection brings them.
fn pieces(file: Vec<u8>) -> Body {
    let pieces: Vec<_> = file.chunks(90_000).map(|piece| io::Result::Ok(Bytes::copy_from_slice(piece))).collect();
    Body::from_stream(stream::iter(pieces))
}

#[tokio::test]
async fn an_update_is_uploaded_with_the_set_up_code_and_waits() {
    let (the_box, file) = (Box::new(), Bundle::new("9.0.0", 2 * CHUNK + 99).file());
    let before = the_box.state().await;
    assert_eq!(
        (&before["version"], &before["takes_updates"], &before["waiting"]),
        (&"1.2.3".into(), &true.into(), &false.into())
    );
    for nothing in ["upload", "install", "last"] {
        assert_eq!(before[nothing], Value::Null, "{nothing}");
    }
    let answer = the_box.put("?restart=now", pieces(file.clone())).await;
    assert_eq!(answer.status(), 202, "{}", answer.body);
    assert_eq!(the_box.state().await["waiting"], true);
    assert!(std::fs::read(the_box.path("update/bundle")).unwrap() == file);
    assert_eq!(std::fs::read_to_string(the_box.path("update/options")).unwrap(), "restart=now\n");
    let again = the_box.put("", file).await;
    assert_eq!((again.status(), again.code()), (409, "busy".into()));
}

#[tokio::test(start_paused = true)]
async fn nobody_changes_the_box_without_the_set_up_code() {
    let the_box = Box::new();
    for (method, path) in [(Method::PUT, PATH), (Method::POST, "/api/v1/update/restart")] {
        for (headers, code) in [(&[][..], "secret_needed"), (&[("authorization", "Bearer guess")], "secret_wrong")] {
            let refused = the_box.bench.ask(method.clone(), path, headers, Body::empty()).await;
            assert_eq!((refused.status(), refused.code()), (401, code.into()), "{path}");
        }
    }
    assert_eq!(the_box.files(), [""; 0]);
    assert_eq!(the_box.bench.get(PATH).await.status(), 200, "everybody may see how far it is");
}

#[tokio::test]
async fn each_refusal_has_its_status_and_leaves_nothing() {
    let the_box = Box::new();
    let good = Bundle::new("9.0.0", 2 * CHUNK).file();
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let running = env!("CARGO_PKG_VERSION");
    for (file, status, code) in [
        (Vec::new(), 422, "not_an_update"),
        (vec![0; 300_000], 422, "not_an_update"),
        (damaged, 422, "damaged"),
        (good[..good.len() - 1].to_vec(), 422, "truncated"),
        ([&good[..], b"x"].concat(), 422, "trailing_bytes"),
        (Bundle::new("0.0.1", 5000).file(), 409, "older_version"),
        (Bundle::new(running, 5000).file(), 409, "same_version"),
        (Bundle::new("9.0.0", 5000).with("boards", Some("\"vax\"")).file(), 422, "other_boards"),
        (Bundle::new("9.0.0", 5000).with("state", Some("0")).file(), 422, "older_state"),
    ] {
        let refused = the_box.put("", pieces(file)).await;
        assert_eq!((refused.status(), refused.code()), (status, code.into()), "{}", refused.body);
        the_box.until_nothing_is_left().await;
    }
    assert_eq!(the_box.put("?allow_downgrade=yes", Bundle::new("0.0.1", 5000).file()).await.status(), 202);
}

#[tokio::test]
async fn whoever_prefers_korean_is_refused_in_korean() {
    let the_box = Box::new();
    for (language, words) in [("ko-KR,ko;q=0.9", "버전 0.0.1"), ("en", "version 0.0.1 is older")] {
        let headers = [CODE, ("accept-language", language)];
        let older = pieces(Bundle::new("0.0.1", 5000).file());
        let refused = the_box.bench.ask(Method::PUT, PATH, &headers, older).await;
        assert_eq!(refused.code(), "older_version");
        assert!(refused.body.contains(words), "{}", refused.body);
    }
    let headers = [CODE, ("accept-language", "ko")];
    let refused = the_box.bench.ask(Method::POST, "/api/v1/update/restart", &headers, Body::empty()).await;
    assert!(refused.body.contains("기다리는 업데이트가 없습니다"), "{}", refused.body);
}

#[tokio::test]
async fn what_is_not_understood_is_not_done() {
    let the_box = Box::new();
    for query in ["?restart=yes", "?restart", "?restart=now&force=1", "?allow_downgrade=now"] {
        let refused = the_box.put(query, Bundle::new("9.0.0", 5000).file()).await;
        assert_eq!((refused.status(), refused.code()), (400, "bad_option".into()), "{query}");
    }
    let length = [CODE, ("content-length", "300000000")];
    let refused = the_box.bench.ask(Method::PUT, PATH, &length, Body::empty()).await;
    assert_eq!((refused.status(), refused.code()), (413, "too_large".into()));
    assert_eq!(the_box.files(), [""; 0]);
}

#[tokio::test]
async fn a_machine_without_a_key_says_that_it_takes_none() {
    let the_box = Box::new();
    let mut bench = the_box.bench;
    bench.handles.updates.spool = None;
    for (method, path) in [(Method::PUT, PATH), (Method::POST, "/api/v1/update/restart")] {
        let refused = bench.ask(method, path, &[CODE], Body::empty()).await;
        assert_eq!((refused.status(), refused.code()), (501, "no_updates".into()));
    }
    let state: Value = serde_json::from_str(&bench.get(PATH).await.body).unwrap();
    assert_eq!(state["takes_updates"], false);
}

#[tokio::test]
async fn how_far_the_writing_is_and_what_became_of_it_is_told() {
    let the_box = Box::new();
    let restart = async || the_box.bench.ask(Method::POST, "/api/v1/update/restart", &[CODE], Body::empty()).await;
    let report = |state: &str, step: &str| {
        let report = format!(
            r#"{{"state":"{state}","step":{step},"version":"9.0.0","done":5,"size":9,"error":null,"note":null}}"#
        );
        std::fs::write(the_box.path("status"), report).unwrap();
    };
    assert_eq!(restart().await.code(), "nothing_waits");
    report("writing", "\"reading_back\"");
    let install = the_box.state().await["install"].clone();
    assert_eq!((&install["state"], &install["step"]), (&"writing".into(), &"reading_back".into()));
    assert_eq!((&install["done"], &install["size"]), (&5.into(), &9.into()));
    assert_eq!((restart().await.status(), the_box.path("update/restart").exists()), (409, false));
    report("written", "null");
    assert_eq!((restart().await.status(), the_box.path("update/restart").exists()), (202, true));
    std::fs::write(the_box.path("result"), r#"{"result":"rolled-back","version":"9.0.0","signature":"a"}"#).unwrap();
    let last = the_box.state().await["last"].clone();
    assert_eq!(last, serde_json::json!({ "result": "rolled-back", "version": "9.0.0" }));
}

#[tokio::test]
async fn an_upload_that_is_broken_off_leaves_nothing_and_makes_place() {
    let (the_box, good) = (Box::new(), Bundle::new("9.0.0", 2 * CHUNK).file());
    let half = Bytes::copy_from_slice(&good[..CHUNK]);
    let lost = stream::iter([Ok(half.clone()), Err(io::Error::from(io::ErrorKind::ConnectionReset))]);
    let refused = the_box.put("", Body::from_stream(lost)).await;
    assert_eq!((refused.status(), refused.code()), (408, "broken_off".into()));
    the_box.until_nothing_is_left().await;
    // Who asks is gone himself.
    let stalled = stream::iter([io::Result::Ok(half)]).chain(stream::pending());
    assert!(timeout(Duration::from_millis(300), the_box.put("", Body::from_stream(stalled))).await.is_err());
    the_box.until_nothing_is_left().await;
    assert_eq!(the_box.put("", pieces(good)).await.status(), 202);
}

#[tokio::test]
async fn only_one_upload_comes_at_a_time() {
    let (the_box, good) = (Box::new(), Bundle::new("9.0.0", 2 * CHUNK).file());
    let (send, receive) = mpsc::channel::<io::Result<Bytes>>(1);
    let body = stream::unfold(receive, async |mut receive| Some((receive.recv().await?, receive)));
    let first = the_box.put("", Body::from_stream(std::boxed::Box::pin(body)));
    let second = async {
        send.send(Ok(Bytes::copy_from_slice(&good[..CHUNK]))).await.unwrap();
        while the_box.state().await["upload"]["version"] != "9.0.0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(the_box.state().await["upload"]["size"], good.len());
        let refused = the_box.put("", good.clone()).await;
        assert_eq!((refused.status(), refused.code()), (409, "busy".into()));
        send.send(Ok(Bytes::copy_from_slice(&good[CHUNK..]))).await.unwrap();
        drop(send);
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.status(), 202);
}

#[tokio::test]
async fn who_sends_all_before_he_reads_still_gets_to_know_why_it_was_refused() {
    let the_box = Box::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let doors = vec![crate::http::Door { listener, tls: None }];
    let serving = tokio::spawn(serve(doors, Vec::new(), the_box.bench.handles.clone(), std::future::pending()));
    let len = 60 << 20;
    let mut connection = TcpStream::connect(at).await.unwrap();
    let head =
        format!("PUT {PATH} HTTP/1.1\r\nHost: {at}\r\nAuthorization: {}\r\nContent-Length: {len}\r\n\r\n", CODE.1);
    connection.write_all(head.as_bytes()).await.unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..len >> 20 {
        connection.write_all(&zeros).await.unwrap();
    }
    let mut answer = vec![0; 4096];
    let got = connection.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..got]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 422 ") && answer.contains("not_an_update"), "{answer}");
    serving.abort();
    the_box.until_nothing_is_left().await;
}
