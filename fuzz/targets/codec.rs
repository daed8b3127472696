//! Items and numbers as the disk holds them: every form that is read is the one that is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_dynamo::codec::{decode_item, encode_item};
use meridian_dynamo::number::order;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(item) = decode_item(bytes) {
        assert_eq!(encode_item(&item), bytes);
    }
    if let Some((number, taken)) = order::decode(bytes) {
        let mut written = Vec::new();
        order::encode(number, &mut written);
        assert_eq!(written, bytes[..taken]);
        assert_eq!(number.to_string().parse(), Ok(number));
    }
});
