//! Which certificate answers for a name (SNI).
//!
//! Source: RFC 6125, section 6.4.3: a star stands for the whole first label, and for one only.

use std::collections::HashMap;
use std::sync::Arc;

/// Certificates, or what stands for them, by the names that they are for.
#[derive(Clone, Debug)]
pub struct Names<T> {
    exact: HashMap<String, Arc<T>>,
    /// By what is behind the star.
    starred: HashMap<String, Arc<T>>,
    first: Option<Arc<T>>,
}

impl<T> Names<T> {
    /// Each with its names. Of two for one name the earlier counts; a client that names nothing that is known gets the first.
    pub fn new(all: impl IntoIterator<Item = (Vec<String>, Arc<T>)>) -> Self {
        let mut names = Self { exact: HashMap::new(), starred: HashMap::new(), first: None };
        for (own, value) in all {
            names.first.get_or_insert_with(|| Arc::clone(&value));
            for name in own {
                let name = name.to_ascii_lowercase();
                match name.strip_prefix("*.") {
                    Some(parent) => {
                        names.starred.entry(parent.to_owned()).or_insert_with(|| Arc::clone(&value))
                    }
                    None => names.exact.entry(name).or_insert_with(|| Arc::clone(&value)),
                };
            }
        }
        names
    }

    /// The one for a name.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<Arc<T>> {
        let known = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let starred = || self.starred.get(name.split_once('.')?.1);
            self.exact.get(&name).or_else(starred)
        });
        known.or(self.first.as_ref()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_then_star_then_the_first() {
        let own =
            |names: &[&str], value: u8| (names.iter().map(ToString::to_string).collect(), Arc::new(value));
        let names = Names::new([own(&["a.x.y", "*.Z.y"], 1), own(&["*.x.y", "b.z.y", "a.x.y"], 2)]);
        let found = |name| *names.find(name).unwrap();
        assert_eq!([Some("A.x.Y"), Some("c.z.y"), Some("b.z.y"), Some("q.x.y")].map(found), [1, 1, 2, 2]);
        assert_eq!([None, Some("d.c.z.y"), Some("z.y"), Some("")].map(found), [1, 1, 1, 1]);
        assert!(Names::<u8>::new([]).find(None).is_none());
    }
}
