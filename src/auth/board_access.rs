//! Access to boards: of all boards of a tenant, or of some of them.

use serde::{Deserialize, Serialize};

use super::caller::Caller;
use crate::clock::Time;
use crate::db::Db;
use crate::db::args;
use crate::error::Result;

/// The right to use one board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardRight {
    pub id: String,
    pub board_id: String,
    pub can_read: bool,
    pub can_write: bool,
    pub created_on: Time,
    pub updated_on: Time,
}

/// The boards that a member or an agent may use. Writing includes reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BoardAccess {
    pub reads_all: bool,
    pub writes_all: bool,
    /// Rights to single boards, beside those to all.
    pub rights: Vec<BoardRight>,
    /// Groups of the boards in `rights`.
    pub(super) groups: Vec<String>,
}

impl BoardAccess {
    /// Returns the access to all boards.
    #[must_use]
    pub fn all() -> Self {
        Self {
            reads_all: true,
            writes_all: true,
            rights: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Returns the access to one board and to what its group shares.
    pub(super) fn only(board_id: String, group_id: Option<String>) -> Self {
        Self {
            reads_all: false,
            writes_all: false,
            rights: vec![BoardRight {
                id: board_id.clone(),
                board_id,
                can_read: true,
                can_write: true,
                created_on: Time(0),
                updated_on: Time(0),
            }],
            groups: group_id.into_iter().collect(),
        }
    }

    /// Reads the access of a membership.
    pub(super) fn stored(reads_all: bool, writes_all: bool, rights: &str) -> Result<Self> {
        Ok(Self {
            reads_all,
            writes_all,
            rights: serde_json::from_str(rights)?,
            groups: Vec::new(),
        })
    }

    /// Returns whether every board may be read.
    #[must_use]
    pub fn reads_every(&self) -> bool {
        self.reads_all || self.writes_all
    }

    /// Returns whether a board may be read.
    #[must_use]
    pub fn reads(&self, board_id: &str) -> bool {
        let right = |r: &BoardRight| r.board_id == board_id && (r.can_read || r.can_write);
        self.reads_every() || self.rights.iter().any(right)
    }

    /// Returns whether a board may be changed.
    #[must_use]
    pub fn writes(&self, board_id: &str) -> bool {
        let right = |r: &BoardRight| r.board_id == board_id && r.can_write;
        self.writes_all || self.rights.iter().any(right)
    }

    /// Returns whether the texts of a board, or those that a group of boards shares, may be read.
    #[must_use]
    pub fn reads_part(&self, part: &str) -> bool {
        self.reads(part) || self.groups.iter().any(|group| group == part)
    }

    /// Returns the boards that may be read; `None` for all.
    #[must_use]
    pub fn readable(&self) -> Option<Vec<String>> {
        if self.reads_every() {
            return None;
        }
        let rights = self.rights.iter().filter(|r| r.can_read || r.can_write);
        Some(rights.map(|r| r.board_id.clone()).collect())
    }
}

/// Adds the groups of the boards that a caller may read, for callers with rights to single boards.
pub(super) async fn with_groups(db: &Db, mut caller: Caller) -> Result<Caller> {
    let Some(boards) = caller.boards.readable() else {
        return Ok(caller);
    };
    if !boards.is_empty() && caller.boards.groups.is_empty() {
        let groups: Vec<(Option<String>,)> = db
            .all_in(
                "SELECT DISTINCT parent_id FROM records WHERE tenant_id = $1 AND kind = 'board' AND id IN ($LIST)",
                args![&caller.tenant_id],
                &boards,
            )
            .await?;
        caller.boards.groups = groups.into_iter().filter_map(|(id,)| id).collect();
    }
    Ok(caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_includes_reading_and_a_group_is_read_by_each_of_its_boards() {
        let only = BoardAccess::only("b".to_owned(), Some("g".to_owned()));
        assert!(only.reads("b") && only.writes("b") && only.reads_part("g"));
        assert!(!only.reads("c") && !only.writes("g") && !only.reads_every());
        let writes = BoardAccess {
            writes_all: true,
            ..BoardAccess::default()
        };
        assert!(writes.reads("x") && writes.readable().is_none());
    }
}
