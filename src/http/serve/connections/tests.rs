use super::*;
use crate::clock::ManualClock;

const NONE: [usize; 0] = [];

struct Gate {
    connections: Connections,
    hand: ManualClock,
}

impl Gate {
    fn new() -> Self {
        let (clock, hand) = Clock::manual();
        let sources = Sources::new(|address| address.to_string().starts_with("fd00:"));
        Self { connections: Connections::new(sources, clock), hand }
    }

    fn enter(&self, address: &str) -> Option<Arc<Place>> {
        self.hand.advance(Duration::from_millis(1));
        self.connections.admit(address.parse().unwrap(), true)
    }

    /// WebSockets.
    fn sockets(&self, address: &str, count: usize) -> Vec<Arc<Place>> {
        let places = self.fill(address, count);
        places.iter().for_each(|place| place.taken_over());
        places
    }

    fn watched_from(&self, address: &str, viewers: usize) {
        self.connections.watched_from(std::iter::repeat_n(address.parse().unwrap(), viewers));
    }

    fn fill(&self, address: &str, count: usize) -> Vec<Arc<Place>> {
        (0..count).map(|_| self.enter(address).unwrap()).collect()
    }
}

fn closed(places: &[Arc<Place>]) -> Vec<usize> {
    places.iter().enumerate().filter(|(_, place)| place.close.is_cancelled()).map(|(nth, _)| nth).collect()
}

#[test]
fn one_address_that_has_too_many_loses_its_own_oldest_idle_ones() {
    let door = Gate::new();
    let other = door.fill("10.0.0.1", 1);
    let places = door.fill("10.0.0.9", MOST_OF_ONE);
    let busy = places[0].asked();
    let _newer = door.enter("10.0.0.9").unwrap();
    assert_eq!((closed(&places), closed(&other)), (vec![1], vec![]));
    assert_eq!(door.connections.count(), 1 + MOST_OF_ONE);
    drop(busy);
    let _newest = door.enter("10.0.0.9").unwrap();
    assert_eq!(closed(&places), [1, 2], "what was idle longest, not what came first");
}

#[test]
fn one_address_all_of_whose_connections_work_gets_no_more() {
    let door = Gate::new();
    let places = door.fill("2001:db8::1", MOST_OF_ONE);
    let busy: Vec<_> = places.iter().map(Place::asked).collect();
    assert!(door.enter("2001:db8::ffff").is_none(), "a /64 is one source");
    assert!(door.enter("2001:db8:0:1::1").is_some());
    drop(busy);
    assert!(door.enter("2001:db8::ffff").is_some());
}

#[test]
fn phones_in_the_boxs_own_ipv6_network_are_no_crowd_of_one() {
    let door = Gate::new();
    let _phones: Vec<_> = (1..=MOST_OF_ONE).map(|n| door.sockets(&format!("fd00::{n:x}"), 1)).collect();
    assert!(door.enter("fd00::ffff:1").is_some());
}

#[test]
fn when_the_box_is_full_who_has_most_and_nothing_to_do_gives_way_first() {
    let door = Gate::new();
    let viewers = door.sockets("10.0.0.1", 20);
    let quiet = door.fill("10.0.0.2", 5);
    let flood: Vec<_> = (0..).map(|n| door.fill(&format!("10.1.{n}.1"), MOST_OF_ONE / 2)).take(7).collect();
    let rest = door.fill("10.0.0.3", MOST - 25 - 7 * MOST_OF_ONE / 2);
    for _ in 0..50 {
        drop(door.enter("10.0.0.4").unwrap());
    }
    assert_eq!((closed(&viewers), closed(&quiet), closed(&rest)), (vec![], vec![], vec![]));
    let given: usize = flood.iter().map(|places| closed(places).len()).sum();
    assert_eq!(given, 1, "a place that is given back is used again");
}

#[test]
fn whoever_has_many_addresses_does_not_keep_newcomers_out() {
    for working in ["taken over", "answering"] {
        let door = Gate::new();
        let flood: Vec<_> = (0..4).map(|n| door.fill(&format!("10.1.{n}.1"), MOST_OF_ONE)).collect();
        let busy: Vec<_> = flood.iter().flatten().map(|place| place.asked()).collect();
        if working == "taken over" {
            flood.iter().flatten().for_each(|place| place.taken_over());
        }
        let crew: Vec<_> = (1..=100).map(|n| door.sockets(&format!("10.0.0.{n}"), 3)).collect();
        assert!(crew.iter().all(|places| closed(places) == NONE), "{working}: who came later stays");
        let lost: Vec<_> = flood.iter().map(|places| closed(places).len()).collect();
        assert_eq!(lost, [75; 4], "{working}: each of them gives as much");
        assert!(door.enter("10.1.0.1").is_none(), "{working}: none of them gets more than the others have");
        drop(busy);
    }
}

