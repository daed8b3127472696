//! GetItem.

use super::body::Body;
use super::constraints::Constraints;
use super::expressions::{Expressions, Families, check_attributes_to_get};
use super::page::of_attributes;
use super::write::{attributes, read_attributes};
use crate::capacity::ReturnCapacity;
use crate::error::DynamoError;
use crate::expr::parse_projection;
use crate::read::GetOp;

/// A GetItem request, ready for its table.
#[derive(Clone, Debug, PartialEq)]
pub struct Get {
    /// What to read.
    pub op: GetOp,
    /// What to report of its cost.
    pub capacity: ReturnCapacity,
}

/// Parses and checks a GetItem request.
///
/// # Errors
/// The API's exceptions, in its own order.
pub fn parse(text: &[u8]) -> Result<Get, DynamoError> {
    let mut body = Body::parse(text)?;
    let key = read_attributes(&mut body, "Key")?;
    let attributes_to_get = body.list_of_strings("AttributesToGet")?;
    let table = body.string("TableName")?;
    let capacity = body.string("ReturnConsumedCapacity")?;
    let projection = body.string("ProjectionExpression")?;
    let consistent = body.boolean("ConsistentRead")?.unwrap_or(false);
    let mut expressions = Expressions::read_names(&mut body)?;

    let mut constraints = Constraints::default();
    if key.is_none() {
        constraints.missing("key");
    }
    let table = constraints.table(table.as_deref());
    let capacity = constraints.return_capacity(capacity.as_deref());
    if attributes_to_get.as_ref().is_some_and(alloc::vec::Vec::is_empty) {
        constraints.value("[]", "attributesToGet", "have length greater than or equal to 1");
    }
    constraints.finish()?;

    let mut families = Families::default();
    families
        .older("AttributesToGet", attributes_to_get.is_some())
        .expression("ProjectionExpression", projection.is_some());
    expressions.check(&families, "")?;
    let key = attributes(key.unwrap_or_default())?;
    let mut placeholders = expressions.placeholders();
    let projection = match (attributes_to_get, projection) {
        (Some(names), _) => {
            check_attributes_to_get(&names)?;
            Some(of_attributes(names))
        }
        (None, Some(text)) => Some(parse_projection(&text, &mut placeholders)?),
        (None, None) => None,
    };
    placeholders.check_unused()?;
    // The constraints hold, so there is a table.
    let table = table.ok_or_else(|| DynamoError::validation("Invalid TableName"))?;
    Ok(Get { op: GetOp { table, key, consistent, projection }, capacity })
}
