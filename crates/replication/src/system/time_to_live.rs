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

#[cfg(test)]
mod tests {
    use super::super::state::{TableEntry, TableStatus};
    use super::*;
    use meridian_types::PolicyName;

    #[test]
    fn a_setting_changes_in_words_of_the_api_and_goes_with_its_table() {
        let (name, id) = (TableName::new("items").expect("a name"), TableId(3));
        let table = TableEntry {
            id,
            name: name.clone(),
            policy: PolicyName::new("p").expect("a name"),
            status: TableStatus::Active,
            created_ms: 0,
            definition: Vec::new(),
            tags: [].into(),
            purged: [].into(),
            moving: None,
            sweep: [].into(),
            home: 0,
            arrived: [].into(),
        };
        let mut state = SystemState::default();
        state.tables.insert(name.clone(), table);
        let mut set = |attribute: &str, enabled| state.set_time_to_live(&name, attribute.to_owned(), enabled);
        assert_eq!(set("a", false), Err(SystemError::TimeToLiveDisabled));
        assert_eq!(set("a", true), Ok(SystemReply::Done));
        assert_eq!(set("a", true), Err(SystemError::TimeToLiveEnabled));
        assert_eq!(set("b", true), Err(SystemError::TimeToLiveElsewhere("a".to_owned())));
        assert_eq!(set("b", false), Err(SystemError::TimeToLiveElsewhere("a".to_owned())));
        assert_eq!(state.time_to_live(id), Some(&"a".to_owned()));
        state.since_2.level = 2;
        state.apply(super::super::SystemCommand::DeleteTable(name)).expect("it is there");
        let group = meridian_types::GroupId(1);
        state.apply(super::super::SystemCommand::TablePurged { table: id, group }).expect("it is there");
        assert_eq!(state.time_to_live(id), None);
    }
}
