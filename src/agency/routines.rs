//! Recurring tasks: templates of the program that a tenant switches on and fills in, run by a schedule or by hand.

use serde_json::{Value, json};

use super::activities::{self, NewActivity};
use super::{ROUTINE, access, roles, store};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::jobs::{Task, schedules};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

/// A value that a template needs.
#[derive(Debug)]
pub struct Variable {
    pub key: &'static str,
    pub label: &'static str,
    /// `text` or `url`.
    pub kind: &'static str,
    pub required: bool,
}

/// A template of recurring tasks.
#[derive(Debug)]
pub struct Template {
    pub id: &'static str,
    pub name: &'static str,
    pub description: &'static str,
    pub role: &'static str,
    /// `weekly` or `monthly`.
    pub periodicity: &'static str,
    /// Cron expression in UTC.
    pub cron: &'static str,
    pub variables: &'static [Variable],
}

/// The templates.
pub static TEMPLATES: [Template; 4] = [
    Template {
        id: "monthly-performance-report",
        name: "Monthly performance report",
        description: "Reports work, spending, leads and advertising figures of the last 30 days.",
        role: "report-writer",
        periodicity: "monthly",
        cron: "0 6 1 * *",
        variables: &[],
    },
    Template {
        id: "weekly-website-audit",
        name: "Weekly website audit",
        description: "Checks the pages of a website: status, titles, descriptions, headings, broken links.",
        role: "site-auditor",
        periodicity: "weekly",
        cron: "0 5 * * 1",
        variables: &[Variable {
            key: "url",
            label: "Address of the website",
            kind: "url",
            required: true,
        }],
    },
    Template {
        id: "weekly-keyword-gaps",
        name: "Weekly keyword gaps",
        description: "Lists what people searched the knowledge base for without a good result.",
        role: "keyword-researcher",
        periodicity: "weekly",
        cron: "30 5 * * 1",
        variables: &[],
    },
    Template {
        id: "weekly-social-ideas",
        name: "Weekly social ideas",
        description: "Writes a post on a theme from new content of the knowledge base.",
        role: "social-post-writer",
        periodicity: "weekly",
        cron: "0 7 * * 2",
        variables: &[
            Variable {
                key: "theme",
                label: "Theme",
                kind: "text",
                required: true,
            },
            Variable {
                key: "tone",
                label: "Tone of voice",
                kind: "text",
                required: false,
            },
        ],
    },
];

/// Longest value of a variable in characters.
const VALUE: usize = 2000;

/// A recurring task of a tenant.
#[derive(Debug)]
pub struct Routine {
    pub template: &'static Template,
    pub is_active: bool,
    pub values: Body,
    pub last_run_on: Option<Time>,
}

impl Routine {
    fn of(template: &'static Template, record: Option<&Record>) -> Result<Self> {
        let body = record.map(Record::body).transpose()?.unwrap_or_default();
        let values = body.get("values").and_then(Value::as_object).cloned();
        Ok(Self {
            template,
            is_active: body.get("active") == Some(&Value::Bool(true)),
            values: values.unwrap_or_default(),
            last_run_on: body.get("last_run_on").and_then(Value::as_i64).map(Time),
        })
    }

    /// Returns when it runs next.
    ///
    /// # Errors
    /// `cron_invalid`.
    pub fn next_run(&self, now: Time) -> Result<Option<Time>> {
        if self.is_active {
            schedules::next(self.template.cron, now).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Refuses a task without a value that it needs.
    fn need_values(&self) -> Result<()> {
        let has = |key: &str| super::filled(&self.values, key).is_some();
        let missing = self
            .template
            .variables
            .iter()
            .find(|v| v.required && !has(v.key));
        match missing {
            Some(variable) => Err(Error::unprocessable(
                "variable_missing",
                format!(
                    "variableValues.{} is required: {}",
                    variable.key, variable.label
                ),
            )),
            None => Ok(()),
        }
    }
}

fn template(id: &str) -> Result<&'static Template> {
    TEMPLATES
        .iter()
        .find(|t| t.id == id)
        .ok_or_else(|| Error::not_found("record_not_found", "recurring task not found"))
}

/// Returns the recurring tasks of a tenant.
///
/// # Errors
/// Those of the database.
pub async fn all(app: &App, tenant_id: &str) -> Result<Vec<Routine>> {
    let records = store::all(&app.db, tenant_id, &ROUTINE).await?;
    TEMPLATES
        .iter()
        .map(|t| Routine::of(t, record_of(&records, t)))
        .collect()
}

fn record_of<'r>(records: &'r [Record], template: &Template) -> Option<&'r Record> {
    records
        .iter()
        .find(|r| r.external_id.as_deref() == Some(template.id))
}

