//! TURN's messages as they stand on the wire (RFC 8489 §5, RFC 8656 §17 and §18).

use std::net::{IpAddr, SocketAddr};

use rtc_stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_FINGERPRINT, ATTR_LIFETIME, ATTR_MESSAGE_INTEGRITY, ATTR_NONCE, ATTR_REALM,
    ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS, AttrType,
};
use rtc_stun::crypto::RTCCrypto;
use rtc_stun::error_code::{ErrorCode, ErrorCodeAttribute};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE,
    METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_DATA, METHOD_REFRESH, METHOD_SEND, Message, MessageClass,
    MessageType, Setter, TransactionId,
};
use rtc_stun::xoraddr::XorMappedAddress;

use super::framing::LONGEST;
use crate::webrtc::contained::contained;

/// Attribute types below this must be understood (RFC 8489 §14).
const FIRST_OPTIONAL: u16 = 0x8000;
const KNOWN: [AttrType; 10] = [
    ATTR_CHANNEL_NUMBER,
    ATTR_DATA,
    ATTR_LIFETIME,
    ATTR_NONCE,
    ATTR_REALM,
    ATTR_REQUESTED_ADDRESS_FAMILY,
    ATTR_REQUESTED_TRANSPORT,
    ATTR_USERNAME,
    ATTR_XOR_PEER_ADDRESS,
    ATTR_FINGERPRINT,
];

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Allocate,
    Refresh,
    CreatePermission,
    ChannelBind,
    /// An indication: never answered.
    Send,
}

/// A message that was read and not yet believed.
pub(super) struct Request {
    message: Message,
    pub(super) wish: Wish,
}

impl Request {
    /// Reads a message of those a client may send.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let stated = bytes.get(2..4).and_then(|len| len.try_into().ok()).map(u16::from_be_bytes)?;
        if bytes.len() > LONGEST || usize::from(stated) + 20 != bytes.len() {
            return None;
        }
        let message = contained(|| {
            let mut message = Message::new();
            message.unmarshal_binary(bytes).map(|()| message)
        })?
        .ok()?;
        let wishes = [
            (METHOD_ALLOCATE, CLASS_REQUEST, Wish::Allocate),
            (METHOD_REFRESH, CLASS_REQUEST, Wish::Refresh),
            (METHOD_CREATE_PERMISSION, CLASS_REQUEST, Wish::CreatePermission),
            (METHOD_CHANNEL_BIND, CLASS_REQUEST, Wish::ChannelBind),
            (METHOD_SEND, CLASS_INDICATION, Wish::Send),
        ];
        let typ = message.typ;
        let (_, _, wish) = wishes.into_iter().find(|(method, class, _)| typ == MessageType::new(*method, *class))?;
        let has_fingerprint = message.attributes.0.iter().any(|attribute| attribute.typ == ATTR_FINGERPRINT);
        if has_fingerprint && contained(|| FINGERPRINT.check(&message)).is_none_or(|checked| checked.is_err()) {
            return None;
        }
        Some(Self { message, wish })
    }

    pub(super) fn transaction(&self) -> TransactionId {
        self.message.transaction_id
    }

    pub(super) fn has_integrity(&self) -> bool {
        self.message.attributes.0.iter().any(|attribute| attribute.typ == ATTR_MESSAGE_INTEGRITY)
    }

    pub(super) fn is_authentic(&mut self, key: &[u8], crypto: &dyn RTCCrypto) -> bool {
        let message = &mut self.message;
        contained(|| MessageIntegrity::check(message, key, crypto)).is_some_and(|checked| checked.is_ok())
    }

    /// Attributes that count: those before the integrity check (RFC 8489 §14.5).
    fn covered(&self) -> impl Iterator<Item = (AttrType, &[u8])> {
        let attributes = self.message.attributes.0.iter();
        attributes.take_while(|a| a.typ != ATTR_MESSAGE_INTEGRITY).map(|a| (a.typ, a.value.as_slice()))
    }

    pub(super) fn value(&self, kind: AttrType) -> Option<&[u8]> {
        self.covered().find(|(typ, _)| *typ == kind).map(|(_, value)| value)
    }

    pub(super) fn text(&self, kind: AttrType) -> Option<&str> {
        std::str::from_utf8(self.value(kind)?).ok()
    }

    /// The value of an attribute of 32 bits.
    pub(super) fn number(&self, kind: AttrType) -> Option<u32> {
        Some(u32::from_be_bytes(self.value(kind)?.try_into().ok()?))
    }

    /// Every XOR-PEER-ADDRESS; `None` for one that cannot be read.
    pub(super) fn peers(&self) -> impl Iterator<Item = Option<SocketAddr>> {
        let of_peers = self.covered().filter(|(typ, _)| *typ == ATTR_XOR_PEER_ADDRESS);
        of_peers.map(|(_, value)| read_xor_address(value, &self.message.transaction_id))
    }

    pub(super) fn not_understood(&self) -> Vec<AttrType> {
        self.covered().map(|(typ, _)| typ).filter(|typ| typ.0 < FIRST_OPTIONAL && !KNOWN.contains(typ)).collect()
    }

    /// The answer to an Allocate request of which only its transaction is left.
    pub(super) fn answer_allocate(
        transaction: TransactionId,
        result: Result<&[&dyn Setter], ErrorCode>,
        integrity: &MessageIntegrity<'_>,
    ) -> Vec<u8> {
        let mut message = Message::new();
        message.typ = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
        message.transaction_id = transaction;
        let request = Self { message, wish: Wish::Allocate };
        match result {
            Ok(parts) => request.success(integrity, parts),
            Err(code) => request.error(code, Some(integrity), &[]),
        }
    }

    pub(super) fn success(&self, integrity: &MessageIntegrity<'_>, parts: &[&dyn Setter]) -> Vec<u8> {
        self.answer(CLASS_SUCCESS_RESPONSE, Some(integrity), parts)
    }

    /// Without words: who reads them would have to be sent more than was asked.
    pub(super) fn error(
        &self,
        code: ErrorCode,
        integrity: Option<&MessageIntegrity<'_>>,
        parts: &[&dyn Setter],
    ) -> Vec<u8> {
        let code = ErrorCodeAttribute { code, reason: Vec::new() };
        let parts: Vec<&dyn Setter> = [&code as &dyn Setter].into_iter().chain(parts.iter().copied()).collect();
        self.answer(CLASS_ERROR_RESPONSE, integrity, &parts)
    }

    fn answer(&self, class: MessageClass, integrity: Option<&MessageIntegrity<'_>>, parts: &[&dyn Setter]) -> Vec<u8> {
        let mut answer = begin(MessageType::new(self.message.typ.method, class), self.message.transaction_id);
        let integrity = integrity.map(|integrity| integrity as &dyn Setter);
        for part in parts.iter().copied().chain(integrity) {
            if part.add_to(&mut answer).is_err() {
                return Vec::new();
            }
        }
        answer.raw
    }
}

