//! Roles of members, as sets of scopes.

use super::Scope;
use super::scopes;
use crate::db::words;

words! {
    /// Role of a member of a tenant.
    pub enum Role {
        /// Everything. A tenant always has an active owner, unless it never had people.
        Owner = "owner",
        /// Everything but managing the tenants of the installation.
        Admin = "admin",
        /// Reads and writes all areas.
        Member = "member",
        /// Reads and searches all areas.
        Reviewer = "reviewer",
    }
}

impl Role {
    /// Returns the order of roles by their rights.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Reviewer => 0,
            Self::Member => 1,
            Self::Admin => 2,
            Self::Owner => 3,
        }
    }

    /// Returns the scopes of members with this role.
    #[must_use]
    pub fn scopes(self) -> Vec<String> {
        let grants = |scope: &Scope| match self {
            Self::Owner => true,
            Self::Admin => *scope != Scope::TenantsManage,
            Self::Member => !matches!(scope, Scope::TenantsManage | Scope::KeysManage),
            Self::Reviewer => scope.name().ends_with(":read") || *scope == Scope::KbSearch,
        };
        if self == Self::Owner {
            return vec!["*".to_owned()];
        }
        let granted = scopes::ALL.iter().copied().filter(grants);
        granted.map(|scope| scope.name().to_owned()).collect()
    }
}

words! {
    /// Whether a member or an agent may act.
    pub enum Status {
        Active = "active",
        /// Its secrets are refused until it is active again.
        Inactive = "inactive",
    }
}
