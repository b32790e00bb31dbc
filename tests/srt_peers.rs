//! The SRT room against the reference library: `srt-live-transmit` and `ffmpeg` over loopback.

#[path = "support/stalls.rs"]
mod stalls;
#[path = "srt_peers/support.rs"]
mod support;

use std::time::Duration;

use returnfeed::hub::Event;
use returnfeed::media::{Codec, StreamName};
use returnfeed::srt::CallAddress;
use stalls::Stalls;
use support::{Bench, Peer, Proxy, Source, free_port, payload, until};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Sends over a network that gets well before the end: a lost last packet leaves no gap for the box to ask for, and
/// libsrt repeats nothing unasked to a receiver that reports losses regularly (live mode).
async fn write_and_heal(peer: &mut Peer, proxy: &Proxy, sent: &[u8], bits_per_second: u64) {
    let (most, rest) = sent.split_at(sent.len() - 50 * 7 * 188);
    peer.write_at(most, bits_per_second).await;
    proxy.heal();
    peer.write_at(rest, bits_per_second).await;
}

#[tokio::test]
async fn takes_what_srt_live_transmit_sends_byte_for_byte() {
    let bench = Bench::start(&[]).await;
    let mut peer = Peer::transmit(&bench, "streamid=publish:cam1&latency=40");
    let sent = payload(1000);
    let source = bench.source("cam1").await;
    peer.write(&sent).await;
    source.received(sent.len()).await;
    support::same(&source.bytes(), &sent);
    drop(peer);
    bench.stop().await;
}

#[tokio::test]
async fn takes_ffmpegs_stream_without_a_stream_id_as_the_programme_and_reports_how_it_arrives() {
    let bench = Bench::start(&[]).await;
    // ffmpeg counts latency in microseconds.
    let _peer = Peer::ffmpeg(&bench, "latency=150000");
    let source = bench.source("pgm").await;
    source.received(188 * 50).await;
    assert!(source.bytes().chunks_exact(188).all(|packet| packet[0] == 0x47));
    until("statistics", || source.stats().rtt > Duration::ZERO).await;
    let stats = source.stats();
    // Theirs is the larger.
    assert_eq!((stats.negotiated_latency, stats.encrypted), (ms(150), false));
    assert!(stats.received_packets > 0 && stats.received_bytes > 0 && stats.rtt < ms(100), "{stats:?}");
    assert_eq!((stats.lost_packets, stats.dropped_packets), (0, 0));
    bench.stop().await;
}

#[tokio::test]
async fn decrypts_every_key_size_and_the_larger_latency_is_ours() {
    for bytes in [16, 24, 32] {
        let bench = Bench::start_at("127.0.0.1:0", ms(100), &[("pgm", "correcthorse")]).await;
        let query = format!("streamid=live/pgm&passphrase=correcthorse&pbkeylen={bytes}&latency=30");
        let mut peer = Peer::transmit(&bench, &query);
        let sent = payload(200);
        let source = bench.source("pgm").await;
        peer.write(&sent).await;
        source.received(sent.len()).await;
        support::same(&source.bytes(), &sent);
        until("statistics", || source.stats().encrypted).await;
        assert_eq!(source.stats().negotiated_latency, ms(100));
        drop(peer);
        bench.stop().await;
    }
}

#[tokio::test]
async fn the_stream_goes_on_when_the_sender_changes_its_keys() {
    let bench = Bench::start(&[("pgm", "correcthorse")]).await;
    let query = "passphrase=correcthorse&kmrefreshrate=1000&kmpreannounce=400&latency=100";
    let mut peer = Peer::transmit(&bench, query);
    let sent = payload(4000);
    let source = bench.source("pgm").await;
    peer.write_at(&sent, 20_000_000).await;
    source.received(sent.len()).await;
    support::same(&source.bytes(), &sent);
    drop(peer);
    bench.stop().await;
}

