//! Playbooks: what to do with a lead, step by step. Every tenant has the built-in ones and can add its own; the recommendation is chosen by facts of the lead.

use serde_json::{Value, json};

use super::stages::{self, Stage};
use super::{PLAYBOOK, contacts, events, score};
use crate::app::App;
use crate::auth::Caller;
use crate::crm::leads::sales_status;
use crate::error::Result;
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::store::{self, Offset};

/// A step: day from the start, channel, and what to do.
type Step = (i64, &'static str, &'static str);

/// A built-in playbook.
struct BuiltIn {
    id: &'static str,
    name: &'static str,
    description: &'static str,
    /// Tiers that it is for; any when empty.
    tiers: &'static [&'static str],
    /// Words in the names of stages and statuses that it is for; any when empty.
    stages: &'static [&'static str],
    steps: &'static [Step],
    /// Why it fits a lead; `None` when it does not. The first that fits is recommended.
    fits: fn(&Facts) -> Option<String>,
}

/// Conditions of the choice.
struct Facts {
    meetings: i64,
    views: i64,
    clicks: i64,
    quizzes: i64,
    days: f64,
    is_touched: bool,
    label: &'static str,
    /// Status and stage in lower case.
    place: String,
    tier: String,
}

impl Facts {
    fn is_in(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.place.contains(word))
    }

    fn is_high(&self) -> bool {
        matches!(self.tier.as_str(), "high" | "1" | "a" | "enterprise")
    }
}

const BUILT_IN: [BuiltIn; 9] = [
    BuiltIn {
        id: "handover",
        name: "Hand over a new customer",
        description: "The deal is won: make sure that what was promised reaches those who deliver it.",
        tiers: &[],
        stages: &["won"],
        steps: &[
            (
                0,
                "email",
                "Thank the customer and name the person who takes over.",
            ),
            (
                1,
                "note",
                "Write down what was promised, by when, and what worried the customer.",
            ),
            (
                14,
                "call",
                "Ask how the start went, and for a reference if it went well.",
            ),
        ],
        fits: |f| f.is_in(&["won"]).then(|| "the lead is won".to_owned()),
    },
    BuiltIn {
        id: "win-back",
        name: "Return to a lost lead",
        description: "A lost lead may come back when its situation changes; ask rarely and with a reason.",
        tiers: &[],
        stages: &["lost", "re-engage", "unqualified"],
        steps: &[
            (0, "note", "Record why the lead was lost."),
            (
                90,
                "research",
                "Look for news of the company that change the reason.",
            ),
            (91, "email", "Write with that news, and one question."),
        ],
        fits: |f| {
            f.is_in(&["lost", "re-engage", "unqualified"])
                .then(|| format!("the lead is {}", f.place))
        },
    },
    BuiltIn {
        id: "meeting-preparation",
        name: "Prepare the booked meeting",
        description: "Come to the meeting knowing the company, its question and the next step to offer.",
        tiers: &[],
        stages: &[],
        steps: &[
            (
                0,
                "research",
                "Enrich the lead and read its timeline; note three points to talk about.",
            ),
            (
                0,
                "email",
                "Confirm the time and ask what must be answered.",
            ),
            (
                1,
                "meeting",
                "Hold the meeting; agree on one next step with a date.",
            ),
            (
                1,
                "email",
                "Send the summary with that step on the same day.",
            ),
        ],
        fits: |f| (f.meetings > 0).then(|| "a meeting is booked".to_owned()),
    },
    BuiltIn {
        id: "proposal-follow-up",
        name: "Follow up on a viewed proposal",
        description: "Somebody reads the proposal: answer the questions before they are asked.",
        tiers: &[],
        stages: &["negotiat", "proposal"],
        steps: &[
            (
                0,
                "call",
                "Call while the proposal is open; ask which part matters most.",
            ),
            (
                2,
                "email",
                "Answer the question about that part, with an example.",
            ),
            (
                5,
                "email",
                "Offer two times for a meeting with whoever decides.",
            ),
        ],
        fits: |f| {
            (f.views > 0).then(|| {
                format!(
                    "the proposal was viewed {} times, and no meeting is booked",
                    f.views
                )
            })
        },
    },
    BuiltIn {
        id: "revive",
        name: "Revive a silent lead",
        description: "No contact for more than a week: give a reason to answer, and end politely if none comes.",
        tiers: &[],
        stages: &["contacted", "engaged"],
        steps: &[
            (
                0,
                "email",
                "Send something useful that does not ask for anything.",
            ),
            (
                4,
                "call",
                "Call once; leave a message that names the reason.",
            ),
            (
                10,
                "email",
                "Say that this is the last mail, and how to come back.",
            ),
        ],
        fits: |f| {
            (f.is_touched && f.days > 7.0).then(|| format!("no contact for {:.0} days", f.days))
        },
    },
    BuiltIn {
        id: "quiz-answer",
        name: "Answer a completed quiz",
        description: "The lead has told about itself; answer with what follows from it.",
        tiers: &[],
        stages: &["new", "prospect", "lead"],
        steps: &[
            (
                0,
                "email",
                "Send the result with the one thing to do first.",
            ),
            (2, "email", "Show how another company of the kind did it."),
            (5, "call", "Offer fifteen minutes about the result."),
        ],
        fits: |f| (f.quizzes > 0).then(|| "a quiz was completed".to_owned()),
    },
    BuiltIn {
        id: "warm-click",
        name: "Use the interest of a click",
        description: "A click shows interest in one thing: write about that one thing.",
        tiers: &[],
        stages: &[],
        steps: &[
            (
                0,
                "email",
                "Write about what was clicked; ask one question.",
            ),
            (3, "call", "Call and refer to it."),
        ],
        fits: |f| (f.clicks > 0).then(|| format!("{} clicks, score {}", f.clicks, f.label)),
    },
    BuiltIn {
        id: "high-touch",
        name: "First contact with an important lead",
        description: "For leads of the highest tier: research first, then a personal contact by two channels.",
        tiers: &["high"],
        stages: &["new", "prospect", "lead"],
        steps: &[
            (0, "research", "Enrich the lead; find the reason why now."),
            (
                0,
                "email",
                "Write by hand: the reason, one sentence about the offer, one question.",
            ),
            (1, "call", "Call with the same reason."),
            (
                3,
                "linkedin",
                "Connect with a note that refers to the mail.",
            ),
            (7, "email", "Send an example from the same business."),
        ],
        fits: |f| f.is_high().then(|| "the tier is high".to_owned()),
    },
    BuiltIn {
        id: "first-contact",
        name: "First contact",
        description: "For new leads of which little is known.",
        tiers: &[],
        stages: &["new", "prospect", "lead"],
        steps: &[
            (0, "research", "Enrich the lead."),
            (
                0,
                "email",
                "Introduce the offer in three sentences; ask one question.",
            ),
            (3, "email", "Answer the most frequent objection."),
            (7, "call", "Call once."),
        ],
        fits: |_| Some("nothing else is known of this lead".to_owned()),
    },
];

