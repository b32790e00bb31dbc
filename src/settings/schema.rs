//! The names of all sections and keys.

/// `[http] listen`, as problems and `needs_restart` name it.
pub(super) const HTTP_LISTEN: &str = "http.listen";
/// `[https] listen`.
pub(super) const HTTPS_LISTEN: &str = "https.listen";
/// `[srt] listen`.
pub(super) const SRT_LISTEN: &str = "srt.listen";
/// `[webrtc] listen`.
pub(super) const WEBRTC_LISTEN: &str = "webrtc.listen";
/// `[turn] tls_listen`.
pub(super) const TURN_TLS_LISTEN: &str = "turn.tls_listen";
/// `[turn] listen`.
pub(super) const TURN_LISTEN: &str = "turn.listen";

/// `[relay] listen`.
pub(super) const RELAY_LISTEN: &str = "relay.listen";

/// One section of the file.
pub(super) struct Section {
    pub(super) name: &'static str,
    /// Written `[[name]]`, as often as needed.
    pub(super) repeats: bool,
    pub(super) keys: &'static [&'static str],
}

impl Section {
    /// As a person writes it: `[http]`, `[[camera]]`.
    pub(super) fn heading(&self) -> String {
        if self.repeats { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

pub(super) const HTTP: Section = Section { name: "http", repeats: false, keys: &["listen", "trusted_proxies"] };
pub(super) const HTTPS: Section =
    Section { name: "https", repeats: false, keys: &["enabled", "listen", "certificate", "key", "redirect"] };
pub(super) const ACME: Section = Section {
    name: "acme",
    repeats: false,
    keys: &["names", "email", "challenge", "directory", "authority", "dns_hook", "dns_wait_s"],
};
pub(super) const SRT: Section =
    Section { name: "srt", repeats: false, keys: &["listen", "latency_ms", "passphrase", "key"] };
pub(super) const WEBRTC: Section = Section {
    name: "webrtc",
    repeats: false,
    keys: &["listen", "public_addresses", "max_viewers", "threads", "pace_mbps", "join_mbps"],
};
pub(super) const TURN: Section = Section { name: "turn", repeats: false, keys: &["enabled", "listen", "tls_listen"] };
pub(super) const SOUND: Section = Section { name: "sound", repeats: false, keys: &["bitrate_kbps", "lip_sync"] };
pub(super) const NETWORK: Section = Section { name: "network", repeats: false, keys: &["address", "gateway", "dns"] };
pub(super) const WIFI: Section =
    Section { name: "wifi", repeats: false, keys: &["mode", "country", "channel", "name", "passphrase", "security"] };
pub(super) const VMIX: Section = Section { name: "vmix", repeats: false, keys: &["host", "tcp_port", "http_port"] };
pub(super) const RELAY: Section = Section { name: "relay", repeats: false, keys: &["listen", "from"] };
pub(super) const ACCESS: Section = Section {
    name: "access",
    repeats: false,
    keys: &[
        "viewing",
        "pin",
        "administration",
        "own_networks",
        "publish_from",
        "view_from",
        "administer_from",
        "origins",
    ],
};
pub(super) const LOG: Section = Section { name: "log", repeats: false, keys: &["level"] };
pub(super) const STREAM: Section =
    Section { name: "stream", repeats: true, keys: &["name", "source", "passphrase", "key"] };
pub(super) const CAMERA: Section =
    Section { name: "camera", repeats: true, keys: &["name", "inputs", "mixes", "overlays"] };

pub(super) const LAMP: Section = Section {
    name: "lamp",
    repeats: true,
    keys: &["name", "camera", "input", "any_of", "show", "program_pin", "preview_pin", "active", "brightness", "leds"],
};
pub(super) const STRIP: Section = Section { name: "strip", repeats: false, keys: &["leds", "order", "device"] };

/// Every section there is.
pub(super) const SECTIONS: [&Section; 17] = [
    &HTTP, &HTTPS, &ACME, &SRT, &WEBRTC, &TURN, &SOUND, &NETWORK, &WIFI, &VMIX, &RELAY, &ACCESS, &LOG, &STREAM,
    &CAMERA, &LAMP, &STRIP,
];

/// The candidate a person most likely meant, if one is near enough.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (distance(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, removed or changed to make one word of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((b, pair), left) in b.iter().zip(row.windows(2)).zip(0..) {
            let [diagonal, above] = [pair[0], pair[1]];
            let changed = diagonal + usize::from(a != *b);
            next.push(changed.min(above + 1).min(next[left] + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