#[tokio::test]
async fn wrong_missing_and_unexpected_passphrases_are_named_and_disturb_nobody() {
    let bench = Bench::start(&[("pgm", "correcthorse"), ("cam1", "batterystaple")]).await;
    let mut good = Peer::transmit(&bench, "passphrase=correcthorse&streamid=pgm&latency=40");
    let source = bench.source("pgm").await;
    good.write(&payload(100)).await;
    for (query, code) in [
        ("streamid=cam1&passphrase=correcthorse", "srt_passphrase_wrong"),
        ("streamid=cam1&passphrase=correcthorse&pbkeylen=32", "srt_passphrase_wrong"),
        ("streamid=cam1", "srt_passphrase_missing"),
        ("streamid=cam2&passphrase=correcthorse", "srt_passphrase_unexpected"),
    ] {
        let refused = Peer::ffmpeg(&bench, query);
        until(code, || bench.problem_codes().contains(&code)).await;
        assert!(!refused.last_words().await.is_empty(), "{query}");
    }
    assert_eq!(bench.keepers.get("cam1").map(|source| source.len()), None);
    // The next one that gets in mends it, for its stream.
    let mended = Peer::transmit(&bench, "streamid=cam1&passphrase=batterystaple");
    bench.source("cam1").await;
    let listed = bench.problems.list();
    assert!(listed.iter().all(|problem| problem.subject != "cam1"), "{listed:?}");
    good.write(&payload(100)).await;
    source.received(payload(200).len()).await;
    drop((good, mended));
    bench.stop().await;
}

#[tokio::test]
async fn several_streams_run_side_by_side_and_a_second_sender_of_one_is_refused() {
    let bench = Bench::start(&[]).await;
    let names = ["pgm", "cam1", "studio2/iso"];
    let mut peers: Vec<Peer> =
        names.iter().map(|name| Peer::transmit(&bench, &format!("streamid=publish:{name}&latency=40"))).collect();
    let sent = payload(100);
    for (peer, name) in peers.iter_mut().zip(names) {
        let source = bench.source(name).await;
        peer.write(&sent).await;
        source.received(sent.len()).await;
        support::same(&source.bytes(), &sent);
    }
    let second = Peer::ffmpeg(&bench, "streamid=pgm");
    assert!(!second.last_words().await.is_empty());
    let reader = Peer::ffmpeg(&bench, "streamid=%23!::r=cam7,m=request");
    assert!(!reader.last_words().await.is_empty());
    assert!(bench.keepers.get("cam7").is_none());
    drop(peers);
    bench.stop().await;
}

#[tokio::test]
async fn listens_on_ipv4_and_ipv6_at_once_and_tells_ipv4_addresses_as_ipv4() {
    let bench = Bench::start_at("[::]:0", ms(20), &[]).await;
    let port = bench.address.port();
    let mut four = Peer::transmit_to(&format!("srt://127.0.0.1:{port}?streamid=four"));
    let mut six = Peer::transmit_to(&format!("srt://[::1]:{port}?streamid=six"));
    for (peer, name) in [(&mut four, "four"), (&mut six, "six")] {
        let source = bench.source(name).await;
        peer.write(&payload(100)).await;
        source.received(payload(100).len()).await;
    }
    assert!(bench.keepers.address("four").unwrap().is_ipv4());
    assert!(bench.keepers.address("six").unwrap().is_ipv6());
    drop((four, six));
    bench.stop().await;
}

#[tokio::test]
async fn packets_in_order_are_handed_over_at_once_whatever_the_latency() {
    let bench = Bench::start_at("127.0.0.1:0", ms(120), &[]).await;
    let proxy = Proxy::start(bench.address, 0, 1).await;
    let mut peer = Peer::transmit_to(&format!("srt://127.0.0.1:{}?latency=120", proxy.port));
    let sent = payload(2000);
    let source = bench.source("pgm").await;
    let stalls = Stalls::watch();
    peer.write_at(&sent, 8_000_000).await;
    source.received(sent.len()).await;
    let (chunks, passed) = (source.chunks(), proxy.passed());
    assert_eq!((chunks.len(), passed.len()), (2000, 2000));
    let mut delays: Vec<_> = chunks.iter().zip(passed).map(|((arrived, _), passed)| *arrived - passed).collect();
    delays.sort();
    let (median, most) = (delays[1000], delays[1900]);
    println!("handover at 120 ms negotiated: p50 {median:?}, p95 {most:?}, max {:?}", delays[1999]);
    assert!(median < ms(2), "{median:?}");
    assert!(most < ms(20) + stalls.total(), "{most:?}");
    bench.stop().await;
}

