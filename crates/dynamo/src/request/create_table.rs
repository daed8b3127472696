//! CreateTable: what a table must be. Whether the name is free is the cluster's to say.

use super::body::{Body, class};
use super::constraints::Constraints;
use super::tags;
use crate::error::DynamoError;
use crate::key::{KeyAttribute, KeyKind, TableSchema};
use crate::table::{Billing, TableClass, TableDefinition};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Highest declared throughput.
const MAX_THROUGHPUT: i64 = 1_000_000_000_000;
/// The longest attribute name of a key.
const MAX_KEY_NAME: usize = 255;
const KIND_NAMES: [(&str, KeyKind); 3] = [("S", KeyKind::S), ("N", KeyKind::N), ("B", KeyKind::B)];
const NO_DEFINITION: &str = "Invalid KeySchema: Some index key attribute have no definition";

/// Members of the request that ask for what tables do not have yet.
const LATER: [&str; 3] = ["GlobalSecondaryIndexes", "LocalSecondaryIndexes", "VectorIndexes"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Hash,
    Range,
}

/// Parses and checks a CreateTable request.
///
/// # Errors
/// The API's exceptions, in its own order.
pub fn parse(text: &[u8]) -> Result<TableDefinition, DynamoError> {
    let mut body = Body::parse(text)?;
    let definitions = body.list_of_bodies("AttributeDefinitions", class::ATTRIBUTE_DEFINITION)?;
    let key_schema = body.list_of_bodies("KeySchema", class::KEY_SCHEMA_ELEMENT)?;
    let throughput = body.body("ProvisionedThroughput", class::PROVISIONED_THROUGHPUT)?;
    let name = body.string("TableName")?;
    let billing_mode = body.string("BillingMode")?;
    let table_class = body.string("TableClass")?;
    let deletion_protection = body.boolean("DeletionProtectionEnabled")?.unwrap_or(false);
    let tags = match body.list_of_bodies("Tags", class::TAG)? {
        Some(tags) => tags::read(tags)?,
        None => BTreeMap::new(),
    };

    let Some(name) = name else {
        return Err(DynamoError::validation(
            "The parameter 'TableName' is required but was not present in the request",
        ));
    };
    let mut constraints = Constraints::default();
    let name = constraints.table_in_full(&name, "tableName");
    constraints.finish()?;

    let mut constraints = Constraints::default();
    let mode = billing_mode_constraint(&mut constraints, billing_mode.as_deref());
    let throughput = throughput.map(|body| throughput_constraint(&mut constraints, body)).transpose()?;
    let keys = key_schema_constraint(&mut constraints, key_schema)?;
    let definitions = definitions_constraint(&mut constraints, definitions)?;
    let class = table_class_constraint(&mut constraints, table_class.as_deref());
    constraints.finish()?;

    let billing = billing(mode, throughput)?;
    let schema = schema(&keys, &definitions)?;
    if LATER.iter().any(|member| body.has(member)) {
        return Err(DynamoError::validation(
            "One or more parameter values were invalid: secondary indexes are not supported yet",
        ));
    }
    if definitions.len() != keys.len() {
        return Err(DynamoError::validation(
            "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match \
             number of attributes defined in AttributeDefinitions",
        ));
    }
    if stream_enabled(&mut body)? {
        return Err(DynamoError::validation(
            "One or more parameter values were invalid: streams are not supported yet",
        ));
    }
    // The constraints above hold, so there is a name.
    let name = name.ok_or_else(|| DynamoError::validation("Invalid TableName"))?;
    Ok(TableDefinition { name, schema, billing, class, deletion_protection, tags })
}

/// `BillingMode`; whether it is on demand.
pub(super) fn billing_mode_constraint(constraints: &mut Constraints, mode: Option<&str>) -> Option<bool> {
    let known = [("PROVISIONED", false), ("PAY_PER_REQUEST", true)];
    constraints.one_of(mode, "billingMode", &known, "PROVISIONED, PAY_PER_REQUEST")
}

/// `TableClass`.
pub(super) fn table_class_constraint(
    constraints: &mut Constraints,
    class: Option<&str>,
) -> Option<TableClass> {
    let known = [
        ("STANDARD", TableClass::Standard),
        ("STANDARD_INFREQUENT_ACCESS", TableClass::StandardInfrequentAccess),
    ];
    constraints.one_of(class, "tableClass", &known, "STANDARD, STANDARD_INFREQUENT_ACCESS")
}

