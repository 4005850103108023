//! Scopes and areas: the permissions of a key, as `area:verb`, with `area:*` and `*` as wildcards. `admin` is an alias of `*`.

use crate::error::{Error, Result};

macro_rules! scopes {
    (
        $($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)*
        areas: $($(#[doc = $area_doc:literal])+ $area:ident $area_name:literal, $read:ident = $read_name:literal, $write:ident = $write_name:literal, $module:expr;)*
    ) => {
        /// A permission of a key.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Scope {
            $($(#[doc = $doc])+ $variant,)*
            $(
                #[doc = concat!("Read the area `", $area_name, "`.")] $read,
                #[doc = concat!("Write the area `", $area_name, "`.")] $write,
            )*
        }

        /// Every scope.
        pub const ALL: &[Scope] = &[$(Scope::$variant,)* $(Scope::$read, Scope::$write,)*];

        impl Scope {
            /// Returns the name in keys.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    $(Self::$read => $read_name, Self::$write => $write_name,)*
                }
            }
        }

        /// Subject area of records. The texts of each area are searched in a separate dataset, its area dataset, by callers that may read the area.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Area {
            $($(#[doc = $area_doc])+ $area,)*
        }

        /// The areas in the order of the variants.
        const AREAS: &[Row] = &[
            $(Row {
                area: Area::$area,
                name: $area_name,
                read: Scope::$read,
                write: Scope::$write,
                module: $module,
            },)*
        ];
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
    areas:
    /// Articles and findings.
    Knowledge "knowledge", KnowledgeRead = "knowledge:read", KnowledgeWrite = "knowledge:write", None;
    /// Folders and their rows.
    Data "data", DataRead = "data:read", DataWrite = "data:write", None;
    /// Projects, work packages, tasks.
    Projects "projects", ProjectsRead = "projects:read", ProjectsWrite = "projects:write", None;
    /// Business plans.
    Plans "business_plans", PlansRead = "business_plans:read", PlansWrite = "business_plans:write", None;
    /// Campaigns, leads, forecasts.
    Sales "sales", SalesRead = "sales:read", SalesWrite = "sales:write", None;
    /// Templates and media.
    Templates "templates", TemplatesRead = "templates:read", TemplatesWrite = "templates:write", None;
    /// Contacts, companies, leads, deals, invoices, accounts.
    Crm "crm", CrmRead = "crm:read", CrmWrite = "crm:write", Some("crm");
    /// Queues and tickets.
    Support "support", SupportRead = "support:read", SupportWrite = "support:write", Some("support");
    /// Tasks of a workspace.
    Tasks "tasks", TasksRead = "tasks:read", TasksWrite = "tasks:write", Some("tasks");
    /// Calls, mails, meetings, notes.
    Activity "activity", ActivityRead = "activity:read", ActivityWrite = "activity:write", Some("activity_log");
    /// Collections, sites, entries, campaigns and posts.
    Cms "cms", CmsRead = "cms:read", CmsWrite = "cms:write", Some("cms");
    /// Files of a workspace.
    Assets "assets", AssetsRead = "assets:read", AssetsWrite = "assets:write", Some("assets");
    /// Event types and webhooks.
    Integrations "integrations", IntegrationsRead = "integrations:read", IntegrationsWrite = "integrations:write", Some("integrations");
    /// Definitions of events and properties.
    Analytics "analytics", AnalyticsRead = "analytics:read", AnalyticsWrite = "analytics:write", Some("analytics_governance");
    /// Dashboards, reports, queries.
    Bi "bi", BiRead = "bi:read", BiWrite = "bi:write", Some("bi");
    /// Boards with tasks, approvals and memory.
    Boards "boards", BoardsRead = "boards:read", BoardsWrite = "boards:write", None;
    /// Campaigns of a marketing team, with the activities of its agents, approvals, channels and reports.
    Marketing "marketing", MarketingRead = "marketing:read", MarketingWrite = "marketing:write", None;
}

/// An area.
#[derive(Debug)]
struct Row {
    area: Area,
    /// Name in scopes and in the ids of area datasets.
    name: &'static str,
    read: Scope,
    write: Scope,
    /// Module of the workspace that can be disabled.
    module: Option<&'static str>,
}

impl Area {
    fn row(self) -> &'static Row {
        &AREAS[self as usize]
    }

    /// Returns every area.
    pub fn all() -> impl Iterator<Item = Self> {
        AREAS.iter().map(|row| row.area)
    }

    /// Returns its name in scopes and in the ids of area datasets.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns its module of the workspace; `None` for areas that cannot be switched off.
    #[must_use]
    pub fn module(self) -> Option<&'static str> {
        self.row().module
    }

    /// Returns the area of a scope.
    #[must_use]
    pub fn of_scope(scope: Scope) -> Option<Self> {
        Self::all().find(|area| area.read() == scope || area.write() == scope)
    }

    /// Returns the scope that reading requires.
    #[must_use]
    pub fn read(self) -> Scope {
        self.row().read
    }

    /// Returns the scope that writing requires.
    #[must_use]
    pub fn write(self) -> Scope {
        self.row().write
    }

    /// Returns the id of the dataset that holds its texts. No other dataset's id has a tilde, so the id alone decides who may see it.
    #[must_use]
    pub fn dataset_id(self, tenant_id: &str) -> String {
        format!("{}~{tenant_id}", self.name())
    }

    /// Returns the id of the dataset that holds the texts of a part of the area: of one board, for instance.
    #[must_use]
    pub fn part_dataset_id(self, tenant_id: &str, part: &str) -> String {
        format!("{}~{tenant_id}~{part}", self.name())
    }

    /// Returns the part of the area whose texts a dataset holds; `None` for datasets of a whole area.
    #[must_use]
    pub fn part_of_dataset(dataset_id: &str) -> Option<&str> {
        dataset_id.splitn(3, '~').nth(2)
    }

    /// Returns the area with a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|area| area.name() == name)
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
                || Area::all().any(|area| names(granted, area.read()))))
}

/// Returns the scopes that both lists name; wildcards are resolved unless one of the lists covers everything.
pub(super) fn common(one: &[String], other: &[String]) -> Vec<String> {
    let everything = |list: &[String]| list.iter().any(|s| s == "*");
    if everything(other) {
        return one.to_vec();
    }
    let in_list = |list: &[String], scope| list.iter().any(|granted| names(granted, scope));
    let both = |scope: &Scope| in_list(one, *scope) && in_list(other, *scope);
    let common = ALL.iter().copied().filter(both);
    common.map(|scope| scope.name().to_owned()).collect()
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
                format!("unknown scope {word:?}; use {known}, a wildcard such as kb:*, or admin"),
            ));
        }
        if !scopes.iter().any(|s| s == scope) {
            scopes.push(scope.to_owned());
        }
    }
    if scopes.is_empty() {
        Err(Error::invalid(
            "scope_missing",
            "a key must have at least one scope",
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
    fn wide_scopes_expand_to_areas_and_area_datasets_name_theirs() {
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
        for area in Area::all() {
            assert_eq!(Area::of_dataset(&area.dataset_id("01ABC")), Some(area));
        }
        assert_eq!(Area::of_dataset("01ABC"), None);
    }
}
