//! From an operation's name to its answer: permission, the table, the operation.

use crate::credential::Credential;
use crate::tables::{Reply, RequestContext, ServedBy, Staleness, Tables, item_table_not_found};
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::table::{ACCOUNT, TableDescription, arn};
use meridian_types::{RegionName, TableName, Token};
use std::sync::Arc;

macro_rules! operations {
    ($($name:ident),+ $(,)?) => {
        /// The operations that the front answers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operation {
            $($name),+
        }

        impl Operation {
            /// The operation behind `DynamoDB_20120810.` of a request's target.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// The operation's name, as permissions spell it.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),+
                }
            }
        }
    };
}

operations! {
    BatchGetItem, BatchWriteItem, CreateTable, DeleteItem, DeleteTable, DescribeLimits, DescribeTable,
    DescribeTimeToLive, GetItem, ListTables, ListTagsOfResource, PutItem, Query, Scan, TagResource, UntagResource, UpdateItem,
    UpdateTable, UpdateTimeToLive,
}

/// A successful answer, before it is written as HTTP.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) token: Option<Token>,
    pub(crate) served_by: Option<ServedBy>,
    pub(crate) staleness: Option<Staleness>,
    pub(crate) conflicts: Vec<String>,
}

impl Answer {
    /// An answer that the front gives out of its own copy of the cluster's state.
    pub(crate) fn own(body: Vec<u8>) -> Self {
        Self { body, ..Self::default() }
    }

    /// An answer to a write.
    pub(crate) fn written(reply: Reply<Vec<u8>>) -> Self {
        Self {
            body: reply.value,
            token: Some(reply.token),
            served_by: Some(reply.served_by),
            staleness: None,
            conflicts: reply.conflicts,
        }
    }

    /// An answer to a read.
    pub(crate) fn read(reply: Reply<Vec<u8>>) -> Self {
        let staleness = Some(reply.staleness);
        Self { staleness, ..Self::written(reply) }
    }
}

/// One request on its way to [`Tables`].
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) tables: &'a dyn Tables,
    pub(crate) context: &'a RequestContext,
    /// Who asks; `None` when anyone may.
    pub(crate) credential: Option<&'a Credential>,
    /// The region that the client reached.
    pub(crate) region: &'a RegionName,
}

impl Call<'_> {
    pub(crate) async fn run(&self, operation: Operation, body: &[u8]) -> Result<Answer, DynamoError> {
        use Operation as Op;
        let answer = match operation {
            Op::PutItem => self.put_item(body).await,
            Op::GetItem => self.get_item(body).await,
            Op::UpdateItem => self.update_item(body).await,
            Op::DeleteItem => self.delete_item(body).await,
            Op::Query => self.query(body).await,
            Op::Scan => self.scan(body).await,
            Op::BatchGetItem => self.batch_get_item(body).await,
            Op::BatchWriteItem => self.batch_write_item(body).await,
            Op::CreateTable => self.create_table(body).await,
            Op::DescribeTable => self.describe_table(body).await,
            Op::ListTables => self.list_tables(body).await,
            Op::UpdateTable => self.update_table(body).await,
            Op::DeleteTable => self.delete_table(body).await,
            Op::TagResource => self.tag_resource(body).await,
            Op::UntagResource => self.untag_resource(body).await,
            Op::ListTagsOfResource => self.list_tags(body).await,
            Op::UpdateTimeToLive => self.update_time_to_live(body).await,
            Op::DescribeTimeToLive => self.describe_time_to_live(body).await,
            Op::DescribeLimits => self.describe_limits(),
        };
        answer.map_err(|error| match operation {
            // The API wraps this class of refusals on the single-item writes only.
            Op::PutItem | Op::UpdateItem | Op::DeleteItem => error.enveloped(),
            _ => error.bare(),
        })
    }

    /// Refuses what the credential does not allow.
    pub(crate) fn authorize(
        &self,
        operation: Operation,
        table: Option<&TableName>,
    ) -> Result<(), DynamoError> {
        let Some(credential) = self.credential else { return Ok(()) };
        if credential.allows(operation.name(), table.map(TableName::as_str)) {
            return Ok(());
        }
        let resource = match table {
            Some(table) => arn(self.region, table),
            None => format!("arn:aws:dynamodb:{}:{ACCOUNT}:table/*", self.region),
        };
        Err(DynamoError::AccessDenied(format!(
            "User: arn:aws:iam::{ACCOUNT}:user/{} is not authorized to perform: dynamodb:{} on resource: {resource}",
            credential.access_key_id,
            operation.name()
        )))
    }

    /// The table of an item operation.
    pub(crate) async fn table(&self, name: &TableName) -> Result<Arc<TableDescription>, DynamoError> {
        let table = self.tables.table(self.context, name).await?;
        table.ok_or_else(item_table_not_found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_named_as_the_api_names_them() {
        assert_eq!(Operation::from_name("PutItem"), Some(Operation::PutItem));
        assert_eq!(Operation::PutItem.name(), "PutItem");
        for unknown in ["putitem", "PutItem ", "TransactWriteItems", "DescribeEndpoints", ""] {
            assert_eq!(Operation::from_name(unknown), None, "{unknown}");
        }
    }
}
