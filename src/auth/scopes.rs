//! Scopes: what a key may do, as `area:verb`, with `area:*` and `*` as wildcards. `admin` is another word for `*`.

use crate::error::{Error, Result};

macro_rules! scopes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)*) => {
        /// Something a key may be allowed to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Scope {
            $($(#[doc = $doc])+ $variant,)*
        }

        /// Every scope.
        pub const ALL: &[Scope] = &[$(Scope::$variant),*];

        impl Scope {
            /// The name in keys.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

scopes! {
    /// List and read datasets, documents, chunks, events.
    KbRead = "kb:read";
    /// Create, change and delete them.
    KbWrite = "kb:write";
    /// Search.
    KbSearch = "kb:search";
    /// Create, list and revoke keys.
    KeysManage = "keys:manage";
    /// Create and list the tenants of the installation, with a key of its first tenant.
    TenantsManage = "tenants:manage";
    /// Jobs, settings, metrics of the installation.
    SystemRead = "system:read";
    /// People of the tenant.
    UsersRead = "users:read";
    /// Folders and their rows.
    DataRead = "data:read";
    /// Create folders, append rows.
    DataWrite = "data:write";
    /// Articles and findings.
    KnowledgeRead = "knowledge:read";
    /// Write articles and findings.
    KnowledgeWrite = "knowledge:write";
    /// Business plans.
    PlansRead = "business_plans:read";
    /// Write business plans.
    PlansWrite = "business_plans:write";
    /// Projects, their work packages and tasks.
    ProjectsRead = "projects:read";
    /// Write them.
    ProjectsWrite = "projects:write";
    /// Campaigns, leads, forecasts.
    SalesRead = "sales:read";
    /// Write them.
    SalesWrite = "sales:write";
    /// Templates and media.
    TemplatesRead = "templates:read";
    /// Write them.
    TemplatesWrite = "templates:write";
    /// Definitions of events and properties.
    AnalyticsRead = "analytics:read";
    /// Contacts, companies, leads, deals, invoices, accounts.
    CrmRead = "crm:read";
    /// Write them: contacts, companies, leads, deals, invoices, accounts.
    CrmWrite = "crm:write";
    /// Queues and tickets.
    SupportRead = "support:read";
    /// Write them: queues and tickets.
    SupportWrite = "support:write";
    /// Tasks of a workspace.
    TasksRead = "tasks:read";
    /// Write them: tasks of a workspace.
    TasksWrite = "tasks:write";
    /// Calls, mails, meetings, notes.
    ActivityRead = "activity:read";
    /// Write them: calls, mails, meetings, notes.
    ActivityWrite = "activity:write";
    /// Collections, sites, entries, campaigns and posts.
    CmsRead = "cms:read";
    /// Write them: collections, sites, entries, campaigns and posts.
    CmsWrite = "cms:write";
    /// Files of a workspace.
    AssetsRead = "assets:read";
    /// Write them: files of a workspace.
    AssetsWrite = "assets:write";
    /// Event types and webhooks.
    IntegrationsRead = "integrations:read";
    /// Write them: event types and webhooks.
    IntegrationsWrite = "integrations:write";
    /// Write them: definitions of events and properties.
    AnalyticsWrite = "analytics:write";
    /// Dashboards, reports, queries.
    BiRead = "bi:read";
    /// Write them: dashboards, reports, queries.
    BiWrite = "bi:write";
}

/// What a part of the records is about. The texts of each area are searched in a dataset of its own, its shelf, by those who may read the area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Area {
    /// Articles and findings.
    Knowledge,
    /// Folders and their rows.
    Data,
    /// Projects, work packages, tasks.
    Projects,
    /// Business plans.
    Plans,
    /// Campaigns, leads, forecasts.
    Sales,
    /// Templates and media.
    Templates,
    /// Contacts, companies, leads, deals, invoices, accounts.
    Crm,
    /// Queues and tickets.
    Support,
    /// Tasks of a workspace.
    Tasks,
    /// Calls, mails, meetings, notes.
    Activity,
    /// Collections, sites, entries, campaigns and posts.
    Cms,
    /// Files of a workspace.
    Assets,
    /// Event types and webhooks.
    Integrations,
    /// Definitions of events and properties.
    Analytics,
    /// Dashboards, reports, queries.
    Bi,
}

impl Area {
    /// Every area.
    pub const ALL: [Self; 15] = [
        Self::Knowledge,
        Self::Data,
        Self::Projects,
        Self::Plans,
        Self::Sales,
        Self::Templates,
        Self::Crm,
        Self::Support,
        Self::Tasks,
        Self::Activity,
        Self::Cms,
        Self::Assets,
        Self::Integrations,
        Self::Analytics,
        Self::Bi,
    ];

    /// Its name in scopes and in the ids of shelves.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Knowledge => "knowledge",
            Self::Data => "data",
            Self::Projects => "projects",
            Self::Plans => "business_plans",
            Self::Sales => "sales",
            Self::Templates => "templates",
            Self::Crm => "crm",
            Self::Support => "support",
            Self::Tasks => "tasks",
            Self::Activity => "activity",
            Self::Cms => "cms",
            Self::Assets => "assets",
            Self::Integrations => "integrations",
            Self::Analytics => "analytics",
            Self::Bi => "bi",
        }
    }

    /// The module of the workspace that it is; `None` for areas that cannot be switched off.
    #[must_use]
    pub fn module(self) -> Option<&'static str> {
        match self {
            Self::Activity => Some("activity_log"),
            Self::Tasks => Some("tasks"),
            Self::Crm => Some("crm"),
            Self::Support => Some("support"),
            Self::Cms => Some("cms"),
            Self::Assets => Some("assets"),
            Self::Integrations => Some("integrations"),
            Self::Analytics => Some("analytics_governance"),
            Self::Bi => Some("bi"),
            Self::Knowledge
            | Self::Data
            | Self::Projects
            | Self::Plans
            | Self::Sales
            | Self::Templates => None,
        }
    }

    /// The area that a scope is about.
    #[must_use]
    pub fn of_scope(scope: Scope) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|area| area.read() == scope || area.write() == scope)
    }

    /// What reading it needs.
    #[must_use]
    pub fn read(self) -> Scope {
        match self {
            Self::Knowledge => Scope::KnowledgeRead,
            Self::Data => Scope::DataRead,
            Self::Projects => Scope::ProjectsRead,
            Self::Plans => Scope::PlansRead,
            Self::Sales => Scope::SalesRead,
            Self::Templates => Scope::TemplatesRead,
            Self::Crm => Scope::CrmRead,
            Self::Support => Scope::SupportRead,
            Self::Tasks => Scope::TasksRead,
            Self::Activity => Scope::ActivityRead,
            Self::Cms => Scope::CmsRead,
            Self::Assets => Scope::AssetsRead,
            Self::Integrations => Scope::IntegrationsRead,
            Self::Analytics => Scope::AnalyticsRead,
            Self::Bi => Scope::BiRead,
        }
    }

    /// What writing it needs.
    #[must_use]
    pub fn write(self) -> Scope {
        match self {
            Self::Knowledge => Scope::KnowledgeWrite,
            Self::Data => Scope::DataWrite,
            Self::Projects => Scope::ProjectsWrite,
            Self::Plans => Scope::PlansWrite,
            Self::Sales => Scope::SalesWrite,
            Self::Templates => Scope::TemplatesWrite,
            Self::Crm => Scope::CrmWrite,
            Self::Support => Scope::SupportWrite,
            Self::Tasks => Scope::TasksWrite,
            Self::Activity => Scope::ActivityWrite,
            Self::Cms => Scope::CmsWrite,
            Self::Assets => Scope::AssetsWrite,
            Self::Integrations => Scope::IntegrationsWrite,
            Self::Analytics => Scope::AnalyticsWrite,
            Self::Bi => Scope::BiWrite,
        }
    }

    /// The id of the dataset that holds its texts. No other dataset's id has a tilde, so that an id alone tells who may see it.
    #[must_use]
    pub fn dataset_id(self, tenant_id: &str) -> String {
        format!("{}~{tenant_id}", self.name())
    }

    /// Returns an area by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|area| area.name() == name)
    }

    /// The area whose shelf a dataset is.
    #[must_use]
    pub fn of_dataset(dataset_id: &str) -> Option<Self> {
        let (name, _) = dataset_id.split_once('~')?;
        Self::named(name)
    }
}

