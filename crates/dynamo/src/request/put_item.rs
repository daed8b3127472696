//! PutItem.

use super::body::Body;
use super::constraints::Constraints;
use super::expressions::Families;
use super::write::{
    Common, RETURN_VALUES_UNSUPPORTED, Write, attributes, constrain_returns, read_attributes,
};
use crate::error::DynamoError;
use crate::size::check_put;
use crate::write::{ReturnValues, WriteKind, WriteOp};

/// Parses and checks a PutItem request.
///
/// # Errors
/// The API's exceptions, in its own order.
pub fn parse(text: &[u8]) -> Result<Write, DynamoError> {
    let mut body = Body::parse(text)?;
    let item = read_attributes(&mut body, "Item")?;
    let mut common = Common::read(&mut body)?;

    let mut constraints = Constraints::default();
    let table = constraints.table(common.table.as_deref());
    if item.is_none() {
        constraints.missing("item");
    }
    let returns = constrain_returns(&mut constraints, &common);
    constraints.finish()?;

    let item = attributes(item.unwrap_or_default())?;
    let mut families = Families::default();
    common.families(&mut families);
    common.expressions.check(&families, "")?;
    let any = common.any_of_expected()?;
    let mut placeholders = common.expressions.placeholders();
    let condition = common.condition(&mut placeholders)?;
    if !matches!(returns.values, ReturnValues::None | ReturnValues::AllOld) {
        return Err(DynamoError::request(RETURN_VALUES_UNSUPPORTED));
    }
    let unused = placeholders.check_unused();
    let condition = match condition {
        Some(condition) => Some(condition),
        None => common.expected(any)?,
    };
    check_put(&item)?;
    unused?;
    // The constraints hold, so there is a table.
    let table = table.ok_or_else(|| DynamoError::validation("Invalid TableName"))?;
    Ok(Write {
        op: WriteOp {
            table,
            kind: WriteKind::Put { item },
            condition,
            return_values: returns.values,
            return_on_failure: returns.on_failure,
        },
        capacity: returns.capacity,
    })
}
