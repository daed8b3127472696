//! Fragments as the disk holds them: every form that is read is the one that is written, and can be worked with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_dynamo::Item;
use meridian_merge::{Effect, Fragment, Origin, Rules, Stamp};
use meridian_types::{ConflictRule, Hlc};

fuzz_target!(|bytes: &[u8]| {
    // Two fragments, split by the first byte.
    let Some((at, bytes)) = bytes.split_first() else { return };
    let (one, other) = bytes.split_at(usize::from(*at).min(bytes.len()));
    let Ok(read) = Fragment::decode(one) else { return };
    assert_eq!(read.encode(), one);
    let joined = match Fragment::decode(other) {
        Ok(other) => read.join(other),
        Err(_) => read,
    };
    for conflict in [ConflictRule::Lww, ConflictRule::Merge, ConflictRule::Crdt] {
        let rules = Rules::from(conflict);
        let _ = joined.resolve(&rules);
        let stamp = Stamp { hlc: Hlc::new(1 << 47, 0), origin: Origin(1) };
        if joined.newest() < stamp.hlc {
            let put = Effect::Put(Item::new());
            let next = joined.apply(&rules, &put, stamp, Hlc::default()).expect("a put fits every item");
            assert_eq!(Fragment::decode(&next.encode()), Ok(next));
        }
    }
});
