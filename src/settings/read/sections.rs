//! What each section may say.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::de::DeValue;

use super::access::stream_key;
use super::kinds::{
    boolean, camera_name, file, gateway, input, integer, name_server, network, one_of, own_address, passphrase, port,
    public_address, small, text, vmix_host,
};
use super::{Fault, Found, Reader, Span, Table, schema};
use crate::media::StreamName;
use crate::settings::values::{LATENCY_MS, shown};
use crate::settings::{Camera, Ipv4Network, LogLevel, Overlays, Source, Stream};

impl Reader<'_> {
    pub(super) fn http(&mut self, table: &Table<'_>, listens: &mut Vec<(&'static str, Span)>) {
        self.settings.http.listen = self.listen(table, schema::HTTP_LISTEN, self.settings.http.listen, listens);
        if let Some(proxies) = self.list(table, "trusted_proxies", "[\"10.0.0.5\"]", |v| network("trusted_proxies", v))
        {
            self.settings.http.trusted_proxies = proxies.value;
        }
    }

    pub(super) fn https(&mut self, table: &Table<'_>, listens: &mut Vec<(&'static str, Span)>) {
        let listen = self.listen_if_given(table, schema::HTTPS_LISTEN, "\"[::]:8443\"", listens);
        let enabled = self.value(table, "enabled", |v| boolean("enabled", v, "true"));
        let certificate =
            self.value(table, "certificate", |v| file("certificate", v, "/etc/returnfeed/box.example.crt"));
        let key = self.value(table, "key", |v| file("key", v, "/etc/returnfeed/box.example.key"));
        for (one, other) in [("certificate", "key"), ("key", "certificate")] {
            if let Some(value) = table.values.get(one)
                && !table.values.contains_key(other)
            {
                let fault =
                    Fault::new(format!("`{one}` without `{other}` says nothing"), "name both files, or neither");
                self.fault(&value.span(), fault);
            }
        }
        let redirect = self.value(table, "redirect", |v| boolean("redirect", v, "true"));
        let https = &mut self.settings.https;
        https.listen = listen;
        https.enabled = enabled.map(|found| found.value);
        https.own = certificate.zip(key).map(|(certificate, key)| (certificate.value, key.value));
        https.redirect = redirect.is_some_and(|found| found.value);
    }

    pub(super) fn srt(&mut self, table: &Table<'_>, listens: &mut Vec<(&'static str, Span)>) {
        self.settings.srt.listen = self.listen(table, schema::SRT_LISTEN, self.settings.srt.listen, listens);
        if let Some(ms) = self.value(table, "latency_ms", |v| integer("latency_ms", v, LATENCY_MS, "120")) {
            self.settings.srt.latency = Duration::from_millis(ms.value.unsigned_abs());
        }
        if let Some(passphrase) = self.value(table, "passphrase", passphrase) {
            self.settings.srt.passphrase = Some(passphrase.value);
        }
        self.settings.srt.key = self.value(table, "key", stream_key).map(|found| found.value);
    }

    pub(super) fn webrtc(&mut self, table: &Table<'_>, listens: &mut Vec<(&'static str, Span)>) {
        self.settings.webrtc.listen = self.listen(table, schema::WEBRTC_LISTEN, self.settings.webrtc.listen, listens);
        if let Some(addresses) = self.list(table, "public_addresses", "[\"203.0.113.7\"]", public_address) {
            self.settings.webrtc.public_addresses = addresses.value;
        }
        if let Some(most) = self.value(table, "max_viewers", |v| integer("max_viewers", v, 1..=10_000, "250")) {
            self.settings.webrtc.max_viewers = usize::try_from(most.value).unwrap_or(self.settings.webrtc.max_viewers);
        }
        if let Some(threads) = self.value(table, "threads", |v| integer("threads", v, 0..=16, "0")) {
            self.settings.webrtc.threads = usize::try_from(threads.value).unwrap_or(self.settings.webrtc.threads);
        }
        let pace = |v: &DeValue<'_>| match integer("pace_mbps", v, 0..=10_000, "0")? {
            1..5 => Err(Fault::new("`pace_mbps` is less than a picture needs", "write 5 to 10000, or 0 for no pacing")),
            rate => Ok(rate),
        };
        if let Some(rate) = self.value(table, "pace_mbps", pace) {
            self.settings.webrtc.pace_mbps = u32::try_from(rate.value).unwrap_or(self.settings.webrtc.pace_mbps);
        }
        if let Some(rate) = self.value(table, "join_mbps", |v| integer("join_mbps", v, 5..=10_000, "100")) {
            self.settings.webrtc.join_mbps = u32::try_from(rate.value).unwrap_or(self.settings.webrtc.join_mbps);
        }
    }

    pub(super) fn turn(&mut self, table: &Table<'_>, listens: &mut Vec<(&'static str, Span)>) {
        self.settings.turn.listen = self.listen(table, schema::TURN_LISTEN, self.settings.turn.listen, listens);
        let tls = self.address_if_given(table, "tls_listen", schema::TURN_TLS_LISTEN, "\"[::]:5349\"", listens);
        self.settings.turn.tls_listen = tls.unwrap_or(self.settings.turn.tls_listen);
        if let Some(wanted) = self.value(table, "enabled", |v| boolean("enabled", v, "true")) {
            self.settings.turn.enabled = wanted.value;
        }
    }

    pub(super) fn sound(&mut self, table: &Table<'_>) {
        if let Some(rate) = self.value(table, "bitrate_kbps", |v| integer("bitrate_kbps", v, 32..=256, "128")) {
            self.settings.sound.bitrate_kbps = u32::try_from(rate.value).unwrap_or(self.settings.sound.bitrate_kbps);
        }
        if let Some(wanted) = self.value(table, "lip_sync", |v| boolean("lip_sync", v, "true")) {
            self.settings.sound.lip_sync = wanted.value;
        }
    }

    /// Leaves at `place` where the box's own address stands.
    pub(super) fn network(&mut self, table: &Table<'_>, place: &mut Option<Span>) {
        let address = self.value(table, "address", own_address);
        let gateway = self.value(table, "gateway", gateway);
        let dns = self.list(table, "dns", "[\"192.168.1.1\"]", name_server);
        if !table.values.contains_key("address") {
            for key in ["gateway", "dns"] {
                if let Some(value) = table.values.get(key) {
                    let remedy = "add the box's own `address`, or leave it out: DHCP names both";
                    self.fault(&value.span(), Fault::new(format!("`{key}` without `address` says nothing"), remedy));
                }
            }
        }
        if let (Some(address), Some(gateway)) = (&address, &gateway)
            && !address.value.contains(gateway.value)
        {
            let Ipv4Network { address, prefix } = address.value;
            let what = format!("the router {} is not in the network {address}/{prefix}", gateway.value);
            let remedy = "the router's address begins as the box's own does; is the number behind the / right?";
            self.fault(&gateway.span, Fault::new(what, remedy));
        }
        *place = address.as_ref().map(|found| found.span.clone());
        let network = &mut self.settings.network;
        network.address = address.map(|found| found.value);
        network.gateway = gateway.map(|found| found.value);
        network.dns = dns.map(|found| found.value).unwrap_or_default();
    }

    pub(super) fn vmix(&mut self, table: &Table<'_>) {
        if let Some(host) = self.value(table, "host", vmix_host) {
            self.settings.vmix.host = host.value;
        }
        let tcp = self.value(table, "tcp_port", |v| port("tcp_port", v, "8099"));
        let http = self.value(table, "http_port", |v| port("http_port", v, "8088"));
        let spans = [http.as_ref().map(|f| f.span.clone()), tcp.as_ref().map(|f| f.span.clone())];
        if let Some(tcp) = tcp {
            self.settings.vmix.tcp_port = tcp.value;
        }
        if let Some(http) = http {
            self.settings.vmix.http_port = http.value;
        }
        let vmix = &self.settings.vmix;
        if vmix.tcp_port == vmix.http_port
            && let Some(span) = spans.into_iter().flatten().next()
        {
            let what = format!("`tcp_port` and `http_port` are both {}, but vMix has two ports", vmix.tcp_port);
            self.fault(&span, Fault::new(what, "vMix's own are tcp_port = 8099 and http_port = 8088"));
        }
    }

    pub(super) fn relay(&mut self, table: &Table<'_>, listens: &mut Vec<(&'static str, Span)>) {
        self.settings.relay.listen = self.listen_if_given(table, schema::RELAY_LISTEN, "\"[::]:8099\"", listens);
        self.settings.relay.from = self.callers(table, "from");
    }

    pub(super) fn log(&mut self, table: &Table<'_>) {
        let level = self.value(table, "level", |value| one_of("level", value, LogLevel::WORDS, "info"));
        if let Some(level) = level {
            self.settings.log.level = level.value;
        }
    }

    pub(super) fn stream(&mut self, table: &Table<'_>) {
        let name = self.value(table, "name", |value| {
            text("name", value, "\"pgm\"")?
                .parse::<StreamName>()
                .map_err(|error| Fault::new(error.to_string(), "write a name such as \"pgm\" or \"studio2/pgm\""))
        });
        if !table.values.contains_key("name") {
            self.missing(
                &table.span,
                Fault::new("this [[stream]] has no `name`", "add a line such as `name = \"pgm\"`"),
            );
        }
        let source = self.source(table);
        let passphrase = self.value(table, "passphrase", passphrase);
        let mut source = source.flatten();
        let in_source = source.as_mut().and_then(|source| source.passphrase.take());
        if let (Some(found), Some(_)) = (&passphrase, &in_source) {
            let fault = Fault::new("the passphrase stands both here and in `source`", "leave one of them out");
            self.fault(&found.span, fault);
        }
        let passphrase = passphrase.map(|found| found.value).or(in_source);
        if passphrase.is_none()
            && !table.values.contains_key("passphrase")
            && source.as_ref().is_some_and(|source| source.key_length.is_some())
            && let Some(value) = table.values.get("source")
        {
            let fault =
                Fault::new("`pbkeylen` without a passphrase encrypts nothing", "add the passphrase, or leave it out");
            self.fault(&value.span(), fault);
        }
        let key = self.value(table, "key", stream_key);
        if let (Some(key), true) = (&key, table.values.contains_key("source")) {
            let fault =
                Fault::new("nobody sends a stream that the box fetches", "leave the `key` out, or the `source`");
            self.fault(&key.span, fault);
        }
        let key = key.map(|found| found.value);
        let Some(Found { span, value: name }) = name else { return };
        if self.settings.streams.iter().any(|stream| stream.name == name) {
            let what = format!("there is already a [[stream]] named \"{}\"", name.short());
            self.fault(&span, Fault::new(what, "give each stream a name of its own, or leave one out"));
        }
        self.settings.streams.push(Stream { name, source, passphrase, key });
    }

    /// A stream's source; `Some(None)` when it is there and wrong.
    pub(super) fn source(&mut self, table: &Table<'_>) -> Option<Option<Source>> {
        let example = "\"srt://192.168.1.20:9000?streamid=pgm\"";
        let found = self.value(table, "source", |value| text("source", value, example).map(Source::parse_all))?;
        match found.value {
            Ok(source) => Some(Some(source)),
            Err(faults) => {
                for fault in faults {
                    self.fault(&found.span, Fault::new(format!("`source`: {}", fault.what), fault.remedy));
                }
                Some(None)
            }
        }
    }

    pub(super) fn camera(&mut self, table: &Table<'_>) {
        let name = self.value(table, "name", camera_name);
        let inputs = self.list(table, "inputs", "[1, \"CAM 1\"]", |value| input("inputs", value, "[1, \"CAM 1\"]"));
        let mixes = self.list(table, "mixes", "[1]", |value| small("mixes", value, 16));
        let overlays = self.list(table, "overlays", "[1, 2]", |value| small("overlays", value, 8));
        for (key, example) in [("name", "name = \"Camera 1\""), ("inputs", "inputs = [1]")] {
            if !table.values.contains_key(key) {
                let fault =
                    Fault::new(format!("this [[camera]] has no `{key}`"), format!("add a line such as `{example}`"));
                self.missing(&table.span, fault);
            }
        }
        for (key, remedy) in [
            ("inputs", "name the vMix inputs that show it, as in `inputs = [1]`"),
            ("mixes", "write `mixes = [1]` for the main mix, or leave it out"),
        ] {
            if let Some(value) = table.values.get(key)
                && value.get_ref().as_array().is_some_and(|list| list.is_empty())
            {
                self.fault(
                    &value.span(),
                    Fault::new(format!("`{key}` is empty, so this camera could never be live"), remedy),
                );
            }
        }
        let Some(Found { span, value: name }) = name else { return };
        if self.settings.cameras.iter().any(|camera| camera.name == name) {
            let what = format!("there is already a [[camera]] named \"{}\"", shown(&name));
            self.fault(&span, Fault::new(what, "give each camera a name of its own"));
        }
        self.settings.cameras.push(Camera {
            name,
            inputs: inputs.map(|found| found.value).unwrap_or_default(),
            mixes: mixes.map_or_else(|| BTreeSet::from([1]), |found| found.value.into_iter().collect()),
            overlays: overlays.map_or(Overlays::All, |found| Overlays::Only(found.value.into_iter().collect())),
        });
    }
}
