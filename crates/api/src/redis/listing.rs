//! Lists keys: SCAN, KEYS and DBSIZE.

use super::args::matches;
use super::commands::Listing;
use super::error::RedisError;
use super::front::{Front, Outcome};
use super::layout::{KEY, KIND, Kind, is_live, place};
use super::reply::Reply;
use super::scan::Slice;
use crate::tables::RequestContext;
use bytes::Bytes;
use meridian_dynamo::expr::Projection;
use meridian_dynamo::read::{Page, PageShape, ScanOp, Segment};
use meridian_dynamo::{AttributeValue, Item};
use meridian_types::Token;

/// Most keys that KEYS answers with.
const MAX_KEYS: usize = 100_000;
/// Most slices that one SCAN looks at.
const MAX_SLICES: usize = 256;

impl Front {
    pub(crate) async fn list(
        &self,
        listing: &Listing,
        context: &RequestContext,
        token: &mut Token,
    ) -> Outcome {
        match listing {
            Listing::Count => {
                let (mut count, mut after) = (0usize, None);
                loop {
                    let page = self.page((None, after), None, true, context, token).await?;
                    count += usize::try_from(page.count).unwrap_or(usize::MAX);
                    after = page.last_evaluated_key;
                    if after.is_none() {
                        return Ok(Reply::count(count));
                    }
                }
            }
            Listing::Keys { pattern } => {
                let (mut keys, mut after) = (Vec::new(), None);
                loop {
                    let page = self.page((None, after), None, false, context, token).await?;
                    keys.extend(found(&page, Some(pattern), None));
                    if keys.len() > MAX_KEYS {
                        return Err(RedisError::err(format_args!(
                            "there are more than {MAX_KEYS} keys; use SCAN"
                        )));
                    }
                    after = page.last_evaluated_key;
                    if after.is_none() {
                        return Ok(Reply::Array(keys));
                    }
                }
            }
            Listing::Scan { cursor, count, pattern, kind } => {
                let (mut keys, mut looked_at) = (Vec::new(), 0u32);
                let mut slice = Slice::of(*cursor).ok_or(RedisError::Cursor)?;
                for _ in 0..MAX_SLICES {
                    // Crowded slices are halved; one that cannot be is read to its end.
                    let mut page =
                        self.page((Some(slice.segment()), None), Some(*count), false, context, token).await?;
                    if page.last_evaluated_key.is_some()
                        && let Some(half) = slice.halved()
                    {
                        slice = half;
                        continue;
                    }
                    loop {
                        looked_at += page.scanned_count;
                        keys.extend(found(&page, pattern.as_ref(), kind.as_ref()));
                        let Some(after) = page.last_evaluated_key else { break };
                        page = self
                            .page((Some(slice.segment()), Some(after)), None, false, context, token)
                            .await?;
                    }
                    match slice.next() {
                        None => return Ok(scanned(0, keys)),
                        Some(next) => slice = next,
                    }
                    if looked_at >= *count {
                        break;
                    }
                }
                Ok(scanned(slice.cursor(), keys))
            }
        }
    }

    /// One page of the keys that are there.
    async fn page(
        &self,
        (segment, start_after): (Option<Segment>, Option<Item>),
        limit: Option<u32>,
        count_only: bool,
        context: &RequestContext,
        token: &mut Token,
    ) -> Result<Page, RedisError> {
        let shape = PageShape {
            filter: Some(is_live(self.config.now())),
            projection: Some(Projection::new(vec![place(KEY), place(KIND)])),
            count_only,
            limit,
            consistent: false,
        };
        let op = ScanOp { table: self.config.table.clone(), segment, shape, start_after };
        let reply = self.tables.scan(context, op).await?;
        token.join(&reply.token);
        Ok(reply.value)
    }
}

/// The keys on a page that were asked for.
fn found(page: &Page, pattern: Option<&Bytes>, kind: Option<&Bytes>) -> Vec<Reply> {
    let wanted = page.items.iter().filter_map(|item| {
        let (Some(AttributeValue::B(key)), Some(AttributeValue::S(stored))) = (item.get(KEY), item.get(KIND))
        else {
            return None;
        };
        let redis_type = Kind::from_name(stored)?.redis_type();
        let fits = pattern.is_none_or(|pattern| matches(pattern, key))
            && kind.is_none_or(|kind| kind.eq_ignore_ascii_case(redis_type.as_bytes()));
        fits.then(|| Reply::Bulk(Bytes::copy_from_slice(key)))
    });
    wanted.collect()
}

fn scanned(cursor: u64, keys: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::text(&cursor.to_string()), Reply::Array(keys)])
}
