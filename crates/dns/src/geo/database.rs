//! A MaxMind database: where the world's networks are on the earth.

use maxminddb::{MaxMindDbError, Reader, geoip2};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The mean radius of the earth, in kilometres.
const RADIUS: f64 = 6_371.0;

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the database {}: {source}; name a MaxMind City database (.mmdb)", path.display())]
pub struct DatabaseError {
    path: PathBuf,
    source: MaxMindDbError,
}

/// A point on the earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// North of the equator.
    pub latitude: f64,
    /// East of Greenwich.
    pub longitude: f64,
}

impl Point {
    /// The way along the surface, by the haversine formula.
    #[must_use]
    pub fn kilometres_to(self, other: Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let north = (to - from) / 2.0;
        let east = (other.longitude - self.longitude).to_radians() / 2.0;
        let chord = north.sin().powi(2) + from.cos() * to.cos() * east.sin().powi(2);
        2.0 * RADIUS * chord.clamp(0.0, 1.0).sqrt().asin()
    }
}

/// An open database, in memory.
pub struct Database {
    reader: Reader<Vec<u8>>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// Reads a database file.
    ///
    /// # Errors
    /// [`DatabaseError`] when it cannot be read or is no such database.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        let wrong = |source| DatabaseError { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(|error| wrong(error.into()))?;
        Ok(Self { reader: Reader::from_source(bytes).map_err(wrong)? })
    }

    /// Where an address is, and the prefix of the network that it is in; `None` when that is not known.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Option<(Point, u8)> {
        let found = self.reader.lookup(address).ok()?;
        let prefix = found.network().ok()?.prefix();
        let city: geoip2::City<'_> = found.decode().ok()??;
        let (latitude, longitude) = (city.location.latitude?, city.location.longitude?);
        Some((Point { latitude, longitude }, prefix))
    }
}
