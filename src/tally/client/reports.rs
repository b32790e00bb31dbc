//! What the client tells people: the log and the board of problems.
//!
//! Owns: telling each condition once, however often it is met, and clearing what it raised.

use std::collections::BTreeMap;

use crate::problems::{Problem, Problems};
use crate::tally::state::Missing;

use super::Failure;

const UNREACHABLE: &str = "vmix_unreachable";
const NO_XML: &str = "vmix_xml_unavailable";
const NOT_FOUND: &str = "camera_not_found";

/// What has been told so far.
pub(super) struct Reports {
    problems: Problems,
    host: Option<String>,
    /// The link failed and that was logged.
    down: bool,
    /// The link was live since the last failure.
    was_live: bool,
    unreachable: bool,
    no_xml: bool,
    missing: BTreeMap<String, String>,
}

impl Reports {
    pub fn new(problems: Problems) -> Self {
        Self {
            problems,
            host: None,
            down: false,
            was_live: false,
            unreachable: false,
            no_xml: false,
            missing: BTreeMap::new(),
        }
    }

    /// Another host is tried from now on.
    pub fn target(&mut self, host: Option<&str>) {
        if self.host.as_deref() != host {
            self.mended();
            self.host = host.map(str::to_owned);
            (self.down, self.was_live) = (false, false);
        }
    }

    /// vMix tells its tally.
    pub fn live(&mut self, host: &str) {
        if !self.was_live {
            tracing::info!(peer = host, "vMix tells its tally");
            self.was_live = true;
            self.down = false;
            if std::mem::take(&mut self.unreachable) {
                self.problems.clear(UNREACHABLE, host);
            }
        }
    }

    /// An attempt failed or a connection ended.
    pub fn failed(&mut self, host: &str, port: u16, failure: &Failure) {
        if !std::mem::replace(&mut self.down, true) {
            tracing::warn!(peer = host, err = %failure, "vMix is not reached; tried again until it is");
        }
        // A link that was just lost gets one attempt before a person is called.
        if std::mem::take(&mut self.was_live) || std::mem::replace(&mut self.unreachable, true) {
            return;
        }
        let check = match failure {
            Failure::Name(_) => "Check the host in the settings; an IP address needs no name server.".to_owned(),
            Failure::Connect(_) | Failure::Ended(_) | Failure::Lost(_) => format!(
                "Check that vMix is running on that computer, that Settings → Web Controller is enabled in it, and \
                 that no firewall keeps TCP port {port} closed."
            ),
        };
        let text = format!("No tally: vMix at {host} port {port} is not reached: {failure}. {check}");
        self.problems.raise(Problem { code: UNREACHABLE, subject: host.to_owned(), text });
    }

    /// The document was had, or it was not, neither way.
    pub fn document(&mut self, err: Option<&str>) {
        let Some(host) = self.host.clone() else { return };
        match err {
            None if std::mem::take(&mut self.no_xml) => self.problems.clear(NO_XML, &host),
            Some(err) if !std::mem::replace(&mut self.no_xml, true) => {
                let text = format!(
                    "vMix at {host} tells its tally, but its list of inputs cannot be read ({err}): inputs have no \
                     names, and cameras are found by number only. Check in vMix that Settings → Web Controller is \
                     enabled and has no password, and that no firewall keeps its port closed."
                );
                self.problems.raise(Problem { code: NO_XML, subject: host, text });
            }
            _ => {}
        }
    }

    /// The cameras with inputs that vMix does not have; `None` when that is not known.
    pub fn cameras(&mut self, missing: Option<Vec<Missing>>) {
        let Some(missing) = missing else { return };
        let now: BTreeMap<_, _> =
            missing.into_iter().map(|camera| (camera.camera.to_string(), camera.references.join(", "))).collect();
        if now == self.missing {
            return;
        }
        for (camera, references) in &now {
            let text = format!(
                "Camera {camera}: vMix has no input {references}. Correct the inputs of this camera in the settings, \
                 or add the input in vMix."
            );
            self.problems.raise(Problem { code: NOT_FOUND, subject: camera.clone(), text });
        }
        for camera in self.missing.keys().filter(|camera| !now.contains_key(*camera)) {
            self.problems.clear(NOT_FOUND, camera);
        }
        self.missing = now;
    }

    /// Takes everything off the board that concerns the host so far.
    fn mended(&mut self) {
        if let Some(host) = &self.host {
            if std::mem::take(&mut self.unreachable) {
                self.problems.clear(UNREACHABLE, host);
            }
            if std::mem::take(&mut self.no_xml) {
                self.problems.clear(NO_XML, host);
            }
        }
        for camera in std::mem::take(&mut self.missing).into_keys() {
            self.problems.clear(NOT_FOUND, &camera);
        }
    }
}
