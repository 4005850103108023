//! Skills: instructions in Markdown that agents are given. Those of the platform are part of the program; those of a tenant are searched.

use serde_json::json;

use super::{SKILL, access, list, roles, store};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

/// A skill of the platform.
#[derive(Debug)]
pub struct Global {
    pub id: &'static str,
    pub name: &'static str,
    pub description: &'static str,
    pub content: &'static str,
    /// Roles that are given it.
    pub roles: &'static [&'static str],
}

/// The skills of the platform.
pub static GLOBAL: [Global; 3] = [
    Global {
        id: "global-grounded-writing",
        name: "Grounded writing",
        description: "How to write from the knowledge base, with citations.",
        content: include_str!("skills/grounded-writing.md"),
        roles: &[
            "copywriter",
            "blog-writer",
            "social-post-writer",
            "gbp-post-writer",
            "ads-writer",
            "email-writer",
            "content-brief-writer",
        ],
    },
    Global {
        id: "global-revision",
        name: "Revision",
        description: "How to answer the feedback of a reviewer.",
        content: include_str!("skills/revision.md"),
        roles: &[
            "copywriter",
            "blog-writer",
            "social-post-writer",
            "gbp-post-writer",
            "ads-writer",
            "email-writer",
        ],
    },
    Global {
        id: "global-figures",
        name: "Figures in reports",
        description: "How to report figures without inventing any.",
        content: include_str!("skills/figures.md"),
        roles: &["report-writer", "site-auditor"],
    },
];

/// Largest skill, in bytes.
pub const LARGEST: usize = 500 << 10;
/// Longest name and description, in characters.
const NAME: usize = 200;
const DESCRIPTION: usize = 2000;

/// Fields of a skill to set; absent ones stay.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    pub name: Option<String>,
    pub description: Option<String>,
    pub agent_roles: Option<Vec<String>>,
    /// Markdown.
    pub content: Option<String>,
}

impl Fields {
    fn set(&self, body: &mut Body) -> Result<()> {
        let line = |name: &'static str, text: &str, most: usize| {
            let text = text.trim();
            if text.chars().count() > most || (name == "name" && text.is_empty()) {
                return Err(Error::invalid(
                    "skill_invalid",
                    format!("{name} must have at most {most} characters"),
                ));
            }
            Ok(json!(text))
        };
        if let Some(name) = &self.name {
            body.insert("name".to_owned(), line("name", name, NAME)?);
        }
        if let Some(text) = &self.description {
            let text = line("description", text, DESCRIPTION)?;
            body.insert("description".to_owned(), text);
        }
        if let Some(given) = &self.agent_roles {
            let mut known: Vec<&str> = Vec::new();
            for name in given.iter().filter(|n| !n.trim().is_empty()) {
                let role = roles::named(name).map_err(|error| {
                    Error::unprocessable("agent_role_unknown", error.public_message().to_owned())
                })?;
                if !known.contains(&role.name) {
                    known.push(role.name);
                }
            }
            body.insert("agent_roles".to_owned(), json!(known));
        }
        if let Some(content) = &self.content {
            if content.len() > LARGEST {
                return Err(Error::invalid(
                    "file_too_large",
                    format!("a skill may have at most {} KB", LARGEST >> 10),
                ));
            }
            if content.trim().is_empty() || content.contains('\0') {
                return Err(Error::invalid(
                    "skill_invalid",
                    "a skill must be a text, and not empty",
                ));
            }
            body.insert("content".to_owned(), json!(content));
        }
        Ok(())
    }
}

/// Returns a plan that creates a skill.
///
/// # Errors
/// `skill_invalid`, `file_too_large`, `agent_role_unknown`.
pub fn create(app: &App, caller: &Caller, fields: &Fields) -> Result<Plan> {
    access::write(caller)?;
    if fields.name.is_none() || fields.content.is_none() {
        return Err(Error::invalid(
            "skill_invalid",
            "send the Markdown file as file, and its name as name",
        ));
    }
    let mut body = Body::new();
    fields.set(&mut body)?;
    let record = write::draft(app, caller, &SKILL, New::from(&body))?;
    let mut plan = Plan::default();
    plan.create(&SKILL, record);
    Ok(plan)
}

fn refuse_global(id: &str) -> Result<()> {
    if GLOBAL.iter().any(|skill| skill.id == id) {
        Err(Error::forbidden(
            "skill_is_global",
            "skills of the platform cannot be changed; add one of your own",
        ))
    } else {
        Ok(())
    }
}

/// Returns a plan that changes a skill of the tenant.
///
/// # Errors
/// Those of [`create`]; `skill_is_global`, `record_not_found`.
pub async fn update(app: &App, caller: &Caller, id: &str, fields: &Fields) -> Result<Plan> {
    access::write(caller)?;
    refuse_global(id)?;
    let before = store::get(app, caller.tenant(), &SKILL, id).await?;
    let mut body = before.body()?;
    fields.set(&mut body)?;
    let after = Record {
        title: write::title(&SKILL, &body),
        ..super::with_body(&before, body)
    };
    let mut plan = Plan::default();
    plan.update(&SKILL, before, after, app.clock.now());
    Ok(plan)
}

/// Returns a plan that deletes a skill of the tenant.
///
/// # Errors
/// `skill_is_global`, `record_not_found`.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    access::write(caller)?;
    refuse_global(id)?;
    let skill = store::get(app, caller.tenant(), &SKILL, id).await?;
    let mut plan = Plan::default();
    plan.delete(&SKILL, skill);
    Ok(plan.data(204, serde_json::Value::Null))
}

/// Returns the skills of a role: names and contents, those of the platform first.
///
/// # Errors
/// Those of the database.
pub async fn of_role(app: &App, tenant_id: &str, role: &str) -> Result<Vec<(String, String)>> {
    let mut found: Vec<(String, String)> = GLOBAL
        .iter()
        .filter(|skill| skill.roles.contains(&role))
        .map(|skill| (skill.name.to_owned(), skill.content.to_owned()))
        .collect();
    let filters = vec![("agent_roles".to_owned(), role.to_owned())];
    for skill in store::matching(app, tenant_id, &SKILL, filters).await? {
        let body = skill.body()?;
        let content = text(&body, "content").unwrap_or_default().to_owned();
        found.push((skill.title, content));
    }
    Ok(found)
}

/// Returns the ids of the skills of all roles of a tenant, by role.
///
/// # Errors
/// Those of the database.
pub async fn ids_by_role(
    app: &App,
    tenant_id: &str,
) -> Result<std::collections::HashMap<String, Vec<String>>> {
    let mut found: std::collections::HashMap<String, Vec<String>> =
        std::collections::HashMap::new();
    let mut add = |role: &str, id: &str| {
        found
            .entry(role.to_owned())
            .or_default()
            .push(id.to_owned());
    };
    for skill in &GLOBAL {
        skill.roles.iter().for_each(|role| add(role, skill.id));
    }
    for skill in store::all(&app.db, tenant_id, &SKILL).await? {
        let roles = list(&skill.body()?, "agent_roles");
        roles.iter().for_each(|role| add(role, &skill.id));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skills_of_the_platform_name_known_roles() {
        for skill in &GLOBAL {
            assert!(!skill.content.trim().is_empty(), "{}", skill.id);
            for role in skill.roles {
                assert!(roles::named(role).is_ok(), "{role}");
            }
        }
    }
}
