//! Access of members to datasets: to all of a tenant, or to some of them, with a role in each.
//!
//! A role in a dataset never gives more than the role in the tenant.

use serde::{Deserialize, Serialize};

use super::role::Role;
use crate::db::words;
use crate::error::Result;

words! {
    /// Role of a member in a dataset.
    pub enum DatasetRole {
        /// Searches and reads.
        Reader = "reader",
        /// Changes documents, chunks, sources, crawls and labelled queries, too.
        Editor = "editor",
        /// Changes settings, defaults and generations, and deletes the dataset, too.
        Owner = "owner",
    }
}

impl DatasetRole {
    fn rank(self) -> u8 {
        match self {
            Self::Reader => 0,
            Self::Editor => 1,
            Self::Owner => 2,
        }
    }
}

/// The role of a member in a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatasetRight {
    pub dataset_id: String,
    pub role: DatasetRole,
}

/// The datasets that a member uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DatasetAccess(Vec<DatasetRight>);

impl DatasetAccess {
    /// Reads the access of a membership. Those who manage keys use all datasets.
    pub fn stored(role: Option<Role>, stored: Option<&str>) -> Result<Option<Self>> {
        match (role, stored) {
            (Some(Role::Member | Role::Reviewer), Some(stored)) => {
                Ok(Some(Self(serde_json::from_str(stored)?)))
            }
            (_, _) => Ok(None),
        }
    }

    /// Returns the ids that remain of those that a credential is restricted to.
    pub fn confine(&self, ids: Option<Vec<String>>) -> Vec<String> {
        let mine = self.0.iter().map(|right| &right.dataset_id);
        match ids {
            None => mine.cloned().collect(),
            Some(ids) => mine.filter(|id| ids.contains(id)).cloned().collect(),
        }
    }

    /// Returns the role in each dataset.
    pub fn into_rights(self) -> Vec<DatasetRight> {
        self.0
    }

    /// Returns whether the member has a role in a dataset, or a higher one.
    pub fn has(&self, dataset_id: &str, role: DatasetRole) -> bool {
        let mut rights = self.0.iter();
        rights.any(|r| r.dataset_id == dataset_id && r.role.rank() >= role.rank())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> DatasetAccess {
        let stored =
            r#"[{"datasetId": "a", "role": "reader"}, {"datasetId": "b", "role": "editor"}]"#;
        let access = DatasetAccess::stored(Some(Role::Member), Some(stored));
        access.expect("read").expect("restricted")
    }

    #[test]
    fn roles_include_the_lower_ones() {
        assert!(access().has("b", DatasetRole::Reader) && access().has("b", DatasetRole::Editor));
        assert!(!access().has("a", DatasetRole::Editor));
        assert!(!access().has("c", DatasetRole::Reader));
    }

    #[test]
    fn a_key_and_its_member_use_what_both_may_use() {
        let ids = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(access().confine(None), ["a", "b"]);
        assert_eq!(access().confine(ids(&["b", "c"])), ["b"]);
        assert!(access().confine(ids(&["c"])).is_empty());
    }

    #[test]
    fn those_who_manage_keys_use_all_datasets() {
        for role in [Role::Owner, Role::Admin] {
            let access = DatasetAccess::stored(Some(role), Some("[]")).expect("read");
            assert_eq!(access, None);
        }
    }
}
