//! Clients that only the database knows. `data/places.mmdb` has three made-up places and a network without one; it was written by
//! the Python package `mmdb_writer`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use meridian_dns::geo::{ClientNetwork, Database, Located, Locator, Networks, Point};
use meridian_types::RegionName;
use std::path::Path;
use std::sync::Arc;

fn region(name: &str) -> RegionName {
    RegionName::new(name).unwrap()
}

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

#[test]
fn a_client_is_at_home_in_the_region_nearest_to_its_place() {
    let place = |latitude, longitude| Point { latitude, longitude };
    let locator = Locator {
        networks: Networks::new([("100.64.7.0/24".parse().unwrap(), region("own"))]),
        database: Some(Arc::new(Database::open(&data("places.mmdb")).unwrap())),
        places: [
            (region("virginia"), place(38.9, -77.4)),
            (region("dublin"), place(53.4, -6.2)),
            (region("sydney"), place(-33.9, 151.2)),
        ]
        .into(),
        here: Some(region("here")),
    };
    let found = |address: &str| {
        let Located { region, scope } = locator.locate(ClientNetwork::of(address.parse().unwrap()));
        (region.unwrap().to_string(), scope)
    };
    assert_eq!(found("100.64.1.1").0, "virginia");
    assert_eq!(found("100.65.1.1"), ("dublin".to_owned(), 16));
    assert_eq!(found("2001:db8:7::1").0, "sydney");
    assert_eq!(found("100.64.7.1"), ("own".to_owned(), 24), "an operator's word counts for more");
    assert_eq!(found("100.64.6.1").1, 24, "its neighbours do not share an answer with it");
    assert_eq!(found("100.66.0.1").0, "here", "a network without a place");
    assert_eq!(found("9.9.9.9").0, "here", "a network that is not in it");
}

#[test]
fn what_is_no_database_is_refused_with_a_hint() {
    for (file, text) in [("missing.mmdb", "cannot read"), ("../database.rs", "MaxMind City database")] {
        let error = Database::open(&data(file)).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
