//! The stages of the pipeline: the shared stages of [`crate::crm::STAGE`], in their order, one of them the default for new leads.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::app::App;
use crate::auth::Caller;
use crate::crm::{LEAD, STAGE};
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, invalid, text};
use crate::records::plan::Plan;
use crate::records::store::{self, ListQuery, Offset};
use crate::records::write::{self, Patch};

/// Stages of a tenant.
const STAGES: i64 = 100;
/// Leads that move when their stage is deleted.
const MOVED: i64 = 500;

/// A stage.
#[derive(Debug, Clone)]
pub struct Stage {
    pub record: Record,
    /// Public id.
    pub id: String,
    pub key: String,
    pub name: String,
    pub position: i64,
    pub color: Option<String>,
    pub is_default: bool,
}

impl Stage {
    fn of(record: Record) -> Result<Self> {
        let body = record.body()?;
        let word = |name: &str| text(&body, name).map(str::to_owned);
        Ok(Self {
            id: STAGE.public_id(&record.id),
            key: word("key").unwrap_or_default(),
            name: word("name").unwrap_or_default(),
            position: body.get("position").and_then(Value::as_i64).unwrap_or(0),
            color: word("color"),
            is_default: body.get("is_default") == Some(&Value::Bool(true)),
            record,
        })
    }
}

/// Returns the stages of a tenant in their order.
///
/// # Errors
/// Those of the database.
pub async fn all(app: &App, tenant_id: &str) -> Result<Vec<Stage>> {
    let query = ListQuery {
        limit: STAGES,
        ..ListQuery::default()
    };
    let (found, _) = store::list(app, tenant_id, &STAGE, &query).await?;
    let mut stages = found
        .into_iter()
        .map(Stage::of)
        .collect::<Result<Vec<_>>>()?;
    stages.sort_by(|a, b| (a.position, &a.id).cmp(&(b.position, &b.id)));
    Ok(stages)
}

/// Returns the stage that a word names: its id, its key or its name, whatever the case.
#[must_use]
pub fn find<'a>(stages: &'a [Stage], word: &str) -> Option<&'a Stage> {
    let word = word.trim();
    let is = |text: &str| text.eq_ignore_ascii_case(word);
    stages
        .iter()
        .find(|s| s.id == word || s.record.id == word)
        .or_else(|| stages.iter().find(|s| is(&s.name) || is(&s.key)))
}

/// Returns the stage that a word names.
///
/// # Errors
/// `stage_unknown` lists the stages.
pub fn named<'a>(stages: &'a [Stage], word: &str) -> Result<&'a Stage> {
    find(stages, word).ok_or_else(|| {
        let names: Vec<&str> = stages.iter().map(|s| s.name.as_str()).collect();
        let message = format!("there is no stage {word:?}");
        let hint = if names.is_empty() {
            "the workspace has no stages yet; create them with POST /api/openclaw/setup or POST /api/openclaw/stages".to_owned()
        } else {
            format!("use the id or the name of a stage: {}", names.join(", "))
        };
        Error::invalid("stage_unknown", message).with_hint(hint)
    })
}

/// Returns the stage of new leads: the default, or else the first.
#[must_use]
pub fn default(stages: &[Stage]) -> Option<&Stage> {
    stages.iter().find(|s| s.is_default).or(stages.first())
}

/// Returns the key of a stage for its name.
fn key_for(name: &str, stages: &[Stage]) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<String> = words
        .filter(|w| !w.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let base = if words.is_empty() {
        "stage".to_owned()
    } else {
        words.join("_").chars().take(80).collect()
    };
    let is_free = |key: &str| stages.iter().all(|s| s.key != key);
    let numbered = (2..).map(|n| format!("{base}_{n}"));
    std::iter::once(base.clone())
        .chain(numbered)
        .find(|key| is_free(key))
        .unwrap_or(base)
}

fn full() -> Error {
    Error::unprocessable(
        "stages_full",
        format!("a pipeline may have at most {STAGES} stages"),
    )
}

