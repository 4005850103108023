//! Authentication and authorisation: tenants, keys, scopes, and the [`Caller`] that every domain function requires.

pub mod keys;
pub mod people;
pub mod scopes;
pub mod sessions;
pub mod tenants;

use crate::error::{Detail, Error, Result};
pub use scopes::{Area, Scope};

/// An authenticated caller, created only by [`keys::Gate`], [`sessions`] and [`Caller::local`].
#[derive(Debug, Clone)]
pub struct Caller {
    tenant_id: String,
    key_id: Option<String>,
    scopes: Vec<String>,
    dataset_ids: Option<Vec<String>>,
    /// Areas whose module is disabled in the workspace.
    modules_off: Vec<Area>,
    /// Hash of the browser session.
    session: Option<String>,
}

/// Actor of a session that began with a link, in place of a key id.
pub const OWNER: &str = "owner";

/// Error code for a disabled module.
pub(crate) const MODULE_DISABLED: &str = "module_disabled";

impl Caller {
    /// Creates the caller of the command line: the owner of the data directory, who needs no key.
    #[must_use]
    pub fn local(tenant_id: &str) -> Self {
        Self {
            tenant_id: tenant_id.to_owned(),
            key_id: None,
            scopes: vec!["*".to_owned()],
            dataset_ids: None,
            modules_off: Vec::new(),
            session: None,
        }
    }

    /// Returns the tenant to which all data of the caller belongs.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant_id
    }

    /// Returns the id of the key, unless local.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
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
            Some(area) => self.may(area.read()),
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
    /// `scope_missing`, whose message names it; `module_disabled` when its module is off.
    pub fn need(&self, scope: Scope) -> Result<()> {
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

    /// Returns whether the caller may read the documents of a dataset as a whole, and not only search them.
    #[must_use]
    pub fn reads(&self, dataset_id: &str) -> bool {
        let by_area = Area::of_dataset(dataset_id).is_some_and(|area| self.may(area.read()));
        self.sees(dataset_id) && (by_area || self.may(Scope::KbRead))
    }

    /// Demands the right to change a dataset directly. Area datasets follow the records of their area and are changed only through these.
    ///
    /// # Errors
    /// `scope_missing`, `dataset_managed`.
    pub fn need_write(&self, dataset_id: &str) -> Result<()> {
        self.need(Scope::KbWrite)?;
        let is_area_dataset = Area::of_dataset(dataset_id)
            .is_some_and(|area| area.dataset_id(&self.tenant_id) == dataset_id);
        if self.key_id.is_some() && is_area_dataset && self.sees(dataset_id) {
            return Err(Error::conflict(
                "dataset_managed",
                "this dataset follows what agents write; change their records instead",
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
                "this key is confined to some datasets",
            ))
        }
    }
}

fn missing(scope: Scope) -> Error {
    Error::forbidden(
        "scope_missing",
        format!("this key needs the scope {}", scope.name()),
    )
    .with_detail(Detail::Scope(scope.name()))
}
