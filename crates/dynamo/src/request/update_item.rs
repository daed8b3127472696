//! UpdateItem.

use super::body::Body;
use super::constraints::Constraints;
use super::expressions::Families;
use super::legacy::{self, RawUpdate};
use super::write::{Common, RETURN_VALUES_REFUSED, Write, attributes, read_attributes};
use crate::capacity::ReturnCapacity;
use crate::error::DynamoError;
use crate::expr::{Path, SetAction, SetValue, UpdateExpr, ValueAction, parse_update};
use crate::json;
use crate::value::{AttributeType, AttributeValue};
use crate::write::{WriteKind, WriteOp};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use meridian_types::TableName;

const INVALID: &str = "One or more parameter values were invalid: ";

/// Parses and checks an UpdateItem request.
///
/// # Errors
/// The API's exceptions, in its own order.
pub fn parse(text: &[u8]) -> Result<Write, DynamoError> {
    let mut body = Body::parse(text)?;
    let key = read_attributes(&mut body, "Key")?;
    let updates = legacy::read_updates(&mut body)?;
    let update = body.string("UpdateExpression")?;
    let mut common = Common::read(&mut body)?;

    let table = constrain(&common, key.is_some())?;
    let (return_on_failure, capacity) = constrain_returns(&common)?;

    let mut families = Families::default();
    families.older("AttributeUpdates", updates.is_some());
    families.expression("UpdateExpression", update.is_some());
    common.families(&mut families);
    common.expressions.check(&families, "")?;
    let any = common.any_of_expected()?;
    let key = attributes(key.unwrap_or_default())?;
    let from_updates = updates.map(attribute_updates).transpose()?;
    let from_expected = common.expected(any)?;
    let mut placeholders = common.expressions.placeholders();
    // An empty condition is reported ahead of everything about the update.
    let empty_condition = common.condition.as_deref() == Some("");
    let early = if empty_condition { common.condition(&mut placeholders)? } else { None };
    let from_expression = update.map(|text| parse_update(&text, &mut placeholders)).transpose()?;
    let condition = common.condition(&mut placeholders)?.or(early).or(from_expected);
    placeholders.check_unused()?;

    // The constraints hold, so there is a table and a known ReturnValues.
    let table = table.ok_or_else(|| DynamoError::validation("Invalid TableName"))?;
    Ok(Write {
        op: WriteOp {
            table,
            kind: WriteKind::Update { key, update: from_expression.or(from_updates).unwrap_or_default() },
            condition,
            return_values: common.return_values().unwrap_or_default(),
            return_on_failure,
        },
        capacity,
    })
}

/// The API reports a broken table name alone, then a missing key, then an unknown `ReturnValues`.
fn constrain(common: &Common, has_key: bool) -> Result<Option<TableName>, DynamoError> {
    let mut constraints = Constraints::default();
    let table = match common.table.as_deref() {
        None | Some("") => constraints.table(common.table.as_deref()),
        Some(name) => constraints.table_in_full(name, "tableName"),
    };
    if table.is_some() || common.table.is_none() {
        if !has_key {
            constraints.missing("key");
        } else if common.return_values().is_none() {
            constraints.push(RETURN_VALUES_REFUSED);
        }
    }
    constraints.finish()?;
    Ok(table)
}

/// The other enums one by one; the API wraps the second only.
fn constrain_returns(common: &Common) -> Result<(bool, ReturnCapacity), DynamoError> {
    let mut constraints = Constraints::default();
    let on_failure = constraints.return_on_failure(common.return_on_failure.as_deref());
    constraints.finish_bare()?;
    let mut constraints = Constraints::default();
    constraints.return_metrics(common.return_metrics.as_deref());
    constraints.finish()?;
    let mut constraints = Constraints::default();
    let capacity = constraints.return_capacity(common.return_capacity.as_deref());
    constraints.finish_bare()?;
    Ok((on_failure, capacity))
}

/// `AttributeUpdates` as the update that they are.
fn attribute_updates(updates: Vec<RawUpdate>) -> Result<UpdateExpr, DynamoError> {
    let mut read = Vec::new();
    for RawUpdate { attribute, action, value } in updates {
        if attribute.is_empty() {
            return Err(DynamoError::request("Empty attribute name"));
        }
        read.push((attribute, action, value.map(json::value_from_json).transpose()?));
    }
    if read.iter().any(|(_, action, _)| !matches!(action.as_str(), "PUT" | "ADD" | "DELETE")) {
        // The stray quotation mark is the API's own.
        return Err(DynamoError::request(
            "Member must satisfy enum value set: [ADD, DELETE, PUT]' for Action",
        ));
    }
    let mut update = UpdateExpr::default();
    for (attribute, action, value) in read {
        one_update(&mut update, attribute, &action, value)?;
    }
    Ok(update)
}

fn one_update(
    update: &mut UpdateExpr,
    attribute: String,
    action: &str,
    value: Option<AttributeValue>,
) -> Result<(), DynamoError> {
    use AttributeType as T;
    let path = Path::attribute(attribute);
    let Some(value) = value else {
        if action != "DELETE" {
            return Err(DynamoError::validation(format!(
                "{INVALID}Only DELETE action is allowed when no attribute value is specified"
            )));
        }
        update.removes.push(path);
        return Ok(());
    };
    let kind = value.kind();
    match (action, kind) {
        ("PUT", _) => update.sets.push(SetAction { path, value: SetValue::Value(value) }),
        ("ADD", T::N | T::Ss | T::Ns | T::Bs) => update.adds.push(ValueAction { path, value }),
        ("ADD", T::L) => {
            // Adding a list appends it.
            let empty = Box::new(SetValue::Value(AttributeValue::L(Vec::new())));
            let present = Box::new(SetValue::IfNotExists(path.clone(), empty));
            let value = SetValue::ListAppend(present, Box::new(SetValue::Value(value)));
            update.sets.push(SetAction { path, value });
        }
        ("DELETE", T::Ss | T::Ns | T::Bs) => update.deletes.push(ValueAction { path, value }),
        ("DELETE", _) => {
            return Err(DynamoError::validation(format!(
                "{INVALID}DELETE action with value is not supported for the type {}",
                kind.name()
            )));
        }
        (_, _) => {
            return Err(DynamoError::validation(format!(
                "{INVALID}{action} action is not supported for the type {}",
                kind.name()
            )));
        }
    }
    Ok(())
}