/// Takes the default from the stage that has it.
async fn take_default(
    app: &App,
    caller: &Caller,
    stages: &[Stage],
    but: Option<&str>,
) -> Result<Plan> {
    let mut plan = Plan::default();
    for stage in stages.iter().filter(|s| s.is_default) {
        if but == Some(stage.id.as_str()) {
            continue;
        }
        let patch = Patch {
            body: Body::from_iter([("is_default".to_owned(), json!(false))]),
            ..Patch::default()
        };
        plan = plan.with(write::update(app, caller, &STAGE, stage.record.clone(), patch).await?);
    }
    Ok(plan)
}

/// Returns a plan that adds a stage. Without a position it comes last; without a key it gets one from its name.
///
/// # Errors
/// `stages_full`, `stage_name_taken`, and those of [`write::create`].
pub async fn create(app: &App, caller: &Caller, mut body: Body) -> Result<Plan> {
    let stages = all(app, caller.tenant()).await?;
    let mut plan = Plan::default();
    if body.get("is_default") == Some(&json!(true)) {
        plan = take_default(app, caller, &stages, None).await?;
    }
    Ok(plan.with(create_among(app, caller, &mut body, &stages).await?))
}

async fn create_among(
    app: &App,
    caller: &Caller,
    body: &mut Body,
    stages: &[Stage],
) -> Result<Plan> {
    if i64::try_from(stages.len()).unwrap_or(STAGES) >= STAGES {
        return Err(full());
    }
    if let Some(name) = text(body, "name") {
        refuse_taken(stages, name, None)?;
        let key = key_for(name, stages);
        body.entry("key").or_insert(json!(key));
    }
    let last = stages.iter().map(|s| s.position).max();
    let next = last.map_or(0, |position| position + 1);
    body.entry("position").or_insert(json!(next));
    body.entry("is_default").or_insert(json!(stages.is_empty()));
    write::create(app, caller, &STAGE, (&*body).into()).await
}

fn refuse_taken(stages: &[Stage], name: &str, but: Option<&str>) -> Result<()> {
    match find(stages, name).filter(|s| but != Some(s.id.as_str())) {
        Some(stage) => Err(Error::conflict(
            "stage_name_taken",
            format!("there is a stage {:?} already", stage.name),
        )
        .with_hint(format!(
            "change it with PUT /api/openclaw/stages and the id {}, or choose another name",
            stage.id
        ))),
        None => Ok(()),
    }
}

/// Returns a plan that changes a stage.
///
/// # Errors
/// `stage_unknown`, `stage_name_taken`, `body_invalid` when it would leave the pipeline without a default, and those of [`write::update`].
pub async fn update(app: &App, caller: &Caller, id: &str, body: &Body) -> Result<Plan> {
    let stages = all(app, caller.tenant()).await?;
    let stage = stages
        .iter()
        .find(|s| s.id == id || s.record.id == id)
        .ok_or_else(|| store::not_found(&STAGE))?;
    if let Some(name) = text(body, "name") {
        refuse_taken(&stages, name, Some(&stage.id))?;
    }
    let mut plan = Plan::default();
    match body.get("is_default") {
        Some(Value::Bool(true)) => {
            plan = take_default(app, caller, &stages, Some(&stage.id)).await?;
        }
        Some(Value::Bool(false)) if stage.is_default => {
            return Err(invalid(
                "isDefault cannot be taken from the default stage; set it on another stage instead",
            ));
        }
        _ => {}
    }
    let patch = Patch::from(body);
    Ok(plan.with(write::update(app, caller, &STAGE, stage.record.clone(), patch).await?))
}

