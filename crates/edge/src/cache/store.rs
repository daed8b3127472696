//! What is kept, within a bound of memory: the least recently used goes first.

use super::entry::Entry;
use meridian_types::ServiceName;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The most responses for one address that differ by `Vary`.
const MAX_VARIANTS: usize = 16;
/// Requests for an address whose response could not be kept do not wait for each other for so long.
const UNKEPT_FOR: Duration = Duration::from_secs(10);
/// What an address without a response costs.
const MARK: usize = 256;
/// Places that addresses share where it is counted how often they were forgotten: enough that few share one, few enough to be nothing.
const PLACES: usize = 256;

/// An address: whose it is, the origin, and the path with the query.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The service that serves it.
    pub service: ServiceName,
    /// How and whom the client asked, as [`origin`](Self::origin) has it.
    pub origin: String,
    /// The path and the query.
    pub path: String,
}

impl Key {
    /// How and whom a client asked, such as `https://shop.example.com`. `named`: the host by the word of a proxy, which backends see too.
    #[must_use]
    pub fn origin(scheme: &str, host: &str, named: Option<&str>) -> String {
        match named.filter(|named| *named != host) {
            // No host has a space.
            Some(named) => format!("{scheme}://{host} {named}"),
            None => format!("{scheme}://{host}"),
        }
    }

    fn cost(&self) -> usize {
        self.service.as_str().len() + self.origin.len() + self.path.len()
    }
}

#[derive(Debug)]
struct Slot {
    variants: Vec<Arc<Entry>>,
    unkept_until: Option<SystemTime>,
    used: u64,
    cost: usize,
}

/// How full the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that are kept.
    pub bytes: usize,
    /// Responses that are kept.
    pub entries: usize,
    /// Responses that had to go to make room, since the start.
    pub evicted: u64,
}

/// Responses by address, and by tag.
#[derive(Debug)]
pub struct Store {
    most: usize,
    slots: HashMap<Key, Slot>,
    by_use: BTreeMap<u64, Key>,
    by_tag: HashMap<String, HashSet<Key>>,
    clock: u64,
    usage: Usage,
    purges: u64,
    /// How often one of the addresses that share a place here was forgotten.
    forgotten: [u64; PLACES],
}

/// When something was asked for, by what has been forgotten until then: what came of it may be kept only if that is still so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    purges: u64,
    forgotten: u64,
}

