//! A scan's page over the groups of a policy, one group after the other.

use super::catalog::{Catalog, CatalogTable};
use super::evaluate::{GroupRead, GroupScan, ScanPart};
use super::serve::{ReplicatedTables, internal};
use meridian_api::{Reply, RequestContext};
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::read::{Page, ScanOp};
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
        let no_groups = || internal(format_args!("the groups of policy {} are not known yet", table.policy));
        let entry = catalog.system.policies.get(&table.policy).ok_or_else(no_groups)?;
        let count = entry.policy.groups;
        let position = op.start(&table.description.definition.schema, table.description.id)?;
        let first = match &position {
            Some(position) if count > 0 => group_ordinal(position.hash, count),
            _ => 0,
        };
        let mut page = Page::default();
        let mut last = None;
        let mut seen_at = Vec::new();
        let mut served = (self.replication.own(), true);
        for ordinal in first..count {
            // A hash of that remainder: where any item of this share lives.
            let homes = self.homes(catalog, table, u64::from(ordinal))?;
            let part = GroupScan {
                op: op.clone(),
                resume: position.is_some() && ordinal == first,
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
