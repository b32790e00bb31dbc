//! Kinds of values, and what is wrong with one that is none.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use std::path::PathBuf;

use ipnet::IpNet;
use toml::de::DeValue;

use super::super::values::{is_host_name, shown};
use super::super::{InputRef, InvalidPassphrase, Ipv4Network, LONGEST_NAME, Passphrase, VmixHost};
use super::{Fault, schema};

pub(super) fn wrong_type(key: &str, wanted: &str, value: &DeValue<'_>, example: &str) -> Fault {
    let is = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a decimal point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    };
    Fault::new(format!("`{key}` must be {wanted}, but is {is}"), format!("write it as `{key} = {example}`"))
}

pub(super) fn text<'v>(key: &str, value: &'v DeValue<'_>, example: &str) -> Result<&'v str, Fault> {
    value.as_str().ok_or_else(|| wrong_type(key, "a text in quotes", value, example))
}

/// A whole number, however large it is written.
pub(super) fn whole(value: &DeValue<'_>) -> Option<Result<i64, ()>> {
    let number = value.as_integer()?;
    Some(i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| ()))
}

pub(super) fn integer(
    key: &str,
    value: &DeValue<'_>,
    range: std::ops::RangeInclusive<i64>,
    example: &str,
) -> Result<i64, Fault> {
    match whole(value) {
        None => Err(wrong_type(key, "a whole number", value, example)),
        Some(Ok(number)) if range.contains(&number) => Ok(number),
        Some(_) => Err(Fault::new(
            format!("`{key}` must be {} to {}", range.start(), range.end()),
            format!("write it as `{key} = {example}`"),
        )),
    }
}

pub(super) fn boolean(key: &str, value: &DeValue<'_>, example: &str) -> Result<bool, Fault> {
    value.as_bool().ok_or_else(|| wrong_type(key, "true or false", value, example))
}

/// One of a few words, such as `example`.
pub(super) fn one_of<T, const N: usize>(
    key: &str,
    value: &DeValue<'_>,
    words: [(&'static str, T); N],
    example: &str,
) -> Result<T, Fault> {
    let names = words.each_ref().map(|(name, _)| *name);
    let word = text(key, value, &format!("\"{example}\""))?;
    words.into_iter().find(|(name, _)| *name == word).map(|(_, meant)| meant).ok_or_else(|| {
        Fault::new(
            format!("`{key}` cannot be \"{}\"", shown(word)),
            match schema::nearest(word, names) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write one of {}", names.join(", ")),
            },
        )
    })
}

pub(super) fn port(key: &str, value: &DeValue<'_>, example: &str) -> Result<u16, Fault> {
    integer(key, value, 1..=i64::from(u16::MAX), example).map(|port| u16::try_from(port).unwrap_or_default())
}

pub(super) fn small(key: &str, value: &DeValue<'_>, most: u8) -> Result<u8, Fault> {
    match whole(value) {
        Some(Ok(number)) if (1..=i64::from(most)).contains(&number) => Ok(u8::try_from(number).unwrap_or_default()),
        _ => Err(Fault::new(format!("`{key}` holds numbers from 1 to {most}"), format!("write it as `{key} = [1]`"))),
    }
}

pub(super) fn passphrase(value: &DeValue<'_>) -> Result<Passphrase, Fault> {
    text("passphrase", value, "\"…\"")?.parse().map_err(|error: InvalidPassphrase| {
        Fault::new(error.to_string(), "choose one of that length, and enter the same in vMix")
    })
}

pub(super) fn listen_address(key: &str, value: &DeValue<'_>, example: &str) -> Result<SocketAddr, Fault> {
    let wanted = "an address and a port in quotes";
    let text = value.as_str().ok_or_else(|| wrong_type(key, wanted, value, example))?;
    let remedy =
        format!("write an IP address and a port, as in `{key} = {example}`; `[::]` means every IPv6 and IPv4 address");
    let address: SocketAddr = text
        .parse()
        .map_err(|_| Fault::new(format!("`{}` is no address to listen on", shown(text)), remedy.clone()))?;
    if address.ip().to_canonical().is_multicast() {
        return Err(Fault::new(format!("`{}` is a multicast address", shown(text)), remedy));
    }
    Ok(address)
}

pub(super) fn public_address(value: &DeValue<'_>) -> Result<IpAddr, Fault> {
    const REMEDY: &str = "write the router's outer IP address, as in `public_addresses = [\"203.0.113.7\"]`; the port is that of `listen`";
    let text = value.as_str().ok_or_else(|| Fault::new("`public_addresses` holds texts in quotes", REMEDY))?;
    match text.parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() && !address.is_multicast() && !is_broadcast(address) => Ok(address),
        _ => Err(Fault::new(format!("`{}` is no IP address that a browser could reach", shown(text)), REMEDY)),
    }
}

