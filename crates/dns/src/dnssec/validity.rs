//! When signatures are valid: rounded, so that one serves for a day.

use hickory_proto::rr::{Name, RecordType, SerialNumber};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How long one signature is answered with, in seconds.
const PERIOD: u64 = 24 * 60 * 60;
/// How far the clocks of validators may be behind, in seconds.
const BACKDATE: u64 = 60 * 60;
/// How long a signature lasts from the beginning of its period, in seconds: at its end it still has four days, in which resolvers may keep it.
const LIFETIME: u64 = 5 * PERIOD;

/// From when until when a signature is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub inception: SerialNumber,
    pub expiration: SerialNumber,
}

/// The validity of the signature of a set of records at `now_s`. Sets change at different moments, so that not all are signed anew at once.
pub(super) fn validity(name: &Name, kind: RecordType, now_s: u64) -> Validity {
    let name: Vec<u8> = name.iter().flatten().map(u8::to_ascii_lowercase).collect();
    let moment = xxh3_64_with_seed(&name, u64::from(u16::from(kind))) % PERIOD;
    let begin = now_s.saturating_sub((now_s + moment) % PERIOD);
    Validity {
        inception: serial(begin.saturating_sub(BACKDATE)),
        expiration: serial(begin.saturating_add(LIFETIME)),
    }
}

/// Seconds since 1970 as signatures have them: they wrap (RFC 4034, section 3.1.5).
fn serial(seconds: u64) -> SerialNumber {
    SerialNumber::new(u32::try_from(seconds & u64::from(u32::MAX)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_has_begun_and_lasts(now_s in PERIOD..u64::from(u32::MAX) - LIFETIME, label in "[a-zA-Z]{1,9}") {
            let name = Name::from_ascii(format!("{label}.example.")).unwrap();
            let at = |now_s| validity(&name, RecordType::A, now_s);
            let (begin, end) = (u64::from(at(now_s).inception.get()), u64::from(at(now_s).expiration.get()));
            prop_assert!(begin + BACKDATE <= now_s && now_s < begin + BACKDATE + PERIOD);
            prop_assert!(end - now_s > LIFETIME - PERIOD && end - now_s <= LIFETIME);
            // One change a day.
            let changes = (1..24).filter(|hour| at(now_s + hour * 3_600) != at(now_s + (hour - 1) * 3_600)).count();
            prop_assert!(changes <= 1);
            prop_assert_eq!(at(now_s), validity(&name.to_lowercase(), RecordType::A, now_s));
        }
    }
}
