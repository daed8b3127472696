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

/// Takes the edge's own cookies out of a request. What is damaged is dropped: the client loses a promise, and not its request.
pub fn take(headers: &mut HeaderMap) -> Brought {
    let mut brought = Brought::default();
    let own = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default().trim();
        name == REGION || name == TOKEN
    };
    let texts: Vec<&str> = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
    if !texts.iter().any(|text| text.split(';').any(own)) {
        return brought;
    }
    let mut rest: Vec<String> = Vec::new();
    for text in texts {
        let mut others: Vec<&str> = Vec::new();
        for pair in text.split(';').map(str::trim) {
            match pair.split_once('=') {
                Some((REGION, value)) => brought.region = RegionName::new(value).ok().or(brought.region),
                Some((TOKEN, value)) => {
                    if let Ok(token) = value.parse::<Token>() {
                        brought.token.get_or_insert_default().join(&token);
                    }
                }
                _ if pair.is_empty() || own(pair) => {}
                _ => others.push(pair),
            }
        }
        if !others.is_empty() {
            rest.push(others.join("; "));
        }
    }
    // What is not text cannot be ours.
    let opaque = headers.get_all(COOKIE).iter().filter(|value| value.to_str().is_err()).cloned();
    let values: Vec<HeaderValue> =
        rest.into_iter().filter_map(|text| HeaderValue::try_from(text).ok()).chain(opaque).collect();
    headers.remove(COOKIE);
    for value in values {
        headers.append(COOKIE, value);
    }
    brought
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
        assert_eq!(headers, cookies(&["sid=1; x=a=b", "y=2"]));
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