fn matches(words: &[String], wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted.map(str::to_lowercase) else {
        return true;
    };
    words.is_empty()
        || words.iter().any(|word| {
            let word = word.to_lowercase();
            wanted.contains(&word) || word.contains(&wanted)
        })
}

fn shown(playbook: &BuiltIn) -> Value {
    let steps = playbook.steps.iter();
    let steps = steps
        .map(|(day, channel, action)| json!({"day": day, "channel": channel, "action": action}));
    json!({
        "id": playbook.id,
        "name": playbook.name,
        "description": playbook.description,
        "tiers": playbook.tiers,
        "stages": playbook.stages,
        "steps": steps.collect::<Vec<_>>(),
        "builtIn": true,
    })
}

/// Returns a playbook of a tenant as the API shows it.
///
/// # Errors
/// When the row is damaged.
pub fn own(record: &Record) -> Result<Value> {
    let body = record.body()?;
    let list = |name: &str| body.get(name).cloned().unwrap_or_else(|| json!([]));
    Ok(json!({
        "id": PLAYBOOK.public_id(&record.id),
        "name": record.title,
        "description": body.get("description"),
        "tiers": list("tiers"),
        "stages": list("stages"),
        "steps": list("steps"),
        "builtIn": false,
    }))
}

fn words(body: &Body, name: &str) -> Vec<String> {
    let list = body.get(name).and_then(Value::as_array);
    let list = list.into_iter().flatten().filter_map(Value::as_str);
    list.map(str::to_owned).collect()
}

/// Playbooks of a tenant.
const OWN: i64 = 100;

async fn all_own(app: &App, tenant_id: &str) -> Result<Vec<Record>> {
    let query = Offset {
        limit: OWN,
        ..Offset::default()
    };
    Ok(store::at_offset(app, tenant_id, &PLAYBOOK, &query).await?.0)
}

