//! What must hold for any settings file.

use super::{LARGEST_FILE, SettingsError, read};

/// Any bytes are either settings or refused with mistakes that can be found in the file.
pub fn settings(data: &[u8]) {
    match read::read("fuzz.toml", data) {
        Ok(settings) => {
            assert!(settings.cameras.iter().all(|camera| !camera.inputs.is_empty() && !camera.mixes.is_empty()));
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
