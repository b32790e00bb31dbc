//! Shards without a controlling thread: the test says what comes, and when a thread stands still.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::webrtc::ice::Transport;
use crate::webrtc::packetizer::Packetizer;
use crate::webrtc::sdp::NegotiatedVideo;
use crate::webrtc::sending::{Pacing, SendingParts, Sources};
use crate::webrtc::server::lock;
use crate::webrtc::server::shard::MediaSent;
use crate::webrtc::server::socket::Bound;
use crate::webrtc::server::tcp::Listener;
use crate::webrtc::srtp::{Keys, Outbound, Profile};

const STREAM: Key = 1_000;

struct Bench {
    clock: Clock,
    shards: Shards,
    history: History,
    packetizer: Packetizer,
    stamp: u32,
}

impl Bench {
    fn new() -> Self {
        Self::by(Clock::system())
    }

    fn by(clock: Clock) -> Self {
        let udp = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap().outlet().unwrap();
        let tcp = Listener::bind(None, (1, Default::default())).unwrap().0.connections();
        let shards = Shards::new(clock.clone(), Outlets { udp, tcp }, broadcast::channel(8).0);
        Self { clock, shards, history: History::default(), packetizer: Packetizer::default(), stamp: 0 }
    }

    /// A thread that stands still: what it is told stays in the inbox.
    fn stall(&mut self) -> Receiver<Message> {
        let (messages, inbox) = channel();
        let thread = thread::spawn(thread::park);
        self.shards.remotes.push(Remote { messages, waiting: Arc::default(), thread });
        self.shards.loads.push(Load::default());
        inbox
    }

    fn join(&mut self, key: Key) -> (Place, std::net::UdpSocket, Arc<Mutex<MediaSent>>) {
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let path = Path { local: [127, 0, 0, 1].into(), peer: peer.local_addr().unwrap(), transport: Transport::Udp };
        let keys = Keys::new(Profile::AeadAes128Gcm, &[1; 16], &[2; 12]).unwrap();
        let parts = SendingParts {
            video: Sources { ssrc: 1, rtx_ssrc: 2, first_sequence: 0 },
            negotiated: NegotiatedVideo { payload_type: 96, rtx_payload_type: None, playout_delay: None },
            sound: None,
            srtp: Outbound::new(&keys).split().0,
            path,
            pacing: Pacing { live_bps: None, join_bps: 100_000_000 },
        };
        let sent = Arc::new(Mutex::new(MediaSent::default()));
        let (id, sent_too) = (key.to_string(), sent.clone());
        let joiner = Joiner { key, id, stream: STREAM, parts, sent: sent_too, history: None };
        (self.shards.add(joiner, &self.history), peer, sent)
    }

    fn picture(&mut self, random_access: bool) {
        self.picture_of(&[0, 0, 1, if random_access { 0x65 } else { 0x41 }, 7, 7]);
    }

    fn picture_of(&mut self, unit: &[u8]) {
        let random_access = unit[3] == 0x65;
        self.stamp += 3_000;
        let frame = Arc::new(self.packetizer.h264(unit, random_access, self.stamp, self.clock.now()).unwrap());
        self.history.push(frame.clone());
        self.shards.picture(STREAM, &frame);
    }
}

#[test]
fn the_first_viewers_are_served_without_another_thread_and_the_rest_where_the_fewest_are() {
    let mut bench = Bench::new();
    bench.shards.inline_first = 3;
    let _inboxes = [bench.stall(), bench.stall()];
    let mut places: Vec<_> = (0..12).map(|key| bench.join(key).0).collect();
    assert_eq!(places, [0, 0, 0, 1, 2, 1, 2, 1, 2, 1, 2, 0]);
    bench.shards.remove(places.remove(4), STREAM, 4);
    assert_eq!(bench.join(12).0, 2);
    let inline_alone = Bench::new().shards;
    assert_eq!(inline_alone.place(), 0);
}

#[test]
fn a_thread_that_stands_still_loses_pictures_up_to_the_next_random_access_point_and_holds_up_nobody() {
    let mut bench = Bench::new();
    bench.shards.inline_first = 1;
    let inbox = bench.stall();
    let (here, peer, sent) = bench.join(1);
    let (there, _, _) = bench.join(2);
    assert_eq!((here, there), (0, 1));
    bench.picture(true);
    for _ in 0..2 * MOST_FRAMES {
        bench.picture(false);
        assert!(peer.recv(&mut [0; 2_048]).is_ok());
    }
    assert_eq!(lock(&sent).counts.picture.packets, 1 + 2 * MOST_FRAMES as u64);
    for _ in 0..2 * MOST_WISHES {
        bench.shards.wish(there, 2, Wish::NewStart);
    }
    bench.shards.remove(there, STREAM, 2);

    // It comes to itself again.
    let (mut pictures, mut wishes, mut removed) = (0, 0, false);
    let waiting = bench.shards.remotes[0].waiting.clone();
    while let Ok(message) = inbox.try_recv() {
        waiting.of(&message).inspect(|(count, _)| {
            count.fetch_sub(1, Ordering::Relaxed);
        });
        match message {
            Message::Picture { skipped, .. } => {
                assert_eq!(skipped, 0);
                pictures += 1;
            }
            Message::Wish(..) => wishes += 1,
            Message::Remove(key) => removed = key == 2,
            _ => {}
        }
    }
    assert_eq!((pictures, wishes, removed), (MOST_FRAMES, MOST_WISHES, true));
}

