//! How viewers are relayed: the TURN servers, with a login for each who asks.
//!
//! Owns: which addresses are named, as WHEP's `Link` headers (RFC 9725 §4.6) and as JSON for the page, which needs them
//! before it offers. Does not own: the relay and its credentials (`turn`).

use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::IntoResponse;
use serde::Serialize;

use super::{Handles, Named, Refused, turn, whep};

/// Hosts that are named; a browser tries all of them, each over UDP, TCP and TLS.
const MOST_HOSTS: usize = 3;
const TRANSPORTS: [&str; 2] = ["udp", "tcp"];
const LONGEST_HOST: usize = 253;

/// How viewers are relayed.
#[derive(Clone, Debug)]
pub struct Ice {
    /// Makes their logins.
    pub credentials: turn::Credentials,
    /// Where the relay listens, by UDP and TCP.
    pub listen: SocketAddr,
    /// The TCP port on which it is reached over TLS; `None`: none.
    pub tls: Option<u16>,
    /// Addresses of a router that forwards its port.
    pub public_addresses: Vec<IpAddr>,
}

/// As `RTCConfiguration` has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Servers {
    ice_servers: Vec<Server>,
    /// For how long they may be used to begin a session.
    #[serde(rename = "holds_s")]
    holds_s: u64,
}

#[derive(Debug, Serialize)]
struct Server {
    urls: Vec<String>,
    username: String,
    credential: String,
}

/// GET: a login, and where to use it.
pub(super) async fn servers(
    State(handles): State<Handles>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Refused> {
    let mut servers = Servers { ice_servers: Vec::new(), holds_s: turn::credentials::HOLDS.as_secs() };
    if let Some(ice) = &handles.ice {
        let turn::Login { username, password: credential, holds } = login(&handles, ice)?;
        servers.holds_s = holds.as_secs();
        servers.ice_servers.push(Server { urls: urls(&handles, ice, &uri, &headers), username, credential });
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(servers)))
}

/// The same beside a stream's endpoint, for pages behind proxies that forward nothing else.
pub(super) async fn servers_of_stream(
    Named(_): Named,
    handles: State<Handles>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Refused> {
    servers(handles, uri, headers).await
}

/// The `Link` headers of a WHEP answer; none where viewers are not relayed.
pub(super) fn links(
    handles: &Handles,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Vec<(HeaderName, HeaderValue)>, Refused> {
    let Some(ice) = &handles.ice else { return Ok(Vec::new()) };
    let turn::Login { username, password, .. } = login(handles, ice)?;
    let link = |url: String| {
        let link = format!(
            "<{url}>; rel=\"ice-server\"; username=\"{username}\"; credential=\"{password}\"; \
             credential-type=\"password\""
        );
        HeaderValue::from_str(&link).ok().map(|mut value| {
            value.set_sensitive(true);
            (header::LINK, value)
        })
    };
    Ok(urls(handles, ice, uri, headers).into_iter().filter_map(link).collect())
}

fn login(handles: &Handles, ice: &Ice) -> Result<turn::Login, Refused> {
    Ok(ice.credentials.mint(handles.clock.now(), &whep::random_name::<8>()?))
}

/// RFC 7065 §3.1, for every host the viewer may reach the box at, by every transport.
fn urls(handles: &Handles, ice: &Ice, uri: &Uri, headers: &HeaderMap) -> Vec<String> {
    let port = ice.listen.port();
    let own: Vec<IpAddr> = (handles.reachable)(ice.listen).into_iter().map(|address| address.ip()).collect();
    let mut hosts = Vec::new();
    match asked_host(uri, headers) {
        // It was reached there, so that is enough.
        Some(host) if own.iter().chain(&ice.public_addresses).any(|ip| bracketed(*ip) == host) => hosts.push(host),
        host => {
            let (best, further) = own.split_at(own.len().min(1));
            let others = best.iter().chain(&ice.public_addresses).chain(further).map(|ip| bracketed(*ip));
            for host in host.into_iter().chain(others) {
                if !hosts.contains(&host) && hosts.len() < MOST_HOSTS {
                    hosts.push(host);
                }
            }
        }
    }
    let of_host = |host: &String| {
        let plain = TRANSPORTS.map(|transport| format!("turn:{host}:{port}?transport={transport}"));
        let tls = ice.tls.map(|port| format!("turns:{host}:{port}?transport=tcp"));
        plain.into_iter().chain(tls)
    };
    hosts.iter().flat_map(of_host).collect()
}

/// The host by which the viewer calls the box, when it is one that can be named in an address.
pub(super) fn asked_host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    asked(uri, headers).map(|(host, _)| host)
}

/// The same with its port, if one was named: as it stands in an address.
pub(super) fn asked_authority(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let (host, port) = asked(uri, headers)?;
    Some(port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
}

fn asked(uri: &Uri, headers: &HeaderMap) -> Option<(String, Option<u16>)> {
    let given = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = given.or_else(|| uri.authority().map(|authority| authority.as_str()))?;
    let authority: axum::http::uri::Authority = authority.parse().ok()?;
    let (host, port) = (authority.host(), authority.port_u16());
    if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some((bracketed(ip), port));
    }
    let is_name = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    let fits = (1..=LONGEST_HOST).contains(&host.len()) && host.bytes().all(is_name);
    fits.then(|| (host.to_ascii_lowercase(), port))
}

fn bracketed(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
        asked_host(&Uri::from_static("/pgm/whep"), &headers)
    }

    #[test]
    fn only_what_can_be_a_host_is_named_as_one() {
        for (host, named) in [
            ("192.168.1.20:8889", Some("192.168.1.20")),
            ("[fd00::20]:8889", Some("[fd00::20]")),
            ("ReturnFeed-3F2A.local", Some("returnfeed-3f2a.local")),
            ("a>; rel=\"x\"", None),
            ("a\"b", None),
            ("", None),
        ] {
            assert_eq!(asked(host).as_deref(), named, "{host}");
        }
    }
}
