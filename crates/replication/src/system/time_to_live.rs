//! Tables whose items expire.

use super::command::{SystemError, SystemReply};
use super::state::SystemState;
use meridian_types::{TableId, TableName};

impl SystemState {
    /// The attribute that says when a table's items expire, if they do.
    #[must_use]
    pub fn time_to_live(&self, table: TableId) -> Option<&String> {
        self.since_2.time_to_live.get(&table)
    }

    pub(super) fn set_time_to_live(
        &mut self,
        name: &TableName,
        attribute: String,
        enabled: bool,
    ) -> Result<SystemReply, SystemError> {
        let id = self.usable_table(name)?.id;
        match (self.since_2.time_to_live.get(&id), enabled) {
            (Some(now), _) if *now != attribute => Err(SystemError::TimeToLiveElsewhere(now.clone())),
            (Some(_), true) => Err(SystemError::TimeToLiveEnabled),
            (None, false) => Err(SystemError::TimeToLiveDisabled),
            (None, true) => {
                self.since_2.time_to_live.insert(id, attribute);
                Ok(SystemReply::Done)
            }
            (Some(_), false) => {
                self.since_2.time_to_live.remove(&id);
                Ok(SystemReply::Done)
            }
        }
    }
}
