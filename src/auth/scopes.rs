//! Scopes: the permissions of a key, as `area:verb`, with `area:*` and `*` as wildcards. `admin` is an alias of `*`.

use crate::error::{Error, Result};

macro_rules! scopes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)*) => {
        /// A permission of a key.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Scope {
            $($(#[doc = $doc])+ $variant,)*
        }

        /// Every scope.
        pub const ALL: &[Scope] = &[$(Scope::$variant),*];

        impl Scope {
            /// Returns the name in keys.
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
    /// Create, change and delete datasets, documents, chunks.
    KbWrite = "kb:write";
    /// Search.
    KbSearch = "kb:search";
    /// Create, list and revoke keys.
    KeysManage = "keys:manage";
    /// Create and list the tenants of the installation, with a key of its first tenant.
    TenantsManage = "tenants:manage";
    /// Read jobs, settings, metrics of the installation.
    SystemRead = "system:read";
    /// Read people of the tenant.
    UsersRead = "users:read";
    /// Read folders and their rows.
    DataRead = "data:read";
    /// Create folders, append rows.
    DataWrite = "data:write";
    /// Read articles and findings.
    KnowledgeRead = "knowledge:read";
    /// Write articles and findings.
    KnowledgeWrite = "knowledge:write";
    /// Read business plans.
    PlansRead = "business_plans:read";
    /// Write business plans.
    PlansWrite = "business_plans:write";
    /// Read projects, their work packages and tasks.
    ProjectsRead = "projects:read";
    /// Write projects, their work packages and tasks.
    ProjectsWrite = "projects:write";
    /// Read campaigns, leads, forecasts.
    SalesRead = "sales:read";
    /// Write campaigns, leads, forecasts.
    SalesWrite = "sales:write";
    /// Read templates and media.
    TemplatesRead = "templates:read";
    /// Write templates and media.
    TemplatesWrite = "templates:write";
    /// Read definitions of events and properties.
    AnalyticsRead = "analytics:read";
    /// Read contacts, companies, leads, deals, invoices, accounts.
    CrmRead = "crm:read";
    /// Write contacts, companies, leads, deals, invoices, accounts.
    CrmWrite = "crm:write";
    /// Read queues and tickets.
    SupportRead = "support:read";
    /// Write queues and tickets.
    SupportWrite = "support:write";
    /// Read tasks of a workspace.
    TasksRead = "tasks:read";
    /// Write tasks of a workspace.
    TasksWrite = "tasks:write";
    /// Read calls, mails, meetings, notes.
    ActivityRead = "activity:read";
    /// Write calls, mails, meetings, notes.
    ActivityWrite = "activity:write";
    /// Read collections, sites, entries, campaigns and posts.
    CmsRead = "cms:read";
    /// Write collections, sites, entries, campaigns and posts.
    CmsWrite = "cms:write";
    /// Read files of a workspace.
    AssetsRead = "assets:read";
    /// Write files of a workspace.
    AssetsWrite = "assets:write";
    /// Read event types and webhooks.
    IntegrationsRead = "integrations:read";
    /// Write event types and webhooks.
    IntegrationsWrite = "integrations:write";
    /// Write definitions of events and properties.
    AnalyticsWrite = "analytics:write";
    /// Read dashboards, reports, queries.
    BiRead = "bi:read";
    /// Write dashboards, reports, queries.
    BiWrite = "bi:write";
}

/// Subject area of records. The texts of each area are searched in a separate dataset, its area dataset, by callers that may read the area.
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

    /// Returns its name in scopes and in the ids of area datasets.
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

    /// Returns its module of the workspace; `None` for areas that cannot be switched off.
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

    /// Returns the area of a scope.
    #[must_use]
    pub fn of_scope(scope: Scope) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|area| area.read() == scope || area.write() == scope)
    }

    /// Returns the scope that reading requires.
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

    /// Returns the scope that writing requires.
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

    /// Returns the id of the dataset that holds its texts. No other dataset's id has a tilde, so the id alone decides who may see it.
    #[must_use]
    pub fn dataset_id(self, tenant_id: &str) -> String {
        format!("{}~{tenant_id}", self.name())
    }

    /// Returns the area with a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|area| area.name() == name)
    }

    /// Returns the area of an area dataset.
    #[must_use]
    pub fn of_dataset(dataset_id: &str) -> Option<Self> {
        let (name, _) = dataset_id.split_once('~')?;
        Self::named(name)
    }
}

/// Expansion of the wildcards of the SmartSaaS contract, which leaves it open: by the areas that belong to a company, to organising, to integrations.
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

/// Returns whether a granted scope, possibly a wildcard, names a wanted one.
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

/// Returns whether a granted scope covers a wanted one. The right to read implies the right to search.
pub(crate) fn covers(granted: &str, wanted: Scope) -> bool {
    names(granted, wanted)
        || (wanted == Scope::KbSearch
            && (names(granted, Scope::KbRead)
                || Area::ALL.iter().any(|area| names(granted, area.read()))))
}

/// Parses scopes as entered by a user.
///
/// # Errors
/// `scope_unknown`, whose message lists the known ones.
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
