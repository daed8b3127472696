//! Fragments as bytes: pinned, and safe to read whatever the bytes are.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::needless_pass_by_value, reason = "values read better where they are made in place")]

mod common;

use common::world::World;
use common::{Rng, at, item, key, map, number, text, texts, update_of};
use meridian_dynamo::codec::CodecError;
use meridian_merge::{Effect, Fragment, Rules};
use meridian_types::{ConflictRule, Hlc};

/// A fragment with something of everything.
fn full() -> Fragment {
    let rules = Rules::from(ConflictRule::Crdt);
    let floor = Hlc::new(1, 0);
    let put = Effect::Put(item(&[
        ("b", text("x")),
        ("m", map(&[("x", number("-1.5"))])),
        ("n", number("7")),
        ("s", texts(&["q"])),
    ]));
    let start = Fragment::new(key()).apply(&rules, &put, at(2, 0), floor).unwrap();
    let on = |view: &Fragment, expression: &str, values: &[_], stamp| {
        let before = view.item(&rules).unwrap();
        let update = update_of(expression, values);
        let effect = Effect::of_update(&update, &before, &update.apply(&before).unwrap(), &rules);
        view.apply(&rules, &effect, stamp, floor).unwrap()
    };
    let added = on(
        &start,
        "ADD n :n, s :s, d :n, e :e, f :f REMOVE b",
        &[
            (":n", number("2")),
            (":s", texts(&["r"])),
            (":e", meridian_dynamo::AttributeValue::Ns(["1".parse().unwrap()].into())),
            (":f", meridian_dynamo::AttributeValue::Bs([vec![0, 255]].into())),
        ],
        at(3, 1),
    );
    let assigned = on(&added, "SET d = :v REMOVE e", &[(":v", number("0"))], at(4, 2));
    assigned.join(on(&start, "SET b = :v, m.y = :v", &[(":v", text("y"))], at(5, 300)))
}

#[test]
fn the_form_of_version_1_is_pinned_because_disks_depend_on_it() {
    let hex: String = full().encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, PINNED);
    assert_eq!(Fragment::decode(&full().encode()), Ok(full()));
}

const PINNED: &str = "\
    010102706b03016b000000000001000004000000000000020000010000000000030000020000000000040000ac020000\
    00000005000004000000000000020000010000000000030000020000000000040000ac02000000000005000001000202\
    010100030101000701620102010003010301790164030102010400010101010200010101020002016501010200016604\
    01050200ff0101016d090100020201780101000104810f01017901010301030179016e03010001040107000101010102\
    00000173050100030203017101000301720101\
";

#[test]
fn every_cut_and_every_flipped_byte_is_an_error_or_another_fragment() {
    let bytes = full().encode();
    for end in 0..bytes.len() {
        assert!(Fragment::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() {
        for flip in 1..=255 {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            check(&damaged);
            assert_ne!(Fragment::decode(&damaged), Ok(full()), "byte {at} ^ {flip}");
        }
    }
    assert_eq!(Fragment::decode(&[2]), Err(CodecError::UnknownVersion(2)));
    assert_eq!(Fragment::decode(&[]), Err(CodecError::CutShort));
}

/// What is read is in its one form, and can be worked with.
fn check(bytes: &[u8]) {
    let Ok(read) = Fragment::decode(bytes) else { return };
    assert_eq!(read.encode(), bytes);
    let joined = full().join(read.clone());
    for rule in [ConflictRule::Lww, ConflictRule::Merge, ConflictRule::Crdt] {
        let rules = Rules::from(rule);
        // Anything but a panic.
        let _ = (joined.resolve(&rules), read.resolve(&rules));
        let stamp = at(1 << 40, 7);
        if read.newest() < stamp.hlc {
            read.apply(&rules, &Effect::Put(item(&[("n", number("1"))])), stamp, Hlc::default()).unwrap();
            read.absorb(&rules, stamp, read.newest()).unwrap();
        }
    }
}

#[test]
fn garbage_never_panics() {
    let mut rng = Rng(7);
    let mut world = World::new(Rules::from(ConflictRule::Crdt), 11);
    world.run(200);
    for round in 0..15_000 {
        let mut bytes = if round % 8 == 0 {
            (0..rng.below(64)).map(|_| rng.next().to_le_bytes()[0]).collect()
        } else {
            world.stored[rng.below(world.stored.len())].encode()
        };
        for _ in 0..=rng.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = rng.below(bytes.len());
            match rng.below(4) {
                0 => bytes[at] = rng.next().to_le_bytes()[0],
                1 => bytes[at] = bytes[at].wrapping_add(1),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, rng.next().to_le_bytes()[0]),
            }
        }
        check(&bytes);
    }
    // As deep as it gets, and deeper.
    for depth in [31usize, 32, 33, 100_000] {
        let mut bytes = vec![1, 0];
        bytes.extend([0; 8]);
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend([0, 0]);
        bytes.extend([1, 0, 8].repeat(depth));
        bytes.extend([1, 0, 1, 1, 0, 0]);
        check(&bytes);
        assert_eq!(Fragment::decode(&bytes).is_ok(), depth < 32, "{depth}: {:?}", Fragment::decode(&bytes));
    }
}

/// `cargo test -p meridian-merge --release --test codec -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn how_long_a_write_takes() {
    let rules = Rules::from(ConflictRule::Crdt);
    let attributes: Vec<(String, _)> =
        (0..16).map(|i| (format!("attribute-{i:02}"), text(&"x".repeat(50)))).collect();
    let attributes: Vec<(&str, _)> =
        attributes.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let start = Fragment::new(key())
        .apply(&rules, &Effect::Put(item(&attributes)), at(1, 0), Hlc::default())
        .unwrap();
    let add = |view: &Fragment, stamp| {
        let change = meridian_merge::Change {
            path: vec!["n".into()],
            action: meridian_merge::Action::Add(1u64.into()),
        };
        view.apply(&rules, &Effect::Update(vec![change]), stamp, Hlc::default()).unwrap()
    };
    let fragments: Vec<Vec<u8>> = (0..3).map(|origin| add(&start, at(2, origin)).encode()).collect();
    let view = || {
        let read = fragments.iter().map(|bytes| Fragment::decode(bytes).unwrap());
        read.reduce(Fragment::join).unwrap()
    };
    let joined = view();
    println!("three fragments of {} bytes each", fragments[0].len());
    let measure = |name: &str, work: &dyn Fn() -> usize| {
        let rounds = 20_000u32;
        let begun = std::time::Instant::now();
        let sum: usize = (0..rounds).map(|_| std::hint::black_box(work())).sum();
        assert_ne!(sum, 0);
        println!("{name}: {} ns", begun.elapsed().as_nanos() / u128::from(rounds));
    };
    measure("read one", &|| Fragment::decode(&fragments[0]).unwrap().key().len());
    measure("read three and join", &|| view().key().len());
    measure("resolve", &|| joined.item(&rules).unwrap().len());
    measure("apply and encode", &|| add(&joined, at(9, 0)).encode().len());
    measure("all of it: read, join, resolve, apply, encode", &|| {
        let view = view();
        view.item(&rules).unwrap().len() + add(&view, at(9, 0)).encode().len()
    });
}
