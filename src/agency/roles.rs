//! Agent roles: the built-in ones with their instructions and tools, and the settings by which a tenant overrides them.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{AGENT, list, micros, people, store, usd};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::db::args;
use crate::error::{Error, Result};
use crate::llm::catalog::Listed;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

/// A built-in agent role.
#[derive(Debug)]
pub struct Role {
    pub name: &'static str,
    pub title: &'static str,
    /// Types of deliverables that it makes.
    pub makes: &'static [&'static str],
    /// Its instructions.
    pub prompt: &'static str,
    /// Tools that it has unless a tenant chooses others.
    pub tools: &'static [&'static str],
}

/// Tools of every role that writes.
const WRITER: &[&str] = &[
    "search_knowledge",
    "read_document",
    "save_output",
    "create_activity",
    "request_approval",
];

/// Tools of Cairn itself; `submit_plan` is only for the planner.
pub const TOOLS: [&str; 9] = [
    "search_knowledge",
    "read_document",
    "save_output",
    "create_activity",
    "request_approval",
    "submit_plan",
    "audit_website",
    "performance_figures",
    "keyword_gaps",
];

/// Tools of integrations, and the type of the integration that each needs; a model is only given those whose integration is connected.
pub const SERVICE_TOOLS: [(&str, &str); 9] = [
    ("semrush_keyword_research", "semrush"),
    ("semrush_domain_keywords", "semrush"),
    ("dataforseo_keyword_volume", "dataforseo"),
    ("dataforseo_search_results", "dataforseo"),
    ("ahrefs_keywords", "ahrefs"),
    ("ahrefs_referring_domains", "ahrefs"),
    ("google_ads_campaigns", "google_ads_api"),
    ("meta_ads_campaigns", "meta_ads_api"),
    ("sendgrid_statistics", "sendgrid"),
];

/// Returns whether a tool exists.
fn is_tool(name: &str) -> bool {
    TOOLS.contains(&name) || SERVICE_TOOLS.iter().any(|tool| tool.0 == name)
}

/// The role that plans campaigns.
pub const PLANNER: &str = "activity-planner";