/// What the wildcards of the SmartSaaS contract stand for, which leaves that open: by the areas that belong to a company, to organising, to integrations.
const WIDE: [(&str, &[&str]); 3] = [
    (
        "company:*",
        &[
            "users:",
            "data:",
            "knowledge:",
            "business_plans:",
            "sales:",
            "templates:",
        ],
    ),
    ("organiser:*", &["projects:"]),
    ("integrations:*", &["integrations:", "data:", "knowledge:"]),
];

/// Whether a granted scope, possibly a wildcard, names a wanted one.
pub(crate) fn names(granted: &str, wanted: Scope) -> bool {
    let name = wanted.name();
    if matches!(granted, "*" | "admin:*") || granted == name {
        return true;
    }
    if let Some((_, areas)) = WIDE.iter().find(|(wide, _)| *wide == granted) {
        return areas.iter().any(|area| name.starts_with(area));
    }
    granted
        .strip_suffix('*')
        .is_some_and(|area| area.ends_with(':') && name.starts_with(area))
}

/// Whether a granted scope covers a wanted one. Who may read something may search it.
pub(crate) fn covers(granted: &str, wanted: Scope) -> bool {
    names(granted, wanted)
        || (wanted == Scope::KbSearch
            && (names(granted, Scope::KbRead)
                || Area::ALL.iter().any(|area| names(granted, area.read()))))
}

