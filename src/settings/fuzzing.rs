//! What must hold for any settings file.

use super::{LARGEST_FILE, SettingsError, read};

/// Any bytes are either settings or refused with mistakes that can be found in the file.
pub fn settings(data: &[u8]) {
    match read::read("fuzz.toml", data) {
        Ok(settings) => {
            assert!(settings.cameras.iter().all(|camera| !camera.inputs.is_empty() && !camera.mixes.is_empty()));
            let mut pins: Vec<u8> =
                settings.lamps.iter().flat_map(|lamp| lamp.program_pin.into_iter().chain(lamp.preview_pin)).collect();
            let count = pins.len();
            pins.sort_unstable();
            pins.dedup();
            assert_eq!(pins.len(), count);
            assert!(pins.iter().all(|pin| (2..=27).contains(pin) && *pin != 21));
            for lamp in &settings.lamps {
                assert!(lamp.program_pin.is_some() || lamp.preview_pin.is_some() || lamp.leds.is_some());
                let strip = settings.strip.as_ref().map_or(0, |strip| strip.leds);
                assert!(lamp.leds.is_none_or(|leds| (1..=leds.last).contains(&leds.first) && leds.last <= strip));
            }
            assert!(settings.needs_restart(&settings).is_empty());
        }
        Err(SettingsError::Refused(mistakes)) => {
            assert!(!mistakes.is_empty());
            let lines = data.split(|b| *b == b'\n').count();
            for mistake in &mistakes {
                assert!((1..=lines).contains(&mistake.line) && (1..=LARGEST_FILE + 1).contains(&mistake.column));
                assert!(!mistake.what.is_empty() && !mistake.remedy.is_empty());
                assert!(mistake.to_string().lines().count() <= 3);
            }
            assert!(mistakes.is_sorted_by_key(|mistake| mistake.line));
        }
        Err(SettingsError::Unreadable { .. }) => unreachable!("no file was read"),
    }
}
