//! A certificate that the box's authority issued, as it is kept: what is known of it stands before the PEM.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::dates::Validity;

/// One certificate and its key.
pub(super) struct Issued {
    /// Fingerprint of the authority.
    pub(super) by: String,
    pub(super) names: Vec<String>,
    pub(super) validity: Validity,
    /// Certificate and key.
    pub(super) pem: String,
}

impl Issued {
    pub(super) fn text(&self) -> String {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let Validity { begins, ends } = self.validity;
        format!(
            "by: {}\nnames: {}\nbegins: {}\nends: {}\n{}",
            self.by,
            self.names.join(" "),
            seconds(begins),
            seconds(ends),
            self.pem
        )
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        let time = |key| UNIX_EPOCH.checked_add(Duration::from_secs(value(key)?.parse().ok()?));
        Some(Self {
            by: value("by")?.to_owned(),
            names: value("names")?.split(' ').map(str::to_owned).collect(),
            validity: Validity { begins: time("begins")?, ends: time("ends")? },
            pem: text.get(text.find("-----BEGIN")?..)?.to_owned(),
        })
    }

    /// Whether it still does, for clients that ask for `names`.
    pub(super) fn does(&self, by: &str, names: &[String], today: SystemTime) -> bool {
        self.by == by && !self.validity.is_due(today) && names.iter().all(|name| self.names.contains(name))
    }
}