/// Returns a plan that deletes a stage. Its leads move to the stage `move_to` names, or else the default stage.
///
/// # Errors
/// `record_not_found`, `stage_unknown`, `stage_in_use` for the default stage when it has leads and `move_to` names no other, or for more than 500 leads.
pub async fn delete(app: &App, caller: &Caller, id: &str, move_to: Option<&str>) -> Result<Plan> {
    let stages = all(app, caller.tenant()).await?;
    let stage = stages
        .iter()
        .find(|s| s.id == id || s.record.id == id)
        .ok_or_else(|| store::not_found(&STAGE))?;
    let query = Offset {
        filters: vec![("stage_id".to_owned(), stage.id.clone())],
        limit: MOVED,
        ..Offset::default()
    };
    let (leads, total) = store::at_offset(app, caller.tenant(), &LEAD, &query).await?;
    let others: Vec<Stage> = stages
        .iter()
        .filter(|s| s.id != stage.id)
        .cloned()
        .collect();
    let target = match move_to {
        Some(word) => Some(named(&others, word)?),
        None if stage.is_default => None,
        None => default(&others),
    };
    let mut plan = Plan::default();
    if total > 0 {
        let in_use = |message: String| Error::conflict("stage_in_use", message);
        let target = target.ok_or_else(|| {
            in_use(format!("{total} leads are in this stage"))
                .with_hint("add moveTo=<id or name of a stage> to the query string")
        })?;
        if total > MOVED {
            return Err(in_use(format!(
                "{total} leads are in this stage, and at most {MOVED} are moved at once"
            ))
            .with_hint("move leads to another stage first, then delete this one"));
        }
        for lead in leads {
            let patch = Patch {
                body: Body::from_iter([("stage_id".to_owned(), json!(target.id))]),
                computed: Body::from_iter([(
                    "moved_by".to_owned(),
                    json!({"stage_deleted": stage.name}),
                )]),
                is_silent: true,
                ..Patch::default()
            };
            plan = plan.with(write::update(app, caller, &LEAD, lead, patch).await?);
        }
    }
    if stage.is_default
        && let Some(target) = target.or(others.first())
    {
        let patch = Patch {
            body: Body::from_iter([("is_default".to_owned(), json!(true))]),
            ..Patch::default()
        };
        plan = plan.with(write::update(app, caller, &STAGE, target.record.clone(), patch).await?);
    }
    let mut deletion = Plan::default();
    deletion.delete(&STAGE, stage.record.clone());
    deletion.shown.insert("movedLeads".to_owned(), json!(total));
    if let Some(target) = target.filter(|_| total > 0) {
        deletion
            .shown
            .insert("movedTo".to_owned(), json!(target.id));
    }
    Ok(plan.with(deletion))
}

/// Returns a plan that makes the pipeline have these stages: a stage with a known key or name is changed, others are added, and none is deleted.
///
/// # Errors
/// Those of [`create`] and [`update`].
pub async fn put_all(app: &App, caller: &Caller, wanted: Vec<Body>) -> Result<Plan> {
    let known = all(app, caller.tenant()).await?;
    if i64::try_from(wanted.len()).unwrap_or(i64::MAX) > STAGES {
        return Err(full());
    }
    let is_default = |body: &Body| body.get("is_default") == Some(&json!(true));
    let defaults = wanted.iter().filter(|body| is_default(body)).count();
    if defaults > 1 {
        return Err(invalid("only one of the stages can be the default"));
    }
    let mut changes: BTreeMap<usize, Body> = BTreeMap::new();
    if defaults == 1 {
        for (at, _) in known.iter().enumerate().filter(|(_, s)| s.is_default) {
            let taken = Body::from_iter([("is_default".to_owned(), json!(false))]);
            changes.insert(at, taken);
        }
    }
    let mut plan = Plan::default();
    let (mut seen, mut added) = (Vec::new(), Vec::new());
    for mut body in wanted {
        let name = text(&body, "name").unwrap_or_default().trim().to_owned();
        if seen.contains(&name.to_lowercase()) {
            return Err(invalid(format!("the stage {name:?} is listed twice")));
        }
        seen.push(name.to_lowercase());
        let at = find(&known, &name).map(|s| s.id.clone());
        match known.iter().position(|s| Some(&s.id) == at.as_ref()) {
            Some(at) => changes.entry(at).or_default().extend(body),
            None => {
                let is_first = known.is_empty() && added.is_empty() && defaults == 0;
                body.entry("is_default").or_insert(json!(is_first));
                added.push(body);
            }
        }
    }
    for (at, body) in changes {
        if let Some(stage) = known.get(at) {
            let patch = Patch::from(&body);
            plan =
                plan.with(write::update(app, caller, &STAGE, stage.record.clone(), patch).await?);
        }
    }
    let mut stages = known;
    for mut body in added {
        let new = create_among(app, caller, &mut body, &stages).await?;
        if let Some(record) = new.record() {
            stages.push(Stage::of(record.clone())?);
        }
        plan = plan.with(new);
    }
    Ok(plan)
}
