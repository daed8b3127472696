//! What a user of a table sees, pair by pair.

use meridian_dynamo::{AttributeValue, Item};
use meridian_merge::{Action, Change, Effect, Fragment, Origin, Rules, Stamp};
use meridian_types::{ConflictRule, Hlc};

fn at(time: u64, origin: u16) -> Stamp {
    Stamp { hlc: Hlc::new(time, 0), origin: Origin(origin) }
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.into())
}

fn key() -> Item {
    Item::from([("pk".into(), AttributeValue::S("k".into()))])
}

fn update(path: &str, action: Action) -> Effect {
    Effect::Update(vec![Change { path: path.split('.').map(Into::into).collect(), action }])
}

#[test]
fn additions_of_many_regions_all_count() {
    let rules = Rules::from(ConflictRule::Crdt);
    let mut fragments: Vec<Fragment> = Vec::new();
    for origin in 0..3u16 {
        let mut mine = Fragment::new(key());
        for step in 0..60u64 {
            let effect = update("n", Action::Add(1u64.into()));
            mine = mine.apply(&rules, &effect, at(10 + step, origin), Hlc::default()).unwrap();
            assert_eq!(Fragment::decode(&mine.encode()), Ok(mine.clone()));
        }
        fragments.push(mine);
    }
    let view = fragments.into_iter().reduce(Fragment::join).unwrap();
    assert_eq!(view.item(&rules).unwrap().get("n"), Some(&number(180)));
}
