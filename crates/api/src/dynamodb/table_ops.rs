//! Operations on tables and their tags.

use super::dispatch::{Answer, Call, Operation};
use crate::tables::{TableChange, table_not_found};
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::request::{create_table, tables, tags, time_to_live};
use meridian_dynamo::table::TableDescription;
use serde_json::{Value, json};
use std::sync::Arc;

/// Nominal account limits; capacity is never enforced.
const ACCOUNT_UNITS: u32 = 80_000;
const TABLE_UNITS: u32 = 40_000;

impl Call<'_> {
    pub(super) async fn create_table(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let definition = create_table::parse(body)?;
        self.authorize(Operation::CreateTable, Some(&definition.name))?;
        let reply = self.tables.create_table(self.context, definition).await?;
        Ok(Answer::written(reply.map(|table| self.described("TableDescription", &table))))
    }

    pub(super) async fn describe_table(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let name = tables::parse_name(body)?;
        self.authorize(Operation::DescribeTable, Some(&name))?;
        let table = self.tables.table(self.context, &name).await?.ok_or_else(|| table_not_found(&name))?;
        Ok(Answer::own(self.described("Table", &table)))
    }

    pub(super) async fn list_tables(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let list = tables::parse_list(body)?;
        self.authorize(Operation::ListTables, None)?;
        // One more than asked for tells whether there are more.
        let mut names = self.tables.list_tables(self.context, list.after.as_deref(), list.limit + 1).await?;
        let more = names.len() > list.limit;
        names.truncate(list.limit);
        let mut answer = json!({"TableNames": names});
        if let (true, Some(last)) = (more, names.last()) {
            answer["LastEvaluatedTableName"] = last.as_str().into();
        }
        Ok(Answer::own(text(&answer)))
    }

    pub(super) async fn update_table(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let update = tables::parse_update(body)?;
        self.authorize(Operation::UpdateTable, Some(&update.table))?;
        let change = TableChange {
            billing: update.billing,
            class: update.class,
            deletion_protection: update.deletion_protection,
        };
        let reply = self.tables.update_table(self.context, &update.table, change).await?;
        Ok(Answer::written(reply.map(|table| self.described("TableDescription", &table))))
    }

    pub(super) async fn delete_table(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let name = tables::parse_name(body)?;
        self.authorize(Operation::DeleteTable, Some(&name))?;
        let reply = self.tables.delete_table(self.context, &name).await?;
        Ok(Answer::written(reply.map(|table| self.described("TableDescription", &table))))
    }

    pub(super) async fn tag_resource(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let request = tags::parse_tag(body)?;
        self.authorize(Operation::TagResource, Some(&request.table))?;
        if self.tables.table(self.context, &request.table).await?.is_none() {
            return Err(DynamoError::ResourceNotFound(format!(
                "Requested resource not found: ResourcArn: {} not found",
                request.arn
            )));
        }
        let reply = self.tables.tag_table(self.context, &request.table, request.tags).await?;
        Ok(Answer::written(reply.map(|()| Vec::new())))
    }

    pub(super) async fn untag_resource(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let request = tags::parse_untag(body)?;
        self.authorize(Operation::UntagResource, Some(&request.table))?;
        self.table(&request.table).await?;
        let reply = self.tables.untag_table(self.context, &request.table, &request.keys).await?;
        Ok(Answer::written(reply.map(|()| Vec::new())))
    }

    pub(super) async fn list_tags(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let request = tags::parse_list(body)?;
        self.authorize(Operation::ListTagsOfResource, Some(&request.table))?;
        let Some(table) = self.tables.table(self.context, &request.table).await? else {
            // The API does not tell those who ask for tags whether a table exists.
            return Err(DynamoError::AccessDenied(format!(
                "User: arn:aws:iam::000000000000:root is not authorized to perform: dynamodb:ListTagsOfResource on \
                 resource: {}",
                request.arn
            )));
        };
        let tags: Vec<_> =
            table.definition.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        Ok(Answer::own(text(&json!({"Tags": tags}))))
    }

    pub(super) async fn update_time_to_live(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let request = time_to_live::parse_update(body)?;
        let time_to_live::UpdateTimeToLive { table, attribute, enabled } = &request;
        self.authorize(Operation::UpdateTimeToLive, Some(table))?;
        let reply = self.tables.update_time_to_live(self.context, table, attribute, *enabled).await?;
        let specification = json!({"Enabled": enabled, "AttributeName": attribute});
        Ok(Answer::written(reply.map(|()| text(&json!({"TimeToLiveSpecification": specification})))))
    }

    pub(super) async fn describe_time_to_live(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let name = tables::parse_name(body)?;
        self.authorize(Operation::DescribeTimeToLive, Some(&name))?;
        let table = self.tables.table(self.context, &name).await?.ok_or_else(|| table_not_found(&name))?;
        Ok(Answer::own(text(&json!({"TimeToLiveDescription": table.time_to_live_json()}))))
    }

    pub(super) fn describe_limits(&self) -> Result<Answer, DynamoError> {
        self.authorize(Operation::DescribeLimits, None)?;
        Ok(Answer::own(text(&json!({
            "AccountMaxReadCapacityUnits": ACCOUNT_UNITS,
            "AccountMaxWriteCapacityUnits": ACCOUNT_UNITS,
            "TableMaxReadCapacityUnits": TABLE_UNITS,
            "TableMaxWriteCapacityUnits": TABLE_UNITS,
        }))))
    }

    fn described(&self, member: &str, table: &Arc<TableDescription>) -> Vec<u8> {
        text(&json!({member: table.to_json(self.region)}))
    }
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
