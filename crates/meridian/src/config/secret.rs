//! Values that must not reach a log, and the credentials file of the data API.

use super::ConfigError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// Text that prints as `[redacted]`. Serialising it does write the text: that is how files are made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Compare it in constant time, never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// An access key of the data API, as the file named by `auth.bootstrap_credentials` holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The public half, such as `AKIA...`.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: Secret,
}

impl Credentials {
    /// Reads the file and checks that nobody else may.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read, is open to others, or holds something else.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::read(path, source))?;
        check_private(path)?;
        let found: Self = toml::from_str(&text).map_err(|error| ConfigError::parse(path, &text, &error))?;
        let usable = found.secret_access_key.expose().parse().and_then(|secret| {
            meridian_api::Credential::new(&found.access_key_id, secret, Vec::new(), Vec::new())
        });
        match usable {
            Ok(_) => Ok(found),
            // A key that no request could be signed with is a mistake, not a key.
            Err(error) => {
                Err(ConfigError::Invalid { file: path.to_owned(), problems: vec![error.to_string()] })
            }
        }
    }
}

/// Refuses a secret file that others may read.
///
/// # Errors
/// [`ConfigError::Invalid`] with the command that mends it.
pub fn check_private(path: &Path) -> Result<(), ConfigError> {
    use std::os::unix::fs::PermissionsExt;
    let meta = std::fs::metadata(path).map_err(|source| ConfigError::read(path, source))?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let shown = path.display();
    let problem = format!("the file is open to other users (mode {mode:03o}); run: chmod 600 {shown}");
    Err(ConfigError::Invalid { file: path.to_owned(), problems: vec![problem] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    const GOOD: &str = "access_key_id = 'AKIAEXAMPLE000000000'\n\
        secret_access_key = '0123456789abcdefghijABCDEFGHIJ0123456789'\n";

    #[test]
    fn a_secret_never_prints() {
        let found = Credentials::load(file(GOOD, 0o600).path()).unwrap();
        assert_eq!(found.secret_access_key.expose().len(), 40);
        assert!(!format!("{found:?}").contains("0123456789"));
    }

    #[test]
    fn open_or_broken_files_are_refused() {
        let error = |text: &str, mode| Credentials::load(file(text, mode).path()).unwrap_err().to_string();
        assert!(error(GOOD, 0o644).contains("mode 644); run: chmod 600"));
        let short = error("access_key_id = 'AKIAEXAMPLE000000000'\nsecret_access_key = 's3cret'", 0o600);
        assert!(short.contains("a secret access key is exactly 40 characters"), "{short}");
        assert!(!short.contains("s3cret"), "{short}");
        assert!(error(&GOOD.replace("AKIAEX", "AK IA"), 0o600).contains("an access key id is 16 to 128"));
        assert!(error("access_key_id = 'a'", 0o600).contains("missing field `secret_access_key`"));
        let missing = Credentials::load(Path::new("/nonexistent/x")).unwrap_err().to_string();
        assert!(missing.contains("cannot read /nonexistent/x"), "{missing}");
    }
}