/// The built-in roles.
pub static ROLES: [Role; 15] = [
    Role {
        name: PLANNER,
        title: "Activity Planner",
        makes: &[],
        prompt: "You plan the work of a marketing campaign for one period. From the brief, decide which activities produce the deliverables, in which order, and what each agent has to know. Submit the plan with submit_plan; correct it when it is refused.",
        tools: &["search_knowledge", "read_document", "submit_plan"],
    },
    Role {
        name: "client-researcher",
        title: "Client Researcher",
        makes: &[],
        prompt: "You research the client: what it offers, to whom, and how it speaks of itself. Report facts with their sources, and what is not known.",
        tools: WRITER,
    },
    Role {
        name: "competitor-researcher",
        title: "Competitor Researcher",
        makes: &[],
        prompt: "You research the competitors of the client: their offers, positions and content. Report facts with their sources, and what is not known.",
        tools: &[
            "search_knowledge",
            "read_document",
            "save_output",
            "create_activity",
            "request_approval",
            "semrush_domain_keywords",
            "dataforseo_search_results",
            "ahrefs_referring_domains",
        ],
    },
    Role {
        name: "strategy-writer",
        title: "Strategy Writer",
        makes: &[],
        prompt: "You write the marketing strategy: audience, message, channels, goals that can be measured. Ask for approval of type strategy_change before a direction changes.",
        tools: WRITER,
    },
    Role {
        name: "keyword-researcher",
        title: "Keyword Researcher",
        makes: &[],
        prompt: "You find the search terms that the content should answer, from what people searched for in vain and what the knowledge base covers.",
        tools: &[
            "search_knowledge",
            "read_document",
            "keyword_gaps",
            "save_output",
            "semrush_keyword_research",
            "dataforseo_keyword_volume",
            "dataforseo_search_results",
            "ahrefs_keywords",
            "semrush_domain_keywords",
        ],
    },
    Role {
        name: "content-brief-writer",
        title: "Content Brief Writer",
        makes: &[],
        prompt: "You write the brief of one piece of content: purpose, reader, points with their sources, structure, length, tone.",
        tools: &[
            "search_knowledge",
            "read_document",
            "save_output",
            "create_activity",
            "request_approval",
            "semrush_keyword_research",
            "dataforseo_keyword_volume",
            "dataforseo_search_results",
            "ahrefs_keywords",
        ],
    },
    Role {
        name: "copywriter",
        title: "Copywriter",
        makes: &[],
        prompt: "You write marketing copy that is clear, correct and short.",
        tools: WRITER,
    },
    Role {
        name: "blog-writer",
        title: "Blog Writer",
        makes: &["blog_post"],
        prompt: "You write one blog post in Markdown: a title, an introduction that says what the reader gets, sections with headings, a conclusion.",
        tools: WRITER,
    },
    Role {
        name: "social-post-writer",
        title: "Social Post Writer",
        makes: &["social_post"],
        prompt: "You write one post for social networks, in the form that each named platform expects.",
        tools: WRITER,
    },
    Role {
        name: "gbp-post-writer",
        title: "Google Business Profile Writer",
        makes: &["gbp_post"],
        prompt: "You write one post for a Google Business Profile: at most 1500 characters, with a call to action.",
        tools: WRITER,
    },
    Role {
        name: "ads-writer",
        title: "Ads Writer",
        makes: &["ad_copy"],
        prompt: "You write advertising copy: headlines of at most 30 characters and descriptions of at most 90, each on its own line.",
        tools: &[
            "search_knowledge",
            "read_document",
            "save_output",
            "create_activity",
            "request_approval",
            "semrush_keyword_research",
            "dataforseo_keyword_volume",
            "google_ads_campaigns",
            "meta_ads_campaigns",
        ],
    },
    Role {
        name: "email-writer",
        title: "Email Writer",
        makes: &["email_newsletter"],
        prompt: "You write one newsletter: a subject, a preview line, and the body in Markdown.",
        tools: &[
            "search_knowledge",
            "read_document",
            "save_output",
            "create_activity",
            "request_approval",
            "sendgrid_statistics",
        ],
    },
    Role {
        name: "backlink-researcher",
        title: "Backlink Researcher",
        makes: &["backlink"],
        prompt: "You find a website that could link to the client, and write the message that asks for it.",
        tools: &[
            "search_knowledge",
            "read_document",
            "save_output",
            "create_activity",
            "request_approval",
            "dataforseo_search_results",
            "ahrefs_referring_domains",
        ],
    },
    Role {
        name: "site-auditor",
        title: "Site Auditor",
        makes: &["website_audit"],
        prompt: "You audit a website. Use audit_website for the facts, then explain what matters most and what to do about it.",
        tools: &[
            "search_knowledge",
            "read_document",
            "audit_website",
            "save_output",
            "create_activity",
        ],
    },
    Role {
        name: "report-writer",
        title: "Report Writer",
        makes: &["performance_report"],
        prompt: "You write a performance report in Markdown. Use performance_figures for the figures, and invent none.",
        tools: &[
            "search_knowledge",
            "read_document",
            "performance_figures",
            "save_output",
            "google_ads_campaigns",
            "meta_ads_campaigns",
            "sendgrid_statistics",
        ],
    },
];

/// Returns a role by its name; words may be joined by dashes, underscores or spaces.
///
/// # Errors
/// `agent_role_unknown`.
pub fn named(name: &str) -> Result<&'static Role> {
    let wanted = name.trim().to_lowercase().replace(['_', ' '], "-");
    ROLES.iter().find(|r| r.name == wanted).ok_or_else(|| {
        Error::not_found(
            "agent_role_unknown",
            format!("there is no agent with the role {name:?}"),
        )
    })
}

/// Returns the title of a role; an unknown one is its own title.
#[must_use]
pub fn title(name: &str) -> String {
    ROLES
        .iter()
        .find(|r| r.name == name)
        .map_or(name, |r| r.title)
        .to_owned()
}

/// Returns the role that makes deliverables of a type.
#[must_use]
pub fn maker_of(deliverable_type: &str) -> Option<&'static Role> {
    ROLES.iter().find(|r| r.makes.contains(&deliverable_type))
}

/// Defaults of settings.
const CONCURRENCY: i64 = 3;
const TIMEOUT_SEC: i64 = 600;
const MAX_TURNS: i64 = 16;
/// Longest time limit of a run, in seconds.
pub const LONGEST_RUN: i64 = 3600;
/// Most turns of a run.
pub const MOST_TURNS: i64 = 100;
/// Most characters of a prompt template.
const TEMPLATE: usize = 20_000;

/// The settings of an agent role in a tenant.
#[derive(Debug, Clone)]
pub struct Settings {
    pub id: String,
    pub role: &'static Role,
    /// Name of its model; `None` for the default one.
    pub model: Option<String>,
    /// Most that an activity may cost, in millionths of a US dollar.
    pub max_cost_micros: Option<i64>,
    pub tools: Vec<String>,
    /// Runs at the same time, 1 to 10.
    pub concurrency: i64,
    /// Instructions in place of the built-in ones, as a template.
    pub prompt_template: Option<String>,
    /// Time limit of a run, in seconds.
    pub timeout_sec: i64,
    /// Responses of the model per run.
    pub max_turns: i64,
    /// Whether the tenant overrides nothing.
    pub is_default: bool,
}