/// Declared units: (read, write).
pub(super) type Throughput = (i64, i64);

/// `ProvisionedThroughput`.
pub(super) fn throughput_constraint(
    constraints: &mut Constraints,
    mut body: Body,
) -> Result<Throughput, DynamoError> {
    let write = body.long("WriteCapacityUnits")?;
    let read = body.long("ReadCapacityUnits")?;
    for (value, path) in [
        (write, "provisionedThroughput.writeCapacityUnits"),
        (read, "provisionedThroughput.readCapacityUnits"),
    ] {
        match value {
            None => constraints.missing(path),
            Some(value) if value < 1 => {
                constraints.value(value, path, "have value greater than or equal to 1");
            }
            Some(_) => {}
        }
    }
    Ok((read.unwrap_or(0), write.unwrap_or(0)))
}

/// The billing that a mode and a throughput make together.
fn billing(on_demand: Option<bool>, throughput: Option<Throughput>) -> Result<Billing, DynamoError> {
    match (on_demand.unwrap_or(false), throughput) {
        (true, Some(_)) => Err(neither_units()),
        (true, None) => Ok(Billing::PayPerRequest),
        (false, Some(throughput)) => provisioned(throughput),
        (false, None) => Err(DynamoError::validation(
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be \
             specified when BillingMode is PROVISIONED",
        )),
    }
}

pub(super) fn neither_units() -> DynamoError {
    DynamoError::validation(
        "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be \
         specified when BillingMode is PAY_PER_REQUEST",
    )
}

pub(super) fn provisioned((read, write): Throughput) -> Result<Billing, DynamoError> {
    for (value, name) in [(read, "ReadCapacityUnits"), (write, "WriteCapacityUnits")] {
        if value > MAX_THROUGHPUT {
            return Err(DynamoError::validation(format!("Given value {value} for {name} is out of bounds")));
        }
    }
    Ok(Billing::Provisioned { read: read.unsigned_abs(), write: write.unsigned_abs() })
}

fn key_schema_constraint(
    constraints: &mut Constraints,
    elements: Option<Vec<Body>>,
) -> Result<Vec<(String, Role)>, DynamoError> {
    let Some(elements) = elements else {
        constraints.missing("keySchema");
        return Ok(Vec::new());
    };
    let count = elements.len();
    let mut keys = Vec::new();
    let mut shown = Vec::new();
    for (index, mut element) in elements.into_iter().enumerate() {
        let path = format!("keySchema.{}.member", index + 1);
        let name = element.string("AttributeName")?;
        let kind = element.string("KeyType")?;
        attribute_name(constraints, name.as_deref(), &format!("{path}.attributeName"));
        let kind_path = format!("{path}.keyType");
        if kind.is_none() {
            constraints.missing(&kind_path);
        }
        let known = [("HASH", Role::Hash), ("RANGE", Role::Range)];
        let role = constraints.one_of(kind.as_deref(), &kind_path, &known, "HASH, RANGE");
        shown.push(format!(
            "KeySchemaElement(attributeName={}, keyType={})",
            name.as_deref().unwrap_or("null"),
            kind.as_deref().unwrap_or("null")
        ));
        if let (Some(name), Some(role)) = (name, role) {
            keys.push((name, role));
        }
    }
    if count == 0 {
        constraints.value("[]", "keySchema", "have length greater than or equal to 1");
    }
    if count > 2 {
        let shown = format!("[{}]", shown.join(", "));
        constraints.value(shown, "keySchema", "have length less than or equal to 2");
    }
    Ok(keys)
}

fn definitions_constraint(
    constraints: &mut Constraints,
    elements: Option<Vec<Body>>,
) -> Result<Vec<KeyAttribute>, DynamoError> {
    let Some(elements) = elements else {
        constraints.missing("attributeDefinitions");
        return Ok(Vec::new());
    };
    let mut definitions = Vec::new();
    for (index, mut element) in elements.into_iter().enumerate() {
        let path = format!("attributeDefinitions.{}.member", index + 1);
        let name = element.string("AttributeName")?;
        let kind = element.string("AttributeType")?;
        attribute_name(constraints, name.as_deref(), &format!("{path}.attributeName"));
        let kind_path = format!("{path}.attributeType");
        if kind.is_none() {
            constraints.missing(&kind_path);
        }
        let kind = constraints.one_of(kind.as_deref(), &kind_path, &KIND_NAMES, "B, N, S");
        if let (Some(name), Some(kind)) = (name, kind) {
            definitions.push(KeyAttribute { name, kind });
        }
    }
    Ok(definitions)
}