#[tokio::test]
async fn nothing_is_missing_at_two_percent_loss_both_ways() {
    let bench = Bench::start_at("127.0.0.1:0", ms(1000), &[]).await;
    let proxy = Proxy::start(bench.address, 2, 1).await;
    let mut peer = Peer::transmit_to(&format!("srt://127.0.0.1:{}?latency=1000", proxy.port));
    let sent = payload(3000);
    let source = bench.source("pgm").await;
    write_and_heal(&mut peer, &proxy, &sent, 10_000_000).await;
    source.received(sent.len()).await;
    let stats = source.stats();
    println!("2 % loss: {} of {} bytes; {stats:?}", source.bytes().len(), sent.len());
    support::same(&source.bytes()[..sent.len()], &sent);
    until("statistics", || source.stats().lost_packets > 0).await;
    let stats = source.stats();
    assert!(stats.retransmitted_packets > 0 && stats.dropped_packets == 0, "{stats:?}");
    drop(peer);
    bench.stop().await;
}

/// A round trip of 10 ms, so that a repair takes that long at least. At 20 ms there is time for one repair only.
#[tokio::test]
async fn a_gap_waits_for_its_repair_and_no_longer_than_agreed_whatever_was_agreed() {
    for (latency, drops) in [(20, 60), (120, 0), (1000, 0)] {
        let bench = Bench::start_at("127.0.0.1:0", ms(latency), &[]).await;
        let proxy = Proxy::start_slow(bench.address, 2, 7, ms(5)).await;
        let mut peer = Peer::transmit_to(&format!("srt://127.0.0.1:{}?latency={latency}", proxy.port));
        let sent = payload(2000);
        let source = bench.source("pgm").await;
        let stalls = Stalls::watch();
        write_and_heal(&mut peer, &proxy, &sent, 8_000_000).await;
        until("the last packet", || source.bytes().ends_with(&sent[sent.len() - 188..])).await;
        drop(peer);
        until("the last statistics", || source.gone()).await;
        let stats = source.stats();
        println!("{latency} ms: {stats:?}");
        assert!(stats.lost_packets > 10 && stats.gaps > 10, "{stats:?}");
        let still = stalls.total();
        // What stands still for as long as was agreed repairs nothing in time.
        if still < ms(latency) / 2 {
            assert!(stats.dropped_packets <= drops, "{stats:?}");
            if drops == 0 {
                support::same(&source.bytes(), &sent);
            }
        }
        // The timers of a busy machine are late by some milliseconds.
        assert!(stats.gap_wait_p50 > ms(5) && stats.gap_wait_longest < ms(latency + 30) + still, "{stats:?}");
        assert!(stats.gap_wait_p50 < ms(latency.min(60)) + still, "{stats:?}");
        bench.stop().await;
    }
}

#[tokio::test]
async fn fifty_megabits_a_second_arrive_whole() {
    let bench = Bench::start_at("127.0.0.1:0", ms(200), &[]).await;
    let mut peer = Peer::transmit(&bench, "latency=200");
    // Two seconds' worth.
    let sent = payload(9500);
    let source = bench.source("pgm").await;
    peer.write_at(&sent, 50_000_000).await;
    source.received(sent.len()).await;
    support::same(&source.bytes(), &sent);
    let chunks = source.chunks();
    let took = chunks.last().unwrap().0 - chunks[0].0;
    println!("{:.1} Mbit/s", sent.len() as f64 * 8e-6 / took.as_secs_f64());
    drop(peer);
    bench.stop().await;
}

#[tokio::test]
async fn hostile_datagrams_disturb_no_running_stream() {
    let bench = Bench::start(&[]).await;
    let mut peer = Peer::transmit(&bench, "latency=60");
    let sent = payload(600);
    let (early, late) = sent.split_at(300 * 1316);
    let source = bench.source("pgm").await;
    peer.write(early).await;
    support::hostile(bench.address, 3000).await;
    peer.write(late).await;
    source.received(sent.len()).await;
    support::same(&source.bytes(), &sent);
    // And the door still opens.
    let mut next = Peer::transmit(&bench, "streamid=cam1");
    let source = bench.source("cam1").await;
    next.write(&payload(100)).await;
    source.received(payload(100).len()).await;
    drop((peer, next));
    bench.stop().await;
}

#[tokio::test]
async fn a_fault_in_one_connection_ends_that_one_only() {
    let bench = Bench::start(&[]).await;
    let mut peer = Peer::transmit(&bench, "latency=60");
    let source = bench.source("pgm").await;
    let bomb = Peer::ffmpeg(&bench, "streamid=bomb");
    let sent = payload(1000);
    // Two seconds, in which the other connects and breaks.
    peer.write_at(&sent, 5_000_000).await;
    source.received(sent.len()).await;
    support::same(&source.bytes(), &sent);
    drop((peer, bomb));
    bench.stop().await;
}

