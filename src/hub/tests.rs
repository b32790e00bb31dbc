use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::clock::ManualClock;
use crate::media::{AccessUnit, Codec, Timestamp90k, TrackId};

/// Passes video, marks it, and refuses while the payload says so.
#[derive(Default)]
struct Marking {
    refusing: bool,
}

impl Transform for Marking {
    fn push(&mut self, item: &MediaItem) -> Vec<MediaItem> {
        let MediaItem::Unit(unit) = item else { return vec![item.clone()] };
        self.refusing = unit.data.starts_with(b"bad");
        if self.refusing || !unit.codec.is_video() {
            return Vec::new();
        }
        let data = [b"browser ".as_slice(), &unit.data].concat().into();
        vec![MediaItem::Unit(Arc::new(AccessUnit { data, ..AccessUnit::clone(unit) }))]
    }

    fn problem(&self) -> Option<TransformProblem> {
        self.refusing.then(|| TransformProblem { code: "bad", text: "Send something better.".into() })
    }
}

/// Marks what is heard of a source, and waits for a word before each item whose payload says so.
struct Voice {
    words: Arc<Mutex<mpsc::Receiver<()>>>,
    hanging: mpsc::Sender<()>,
    units: u64,
    unreadable: bool,
}

impl Transform for Voice {
    fn push(&mut self, item: &MediaItem) -> Vec<MediaItem> {
        let MediaItem::Unit(unit) = item else { return vec![item.clone()] };
        if unit.data.starts_with(b"wait") {
            self.hanging.send(()).expect("the test waits for it");
            lock(&self.words).recv().expect("the test says when");
        }
        assert!(!unit.data.starts_with(b"panic"), "as the test wants it");
        self.unreadable = unit.data.starts_with(b"unreadable");
        self.units += 1;
        let data = [unit.data.as_ref(), format!(" {}", self.units).as_bytes()].concat().into();
        vec![MediaItem::Unit(Arc::new(AccessUnit { data, ..AccessUnit::clone(unit) }))]
    }

    fn problem(&self) -> Option<TransformProblem> {
        self.unreadable.then(|| TransformProblem { code: "sound_unreadable", text: "Send AAC-LC.".into() })
    }

    fn lost_units(&self) -> u64 {
        self.units
    }
}

struct Studio {
    hub: Hub,
    hand: ManualClock,
    clock: Clock,
    problems: Problems,
    /// Lets the maker of sound go on.
    words: mpsc::Sender<()>,
    /// Says when it waits.
    hanging: mpsc::Receiver<()>,
}

impl Studio {
    fn new() -> Self {
        Self::with_obstacle(|_| None)
    }

    fn with_obstacle(obstacle: fn(&[&Description]) -> Option<TransformProblem>) -> Self {
        let (clock, hand) = Clock::manual();
        let problems = Problems::default();
        let marking = || Box::new(Marking::default()) as Box<dyn Transform>;
        let ((words, waiting), (hangs, hanging)) = (mpsc::channel(), mpsc::channel());
        let waiting = Arc::new(Mutex::new(waiting));
        let voice = move || {
            let (words, hanging) = (waiting.clone(), hangs.clone());
            Box::new(Voice { words, hanging, units: 0, unreadable: false }) as Box<dyn Transform>
        };
        let renditions = Renditions { obstacle, ..Renditions::new(marking, voice) };
        let hub = Hub::new(clock.clone(), Access::open(None, clock.clone()), problems.clone(), renditions);
        Self { hub, hand, clock, problems, words, hanging }
    }

    fn publish(&self, from: &str) -> Result<Publisher, PublishError> {
        let from = from.parse().unwrap();
        self.hub.publish(PublishRequest {
            stream: StreamName::program(),
            from,
            secret: None,
            called: false,
            protocol: "SRT",
        })
    }

    fn join(&self, session: &str) -> Viewer {
        let stream = StreamName::program();
        self.hub.join(JoinRequest { stream, session: session.into(), by: Asker::default() }).unwrap()
    }

    fn tracks(&self) -> MediaItem {
        MediaItem::Tracks(Arc::new([Track { id: TrackId(256), codec: Codec::H264 }]))
    }

    fn video(&self, text: &str, random_access: bool) -> MediaItem {
        self.unit(Codec::H264, text, random_access)
    }

    fn sound(&self, text: &str) -> MediaItem {
        self.unit(Codec::Aac, text, true)
    }

