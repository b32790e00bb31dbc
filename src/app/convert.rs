//! From what a person wrote to what each room takes.

use std::sync::{Arc, RwLock};
use std::time::Instant;

use super::Listening;
use crate::access::{Policy, Sources};
use crate::clock::Clock;
use crate::media::StreamName;
use crate::settings::{self, Administration, Identity, Overlays, Passphrase, Settings, VmixHost, WifiSecurity};
use crate::{http, sheet, srt, system, tally, transcode, webrtc};

/// `current` is asked for the passphrase of every new source, so that new settings need no restart.
pub(super) fn srt_listener(
    settings: &Settings,
    current: &Arc<RwLock<Settings>>,
    sources: Sources,
) -> srt::ListenerConfig {
    let current = current.clone();
    let passphrase = move |stream: &StreamName| {
        let settings = current.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        passphrase_of(&settings, stream).map(|passphrase| passphrase.expose().to_owned())
    };
    let (listen, latency) = (settings.srt.listen, settings.srt.latency);
    srt::ListenerConfig { listen, latency, passphrase: Arc::new(passphrase), sources }
}

/// A stream's own passphrase is stronger than the one for all.
fn passphrase_of<'a>(settings: &'a Settings, name: &StreamName) -> Option<&'a Passphrase> {
    let own = settings.streams.iter().find(|stream| stream.name == *name);
    own.and_then(|stream| stream.passphrase.as_ref()).or(settings.srt.passphrase.as_ref())
}

/// `over_tcp`: whether nothing else of the box has that port.
pub(super) fn webrtc(settings: &Settings, over_tcp: bool, sources: Sources) -> webrtc::Config {
    webrtc::Config {
        listen: settings.webrtc.listen,
        over_tcp,
        public_addresses: settings.webrtc.public_addresses.clone(),
        local_addresses: crate::system::local_addresses,
        max_viewers: settings.webrtc.max_viewers,
        threads: settings.webrtc.threads,
        pacing: webrtc::Pacing {
            live_bps: Some(bits(settings.webrtc.pace_mbps)).filter(|rate| *rate > 0),
            join_bps: bits(settings.webrtc.join_mbps),
        },
        lip_sync: settings.sound.lip_sync,
        sources,
    }
}

/// Where phones are led, on a box with a Wi-Fi of its own.
pub(super) fn portal(settings: &Settings, identity: Option<&Identity>, clock: &Clock) -> Option<http::Portal> {
    let access_point = settings.access_point(identity?)?;
    Some(http::Portal::new(access_point.address, clock.clone()))
}

/// HTTPS as the box was started with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Https {
    /// Nobody asked for it.
    Off,
    /// It cannot be had, as it is asked for.
    Failed,
    /// It is on, at this port as browsers reach it.
    On(u16),
}

/// Who may do what.
pub(super) fn policy(settings: &Settings, https: Https) -> Policy {
    let wanted = settings.access.clone();
    let own_keys = settings.streams.iter().filter_map(|stream| Some((stream.name.clone(), stream.key.clone()?)));
    let encrypted = settings.streams.iter().filter(|stream| stream.passphrase.is_some());
    Policy {
        viewing: wanted.viewing,
        pin: wanted.pin,
        own_networks: wanted.own_networks,
        publish_from: wanted.publish_from,
        view_from: wanted.view_from,
        administer_from: wanted.administer_from,
        lights_from: settings.relay.from.clone(),
        // Where HTTPS fails, nobody has agreed that the password is sent for all to read.
        plain_administration: wanted.administration.map_or(https == Https::Off, |over| over == Administration::Lan),
        for_want_of_https: wanted.administration.is_none() && https == Https::Off,
        https_port: match https {
            Https::On(port) => Some(port),
            Https::Off | Https::Failed => None,
        },
        key: settings.srt.key.clone(),
        keys: own_keys.collect(),
        all_encrypted: settings.srt.passphrase.is_some(),
        encrypted: encrypted.map(|stream| stream.name.clone()).collect(),
        origins: wanted.origins,
    }
}

fn bits(mbps: u32) -> u64 {
    u64::from(mbps) * 1_000_000
}

pub(super) fn sound(settings: &Settings) -> transcode::SoundConfig {
    transcode::SoundConfig { bitrate_bps: settings.sound.bitrate_kbps * 1_000 }
}

pub(super) fn vmix(settings: &Settings) -> tally::VmixConfig {
    tally::VmixConfig {
        host: match &settings.vmix.host {
            VmixHost::Auto => tally::Host::Auto,
            VmixHost::Named(host) => tally::Host::Fixed(host.clone()),
        },
        tcp_port: settings.vmix.tcp_port,
        http_port: settings.vmix.http_port,
        cameras: settings.cameras.iter().map(camera).collect(),
    }
}

