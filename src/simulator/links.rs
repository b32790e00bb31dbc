//! The TCP and HTTP servers of the simulator.
//!
//! Owns: listening, connections, and the faults as they show on them.
//! Does not own: the wording (`dialogue`, `xml`), the show (`show`).

use super::dialogue::{self, Lines, Request, Topic, Wording};
use super::random::Random;
use super::show::Arguments;
use super::studio::{Change, Faults, Studio};
use super::xml;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// Listens at `address`, and again after each restart; gives every connection to `serve`.
pub(super) async fn listen<W>(
    first: TcpListener,
    address: SocketAddr,
    studio: Arc<Studio>,
    serve: impl Fn(TcpStream, Arc<Studio>) -> W,
) where
    W: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut faults = studio.faults();
    let mut listener = Some(first);
    loop {
        let running = match listener.take() {
            Some(listener) => listener,
            None => match TcpListener::bind(address).await {
                Ok(listener) => listener,
                Err(err) => {
                    tracing::warn!(%address, %err, "cannot listen again");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            },
        };
        tokio::select! {
            () = accept(&running, &studio, &serve) => {}
            _ = faults.wait_for(|faults| faults.down) => {}
        }
        drop(running);
        if faults.wait_for(|faults| !faults.down).await.is_err() {
            return;
        }
    }
}

async fn accept<W>(listener: &TcpListener, studio: &Arc<Studio>, serve: &impl Fn(TcpStream, Arc<Studio>) -> W)
where
    W: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut faults = studio.faults();
    loop {
        if faults.wait_for(|faults| !faults.silent).await.is_err() {
            return;
        }
        // A frozen program takes no connection; the system completes it nevertheless, as it does for a real one.
        let accepted = tokio::select! {
            biased;
            _ = faults.wait_for(|faults| faults.silent) => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = serve(stream, studio.clone());
                let closed = closed(studio.faults());
                studio.spawn(async move {
                    tokio::select! {
                        ended = connection => if let Err(err) = ended {
                            tracing::debug!(%peer, %err, "connection ended");
                        },
                        () = closed => {}
                    }
                });
            }
            // Out of file handles, or the other side was gone already.
            Err(err) => {
                tracing::warn!(%err, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Ends when connections are to be closed.
async fn closed(mut faults: watch::Receiver<Faults>) {
    let dropped = faults.borrow_and_update().links_dropped;
    // An error means that the simulator is gone.
    let _ = faults.wait_for(|faults| faults.down || faults.links_dropped != dropped).await;
}

/// One client of the TCP API.
pub(super) async fn serve_tcp(mut stream: TcpStream, studio: Arc<Studio>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut faults, mut changes) = (studio.faults(), studio.changes());
    let mut garbage = faults.borrow_and_update().garbage_replies;
    let (mut lines, mut tally, mut acts) = (Lines::default(), false, false);
    let mut buffer = [0; 2048];
    if !faults.borrow().no_greeting {
        send(&mut stream, dialogue::greeting().as_bytes(), &faults).await?;
    }
    loop {
        wait_while_silent(&mut faults).await?;
        tokio::select! {
            count = stream.read(&mut buffer) => {
                let count = count?;
                // A frozen program has not read this yet.
                wait_while_silent(&mut faults).await?;
                let read = buffer.get(..count).filter(|read| !read.is_empty());
                let Some(Ok(requests)) = read.map(|read| lines.push(read)) else { return Ok(()) };
                for request in requests {
                    if let Request::Function(name, arguments) = &request {
                        studio.function(name, arguments);
                    }
                    match request {
                        Request::Subscribe(Topic::Tally) => tally = true,
                        Request::Subscribe(Topic::Acts) => acts = true,
                        Request::Unsubscribe(Topic::Tally) => tally = false,
                        Request::Unsubscribe(Topic::Acts) => acts = false,
                        _ => {}
                    }
                    let wording = if faults.borrow().emulator { Wording::Emulator } else { Wording::Vmix };
                    let reply = dialogue::answer(&request, &studio.show(), wording);
                    send(&mut stream, reply.as_bytes(), &faults).await?;
                    if request == Request::Quit {
                        return Ok(());
                    }
                }
            }
            change = changes.recv() => {
                wait_while_silent(&mut faults).await?;
                let news = match change {
                    Ok(change) => news(&change, &studio, tally, acts),
                    // So much was missed that only the present counts.
                    Err(RecvError::Lagged(_)) if tally => dialogue::tally_line(&studio.show()),
                    Err(RecvError::Lagged(_)) => String::new(),
                    Err(RecvError::Closed) => return Ok(()),
                };
                send(&mut stream, news.as_bytes(), &faults).await?;
            }
            changed = faults.changed() => {
                changed.map_err(io::Error::other)?;
                let wanted = faults.borrow_and_update().garbage_replies;
                if wanted != garbage {
                    garbage = wanted;
                    send(&mut stream, &Random::new(wanted).bytes(700), &faults).await?;
                    // The end of a line, so that what comes next can be read again.
                    send(&mut stream, b"\r\n", &faults).await?;
                }
            }
        }
    }
}

fn news(change: &Change, studio: &Studio, tally: bool, acts: bool) -> String {
    let mut news = String::new();
    if tally && change.tally {
        news.push_str(&dialogue::tally_line(&studio.show()));
    }
    if acts {
        news.push_str(&dialogue::acts_lines(&change.acts));
    }
    news
}

async fn wait_while_silent(faults: &mut watch::Receiver<Faults>) -> io::Result<()> {
    // Only looks when there is something to wait for: a change not yet looked at stays news.
    if faults.borrow().silent {
        faults.clone().wait_for(|faults| !faults.silent).await.map_err(io::Error::other)?;
    }
    Ok(())
}

async fn send(stream: &mut TcpStream, bytes: &[u8], faults: &watch::Receiver<Faults>) -> io::Result<()> {
    if !faults.borrow().pieces {
        return stream.write_all(bytes).await;
    }
    // Single bytes where lines begin; a whole document that way would take seconds.
    let (start, rest) = bytes.split_at(bytes.len().min(40));
    for piece in start.chunks(1).chain(rest.chunks(97)) {
        stream.write_all(piece).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// One request of the HTTP API.
pub(super) async fn serve_http(mut stream: TcpStream, studio: Arc<Studio>) -> io::Result<()> {
    const LONGEST_HEAD: usize = 16 * 1024;
    let mut faults = studio.faults();
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read_buf(&mut head);
        let count = tokio::time::timeout(Duration::from_secs(10), read).await.map_err(io::Error::other)??;
        if count == 0 || head.len() > LONGEST_HEAD {
            return Ok(());
        }
    }
    wait_while_silent(&mut faults).await?;
    let head = String::from_utf8_lossy(&head);
    let target = head.split_ascii_whitespace().nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (status, kind, body) = if !path.trim_end_matches('/').eq_ignore_ascii_case("/api") {
        ("404 Not Found", "text/plain", "Not found".to_owned())
    } else if let Some(function) = function(query) {
        studio.function(&function, &Arguments::parse(query));
        ("200 OK", "text/html", "Function completed successfully.".to_owned())
    } else {
        ("200 OK", "text/xml; charset=utf-8", xml::document(&studio.show()))
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nAccess-Control-Allow-Origin: *\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    send(&mut stream, head.as_bytes(), &faults).await?;
    send(&mut stream, body.as_bytes(), &faults).await?;
    stream.shutdown().await
}

fn function(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name.eq_ignore_ascii_case("Function")).map(|(_, value)| value.into_owned())
}
