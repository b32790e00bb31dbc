use std::sync::mpsc::{self, Receiver, Sender};

use super::*;
use crate::clock::{Clock, ManualClock};

type Ending = Result<(), &'static str>;

/// LEDs whose every write lasts until the test ends it.
struct Led {
    asked: Sender<Vec<Rgb>>,
    endings: Arc<Mutex<Receiver<Ending>>>,
}

impl Leds for Led {
    fn show(&mut self, colours: &[Rgb]) -> Result<(), String> {
        self.asked.send(colours.to_vec()).unwrap();
        let ending = self.endings.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match ending {
            Ok(Err("panic")) => panic!("the test wants it"),
            Ok(ending) => ending.map_err(str::to_owned),
            // The test is over.
            Err(_) => Ok(()),
        }
    }
}

struct Rig {
    teller: Teller,
    clock: Clock,
    hand: ManualClock,
    asked: Receiver<Vec<Rgb>>,
    endings: Sender<Ending>,
}

const RED: Rgb = [255, 0, 0];
const GREEN: Rgb = [0, 255, 0];

impl Rig {
    fn new() -> Self {
        let ((asking, asked), (endings, ended)) = (mpsc::channel(), mpsc::channel());
        let (asking, ended) = (Mutex::new(asking), Arc::new(Mutex::new(ended)));
        let open = move || {
            let asked = asking.lock().unwrap().clone();
            Ok(Box::new(Led { asked, endings: ended.clone() }) as Box<dyn Leds>)
        };
        let (clock, hand) = Clock::manual();
        Self { teller: Teller::driving(Box::new(open)).unwrap(), clock, hand, asked, endings }
    }

    fn look(&mut self) -> Option<String> {
        self.teller.look(self.clock.now())
    }

    fn has_given_up(&self) -> bool {
        self.teller.has_given_up(self.clock.now())
    }

    /// Ends the write that is under way, and waits until the thread is done with it.
    fn end(&self, ending: Ending) {
        let done = lock(&self.teller.shared.0).done;
        self.endings.send(ending).unwrap();
        let (mail, news) = &*self.teller.shared;
        drop(news.wait_while(lock(mail), |mail| mail.done == done));
    }
}

#[test]
fn a_bus_that_stands_still_is_said_after_a_second_and_given_up_a_second_later() {
    let mut rig = Rig::new();
    rig.teller.show(vec![RED]);
    assert_eq!(rig.asked.recv().unwrap(), [RED]);
    assert_eq!(rig.look(), None);
    rig.end(Ok(()));
    rig.hand.advance(Duration::from_secs(60));
    assert_eq!(rig.look(), None, "nothing is asked of it");

    rig.teller.show(vec![GREEN]);
    assert_eq!(rig.asked.recv().unwrap(), [GREEN]);
    assert_eq!(rig.look(), None);
    rig.hand.advance(SLOW);
    assert_eq!(rig.look().as_deref(), Some(STANDS_STILL));
    assert!(!rig.has_given_up());
    rig.hand.advance(PATIENCE);
    assert_eq!(rig.look().as_deref(), Some(STANDS_STILL));
    assert!(rig.has_given_up());
    rig.end(Ok(()));
    assert_eq!((rig.look(), rig.has_given_up()), (None, false), "it goes on after all");
}

#[test]
fn time_in_which_nothing_ran_is_not_held_against_the_bus() {
    let mut rig = Rig::new();
    rig.teller.show(vec![RED]);
    rig.asked.recv().unwrap();
    rig.end(Ok(()));
    rig.teller.show(vec![GREEN]);
    rig.asked.recv().unwrap();
    assert_eq!(rig.look(), None);
    // The whole process was stopped.
    rig.hand.advance(Duration::from_secs(60));
    rig.look();
    assert!(!rig.has_given_up());
}

#[test]
fn a_bus_that_never_worked_is_said_and_ends_nothing() {
    let mut rig = Rig::new();
    rig.teller.show(vec![RED]);
    rig.asked.recv().unwrap();
    rig.look();
    for _ in 0..10 {
        rig.hand.advance(SLOW);
        assert_eq!(rig.look().as_deref(), Some(STANDS_STILL));
        assert!(!rig.has_given_up(), "a new process would stand still as well, and pins would flicker for nothing");
    }
}

#[test]
fn what_breaks_is_said_and_begins_again_with_the_next_colours() {
    let mut rig = Rig::new();
    rig.teller.show(vec![RED]);
    rig.asked.recv().unwrap();
    rig.end(Err("panic"));
    assert_eq!(rig.look().as_deref(), Some(BROKE));
    rig.teller.show(vec![GREEN]);
    assert_eq!(rig.asked.recv().unwrap(), [GREEN], "it is there again");
    rig.end(Err("no such device"));
    assert_eq!(rig.look().as_deref(), Some("no such device"));
    rig.teller.show(vec![GREEN]);
    rig.asked.recv().unwrap();
    rig.end(Ok(()));
    assert_eq!(rig.look(), None);
}
