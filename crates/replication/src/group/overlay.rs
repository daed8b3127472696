//! What has been proposed but not yet applied: later writes are evaluated on top of it.

use crate::raft::Mutation;
use bytes::Bytes;
use meridian_types::RequestId;
use std::collections::{HashMap, VecDeque};

/// The pending after-images of one leadership, by key. Entries leave in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    images: HashMap<Bytes, (u64, Option<Bytes>)>,
    requests: HashMap<RequestId, (u64, Bytes)>,
    order: VecDeque<(u64, Vec<Bytes>, Option<RequestId>)>,
}

impl Overlay {
    /// The pending image of a key: `Some(None)` is a pending deletion.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.images.get(key).map(|(_, image)| image.clone())
    }

    /// The response of a pending write of that id.
    pub(crate) fn response(&self, id: RequestId) -> Option<Bytes> {
        self.requests.get(&id).map(|(_, response)| response.clone())
    }

    /// Adds what entry `sequence` will write.
    pub(crate) fn add(&mut self, sequence: u64, mutations: &[Mutation], request: Option<(RequestId, Bytes)>) {
        for mutation in mutations {
            self.images.insert(mutation.key.clone(), (sequence, mutation.value.clone()));
        }
        let id = request.map(|(id, response)| {
            self.requests.insert(id, (sequence, response));
            id
        });
        let keys = mutations.iter().map(|mutation| mutation.key.clone()).collect();
        self.order.push_back((sequence, keys, id));
    }

    /// Forgets entries up to `sequence`: they are applied.
    pub(crate) fn applied(&mut self, sequence: u64) {
        while self.order.front().is_some_and(|(first, ..)| *first <= sequence) {
            let Some((_, keys, id)) = self.order.pop_front() else { return };
            for key in keys {
                if self.images.get(&key).is_some_and(|(newest, _)| *newest <= sequence) {
                    self.images.remove(&key);
                }
            }
            if let Some(id) = id {
                self.requests.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: &'static str, value: Option<&'static str>) -> Mutation {
        Mutation { key: key.into(), value: value.map(Bytes::from) }
    }

    #[test]
    fn later_images_hide_earlier_ones_and_outlive_them() {
        let mut overlay = Overlay::default();
        overlay.add(1, &[write("a", Some("1")), write("b", Some("1"))], Some((RequestId(7), Bytes::new())));
        overlay.add(2, &[write("a", None)], None);
        assert_eq!(overlay.get(b"a"), Some(None));
        overlay.applied(1);
        assert_eq!(overlay.get(b"a"), Some(None));
        assert_eq!(overlay.get(b"b"), None);
        assert_eq!(overlay.response(RequestId(7)), None);
        overlay.applied(2);
        assert_eq!(overlay.get(b"a"), None);
    }
}
