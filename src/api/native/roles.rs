//! Roles and states of members and agents, as `/kb/v1` names them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{Role, Status};

/// The role of a member.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RoleName {
    /// Everything.
    Owner,
    /// Everything but managing the tenants of the installation.
    Admin,
    /// Reads and writes everything but keys, members and tenants.
    Member,
    /// Reads and searches.
    Reviewer,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Admin => Self::Admin,
            Role::Member => Self::Member,
            Role::Reviewer => Self::Reviewer,
        }
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Owner => Self::Owner,
            RoleName::Admin => Self::Admin,
            RoleName::Member => Self::Member,
            RoleName::Reviewer => Self::Reviewer,
        }
    }
}

/// Whether a member or an agent may act.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StatusName {
    Active,
    Inactive,
}

impl From<Status> for StatusName {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Inactive => Self::Inactive,
        }
    }
}

impl From<StatusName> for Status {
    fn from(status: StatusName) -> Self {
        match status {
            StatusName::Active => Self::Active,
            StatusName::Inactive => Self::Inactive,
        }
    }
}