fn attribute_name(constraints: &mut Constraints, name: Option<&str>, path: &str) {
    match name {
        None => constraints.missing(path),
        Some("") => {
            constraints.value("", path, "have length greater than or equal to 1");
        }
        Some(name) if name.len() > MAX_KEY_NAME => {
            constraints.value(name, path, "have length less than or equal to 255");
        }
        Some(_) => {}
    }
}

fn schema(keys: &[(String, Role)], definitions: &[KeyAttribute]) -> Result<TableSchema, DynamoError> {
    let find = |name: &str| definitions.iter().find(|definition| definition.name == name).cloned();
    let undefined = keys.iter().any(|(name, _)| find(name).is_none());
    let same_name = matches!(keys, [(a, _), (b, _)] if a == b);
    if let ([(name, _)], true, false) = (keys, undefined, definitions.is_empty()) {
        let defined: Vec<_> = definitions.iter().map(|definition| definition.name.as_str()).collect();
        return Err(DynamoError::validation(format!(
            "One or more parameter values were invalid: Some index key attributes are not defined in \
             AttributeDefinitions. Keys: [{name}], AttributeDefinitions: [{}]",
            defined.join(", ")
        )));
    }
    if undefined || same_name {
        return Err(DynamoError::validation(NO_DEFINITION));
    }
    let (first, second) = (keys.first(), keys.get(1));
    let Some((partition, Role::Hash)) = first else {
        return Err(DynamoError::validation(
            "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
        ));
    };
    if second.is_some_and(|(_, role)| *role != Role::Range) {
        return Err(DynamoError::validation(
            "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type",
        ));
    }
    let missing = || DynamoError::validation(NO_DEFINITION);
    let sort = match second {
        Some((name, _)) => Some(find(name).ok_or_else(missing)?),
        None => None,
    };
    Ok(TableSchema { partition: find(partition).ok_or_else(missing)?, sort })
}

fn stream_enabled(body: &mut Body) -> Result<bool, DynamoError> {
    let specification =
        body.body("StreamSpecification", "com.amazonaws.dynamodb.v20120810.StreamSpecification")?;
    match specification {
        Some(mut specification) => Ok(specification.boolean("StreamEnabled")?.unwrap_or(false)),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use serde_json::{Value, json};

    fn good() -> Value {
        json!({
            "TableName": "Music",
            "KeySchema": [
                {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            "AttributeDefinitions": [
                {"AttributeName": "sk", "AttributeType": "N"}, {"AttributeName": "pk", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
            "Tags": [{"Key": "meridian:policy", "Value": "read-local"}]
        })
    }

    fn refusal(change: impl FnOnce(&mut Value)) -> String {
        let mut request = good();
        change(&mut request);
        parse(request.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_good_request_is_a_definition() {
        let definition = parse(good().to_string().as_bytes()).unwrap();
        assert_eq!(definition.schema.partition.name, "pk");
        assert_eq!(definition.schema.sort, Some(KeyAttribute { name: "sk".to_string(), kind: KeyKind::N }));
        assert_eq!(definition.policy(), Some("read-local"));
        assert_eq!(definition.billing, Billing::PayPerRequest);
    }

    #[test]
    fn each_mistake_has_the_words_of_the_api() {
        assert!(
            refusal(|r| r["TableName"] = json!("a!")).starts_with("2 validation errors detected: Value 'a!'")
        );
        assert!(refusal(|r| r["KeySchema"] = json!([])).contains("keySchema"));
        assert!(refusal(|r| r["KeySchema"][1]["KeyType"] = json!("HASH")).contains("not a RANGE key type"));
        assert_eq!(refusal(|r| r["KeySchema"][1]["AttributeName"] = json!("zz")), NO_DEFINITION);
        assert!(refusal(|r| r["BillingMode"] = json!("FREE")).contains("billingMode"));
        assert!(refusal(|r| r["BillingMode"] = json!("PROVISIONED")).contains("must both be specified"));
        assert!(refusal(|r| r["LocalSecondaryIndexes"] = json!([])).contains("not supported yet"));
        assert!(
            refusal(|r| r["KeySchema"] = json!([{"AttributeName": "pk", "KeyType": "HASH"}]))
                .contains("does not exactly match")
        );
    }
}
