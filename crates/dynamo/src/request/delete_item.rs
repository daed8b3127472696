//! DeleteItem.

use super::body::Body;
use super::constraints::Constraints;
use super::expressions::Families;
use super::write::{
    Common, RETURN_VALUES_UNSUPPORTED, Write, attributes, constrain_returns, read_attributes,
};
use crate::error::DynamoError;
use crate::write::{ReturnValues, WriteKind, WriteOp};

/// Parses and checks a DeleteItem request.
///
/// # Errors
/// The API's exceptions, in its own order.
pub fn parse(text: &[u8]) -> Result<Write, DynamoError> {
    let mut body = Body::parse(text)?;
    let key = read_attributes(&mut body, "Key")?;
    let mut common = Common::read(&mut body)?;

    let mut constraints = Constraints::default();
    let table = constraints.table(common.table.as_deref());
    if key.is_none() {
        constraints.missing("key");
    }
    let returns = constrain_returns(&mut constraints, &common);
    if key.is_some() && !matches!(returns.values, ReturnValues::None | ReturnValues::AllOld) {
        constraints.push(RETURN_VALUES_UNSUPPORTED);
    }
    constraints.finish()?;

    let mut families = Families::default();
    common.families(&mut families);
    common.expressions.check(&families, "")?;
    let any = common.any_of_expected()?;
    let key = attributes(key.unwrap_or_default())?;
    let mut placeholders = common.expressions.placeholders();
    let condition = common.condition(&mut placeholders)?;
    placeholders.check_unused()?;
    let condition = match condition {
        Some(condition) => Some(condition),
        None => common.expected(any)?,
    };
    // The constraints hold, so there is a table.
    let table = table.ok_or_else(|| DynamoError::validation("Invalid TableName"))?;
    Ok(Write {
        op: WriteOp {
            table,
            kind: WriteKind::Delete { key },
            condition,
            return_values: returns.values,
            return_on_failure: returns.on_failure,
        },
        capacity: returns.capacity,
    })
}
