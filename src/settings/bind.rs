//! Why an address cannot be listened on, in words for the person who set it.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

/// Why `addr`, which the setting `key` (`http.listen`, …) names, could not be bound, and what to do.
/// [`super::Settings::describe_bind_error`] adds where the setting stands.
pub fn describe_bind_error(key: &str, addr: SocketAddr, error: &Error) -> String {
    let setting = match key.split_once('.') {
        Some((section, key)) => format!("[{section}] {key} = \"{addr}\""),
        None => format!("{key} = \"{addr}\""),
    };
    let port = addr.port();
    let reason = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "port {port} is in use by another program; `sudo ss -ltnup 'sport = :{port}'` shows which one: stop it, \
             or choose another port here"
        ),
        ErrorKind::PermissionDenied if port != 0 && port < 1024 => format!(
            "ports below 1024 are reserved; choose a port of 1024 or more, or allow it with \
             `sudo setcap cap_net_bind_service=+ep` on the program (under systemd: \
             AmbientCapabilities=CAP_NET_BIND_SERVICE), instead of running as root; port {port} was asked for"
        ),
        ErrorKind::PermissionDenied => {
            "the system does not allow it; check the service's sandbox and the system's security policy".into()
        }
        ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {}; `ip -brief address` shows those it has, and \"[::]:{port}\" takes them all",
            addr.ip()
        ),
        _ if error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32) && addr.is_ipv6() => {
            format!("IPv6 is switched off on this machine; write \"0.0.0.0:{port}\" to use IPv4 alone")
        }
        _ => format!("{error}; choose another address or port"),
    };
    format!("cannot listen on {setting}: {reason}")
}