impl Store {
    /// Keeps at most so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            slots: HashMap::new(),
            by_use: BTreeMap::new(),
            by_tag: HashMap::new(),
            clock: 0,
            usage: Usage::default(),
            purges: 0,
            forgotten: [0; PLACES],
        }
    }

    /// Where an address is now.
    #[must_use]
    pub fn generation(&self, key: &Key) -> Generation {
        Generation { purges: self.purges, forgotten: self.forgotten[place(key)] }
    }

    /// The largest response that is kept: a few of them must fit.
    #[must_use]
    pub fn most_of_one(&self) -> usize {
        self.most / 8
    }

    /// How full it is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// All that is kept for an address.
    pub fn get(&mut self, key: &Key) -> Vec<Arc<Entry>> {
        self.touch(key);
        self.slots.get(key).map(|slot| slot.variants.clone()).unwrap_or_default()
    }

    /// Whether the last response for the address could not be kept, a short while ago.
    #[must_use]
    pub fn is_unkept(&self, key: &Key, now: SystemTime) -> bool {
        self.slots.get(key).and_then(|slot| slot.unkept_until).is_some_and(|until| now < until)
    }

    /// Notes that a response for the address could not be kept.
    pub fn mark_unkept(&mut self, key: &Key, now: SystemTime) {
        let slot = self.take(key);
        self.put(key, Slot { unkept_until: Some(now + UNKEPT_FOR), ..slot });
    }

    /// Keeps an entry, in the place of `old` if that is still there. Answers whether it fits.
    pub fn insert(&mut self, key: &Key, old: Option<&Arc<Entry>>, entry: Arc<Entry>) -> bool {
        if entry.cost() > self.most_of_one() {
            return false;
        }
        let mut slot = self.take(key);
        slot.variants.retain(|other| !old.is_some_and(|old| Arc::ptr_eq(old, other)));
        if slot.variants.len() >= MAX_VARIANTS {
            slot.variants.remove(0);
        }
        slot.variants.push(entry);
        slot.unkept_until = None;
        self.put(key, slot);
        true
    }

    /// Forgets all that is kept for an address, and all that is just being fetched for it.
    pub fn forget(&mut self, key: &Key) {
        self.forgotten[place(key)] += 1;
        self.take(key);
    }

    /// Forgets all responses of a service with a tag, and answers how many addresses had one.
    pub fn purge_tag(&mut self, service: &ServiceName, tag: &str) -> usize {
        self.purges += 1;
        let tagged = self.by_tag.get(tag).into_iter().flatten();
        let keys: Vec<Key> = tagged.filter(|key| key.service == *service).cloned().collect();
        for key in &keys {
            let mut slot = self.take(key);
            slot.variants.retain(|entry| !entry.tags().iter().any(|own| own == tag));
            if !slot.variants.is_empty() {
                self.put(key, slot);
            }
        }
        keys.len()
    }

    /// Forgets everything of a service, and answers how many addresses that was.
    pub fn purge(&mut self, service: &ServiceName) -> usize {
        self.purges += 1;
        let keys: Vec<Key> = self.slots.keys().filter(|key| key.service == *service).cloned().collect();
        keys.iter().for_each(|key| drop(self.take(key)));
        keys.len()
    }

    fn touch(&mut self, key: &Key) {
        if let Some(slot) = self.slots.get_mut(key) {
            self.clock += 1;
            if let Some(known) = self.by_use.remove(&slot.used) {
                slot.used = self.clock;
                self.by_use.insert(self.clock, known);
            }
        }
    }

    /// Takes an address out of all that counts it.
    fn take(&mut self, key: &Key) -> Slot {
        let Some(slot) = self.slots.remove(key) else {
            return Slot { variants: Vec::new(), unkept_until: None, used: 0, cost: 0 };
        };
        self.by_use.remove(&slot.used);
        self.usage.bytes -= slot.cost;
        self.usage.entries -= slot.variants.len();
        for tag in slot.variants.iter().flat_map(|entry| entry.tags()) {
            if let Some(keys) = self.by_tag.get_mut(tag) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_tag.remove(tag);
                }
            }
        }
        slot
    }

    fn put(&mut self, key: &Key, mut slot: Slot) {
        self.clock += 1;
        slot.used = self.clock;
        let tags = slot.variants.iter().flat_map(|entry| entry.tags());
        let tags: usize = tags.map(|tag| 2 * tag.len() + key.cost() + MARK).sum();
        slot.cost =
            MARK + 2 * key.cost() + tags + slot.variants.iter().map(|entry| entry.cost()).sum::<usize>();
        self.usage.bytes += slot.cost;
        self.usage.entries += slot.variants.len();
        for tag in slot.variants.iter().flat_map(|entry| entry.tags()) {
            self.by_tag.entry(tag.clone()).or_default().insert(key.clone());
        }
        self.by_use.insert(slot.used, key.clone());
        self.slots.insert(key.clone(), slot);
        while self.usage.bytes > self.most {
            let Some(oldest) = self.by_use.first_key_value().map(|(_, key)| key.clone()) else { break };
            let gone = self.take(&oldest);
            self.usage.evicted += gone.variants.len() as u64;
        }
    }

    /// What must always hold.
    #[cfg(test)]
    fn check(&self) {
        let cost: usize = self.slots.values().map(|slot| slot.cost).sum();
        let entries: usize = self.slots.values().map(|slot| slot.variants.len()).sum();
        assert_eq!((self.usage.bytes, self.usage.entries), (cost, entries));
        assert!(cost <= self.most);
        assert_eq!(self.by_use.len(), self.slots.len());
        assert!(self.by_use.iter().all(|(used, key)| self.slots[key].used == *used));
        for (key, slot) in &self.slots {
            assert!(slot.variants.len() <= MAX_VARIANTS);
            assert!(slot.variants.iter().flat_map(|e| e.tags()).all(|tag| self.by_tag[tag].contains(key)));
        }
        for (tag, keys) in &self.by_tag {
            let has = |key: &Key| self.slots[key].variants.iter().any(|e| e.tags().contains(tag));
            assert!(!keys.is_empty() && keys.iter().all(has));
        }
    }
}

