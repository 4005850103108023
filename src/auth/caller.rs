//! The authenticated caller: who acts, in which tenant, with which rights.

use super::board_access::BoardAccess;
use super::dataset_access::{DatasetAccess, DatasetRole};
use super::role::Role;
use super::{Area, MODULE_DISABLED, OWNER, Scope, scopes};
use crate::clock::Time;
use crate::error::{Detail, Error, Result};

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The command line, run by the owner of the data directory.
    Local,
    /// The owner of the data directory at a server: a browser that was signed in by the owner's link, or a command with the owner's secret.
    Owner,
    /// A program with an API key.
    Key { id: String },
    /// A member of the tenant.
    User { id: String, role: Role },
    /// An agent; its role is the tenant's own word.
    Agent { id: String, role: String },
}

impl Principal {
    /// Returns the kind, as API responses name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Owner => "owner",
            Self::Key { .. } => "key",
            Self::User { .. } => "user",
            Self::Agent { .. } => "agent",
        }
    }

    /// Returns the id under which its work is recorded: of the key, the user or the agent, or [`OWNER`]; `None` for the command line.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Local => None,
            Self::Owner => Some(OWNER),
            Self::Key { id } | Self::User { id, .. } | Self::Agent { id, .. } => Some(id),
        }
    }

    /// Returns the id of a user.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        match self {
            Self::User { id, .. } => Some(id),
            Self::Local | Self::Owner | Self::Key { .. } | Self::Agent { .. } => None,
        }
    }

    /// Returns the role of a member or an agent.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        match self {
            Self::User { role, .. } => Some(role.as_str()),
            Self::Agent { role, .. } => Some(role),
            Self::Local | Self::Owner | Self::Key { .. } => None,
        }
    }
}

/// An authenticated caller, created only by the functions of [`super`] that check secrets, and by [`Caller::local`].
#[derive(Debug, Clone)]
pub struct Caller {
    pub(super) tenant_id: String,
    pub(super) principal: Principal,
    /// The key or the agent token that was presented, now or when the session began.
    pub(super) credential_id: Option<String>,
    /// Tenant of the credential and the session, in which a person may act in another one.
    pub(super) home_tenant_id: String,
    /// The person on whose behalf the credential acts.
    pub(super) user_id: Option<String>,
    /// Boards that the caller may use.
    pub(super) boards: BoardAccess,
    /// End of the token of an identity provider.
    pub(super) until: Option<Time>,
    pub(super) scopes: Vec<String>,
    pub(super) dataset_ids: Option<Vec<String>>,
    /// Datasets that the credential itself is restricted to, in whatever tenant its person acts.
    pub(super) credential_datasets: Option<Vec<String>>,
    /// Roles of a member who uses some datasets only; all of them are in `dataset_ids`, too, unless the credential is restricted further.
    pub(super) dataset_access: Option<DatasetAccess>,
    /// Areas whose module is disabled in the workspace.
    pub(super) modules_off: Vec<Area>,
    /// Id of the browser session.
    pub(super) session: Option<String>,
}

impl Caller {
    /// Creates the caller of the command line: the owner of the data directory, who needs no key.
    #[must_use]
    pub fn local(tenant_id: &str) -> Self {
        Self {
            tenant_id: tenant_id.to_owned(),
            principal: Principal::Local,
            credential_id: None,
            home_tenant_id: tenant_id.to_owned(),
            user_id: None,
            boards: BoardAccess::all(),
            until: None,
            scopes: vec!["*".to_owned()],
            dataset_ids: None,
            credential_datasets: None,
            dataset_access: None,
            modules_off: Vec::new(),
            session: None,
        }
    }

    /// Creates the caller of a command that reached a server with the secret of the data directory's owner.
    pub(super) fn owner(tenant_id: &str) -> Self {
        Self {
            principal: Principal::Owner,
            ..Self::local(tenant_id)
        }
    }

    /// Creates the caller for the work of an agent of this program, which searches the knowledge base and writes the work of the team.
    #[must_use]
    pub fn worker(tenant_id: &str, role: &str) -> Self {
        let scopes = [
            Scope::KbRead,
            Scope::KbSearch,
            Scope::KnowledgeRead,
            Scope::MarketingRead,
            Scope::MarketingWrite,
        ];
        Self {
            principal: Principal::Agent {
                id: format!("agent:{role}"),
                role: role.to_owned(),
            },
            boards: BoardAccess::default(),
            scopes: scopes.map(|scope| scope.name().to_owned()).to_vec(),
            ..Self::local(tenant_id)
        }
    }

