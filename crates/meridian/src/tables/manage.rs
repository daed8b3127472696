//! Making, changing and deleting tables: commands of the system group.

use super::active::{MERGE_TAG, check_rules};
use super::residency::check_residency;
use super::serve::{ReplicatedTables, internal, unserved};
use meridian_api::tables::{item_table_not_found, table_not_found};
use meridian_api::{Reply, RequestContext, TableChange};
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::request::tags::check_count;
use meridian_dynamo::table::{POLICY_TAG, TableDefinition, TableDescription};
use meridian_replication::runtime::wall_ms;
use meridian_replication::system::{RESIDENCY_TAG, SystemCommand, SystemError, TableEntry, TableStatus};
use meridian_types::{PolicyName, TableId, TableName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The policy of a table that names none.
const DEFAULT_POLICY: &str = "active-passive-semi-sync";

impl ReplicatedTables {
    pub(super) async fn create(
        &self,
        ctx: &RequestContext,
        definition: TableDefinition,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        let policy = policy_of(&definition)?;
        let name = definition.name.clone();
        let tags = definition.tags.clone();
        let state = self.replication.system();
        check_rules(state.policies.get(&policy).and_then(|entry| entry.policy.conflict), &tags)?;
        check_residency(&state, &policy, &definition.schema, &tags)?;
        let table = TableEntry {
            id: TableId(0),
            name: name.clone(),
            policy,
            status: TableStatus::Creating,
            created_ms: wall_ms(),
            definition: postcard::to_stdvec(&definition).map_err(internal)?,
            tags,
            purged: BTreeSet::new(),
            moving: None,
            sweep: BTreeMap::new(),
            home: 0,
            arrived: BTreeMap::new(),
        };
        self.command(ctx, SystemCommand::CreateTable { table }).await?;
        self.described(ctx, &name)
    }

    pub(super) async fn update(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        change: TableChange,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        let mut definition = self.description(ctx, name).await?.definition.clone();
        definition.billing = change.billing.unwrap_or(definition.billing);
        definition.class = change.class.or(definition.class);
        definition.deletion_protection = change.deletion_protection.unwrap_or(definition.deletion_protection);
        let definition = Some(postcard::to_stdvec(&definition).map_err(internal)?);
        let (set_tags, remove_tags) = (BTreeMap::new(), Vec::new());
        self.command(
            ctx,
            SystemCommand::UpdateTable { name: name.clone(), definition, set_tags, remove_tags },
        )
        .await?;
        self.described(ctx, name)
    }

    pub(super) async fn delete(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        let description = self.description(ctx, name).await?;
        if description.definition.deletion_protection {
            return Err(DynamoError::validation(
                "Resource cannot be deleted as it is currently protected against deletion. Disable deletion \
                 protection first.",
            ));
        }
        self.command(ctx, SystemCommand::DeleteTable(name.clone())).await?;
        let deleting = meridian_dynamo::table::TableStatus::Deleting;
        let description = TableDescription { status: deleting, ..TableDescription::clone(&description) };
        Ok(self.reply(ctx, Arc::new(description), [], self.replication.own(), true))
    }

    pub(super) async fn tag(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        mut tags: BTreeMap<String, String>,
    ) -> Result<Reply<()>, DynamoError> {
        let mut all = self.description(ctx, name).await?.definition.tags.clone();
        // The tag of the policy is set once the table has moved there.
        let wanted = tags.remove(POLICY_TAG);
        let wanted = wanted.as_deref().map(policy_named).transpose()?;
        check_lasting_tags(tags.keys())?;
        all.extend(tags.clone());
        check_count(&all)?;
        if let Some(to) = wanted {
            self.command(ctx, SystemCommand::MoveTable { name: name.clone(), to }).await?;
        }
        self.change_tags(ctx, name, tags, Vec::new()).await
    }

    pub(super) async fn untag(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        keys: &[String],
    ) -> Result<Reply<()>, DynamoError> {
        self.description(ctx, name).await?;
        check_lasting_tags(keys.iter())?;
        if keys.iter().any(|key| key == POLICY_TAG) {
            return Err(DynamoError::validation(format!(
                "The tag {POLICY_TAG} names the table's policy and cannot be removed."
            )));
        }
        self.change_tags(ctx, name, BTreeMap::new(), keys.to_vec()).await
    }

    pub(super) async fn set_time_to_live(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        attribute: &str,
        enabled: bool,
    ) -> Result<Reply<()>, DynamoError> {
        self.description(ctx, name).await?;
        let attribute = attribute.to_owned();
        self.command(ctx, SystemCommand::SetTimeToLive { name: name.clone(), attribute, enabled }).await?;
        Ok(self.reply(ctx, (), [], self.replication.own(), true))
    }

    async fn change_tags(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        set_tags: BTreeMap<String, String>,
        remove_tags: Vec<String>,
    ) -> Result<Reply<()>, DynamoError> {
        let name = name.clone();
        self.command(ctx, SystemCommand::UpdateTable { name, definition: None, set_tags, remove_tags })
            .await?;
        Ok(self.reply(ctx, (), [], self.replication.own(), true))
    }

    async fn description(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Arc<TableDescription>, DynamoError> {
        let catalog = self.look_again(ctx).await;
        let table = catalog.table(name).ok_or_else(|| table_not_found(name))?;
        Ok(Arc::clone(&table.description))
    }

    fn described(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        let catalog = self.catalogs.newest();
        let table = catalog.table(name).ok_or_else(item_table_not_found)?;
        Ok(self.reply(ctx, Arc::clone(&table.description), [], self.replication.own(), true))
    }

    async fn command(&self, ctx: &RequestContext, command: SystemCommand) -> Result<(), DynamoError> {
        let done = self.replication.system_write(command, ctx.deadline).await.map_err(unserved)?;
        done.map(drop).map_err(|refused| match &refused {
            SystemError::TableExists(_) | SystemError::TableBusy(_) | SystemError::NotMoving(_) => {
                DynamoError::ResourceInUse(refused.to_string())
            }
            SystemError::NoSuchTable(name) => table_not_found(name),
            SystemError::Limit { .. } => DynamoError::LimitExceeded(refused.to_string()),
            _ => DynamoError::validation(refused.to_string()),
        })
    }
}

fn policy_of(definition: &TableDefinition) -> Result<PolicyName, DynamoError> {
    policy_named(definition.policy().unwrap_or(DEFAULT_POLICY))
}

fn policy_named(name: &str) -> Result<PolicyName, DynamoError> {
    PolicyName::new(name).map_err(|error| DynamoError::validation(format!("The tag {POLICY_TAG}: {error}")))
}

/// Refuses to change how an attribute merges and where items are: what is stored depends on it.
fn check_lasting_tags<'a>(mut tags: impl Iterator<Item = &'a String>) -> Result<(), DynamoError> {
    match tags.find(|tag| tag.starts_with(MERGE_TAG) || tag.starts_with(RESIDENCY_TAG)) {
        Some(tag) => Err(DynamoError::validation(format!(
            "The tag {tag} says how items are kept: it is given when the table is created, and stays."
        ))),
        None => Ok(()),
    }
}
