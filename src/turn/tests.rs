//! A TURN client's messages, as the tests of this room make and read them.

use std::net::SocketAddr;

use rtc_stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_ERROR_CODE, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_TRANSPORT,
    ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS, AttrType,
};
use rtc_stun::crypto::default_provider;
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::*;
use rtc_stun::xoraddr::XorMappedAddress;

use super::credentials::Login;

pub(super) const ALLOCATE: Method = METHOD_ALLOCATE;
pub(super) const REFRESH: Method = METHOD_REFRESH;
pub(super) const PERMIT: Method = METHOD_CREATE_PERMISSION;
pub(super) const BIND: Method = METHOD_CHANNEL_BIND;

/// Writes messages with a login and the nonce last told.
pub(super) struct Talker {
    pub(super) username: String,
    pub(super) password: String,
    pub(super) realm: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    pub(super) transaction: u8,
}

/// An attribute and its value.
pub(super) type Part = (AttrType, Vec<u8>);

pub(super) fn udp() -> Part {
    (ATTR_REQUESTED_TRANSPORT, vec![17, 0, 0, 0])
}

pub(super) fn lifetime(seconds: u32) -> Part {
    (ATTR_LIFETIME, seconds.to_be_bytes().to_vec())
}

pub(super) fn channel(number: u16) -> Part {
    (ATTR_CHANNEL_NUMBER, [number.to_be_bytes(), [0, 0]].concat())
}

/// Addresses are written for transactions of the talker's form.
pub(super) fn peer(talker: &Talker, address: &str) -> Part {
    let address: SocketAddr = address.parse().unwrap();
    let mut message = Message::new();
    message.transaction_id = talker.next();
    XorMappedAddress { ip: address.ip(), port: address.port() }.add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS).unwrap();
    (ATTR_XOR_PEER_ADDRESS, message.get(ATTR_XOR_PEER_ADDRESS).unwrap())
}

impl Talker {
    pub(super) fn new(login: &Login) -> Self {
        let (username, password) = (login.username.clone(), login.password.clone());
        Self { username, password, realm: Vec::new(), nonce: Vec::new(), transaction: 0 }
    }

    fn next(&self) -> TransactionId {
        TransactionId([self.transaction; 12])
    }

    fn begin(&self, typ: MessageType, parts: &[Part]) -> Message {
        let mut message = Message::new();
        message.typ = typ;
        message.transaction_id = self.next();
        message.write_header();
        parts.iter().for_each(|(kind, value)| message.add(*kind, value));
        message
    }

    /// Without credentials.
    pub(super) fn bare(&self, method: Method, parts: &[Part]) -> Vec<u8> {
        self.begin(MessageType::new(method, CLASS_REQUEST), parts).raw
    }

    /// With credentials.
    pub(super) fn request(&self, method: Method, parts: &[Part]) -> Vec<u8> {
        let mut message = self.begin(MessageType::new(method, CLASS_REQUEST), parts);
        message.add(ATTR_USERNAME, self.username.as_bytes());
        message.add(ATTR_REALM, &self.realm);
        message.add(ATTR_NONCE, &self.nonce);
        let realm = String::from_utf8(self.realm.clone()).unwrap();
        let (username, password) = (self.username.clone(), self.password.clone());
        let crypto = default_provider().unwrap();
        let integrity =
            MessageIntegrity::new_long_term_integrity_with_provider(username, realm, password, crypto.crypto());
        integrity.unwrap().add_to(&mut message).unwrap();
        message.raw
    }

    pub(super) fn send(&self, to: &str, data: &[u8]) -> Vec<u8> {
        let parts = [peer(self, to), (ATTR_DATA, data.to_vec())];
        self.begin(MessageType::new(METHOD_SEND, CLASS_INDICATION), &parts).raw
    }

    /// Takes realm and nonce out of a refusal.
    pub(super) fn learn(&mut self, refusal: &[u8]) {
        let refusal = read(refusal);
        self.realm = refusal.get(ATTR_REALM).unwrap();
        self.nonce = refusal.get(ATTR_NONCE).unwrap();
    }
}

pub(super) fn read(bytes: &[u8]) -> Message {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).unwrap();
    message
}

/// 200 for a success, else the error code.
pub(super) fn code(answer: &[u8]) -> u16 {
    let message = read(answer);
    if message.typ.class == CLASS_SUCCESS_RESPONSE {
        return 200;
    }
    assert!(message.contains(ATTR_ERROR_CODE));
    let mut error = ErrorCodeAttribute::default();
    error.get_from(&message).unwrap();
    error.code.0
}

pub(super) fn number(answer: &[u8], kind: AttrType) -> u32 {
    u32::from_be_bytes(read(answer).get(kind).unwrap().try_into().unwrap())
}

pub(super) fn address(message: &Message, kind: AttrType) -> SocketAddr {
    let mut address = XorMappedAddress::default();
    address.get_from_as(message, kind).unwrap();
    SocketAddr::new(address.ip, address.port)
}

pub(super) fn relayed(answer: &[u8]) -> SocketAddr {
    address(&read(answer), ATTR_XOR_RELAYED_ADDRESS)
}