#[test]
fn a_thread_that_follows_again_goes_on_at_a_random_access_point_and_counts_what_it_lost() {
    let mut bench = Bench::new();
    bench.shards.inline_first = 0;
    let inbox = bench.stall();
    bench.join(1);
    bench.picture(true);
    for _ in 0..MOST_FRAMES + 4 {
        bench.picture(false);
    }
    bench.shards.remotes[0].waiting.frames.store(0, Ordering::Relaxed);
    let handed = |inbox: &Receiver<Message>| {
        let pictures = inbox.try_iter().filter_map(|message| match message {
            Message::Picture { frame, skipped, .. } => Some((frame.random_access, skipped)),
            _ => None,
        });
        pictures.collect::<Vec<_>>()
    };
    assert_eq!(handed(&inbox).len(), MOST_FRAMES);
    bench.picture(false);
    assert_eq!(handed(&inbox), [], "it refers to pictures that were skipped");
    bench.picture(true);
    bench.picture(false);
    assert_eq!(handed(&inbox), [(true, 6), (false, 0)]);
}

/// Of 15 KB: a group of pictures of some takes a while to catch up with.
fn large(random_access: bool) -> Vec<u8> {
    let mut unit = vec![0, 0, 1, if random_access { 0x65 } else { 0x41 }];
    unit.resize(15_000, 7);
    unit
}

#[test]
fn a_crowd_catches_up_in_turn_and_holds_up_nobody() {
    let mut bench = Bench::new();
    bench.picture_of(&large(true));
    let (_, _, live) = bench.join(0);
    bench.shards.wake();
    for _ in 0..8 {
        bench.picture_of(&large(false));
    }
    let crowd: Vec<_> = (1..=50).map(|key| bench.join(key)).collect();
    let start = bench.clock.now();
    let mut most = 0;
    let is_live = |sent: &Mutex<MediaSent>| lock(sent).is_live;
    for n in 0.. {
        let joined = crowd.iter().filter(|(_, _, sent)| is_live(sent)).count();
        let catching_up = bench.shards.inline.catching_up();
        most = most.max(catching_up);
        if joined == 50 && catching_up == 0 {
            break;
        }
        assert!(bench.clock.now() - start < Duration::from_secs(20), "{joined} have joined");
        bench.shards.wake();
        if n % 20 == 0 {
            let before = lock(&live).counts.picture.packets;
            bench.picture_of(&large(false));
            assert!(lock(&live).counts.picture.packets > before || bench.shards.inline.is_blocked());
        }
        thread::sleep(Duration::from_micros(200));
    }
    assert_eq!(most, 4);
}

#[test]
fn who_leaves_while_catching_up_or_in_line_makes_room() {
    let mut bench = Bench::new();
    bench.picture_of(&large(true));
    for _ in 0..20 {
        bench.picture_of(&large(false));
    }
    let crowd: Vec<_> = (1..=10).map(|key| bench.join(key)).collect();
    assert_eq!(bench.shards.inline.catching_up(), 4);
    for key in (1..=4).chain(6..=9) {
        bench.shards.remove(0, STREAM, key);
    }
    assert_eq!(bench.shards.inline.catching_up(), 2);
    assert!([5, 10].iter().all(|key| lock(&crowd[key - 1].2).is_live));
}

#[test]
fn who_joins_after_the_end_of_a_source_waits_for_the_next() {
    // Between random access points there is time enough that nobody waits for another one.
    let (clock, hand) = Clock::manual();
    let mut bench = Bench::by(clock);
    bench.picture(true);
    hand.advance(Duration::from_millis(100));
    let (_, _, first) = bench.join(1);
    assert!(lock(&first).is_live);
    bench.shards.end_source(STREAM);
    let (_, _, second) = bench.join(2);
    assert!(!lock(&second).is_live);
    bench.picture(true);
    assert!(lock(&second).is_live);
    let (_, _, third) = bench.join(3);
    assert!(lock(&third).is_live);
}

#[test]
fn a_pulse_is_felt_when_every_thread_has_taken_the_question() {
    let mut bench = Bench::new();
    bench.shards.start(2).unwrap();
    let inbox = bench.stall();
    let (reply, mut answer) = tokio::sync::oneshot::channel();
    bench.shards.feel(&Arc::new(reply));
    let is_felt = |answer: &mut tokio::sync::oneshot::Receiver<()>| {
        answer.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Closed)
    };
    thread::sleep(Duration::from_millis(50));
    assert!(!is_felt(&mut answer), "one of the threads stands still");
    drop(inbox.recv().unwrap());
    while !is_felt(&mut answer) {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn threads_end_when_they_are_let_go() {
    let mut bench = Bench::new();
    bench.shards.inline_first = 0;
    bench.shards.start(3).unwrap();
    assert!(bench.shards.are_well());
    bench.picture(true);
    let (place, peer, _) = bench.join(1);
    assert_ne!(place, 0);
    assert!(peer.recv(&mut [0; 2_048]).is_ok(), "the current picture at once");
    bench.picture(false);
    assert!(peer.recv(&mut [0; 2_048]).is_ok());
    bench.shards.stop();
    assert!(bench.shards.remotes.is_empty());
}
