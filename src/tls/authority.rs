//! The box's own certificate authority: made once, on the first start, and kept for the life of the box.

use std::fmt::Write as _;
use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use ipnet::IpNet;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, date_time_ymd,
};
use time::OffsetDateTime;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::dates::Validity;
use super::issued::Issued;

/// Domains it may speak for, beside the box's host name.
const DOMAINS: [&str; 2] = ["local", "localhost"];

/// Networks it may speak for, beside the public addresses that the box has when it is made: those that are nobody's site
/// on the internet (RFC 1918, RFC 3927, RFC 6598, RFC 4193, RFC 4291 §2.5.6, loopback).
const NETWORKS: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];

/// Of a public IPv6 address its link, in which the box draws new ones.
const LINK: u8 = 64;

/// What people are asked to trust. Nothing in it is secret. Cheap enough to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The name under which a phone lists it.
    pub name: String,
    /// Its certificate (X.509, DER).
    pub der: Vec<u8>,
    /// The same as PEM (RFC 7468).
    pub pem: String,
}

impl Authority {
    /// SHA-256 over the certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &self.der).as_ref());
        fingerprint
    }
}

/// The authority with its key.
pub(super) struct Signer {
    authority: Authority,
    /// The host name it may speak for.
    host: String,
    /// The networks it may speak for.
    networks: Vec<IpNet>,
    issuer: Issuer<'static, KeyPair>,
}

/// What the file begins with, before the PEM (text outside of it is a remark, RFC 7468 §2).
const HOST: &str = "host: ";
const FOR: &str = "networks: ";

impl Signer {
    /// A new one, for a box that is called `host` and has these addresses, and the text in which it is kept.
    pub(super) fn make(host: &str, addresses: &[IpAddr]) -> Result<(Self, String), rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // It says nothing about today: the box may not know. UTCTime ends with 2049 (RFC 5280 §4.1.2.5).
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2049, 12, 31));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial()?);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "ReturnFeed");
        params.distinguished_name.push(DnType::CommonName, format!("ReturnFeed {host}"));
        // Whoever steals the key can be this box, and not a bank.
        let domains = DOMAINS.into_iter().chain([host]).map(|domain| GeneralSubtree::DnsName(domain.to_owned()));
        let networks = networks(addresses);
        let subtree = |network: &IpNet| CidrSubnet::from_addr_prefix(network.network(), network.prefix_len());
        let addresses = networks.iter().map(|network| GeneralSubtree::IpAddress(subtree(network)));
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: domains.chain(addresses).collect(),
            excluded_subtrees: Vec::new(),
        });
        let listed: Vec<_> = networks.iter().map(ToString::to_string).collect();
        let head = format!("{HOST}{host}\n{FOR}{}\n", listed.join(" "));
        let kept = format!("{head}{}{}", params.self_signed(&key)?.pem(), key.serialize_pem());
        Ok((Self::read(&kept)?, kept))
    }

    /// The one that is kept in `text`.
    pub(super) fn read(text: &str) -> Result<Self, rcgen::Error> {
        let unreadable = || rcgen::Error::CouldNotParseCertificate;
        let host = text.lines().find_map(|line| line.strip_prefix(HOST)).ok_or_else(unreadable)?.to_owned();
        // One that says nothing of networks was made for all addresses.
        let networks = match text.lines().find_map(|line| line.strip_prefix(FOR)) {
            Some(listed) => listed.split(' ').filter_map(|network| network.parse().ok()).collect(),
            None => ["0.0.0.0/0", "::/0"].iter().filter_map(|network| network.parse().ok()).collect(),
        };
        let der = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| unreadable())?;
        let key = text.find("-----BEGIN PRIVATE KEY-----").and_then(|at| text.get(at..)).ok_or_else(unreadable)?;
        let issuer = Issuer::from_ca_cert_der(&der, KeyPair::from_pem(key)?)?;
        let pem = pem("CERTIFICATE", &der);
        let authority = Authority { name: format!("ReturnFeed {host}"), der: der.to_vec(), pem };
        Ok(Self { authority, host, networks, issuer })
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether a certificate of this one may name it. A phone refuses the whole certificate for one name too many.
    pub(super) fn may_name(&self, name: &str) -> bool {
        let ends = |domain: &str| name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        match name.parse::<IpAddr>() {
            Ok(address) => self.networks.iter().any(|network| network.contains(&address)),
            Err(_) => DOMAINS.iter().any(|domain| ends(domain)) || ends(&self.host),
        }
    }

    /// A certificate for `names`, each a host name or an address, and its key.
    pub(super) fn issue(&self, names: &[String], validity: Validity) -> Result<Issued, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) =
            (OffsetDateTime::from(validity.begins), OffsetDateTime::from(validity.ends));
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse::<IpAddr>() {
                Ok(address) => Ok(SanType::IpAddress(address)),
                Err(_) => Ok(SanType::DnsName(name.as_str().try_into()?)),
            })
            .collect::<Result<_, rcgen::Error>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Without it, iOS and macOS take no certificate.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // NSS takes no two certificates of one number.
        params.serial_number = Some(serial()?);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.host.as_str());
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            by: hexadecimal(&self.authority.fingerprint()),
            names: names.to_vec(),
            validity,
            pem: format!("{}{}", certificate.pem(), key.serialize_pem()),
        })
    }
}

/// The networks that the authority of a box with these addresses may speak for.
fn networks(addresses: &[IpAddr]) -> Vec<IpNet> {
    let mut networks: Vec<IpNet> = NETWORKS.iter().filter_map(|network| network.parse().ok()).collect();
    for address in addresses.iter().map(IpAddr::to_canonical) {
        let prefix = if address.is_ipv4() { 32 } else { LINK };
        if let Ok(network) = IpNet::new(address, prefix)
            && !networks.iter().any(|known| known.contains(&address))
        {
            networks.push(network.trunc());
        }
    }
    networks
}

/// RFC 5280 §4.1.2.2: positive, and at most 20 bytes.
fn serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// RFC 7468 §2.
fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
