//! Scan.

use super::body::Body;
use super::constraints::Constraints;
use super::expressions::Families;
use super::legacy::{self, RawFilter};
use super::page::{Common, check_start};
use crate::capacity::ReturnCapacity;
use crate::error::DynamoError;
use crate::key::TableSchema;
use crate::read::{MAX_SEGMENTS, PageShape, ScanOp, Segment};
use crate::value::Item;
use meridian_types::TableName;

/// A Scan request that is yet to be matched with its table's key.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// The table.
    pub table: TableName,
    /// What to report of its cost.
    pub capacity: ReturnCapacity,
    segment: Option<Segment>,
    shape: PageShape,
    start: Option<Item>,
    index: Option<DynamoError>,
}

/// Parses and checks a Scan request.
///
/// # Errors
/// The API's exceptions, in its own order.
pub fn parse(text: &[u8]) -> Result<Scan, DynamoError> {
    let mut body = Body::parse(text)?;
    let mut common = Common::read(&mut body, "ScanFilter")?;
    let segment = body.integer("Segment")?;
    let total = body.integer("TotalSegments")?;

    let mut constraints = Constraints::default();
    if let Some(limit) = common.limit {
        constraints.at_least(limit, "Limit", 1);
    }
    let most = i32::try_from(MAX_SEGMENTS).unwrap_or(i32::MAX);
    if let Some(segment) = segment {
        constraints.at_least(segment, "Segment", 0);
        constraints.at_most(segment, "Segment", most - 1);
    }
    if let Some(total) = total {
        constraints.at_least(total, "TotalSegments", 1);
        constraints.at_most(total, "TotalSegments", most);
    }
    if common.table.as_deref() == Some("") {
        constraints.table(Some(""));
    }
    constraints.finish()?;
    let mut constraints = Constraints::default();
    let capacity = constraints.return_capacity(common.return_capacity.as_deref());
    let table = constraints.table(common.table.as_deref());
    if let Some(filter) = &common.older_filter {
        filter.constrain(&mut constraints, "scanFilter");
    }
    constraints.finish()?;

    let mut families = Families::default();
    families
        .older("AttributesToGet", common.attributes_to_get.is_some())
        .older("ScanFilter", common.older_filter.is_some())
        .older("ConditionalOperator", common.conditional_operator.is_some())
        .expression("ProjectionExpression", common.projection.is_some())
        .expression("FilterExpression", common.filter.is_some());
    common.expressions.check(&families, ": FilterExpression is null")?;
    let any = common.any_of_filter()?;
    let older = common.older_filter.take().map(RawFilter::check).transpose()?;
    common.check_attributes_to_get()?;
    let start = common.start_key()?;
    let mut placeholders = common.expressions.placeholders();
    let filter = common.filter(&mut placeholders)?;
    let projection = common.projection(&mut placeholders)?;
    common.check_select()?;
    common.check_select_projection()?;
    let segment = segment_of(segment, total)?;
    placeholders.check_unused()?;
    let filter = filter.or_else(|| legacy::condition(older.unwrap_or_default(), any));
    // The constraints hold, so there is a table.
    let table = table.ok_or_else(|| DynamoError::validation("Invalid TableName"))?;
    let index = common.check_index().err();
    Ok(Scan { table, capacity, segment, shape: common.shape(filter, projection), start, index })
}

fn segment_of(segment: Option<i32>, total: Option<i32>) -> Result<Option<Segment>, DynamoError> {
    let message = match (segment, total) {
        (None, None) => return Ok(None),
        (Some(segment), Some(total)) if segment < total => {
            let (index, total) = (u32::try_from(segment), u32::try_from(total));
            return Ok(index.ok().zip(total.ok()).map(|(index, total)| Segment { index, total }));
        }
        (Some(_), Some(_)) => {
            "The Segment parameter is zero-based and must be less than parameter TotalSegments"
        }
        (Some(_), None) => {
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is present"
        }
        (None, Some(_)) => {
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is present"
        }
    };
    Err(DynamoError::validation(message))
}

impl Scan {
    /// Matches the request with its table's key.
    ///
    /// # Errors
    /// `ValidationException` when the starting key does not fit the key. That it lies in the segment depends on the
    /// table's identity and is checked with [`ScanOp::start`].
    pub fn bind(self, schema: &TableSchema) -> Result<ScanOp, DynamoError> {
        if let Some(error) = self.index {
            return Err(error);
        }
        if let Some(start) = &self.start {
            check_start(schema, start)?;
        }
        Ok(ScanOp { table: self.table, segment: self.segment, shape: self.shape, start_after: self.start })
    }
}
