//! Rows of the same key range of several groups, side by side in the order of their keys.

use bytes::{BufMut, Bytes, BytesMut};
use meridian_replication::View;
use std::collections::VecDeque;
use std::io;

/// Rows that are read of one group at a time: a bound on memory, and few enough that a page that is soon full reads little in vain.
const BATCH: usize = 32;

/// One group's rows, read bit by bit.
struct Rows<'a> {
    view: &'a dyn View,
    /// What is still to be read; empty when nothing is.
    start: Bytes,
    end: Bytes,
    reverse: bool,
    read: VecDeque<(Bytes, Bytes)>,
}

impl Rows<'_> {
    /// The next row, if there is one.
    fn head(&mut self) -> io::Result<Option<&(Bytes, Bytes)>> {
        if self.read.is_empty() && self.start < self.end {
            let read = &mut self.read;
            self.view.scan(&self.start, &self.end, self.reverse, &mut |key, value| {
                read.push_back((Bytes::copy_from_slice(key), value.clone()));
                read.len() < BATCH
            })?;
            match self.read.back() {
                Some((last, _)) if self.read.len() == BATCH => {
                    if self.reverse {
                        self.end = last.clone();
                    } else {
                        let mut after = BytesMut::from(&last[..]);
                        after.put_u8(0);
                        self.start = after.freeze();
                    }
                }
                _ => self.start = self.end.clone(),
            }
        }
        Ok(self.read.front())
    }
}

/// Calls `row` for every key of `start..end` that any of the views has, in order or backwards, with what each has there, until it answers `false`.
pub(super) fn side_by_side(
    views: &[&dyn View],
    (start, end): (&[u8], &[u8]),
    reverse: bool,
    mut row: impl FnMut(&[u8], &[Bytes]) -> bool,
) -> io::Result<()> {
    let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
    let rows = |view| Rows { view, start: start.clone(), end: end.clone(), reverse, read: VecDeque::new() };
    let mut groups: Vec<Rows<'_>> = views.iter().map(|view| rows(*view)).collect();
    let mut found = Vec::with_capacity(groups.len());
    loop {
        let mut next: Option<Bytes> = None;
        for group in &mut groups {
            if let Some((key, _)) = group.head()?
                && next.as_ref().is_none_or(|best| if reverse { key > best } else { key < best })
            {
                next = Some(key.clone());
            }
        }
        let Some(key) = next else { return Ok(()) };
        found.clear();
        for group in &mut groups {
            if group.read.front().is_some_and(|(at, _)| *at == key) {
                found.extend(group.read.pop_front().map(|(_, value)| value));
            }
        }
        if !row(&key, &found) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_replication::{Neighbour, WallClock};
    use meridian_types::GroupId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    struct State(BTreeMap<Bytes, Bytes>);

    impl View for State {
        fn group(&self) -> GroupId {
            GroupId(1)
        }

        fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
            Ok(self.0.get(key).cloned())
        }

        fn changed_at(&self, _: &[u8]) -> io::Result<u64> {
            Ok(0)
        }

        fn scan(
            &self,
            start: &[u8],
            end: &[u8],
            reverse: bool,
            row: &mut dyn FnMut(&[u8], &Bytes) -> bool,
        ) -> io::Result<()> {
            let mut rows: Vec<_> =
                self.0.range(Bytes::copy_from_slice(start)..Bytes::copy_from_slice(end)).collect();
            if reverse {
                rows.reverse();
            }
            rows.into_iter().take_while(|(key, value)| row(key, value)).for_each(drop);
            Ok(())
        }

        fn neighbour(&self, _: GroupId) -> Option<Neighbour<'_>> {
            None
        }

        fn clock(&self) -> WallClock {
            WallClock::default()
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_once_in_order_with_all_that_is_there(
            groups in prop::collection::vec(prop::collection::btree_set(0u8..200, 0..120), 1..4),
            (from, upto, reverse) in (0u8..200, 0u8..220, any::<bool>()),
        ) {
            let key = |key: u8| Bytes::copy_from_slice(&[key]);
            let states: Vec<State> = groups.iter().enumerate().map(|(index, keys)| {
                State(keys.iter().map(|k| (key(*k), Bytes::from(format!("{index}")))).collect())
            }).collect();
            let views: Vec<&dyn View> = states.iter().map(|state| state as &dyn View).collect();
            let upto = upto.max(from);
            let mut found = Vec::new();
            side_by_side(&views, (&[from], &[upto]), reverse, |key, values| {
                found.push((key[0], values.to_vec()));
                true
            }).unwrap();
            let mut expected = Vec::new();
            for k in from..upto {
                let at: Vec<Bytes> = states.iter().filter_map(|state| state.0.get(&key(k)).cloned()).collect();
                if !at.is_empty() {
                    expected.push((k, at));
                }
            }
            if reverse {
                expected.reverse();
            }
            prop_assert_eq!(found, expected);
        }
    }
}
