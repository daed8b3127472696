//! Request bodies: parsed, read as an item, and written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_dynamo::json::body::parse_body;
use meridian_dynamo::json::{item_from_json, item_to_json};

fuzz_target!(|body: &[u8]| {
    if let Ok(item) = parse_body(body).and_then(item_from_json) {
        assert_eq!(item_from_json(item_to_json(&item)), Ok(item));
    }
});
