//! A request of the API on a view.

use crate::apply::ApplyError;
use crate::effect::Effect;
use crate::fragment::Fragment;
use crate::rules::Rules;
use crate::stamp::Stamp;
use alloc::string::ToString;
use meridian_dynamo::write::{After, WriteKind, WriteOp, WriteOutcome, evaluate};
use meridian_dynamo::{DynamoError, TableSchema};
use meridian_types::Hlc;

/// What a request leaves and answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The origin's next fragment; nothing when nothing changes.
    pub fragment: Option<Fragment>,
    /// What to answer once it is stored.
    pub outcome: WriteOutcome,
}

impl Fragment {
    /// Evaluates a request on the item that this view shows, and applies it as [`Fragment::apply`] does.
    ///
    /// # Errors
    /// Those of [`evaluate`]; `ValidationException` when a sum does not fit; `InternalServerError` when the stamp is not later
    /// than what the view knows.
    pub fn write(
        &self,
        rules: &Rules,
        schema: &TableSchema,
        op: &WriteOp,
        stamp: Stamp,
        floor: Hlc,
    ) -> Result<Written, DynamoError> {
        let before = self.item(rules);
        let evaluated = evaluate(schema, before.as_ref(), op)?;
        let effect = match (&op.kind, evaluated.after) {
            (WriteKind::Put { item }, _) => Effect::Put(item.clone()),
            (WriteKind::Update { key, update }, After::Put(after)) => {
                Effect::of_update(update, before.as_ref().unwrap_or(key), &after, rules)
            }
            // A delete of what is not there still decides between a delete and the writes that it is in conflict with.
            (_, After::Unchanged) if self.is_gone() => {
                return Ok(Written { fragment: None, outcome: evaluated.outcome });
            }
            (_, _) => Effect::Delete,
        };
        let fragment = self.apply(rules, &effect, stamp, floor).map_err(|error| match error {
            ApplyError::Number(_) => DynamoError::validation(error.to_string()),
            ApplyError::NotLater { .. } | ApplyError::Mismatch(_) => {
                DynamoError::InternalServerError(error.to_string())
            }
        })?;
        Ok(Written { fragment: Some(fragment), outcome: evaluated.outcome })
    }
}