fn camera(camera: &settings::Camera) -> tally::CameraConfig {
    let input = |input: &settings::InputRef| match input {
        settings::InputRef::Number(number) => tally::InputRef::Number(*number),
        settings::InputRef::Text(text) => tally::InputRef::Text(text.clone()),
    };
    tally::CameraConfig {
        name: camera.name.clone(),
        inputs: camera.inputs.iter().map(input).collect(),
        mixes: camera.mixes.iter().map(|mix| u32::from(*mix)).collect(),
        overlays: match &camera.overlays {
            Overlays::All => None,
            Overlays::Only(numbers) => Some(numbers.iter().map(|number| u32::from(*number)).collect()),
        },
    }
}

/// Names that lead to the machine, of which the first is its own, and addresses that are not its own and do.
pub(super) fn names(settings: &Settings, identity: Option<&Identity>) -> Vec<String> {
    let mut names = match identity {
        Some(Identity { host_name, .. }) => {
            let shared = sheet::SHARED_NAME;
            vec![host_name.clone(), format!("{host_name}.local"), shared.to_owned(), format!("{shared}.local")]
        }
        None => {
            let name = system::host_name();
            let local = format!("{name}.local");
            vec![name, local]
        }
    };
    names.extend(settings.webrtc.public_addresses.iter().map(ToString::to_string));
    names
}

/// How the box is called and joined.
pub(super) fn own(settings: &Settings, identity: &Identity) -> sheet::Own {
    let wifi = settings.access_point(identity).map(|access_point| sheet::Wifi {
        name: access_point.name.as_str().to_owned(),
        passphrase: access_point.passphrase.expose().to_owned(),
        wpa3_only: access_point.security == WifiSecurity::Wpa3,
        address: access_point.address,
    });
    sheet::Own { host_name: identity.host_name.clone(), wifi }
}

pub(super) fn about(
    settings: &Settings,
    identity: Option<&Identity>,
    listening: Listening,
    started: Instant,
) -> http::About {
    http::About {
        version: env!("CARGO_PKG_VERSION"),
        started,
        http: listening.http,
        srt: listening.srt,
        srt_latency_ms: u32::try_from(settings.srt.latency.as_millis()).unwrap_or(u32::MAX),
        streams: streams(settings),
        own: identity.map(|identity| own(settings, identity)),
    }
}

/// What settings that were read again change of it; the latency and the Wi-Fi in force are those of the start.
pub(super) fn reread(about: &mut http::About, new: &Settings) {
    about.streams = streams(new);
}

fn streams(settings: &Settings) -> Vec<String> {
    settings.streams.iter().map(|stream| stream.name.short()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_is_administered_over_https_where_it_is_on_unless_the_settings_say_otherwise() {
        for (text, https, [plain, for_want]) in [
            ("", Https::Off, [true, true]),
            ("", Https::On(443), [false, false]),
            ("", Https::Failed, [false, false]),
            ("[access]\nadministration = 'https'", Https::Off, [false, false]),
            ("[access]\nadministration = 'lan'", Https::On(443), [true, false]),
            ("[access]\nadministration = 'lan'", Https::Failed, [true, false]),
        ] {
            let policy = policy(&Settings::parse("t", text).unwrap(), https);
            assert_eq!([policy.plain_administration, policy.for_want_of_https], [plain, for_want], "{text} {https:?}");
        }
    }

    #[test]
    fn the_gate_knows_which_streams_srt_asks_a_passphrase_of() {
        let policy = |text| policy(&Settings::parse("t", text).unwrap(), Https::Off);
        let one = policy("[[stream]]\nname = 'cam1'\npassphrase = 'of camera one'\n[[stream]]\nname = 'cam2'");
        assert!(!one.all_encrypted);
        assert_eq!(one.encrypted, ["cam1".parse().unwrap()].into());
        let all = policy("[srt]\npassphrase = 'of all of them'\n[relay]\nfrom = ['10.1.0.0/16']");
        assert!(all.all_encrypted);
        assert_eq!(all.lights_from, ["10.1.0.0/16".parse().unwrap()]);
    }

    #[test]
    fn what_needs_a_restart_is_told_as_it_was_at_the_start() {
        let parse = |text| Settings::parse("t", text).unwrap();
        let old = parse("[srt]\nlatency_ms = 120\n[wifi]\nname = 'Studio 1'\npassphrase = 'of the first'");
        let new = parse(
            "[srt]\nlatency_ms = 200\n[wifi]\nname = 'Studio 2'\npassphrase = 'of the second'\n\
             [[stream]]\nname = 'second'",
        );
        let identity = Identity::draw(&std::array::from_fn(|n| n as u8)).unwrap();
        let listen = "[::]:1".parse().unwrap();
        let about = |settings| {
            let listening = Listening { http: listen, srt: listen };
            super::about(settings, Some(&identity), listening, Clock::manual().0.now())
        };
        let in_force = about(&old);
        let mut reread = in_force.clone();
        super::reread(&mut reread, &new);
        assert_eq!(reread.streams, about(&new).streams);
        assert_ne!(reread.streams, in_force.streams);
        assert_eq!(http::About { streams: in_force.streams.clone(), ..reread }, in_force);
    }
}
