//! Automation rules: when an event happens to a lead and the conditions hold, the lead moves to a stage. Rules are evaluated in the transaction of their event, by
//! ascending priority and then by age; the first that applies moves the lead. A move never triggers rules, so there are no loops.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::stages::{self, Stage};
use super::{RULE, contacts, events, score};
use crate::app::App;
use crate::auth::Caller;
use crate::crm::LEAD;
use crate::db::args;
use crate::error::Result;
use crate::jobs::{Task, schedules};
use crate::records::body::{Body, invalid, text, texts};
use crate::records::limit::Limit;
use crate::records::plan::{Change, Plan};
use crate::records::store::{self, ListQuery};
use crate::records::write::{self, Patch};
use crate::records::{Record, Request, execute};

/// Events that trigger rules.
pub const TRIGGERS: [&str; 5] = [
    "meeting_booked",
    "proposal_viewed",
    "cta_clicked",
    "quiz_completed",
    NO_TOUCH,
];
/// The event of leads that nobody has contacted for some days.
pub const NO_TOUCH: &str = "no_touch";
/// Priority of rules that name none.
const PRIORITY: i64 = 100;
/// Days after which `no_touch` applies to rules that name none.
const DAYS: f64 = 7.0;
/// Rules of a tenant.
const RULES: i64 = 100;
/// Leads that one run of the clock moves per tenant.
const LEADS: usize = 1000;

/// Conditions that compare numbers.
const NUMBERS: [&str; 3] = ["viewCount", "confidenceScore", "days"];
/// Comparisons of numbers.
const COMPARISONS: [&str; 5] = ["gte", "gt", "lte", "lt", "eq"];

/// Facts about a lead against which rules are evaluated.
#[derive(Debug)]
pub struct Facts {
    stage_id: Option<String>,
    tier: Option<String>,
    views: i64,
    score: f64,
    days: f64,
    stages: Vec<Stage>,
}

impl Facts {
    /// Returns the facts of a lead whose fields will be `body`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of(app: &App, caller: &Caller, lead: &Record, body: &Body) -> Result<Self> {
        let last = contacts::last_of(app, caller.tenant(), &lead.id).await?;
        let stages = stages::all(app, caller.tenant()).await?;
        let since = last.unwrap_or(lead.created_on);
        let days = score::days(app.clock.now().since(since));
        let scored = score::score(body, days);
        Ok(Self {
            stage_id: text(body, "stage_id").map(str::to_owned),
            tier: text(body, "tier").map(str::to_owned),
            views: events::count(body, "proposal_viewed"),
            score: scored.score,
            days,
            stages,
        })
    }
}

/// A move that a rule decides.
#[derive(Debug)]
pub struct Moved {
    pub stage_id: String,
    stage: String,
    /// The rule with its conditions, as the lead keeps it.
    pub reason: Value,
}

/// Decision of the rules of an event.
#[derive(Debug)]
pub struct Verdict {
    pub moved: Option<Moved>,
    evaluated: Vec<Value>,
}

impl Verdict {
    /// Returns the decision for people and agents: each rule with its conditions, and the move.
    #[must_use]
    pub fn trace(&self) -> Value {
        let moved = self.moved.as_ref();
        json!({
            "evaluated": self.evaluated,
            "movedTo": moved.map(|m| json!({"id": m.stage_id, "name": m.stage})),
        })
    }
}

fn compares(actual: f64, comparison: &str, wanted: f64) -> bool {
    match comparison {
        "gte" => actual >= wanted,
        "gt" => actual > wanted,
        "lte" => actual <= wanted,
        "lt" => actual < wanted,
        _ => (actual - wanted).abs() < f64::EPSILON,
    }
}

