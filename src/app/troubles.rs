//! What a box of the SD-card image finds wrong with its own machine: a radio that does not do what the settings ask of
//! it, and a card that keeps nothing. Those who look at the page learn it there, and not from a journal on a rack.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::problems::{Problem, Problems};
use crate::settings::{Environment, Wifi, WifiMode};
use crate::system::{Radio, keeps_nothing, radio};

/// How often the machine is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// A radio needs a while to start, and a router's restart is nobody's trouble.
const PATIENCE: Duration = Duration::from_secs(60);

const WIFI: &str = "wifi";
const CARD: &str = "card_keeps_nothing";

/// Keeps `problems` up to date until `stop`.
pub(super) async fn watch(environment: Environment, wifi: Wifi, problems: Problems, stop: CancellationToken) {
    if keeps_nothing(&environment.state_directory) {
        problems.raise(Problem {
            code: CARD,
            subject: String::new(),
            text: "The SD card is failing: the box keeps nothing on it. Flash another card.".into(),
        });
    }
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since = None;
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = stop.cancelled() => return,
        }
        match trouble(&wifi, radio()) {
            Some(text) if since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE => {
                problems.raise(Problem { code: WIFI, subject: String::new(), text });
            }
            Some(_) => {}
            None => {
                since = None;
                problems.clear(WIFI, "");
            }
        }
    }
}

/// What is wrong when the radio goes on like this, and what to do. A box without a radio is none that lacks its own
/// Wi-Fi: nothing was asked of it.
fn trouble(wifi: &Wifi, radio: Radio) -> Option<String> {
    match (wifi.mode, radio) {
        (WifiMode::Off, _) | (_, Radio::InUse) | (WifiMode::AccessPoint, Radio::Absent) => None,
        (WifiMode::AccessPoint, Radio::Idle) => Some(match wifi.channel {
            Some(channel) => format!(
                "The box's own Wi-Fi does not start on channel {channel}: its radio may not have it, or not in this \
                 country. Set another [wifi] channel, or none."
            ),
            None => "The box's own Wi-Fi does not start. Start the box again; if that does not help, its radio is \
                     broken or unknown to it."
                .into(),
        }),
        (WifiMode::Station, Radio::Absent) => {
            Some("The settings ask for the studio's Wi-Fi, and the box finds no radio. Use a network cable.".into())
        }
        (WifiMode::Station, Radio::Idle) => Some(format!(
            "The box is not in the Wi-Fi {:?}. Is it in reach, and are [wifi] name, passphrase and security as its \
             router has them?",
            wifi.name.as_ref().map_or("", |name| name.as_str())
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn told(settings: &str, radio: Radio) -> Option<String> {
        trouble(&Settings::parse("test.toml", settings).unwrap().wifi, radio)
    }

    const STUDIO: &str = "[wifi]\nmode = \"station\"\nname = \"Studio\"\npassphrase = \"of the studio\"";

    #[test]
    fn a_radio_that_does_what_was_asked_is_no_trouble() {
        for settings in ["", STUDIO] {
            assert_eq!(told(settings, Radio::InUse), None);
        }
        assert_eq!(told("[wifi]\nmode = \"off\"", Radio::Idle), None);
        assert_eq!(told("", Radio::Absent), None, "a box without a radio");
    }

    #[test]
    fn what_to_do_is_said_of_each_trouble() {
        assert!(told("[wifi]\nchannel = 11", Radio::Idle).unwrap().contains("channel 11"));
        assert!(told("", Radio::Idle).unwrap().contains("Start the box again"));
        assert!(told(STUDIO, Radio::Idle).unwrap().contains("\"Studio\""));
        assert!(!told(STUDIO, Radio::Idle).unwrap().contains("of the studio"));
        assert!(told(STUDIO, Radio::Absent).unwrap().contains("cable"));
    }
}
