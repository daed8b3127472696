//! DNSSEC: signatures that are made as answers are, since answers differ by client and by the moment.
//!
//! One key a zone signs everything, with ECDSA on P-256 (algorithm 13). Formats and cryptography are hickory's and ring's. That there is nothing is
//! proved by one record about the name that was asked for (RFC 9824). What is not here: the time, which comes with each question.

mod budget;
mod cache;
mod key;
mod proof;
mod signer;
mod validity;

pub use key::{KeyError, MAX_KEYS};
pub(crate) use proof::{Denial, NXNAME, nsec, prove};
pub(crate) use signer::SignError;
pub use signer::{Made, Signer};
