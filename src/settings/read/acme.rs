//! What `[acme]` may say.

use std::time::Duration;

use toml::de::DeValue;

use super::kinds::{file, integer, one_of, text};
use super::{Fault, Found, Reader, Table};
use crate::settings::acme::{self, Acme, Challenge, LETS_ENCRYPT, MOST_NAMES};
use crate::settings::values::shown;

/// The longest that is waited for name servers, in seconds.
const LONGEST_WAIT_S: i64 = 3600;

/// What is waited for them when nobody says otherwise.
const WAIT: Duration = Duration::from_secs(60);

impl Reader<'_> {
    pub(super) fn acme(&mut self, table: &Table<'_>) {
        let names = self.list(table, "names", "[\"return.example.com\"]", name);
        let email = self.value(table, "email", email);
        let challenge = self.value(table, "challenge", |v| one_of("challenge", v, Challenge::WORDS, "http-01"));
        let directory = self.value(table, "directory", directory);
        let authority = self.value(table, "authority", |v| file("authority", v, "/etc/returnfeed/acme-root.pem"));
        let hook = self.value(table, "dns_hook", |v| file("dns_hook", v, "/usr/local/bin/dns-hook"));
        let wait = self.value(table, "dns_wait_s", |v| integer("dns_wait_s", v, 0..=LONGEST_WAIT_S, "60"));

        let challenge = challenge.map(|found| found.value).unwrap_or_default();
        self.only_with_dns(table, challenge);
        let directory = directory.map_or_else(|| LETS_ENCRYPT.to_owned(), |found| found.value);
        if !table.values.contains_key("names") {
            let fault = Fault::new("[acme] has no `names`", "add a line such as `names = [\"return.example.com\"]`");
            self.missing(&table.span, fault);
        }
        let Some(Found { span, value: names }) = names else { return };
        self.names(&span, &names, challenge, &directory);
        self.settings.acme = Some(Acme {
            names,
            email: email.map(|found| found.value),
            challenge,
            directory,
            authority: authority.map(|found| found.value),
            dns_hook: hook.map(|found| found.value),
            dns_wait: wait.map_or(WAIT, |found| Duration::from_secs(found.value.unsigned_abs())),
        });
    }

    fn only_with_dns(&mut self, table: &Table<'_>, challenge: Challenge) {
        let is_dns = challenge == Challenge::Dns01;
        if is_dns && !table.values.contains_key("dns_hook") {
            let remedy = "name the program that sets TXT records, as in `dns_hook = \"/usr/local/bin/dns-hook\"`";
            self.missing(&table.span, Fault::new("challenge = \"dns-01\" without a `dns_hook`", remedy));
        }
        for key in ["dns_hook", "dns_wait_s"] {
            if let Some(value) = table.values.get(key).filter(|_| !is_dns) {
                let fault = Fault::new(
                    format!("`{key}` says nothing without challenge = \"dns-01\""),
                    "add the challenge, or leave this out",
                );
                self.fault(&value.span(), fault);
            }
        }
    }

    fn names(&mut self, span: &super::Span, names: &[String], challenge: Challenge, directory: &str) {
        if !(1..=MOST_NAMES).contains(&names.len()) {
            let remedy = "a certificate is for one name or a few, as in `names = [\"return.example.com\"]`";
            self.fault(span, Fault::new(format!("`names` has {} names, not 1 to {MOST_NAMES}", names.len()), remedy));
        }
        for name in names {
            if name.starts_with('*') && challenge != Challenge::Dns01 {
                let what = format!("`{}` can be confirmed by challenge = \"dns-01\" alone", shown(name));
                self.fault(span, Fault::new(what, "name each name by itself, or use dns-01 with a `dns_hook`"));
            }
            if directory == LETS_ENCRYPT && !acme::is_public(name) {
                let what = format!("`{}` is no name of the public DNS", shown(name));
                let remedy = "use a name of a domain that is yours; a CA of your own is named by `directory`";
                self.fault(span, Fault::new(what, remedy));
            }
        }
    }

    /// Who asks for a certificate wants HTTPS.
    pub(super) fn acme_needs_https(&mut self, heading: Option<&super::Span>) {
        let Some(heading) = heading.filter(|_| self.settings.acme.is_some()) else { return };
        match self.settings.https.enabled {
            Some(true) => {}
            None => self.settings.https.enabled = Some(true),
            Some(false) => {
                let fault =
                    Fault::new("[acme] is for HTTPS, which is switched off", "leave `enabled = false` out of [https]");
                self.fault(heading, fault);
            }
        }
    }
}

fn name(value: &DeValue<'_>) -> Result<String, Fault> {
    let remedy = "write names of the DNS, as in `names = [\"return.example.com\"]`";
    let text = value.as_str().ok_or_else(|| Fault::new("`names` holds texts in quotes", remedy))?;
    acme::name(text).map_err(|what| Fault::new(format!("`{}` {what}", shown(text)), remedy))
}

fn email(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = text("email", value, "\"crew@example.com\"")?;
    let fault =
        || Fault::new(format!("`{}` is no address of mail", shown(text)), "write it as `email = \"crew@example.com\"`");
    acme::email(text).ok_or_else(fault)
}

fn directory(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = text("directory", value, &format!("\"{LETS_ENCRYPT}\""))?;
    let fault = || {
        let remedy = format!("write the address of its directory, as in `directory = \"{LETS_ENCRYPT}\"`");
        Fault::new(format!("`{}` is no https:// address", shown(text)), remedy)
    };
    acme::directory(text).ok_or_else(fault)
}