#[test]
fn a_crew_behind_one_address_does_not_give_way_to_who_has_a_thousand() {
    let door = Gate::new();
    let crew = door.sockets("10.0.0.1", 300);
    door.watched_from("10.0.0.1", 100);
    let attacker = |n: usize| format!("10.{}.{}.1", 1 + n / 200, n % 200);
    let flood: Vec<_> = (0..MOST - 300).map(|n| door.sockets(&attacker(n), 1)).collect();
    let more: Vec<_> = (2_000..4_000).map(|n| door.sockets(&attacker(n), 1)).collect();
    assert_eq!(closed(&crew), NONE, "what 100 viewers need is theirs");
    assert!(flood.iter().all(|places| closed(places) == [0]), "they push each other out, the oldest first");
    let newcomer = door.sockets("10.0.0.2", 1);
    door.watched_from("10.0.0.2", 1);
    let rest: Vec<_> = (4_000..8_000).map(|n| door.sockets(&attacker(n), 1)).collect();
    assert_eq!(closed(&newcomer), NONE, "a newcomer who watches stays");
    assert!(closed(&crew).len() > 250, "who watches no more is as everybody else");
    drop((more, rest));
}

#[test]
fn whoever_has_only_just_come_has_time_to_ask_and_who_asks_nothing_goes_before_sockets() {
    let door = Gate::new();
    let attacker = |n: usize| format!("10.{}.{}.1", 1 + n / 200, n % 200);
    let flood: Vec<_> = (0..MOST).map(|n| door.sockets(&attacker(n), 1)).collect();
    let newcomer = door.fill("10.0.0.1", 1);
    let more: Vec<_> = (3_000..3_500).map(|n| door.sockets(&attacker(n), 1)).collect();
    assert_eq!(closed(&newcomer), NONE);
    door.hand.advance(FRESH_FOR);
    let _one = door.enter("10.0.0.2");
    assert_eq!(closed(&newcomer), [0]);
    let lost = flood.iter().chain(&more).filter(|places| closed(places) == [0]).count();
    assert_eq!(lost, 1 + 500);
}

#[test]
fn a_page_that_shows_tally_alone_loses_what_is_idle_first_and_its_socket_only_as_the_oldest_of_many() {
    let door = Gate::new();
    let come = |from: usize, count: usize| -> Vec<_> {
        (from..from + count).map(|n| door.sockets(&format!("10.{}.{}.1", 1 + n / 200, n % 200), 1)).collect()
    };
    let page = door.sockets("10.0.0.1", 1);
    let idle = door.fill("10.0.0.1", 1);
    drop(idle[0].asked());
    let _flood = come(0, MOST - 2);
    let _one = come(3_000, 1);
    assert_eq!((closed(&page), closed(&idle)), (vec![], vec![0]));
    let _two = come(4_000, 1);
    assert_eq!(closed(&page), [0], "nothing tells it from the others");
    let again = door.sockets("10.0.0.1", 1);
    assert_eq!(again.len(), 1, "as any newcomer it gets in");
    let _more = come(5_000, MOST - 1);
    assert_eq!(closed(&again), NONE, "all others go first");
    let _last = come(8_000, 1);
    assert_eq!(closed(&again), [0]);
}

#[test]
fn one_connection_after_another_of_who_has_most_goes_answers_before_sockets_and_the_newest_first() {
    let door = Gate::new();
    let crew = door.sockets("10.0.0.1", 40);
    let after = door.fill("10.0.0.1", 3);
    let _busy: Vec<_> = after.iter().map(Place::asked).collect();
    let others: Vec<_> =
        (0..MOST - 43).map(|n| door.sockets(&format!("10.{}.{}.1", 1 + n / 200, n % 200), 1)).collect();
    let newcomers: Vec<_> = (1..=5).map(|n| door.sockets(&format!("10.0.1.{n}"), 1)).collect();
    assert_eq!((closed(&after), closed(&crew)), (vec![0, 1, 2], vec![38, 39]));
    assert!(others.iter().chain(&newcomers).all(|places| closed(places) == NONE));
    assert!(door.enter("10.0.0.1").is_none(), "not for one more of its own");
}

