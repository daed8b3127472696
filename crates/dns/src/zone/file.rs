//! Zone files in the master format (RFC 1035, section 5), read by hickory.

use hickory_proto::rr::{Name, Record};
use hickory_proto::serialize::txt::Parser;

/// The largest zone file.
const MAX_BYTES: usize = 16 << 20;

/// A zone file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ZoneFileError {
    /// It is not in the format.
    #[error("zone {0}: {1}")]
    Syntax(String, String),
    /// It asks for another file.
    #[error("zone {0}: $INCLUDE is not supported; write the records into this file")]
    Include(String),
    /// It is too large.
    #[error("zone {0}: the file is larger than {MAX_BYTES} bytes")]
    Large(String),
    /// It holds what is not its own.
    #[error("zone {zone}: {name} is not in the zone")]
    Outside {
        /// The zone.
        zone: String,
        /// The name.
        name: String,
    },
}

/// What a zone file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFile {
    /// The zone's name.
    pub origin: Name,
    /// Its records.
    pub records: Vec<Record>,
}

impl ZoneFile {
    /// Reads the text of the zone `origin`.
    ///
    /// # Errors
    /// [`ZoneFileError`].
    pub fn parse(origin: &Name, text: &str) -> Result<Self, ZoneFileError> {
        let zone = origin.to_string();
        if text.len() > MAX_BYTES {
            return Err(ZoneFileError::Large(zone));
        }
        let includes = |line: &str| line.trim_start().to_ascii_uppercase().starts_with("$INCLUDE");
        if text.lines().any(includes) {
            return Err(ZoneFileError::Include(zone));
        }
        // The format wants a line to end, also the last one.
        let text = format!("{text}\n");
        let (_, sets) = Parser::new(text, None, Some(origin.clone()))
            .parse()
            .map_err(|error| ZoneFileError::Syntax(zone.clone(), error.to_string()))?;
        let mut records: Vec<Record> =
            sets.values().flat_map(|set| set.records_without_rrsigs()).cloned().collect();
        for record in &mut records {
            record.name.set_fqdn(true);
        }
        match records.iter().find(|record| !origin.zone_of(&record.name)) {
            Some(record) => Err(ZoneFileError::Outside { zone, name: record.name.to_string() }),
            None => Ok(Self { origin: origin.clone(), records }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ZoneFile, String> {
        ZoneFile::parse(&"example.com.".parse().unwrap(), text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_usual_records_are_read() {
        let text = "\
$TTL 300
@ IN MX 10 mail
www 60 IN A 192.0.2.1
    60 IN AAAA 2001:db8::1
_sip._tcp IN SRV 1 2 5060 www
@ IN TXT \"v=spf1 -all\"
@ IN HTTPS 1 . alpn=h2
blog IN CNAME elsewhere.example.net.";
        let file = parse(text).unwrap();
        assert_eq!(file.records.len(), 7, "{:#?}", file.records);
        assert!(file.records.iter().any(|record| record.name.to_string() == "blog.example.com."));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(parse("www IN A 192.0.2").unwrap_err().starts_with("zone example.com.:"));
        assert!(parse("$INCLUDE /etc/passwd").unwrap_err().contains("not supported"));
        assert!(parse("www.example.net. 60 IN A 192.0.2.1").unwrap_err().contains("is not in the zone"));
    }
}
