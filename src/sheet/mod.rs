//! The set-up sheet: what a crew needs to get from nothing to the picture, on paper, on a screen and on the card.
//!
//! Owns: what stands on the sheet in each of its forms, and the QR codes. Does not own: where the facts come from
//! (`app` gathers them) nor who may see them (`http` asks). Flows to: `http` (a page to print), `app` (the HDMI console,
//! the file on the card).
//!
//! The Wi-Fi passphrase is on all of them: whoever stands before the box, or is on its network already, is who it is
//! for. The set-up code is in the file on the card alone: it proves that somebody holds the card, so it must not be
//! where a visitor could take a photo of it.

mod card;
mod console;
mod page;
mod qr;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub use card::card;
pub use console::{SMALLEST_CONSOLE, console};
pub use page::{STYLE, page};
pub use qr::svg as qr_svg;

/// The name every box answers to; of several on one network the first.
pub const SHARED_NAME: &str = "returnfeed";

/// What is a box's own, and nothing that a program on another machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Its name, such as `returnfeed-3f2a`.
    pub host_name: String,
    /// Its Wi-Fi, when it has one.
    pub wifi: Option<Wifi>,
}

/// The facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    host_name: Option<String>,
    wifi: Option<Wifi>,
    /// Where the box is on networks other than its own Wi-Fi, best first.
    addresses: Vec<IpAddr>,
    page_port: u16,
    srt_port: u16,
}

/// The box's own Wi-Fi.
#[derive(Clone, PartialEq, Eq)]
pub struct Wifi {
    /// Its name (SSID).
    pub name: String,
    /// What a phone must know to join.
    pub passphrase: String,
    /// Only devices that know WPA3 can join.
    pub wpa3_only: bool,
    /// Where the box is on it.
    pub address: Ipv4Addr,
}

/// The passphrase stays out of logs.
impl fmt::Debug for Wifi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, passphrase: _, wpa3_only, address } = self;
        let mut shown = f.debug_struct("Wifi");
        shown.field("name", name).field("wpa3_only", wpa3_only).field("address", address).finish_non_exhaustive()
    }
}

impl Wifi {
    /// The text of a QR code that joins it. WPA3 only is told by `R:1`, transition mode off (WPA3 Specification v3 §7.1);
    /// the escapes are those of ZXing, which phones follow.
    fn to_join(&self) -> String {
        let escaped = |text: &str| {
            let special = |c| matches!(c, '\\' | ';' | ',' | ':' | '"');
            text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect::<String>()
        };
        let mode = if self.wpa3_only { "R:1;" } else { "" };
        format!("WIFI:T:WPA;{mode}S:{};P:{};;", escaped(&self.name), escaped(&self.passphrase))
    }
}

impl Sheet {
    /// The sheet of a box, or with no `own` of any machine. `addresses` are those where it can be reached, best first;
    /// a Wi-Fi whose address is not among them has no radio, and is left out. The page is listened for on `page_port`,
    /// SRT on `srt_port`.
    pub fn new(own: Option<Own>, addresses: impl IntoIterator<Item = IpAddr>, page_port: u16, srt_port: u16) -> Self {
        let is_box = own.is_some();
        let (host_name, wifi) = own.map_or((None, None), |own| (Some(own.host_name), own.wifi));
        let on_wifi = wifi.as_ref().map(|wifi| IpAddr::V4(wifi.address));
        let (on_air, addresses): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|ip| Some(*ip) == on_wifi);
        Self {
            host_name,
            wifi: wifi.filter(|_| !on_air.is_empty()),
            addresses: addresses.into_iter().filter(|ip| !ip.is_loopback()).collect(),
            // The firewall of the SD-card image leads port 80 to the page, whatever port that is on.
            page_port: if is_box { 80 } else { page_port },
            srt_port,
        }
    }

    /// The address of the page at a host.
    fn page_at(&self, host: &str) -> String {
        match self.page_port {
            80 => format!("http://{host}/"),
            port => format!("http://{host}:{port}/"),
        }
    }

    /// The page on the box's own Wi-Fi.
    fn page_on_wifi(&self) -> Option<String> {
        self.wifi.as_ref().map(|wifi| self.page_at(&wifi.address.to_string()))
    }

    /// The page on other networks, by number: old Androids do not know `.local` names. Best first.
    fn pages_on_networks(&self) -> Vec<String> {
        self.addresses.iter().map(|address| self.page_at(&in_url(*address))).collect()
    }

    /// The page by the box's own name. Not by [`SHARED_NAME`]: with two boxes on a network that may be the other's.
    fn page_by_name(&self) -> Option<String> {
        self.host_name.as_deref().map(|name| self.page_at(&format!("{name}.local")))
    }

    /// Where vMix sends to, best first. The box's own Wi-Fi is no place for it.
    fn feeds(&self) -> Vec<SocketAddr> {
        self.addresses.iter().map(|address| SocketAddr::new(*address, self.srt_port)).collect()
    }
}