#[test]
fn what_viewers_need_is_closed_for_nobody() {
    let door = Gate::new();
    let crews: Vec<_> = (1..=4).map(|n| door.sockets(&format!("10.0.0.{n}"), MOST_OF_ONE)).collect();
    let viewers = |n: usize| std::iter::repeat_n(IpAddr::from([10, 0, 0, n as u8]), MOST_OF_ONE.div_ceil(OF_A_VIEWER));
    door.connections.watched_from((1..=4).flat_map(viewers));
    assert!(door.enter("10.0.0.9").is_none());
    door.connections.watched_from((2..=4).flat_map(viewers));
    assert!(door.enter("10.0.0.9").is_some());
    assert_eq!(crews.iter().map(|places| closed(places).len()).collect::<Vec<_>>(), [1, 0, 0, 0]);
}

#[test]
fn a_proxy_loses_nothing_that_works_and_leaves_room_for_who_comes_straight() {
    let door = Gate::new();
    let proxy = "10.0.0.1".parse().unwrap();
    let enter = || door.connections.admit(proxy, false);
    let places: Vec<_> = (0..MOST_OF_A_PROXY).map(|_| enter().unwrap()).collect();
    places.iter().for_each(|place| place.taken_over());
    assert!(enter().is_none());
    let straight: Vec<_> =
        (1..=MOST_OF_ONE + 9).map(|n| door.sockets(&format!("10.1.{}.{}", n / 200, n % 200), 1)).collect();
    assert_eq!(closed(&places), NONE);
    assert_eq!(straight.iter().filter(|places| closed(places) == [0]).count(), 9);
}

#[test]
fn an_answer_nobody_takes_is_waited_for_as_long_as_its_size_allows() {
    let door = Gate::new();
    let places = door.fill("10.0.0.9", 3);
    let mut busy: Vec<_> = places.iter().map(Place::asked).collect();
    busy[0].owes(1_000, 0);
    busy[1].owes(100_000, 0);
    door.hand.advance(ANSWER_WITHIN - Duration::from_millis(1));
    door.connections.close_overdue();
    assert_eq!(closed(&places), NONE);
    door.hand.advance(Duration::from_millis(1));
    door.connections.close_overdue();
    assert_eq!(closed(&places), [0]);
    door.hand.advance(Duration::from_secs(50));
    door.connections.close_overdue();
    assert_eq!(closed(&places), [0, 1], "one that is not answered yet is nobody's fault but the box's");
}

#[test]
fn who_lets_answers_wait_longest_loses_them_when_too_much_is_owed() {
    let door = Gate::new();
    let places = door.fill("10.0.0.9", 4);
    let mut busy: Vec<_> = places.iter().map(Place::asked).collect();
    busy[3].owes(10, 0);
    for busy in &mut busy[..2] {
        busy.owes(10, MOST_OWED_BYTES / 2);
    }
    assert_eq!(closed(&places), NONE);
    busy[2].owes(10, 1);
    assert_eq!(closed(&places), [0]);
    drop(busy);
    assert_eq!(door.connections.all().owed, 0, "what was taken is owed no more");
}

#[test]
fn only_so_many_speak_http_2_and_one_that_ends_leaves_room() {
    let door = Gate::new();
    let mut places = door.fill("10.0.0.9", MOST_HTTP_2 + 1);
    assert!(places[..MOST_HTTP_2].iter().all(|place| place.speaks_http_2()));
    assert!(!door.connections.has_room_for_http_2() && !places[MOST_HTTP_2].speaks_http_2());
    drop(places.swap_remove(0));
    assert_eq!(door.connections.count_http_2(), MOST_HTTP_2 - 1);
    assert!(door.connections.has_room_for_http_2());
}

#[test]
fn what_asks_nothing_is_closed_after_a_while_and_what_works_is_not() {
    let door = Gate::new();
    let places = door.fill("10.0.0.9", 4);
    let _busy = places[1].asked();
    places[2].taken_over();
    drop(places[3].asked());
    door.hand.advance(FIRST_REQUEST_WITHIN);
    door.connections.close_overdue();
    assert_eq!(closed(&places), [0]);
    door.hand.advance(IDLE_FOR);
    door.connections.close_overdue();
    assert_eq!(closed(&places), [0, 3]);
}
