//! The edge's own cookies: the region that took a client's write, and the positions that the client has seen.
//!
//! Neither is a secret, and neither lets anyone see what they may not: a region that cannot serve is not asked for a cookie's sake, and a
//! token can only make a read wait. So they are not signed.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use meridian_types::{RegionName, Token};

/// The name of the cookie with the region.
pub const REGION: &str = "meridian_region";
/// The name of the cookie with the positions.
pub const TOKEN: &str = "meridian_token";
/// How long a client's positions are kept, in seconds: far longer than a replica that is used is behind.
const TOKEN_AGE_S: u64 = 3_600;

/// What a client has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// The region that took its last write.
    pub region: Option<RegionName>,
    /// What it has seen.
    pub token: Option<Token>,
}

/// Takes the edge's own cookies out of a request, and makes one header of the rest: HTTP/2 may bring each cookie in a header of its own, and
/// HTTP/1.1 knows one only (RFC 9113, section 8.2.3). What is damaged is dropped: the client loses a promise, and not its request.
pub fn take(headers: &mut HeaderMap) -> Brought {
    let mut brought = Brought::default();
    if !headers.contains_key(COOKIE) {
        return brought;
    }
    let values: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let several = values.len() > 1;
    let all = values.join(b"; ".as_slice());
    let pairs = || all.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty());
    let others: Vec<&[u8]> = pairs().filter(|pair| own(pair).is_none()).collect();
    if others.len() == pairs().count() && !several {
        return brought;
    }
    for (name, value) in pairs().filter_map(own) {
        if name == REGION {
            brought.region = RegionName::new(value).ok().or(brought.region);
        } else if let Ok(token) = value.parse::<Token>() {
            brought.token.get_or_insert_default().join(&token);
        }
    }
    headers.remove(COOKIE);
    if !others.is_empty() {
        // All of it was in headers before, so this is always a value.
        let rest = HeaderValue::from_bytes(&others.join(b"; ".as_slice()));
        _ = rest.map(|rest| headers.insert(COOKIE, rest));
    }
    brought
}

/// The name and the value of one of the edge's own cookies; the value is empty when it is no text.
fn own(pair: &[u8]) -> Option<(&'static str, &str)> {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    let name = halves.next()?.trim_ascii();
    let name = [REGION, TOKEN].into_iter().find(|own| own.as_bytes() == name)?;
    let value = halves.next().and_then(|value| std::str::from_utf8(value).ok());
    Some((name, value.unwrap_or_default()))
}

/// `Set-Cookie` for the region that took a write, kept so many milliseconds.
#[must_use]
pub fn set_region(region: &RegionName, ms: u32, tls: bool) -> Option<HeaderValue> {
    value(REGION, region.as_str(), u64::from(ms.div_ceil(1_000)), tls)
}

/// `Set-Cookie` for all that the client has seen.
#[must_use]
pub fn set_token(token: &Token, tls: bool) -> Option<HeaderValue> {
    value(TOKEN, &token.to_string(), TOKEN_AGE_S, tls)
}

fn value(name: &str, text: &str, age_s: u64, tls: bool) -> Option<HeaderValue> {
    let secure = if tls { "; Secure" } else { "" };
    HeaderValue::try_from(format!("{name}={text}; Max-Age={age_s}; Path=/; HttpOnly; SameSite=Lax{secure}"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_types::{GroupId, Incarnation, Position};
    use proptest::prelude::*;

    fn token(group: u32, index: u64) -> Token {
        Position { group: GroupId(group), incarnation: Incarnation(0), index }.into()
    }

    fn cookies(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (COOKIE, value.parse().unwrap())).collect()
    }

    #[test]
    fn own_cookies_are_taken_and_others_stay() {
        let (a, b) = (token(1, 5), token(2, 9));
        let mut headers = cookies(&[
            &format!("sid=1; {TOKEN}={a}; x=a=b"),
            &format!("{REGION}=eu-west-1;{TOKEN}={b}"),
            "y=2",
        ]);
        let brought = take(&mut headers);
        let mut both = a;
        both.join(&b);
        assert_eq!(
            brought,
            Brought { region: Some(RegionName::new("eu-west-1").unwrap()), token: Some(both) }
        );
        assert_eq!(headers, cookies(&["sid=1; x=a=b; y=2"]));
    }

    #[test]
    fn backends_get_one_header_whatever_is_in_it() {
        let mut headers = cookies(&["a=1", "b=2"]);
        headers.append(COOKIE, HeaderValue::from_bytes(b"c=\xff; meridian_region=a").unwrap());
        assert_eq!(take(&mut headers).region, Some(RegionName::new("a").unwrap()));
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[COOKIE].as_bytes(), b"a=1; b=2; c=\xff");
        let mut plain = cookies(&["a=1;b=2"]);
        assert_eq!((take(&mut plain), plain), (Brought::default(), cookies(&["a=1;b=2"])));
    }

    #[test]
    fn what_is_damaged_is_dropped() {
        let mut headers = cookies(&[&format!("{TOKEN}=zzz; {REGION}=Not A Region; {TOKEN}; a=1")]);
        assert_eq!(take(&mut headers), Brought::default());
        assert_eq!(headers, cookies(&["a=1"]));
    }

    #[test]
    fn browsers_are_told_to_keep_them_to_themselves() {
        let region = RegionName::new("a").unwrap();
        let set = set_region(&region, 5_000, true).unwrap();
        assert_eq!(set, "meridian_region=a; Max-Age=5; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert!(!set_token(&token(1, 1), false).unwrap().to_str().unwrap().contains("Secure"));
    }

    proptest! {
        #[test]
        fn what_was_set_comes_back(index in any::<u64>(), other in "[a-z]{1,9}=[a-z0-9]{0,9}") {
            let seen = token(3, index);
            let set = set_token(&seen, false).unwrap();
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let mut headers = cookies(&[&format!("{other}; {pair}")]);
            prop_assert_eq!(take(&mut headers).token, Some(seen));
            prop_assert_eq!(headers, cookies(&[&other]));
        }

        #[test]
        fn garbage_is_no_panic(text in "[ -~]{0,80}") {
            if let Ok(value) = HeaderValue::try_from(text) {
                let mut headers = HeaderMap::new();
                headers.insert(COOKIE, value);
                _ = take(&mut headers);
            }
        }
    }
}