    fn unit(&self, codec: Codec, text: &str, random_access: bool) -> MediaItem {
        MediaItem::Unit(Arc::new(AccessUnit {
            track: TrackId(256),
            codec,
            pts: Timestamp90k(0),
            dts: Timestamp90k(0),
            random_access,
            data: Bytes::copy_from_slice(text.as_bytes()),
            arrived: self.clock.now(),
        }))
    }
}

/// Everything that waits in a subscription, a word each.
fn drain(subscription: &mut Subscription) -> Vec<String> {
    std::iter::from_fn(|| subscription.try_next()).map(word).collect()
}

fn word(delivery: Delivery) -> String {
    match delivery {
        Delivery::SourceStarted => "started".into(),
        Delivery::SourceEnded => "ended".into(),
        Delivery::Tracks(tracks) => format!("{} tracks", tracks.len()),
        Delivery::Unit(unit) => String::from_utf8_lossy(&unit.data).into_owned(),
    }
}

/// What is delivered next, from another thread.
async fn hear(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut heard = Vec::new();
    for _ in 0..count {
        let next = tokio::time::timeout(Duration::from_secs(20), subscription.next());
        heard.push(word(next.await.expect("more is delivered")));
    }
    heard
}

#[test]
fn a_joiner_gets_the_current_gop_and_then_what_follows() {
    let studio = Studio::new();
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    source.send(studio.tracks()).unwrap();
    for (text, key) in [("p0", false), ("I1", true), ("p1", false), ("I2", true), ("p2", false)] {
        source.send(studio.video(text, key)).unwrap();
    }
    let mut reader = studio.join("a").subscribe(Rendition::Original);
    assert_eq!(drain(&mut reader), ["started", "1 tracks", "I2", "p2"]);
    source.send(studio.video("p3", false)).unwrap();
    assert_eq!(drain(&mut reader), ["p3"]);
    assert_eq!(reader.current_gop().len(), 3);
}

#[test]
fn a_derived_rendition_is_made_only_while_somebody_reads_it_and_starts_from_the_cache() {
    let studio = Studio::new();
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    source.send(studio.tracks()).unwrap();
    source.send(studio.video("I1", true)).unwrap();
    source.send(studio.unit(Codec::Aac, "sound", true)).unwrap();
    let viewer = studio.join("a");
    let mut browser = viewer.subscribe(Rendition::Picture);
    let mut original = viewer.subscribe(Rendition::Original);
    assert_eq!(drain(&mut browser), ["started", "1 tracks", "browser I1"]);
    assert_eq!(drain(&mut original), ["started", "1 tracks", "I1", "sound"]);
    drop(browser);
    assert!(lock(&viewer.stream).gop(Rendition::Picture).is_empty());
}

#[test]
fn a_readers_subscription_survives_a_restart_of_the_source() {
    let studio = Studio::new();
    let mut reader = studio.join("a").subscribe(Rendition::Original);
    assert!(drain(&mut reader).is_empty());
    for _ in 0..2 {
        let mut source = studio.publish("10.0.0.1:1000").unwrap();
        source.send(studio.video("I", true)).unwrap();
        drop(source);
        assert_eq!(drain(&mut reader), ["started", "I", "ended"]);
    }
}

#[test]
fn a_second_source_is_refused_until_the_first_is_silent_but_the_same_address_takes_over_at_once() {
    let studio = Studio::new();
    let mut first = studio.publish("10.0.0.1:1000").unwrap();
    first.send(studio.video("I1", true)).unwrap();
    let refusal = studio.publish("10.0.0.2:1000").err().unwrap();
    assert!(refusal.to_string().contains("10.0.0.1:1000"), "{refusal}");

    let mut restarted = studio.publish("10.0.0.1:1001").unwrap();
    assert_eq!(first.send(studio.video("late", false)), Err(Superseded));
    drop(first);
    assert!(studio.hub.is_live(&StreamName::program()), "the old source's end does not end the new one");

    restarted.send(studio.video("I2", true)).unwrap();
    studio.hand.advance(SILENT_AFTER - Duration::from_millis(1));
    assert!(studio.publish("10.0.0.2:1000").is_err());
    studio.hand.advance(Duration::from_millis(1));
    let _other = studio.publish("10.0.0.2:1000").unwrap();
    assert_eq!(restarted.send(studio.video("late", false)), Err(Superseded));
}

