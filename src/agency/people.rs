//! Names of the people, keys and agents that appear in answers.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::roles;
use crate::app::App;
use crate::auth::{OWNER, people};
use crate::error::Result;
use crate::records::Record;

/// Beginning of the ids of agents as authors, before their role.
pub const AGENT: &str = "agent:";

/// Names by id.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// Looks the names of some ids up.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of<'a>(
        app: &App,
        tenant_id: &str,
        ids: impl IntoIterator<Item = Option<&'a str>>,
    ) -> Result<Self> {
        let ids: BTreeSet<&str> = ids.into_iter().flatten().collect();
        let ids: Vec<String> = ids
            .into_iter()
            .filter(|id| *id != OWNER && !id.starts_with(AGENT))
            .map(str::to_owned)
            .collect();
        if ids.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self(people::names(&app.db, tenant_id, &ids).await?))
    }

    /// Looks the names of the authors of records up.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of_authors(app: &App, tenant_id: &str, records: &[Record]) -> Result<Self> {
        Self::of(app, tenant_id, records.iter().map(|r| r.author.as_deref())).await
    }

    /// Returns the name of an id; `System` for nobody, and `Former member` for one that has gone.
    #[must_use]
    pub fn name(&self, id: Option<&str>) -> String {
        match id {
            None => "System".to_owned(),
            Some(OWNER) => "Owner".to_owned(),
            Some(id) => match id.strip_prefix(AGENT) {
                Some(role) => roles::title(role),
                None => self
                    .0
                    .get(id)
                    .cloned()
                    .unwrap_or_else(|| "Former member".to_owned()),
            },
        }
    }

    /// Returns id and name.
    #[must_use]
    pub fn person(&self, id: Option<&str>) -> Value {
        json!({"id": id.unwrap_or("system"), "name": self.name(id)})
    }

    /// Returns id, name, and whether it is a person or an agent.
    #[must_use]
    pub fn actor(&self, id: Option<&str>) -> Value {
        let mut actor = self.person(id);
        actor["type"] = json!(actor_type(id));
        actor
    }
}

/// Returns `agent` for agents and the service itself, and `human` for people and their keys.
#[must_use]
pub fn actor_type(id: Option<&str>) -> &'static str {
    if id.is_none_or(|id| id.starts_with(AGENT)) {
        "agent"
    } else {
        "human"
    }
}
