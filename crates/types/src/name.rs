//! Names that people type: regions, zones, nodes, policies and tables. Validated once, on construction.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a name was refused. The message says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {value:?} is not valid: it must be {min} to {max} characters of {allowed}")]
pub struct NameError {
    /// What was being named, such as `region`.
    pub kind: &'static str,
    /// The refused text, cut to 64 characters.
    pub value: String,
    /// Fewest characters allowed.
    pub min: usize,
    /// Most characters allowed.
    pub max: usize,
    /// The allowed characters in words.
    pub allowed: &'static str,
}

fn check(
    kind: &'static str,
    value: &str,
    (min, max): (usize, usize),
    allowed: &'static str,
    ok: fn(u8) -> bool,
) -> Result<(), NameError> {
    if (min..=max).contains(&value.len()) && value.bytes().all(ok) {
        return Ok(());
    }
    Err(NameError { kind, value: value.chars().take(64).collect(), min, max, allowed })
}

fn is_label(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'
}

fn is_table(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $len:expr, $allowed:literal, $ok:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `value` and makes the name.
            ///
            /// # Errors
            /// [`NameError`] when the length or a character is outside what is allowed.
            pub fn new(value: &str) -> Result<Self, NameError> {
                check($kind, value, $len, $allowed, $ok)?;
                Ok(Self(value.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(s: &str) -> Result<Self, NameError> {
                Self::new(s)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Self::new(&String::deserialize(d)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A region, such as `us-east-1`.
    RegionName, "region", (1, 63), "a-z, 0-9 and -", is_label
);
name!(
    /// A zone within a region, such as `a`.
    ZoneName, "zone", (1, 63), "a-z, 0-9 and -", is_label
);
name!(
    /// A node as people see it, such as `us-east-1-a-0`.
    NodeName, "node", (1, 127), "a-z, 0-9 and -", is_label
);
name!(
    /// A policy, such as `active-passive-sync`.
    PolicyName, "policy", (1, 63), "a-z, 0-9 and -", is_label
);
name!(
    /// A service that clients are steered to, such as `shop`.
    ServiceName, "service", (1, 63), "a-z, 0-9 and -", is_label
);
name!(
    /// A table, with DynamoDB's own rule for table names.
    TableName, "table", (3, 255), "a-z, A-Z, 0-9, _, - and .", is_table
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_on_construction() {
        assert!(RegionName::new("us-east-1").is_ok());
        assert!(RegionName::new("").is_err());
        assert!(RegionName::new("US").is_err());
        assert!(TableName::new("ab").is_err());
        assert!(TableName::new("Orders.v2_x-1").is_ok());
        let long = "x".repeat(300);
        let error = TableName::new(&long).unwrap_err();
        assert_eq!(error.value.len(), 64);
    }

    use alloc::string::ToString;
    #[test]
    fn the_error_says_what_is_allowed() {
        let message = PolicyName::new("Bad Name").unwrap_err().to_string();
        assert!(message.contains("1 to 63 characters of a-z, 0-9 and -"), "{message}");
    }
}