#[test]
fn a_stalled_reader_loses_pictures_up_to_the_next_keyframe_and_holds_up_nobody() {
    let studio = Studio::new();
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    source.send(studio.tracks()).unwrap();
    let mut stalled = studio.join("stalled").subscribe(Rendition::Original);
    let mut quick = studio.join("quick").subscribe(Rendition::Original);
    drain(&mut quick);
    source.send(studio.video("I1", true)).unwrap();
    for _ in 0..2000 {
        source.send(studio.video("p", false)).unwrap();
        assert!(!drain(&mut quick).is_empty());
    }
    assert_eq!(drain(&mut stalled), ["started", "1 tracks"]);
    source.send(studio.unit(Codec::Aac, "sound", true)).unwrap();
    source.send(studio.video("I2", true)).unwrap();
    source.send(studio.video("p", false)).unwrap();
    assert_eq!(drain(&mut stalled), ["I2", "p"]);
    assert_eq!((stalled.dropped_units(), quick.dropped_units()), (2002, 0));
    assert_eq!(studio.hub.streams()[0].dropped_units, 2002);
    drop((stalled, quick));
    assert_eq!(studio.hub.streams()[0].dropped_units, 2002, "also of those that left");
}

#[test]
fn a_sender_without_keyframes_cannot_fill_the_memory() {
    let studio = Studio::new();
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    let megabyte = "x".repeat(1 << 20);
    source.send(studio.video(&megabyte, true)).unwrap();
    let mut most = 0;
    for _ in 0..100 {
        source.send(studio.video(&megabyte, false)).unwrap();
        most = most.max(studio.join("a").subscribe(Rendition::Original).current_gop().len());
    }
    assert_eq!(most, 32);
}

#[test]
fn what_browsers_cannot_show_is_on_the_board_until_it_is_mended() {
    let studio = Studio::new();
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    let viewer = studio.join("a");
    let _reader = viewer.subscribe(Rendition::Picture);
    source.send(studio.video("bad", true)).unwrap();
    assert_eq!(studio.problems.list().len(), 1);
    assert_eq!(studio.hub.streams()[0].problem.as_ref().map(|p| p.code), Some("bad"));
    source.send(studio.video("good", true)).unwrap();
    assert!(studio.problems.list().is_empty());
    source.send(studio.video("bad", true)).unwrap();
    drop(source);
    assert!(studio.problems.list().is_empty(), "a source that is gone has no problem");
}

#[test]
fn a_problem_ends_with_the_source_that_had_it_also_when_another_takes_over() {
    let studio = Studio::new();
    let mut first = studio.publish("10.0.0.1:1000").unwrap();
    let reader = studio.join("a").subscribe(Rendition::Picture);
    first.send(studio.video("bad", true)).unwrap();
    assert_eq!(studio.problems.list().len(), 1);
    let mut second = studio.publish("10.0.0.1:1001").unwrap();
    assert!(studio.problems.list().is_empty());
    drop(first);
    second.send(studio.video("good", true)).unwrap();
    assert!(studio.problems.list().is_empty());
    second.send(studio.video("bad", true)).unwrap();
    assert_eq!(studio.problems.list().len(), 1);
    drop(reader);
    assert!(studio.problems.list().is_empty(), "only the rendition had it");
}

#[test]
fn a_reader_that_takes_nothing_costs_no_memory_however_often_sources_and_tracks_change() {
    let studio = Studio::new();
    let mut reader = studio.join("a").subscribe(Rendition::Original);
    for _ in 0..5000 {
        studio.publish("10.0.0.1:1000").unwrap();
    }
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    for _ in 0..5000 {
        source.send(studio.tracks()).unwrap();
    }
    let waiting = drain(&mut reader);
    assert!(waiting.len() <= 1024, "{}", waiting.len());
    assert_eq!((waiting[0].as_str(), waiting.last().map(String::as_str)), ("started", Some("1 tracks")));
    for _ in 0..1500 {
        source.send(studio.video("I", true)).unwrap();
    }
    drop(source);
    let waiting = drain(&mut reader);
    assert!(waiting.len() <= 1024 && waiting.last().is_some_and(|last| last == "ended"), "{}", waiting.len());
}