#[tokio::test]
async fn a_sender_that_ends_or_dies_is_noticed_and_may_come_back() {
    let bench = Bench::start(&[]).await;
    let mut peer = Peer::transmit(&bench, "");
    let first = bench.source("pgm").await;
    peer.write(&payload(100)).await;
    first.received(payload(100).len()).await;
    peer.terminate();
    let begin = support::now();
    until("the goodbye", || first.gone()).await;
    // Its silence would be noticed after five seconds.
    assert!(support::now() - begin < ms(3000));
    drop(peer);

    let mut peer = Peer::transmit(&bench, "");
    let second = Source::next(&bench, "pgm").await;
    peer.write(&payload(100)).await;
    second.received(payload(100).len()).await;
    let begin = support::now();
    drop(peer);
    until("its silence to be noticed", || second.gone()).await;
    let took = support::now() - begin;
    assert!(took > ms(4000) && took < ms(7000), "{took:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_sender_hears_that_the_box_stops() {
    let bench = Bench::start(&[]).await;
    let peer = Peer::ffmpeg(&bench, "");
    bench.source("pgm").await.received(1316).await;
    bench.stop().await;
    // ffmpeg ends by itself well before it would notice silence.
    let begin = support::now();
    peer.last_words().await;
    assert!(support::now() - begin < ms(3000));
}

#[tokio::test]
async fn calls_a_listener_and_calls_again_when_it_comes_back() {
    let bench = Bench::start(&[]).await;
    let port = free_port();
    let listener = format!("srt://:{port}?mode=listener&passphrase=correcthorse&latency=40");
    let address = CallAddress {
        host: "localhost".into(),
        port,
        stream_id: None,
        passphrase: Some("correcthorse".into()),
        key_bytes: 32,
        latency: Some(ms(60)),
    };
    let caller = bench.call("cam1", address);
    for _ in 0..2 {
        let mut peer = Peer::transmit_to(&listener);
        let sent = payload(200);
        let source = Source::next(&bench, "cam1").await;
        peer.write(&sent).await;
        source.received(sent.len()).await;
        support::same(&source.bytes(), &sent);
        until("statistics", || source.stats().encrypted).await;
        assert_eq!(source.stats().negotiated_latency, ms(60));
        peer.terminate();
        until("the goodbye", || source.gone()).await;
    }
    bench.stop().await;
    caller.await.unwrap();
}

#[tokio::test]
async fn a_call_with_the_wrong_passphrase_is_named_until_it_is_right() {
    let bench = Bench::start(&[]).await;
    let port = free_port();
    let _peer = Peer::transmit_to(&format!("srt://:{port}?mode=listener&passphrase=correcthorse"));
    let address = CallAddress {
        host: "127.0.0.1".into(),
        port,
        stream_id: None,
        passphrase: Some("batterystaple".into()),
        key_bytes: 16,
        latency: None,
    };
    let caller = bench.call("cam1", address);
    until("the problem", || bench.problem_codes() == ["srt_passphrase_wrong"]).await;
    let problems = bench.problems.clone();
    bench.stop().await;
    caller.await.unwrap();
    assert_eq!(problems.list(), []);
}

#[tokio::test]
async fn pictures_and_sound_reach_the_hub_and_the_same_sender_takes_its_stream_over() {
    let (hub, mut events) = support::hub();
    let bench = Bench::start_into(std::sync::Arc::new(hub.clone()), "127.0.0.1:0", ms(120), &[]).await;
    let stream: StreamName = "cam1".parse().unwrap();
    let first = Peer::ffmpeg(&bench, "streamid=publish:cam1");
    let started = tokio::time::timeout(support::PATIENCE, events.recv()).await.unwrap().unwrap();
    assert!(matches!(&started, Event::Started { stream: name, from } if *name == stream && from.ip().is_loopback()));
    let pictures = || hub.status(&stream).map_or(0, |status| status.video_units);
    until("pictures", || pictures() > 10).await;
    let source = || hub.status(&stream).and_then(|status| status.source);
    until("statistics", || source().is_some_and(|source| source.transport.is_some())).await;
    let tracks = hub.status(&stream).unwrap().tracks;
    assert_eq!(tracks[0].track.codec, Codec::H264);

    let second = Peer::ffmpeg(&bench, "streamid=%23!::r=live/cam1,m=publish");
    // The first is told and ends by itself.
    first.last_words().await;
    until("pictures of the second", || pictures() > 10).await;
    drop(second);
    bench.stop().await;
}
