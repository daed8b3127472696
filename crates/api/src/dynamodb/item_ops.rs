//! Operations on single items, Query and Scan.

use super::dispatch::{Answer, Call, Operation};
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::request::write::Write;
use meridian_dynamo::request::{delete_item, get_item, put_item, query, scan, update_item};
use meridian_dynamo::response;

impl Call<'_> {
    pub(super) async fn put_item(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        self.write(Operation::PutItem, put_item::parse(body)?).await
    }

    pub(super) async fn update_item(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        self.write(Operation::UpdateItem, update_item::parse(body)?).await
    }

    pub(super) async fn delete_item(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        self.write(Operation::DeleteItem, delete_item::parse(body)?).await
    }

    async fn write(&self, operation: Operation, write: Write) -> Result<Answer, DynamoError> {
        let Write { op, capacity } = write;
        self.authorize(operation, Some(&op.table))?;
        let table = self.table(&op.table).await?;
        op.check(&table.definition.schema)?;
        let name = op.table.clone();
        let reply = self.tables.write(self.context, op).await?;
        Ok(Answer::written(reply.map(|outcome| response::write(&name, &outcome, capacity))))
    }

    pub(super) async fn get_item(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let get_item::Get { op, capacity } = get_item::parse(body)?;
        self.authorize(Operation::GetItem, Some(&op.table))?;
        let table = self.table(&op.table).await?;
        op.key(&table.definition.schema)?;
        let (name, consistent) = (op.table.clone(), op.consistent);
        let reply = self.tables.get(self.context, op).await?;
        Ok(Answer::read(reply.map(|outcome| response::get(&name, &outcome, consistent, capacity))))
    }

    pub(super) async fn query(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let query = query::parse(body)?;
        self.authorize(Operation::Query, Some(&query.table))?;
        let table = self.table(&query.table).await?;
        let capacity = query.capacity;
        let op = query.bind(&table.definition.schema)?;
        let (name, consistent, counted) = (op.table.clone(), op.shape.consistent, op.shape.count_only);
        let reply = self.tables.query(self.context, op).await?;
        Ok(Answer::read(reply.map(|page| response::page(&name, &page, counted, consistent, capacity))))
    }

    pub(super) async fn scan(&self, body: &[u8]) -> Result<Answer, DynamoError> {
        let scan = scan::parse(body)?;
        self.authorize(Operation::Scan, Some(&scan.table))?;
        let table = self.table(&scan.table).await?;
        let capacity = scan.capacity;
        let op = scan.bind(&table.definition.schema)?;
        op.start(&table.definition.schema, table.id)?;
        let (name, consistent, counted) = (op.table.clone(), op.shape.consistent, op.shape.count_only);
        let reply = self.tables.scan(self.context, op).await?;
        Ok(Answer::read(reply.map(|page| response::page(&name, &page, counted, consistent, capacity))))
    }
}