#[test]
fn two_live_senders_do_not_take_a_stream_from_each_other_for_ever() {
    let studio = Studio::new();
    let ms = |ms| studio.hand.advance(Duration::from_millis(ms));
    let mut current = studio.publish("10.0.0.1:1000").unwrap();
    for port in [1001, 1002] {
        current.send(studio.video("I", true)).unwrap();
        ms(200);
        current = studio.publish(&format!("10.0.0.1:{port}")).unwrap();
    }
    assert!(studio.problems.list().is_empty());
    let fight = |current: &mut Publisher, port: u16| {
        current.send(studio.video("I", true)).unwrap();
        ms(200);
        let refusal = studio.publish(&format!("10.0.0.1:{port}")).err();
        assert!(matches!(refusal, Some(PublishError::Busy { .. })), "{refusal:?}");
    };
    fight(&mut current, 1003);
    let board = studio.problems.list();
    assert_eq!(board.len(), 1);
    assert_eq!((board[0].code, board[0].subject.as_str()), ("senders_fight", "pgm"));
    for word in ["10.0.0.1:1002", "10.0.0.1:1003", "stream ID"] {
        assert!(board[0].text.contains(word), "{word}: {}", board[0].text);
    }
    for port in 1004..1010 {
        ms(9000);
        fight(&mut current, port);
        assert_eq!(studio.problems.list(), board, "it goes on, and nothing new is to be said");
    }
    ms(9999);
    current.send(studio.video("I", true)).unwrap();
    assert_eq!(studio.problems.list().len(), 1);
    ms(1);
    current.send(studio.video("I", true)).unwrap();
    assert!(studio.problems.list().is_empty());
}

#[test]
fn a_fight_of_senders_ends_with_the_stream_and_keeps_no_encoder_from_restarting() {
    let studio = Studio::new();
    let mut current = studio.publish("10.0.0.1:1000").unwrap();
    for port in 1001..1003 {
        current.send(studio.video("I", true)).unwrap();
        current = studio.publish(&format!("10.0.0.1:{port}")).unwrap();
    }
    current.send(studio.video("I", true)).unwrap();
    assert!(studio.publish("10.0.0.1:1003").is_err());
    studio.hand.advance(Duration::from_millis(201));
    current = studio.publish("10.0.0.1:1003").expect("the one before is silent");
    current.send(studio.video("I", true)).unwrap();
    drop(current);
    assert!(studio.problems.list().is_empty());
    for port in 1004..1020 {
        let mut source = studio.publish(&format!("10.0.0.1:{port}")).expect("the one before has closed");
        source.send(studio.video("I", true)).unwrap();
    }
    let mut sources = Vec::new();
    for port in 1020..1030 {
        sources.push(studio.publish(&format!("10.0.0.1:{port}")).expect("the one before has sent nothing"));
    }
}

#[test]
fn an_obstacle_is_known_before_anybody_watches_and_until_pictures_come_through() {
    let studio = Studio::with_obstacle(|tracks| {
        let codecs: Vec<Codec> = tracks.iter().map(|track| track.codec).collect();
        let text = format!("{codecs:?}");
        tracks.iter().any(|track| track.no_keyframe).then_some(TransformProblem { code: "no_keyframe", text })
    });
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    let track = |id, codec| Track { id: TrackId(id), codec };
    let tracks = Arc::new([track(300, Codec::Aac), track(256, Codec::H264), track(200, Codec::H265)]);
    source.send(MediaItem::Tracks(tracks)).unwrap();
    let picture = |second: i64, random_access| {
        let MediaItem::Unit(unit) = studio.video("p", random_access) else { panic!() };
        let time = Timestamp90k(second * Timestamp90k::HZ);
        MediaItem::Unit(Arc::new(AccessUnit { pts: time, dts: time, ..AccessUnit::clone(&unit) }))
    };
    for second in 0..14 {
        source.send(picture(second, false)).unwrap();
    }
    let board = studio.problems.list();
    assert_eq!(board.len(), 1);
    assert_eq!((board[0].code, board[0].text.as_str()), ("no_keyframe", "[Aac, H264, H265]"), "in their order");
    let reader = studio.join("a").subscribe(Rendition::Picture);
    assert_eq!(studio.problems.list(), board, "somebody who watches changes nothing");
    source.send(picture(14, true)).unwrap();
    assert!(studio.problems.list().is_empty());
    for second in 15..30 {
        source.send(picture(second, false)).unwrap();
    }
    assert!(studio.problems.list().is_empty(), "what is made knows best");
    drop(reader);
    assert_eq!(studio.problems.list(), board);
}

