//! What `[access]` may say.

use ipnet::IpNet;
use toml::de::DeValue;

use super::kinds::{one_of, text};
use super::{Fault, Reader, Table};
use crate::access::{Secret, Viewing};
use crate::settings::access::{self, VIEWING};
use crate::settings::values::shown;
use crate::settings::{Access, Administration};

impl Reader<'_> {
    pub(super) fn access(&mut self, table: &Table<'_>) {
        let viewing = self.value(table, "viewing", |value| one_of("viewing", value, VIEWING, "open"));
        let pin = self.value(table, "pin", pin);
        let administration = self
            .value(table, "administration", |value| one_of("administration", value, Administration::WORDS, "https"));
        let own_networks = self.list(table, "own_networks", NETWORKS, network).map(|found| found.value);
        let [publish_from, view_from, administer_from] =
            ["publish_from", "view_from", "administer_from"].map(|key| self.callers(table, key));
        let origins = self.list(table, "origins", "[\"https://studio.example\"]", origin);
        let viewing = viewing.map(|found| found.value).unwrap_or_default();
        if viewing == Viewing::Pin && !table.values.contains_key("pin") {
            let fault = Fault::new("viewing = \"pin\" without a `pin`", "add six digits, as in `pin = \"482915\"`");
            self.missing(&table.span, fault);
        }
        self.settings.access = Access {
            viewing,
            pin: pin.map(|found| found.value),
            administration: administration.map(|found| found.value),
            own_networks,
            publish_from,
            view_from,
            administer_from,
            origins: origins.map(|found| found.value).unwrap_or_default(),
        };
    }

    /// Where somebody may call from; empty where it is left out.
    pub(super) fn callers(&mut self, table: &Table<'_>, key: &'static str) -> Vec<IpNet> {
        if let Some(value) = table.values.get(key)
            && value.get_ref().as_array().is_some_and(|list| list.is_empty())
        {
            let fault = Fault::new(format!("`{key}` is empty, so nobody could"), "name networks, or leave it out");
            self.fault(&value.span(), fault);
        }
        self.list(table, key, NETWORKS, network).map(|found| found.value).unwrap_or_default()
    }
}

/// How a list of networks is written.
const NETWORKS: &str = "[\"192.168.1.0/24\"]";

fn pin(value: &DeValue<'_>) -> Result<Secret, Fault> {
    let text = text("pin", value, "\"…\"")?;
    access::pin(text).map_err(|what| Fault::new(what, "choose six digits of your own, in quotes"))
}

pub(super) fn stream_key(value: &DeValue<'_>) -> Result<Secret, Fault> {
    let text = text("key", value, "\"…\"")?;
    let remedy = "choose one of these, and enter the same in the sender's stream ID (s=)";
    access::stream_key(text).map_err(|what| Fault::new(what, remedy))
}

fn network(value: &DeValue<'_>) -> Result<IpNet, Fault> {
    let remedy = "write networks or addresses in quotes, as in [\"192.168.1.0/24\", \"10.0.0.7\", \"fd00::/8\"]";
    let text = value.as_str().ok_or_else(|| Fault::new("this list holds texts in quotes", remedy))?;
    access::network(text).ok_or_else(|| Fault::new(format!("`{}` is no network", shown(text)), remedy))
}

fn origin(value: &DeValue<'_>) -> Result<String, Fault> {
    let remedy = "write what the browser shows up to the first slash, as in [\"https://studio.example\"]";
    let text = value.as_str().ok_or_else(|| Fault::new("`origins` holds texts in quotes", remedy))?;
    access::origin(text).ok_or_else(|| Fault::new(format!("`{}` is no origin of a page", shown(text)), remedy))
}
