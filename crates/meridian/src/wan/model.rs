//! How far apart regions are: the `--wan` flag and its file, as a specification of every link.

use crate::config::units::{self, Size, parse_duration};
use meridian_placement::wan::rtt_ms;
use meridian_types::RegionName;
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MAX_RTT: Duration = Duration::from_secs(10);
const MAX_LOSS: f64 = 0.5;
const MIN_BANDWIDTH: u64 = 1024;
/// Jitter of the measured model: the spread of a good day, not of an incident.
const REALISTIC_JITTER: f64 = 0.005;

/// What a link does to bytes that cross it, in either direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkSpec {
    /// There and back.
    pub rtt: Duration,
    /// Up to this much is added in each direction, evenly spread.
    pub jitter: Duration,
    /// The share of packets that get lost, 0 to 0.5. TCP repairs that, which shows as delay.
    pub loss: f64,
    /// Bytes a second in each direction; `None` is as fast as the machine.
    pub bandwidth: Option<u64>,
}

/// The `--wan` flag.
#[derive(Clone, Debug, PartialEq)]
pub enum WanModel {
    /// Nodes dial each other directly.
    None,
    /// Measured round-trip times between cloud regions.
    Realistic,
    /// One round-trip time for all pairs.
    Uniform(Duration),
    /// Pairs listed in a file.
    Pairs(Box<PairsFile>),
}

/// A WAN model that cannot be used. The message says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WanError {
    /// Not one of the forms.
    #[error(
        "--wan {0:?} is not a model; use realistic, none, a round-trip time such as 100ms, or a .toml file"
    )]
    NotAModel(String),
    /// The file cannot be used.
    #[error("--wan {}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No figure for a pair of regions.
    #[error("--wan {model} knows no round-trip time between {a} and {b}; {fix}")]
    UnknownPair {
        /// The model.
        model: String,
        /// One region.
        a: RegionName,
        /// The other.
        b: RegionName,
        /// What to do.
        fix: &'static str,
    },
}

/// A file of pairs: `[[pair]]` tables with `regions = ["a", "b"]`, and a `[default]` for all others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairsFile {
    #[serde(skip)]
    file: PathBuf,
    default: Option<LinkFields>,
    #[serde(default)]
    pair: Vec<Pair>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkFields {
    #[serde(with = "units::duration")]
    rtt: Duration,
    #[serde(default, with = "units::duration")]
    jitter: Duration,
    #[serde(default)]
    loss: f64,
    #[serde(default, deserialize_with = "bandwidth")]
    bandwidth: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    regions: [RegionName; 2],
    // Not flattened: serde cannot refuse unknown fields of a flattened struct.
    #[serde(with = "units::duration")]
    rtt: Duration,
    #[serde(default, with = "units::duration")]
    jitter: Duration,
    #[serde(default)]
    loss: f64,
    #[serde(default, deserialize_with = "bandwidth")]
    bandwidth: Option<u64>,
}

impl From<LinkFields> for LinkSpec {
    fn from(LinkFields { rtt, jitter, loss, bandwidth }: LinkFields) -> Self {
        Self { rtt, jitter, loss, bandwidth }
    }
}

impl From<&Pair> for LinkSpec {
    fn from(pair: &Pair) -> Self {
        Self { rtt: pair.rtt, jitter: pair.jitter, loss: pair.loss, bandwidth: pair.bandwidth }
    }
}

/// Bytes a second from `100Mbit`, `1Gbit` or `64MiB`, with or without `/s`.
fn bandwidth<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(d)?;
    let rate = text.trim_end_matches("/s");
    let bits = [("Gbit", 1_000_000_000u64), ("Mbit", 1_000_000), ("kbit", 1000)];
    let found = match bits.iter().find_map(|(unit, scale)| Some((rate.strip_suffix(unit)?, scale))) {
        Some((digits, scale)) => {
            digits.trim().parse::<u64>().ok().and_then(|n| n.checked_mul(*scale)).map(|n| n / 8)
        }
        None => rate.parse::<Size>().ok().map(|size| size.0),
    };
    let hint = || {
        de::Error::custom(format!("{text:?} is not a bandwidth; write \"100Mbit\", \"1Gbit\" or \"64MiB/s\""))
    };
    found.map(Some).ok_or_else(hint)
}

