//! A shared cache (RFC 9111), as decisions: what is kept, when it is served, and how it is forgotten. Time is an argument.
//!
//! The rules of freshness, of `Vary` and of revalidation are the crate `http-cache-semantics`'s. What is stricter here than the RFC asks:
//! nothing with `Set-Cookie` is kept, nothing without an explicit lifetime, and what a request with cookies got only when the response
//! says `public` or `s-maxage`.

mod control;
mod entry;
mod status;
mod store;
mod validate;

pub use control::{Allowance, may_keep, tags};
pub use entry::{Entry, Judged};
pub use status::{Forwarded, Outcome};
pub use store::{Generation, Key, Store, Usage};
pub use validate::not_modified;

use http_cache_semantics::CacheOptions;

/// How the library is to judge: for many users, and without guesses at a lifetime.
#[must_use]
pub fn rules() -> CacheOptions {
    CacheOptions { shared: true, cache_heuristic: 0.0, ..CacheOptions::default() }
}
