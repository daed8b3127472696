//! What makes an answer one that can be verified.
//!
//! Source: RFC 4035, section 3.1; RFC 9824 for what is not there.

use super::{SignError, Signer};
use crate::answer::{Answer, Question};
use crate::zone::Zone;
use hickory_proto::ProtoError;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use std::mem;

/// Says of a name that it is not there (RFC 9824, section 3.1). No record has this type.
pub(crate) const NXNAME: RecordType = RecordType::Unknown(128);

/// What is to be proved besides what is answered.
#[derive(Debug)]
pub(crate) struct Denial {
    /// The name.
    pub name: Name,
    /// The types that are there.
    pub kinds: Vec<RecordType>,
}

/// A record that says what types there are at a name, and nothing about any other name: the next one in the zone is said to be the one right behind it.
///
/// # Errors
/// When the name is so long that none comes right behind it.
pub(crate) fn nsec(zone: &Zone, name: &Name, kinds: Vec<RecordType>) -> Result<Record, ProtoError> {
    // In one case, since a validator takes it as it is, and resolvers change the case of what they ask.
    let next = name.to_lowercase().prepend_label([0_u8].as_slice())?;
    let data = RData::DNSSEC(DNSSECRData::NSEC(NSEC::new_cover_self(next, kinds)));
    Ok(Record::from_rdata(name.clone(), zone.negative_ttl(), data))
}

/// Adds signatures, and proofs of what is not there, to an answer from a signed zone.
///
/// # Errors
/// When something cannot be signed, or not now.
pub(crate) fn prove(
    (zone, signer): (&Zone, &Signer),
    question: Question<'_>,
    denial: Option<Denial>,
    answer: &mut Answer,
) -> Result<(), SignError> {
    let asked = question.kind == RecordType::RRSIG;
    if !question.dnssec_ok && !asked {
        return Ok(());
    }
    if let Some(Denial { name, kinds }) = denial {
        answer.authorities.push(nsec(zone, &name, kinds)?);
    }
    for section in [&mut answer.answers, &mut answer.authorities, &mut answer.additionals] {
        *section = signed((zone, signer), &mem::take(section), question)?;
    }
    if asked {
        answer.answers.retain(|record| record.record_type() == RecordType::RRSIG);
    }
    // The proof says that the name is there without records, unless one knows better.
    if answer.code == ResponseCode::NXDomain && !question.compact_ok {
        answer.code = ResponseCode::NoError;
    }
    Ok(())
}

/// Records with the signature of each set behind it.
fn signed(
    (zone, signer): (&Zone, &Signer),
    records: &[Record],
    question: Question<'_>,
) -> Result<Vec<Record>, SignError> {
    let mut all = Vec::with_capacity(2 * records.len());
    let together = |a: &Record, b: &Record| a.record_type() == b.record_type() && a.name == b.name;
    for set in records.chunk_by(together) {
        all.extend_from_slice(set);
        if let Some(first) = set.first()
            && zone.vouches_for(&LowerName::new(&first.name), first.record_type())
        {
            all.extend(signer.sign(set, question)?);
        }
    }
    Ok(all)
}
