use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

fn lamp(name: &str, program: u8, preview: u8) -> Lamp {
    Lamp {
        name: name.into(),
        program_pin: Some(program),
        preview_pin: Some(preview),
        active_low: false,
        brightness: 100,
        leds: None,
    }
}

/// What `CLOCK_MONOTONIC` shows whenever a panel is told something here, unless a test says otherwise.
const UPTIME: Duration = Duration::from_secs(5000);

/// An order that was written a moment ago and holds for so long.
fn order(fresh_ms: u64, lamps: &[(&str, Signal)], test: Option<TestOrder>) -> Order {
    let lamps = lamps.iter().map(|(name, signal)| ((*name).to_owned(), *signal)).collect();
    let until = UPTIME.saturating_add(Duration::from_millis(fresh_ms));
    Order { until_ns: u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), lamps, test }
}

fn tell(panel: &mut Panel, now: Instant, order: Order) {
    panel.told(now, UPTIME, order);
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// When the levels of `panel` change from `from` on, for `long`, in ms after `from` as far as whole ones go; driven as the
/// process drives it.
fn edges(panel: &mut Panel, from: Instant, long: Duration) -> Vec<(u64, u32)> {
    let mut now = from;
    panel.handle_timeout(now);
    let mut edges = vec![(0, panel.levels(now))];
    while let Some(next) = panel.poll_timeout(now).filter(|next| *next < from + long) {
        assert!(next > now, "it would never sleep");
        now = next;
        panel.handle_timeout(now);
        let levels = panel.levels(now);
        if levels != edges.last().unwrap().1 {
            edges.push(((now - from).as_millis() as u64, levels));
        }
    }
    edges
}

const P: u32 = 1 << 17;
const V: u32 = 1 << 27;

#[test]
fn a_lamp_is_unknown_until_it_is_told() {
    let start = Clock::manual().0.now();
    let mut panel = Panel::new(start, vec![lamp("A", 17, 27)], 0);
    assert_eq!(
        edges(&mut panel, start, ms(1700)),
        [(0, P | V), (80, 0), (200, P | V), (280, 0), (1600, P | V), (1680, 0)]
    );
}

#[test]
fn an_order_is_shown_in_the_same_moment_and_to_the_millisecond_for_as_long_as_it_holds() {
    let start = Clock::manual().0.now();
    let mut panel = Panel::new(start, vec![lamp("A", 17, 27), lamp("B", 22, 23)], 0);
    let told = start + ms(50);
    tell(&mut panel, told, order(1700, &[("A", Signal::Program), ("B", Signal::Preview)], None));
    let red_and_green = P | 1 << 23;
    let all = P | V | 1 << 22 | 1 << 23;
    assert_eq!(edges(&mut panel, told, ms(1800)), [(0, red_and_green), (1700, all), (1780, 0)]);
}

#[test]
fn no_order_holds_for_longer_than_two_seconds() {
    let start = Clock::manual().0.now();
    let mut panel = Panel::new(start, vec![lamp("A", 17, 27)], 0);
    tell(&mut panel, start, order(u64::MAX, &[("A", Signal::Program)], None));
    assert_eq!(edges(&mut panel, start, ms(2050)), [(0, P), (2000, P | V)]);
    let mut panel = Panel::new(start, vec![lamp("A", 17, 27)], 0);
    tell(&mut panel, start, order(0, &[("A", Signal::Program)], None));
    assert_eq!(panel.levels(start), P | V);
}

#[test]
fn an_order_that_waited_for_its_reader_holds_no_longer_than_it_was_meant_to() {
    let start = Clock::manual().0.now();
    let mut panel = Panel::new(start, vec![lamp("A", 17, 27)], 0);
    let on_air = || order(2000, &[("A", Signal::Program)], None);
    panel.told(start + ms(1500), UPTIME + ms(1500), on_air());
    assert_eq!(edges(&mut panel, start + ms(1500), ms(550)), [(0, P), (500, P | V)]);
    panel.told(start + ms(9000), UPTIME + ms(9000), on_air());
    for shown in &panel.lamps {
        assert_eq!(shown.look, Look::Tally(Signal::Unknown));
    }
}

#[test]
fn a_lamp_that_is_not_named_is_unknown_and_so_are_all_when_the_program_is_gone() {
    let start = Clock::manual().0.now();
    let mut panel = Panel::new(start, vec![lamp("A", 17, 27), lamp("B", 22, 23)], 0);
    tell(&mut panel, start, order(2000, &[("A", Signal::Safe), ("C", Signal::Program)], None));
    assert_eq!(panel.levels(start), 1 << 22 | 1 << 23);
    panel.untold(start + ms(5));
    assert_eq!(panel.levels(start + ms(6)), P | V | 1 << 22 | 1 << 23);
}

#[test]
fn a_cut_between_two_lamps_changes_both_at_once() {
    let start = Clock::manual().0.now();
    let mut panel = Panel::new(start, vec![lamp("A", 17, 27), lamp("B", 22, 23)], 0);
    for cut in 0..1000_u64 {
        let now = start + ms(cut * 40);
        let (a, b) = if cut % 2 == 0 { (Signal::Program, Signal::Preview) } else { (Signal::Preview, Signal::Program) };
        tell(&mut panel, now, order(2000, &[("A", a), ("B", b)], None));
        let wanted = if cut % 2 == 0 { P | 1 << 23 } else { V | 1 << 22 };
        assert_eq!(panel.levels(now), wanted, "cut {cut}");
    }
}

#[test]
fn what_a_low_level_lights_is_dark_when_it_is_high() {
    let start = Clock::manual().0.now();
    let low = Lamp { active_low: true, ..lamp("A", 17, 27) };
    let mut panel = Panel::new(start, vec![low, lamp("B", 22, 23)], 0);
    assert_eq!(panel.dark(), P | V);
    tell(&mut panel, start, order(2000, &[("A", Signal::Program), ("B", Signal::Program)], None));
    assert_eq!(panel.levels(start), V | 1 << 22);
    tell(&mut panel, start, order(2000, &[("A", Signal::Safe), ("B", Signal::Safe)], None));
    assert_eq!(panel.levels(start), panel.dark());
}

#[test]
fn a_test_is_shown_on_all_lamps_or_one_is_identified_while_the_others_go_on() {
    let start = Clock::manual().0.now();
    let mut panel = Panel::new(start, vec![lamp("A", 17, 27), lamp("B", 22, 23)], 0);
    let on_air = [("A", Signal::Program), ("B", Signal::Safe)];
    tell(&mut panel, start, order(2000, &on_air, Some(TestOrder { lamp: None })));
    let both = |at: u64| panel.levels(start + ms(at));
    assert_eq!([both(0), both(160), both(320), both(480)], [P | 1 << 22, V | 1 << 23, 0, P | 1 << 22]);
    tell(&mut panel, start, order(2000, &on_air, Some(TestOrder { lamp: Some("B".into()) })));
    let both = |at: u64| panel.levels(start + ms(at));
    assert_eq!([both(0), both(100), both(200)], [P | 1 << 22 | 1 << 23, P, P | 1 << 22 | 1 << 23]);
    tell(&mut panel, start, order(2000, &on_air, None));
    assert_eq!(panel.levels(start), P);
}

#[test]
fn a_test_needs_no_vmix_and_ends_when_nobody_asks_for_it_any_more() {
    let start = Clock::manual().0.now();
    let mut panel = Panel::new(start, vec![lamp("A", 17, 27)], 0);
    tell(&mut panel, start, order(0, &[("A", Signal::Unknown)], Some(TestOrder { lamp: None })));
    assert_eq!(panel.levels(start + ms(500)), P);
    panel.handle_timeout(start + ms(2000));
    assert_eq!(panel.levels(start + ms(2000)), P | V);
    assert_eq!(panel.levels(start + ms(2080)), 0);
}

#[test]
fn a_dimmed_lamp_is_lit_for_its_part_of_every_period() {
    let start = Clock::manual().0.now();
    let dim = Lamp { brightness: 30, ..lamp("A", 17, 27) };
    let mut panel = Panel::new(start, vec![dim, lamp("B", 22, 23)], 0);
    tell(&mut panel, start, order(2000, &[("A", Signal::Program), ("B", Signal::Program)], None));
    let b = 1 << 22;
    // 1.5 of 5 ms; whole milliseconds are told here.
    assert_eq!(edges(&mut panel, start, ms(11)), [(0, P | b), (1, b), (5, P | b), (6, b), (10, P | b)]);
    assert_eq!(panel.levels(start + Duration::from_micros(1499)), P | b);
    assert_eq!(panel.levels(start + Duration::from_micros(1500)), b);
    // What is dark needs no waking.
    tell(&mut panel, start, order(2000, &[("A", Signal::Safe), ("B", Signal::Safe)], None));
    assert_eq!(panel.poll_timeout(start), Some(start + ms(2000)));
}

#[test]
fn leds_show_the_colours_of_their_lamps() {
    let start = Clock::manual().0.now();
    let on = |name, leds, brightness| Lamp {
        program_pin: None,
        preview_pin: None,
        leds: Some(leds),
        brightness,
        ..lamp(name, 0, 0)
    };
    let mut panel = Panel::new(start, vec![on("A", (0, 2), 100), on("B", (3, 4), 10)], 5);
    assert_eq!(panel.colours(start), [[255; 3], [255; 3], [0; 3], [26; 3], [0; 3]]);
    tell(&mut panel, start, order(2000, &[("A", Signal::Program), ("B", Signal::Preview)], None));
    assert_eq!(panel.colours(start), [[255, 0, 0], [255, 0, 0], [0; 3], [0, 26, 0], [0; 3]]);
}

#[derive(Clone, Debug)]
enum Step {
    Told(Order),
    Gone,
    Pass(u64),
}

fn signals() -> impl Strategy<Value = Signal> {
    prop::sample::select(vec![Signal::Unknown, Signal::Safe, Signal::Preview, Signal::Program])
}

fn steps() -> impl Strategy<Value = Step> {
    let test = prop::option::of(prop::option::of(Just("A".to_owned())).prop_map(|lamp| TestOrder { lamp }));
    prop_oneof![
        (0_u64..5000, signals(), signals(), test).prop_map(|(fresh, a, b, test)| Step::Told(order(
            fresh,
            &[("A", a), ("B", b)],
            test
        ))),
        Just(Step::Gone),
        (0_u64..3_000_000).prop_map(Step::Pass),
    ]
}

/// What the lamp named `name` is to show, by what was told last and when, in plain words.
fn wanted(name: &str, now: Instant, told: &Option<(Instant, Order)>) -> Look {
    let Some((at, order)) = told else { return Look::Tally(Signal::Unknown) };
    let age = now - *at;
    match &order.test {
        Some(test) if age < FRESH && test.lamp.is_none() => return Look::Test,
        Some(test) if age < FRESH && test.lamp.as_deref() == Some(name) => return Look::Identify,
        _ => {}
    }
    let holds = Duration::from_nanos(order.until_ns) - UPTIME;
    let fresh = age < holds && age < FRESH;
    Look::Tally(if fresh { order.lamps[name] } else { Signal::Unknown })
}

proptest! {
    /// Whatever happens: a lamp shows what it was told for exactly as long as that was to hold, and two seconds at most;
    /// then, and when the program is gone, it is unknown. Nothing changes between the times that were named.
    #[test]
    fn a_light_never_outlives_what_was_told(all in prop::collection::vec(steps(), 1..40), brightness in 1_u8..=100) {
        let start = Clock::manual().0.now();
        let mut panel = Panel::new(start, vec![Lamp { brightness, ..lamp("A", 17, 27) }, lamp("B", 22, 23)], 0);
        let (mut now, mut told) = (start, None);
        let as_wanted = |panel: &Panel, now: Instant, told: &Option<(Instant, Order)>| {
            panel.lamps.iter().all(|shown| shown.look == wanted(&shown.lamp.name, now, told))
        };
        for step in all {
            match step {
                Step::Told(order) => {
                    tell(&mut panel, now, order.clone());
                    told = Some((now, order));
                }
                Step::Gone => {
                    panel.untold(now);
                    told = None;
                }
                Step::Pass(micros) => {
                    let until = now + Duration::from_micros(micros);
                    while let Some(next) = panel.poll_timeout(now).filter(|next| *next <= until) {
                        prop_assert!(next > now);
                        let (before, between) = (panel.levels(now), now + (next - now) * 99 / 100);
                        prop_assert_eq!(panel.levels(between), before);
                        prop_assert!(as_wanted(&panel, between, &told), "{:?} {:?}", panel, told);
                        now = next;
                        panel.handle_timeout(now);
                        prop_assert!(as_wanted(&panel, now, &told), "{:?} {:?}", panel, told);
                    }
                    now = until;
                    panel.handle_timeout(now);
                }
            }
            prop_assert!(as_wanted(&panel, now, &told), "{:?} {:?}", panel, told);
        }
    }
}