impl Settings {
    fn of(role: &'static Role, overrides: Option<(&str, &Body)>) -> Self {
        let empty = Body::new();
        let (id, body) = overrides.unwrap_or(("", &empty));
        let number = |name: &str| body.get(name).and_then(Value::as_i64);
        Self {
            id: if id.is_empty() {
                format!("{}{}", people::AGENT, role.name)
            } else {
                id.to_owned()
            },
            role,
            model: text(body, "model").map(str::to_owned),
            max_cost_micros: number("max_cost_micros"),
            tools: if body.contains_key("tools") {
                list(body, "tools")
            } else {
                role.tools.iter().map(|t| (*t).to_owned()).collect()
            },
            concurrency: number("concurrency").unwrap_or(CONCURRENCY),
            prompt_template: text(body, "prompt_template").map(str::to_owned),
            timeout_sec: number("timeout_sec").unwrap_or(TIMEOUT_SEC),
            max_turns: number("max_turns").unwrap_or(MAX_TURNS),
            is_default: id.is_empty(),
        }
    }

    /// Returns the model that it uses; `None` when none is configured, or the chosen one no more.
    #[must_use]
    pub fn model<'a>(&self, app: &'a App) -> Option<&'a Listed> {
        app.agent_models.get(self.model.as_deref())
    }
}

/// Returns the settings of a role.
///
/// # Errors
/// Those of the database.
pub async fn settings(app: &App, tenant_id: &str, role: &'static Role) -> Result<Settings> {
    let found = override_of(app, tenant_id, role).await?;
    let found = match &found {
        Some(record) => Some((record.id.as_str(), record.body()?)),
        None => None,
    };
    Ok(Settings::of(
        role,
        found.as_ref().map(|(id, body)| (*id, body)),
    ))
}

async fn override_of(
    app: &App,
    tenant_id: &str,
    role: &Role,
) -> Result<Option<crate::records::Record>> {
    let all = store::all(&app.db, tenant_id, &AGENT).await?;
    Ok(all.into_iter().find(|r| r.title == role.name))
}

/// State of an agent role: running work, last error, last activity.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub running: i64,
    pub last_error: Option<String>,
    pub last_error_on: Option<Time>,
    pub last_active_on: Option<Time>,
}

impl State {
    /// Returns the status of the agent in the words of the contract: `running` while it works, `error` when its last run failed, else `idle`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        if self.running > 0 {
            "running"
        } else if self.last_error.is_some() {
            "error"
        } else {
            "idle"
        }
    }
}

/// Returns the settings of every role with its state.
///
/// # Errors
/// Those of the database.
pub async fn all(app: &App, tenant_id: &str) -> Result<Vec<(Settings, State)>> {
    let mut overrides: HashMap<String, (String, Body)> = HashMap::new();
    for record in store::all(&app.db, tenant_id, &AGENT).await? {
        let body = record.body()?;
        overrides.insert(record.title, (record.id, body));
    }
    let mut states = states(app, tenant_id).await?;
    Ok(ROLES
        .iter()
        .map(|role| {
            let own = overrides.get(role.name);
            let settings = Settings::of(role, own.map(|(id, body)| (id.as_str(), body)));
            (settings, states.remove(role.name).unwrap_or_default())
        })
        .collect())
}

/// Role, last error with its time, and time of the last activity.
type Known = (String, Option<String>, Option<Time>, Option<Time>);

/// Returns the states of the roles that have worked.
///
/// # Errors
/// Those of the database.
pub async fn states(app: &App, tenant_id: &str) -> Result<HashMap<String, State>> {
    let mut states: HashMap<String, State> = HashMap::new();
    let known: Vec<Known> = app
        .db
        .all(
            "SELECT role, last_error, last_error_on, last_active_on FROM agent_roles WHERE tenant_id = $1",
            args![tenant_id],
        )
        .await?;
    for (role, last_error, last_error_on, last_active_on) in known {
        let state = State {
            running: 0,
            last_error,
            last_error_on,
            last_active_on,
        };
        states.insert(role, state);
    }
    let running: Vec<(String, i64)> = app
        .db
        .all(
            "SELECT role, COUNT(*) FROM activity_runs WHERE status = 'running' AND tenant_id = $1 GROUP BY role",
            args![tenant_id],
        )
        .await?;
    for (role, count) in running {
        states.entry(role).or_default().running = count;
    }
    Ok(states)
}

