//! One response that is kept.

use super::control::{Allowance, is_open, may_keep, tags};
use super::rules;
use bytes::Bytes;
use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, COOKIE, ETAG, HOST, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, PRAGMA, RANGE, VARY,
};
use http::request::Parts as Request;
use http::response::Parts as Response;
use http::{HeaderMap, Method, StatusCode};
use http_cache_semantics::{AfterResponse, BeforeRequest, CachePolicy};
use std::time::{Duration, SystemTime};

/// What an entry costs besides its bytes.
const OVERHEAD: usize = 1_024;

/// A response, and what is known of its freshness.
#[derive(Clone, Debug)]
pub struct Entry {
    policy: CachePolicy,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    lifetime: Duration,
    allowance: Allowance,
    open: bool,
    tags: Vec<String>,
    /// Bytes of the headers of the request that it is compared by.
    request_bytes: usize,
}

/// What may be done with an entry for one request.
#[derive(Debug)]
pub enum Judged {
    /// It is for other requests.
    Other,
    /// It is served as it is; so many seconds are left.
    Fresh(u64),
    /// It is served, and looked at anew meanwhile.
    Revalidate,
    /// It must be looked at anew first.
    Stale,
}

impl Entry {
    /// Keeps a response, if it may be.
    #[must_use]
    pub fn new(request: &Request, response: &Response, body: Bytes, now: SystemTime) -> Option<Self> {
        if !may_keep(&request.headers, response.status, &response.headers) {
            return None;
        }
        let request = compared(request, &response.headers);
        let policy = CachePolicy::new_options(&request, response, now, rules());
        Self::of((policy, bytes(&request.headers)), response.status, response.headers.clone(), body, now)
    }

    fn of(
        (policy, request_bytes): (CachePolicy, usize),
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        now: SystemTime,
    ) -> Option<Self> {
        let lifetime = policy.time_to_live(now).saturating_add(policy.age(now));
        let allowance = Allowance::of(&headers);
        let useful = !lifetime.is_zero() || allowance != Allowance::default();
        (policy.is_storable() && useful).then(|| Self {
            lifetime,
            allowance,
            open: is_open(&headers),
            tags: tags(&headers),
            request_bytes,
            policy,
            status,
            headers,
            body,
        })
    }

    /// What may be done with it for a request.
    #[must_use]
    pub fn judge(&self, request: &Request, now: SystemTime) -> Judged {
        if request.headers.contains_key(COOKIE) && !self.open {
            return Judged::Other;
        }
        match self.policy.before_request(request, now) {
            BeforeRequest::Fresh(_) => Judged::Fresh(self.policy.time_to_live(now).as_secs()),
            BeforeRequest::Stale { matches: false, .. } => Judged::Other,
            BeforeRequest::Stale { .. } => {
                let asks = request.headers.contains_key(http::header::CACHE_CONTROL)
                    || request.headers.contains_key(http::header::PRAGMA);
                match self.stale_for(now) <= self.allowance.while_revalidate && !asks {
                    true => Judged::Revalidate,
                    false => Judged::Stale,
                }
            }
        }
    }

    /// Has a request ask for the response only if it is another one by now. What the client itself has goes: it is compared with what the
    /// cache has then, and a backend's word on it would be of use for this client only.
    pub fn ask_anew(kept: Option<&Self>, request: &mut Request) {
        request.method = Method::GET;
        for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
            request.headers.remove(name);
        }
        let Some(kept) = kept else { return };
        for (of_response, of_request) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            kept.headers.get(of_response).map(|value| request.headers.insert(of_request, value.clone()));
        }
    }

    /// Whether it is better than a failure.
    #[must_use]
    pub fn serves_on_error(&self, now: SystemTime) -> bool {
        let stale_for = self.stale_for(now);
        stale_for <= self.allowance.if_error.max(self.allowance.while_revalidate)
    }

    fn stale_for(&self, now: SystemTime) -> Duration {
        self.policy.age(now).saturating_sub(self.lifetime)
    }

    /// What becomes of it by what the backend says of it now; `None` when the response is a new one.
    #[must_use]
    pub fn renewed(&self, asked: &Request, said: &Response, now: SystemTime) -> Option<Self> {
        // A backend that has nothing new need not say again by what its responses differ.
        let vary = if said.headers.contains_key(VARY) { &said.headers } else { &self.headers };
        let mut asked_by = compared(asked, vary);
        for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE] {
            asked.headers.get(&name).map(|value| asked_by.headers.insert(name, value.clone()));
        }
        match self.policy.after_response(&asked_by, said, now) {
            AfterResponse::NotModified(policy, parts) => {
                let policy = (policy, bytes(&asked_by.headers));
                Self::of(policy, self.status, parts.headers, self.body.clone(), now)
            }
            AfterResponse::Modified(..) => None,
        }
    }

    /// The response as it is served now.
    #[must_use]
    pub fn response(&self, now: SystemTime) -> (StatusCode, HeaderMap, Bytes) {
        let mut headers = self.headers.clone();
        headers.insert(AGE, HeaderValue::from(self.policy.age(now).as_secs()));
        (self.status, headers, self.body.clone())
    }

    /// The names by which it can be forgotten.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn cost(&self) -> usize {
        // The policy holds the headers of the response once more.
        OVERHEAD + bytes(&self.headers) * 2 + self.request_bytes + self.body.len()
    }
}