/// An address, or a network as `10.0.0.0/8`.
pub(super) fn network(key: &str, value: &DeValue<'_>) -> Result<IpNet, Fault> {
    let remedy = format!("write addresses or networks, as in `{key} = [\"192.168.1.5\", \"10.0.0.0/8\"]`");
    let Some(text) = value.as_str() else { return Err(Fault::new(format!("`{key}` holds texts in quotes"), remedy)) };
    let parsed = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical())).or_else(|_| text.parse());
    let network: IpNet =
        parsed.map_err(|_| Fault::new(format!("`{}` is no address and no network", shown(text)), remedy.clone()))?;
    if network.prefix_len() == 0 {
        return Err(Fault::new(format!("`{}` is everybody", shown(text)), remedy));
    }
    Ok(network.trunc())
}

/// A file by its whole path.
pub(super) fn file(key: &str, value: &DeValue<'_>, example: &str) -> Result<PathBuf, Fault> {
    let path = PathBuf::from(text(key, value, &format!("\"{example}\""))?);
    if !path.is_absolute() {
        let remedy = format!("write it as `{key} = \"{example}\"`");
        return Err(Fault::new(format!("`{}` does not begin with /", shown(&path.to_string_lossy())), remedy));
    }
    Ok(path)
}

pub(super) fn own_address(value: &DeValue<'_>) -> Result<Ipv4Network, Fault> {
    let text = text("address", value, "\"192.168.1.20/24\"")?;
    Ipv4Network::parse(text).ok_or_else(|| {
        let remedy = "write an IPv4 address and the length of its network, as in `address = \"192.168.1.20/24\"`; /24 is the \
                      mask 255.255.255.0";
        Fault::new(format!("`{}` is no address that a box can have", shown(text)), remedy)
    })
}

pub(super) fn gateway(value: &DeValue<'_>) -> Result<Ipv4Addr, Fault> {
    let text = text("gateway", value, "\"192.168.1.1\"")?;
    text.parse().map_err(|_| {
        let remedy = "write the router's IPv4 address, as in `gateway = \"192.168.1.1\"`";
        Fault::new(format!("`{}` is no IPv4 address", shown(text)), remedy)
    })
}

pub(super) fn name_server(value: &DeValue<'_>) -> Result<IpAddr, Fault> {
    const REMEDY: &str = "write IP addresses, as in `dns = [\"192.168.1.1\"]`";
    let text = value.as_str().ok_or_else(|| Fault::new("`dns` holds texts in quotes", REMEDY))?;
    text.parse().map_err(|_| Fault::new(format!("`{}` is no IP address", shown(text)), REMEDY))
}

pub(super) fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_broadcast())
}

pub(super) fn vmix_host(value: &DeValue<'_>) -> Result<VmixHost, Fault> {
    let host = text("host", value, "\"auto\"")?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let remedy = "write \"auto\" for the address that sends the SRT feed, or vMix's IP address or computer name";
    if host.eq_ignore_ascii_case("auto") {
        return Ok(VmixHost::Auto);
    }
    match bare.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() => {}
        Ok(address) => return Ok(VmixHost::Named(address.to_string())),
        Err(_) if is_host_name(host) => return Ok(VmixHost::Named(host.into())),
        Err(_) => {}
    }
    let has_port = host.parse::<SocketAddr>().is_ok()
        || host.split_once(':').is_some_and(|(name, port)| is_host_name(name) && port.parse::<u16>().is_ok());
    if has_port {
        return Err(Fault::new("`host` has no port", "leave it out here, and use `tcp_port` and `http_port`"));
    }
    Err(Fault::new(format!("`{}` is no address of vMix", shown(host)), remedy))
}

pub(super) fn camera_name(value: &DeValue<'_>) -> Result<String, Fault> {
    name("camera", value)
}

/// What people call something of this kind.
pub(super) fn name(kind: &str, value: &DeValue<'_>) -> Result<String, Fault> {
    let name = text("name", value, "\"Camera 1\"")?;
    let remedy = "write a name such as \"Camera 1\"";
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(Fault::new(format!("a {kind}'s name has 1 to {LONGEST_NAME} characters"), remedy));
    }
    if name.trim() != name || name.chars().any(char::is_control) {
        let what = format!("a {kind}'s name neither starts nor ends with a space, and has no line break or tab");
        return Err(Fault::new(what, remedy));
    }
    Ok(name.into())
}

/// One of vMix's inputs, as the key's `example` names some.
pub(super) fn input(key: &str, value: &DeValue<'_>, example: &str) -> Result<InputRef, Fault> {
    const HIGHEST: i64 = 10_000;
    let remedy = format!("name an input by its number, its key or its title, as in `{key} = {example}`");
    match (value.as_str(), whole(value)) {
        (Some(text), _) if text.trim().is_empty() => Err(Fault::new("an input's key or title is empty", remedy)),
        (Some(text), _) => Ok(InputRef::Text(text.into())),
        (None, Some(Ok(number))) if (1..=HIGHEST).contains(&number) => {
            Ok(InputRef::Number(u32::try_from(number).unwrap_or_default()))
        }
        (None, Some(_)) => Err(Fault::new(format!("vMix numbers its inputs from 1 (to {HIGHEST} at most)"), remedy)),
        (None, None) => Err(Fault::new(format!("`{key}` holds numbers and texts"), remedy)),
    }
}
