//! The files of an agent's workspace at its gateway, written from templates.

use minijinja::{Environment, Value as Template, context};
use serde_json::{Map, Value, json};

use super::super::access::Actor;
use super::super::uuid_of;
use crate::app::App;
use crate::auth::people::Person;
use crate::auth::users;
use crate::auth::{Caller, Role};
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};

const TEMPLATES: [(&str, &str); 8] = [
    ("AGENTS.md", include_str!("AGENTS.md")),
    ("IDENTITY.md", include_str!("IDENTITY.md")),
    ("SOUL.md", include_str!("SOUL.md")),
    ("USER.md", include_str!("USER.md")),
    ("TOOLS.md", include_str!("TOOLS.md")),
    ("HEARTBEAT.md", include_str!("HEARTBEAT.md")),
    ("MEMORY.md", include_str!("MEMORY.md")),
    ("BOOTSTRAP.md", include_str!("BOOTSTRAP.md")),
];

/// Values for the templates of the files.
#[derive(Debug)]
pub struct Context {
    agent: Body,
    id: String,
    is_main: bool,
    is_lead: bool,
    board: Option<Body>,
    board_id: Option<String>,
    user: Value,
    base_url: String,
    token: String,
    workspace: String,
}

impl Context {
    /// Collects what the files of an agent say.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of(
        app: &App,
        agent: &Actor,
        board: Option<&Record>,
        token: &str,
        workspace: &str,
    ) -> Result<Self> {
        let url = app.config.public_url.trim_end_matches('/');
        let base_url = if url.is_empty() {
            format!("http://{}", app.config.listen)
        } else {
            url.to_owned()
        };
        Ok(Self {
            agent: agent.record.body()?,
            id: agent.id.clone(),
            is_main: agent.is_main(),
            is_lead: agent.is_lead,
            board: board.map(Record::body).transpose()?,
            board_id: agent.board_id.as_deref().map(uuid_of),
            user: person(app, &agent.record.tenant_id).await?,
            base_url,
            token: token.to_owned(),
            workspace: workspace.to_owned(),
        })
    }
}

/// Returns the profile of the owner of a tenant, whom its agents serve.
async fn person(app: &App, tenant_id: &str) -> Result<Value> {
    let caller = Caller::local(tenant_id);
    let people = users::list(&app.db, &app.clock, &caller).await?;
    let Some(owner) = people
        .into_iter()
        .find(|u| u.role == Role::Owner && u.is_active())
    else {
        return Ok(json!({}));
    };
    let found: Person = crate::auth::people::of_caller(&app.db, &app.clock, &caller).await?;
    Ok(json!({
        "name": found.name.unwrap_or(owner.name),
        "preferred_name": found.preferred_name,
        "pronouns": found.pronouns,
        "timezone": found.timezone,
        "notes": found.notes,
        "context": found.context,
    }))
}

/// Returns the files of an agent: names and contents. Newer gateways know neither TOOLS.md nor HEARTBEAT.md, whose texts then stand in AGENTS.md.
///
/// # Errors
/// When a template cannot be filled.
pub fn render(of: &Context, is_new_protocol: bool) -> Result<Vec<(&'static str, String)>> {
    let mut templates = Environment::new();
    for (name, source) in TEMPLATES {
        templates.add_template(name, source).map_err(broken)?;
    }
    let rank = match (of.is_main, of.is_lead) {
        (true, _) => "the main agent of this gateway",
        (false, true) => "the lead of your board",
        (false, false) => "a worker on your board",
    };
    let tag = match (of.is_main, of.is_lead) {
        (true, _) => "agent-main",
        (false, true) => "agent-lead",
        (false, false) => "agent-worker",
    };
    let empty = Value::Object(Map::new());
    let profile = of.agent.get("identity_profile").unwrap_or(&empty);
    let filled = |name: &str, tools: &str, heartbeat: &str| {
        let values = context! {
            agent => of.agent, agent_id => uuid_of(&of.id), is_main => of.is_main, is_lead => of.is_lead,
            board => of.board, board_id => of.board_id, user => Template::from_serialize(&of.user),
            base_url => of.base_url, token => of.token, workspace => of.workspace,
            profile => profile, rank_text => rank, tag => tag,
            inline_tools => is_new_protocol, tools => tools, heartbeat => heartbeat,
        };
        let template = templates.get_template(name).map_err(broken)?;
        template.render(values).map_err(broken)
    };
    let (tools, heartbeat) = (filled("TOOLS.md", "", "")?, filled("HEARTBEAT.md", "", "")?);
    let mut files = Vec::new();
    for (name, _) in TEMPLATES {
        let own = match name {
            "IDENTITY.md" => text(&of.agent, "identity_template"),
            "SOUL.md" => text(&of.agent, "soul_template"),
            _ => None,
        };
        let is_left_out = match name {
            "TOOLS.md" | "HEARTBEAT.md" => is_new_protocol,
            "BOOTSTRAP.md" => !of.is_lead,
            _ => false,
        };
        if is_left_out {
            continue;
        }
        let content = match own.filter(|t| !t.trim().is_empty()) {
            Some(own) => own.to_owned(),
            None => filled(name, &tools, &heartbeat)?,
        };
        files.push((name, content));
    }
    Ok(files)
}

fn broken(error: minijinja::Error) -> Error {
    Error::internal("a file of an agent cannot be written").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(is_lead: bool) -> Context {
        let body = |value: Value| -> Body { serde_json::from_value(value).expect("an object") };
        Context {
            agent: body(json!({"name": "Ada", "soul_template": "Own soul."})),
            id: "01H455VB4PEX5VSKNK084SN02Q".to_owned(),
            is_main: false,
            is_lead,
            board: Some(body(
                json!({"name": "Harbour", "description": "Boats", "require_approval_for_done": true}),
            )),
            board_id: Some("b".to_owned()),
            user: json!({"name": "Grace"}),
            base_url: "http://x.test".to_owned(),
            token: "secret-token".to_owned(),
            workspace: "/w".to_owned(),
        }
    }

    #[test]
    fn a_worker_learns_its_token_and_its_board() {
        let files = render(&context(false), false).expect("filled");
        let file = |name: &str| {
            files
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, c)| c.as_str())
        };
        assert!(
            file("TOOLS.md")
                .expect("there")
                .contains("AUTH_TOKEN=secret-token")
        );
        assert!(file("AGENTS.md").expect("there").contains("Harbour"));
        assert!(!file("AGENTS.md").expect("there").contains("secret-token"));
        assert_eq!(file("SOUL.md"), Some("Own soul."));
        assert!(file("USER.md").expect("there").contains("Grace"));
        assert_eq!(file("BOOTSTRAP.md"), None);
    }

    #[test]
    fn newer_gateways_get_everything_in_agents() {
        let files = render(&context(true), true).expect("filled");
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "AGENTS.md",
                "IDENTITY.md",
                "SOUL.md",
                "USER.md",
                "MEMORY.md",
                "BOOTSTRAP.md"
            ]
        );
        assert!(
            files[0].1.contains("AUTH_TOKEN=secret-token") && files[0].1.contains("agent-lead")
        );
    }
}