/// Reads scopes as a person gives them.
///
/// # Errors
/// `scope_unknown` lists the known ones.
pub fn read(given: &[String]) -> Result<Vec<String>> {
    let mut scopes = Vec::new();
    for word in given
        .iter()
        .flat_map(|g| g.split(','))
        .map(str::trim)
        .filter(|w| !w.is_empty())
    {
        let scope = if word == "admin" { "*" } else { word };
        if !ALL.iter().any(|s| covers(scope, *s)) {
            let known: Vec<&str> = ALL.iter().map(|s| s.name()).collect();
            let known = known.join(", ");
            return Err(Error::invalid(
                "scope_unknown",
                format!(
                    "{word:?} is an unknown scope; scopes are {known}, wildcards like kb:*, and admin"
                ),
            ));
        }
        if !scopes.iter().any(|s| s == scope) {
            scopes.push(scope.to_owned());
        }
    }
    if scopes.is_empty() {
        Err(Error::invalid(
            "scope_missing",
            "a key needs at least one scope",
        ))
    } else {
        Ok(scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_their_area_only() {
        assert!(
            covers("kb:*", Scope::KbWrite)
                && covers("*", Scope::KeysManage)
                && covers("kb:read", Scope::KbSearch)
        );
        assert!(
            !covers("kb:*", Scope::KeysManage)
                && !covers("kb:search", Scope::KbRead)
                && !covers("k*", Scope::KbRead)
        );
    }

    #[test]
    fn unknown_scopes_are_refused_with_the_known_ones() {
        let error = read(&["kb:fly".to_owned()])
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("kb:write"), "{error}");
        assert_eq!(read(&["admin".to_owned()]).expect("known"), ["*"]);
    }

    #[test]
    fn wide_scopes_stand_for_areas_and_shelves_tell_theirs() {
        assert!(
            covers("company:*", Scope::KnowledgeWrite)
                && !covers("company:*", Scope::ProjectsRead)
                && !covers("company:*", Scope::KbWrite)
        );
        assert!(
            covers("organiser:*", Scope::ProjectsWrite) && covers("admin:*", Scope::KeysManage)
        );
        assert!(
            covers("sales:read", Scope::KbSearch)
                && !covers("sales:write", Scope::KbSearch)
                && !covers("keys:manage", Scope::KbSearch)
        );
        for area in Area::ALL {
            assert_eq!(Area::of_dataset(&area.dataset_id("01ABC")), Some(area));
        }
        assert_eq!(Area::of_dataset("01ABC"), None);
    }
}