#[test]
fn events_tell_who_came_and_went_and_nothing_is_left_behind() {
    let studio = Studio::new();
    let mut events = studio.hub.events();
    let stream = StreamName::program();
    let from = "10.0.0.1:1000".parse().unwrap();
    let source = studio.publish("10.0.0.1:1000").unwrap();
    let viewer = studio.join("a");
    let reader = viewer.subscribe(Rendition::Original);
    assert_eq!(studio.hub.streams()[0].viewers, 1);
    drop(viewer);
    drop(source);
    let seen: Vec<Event> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert_eq!(
        seen,
        [
            Event::Started { stream: stream.clone(), from },
            Event::Joined { stream: stream.clone(), session: "a".into(), from: None },
            Event::Left { stream: stream.clone(), session: "a".into() },
            Event::Stopped { stream },
        ]
    );
    assert_eq!(studio.hub.streams().len(), 1, "a reader keeps its stream");
    drop(reader);
    assert!(studio.hub.streams().is_empty());
}

#[tokio::test]
async fn waiting_for_the_next_delivery_wakes_when_it_comes() {
    let studio = Studio::new();
    let mut reader = studio.join("a").subscribe(Rendition::Original);
    let waiting = tokio::spawn(async move {
        let delivery = reader.next().await;
        matches!(delivery, Delivery::SourceStarted)
    });
    tokio::task::yield_now().await;
    let _source = studio.publish("10.0.0.1:1000").unwrap();
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn sound_is_made_on_a_thread_of_its_own_only_while_somebody_listens() {
    let studio = Studio::new();
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    source.send(studio.tracks()).unwrap();
    source.send(studio.video("I", true)).unwrap();
    source.send(studio.sound("unheard")).unwrap();
    let viewer = studio.join("a");
    let mut first = viewer.subscribe(Rendition::Sound);
    assert_eq!(hear(&mut first, 2).await, ["started", "1 tracks"]);
    source.send(studio.sound("a")).unwrap();
    source.send(studio.video("p", false)).unwrap();
    assert_eq!(hear(&mut first, 1).await, ["a 1"], "and neither what was, nor pictures");
    let mut second = viewer.subscribe(Rendition::Sound);
    source.send(studio.sound("b")).unwrap();
    assert_eq!(hear(&mut first, 1).await, ["b 2"]);
    assert_eq!(hear(&mut second, 3).await, ["started", "1 tracks", "b 2"], "made once");
    assert_eq!(studio.hub.streams()[0].lost_sound_units, 2);
    drop(first);
    source.send(studio.sound("c")).unwrap();
    assert_eq!(hear(&mut second, 1).await, ["c 3"]);
    drop(second);
    let mut again = viewer.subscribe(Rendition::Sound);
    source.send(studio.sound("d")).unwrap();
    assert_eq!(hear(&mut again, 3).await, ["started", "1 tracks", "d 1"], "begun anew");
    assert!(again.current_gop().is_empty());
}

#[tokio::test]
async fn a_maker_of_sound_that_hangs_holds_up_neither_the_source_nor_the_picture() {
    let studio = Studio::new();
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    let viewer = studio.join("a");
    let mut sound = viewer.subscribe(Rendition::Sound);
    let mut picture = viewer.subscribe(Rendition::Picture);
    assert_eq!(hear(&mut sound, 1).await, ["started"]);
    source.send(studio.sound("wait")).unwrap();
    studio.hanging.recv().unwrap();
    drain(&mut picture);
    for number in 0..1000 {
        source.send(studio.sound(&number.to_string())).unwrap();
        source.send(studio.video("I", true)).unwrap();
        assert_eq!(drain(&mut picture), ["browser I"]);
    }
    studio.words.send(()).unwrap();
    assert_eq!(hear(&mut sound, 1).await, ["wait 1"]);
    let next = hear(&mut sound, 1).await[0].split(' ').next().map(str::parse::<u32>);
    assert!(next.is_some_and(|next| next.is_ok_and(|next| next > 900)), "it goes on with what is new");
    assert!(studio.hub.streams()[0].dropped_units > 900, "what it left out is counted");
}

#[tokio::test]
async fn no_sound_of_a_source_is_heard_after_the_next_has_begun() {
    let studio = Studio::new();
    let mut first = studio.publish("10.0.0.1:1000").unwrap();
    let viewer = studio.join("a");
    let mut sound = viewer.subscribe(Rendition::Sound);
    first.send(studio.sound("old")).unwrap();
    assert_eq!(hear(&mut sound, 2).await, ["started", "old 1"]);
    first.send(studio.sound("wait")).unwrap();
    studio.hanging.recv().unwrap();
    first.send(studio.sound("late")).unwrap();
    let mut second = studio.publish("10.0.0.1:1001").unwrap();
    drop(first);
    assert_eq!(drain(&mut sound), ["ended", "started"], "at once, whatever the maker does");
    second.send(studio.tracks()).unwrap();
    second.send(studio.sound("new")).unwrap();
    studio.words.send(()).unwrap();
    assert_eq!(hear(&mut sound, 2).await, ["1 tracks", "new 1"]);
    drop(second);
    assert_eq!(hear(&mut sound, 1).await, ["ended"]);
}

#[test]
fn a_listener_that_leaves_a_maker_that_hangs_waits_for_nothing() {
    let studio = Studio::new();
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    let viewer = studio.join("a");
    let sound = viewer.subscribe(Rendition::Sound);
    source.send(studio.sound("wait")).unwrap();
    studio.hanging.recv().unwrap();
    drop((sound, viewer, source));
    assert!(studio.hub.streams().is_empty());
    studio.words.send(()).unwrap();
}

#[tokio::test]
async fn a_panic_of_what_makes_sound_costs_one_item() {
    let studio = Studio::new();
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    source.send(studio.tracks()).unwrap();
    let viewer = studio.join("a");
    let mut sound = viewer.subscribe(Rendition::Sound);
    for text in ["a", "panic", "panic", "b"] {
        source.send(studio.sound(text)).unwrap();
    }
    assert_eq!(hear(&mut sound, 4).await, ["started", "1 tracks", "a 1", "b 1"], "begun anew");
    assert_eq!(studio.hub.streams()[0].lost_sound_units, 1 + 1 + 1 + 1, "what each maker says, and the panics");
}

#[tokio::test]
async fn sound_that_cannot_be_read_is_on_the_board_and_the_picture_is_playable() {
    let studio = Studio::new();
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    source.send(studio.tracks()).unwrap();
    let viewer = studio.join("a");
    let mut sound = viewer.subscribe(Rendition::Sound);
    let board = || studio.problems.list().iter().map(|problem| problem.code).collect::<Vec<_>>();
    source.send(studio.sound("unreadable")).unwrap();
    hear(&mut sound, 3).await;
    source.send(studio.video("I", true)).unwrap();
    assert_eq!(board(), ["sound_unreadable"]);
    assert_eq!(studio.hub.streams()[0].problem, None, "of the picture");
    source.send(studio.sound("good")).unwrap();
    hear(&mut sound, 1).await;
    source.send(studio.video("p", false)).unwrap();
    assert!(board().is_empty());
    source.send(studio.sound("unreadable")).unwrap();
    hear(&mut sound, 1).await;
    source.send(studio.video("p", false)).unwrap();
    drop(sound);
    assert!(board().is_empty(), "nobody tries any more");
}

#[tokio::test]
async fn sound_of_other_tracks_takes_no_place_of_that_which_is_heard() {
    let studio = Studio::new();
    let mut source = studio.publish("10.0.0.1:1000").unwrap();
    let track = |id, codec| Track { id: TrackId(id), codec };
    source.send(MediaItem::Tracks(Arc::new([track(257, Codec::Aac), track(256, Codec::Opus)]))).unwrap();
    let viewer = studio.join("a");
    let mut sound = viewer.subscribe(Rendition::Sound);
    source.send(studio.unit(Codec::Opus, "wait", true)).unwrap();
    studio.hanging.recv().unwrap();
    source.send(studio.unit(Codec::Opus, "heard", true)).unwrap();
    let MediaItem::Unit(unit) = studio.sound("another") else { panic!("a unit") };
    for _ in 0..100 {
        let unit = AccessUnit { track: TrackId(257), ..AccessUnit::clone(&unit) };
        source.send(MediaItem::Unit(Arc::new(unit))).unwrap();
    }
    studio.words.send(()).unwrap();
    assert_eq!(hear(&mut sound, 4).await, ["started", "2 tracks", "wait 1", "heard 2"]);
    assert_eq!(studio.hub.streams()[0].dropped_units, 0);
}
