//! A scan's page over the groups of a table, one after the other.

use super::catalog::{Catalog, CatalogTable};
use super::evaluate::{GroupRead, GroupScan, ScanPart};
use super::serve::{ReplicatedTables, internal};
use meridian_api::{Reply, RequestContext};
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::read::{Page, ScanOp};
use meridian_types::PolicyName;
use meridian_types::hash::group_ordinal;

impl ReplicatedTables {
    /// Fills one page: from the group where the last page ended, on through the groups behind it; `None` when one of them serves the
    /// table no more.
    pub(super) async fn scan_groups(
        &self,
        ctx: &RequestContext,
        catalog: &Catalog,
        table: &CatalogTable,
        op: &ScanOp,
    ) -> Result<Option<Reply<Page>>, DynamoError> {
        let position = op.start(&table.description.definition.schema, table.description.id)?;
        let here = &self.here.region;
        let mut shares = Vec::new();
        for policy in table.policies_shown(catalog, here) {
            let entry = catalog.system.policies.get(policy);
            let count = entry.map(|entry| entry.policy.groups);
            let count = count
                .ok_or_else(|| internal(format_args!("the groups of policy {policy} are not known yet")))?;
            shares.extend((0..count).map(|ordinal| (policy, count, ordinal)));
        }
        // Where the last page ended tells what is done.
        let first = match &position {
            Some(position) => {
                let ended = table.policy_of(catalog, here, &position.key.partition)?;
                let at = |(policy, count, ordinal): &(&PolicyName, u32, u32)| {
                    *policy == ended && *ordinal == group_ordinal(position.hash, *count)
                };
                shares.iter().position(at).unwrap_or(0)
            }
            None => 0,
        };
        let mut page = Page::default();
        let mut last = None;
        let mut seen_at = Vec::new();
        let mut served = (self.replication.own(), true);
        for (at, (policy, _, ordinal)) in shares.into_iter().enumerate().skip(first) {
            // A hash of that remainder: where any item of this share lives.
            let homes = self.homes(catalog, policy, u64::from(ordinal))?;
            let part = GroupScan {
                op: op.clone(),
                resume: position.is_some() && at == first,
                seen: (page.scanned_count, page.read_bytes),
            };
            let read = GroupRead::Scan(table.place(), part);
            let done = self.read_home::<ScanPart>(ctx, table, &homes, &read, op.shape.consistent).await?;
            let Some(part) = done.answer else { return Ok(None) };
            let part = part?;
            seen_at.extend(table.seen(self, done.positions));
            served = (done.by, served.1 && done.consistent);
            page.items.extend(part.page.items);
            page.count += part.page.count;
            page.scanned_count += part.page.scanned_count;
            page.read_bytes += part.page.read_bytes;
            last = part.last.or(last);
            if part.full {
                page.last_evaluated_key = last;
                break;
            }
        }
        Ok(Some(self.reply(ctx, page, seen_at, served.0, served.1)))
    }
}