    /// Returns the tenant to which all data of the caller belongs.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant_id
    }

    /// Returns who acts.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Returns the person on whose behalf the caller's credential acts.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.principal.user_id().or(self.user_id.as_deref())
    }

    /// Returns the boards that the caller may use, apart from its scopes.
    #[must_use]
    pub fn boards(&self) -> &BoardAccess {
        &self.boards
    }

    /// Returns the id under which the caller's work is recorded; see [`Principal::id`].
    #[must_use]
    pub fn actor_id(&self) -> Option<&str> {
        self.principal.id()
    }

    /// Returns the datasets that the key is restricted to; `None` for all of the tenant.
    #[must_use]
    pub fn datasets(&self) -> Option<&[String]> {
        self.dataset_ids.as_deref()
    }

    /// Returns whether the caller may see a dataset of its tenant: area datasets by the right to read their area, others by any right to the knowledge
    /// base.
    #[must_use]
    pub fn sees(&self, dataset_id: &str) -> bool {
        let confined = self
            .dataset_ids
            .as_ref()
            .is_some_and(|ids| !ids.iter().any(|id| id == dataset_id));
        if confined {
            return false;
        }
        let in_knowledge_base = || {
            [Scope::KbRead, Scope::KbWrite, Scope::KbSearch]
                .into_iter()
                .any(|scope| self.scopes.iter().any(|s| scopes::names(s, scope)))
        };
        match Area::of_dataset(dataset_id) {
            // The findings of agents belong to the knowledge base.
            Some(Area::Knowledge) => self.may(Scope::KnowledgeRead) || in_knowledge_base(),
            Some(area) => {
                let reads_part = match Area::part_of_dataset(dataset_id) {
                    Some(part) => self.boards.reads_part(part),
                    None => true,
                };
                reads_part && self.may(area.read())
            }
            None => in_knowledge_base(),
        }
    }

    /// Returns the granted scopes, as named in the key.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Returns the datasets that the caller is restricted to.
    #[must_use]
    pub fn dataset_ids(&self) -> Option<&[String]> {
        self.dataset_ids.as_deref()
    }

    /// Returns whether the caller is a person in the sandbox, not a program.
    #[must_use]
    pub fn is_browser(&self) -> bool {
        self.session.is_some()
    }

    /// Returns whether the module of an area is enabled in the caller's workspace.
    #[must_use]
    pub fn has_module(&self, area: Area) -> bool {
        !self.modules_off.contains(&area)
    }

    /// Returns the module of a scope, when it is disabled.
    fn module_off(&self, scope: Scope) -> Option<&'static str> {
        if self.modules_off.is_empty() {
            return None;
        }
        Area::of_scope(scope)
            .filter(|area| !self.has_module(*area))
            .and_then(Area::module)
    }

    /// Returns whether the caller has a scope, and the module of the scope is enabled.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.module_off(scope).is_none()
            && self
                .scopes
                .iter()
                .any(|granted| scopes::covers(granted, scope))
    }

    /// Demands a scope.
    ///
    /// # Errors
    /// `scope_missing`, whose message names it; `module_disabled` when its module is off; `dataset_role_missing` for `kb:write` of a member who uses some datasets
    /// only.
    pub fn need(&self, scope: Scope) -> Result<()> {
        self.need_scope(scope)?;
        // Who changes some datasets only is asked for the dataset; what belongs to none of them is closed.
        if scope == Scope::KbWrite && self.dataset_access.is_some() {
            return Err(Error::forbidden(
                "dataset_role_missing",
                "you may use some datasets only; this needs access to all of them",
            ));
        }
        Ok(())
    }

    fn need_scope(&self, scope: Scope) -> Result<()> {
        if let Some(module) = self.module_off(scope) {
            return Err(Error::forbidden(
                MODULE_DISABLED,
                format!("the module {module} is not enabled in this workspace"),
            ));
        }
        if self.may(scope) {
            Ok(())
        } else {
            Err(missing(scope))
        }
    }

    /// Demands the right to change the knowledge base, with a role in a dataset.
    fn need_role(&self, dataset_id: &str, role: DatasetRole) -> Result<()> {
        self.need_scope(Scope::KbWrite)?;
        let has_role = |access: &DatasetAccess| access.has(dataset_id, role);
        // A dataset that the caller does not see is not found, as ever.
        if self.dataset_access.as_ref().is_none_or(has_role) || !self.sees(dataset_id) {
            return Ok(());
        }
        Err(Error::forbidden(
            "dataset_role_missing",
            format!("the role {role} in this dataset is required"),
        ))
    }

    /// Demands the right to change what is in a dataset: documents, chunks, sources, crawls, labelled queries.
    ///
    /// # Errors
    /// `scope_missing`, `dataset_role_missing`.
    pub fn need_edit(&self, dataset_id: &str) -> Result<()> {
        self.need_role(dataset_id, DatasetRole::Editor)
    }

    /// Demands the right to change how a dataset works: settings, defaults, generations, its deletion.
    ///
    /// # Errors
    /// `scope_missing`, `dataset_role_missing`.
    pub fn need_manage(&self, dataset_id: &str) -> Result<()> {
        self.need_role(dataset_id, DatasetRole::Owner)
    }

    /// Returns whether the caller may read the documents of a dataset as a whole, and not only search them.
    #[must_use]
    pub fn reads(&self, dataset_id: &str) -> bool {
        let by_area = Area::of_dataset(dataset_id).is_some_and(|area| self.may(area.read()));
        self.sees(dataset_id) && (by_area || self.may(Scope::KbRead))
    }

    /// Demands the right to change a dataset directly. Area datasets follow the records of their area and are changed only through these.
    ///
    /// # Errors
    /// `scope_missing`, `dataset_role_missing`, `dataset_managed`.
    pub fn need_write(&self, dataset_id: &str) -> Result<()> {
        self.need_edit(dataset_id)?;
        let is_area_dataset = Area::of_dataset(dataset_id).is_some_and(|area| {
            let whole = area.dataset_id(&self.tenant_id);
            let rest = dataset_id.strip_prefix(&whole);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('~'))
        });
        if self.principal != Principal::Local && is_area_dataset && self.sees(dataset_id) {
            return Err(Error::conflict(
                "dataset_managed",
                "this dataset is generated from agent records; change those records instead",
            ));
        }
        Ok(())
    }

    /// Demands a scope in order to grant it: a right that is only implied by another one cannot be granted as a right of its own.
    ///
    /// # Errors
    /// `scope_missing`, whose message names it.
    pub fn need_named(&self, scope: Scope) -> Result<()> {
        let named = |scope| self.scopes.iter().any(|s| scopes::names(s, scope));
        if named(scope) || (scope == Scope::KbSearch && named(Scope::KbRead)) {
            Ok(())
        } else {
            Err(missing(scope))
        }
    }

    /// Demands every scope of a key, in order to grant or revoke them.
    ///
    /// # Errors
    /// `scope_missing`, whose message names the first that the caller lacks.
    pub fn need_all(&self, granted: &[String]) -> Result<()> {
        for scope in scopes::ALL.iter().copied() {
            if granted.iter().any(|g| scopes::names(g, scope)) {
                self.need_named(scope)?;
            }
        }
        Ok(())
    }

    /// Demands a scope for the whole tenant: keys restricted to datasets do not have it.
    ///
    /// # Errors
    /// `scope_missing`, `key_confined`.
    pub fn need_unconfined(&self, scope: Scope) -> Result<()> {
        self.need(scope)?;
        self.refuse_confined()
    }

    /// Rejects keys restricted to datasets, for resources of the whole tenant.
    ///
    /// # Errors
    /// `key_confined`.
    pub fn refuse_confined(&self) -> Result<()> {
        if self.dataset_ids.is_none() {
            Ok(())
        } else {
            Err(Error::forbidden(
                "key_confined",
                "this key is restricted to some datasets",
            ))
        }
    }
}

fn missing(scope: Scope) -> Error {
    Error::forbidden(
        "scope_missing",
        format!("the scope {} is required", scope.name()),
    )
    .with_detail(Detail::Scope(scope.name()))
}
