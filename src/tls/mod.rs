//! HTTPS's certificates: the box's own authority, the certificates it issues, those a person brings, and those for public
//! names.
//!
//! Owns: the authority's key and certificate, which names and addresses a certificate is for, when it is renewed, and
//! which one a client gets. Does not own: connections, nor how people come to trust the authority (`http`).
//! `docs/decisions/0010-dates-without-a-clock.md` has the rule for dates.

pub mod acme;
mod authority;
mod calendar;
mod dates;
mod issued;
mod keeper;
mod own;
mod served;

pub use acme::challenges::ACME_TLS;
pub use acme::{Acme, Public};
pub use authority::Authority;
pub use keeper::{Config, Keeper, NotKept};