/// Returns each condition of a rule with what was wanted, what is, and whether it holds.
fn conditions(given: &Map<String, Value>, trigger: &str, facts: &Facts) -> Vec<(Value, bool)> {
    let mut found = Vec::new();
    let mut note = |name: &str, wanted: Value, actual: Value, holds: bool| {
        let shown = json!({"condition": name, "wanted": wanted, "actual": actual, "holds": holds});
        found.push((shown, holds));
    };
    if let Some(wanted) = given.get("fromStage").filter(|v| !v.is_null()) {
        let holds = texts(wanted).iter().any(|word| {
            stages::find(&facts.stages, word)
                .is_some_and(|s| Some(&s.id) == facts.stage_id.as_ref())
        });
        let actual = facts
            .stages
            .iter()
            .find(|s| Some(&s.id) == facts.stage_id.as_ref());
        note(
            "fromStage",
            wanted.clone(),
            json!(actual.map(|s| &s.name)),
            holds,
        );
    }
    if let Some(wanted) = given.get("tier").filter(|v| !v.is_null()) {
        let holds = facts.tier.as_deref().is_some_and(|tier| {
            texts(wanted)
                .iter()
                .any(|word| tier.eq_ignore_ascii_case(word))
        });
        note("tier", wanted.clone(), json!(facts.tier), holds);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let views = facts.views as f64;
    for (name, actual) in [
        ("viewCount", views),
        ("confidenceScore", facts.score),
        ("days", facts.days),
    ] {
        let Some(wanted) = given.get(name).filter(|v| !v.is_null()) else {
            continue;
        };
        let holds = match wanted {
            Value::Object(all) => all.iter().all(|(comparison, value)| {
                value
                    .as_f64()
                    .is_some_and(|v| compares(actual, comparison, v))
            }),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => wanted.as_f64().is_some_and(|v| compares(actual, "gte", v)),
        };
        note(name, wanted.clone(), json!(actual), holds);
    }
    if trigger == NO_TOUCH && given.get("days").is_none_or(Value::is_null) {
        let wanted = json!({"gte": DAYS});
        note("days", wanted, json!(facts.days), facts.days >= DAYS);
    }
    found
}

/// Returns the enabled rules of an event in the order of their evaluation.
async fn of_event(app: &App, tenant_id: &str, event: &str) -> Result<Vec<Record>> {
    let query = ListQuery {
        filters: vec![
            ("trigger_event".to_owned(), event.to_owned()),
            ("enabled".to_owned(), "true".to_owned()),
        ],
        limit: RULES,
        ..ListQuery::default()
    };
    let (found, _) = store::list(app, tenant_id, &RULE, &query).await?;
    let mut keyed = Vec::with_capacity(found.len());
    for rule in found {
        let priority = rule.body()?.get("priority").and_then(Value::as_i64);
        keyed.push((priority.unwrap_or(PRIORITY), rule.id.clone(), rule));
    }
    keyed.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    Ok(keyed.into_iter().map(|(_, _, rule)| rule).collect())
}

/// Evaluates the rules of an event for a lead.
///
/// # Errors
/// Those of the database.
pub async fn evaluate(app: &App, caller: &Caller, event: &str, facts: &Facts) -> Result<Verdict> {
    let mut verdict = Verdict {
        moved: None,
        evaluated: Vec::new(),
    };
    if !TRIGGERS.contains(&event) {
        return Ok(verdict);
    }
    for rule in of_event(app, caller.tenant(), event).await? {
        let body = rule.body()?;
        let empty = Map::new();
        let given = body.get("conditions").and_then(Value::as_object);
        let checked = conditions(given.unwrap_or(&empty), event, facts);
        let holds = checked.iter().all(|(_, holds)| *holds);
        let shown: Vec<&Value> = checked.iter().map(|(shown, _)| shown).collect();
        let reason = json!({
            "rule": RULE.public_id(&rule.id),
            "name": rule.title,
            "trigger": event,
            "priority": body.get("priority"),
            "conditions": shown
        });
        let target = text(&body, "stage_id").and_then(|id| stages::find(&facts.stages, id));
        let is_there = target.is_some_and(|s| Some(&s.id) == facts.stage_id.as_ref());
        let mut entry = reason.clone();
        entry["applies"] = json!(holds && !is_there);
        if is_there {
            entry["note"] = json!("the lead is in the target stage already");
        }
        verdict.evaluated.push(entry);
        if let Some(stage) = target.filter(|_| holds && !is_there) {
            verdict.moved = Some(Moved {
                stage_id: stage.id.clone(),
                stage: stage.name.clone(),
                reason,
            });
            break;
        }
    }
    Ok(verdict)
}

fn check_conditions(given: &Map<String, Value>) -> Result<()> {
    for (name, value) in given {
        let is_text = |v: &Value| v.is_string();
        let fits = match name.as_str() {
            "fromStage" | "tier" => {
                is_text(value) || value.as_array().is_some_and(|l| l.iter().all(is_text))
            }
            name if NUMBERS.contains(&name) => {
                value.is_number()
                    || value.as_object().is_some_and(|all| {
                        !all.is_empty()
                            && all.iter().all(|(comparison, v)| {
                                COMPARISONS.contains(&comparison.as_str()) && v.is_number()
                            })
                    })
            }
            _ => {
                return Err(invalid(format!(
                    "unknown condition {name:?}; conditions are fromStage, tier, {}",
                    NUMBERS.join(", ")
                )));
            }
        };
        if !fits && !value.is_null() {
            return Err(invalid(format!(
                "conditions.{name}: fromStage and tier take a text or a list of texts, the others a number or an object with {}",
                COMPARISONS.join(", ")
            )));
        }
    }
    Ok(())
}

pub(super) async fn complete(change: &mut Change<'_>) -> Result<()> {
    change.default("priority", PRIORITY);
    change.default("enabled", true);
    change.default("conditions", json!({}));
    if let Some(Value::Object(given)) = change.body.get("conditions") {
        check_conditions(given)?;
        if let Some(from) = given.get("fromStage") {
            let stages = stages::all(change.app, change.caller.tenant()).await?;
            for word in texts(from) {
                stages::named(&stages, word)?;
            }
        }
    }
    if change.is_new() {
        let limit = Limit::of(&RULE, change.caller.tenant(), RULES);
        change.plan.after.push(limit);
    }
    let is_clocked = text(&change.body, "trigger_event") == Some(NO_TOUCH)
        && change.body.get("enabled") == Some(&json!(true));
    if is_clocked {
        // The schedule ends by itself when no rule needs it.
        change
            .plan
            .schedules
            .push((clock(), Some(CLOCK.to_owned())));
    }
    Ok(())
}

/// When `no_touch` is evaluated: every hour.
const CLOCK: &str = "17 * * * *";

fn clock() -> Task {
    Task::NoTouch
}

/// Moves the leads of a tenant that nobody has contacted, by the rules of `no_touch`. Ends its schedule when there are none.
///
/// # Errors
/// Those of the database.
pub async fn run_clock(app: &App, tenant_id: &str) -> Result<()> {
    let caller = Caller::local(tenant_id);
    if of_event(app, tenant_id, NO_TOUCH).await?.is_empty() {
        let mut tx = app.db.begin().await?;
        schedules::clear(&mut tx, tenant_id, &clock()).await?;
        return tx.commit().await;
    }
    let touched = contacts::last_of_all(app, tenant_id).await?;
    let silent = app.clock.now().minus(Duration::from_secs(24 * 3600));
    let mut after = String::new();
    let mut moved = 0;
    loop {
        let leads: Vec<(String,)> = app
            .db
            .all(
                "SELECT id FROM records WHERE kind = $1 AND tenant_id = $2 AND id > $3 AND created_on < $4 ORDER BY id LIMIT 200",
                args![LEAD.name, tenant_id, &after, silent],
            )
            .await?;
        let Some((last,)) = leads.last() else {
            return Ok(());
        };
        after.clone_from(last);
        for (id,) in leads {
            if touched.get(&id).is_some_and(|at| *at >= silent) {
                continue;
            }
            let request = Request::internal(&caller, "noTouch");
            match execute(app, &request, || no_touch(app, &caller, &id)).await {
                Ok(answer) => moved += usize::from(answer.data["moved"] == json!(true)),
                // A lead that cannot be moved does not keep the others.
                Err(error) => {
                    tracing::error!(lead = id, %error, "a rule of no_touch failed");
                }
            }
            if moved >= LEADS {
                return Ok(());
            }
        }
    }
}

/// Returns a plan that moves a lead by the rules of `no_touch`, if one applies.
async fn no_touch(app: &App, caller: &Caller, lead_id: &str) -> Result<Plan> {
    let unmoved = || Plan::default().data(200, json!({"moved": false}));
    let Some(lead) = store::optional(&app.db, caller.tenant(), &LEAD, lead_id).await? else {
        return Ok(unmoved());
    };
    let body = lead.body()?;
    let facts = Facts::of(app, caller, &lead, &body).await?;
    let Some(moved) = evaluate(app, caller, NO_TOUCH, &facts).await?.moved else {
        return Ok(unmoved());
    };
    let patch = Patch {
        body: Body::from_iter([("stage_id".to_owned(), json!(moved.stage_id))]),
        computed: Body::from_iter([("moved_by".to_owned(), moved.reason)]),
        is_silent: true,
        ..Patch::default()
    };
    let mut plan = write::update(app, caller, &LEAD, lead.clone(), patch).await?;
    super::sequences::enrol::trigger(app, caller, &mut plan, &lead, &["stage_changed"]).await?;
    Ok(plan.data(200, json!({"moved": true})))
}

/// Returns how many leads each stage has.
///
/// # Errors
/// Those of the database.
pub async fn leads_by_stage(app: &App, tenant_id: &str) -> Result<BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> = app
        .db
        .all(
            "SELECT value, COUNT(*) FROM record_facets WHERE kind = $1 AND name = 'stage_id' AND tenant_id = $2 GROUP BY value",
            args![LEAD.name, tenant_id],
        )
        .await?;
    Ok(rows.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            stage_id: None,
            tier: Some("High".to_owned()),
            views: 3,
            score: 50.0,
            days: 8.0,
            stages: Vec::new(),
        }
    }

    fn holds(given: Value, trigger: &str) -> bool {
        let given = given.as_object().expect("an object");
        conditions(given, trigger, &facts())
            .iter()
            .all(|(_, holds)| *holds)
    }

    #[test]
    fn conditions_compare_facts() {
        assert!(holds(
            json!({"tier": "high", "viewCount": {"gte": 3}}),
            "proposal_viewed"
        ));
        assert!(!holds(json!({"viewCount": {"gt": 3}}), "proposal_viewed"));
        assert!(holds(
            json!({"confidenceScore": {"gte": 50, "lt": 70}}),
            "cta_clicked"
        ));
        assert!(!holds(json!({"fromStage": "Leads"}), "cta_clicked"));
        assert!(holds(json!({"tier": ["low", "high"]}), "cta_clicked"));
    }

    #[test]
    fn silence_of_seven_days_is_the_default_of_no_touch() {
        assert!(holds(json!({}), NO_TOUCH));
        assert!(!holds(json!({"days": {"gte": 9}}), NO_TOUCH));
        let mut silent = facts();
        silent.days = 6.0;
        let given = json!({"days": null});
        let given = given.as_object().expect("an object");
        let all = conditions(given, NO_TOUCH, &silent);
        assert!(!all.iter().all(|(_, holds)| *holds));
    }

    #[test]
    fn unknown_conditions_are_refused_with_the_known_ones() {
        let error = check_conditions(json!({"mood": "good"}).as_object().expect("an object"));
        assert!(
            error
                .expect_err("unknown")
                .to_string()
                .contains("viewCount")
        );
    }
}