fn in_url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn box_with_wifi() -> Sheet {
        let wifi = Wifi {
            name: "ReturnFeed 3F2A".into(),
            passphrase: "bkmqp-xrthw-dzcfg".into(),
            wpa3_only: false,
            address: [10, 88, 89, 1].into(),
        };
        let own = Own { host_name: "returnfeed-3f2a".into(), wifi: Some(wifi) };
        Sheet::new(Some(own), ["192.168.1.20", "fd00::20", "10.88.89.1"].map(|ip| ip.parse().unwrap()), 8889, 8890)
    }

    pub(super) fn some_machine() -> Sheet {
        Sheet::new(None, ["192.168.1.20", "127.0.0.1"].map(|ip| ip.parse().unwrap()), 8889, 8890)
    }

    #[test]
    fn a_phone_reads_how_to_join() {
        let wifi = box_with_wifi().wifi.unwrap();
        assert_eq!(wifi.to_join(), "WIFI:T:WPA;S:ReturnFeed 3F2A;P:bkmqp-xrthw-dzcfg;;");
        assert_eq!(
            Wifi { wpa3_only: true, ..wifi.clone() }.to_join(),
            "WIFI:T:WPA;R:1;S:ReturnFeed 3F2A;P:bkmqp-xrthw-dzcfg;;"
        );
        let odd = Wifi { name: r#"a;b:c,"d\"#.into(), passphrase: "p;:,\\\"q".into(), ..wifi };
        assert_eq!(odd.to_join(), r#"WIFI:T:WPA;S:a\;b\:c\,\"d\\;P:p\;\:\,\\\"q;;"#);
    }

    #[test]
    fn the_passphrase_is_not_in_what_is_logged() {
        let sheet = box_with_wifi();
        let own = Own { host_name: "returnfeed-3f2a".into(), wifi: sheet.wifi.clone() };
        for logged in [format!("{sheet:?}"), format!("{own:#?}")] {
            assert!(logged.contains("ReturnFeed 3F2A") && !logged.contains("bkmqp"), "{logged}");
        }
    }

    #[test]
    fn a_wifi_without_a_radio_is_left_out() {
        let own = |sheet: Sheet| Own { host_name: sheet.host_name.unwrap(), wifi: sheet.wifi };
        let sheet = Sheet::new(Some(own(box_with_wifi())), [[192, 168, 1, 20].into()], 8889, 8890);
        assert_eq!((sheet.wifi, sheet.addresses.len()), (None, 1));
    }

    #[test]
    fn the_port_is_written_where_a_browser_needs_it() {
        assert_eq!(box_with_wifi().pages_on_networks(), ["http://192.168.1.20/", "http://[fd00::20]/"]);
        assert_eq!(box_with_wifi().page_by_name().unwrap(), "http://returnfeed-3f2a.local/");
        assert_eq!(box_with_wifi().page_on_wifi().unwrap(), "http://10.88.89.1/");
        assert_eq!(some_machine().pages_on_networks()[0], "http://192.168.1.20:8889/");
        assert_eq!(some_machine().page_by_name(), None);
    }
}