impl WanModel {
    /// Reads the flag's value, and the file when it names one.
    ///
    /// # Errors
    /// [`WanError`].
    pub fn read(text: &str) -> Result<Self, WanError> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let rtt = if digits { parse_duration(&format!("{text}ms")) } else { parse_duration(text) };
        match (text, rtt) {
            ("none", _) => Ok(Self::None),
            ("realistic", _) => Ok(Self::Realistic),
            (_, Ok(rtt)) if rtt <= MAX_RTT => Ok(Self::Uniform(rtt)),
            (_, Err(_)) if text.ends_with(".toml") => {
                PairsFile::read(Path::new(text)).map(|file| Self::Pairs(Box::new(file)))
            }
            _ => Err(WanError::NotAModel(text.chars().take(128).collect())),
        }
    }

    /// The link between two different regions; `None` when nodes dial each other directly.
    ///
    /// # Errors
    /// [`WanError::UnknownPair`].
    pub fn link(&self, a: &RegionName, b: &RegionName) -> Result<Option<LinkSpec>, WanError> {
        let unknown = |model: String, fix| WanError::UnknownPair { model, a: a.clone(), b: b.clone(), fix };
        match self {
            Self::None => Ok(None),
            Self::Uniform(rtt) => Ok(Some(LinkSpec { rtt: *rtt, ..LinkSpec::default() })),
            Self::Realistic => {
                let fix = "use names of cloud regions, --wan 100ms, or a .toml file of pairs";
                let ms =
                    rtt_ms(a.as_str(), b.as_str()).ok_or_else(|| unknown("realistic".to_owned(), fix))?;
                let rtt = Duration::from_millis(ms.into());
                Ok(Some(LinkSpec { rtt, jitter: rtt.mul_f64(REALISTIC_JITTER), ..LinkSpec::default() }))
            }
            Self::Pairs(pairs) => {
                let same = |pair: &&Pair| {
                    pair.regions == [a.clone(), b.clone()] || pair.regions == [b.clone(), a.clone()]
                };
                let spec =
                    pairs.pair.iter().find(same).map(LinkSpec::from).or(pairs.default.map(LinkSpec::from));
                let fix = "add a [[pair]] or a [default] to the file";
                spec.map(Some).ok_or_else(|| unknown(pairs.file.display().to_string(), fix))
            }
        }
    }

    /// Checks that every pair of `regions` has a link.
    ///
    /// # Errors
    /// [`WanError::UnknownPair`] for the first that has none.
    pub fn check(&self, regions: &[RegionName]) -> Result<(), WanError> {
        for (k, a) in regions.iter().enumerate() {
            for b in &regions[..k] {
                self.link(b, a)?;
            }
        }
        Ok(())
    }
}