fn begin(typ: MessageType, transaction: TransactionId) -> Message {
    let mut message = Message::new();
    message.typ = typ;
    message.transaction_id = transaction;
    message.write_header();
    message
}

/// An address in an attribute of that type.
pub(super) struct Address(pub(super) AttrType, pub(super) SocketAddr);

impl Setter for Address {
    fn add_to(&self, message: &mut Message) -> rtc_shared::error::Result<()> {
        XorMappedAddress { ip: self.1.ip(), port: self.1.port() }.add_to_as(message, self.0)
    }
}

/// Bytes in an attribute of that type.
pub(super) struct Value<'v>(pub(super) AttrType, pub(super) &'v [u8]);

impl Setter for Value<'_> {
    fn add_to(&self, message: &mut Message) -> rtc_shared::error::Result<()> {
        message.add(self.0, self.1);
        Ok(())
    }
}

/// What a peer sent, to a client without a channel for it (RFC 8656 §11.4).
pub(super) fn data_indication(transaction: TransactionId, peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut message = begin(MessageType::new(METHOD_DATA, CLASS_INDICATION), transaction);
    let added = Address(ATTR_XOR_PEER_ADDRESS, peer).add_to(&mut message);
    message.add(ATTR_DATA, data);
    added.map(|()| message.raw).unwrap_or_default()
}

/// RFC 8489 §14.2.
fn read_xor_address(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let (&[_, family, high, low], address) = value.split_first_chunk()?;
    let mask = [&[0x21, 0x12, 0xa4, 0x42][..], &transaction.0].concat();
    let port = u16::from_be_bytes([high ^ 0x21, low ^ 0x12]);
    let plain: Vec<u8> = address.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect();
    let ip = match (family, address.len()) {
        (1, 4) => IpAddr::from(<[u8; 4]>::try_from(plain).ok()?),
        (2, 16) => IpAddr::from(<[u8; 16]>::try_from(plain).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_read_as_it_was_written(ip: IpAddr, port: u16, transaction: [u8; 12]) {
            let mut message = begin(MessageType::new(METHOD_SEND, CLASS_INDICATION), TransactionId(transaction));
            Address(ATTR_XOR_PEER_ADDRESS, SocketAddr::new(ip, port)).add_to(&mut message).unwrap();
            let request = Request::read(&message.raw).unwrap();
            prop_assert_eq!(request.peers().collect::<Vec<_>>(), [Some(SocketAddr::new(ip, port))]);
        }
    }
}
