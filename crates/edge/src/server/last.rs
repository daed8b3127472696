//! What was found out last, for who asks the same again: most requests of a connection do.

use super::lock;
use std::sync::{Arc, Mutex};

/// The last answer to a question. The answer says what it was asked.
pub(super) struct Last<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Last<T> {
    /// The last one, if it `fits` the question, or a new one.
    ///
    /// # Errors
    /// Those of `find`; then the last one stays.
    pub(super) fn get<E>(
        &self,
        fits: impl FnOnce(&T) -> bool,
        find: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let known = lock(&self.0).clone();
        if let Some(known) = known.filter(|known| fits(known)) {
            return Ok(known);
        }
        let found = Arc::new(find()?);
        *lock(&self.0) = Some(Arc::clone(&found));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_answer_is_that_of_its_question(asked in proptest::collection::vec(0_u8..4, 0..50)) {
            let last: Last<(u8, usize)> = Last::default();
            let mut before = None;
            for (at, question) in asked.into_iter().enumerate() {
                let found = last.get(|known| known.0 == question, || if question == 3 { Err(()) } else { Ok((question, at)) });
                match found {
                    Ok(found) => {
                        prop_assert_eq!(found.0, question);
                        prop_assert_eq!(found.1 == at, before != Some(question));
                        before = Some(question);
                    }
                    Err(()) => prop_assert_eq!(question, 3),
                }
            }
        }
    }
}
