//! Host names: what clients look up.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Not a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name; write two or more labels of a-z, 0-9 and -, such as shop.example.com")]
pub struct HostError(
    /// The refused text, cut to 64 characters.
    pub String,
);

/// A fully qualified host name in lower case, without the dot at the end.
///
/// Source: RFC 1123, section 2.1. One label alone is refused: it would be a top-level domain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Checks `text`, in any case, with or without the dot at the end.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn new(text: &str) -> Result<Self, HostError> {
        let plain = text.strip_suffix('.').unwrap_or(text);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let last_is_a_number =
            plain.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        let fits = plain.len() <= 253 && plain.contains('.') && plain.split('.').all(label);
        if !fits || last_is_a_number {
            return Err(HostError(text.chars().take(64).collect()));
        }
        Ok(Self(plain.to_ascii_lowercase().into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain that the host is in: what is behind its first label, or the host itself when that would be a top-level domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        match self.0.split_once('.') {
            Some((_, rest)) if rest.contains('.') => rest,
            _ => &self.0,
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for HostName {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        Self::new(text)
    }
}

impl Serialize for HostName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_are_qualified_and_in_lower_case() {
        for text in ["shop.example.com", "SHOP.Example.com.", "xn--bcher-kva.example"] {
            assert_eq!(HostName::new(text).unwrap().to_string(), text.trim_end_matches('.').to_lowercase());
        }
        for text in ["", ".", "com", "a..b", "-a.b", "a-.b", "a_b.c", "192.0.2.1", "a.b..", "*.a.b"] {
            assert_eq!(HostName::new(text), Err(HostError(text.into())), "{text}");
        }
        HostName::new(&["a"; 200].join(".")).unwrap_err();
    }

    #[test]
    fn a_host_is_in_the_domain_behind_its_first_label() {
        let domain = |text| HostName::new(text).unwrap().domain().to_string();
        assert_eq!(domain("shop.example.com"), "example.com");
        assert_eq!(domain("example.com"), "example.com");
        assert_eq!(domain("a.b.example.com"), "b.example.com");
    }
}