fn place(key: &Key) -> usize {
    let mut hasher = std::hash::DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % PLACES as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn service(number: u8) -> ServiceName {
        ServiceName::new(&format!("s{number}")).unwrap()
    }

    fn key(number: u8) -> Key {
        Key { service: service(number % 2), origin: "http://h".to_owned(), path: format!("/{number}") }
    }

    fn entry(size: usize, tag: u8) -> Arc<Entry> {
        let request = http::Request::get("/").body(()).unwrap().into_parts().0;
        let response = http::Response::builder()
            .header("cache-control", "max-age=60")
            .header("cache-tag", format!("t{tag}"))
            .body(())
            .unwrap()
            .into_parts()
            .0;
        Arc::new(Entry::new(&request, &response, Bytes::from(vec![0; size]), NOW).unwrap())
    }

    #[test]
    fn what_a_proxy_says_of_the_host_tells_addresses_apart() {
        let origin = |named| Key::origin("https", "a.x.y", named);
        assert_eq!(origin(None), "https://a.x.y");
        assert_eq!(origin(Some("a.x.y")), origin(None));
        assert_ne!(origin(Some("b.x.y")), origin(None));
        assert_ne!(origin(Some("b.x.y")), origin(Some("c.x.y")));
    }

    #[test]
    fn the_least_recently_used_goes_and_tags_take_all_of_theirs() {
        let mut store = Store::new(40_000);
        for number in 0..10 {
            assert!(store.insert(&key(number), None, entry(1_000, number % 2)));
            store.get(&key(0));
        }
        assert!(store.insert(&key(10), None, entry(3_700, 0)));
        assert!(!store.insert(&key(11), None, entry(10_000, 0)), "too large");
        for number in 11..25 {
            store.insert(&key(number), None, entry(1_000, 1));
            store.get(&key(0));
        }
        assert_eq!(store.get(&key(0)).len(), 1);
        assert!(store.get(&key(1)).is_empty() && store.usage().evicted > 0);
        assert_eq!(store.purge_tag(&service(1), "t0"), 0);
        assert!(store.purge_tag(&service(0), "t0") > 0);
        assert!(store.get(&key(0)).is_empty() && !store.get(&key(24)).is_empty());
        assert_eq!(store.purge_tag(&service(0), "t0"), 0);
        assert!(store.purge(&service(0)) > 0 && store.purge(&service(1)) > 0);
        assert_eq!(store.usage().bytes, 0);
    }

    #[test]
    fn what_was_asked_for_before_its_address_was_forgotten_is_of_an_older_generation() {
        let mut store = Store::new(1 << 20);
        let (one, other) = (key(1), key(2));
        let (before, beside) = (store.generation(&one), store.generation(&other));
        store.forget(&one);
        assert_ne!(store.generation(&one), before);
        assert!(place(&one) == place(&other) || store.generation(&other) == beside, "the others go on");
        store.purge(&one.service);
        assert_ne!(store.generation(&other), beside);
    }

    proptest! {
        #[test]
        fn it_never_grows_beyond_its_bound(steps in proptest::collection::vec((0_u8..6, 0_u8..20, 0_usize..3_000, 0_u8..4), 0..200)) {
            let mut store = Store::new(20_000);
            for (what, number, size, tag) in steps {
                let key = key(number);
                match what {
                    0 => store.forget(&key),
                    1 => _ = store.purge_tag(&service(0), &format!("t{tag}")),
                    2 => store.mark_unkept(&key, NOW),
                    3 => {
                        let old = store.get(&key).first().cloned();
                        store.insert(&key, old.as_ref(), entry(size, tag));
                    }
                    4 if size < 100 => _ = store.purge(&service(1)),
                    _ => _ = store.insert(&key, None, entry(size, tag)),
                }
                store.check();
            }
        }
    }
}