/// Returns the playbooks for a tier and a stage, those of the tenant first.
///
/// # Errors
/// Those of the database.
pub async fn list(
    app: &App,
    caller: &Caller,
    tier: Option<&str>,
    stage: Option<&str>,
) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for record in all_own(app, caller.tenant()).await? {
        let body = record.body()?;
        if matches(&words(&body, "tiers"), tier) && matches(&words(&body, "stages"), stage) {
            found.push(own(&record)?);
        }
    }
    let owned = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let built_in = BUILT_IN
        .iter()
        .filter(|p| matches(&owned(p.tiers), tier) && matches(&owned(p.stages), stage));
    found.extend(built_in.map(shown));
    Ok(found)
}

/// Returns the playbook for a lead with the reasons for the choice: one of the tenant's own that names the tier or the stage of the lead, or else the first built-in
/// one whose condition holds.
///
/// # Errors
/// Those of the database.
pub async fn recommend(app: &App, caller: &Caller, lead: &Record) -> Result<Value> {
    let body = lead.body()?;
    let stages: Vec<Stage> = stages::all(app, caller.tenant()).await?;
    let stage = score::stage_name(&body, &stages);
    let status = sales_status(lead, &body);
    let last = contacts::last_of(app, caller.tenant(), &lead.id).await?;
    let days = score::days(app.clock.now().since(last.unwrap_or(lead.created_on)));
    let scored = score::score(&body, days);
    let tier = text(&body, "tier").unwrap_or_default();
    let facts = Facts {
        meetings: events::count(&body, "meeting_booked"),
        views: events::count(&body, "proposal_viewed"),
        clicks: events::count(&body, "cta_clicked"),
        quizzes: events::count(&body, "quiz_completed"),
        days,
        is_touched: last.is_some(),
        label: scored.label,
        place: format!("{status} {}", stage.as_deref().unwrap_or_default()).to_lowercase(),
        tier: tier.to_lowercase(),
    };
    let mut own_fit = None;
    for record in all_own(app, caller.tenant()).await? {
        let body = record.body()?;
        let (tiers, names) = (words(&body, "tiers"), words(&body, "stages"));
        let names_it = !tiers.is_empty() || !names.is_empty();
        let by_stage = matches(&names, stage.as_deref()) || matches(&names, Some(&status));
        if names_it && matches(&tiers, Some(tier)) && by_stage {
            own_fit = Some((
                own(&record)?,
                "a playbook of this workspace names the tier or the stage of the lead".to_owned(),
            ));
            break;
        }
    }
    let built_in = || {
        BUILT_IN
            .iter()
            .find_map(|p| Some((shown(p), (p.fits)(&facts)?)))
    };
    let (playbook, because) = own_fit
        .or_else(built_in)
        .unwrap_or((Value::Null, String::new()));
    Ok(json!({
        "playbook": playbook,
        "because": because,
        "score": scored.to_json(),
        "facts": {
            "status": status, "stage": stage, "tier": tier, "meetingsBooked": facts.meetings, "proposalViews": facts.views,
            "ctaClicks": facts.clicks, "quizzes": facts.quizzes, "daysSinceTouch": (days * 10.0).round() / 10.0
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(change: fn(&mut Facts)) -> &'static str {
        let mut facts = Facts {
            meetings: 0,
            views: 0,
            clicks: 0,
            quizzes: 0,
            days: 1.0,
            is_touched: true,
            label: "cold",
            place: "new prospects".to_owned(),
            tier: String::new(),
        };
        change(&mut facts);
        let found = BUILT_IN.iter().find(|p| (p.fits)(&facts).is_some());
        found.map_or("none", |p| p.id)
    }

    #[test]
    fn the_strongest_fact_chooses_the_playbook() {
        assert_eq!(chosen(|_| {}), "first-contact");
        assert_eq!(chosen(|f| f.tier = "high".to_owned()), "high-touch");
        assert_eq!(
            chosen(|f| (f.views, f.clicks) = (2, 1)),
            "proposal-follow-up"
        );
        assert_eq!(
            chosen(|f| (f.views, f.meetings) = (2, 1)),
            "meeting-preparation"
        );
        assert_eq!(
            chosen(|f| f.place = "won closed won".to_owned()),
            "handover"
        );
    }
}
