//! The handle by which others ask for a test of lamps, and learn how lamps do. Plain values in shared cells; nothing waits.

use std::sync::Arc;

use tokio::sync::watch;

use super::Signal;

/// A test that somebody asked for. Any real change of any lamp ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Every lamp shows all its lights.
    All,
    /// The lamp of this name shows which one it is.
    Lamp(String),
}

/// How one lamp does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LampState {
    /// Its name.
    pub name: String,
    /// The BCM number of the pin of its program light.
    pub program_pin: Option<u8>,
    /// The BCM number of the pin of its preview light.
    pub preview_pin: Option<u8>,
    /// Its LEDs on the strip, counted from 1, both ends included.
    pub leds: Option<(u16, u16)>,
    /// What it was told last; the lamp itself may show a test.
    pub signal: Signal,
    /// Why it is not lit as it should be, in words.
    pub error: Option<String>,
}

/// How the lamps do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The lamp process is there; without it every lamp is dark or unknown.
    pub running: bool,
    /// What drives the pins: `registers`, `character device`, `simulated`; empty until the lamp process has said.
    pub backend: String,
    /// The lamps of the settings, in their order.
    pub lamps: Vec<LampState>,
    /// The test that is shown.
    pub test: Option<Test>,
}

/// There is no lamp of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no lamp named {0:?}")]
pub struct UnknownLamp(pub String);

/// Asks for tests and knows how lamps do. Cheap to clone; every clone is the same.
#[derive(Clone, Debug)]
pub struct Commands {
    asked: Arc<watch::Sender<Option<Test>>>,
    state: Arc<watch::Sender<State>>,
}

impl Commands {
    /// For these lamps.
    pub fn new(lamps: Vec<LampState>) -> Self {
        let state = State { lamps, ..State::default() };
        Self { asked: Arc::new(watch::Sender::new(None)), state: Arc::new(watch::Sender::new(state)) }
    }

    /// Shows the test pattern on every lamp.
    pub fn test(&self) {
        self.asked.send_replace(Some(Test::All));
    }

    /// Lets one lamp be found.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn identify(&self, lamp: &str) -> Result<(), UnknownLamp> {
        if !self.state.borrow().lamps.iter().any(|known| known.name == lamp) {
            return Err(UnknownLamp(lamp.to_owned()));
        }
        self.asked.send_replace(Some(Test::Lamp(lamp.to_owned())));
        Ok(())
    }

    /// Ends any test.
    pub fn end(&self) {
        self.asked.send_if_modified(|asked| asked.take().is_some());
    }

    /// How the lamps do now.
    pub fn state(&self) -> State {
        let test = self.asked.borrow().clone();
        State { test, ..self.state.borrow().clone() }
    }

    /// What is asked for, for whoever tells the lamps.
    pub fn asked(&self) -> watch::Receiver<Option<Test>> {
        self.asked.subscribe()
    }

    /// Says how the lamps do.
    pub fn report(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_test_asked_for_is_shown_until_it_is_ended() {
        let lamps = vec![LampState { name: "Crane".into(), ..LampState::default() }];
        let commands = Commands::new(lamps);
        assert_eq!(commands.state().test, None);
        commands.test();
        assert_eq!(commands.clone().state().test, Some(Test::All));
        assert_eq!(commands.identify("Dolly"), Err(UnknownLamp("Dolly".into())));
        assert_eq!(commands.state().test, Some(Test::All));
        commands.identify("Crane").unwrap();
        assert_eq!(*commands.asked().borrow(), Some(Test::Lamp("Crane".into())));
        commands.end();
        assert_eq!(commands.state().test, None);
    }
}