fn bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// A request without the headers that others are not compared by: they would take memory for as long as the response is kept, and may be secrets.
fn compared(request: &Request, response: &HeaderMap) -> Request {
    let vary = response.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let vary =
        vary.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok());
    let mut headers = HeaderMap::new();
    for name in [HOST, AUTHORIZATION, CACHE_CONTROL, PRAGMA].into_iter().chain(vary) {
        if !headers.contains_key(&name) {
            request.headers.get_all(&name).iter().for_each(|value| _ = headers.append(&name, value.clone()));
        }
    }
    let (mut compared, ()) = http::Request::new(()).into_parts();
    (compared.method, compared.uri, compared.version) =
        (request.method.clone(), request.uri.clone(), request.version);
    compared.headers = headers;
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn request(pairs: &[(&str, &str)]) -> Request {
        let mut parts = http::Request::get("/a").body(()).unwrap().into_parts().0;
        parts.headers = headers(pairs);
        parts
    }

    fn response(status: u16, pairs: &[(&str, &str)]) -> Response {
        let mut parts = http::Response::builder().status(status).body(()).unwrap().into_parts().0;
        parts.headers = headers(pairs);
        parts
    }

    fn kept(asked: &[(&str, &str)], said: &[(&str, &str)]) -> Option<Entry> {
        Entry::new(&request(asked), &response(200, said), Bytes::from_static(b"x"), at(0))
    }

    #[test]
    fn fresh_then_stale_then_gone() {
        let entry = kept(
            &[],
            &[
                ("cache-control", "max-age=10, stale-while-revalidate=5, stale-if-error=60"),
                ("etag", "\"1\""),
            ],
        )
        .unwrap();
        let judge = |seconds| entry.judge(&request(&[]), at(seconds));
        assert!(matches!(judge(9), Judged::Fresh(1)));
        assert!(matches!(judge(14), Judged::Revalidate) && matches!(judge(16), Judged::Stale));
        assert!(entry.serves_on_error(at(70)) && !entry.serves_on_error(at(71)));
        let again = entry.renewed(
            &request(&[]),
            &response(304, &[("etag", "\"1\""), ("cache-control", "max-age=20")]),
            at(16),
        );
        assert!(matches!(again.unwrap().judge(&request(&[]), at(30)), Judged::Fresh(6)));
        assert!(entry.renewed(&request(&[]), &response(200, &[]), at(16)).is_none());
        assert_eq!(entry.response(at(4)).1[AGE], "4");
    }

    #[test]
    fn a_backend_is_asked_about_what_is_kept_and_not_about_what_the_client_has() {
        let day = "Tue, 15 Nov 1994 12:45:26 GMT";
        let said = [("cache-control", "max-age=1"), ("etag", "\"1\""), ("last-modified", day)];
        let own = [
            ("if-none-match", "\"2\""),
            ("if-modified-since", "x"),
            ("if-range", "\"2\""),
            ("range", "bytes=0-1"),
            ("a", "b"),
        ];
        let asked = |entry: Option<&Entry>| {
            let mut asked = request(&own);
            asked.method = Method::HEAD;
            Entry::ask_anew(entry, &mut asked);
            assert_eq!(asked.method, Method::GET);
            asked.headers
        };
        let both = headers(&[("a", "b"), ("if-none-match", "\"1\""), ("if-modified-since", day)]);
        assert_eq!(asked(kept(&[], &said).as_ref()), both);
        assert_eq!(asked(kept(&[], &said[..2]).as_ref()), headers(&[("a", "b"), ("if-none-match", "\"1\"")]));
        assert_eq!(asked(None), headers(&[("a", "b")]));
    }

    #[test]
    fn what_differs_by_a_header_is_for_its_like() {
        let entry = kept(
            &[("accept-language", "de")],
            &[("cache-control", "max-age=9"), ("vary", "Accept-Language")],
        )
        .unwrap();
        assert!(matches!(entry.judge(&request(&[("accept-language", "de")]), at(0)), Judged::Fresh(9)));
        assert!(matches!(entry.judge(&request(&[("accept-language", "fr")]), at(0)), Judged::Other));
        let star = kept(&[], &[("cache-control", "max-age=9"), ("vary", "*")]);
        assert!(star.is_none_or(|entry| matches!(entry.judge(&request(&[]), at(0)), Judged::Other)));
    }

    #[test]
    fn only_what_requests_are_compared_by_is_kept_of_them() {
        let long = "x".repeat(10_000);
        let asked = [("host", "a.test"), ("accept-language", "de"), ("referer", &long)];
        let said = [("cache-control", "max-age=9"), ("vary", "Accept-Language, X-Other"), ("etag", "\"1\"")];
        let entry = kept(&asked, &said).unwrap();
        assert!(entry.cost() < OVERHEAD + 300, "{} bytes", entry.cost());
        let mut again = request(&asked);
        Entry::ask_anew(Some(&entry), &mut again);
        let renewed = entry.renewed(&again, &response(304, &[("etag", "\"1\"")]), at(20)).unwrap();
        assert!(renewed.cost() < OVERHEAD + 300, "{} bytes", renewed.cost());
        let other = request(&[("host", "a.test"), ("accept-language", "fr")]);
        assert!(matches!(renewed.judge(&other, at(20)), Judged::Other));
        assert!(matches!(renewed.judge(&request(&asked), at(20)), Judged::Fresh(9)));
    }

    #[test]
    fn what_is_somebody_s_own_is_not_kept() {
        for cache_control in ["private, max-age=9", "no-store, max-age=9", "max-age=0"] {
            assert!(kept(&[], &[("cache-control", cache_control)]).is_none(), "{cache_control}");
        }
        let own = [("authorization", "Bearer x")];
        assert!(kept(&own, &[("cache-control", "max-age=9")]).is_none());
        assert!(kept(&own, &[("cache-control", "public, max-age=9")]).is_some());
        let plain = kept(&[], &[("cache-control", "max-age=9")]).unwrap();
        assert!(matches!(plain.judge(&request(&[("cookie", "sid=1")]), at(0)), Judged::Other));
    }
}
