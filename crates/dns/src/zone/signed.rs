//! What becomes of a zone that is signed.

use super::Zone;
use super::build::APEX_TTL;
use crate::dnssec::Signer;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder, NameEncoding};

/// Puts the zone's records into the form in which sets are signed, and its keys beside them.
pub(super) fn prepare(zone: &mut Zone, signer: &Signer) {
    for node in zone.nodes.values_mut() {
        node.sets.retain(|kind, _| !is_generated(*kind));
        node.sets.values_mut().for_each(make_canonical);
    }
    let origin = Name::from(&zone.origin);
    let (cds, cdnskey) = signer.wishes();
    let apex = zone.node(&origin);
    for (kind, set) in
        [(RecordType::DNSKEY, signer.keys()), (RecordType::CDS, cds), (RecordType::CDNSKEY, cdnskey)]
    {
        let record = |data: RData| Record::from_rdata(origin.clone(), APEX_TTL, data);
        apex.sets.insert(kind, set.into_iter().map(record).collect());
    }
}

/// Whether records of this type are made here, so that those which a file was left with are another signer's.
fn is_generated(kind: RecordType) -> bool {
    use RecordType::{CDNSKEY, CDS, DNSKEY, NSEC, NSEC3, NSEC3PARAM, RRSIG};
    matches!(kind, CDNSKEY | CDS | DNSKEY | NSEC | NSEC3 | NSEC3PARAM | RRSIG)
}

/// One TTL for all records of a set, none of them twice, and names in them in lower case where a signature has them so (RFC 4034, section 6):
/// the library sorts records as they are.
fn make_canonical(set: &mut Vec<Record>) {
    let ttl = set.iter().map(|record| record.ttl).min().unwrap_or_default();
    let mut canonical: Vec<Record> = Vec::with_capacity(set.len());
    for mut record in set.drain(..) {
        record.ttl = ttl;
        let record = lowered(&record).unwrap_or(record);
        if !canonical.contains(&record) {
            canonical.push(record);
        }
    }
    *set = canonical;
}

fn lowered(record: &Record) -> Option<Record> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    record.emit(&mut encoder).ok()?;
    Record::read(&mut BinDecoder::new(&bytes)).ok()
}
