//! Who calls, and what they may do: tenants, keys, scopes, and the [`Caller`] that every domain function asks for.

pub mod keys;
pub mod people;
pub mod scopes;
pub mod sessions;
pub mod tenants;

use crate::error::{Detail, Error, Result};
pub use scopes::{Area, Scope};

/// An authenticated caller. Only [`keys::Gate`], [`sessions`] and [`Caller::local`] make one.
#[derive(Debug, Clone)]
pub struct Caller {
    tenant_id: String,
    key_id: Option<String>,
    scopes: Vec<String>,
    dataset_ids: Option<Vec<String>>,
    /// Areas whose module is off in the workspace.
    modules_off: Vec<Area>,
    /// Hash of the session of a browser.
    session: Option<String>,
}

/// Who acts in a session that a link began, where keys have their id.
pub const OWNER: &str = "owner";

/// The code of the refusal when a module is off.
pub(crate) const MODULE_DISABLED: &str = "module_disabled";

impl Caller {
    /// The owner of the data directory, who needs no key: the command line.
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

    /// The tenant that everything the caller touches belongs to.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant_id
    }

    /// The key, unless local.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Datasets the key is confined to; `None` is all of the tenant.
    #[must_use]
    pub fn datasets(&self) -> Option<&[String]> {
        self.dataset_ids.as_deref()
    }

    /// Whether the caller may see a dataset of its tenant: shelves by the right to read their area, the others by any right to the knowledge base.
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
            // What agents have found out belongs to the knowledge base.
            Some(Area::Knowledge) => self.may(Scope::KnowledgeRead) || in_knowledge_base(),
            Some(area) => self.may(area.read()),
            None => in_knowledge_base(),
        }
    }

    /// Granted scopes, as their key names them.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Datasets that the caller is confined to.
    #[must_use]
    pub fn dataset_ids(&self) -> Option<&[String]> {
        self.dataset_ids.as_deref()
    }

    /// Whether a person in the sandbox calls, not a program.
    #[must_use]
    pub fn is_browser(&self) -> bool {
        self.session.is_some()
    }

    /// Whether the module of an area is on in the caller's workspace.
    #[must_use]
    pub fn has_module(&self, area: Area) -> bool {
        !self.modules_off.contains(&area)
    }

    /// The module that a scope belongs to, when it is off.
    fn module_off(&self, scope: Scope) -> Option<&'static str> {
        if self.modules_off.is_empty() {
            return None;
        }
        Area::of_scope(scope)
            .filter(|area| !self.has_module(*area))
            .and_then(Area::module)
    }

    /// Whether the caller has a scope, and the module that it belongs to is on.
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
    /// `scope_missing` names it; `module_disabled` when its module is off.
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

    /// Whether the caller may read the documents of a dataset as a whole, and not only search them.
    #[must_use]
    pub fn reads(&self, dataset_id: &str) -> bool {
        let by_area = Area::of_dataset(dataset_id).is_some_and(|area| self.may(area.read()));
        self.sees(dataset_id) && (by_area || self.may(Scope::KbRead))
    }

    /// Demands the right to change a dataset by hand. Shelves follow the records of their area, so nobody changes them but through these.
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

    /// Demands a scope to hand it on: what only follows from another right cannot be given away as a right of its own.
    ///
    /// # Errors
    /// `scope_missing` names it.
    pub fn need_named(&self, scope: Scope) -> Result<()> {
        let named = |scope| self.scopes.iter().any(|s| scopes::names(s, scope));
        if named(scope) || (scope == Scope::KbSearch && named(Scope::KbRead)) {
            Ok(())
        } else {
            Err(missing(scope))
        }
    }

    /// Demands every scope of a key, to hand them on or to take them away.
    ///
    /// # Errors
    /// `scope_missing` names the first that the caller has not.
    pub fn need_all(&self, granted: &[String]) -> Result<()> {
        for scope in scopes::ALL.iter().copied() {
            if granted.iter().any(|g| scopes::names(g, scope)) {
                self.need_named(scope)?;
            }
        }
        Ok(())
    }

    /// Demands a scope for the whole tenant: keys confined to datasets do not have it.
    ///
    /// # Errors
    /// `scope_missing`, `key_confined`.
    pub fn need_unconfined(&self, scope: Scope) -> Result<()> {
        self.need(scope)?;
        self.refuse_confined()
    }

    /// Refuses keys confined to datasets, for what belongs to the whole tenant.
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