impl PairsFile {
    fn read(file: &Path) -> Result<Self, WanError> {
        let fail = |reason: String| WanError::File { file: file.to_owned(), reason };
        let text = std::fs::read_to_string(file).map_err(|error| fail(error.to_string()))?;
        let mut found: Self = toml::from_str(&text)
            .map_err(|error| fail(crate::config::ConfigError::parse(file, &text, &error).to_string()))?;
        found.file = file.to_owned();
        let mut seen = BTreeSet::new();
        for pair in &found.pair {
            let [a, b] = &pair.regions;
            if a == b {
                return Err(fail(format!("a pair joins {a} with itself; name two regions")));
            }
            if !seen.insert((a.min(b), a.max(b))) {
                return Err(fail(format!("the pair {a}, {b} is listed twice; remove one")));
            }
        }
        let specs = found.pair.iter().map(LinkSpec::from).chain(found.default.map(LinkSpec::from));
        for LinkSpec { rtt, jitter, loss, bandwidth } in specs {
            if rtt > MAX_RTT || jitter > MAX_RTT {
                return Err(fail(format!("rtt and jitter must be at most {MAX_RTT:?}")));
            }
            if !(0.0..=MAX_LOSS).contains(&loss) {
                return Err(fail(format!(
                    "loss is {loss}; it must be a share from 0 to {MAX_LOSS}, such as 0.001"
                )));
            }
            if bandwidth.is_some_and(|rate| rate < MIN_BANDWIDTH) {
                return Err(fail(format!("bandwidth must be at least {MIN_BANDWIDTH} bytes a second")));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    fn file(text: &str) -> Result<WanModel, String> {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        WanModel::read(file.path().to_str().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_flag_has_four_forms() {
        assert_eq!(WanModel::read("none"), Ok(WanModel::None));
        assert_eq!(WanModel::read("realistic"), Ok(WanModel::Realistic));
        for text in ["100", "100ms", "0.1s"] {
            assert_eq!(WanModel::read(text), Ok(WanModel::Uniform(Duration::from_millis(100))), "{text}");
        }
        for text in ["", "fast", "11s", "-1", "99999999999999999999999"] {
            assert!(WanModel::read(text).unwrap_err().to_string().contains("is not a model"), "{text}");
        }
        assert!(WanModel::read("/nonexistent/x.toml").unwrap_err().to_string().contains("No such file"));
    }

    #[test]
    fn realistic_links_are_the_measured_ones() {
        let (us, eu) = (region("us-east-1"), region("eu-west-1"));
        let link = WanModel::Realistic.link(&us, &eu).unwrap().unwrap();
        assert_eq!(link.rtt, Duration::from_millis(70));
        assert_eq!(WanModel::Realistic.link(&eu, &us).unwrap(), Some(link));
        let error = WanModel::Realistic.check(&[us, eu, region("mars")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "--wan realistic knows no round-trip time between us-east-1 and mars; \
             use names of cloud regions, --wan 100ms, or a .toml file of pairs"
        );
    }

    #[test]
    fn a_file_lists_pairs_and_a_default() {
        let text = "[default]\nrtt='10ms'\n[[pair]]\nregions=['a','b']\nrtt='80ms'\njitter='2ms'\nloss=0.001\nbandwidth='1Gbit'";
        let model = file(text).unwrap();
        let spec = model.link(&region("b"), &region("a")).unwrap().unwrap();
        assert_eq!((spec.rtt, spec.bandwidth), (Duration::from_millis(80), Some(125_000_000)));
        assert_eq!(model.link(&region("a"), &region("c")).unwrap().unwrap().rtt, Duration::from_millis(10));
        let model = file("[[pair]]\nregions=['a','b']\nrtt='80ms'\nbandwidth='64MiB/s'").unwrap();
        assert!(model.check(&[region("a"), region("c")]).unwrap_err().to_string().contains("add a [[pair]]"));
    }

    #[test]
    fn bad_files_say_what_is_wrong() {
        let pair = "[[pair]]\nregions=['a','b']\n";
        let cases = [
            ("x = 1".to_owned(), "unknown field `x`"),
            (format!("{pair}rtt='80'"), "is not a duration"),
            (pair.to_owned(), "missing field `rtt`"),
            (format!("{pair}rtt='1ms'\nbandwidth='fast'"), "is not a bandwidth"),
            (format!("{pair}rtt='1ms'\nbandwidth='1B'"), "at least 1024 bytes"),
            (format!("{pair}rtt='1ms'\nloss=1.5"), "a share from 0 to 0.5"),
            (format!("{pair}rtt='1ms'\nloss=nan"), "a share from 0 to 0.5"),
            (format!("{pair}rtt='1h'"), "at most 10s"),
            (format!("{pair}rtt='1ms'\n{}rtt='1ms'", "[[pair]]\nregions=['b','a']\n"), "listed twice"),
            ("[[pair]]\nregions=['a','a']\nrtt='1ms'".to_owned(), "with itself"),
            ("[[pair]]\nregions=['a']\nrtt='1ms'".to_owned(), "invalid length 1"),
        ];
        for (text, words) in cases {
            let error = file(&text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