/// Returns a recurring task with its record.
async fn find(app: &App, tenant_id: &str, id: &str) -> Result<(Routine, Option<Record>)> {
    let template = template(id)?;
    let records = store::all(&app.db, tenant_id, &ROUTINE).await?;
    let record = record_of(&records, template).cloned();
    Ok((Routine::of(template, record.as_ref())?, record))
}

/// Returns a recurring task.
///
/// # Errors
/// `record_not_found`.
pub async fn get(app: &App, tenant_id: &str, id: &str) -> Result<Routine> {
    Ok(find(app, tenant_id, id).await?.0)
}

/// Adds the record of a routine to a plan, new or changed.
fn save(
    app: &App,
    caller: &Caller,
    routine: &Routine,
    before: Option<Record>,
    plan: &mut Plan,
) -> Result<()> {
    let body = json!({
        "name": routine.template.name,
        "template": routine.template.id,
        "active": routine.is_active,
        "values": routine.values,
        "last_run_on": routine.last_run_on.map(|t| t.0),
    });
    let body: Body = serde_json::from_value(body)?;
    match before {
        Some(before) => {
            let after = super::with_body(&before, body);
            plan.update_silently(&ROUTINE, before, after, app.clock.now());
        }
        None => {
            let new = New {
                external_id: Some(routine.template.id.to_owned()),
                ..New::from(&body)
            };
            let record = write::draft(app, caller, &ROUTINE, new)?;
            plan.create_silently(&ROUTINE, record);
        }
    }
    Ok(())
}

/// Returns a plan that switches a recurring task on or off, or sets values. An active one has all values that it needs.
///
/// # Errors
/// `record_not_found`, `variable_unknown`, `variable_invalid`, `variable_missing`.
pub async fn update(
    app: &App,
    caller: &Caller,
    id: &str,
    is_active: Option<bool>,
    values: Option<&Body>,
) -> Result<Plan> {
    access::write(caller)?;
    let (mut routine, before) = find(app, caller.tenant(), id).await?;
    for (key, value) in values.into_iter().flatten() {
        let known = routine.template.variables.iter().find(|v| v.key == key);
        let variable = known.ok_or_else(|| {
            Error::invalid(
                "variable_unknown",
                format!("variableValues: there is no variable {key:?}"),
            )
        })?;
        if value.is_null() {
            routine.values.shift_remove(key);
            continue;
        }
        let is_url = |text: &str| {
            url::Url::parse(text).is_ok_and(|u| matches!(u.scheme(), "http" | "https"))
        };
        let fits = value.as_str().is_some_and(|text| {
            text.chars().count() <= VALUE && (variable.kind != "url" || is_url(text))
        });
        if !fits {
            return Err(Error::invalid(
                "variable_invalid",
                format!("variableValues.{key} must be a {}", variable.kind),
            ));
        }
        routine.values.insert(key.clone(), value.clone());
    }
    routine.is_active = is_active.unwrap_or(routine.is_active);
    if routine.is_active {
        routine.need_values()?;
    }
    let mut plan = Plan::default();
    let task = Task::RunRoutine {
        template: routine.template.id.to_owned(),
    };
    let cron = routine.is_active.then(|| routine.template.cron.to_owned());
    plan.schedules.push((task, cron));
    save(app, caller, &routine, before, &mut plan)?;
    Ok(plan.data(200, json!({"id": routine.template.id})))
}

/// Returns a plan that runs a recurring task now.
///
/// # Errors
/// `record_not_found`, `variable_missing`.
pub async fn run(app: &App, caller: &Caller, id: &str, wake_reason: &str) -> Result<Plan> {
    access::write(caller)?;
    let (mut routine, before) = find(app, caller.tenant(), id).await?;
    routine.need_values()?;
    let mut prompt = routine.template.description.to_owned();
    for variable in routine.template.variables {
        if let Some(value) = text(&routine.values, variable.key) {
            prompt.push_str(&format!("\n{}: {value}", variable.label));
        }
    }
    let mut plan = Plan::default();
    let activity = NewActivity {
        title: routine.template.name.to_owned(),
        prompt,
        wake_reason: wake_reason.to_owned(),
        platforms: Vec::new(),
        ..NewActivity::by(roles::named(routine.template.role)?)
    };
    let activity_id = activities::add(app, caller, activity, &mut plan)?;
    routine.last_run_on = Some(app.clock.now());
    save(app, caller, &routine, before, &mut plan)?;
    Ok(plan.data(202, json!({"activityId": activity_id})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_name_known_roles_and_valid_schedules() {
        for template in &TEMPLATES {
            assert!(roles::named(template.role).is_ok(), "{}", template.id);
            assert!(
                schedules::next(template.cron, Time(0)).is_ok(),
                "{}",
                template.id
            );
        }
    }
}