/// Returns a plan that overrides settings of a role.
///
/// # Errors
/// `admin_required`, `agent_role_unknown`, `model_unknown`, `tool_unknown`, `template_invalid`.
pub async fn update(app: &App, caller: &Caller, name: &str, given: &Body) -> Result<Plan> {
    super::access::admin(caller)?;
    let role = named(name)?;
    let before = override_of(app, caller.tenant(), role).await?;
    let mut body = match &before {
        Some(record) => record.body()?,
        None => Body::from_iter([("role".to_owned(), json!(role.name))]),
    };
    if let Some(model) = text(given, "model") {
        let listed = app.agent_models.get(Some(model)).ok_or_else(|| {
            let known = app.agent_models.names();
            let known = if known.is_empty() {
                "none is configured (agent_models)".to_owned()
            } else {
                format!("configured are {}", known.join(", "))
            };
            Error::unprocessable(
                "model_unknown",
                format!("the model {model:?} is not configured; {known}"),
            )
        })?;
        let name = format!("{}/{}", listed.adapter, listed.endpoint.model());
        body.insert("model".to_owned(), json!(name));
    }
    if let Some(most) = given.get("maxCostUsdPerActivity").and_then(Value::as_f64) {
        body.insert("max_cost_micros".to_owned(), json!(micros(most)));
    }
    if given.contains_key("toolNames") {
        let tools = list(given, "toolNames");
        let is_known =
            |tool: &String| is_tool(tool) && (tool != "submit_plan" || role.name == PLANNER);
        if let Some(unknown) = tools.iter().find(|tool| !is_known(tool)) {
            return Err(Error::unprocessable(
                "tool_unknown",
                format!("there is no tool {unknown:?} for this role"),
            ));
        }
        body.insert("tools".to_owned(), json!(tools));
    }
    if let Some(concurrency) = given.get("concurrency") {
        body.insert("concurrency".to_owned(), concurrency.clone());
    }
    if let Some(Value::Object(adapter)) = given.get("adapterConfig") {
        if let Some(template) = text(adapter, "promptTemplate") {
            check_template(template)?;
            body.insert("prompt_template".to_owned(), json!(template));
        }
        for (name, field) in [
            ("timeoutSec", "timeout_sec"),
            ("maxTurnsPerRun", "max_turns"),
        ] {
            if let Some(value) = adapter.get(name).filter(|v| !v.is_null()) {
                body.insert(field.to_owned(), value.clone());
            }
        }
    }
    let mut plan = Plan::default();
    match before {
        Some(before) => {
            let after = super::with_body(&before, body);
            plan.update_silently(&AGENT, before, after, app.clock.now());
        }
        None => {
            let record = write::draft(app, caller, &AGENT, New::from(&body))?;
            plan.create_silently(&AGENT, record);
        }
    }
    Ok(plan.status(200).data(200, json!({"role": role.name})))
}

fn check_template(template: &str) -> Result<()> {
    let problem = if template.chars().count() > TEMPLATE {
        Some(format!("it may have at most {TEMPLATE} characters"))
    } else {
        let environment = minijinja::Environment::new();
        let parsed = environment.template_from_str(template);
        parsed.err().map(|e| e.to_string())
    };
    match problem {
        Some(problem) => Err(Error::invalid(
            "template_invalid",
            format!("promptTemplate: {problem}"),
        )),
        None => Ok(()),
    }
}

/// Returns the cost limit as clients see it.
#[must_use]
pub fn shown_limit(settings: &Settings) -> Option<f64> {
    settings.max_cost_micros.map(usd)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::agency::DELIVERABLE_TYPES;

    #[test]
    fn every_type_of_deliverable_has_one_maker() {
        for made in DELIVERABLE_TYPES {
            let makers = ROLES.iter().filter(|r| r.makes.contains(&made)).count();
            assert_eq!(makers, 1, "{made}");
        }
    }

    #[test]
    fn roles_have_unique_names_and_known_tools() {
        let names: HashSet<&str> = ROLES.iter().map(|r| r.name).collect();
        assert_eq!(names.len(), ROLES.len());
        for role in &ROLES {
            assert!(role.tools.iter().all(|tool| is_tool(tool)), "{}", role.name);
        }
    }

    #[test]
    fn roles_are_found_however_their_words_are_joined() {
        assert_eq!(named("Blog_Writer").expect("known").name, "blog-writer");
        assert!(named("pilot").is_err());
    }
}
