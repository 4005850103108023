//! The tools of agents. The result of a tool is stored in the transaction of what the tool changes, so that nothing is done twice.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::arguments::read;
use super::{Assignment, Ended, facts, plans, service_tools};
use crate::agency::activities::{self, NewActivity};
use crate::agency::approvals::{self, NewApproval};
use crate::agency::notices::Output;
use crate::agency::runs::{self, StoreResult};
use crate::agency::{
    ACTIVITY, APPROVAL, APPROVAL_TYPES, RISK_LEVELS, beginning, figures, list, logs, roles, store,
};
use crate::error::{Error, Kind, Result};
use crate::kb::citation::Citation;
use crate::kb::{citations, datasets};
use crate::llm::{Message, Tool, ToolCall};
use crate::page::Page;
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::{Effect, Plan};
use crate::search::{self, Request};

/// Datasets that a search covers.
const DATASETS: i64 = 50;
/// Hits of a search, unless the agent asks for fewer or more.
const HITS: usize = 6;
/// Characters of a passage, and of a part of a document.
const PASSAGE: usize = 2000;
const DOCUMENT: usize = 12_000;
/// Subtasks of an activity, and how deep they nest.
const SUBTASKS: usize = 10;
const DEPTH: usize = 3;

static CITATION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"kb://[^\s"\\\])]+"#).ok());

/// Returns the definitions of those tools that exist without an integration.
pub(super) fn definitions(names: &[String]) -> Vec<Tool> {
    let text = |description: &str| json!({"type": "string", "description": description});
    let object = |properties: Value, required: &[&str]| json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    let all = [
        Tool {
            name: "search_knowledge",
            description: "Searches the knowledge base. Returns passages with citations.",
            parameters: object(
                json!({"query": text("What to find, in words a reader would use."), "top_k": {"type": "integer", "minimum": 1, "maximum": 20}}),
                &["query"],
            ),
        },
        Tool {
            name: "read_document",
            description: "Reads the document that a citation points to, from the cited place on.",
            parameters: object(
                json!({"citation": text("A citation that a search returned (kb://…).")}),
                &["citation"],
            ),
        },
        Tool {
            name: "save_output",
            description: "Saves the complete result of the task; a later call replaces it.",
            parameters: object(
                json!({"text": text("The whole text."), "format": {"type": "string", "enum": ["markdown", "html", "plain"]}}),
                &["text"],
            ),
        },
        Tool {
            name: "create_activity",
            description: "Gives a part of the work to another agent. With wait, this task continues when the part is done.",
            parameters: object(
                json!({"title": text("Title of the activity."), "agent_role": {"type": "string", "enum": roles::ROLES.iter().filter(|r| r.name != roles::PLANNER).map(|r| r.name).collect::<Vec<_>>()}, "prompt": text("What to do, complete in itself."), "wait": {"type": "boolean"}}),
                &["title", "agent_role", "prompt"],
            ),
        },
        Tool {
            name: "request_approval",
            description: "Asks a person to decide. This task continues with the decision.",
            parameters: object(
                json!({"title": text("The question in one line."), "type": {"type": "string", "enum": APPROVAL_TYPES}, "risk_level": {"type": "string", "enum": RISK_LEVELS}, "description": text("What the person has to know."), "options": {"type": "array", "items": {"type": "string"}, "maxItems": 10}}),
                &["title", "type", "risk_level"],
            ),
        },
        Tool {
            name: "submit_plan",
            description: "Submits the plan of the campaign's period. Every deliverable needs as many activities of its maker as its quantity says.",
            parameters: plans::schema(),
        },
        Tool {
            name: "audit_website",
            description: "Reads pages of a website and reports status, title, description, headings, words and broken links of each.",
            parameters: object(json!({"url": text("Address of the website.")}), &["url"]),
        },
        Tool {
            name: "performance_figures",
            description: "Returns the stored figures of the last days: work, spending, leads, advertising.",
            parameters: object(
                json!({"days": {"type": "integer", "minimum": 1, "maximum": 366}}),
                &[],
            ),
        },
        Tool {
            name: "keyword_gaps",
            description: "Returns what people searched the knowledge base for without a good result, the most frequent first.",
            parameters: object(json!({}), &[]),
        },
    ];
    let wanted = |tool: &Tool| names.iter().any(|name| name == tool.name);
    all.into_iter().filter(wanted).collect()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchInput {
    query: String,
    top_k: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadInput {
    citation: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaveInput {
    text: String,
    format: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActivityInput {
    title: String,
    agent_role: String,
    prompt: String,
    #[serde(default)]
    wait: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalInput {
    title: String,
    #[serde(rename = "type")]
    approval_type: String,
    risk_level: String,
    description: Option<String>,
    #[serde(default)]
    options: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditInput {
    url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FiguresInput {
    days: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoInput {}

/// What an activity waits for after its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Approval,
    Subtasks,
}

impl Waiting {
    fn word(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Subtasks => "subtasks",
        }
    }

    /// Returns what the result of a tool makes the activity wait for.
    pub(super) fn of(content: &str) -> Option<Self> {
        let content: Value = serde_json::from_str(content).ok()?;
        let word = content["waiting_for"].as_str()?;
        [Self::Approval, Self::Subtasks]
            .into_iter()
            .find(|w| w.word() == word)
    }
}

/// The result of a tool on its way into the run.
pub(super) struct Answer<'a> {
    assignment: &'a Assignment<'a>,
    call: &'a ToolCall,
    number: i64,
}

impl Answer<'_> {
    fn message(&self, output: &Value) -> Message {
        Message::ToolResult {
            call_id: self.call.id.clone(),
            name: self.call.name.clone(),
            content: output.to_string(),
        }
    }

    /// Returns the effects that store a result, tell the stream, and log the call.
    pub(super) fn effects(&self, output: &Value) -> Vec<Box<dyn Effect>> {
        let assignment = self.assignment;
        let stored = StoreResult {
            run: assignment.run.clone(),
            number: self.number,
            message: self.message(output),
        };
        let told = Output {
            tenant_id: assignment.tenant().to_owned(),
            activity_id: assignment.run.activity_id.clone(),
            event: "tool_result",
            data: json!({"name": self.call.name, "output": output}),
        };
        let failed = output.get("error").is_some();
        let entry = logs::NewEntry {
            tenant_id: assignment.tenant().to_owned(),
            level: if failed { "warn" } else { "info" },
            category: "tool",
            message: format!(
                "{} {}",
                self.call.name,
                if failed { "was refused" } else { "was called" }
            ),
            context: json!({"input": beginning(&self.call.arguments, 500), "error": output.get("error")}),
            activity_id: Some(assignment.run.activity_id.clone()),
            agent_role: Some(assignment.run.role.clone()),
        };
        vec![Box::new(stored), Box::new(told), Box::new(entry)]
    }
}

/// Calls a tool and stores its result as a step. Errors that the model can mend are its result.
pub(super) async fn call(
    assignment: &Assignment<'_>,
    call: &ToolCall,
    number: i64,
) -> Result<(Message, Option<Ended>)> {
    let parsed = call.parsed();
    let input = match &parsed {
        Ok(arguments) => json!(arguments),
        Err(_) => json!({"invalid": beginning(&call.arguments, 500)}),
    };
    assignment
        .tell("tool_call", json!({"name": call.name, "input": input}))
        .await?;
    let answer = Answer {
        assignment,
        call,
        number,
    };
    let outcome = match parsed {
        Ok(arguments) => dispatch(&answer, arguments).await,
        Err(error) => Err(error),
    };
    let (output, is_stored, ended) = match outcome {
        Ok(done) => done,
        Err(error) if is_mendable(&error) => (
            json!({"error": error.public_message(), "code": error.code()}),
            false,
            None,
        ),
        Err(error) => return Err(error),
    };
    if !is_stored {
        let mut tx = assignment.app.db.begin().await?;
        for effect in answer.effects(&output) {
            effect.apply(assignment.app, &mut tx).await?;
        }
        assignment.app.commit(tx).await?;
    }
    Ok((answer.message(&output), ended))
}

fn is_mendable(error: &Error) -> bool {
    error.code() != "run_taken_over"
        && matches!(
            error.kind(),
            Kind::Invalid | Kind::NotFound | Kind::Forbidden | Kind::Unprocessable | Kind::Conflict
        )
}

/// The output of a tool, whether it is stored already, and how it ends the run.
type Done = (Value, bool, Option<Ended>);

async fn dispatch(answer: &Answer<'_>, arguments: Map<String, Value>) -> Result<Done> {
    let assignment = answer.assignment;
    let name = answer.call.name.as_str();
    if !assignment.settings.tools.iter().any(|tool| tool == name) {
        return Err(Error::invalid(
            "tool_unknown",
            format!("there is no tool {name:?}"),
        ));
    }
    if service_tools::is_one(name) {
        let output = service_tools::call(assignment, name, arguments).await?;
        return Ok((output, false, None));
    }
    let seen = match name {
        "search_knowledge" => search_knowledge(assignment, read(arguments)?).await?,
        "read_document" => read_document(assignment, read(arguments)?).await?,
        "audit_website" => {
            let AuditInput { url } = read(arguments)?;
            facts::audit(assignment.app, &url).await?
        }
        "performance_figures" => {
            let FiguresInput { days } = read(arguments)?;
            let days = days.unwrap_or(figures::DAYS).clamp(1, 366);
            figures::of_days(assignment.app, assignment.tenant(), days).await?
        }
        "keyword_gaps" => {
            let NoInput {} = read(arguments)?;
            facts::keyword_gaps(assignment).await?
        }
        "save_output" => {
            let output = save_output(answer, &read(arguments)?).await?;
            return Ok((output, true, None));
        }
        "create_activity" => {
            let output = create_activity(answer, &read(arguments)?).await?;
            return Ok((output, true, None));
        }
        "request_approval" => {
            let output = request_approval(answer, &read(arguments)?).await?;
            return Ok((output, true, None));
        }
        "submit_plan" => {
            let output = plans::submit(answer, assignment, read(arguments)?).await?;
            return Ok((output, true, Some(Ended::Stored)));
        }
        other => {
            return Err(Error::invalid(
                "tool_unknown",
                format!("there is no tool {other:?}"),
            ));
        }
    };
    Ok((seen, false, None))
}

/// Returns the datasets that an agent of a role may search.
async fn searchable(assignment: &Assignment<'_>) -> Result<Vec<String>> {
    let page = Page::read(Some(DATASETS), None, DATASETS)?;
    let listing = datasets::visible(assignment.app, &assignment.caller, &page).await?;
    let role = assignment.settings.role.name;
    let may = |d: &crate::kb::Dataset| {
        let roles = d.roles();
        roles.is_empty() || roles.iter().any(|r| r.replace('_', "-") == role)
    };
    let found = listing.items.into_iter().filter(may);
    Ok(found.map(|d| d.id).collect())
}

async fn search_knowledge(assignment: &Assignment<'_>, input: SearchInput) -> Result<Value> {
    let ids = searchable(assignment).await?;
    if ids.is_empty() {
        return Ok(json!({"passages": [], "note": "the knowledge base is empty"}));
    }
    let request = Request {
        top_k: input.top_k.unwrap_or(HITS).clamp(1, 20),
        plain: true,
        ..Request::new(input.query, ids)
    };
    let found = search::search(assignment.app, &assignment.caller, &request).await?;
    let passages: Vec<Value> = found
        .hits
        .iter()
        .map(|hit| {
            json!({
                "citation": hit.citation().to_string(),
                "title": hit.title.as_ref().unwrap_or(&hit.file_name),
                "text": beginning(&hit.chunk.content, PASSAGE),
                "score": (f64::from(hit.score) * 1000.0).round() / 1000.0,
            })
        })
        .collect();
    Ok(json!({"passages": passages, "confident": !found.confidence.no_confident_answer}))
}

async fn read_document(assignment: &Assignment<'_>, input: ReadInput) -> Result<Value> {
    let citation: Citation = input.citation.parse()?;
    if !searchable(assignment).await?.contains(&citation.dataset_id) {
        return Err(datasets::missing());
    }
    let (document, whole) = citations::text_of(
        assignment.app,
        &assignment.caller,
        &citation.dataset_id,
        &citation.document_id,
    )
    .await?;
    let length = whole.length();
    let start = usize::try_from(citation.start)
        .unwrap_or_default()
        .min(length);
    let end = (start + DOCUMENT).min(length);
    let part = Citation {
        start: i64::try_from(start).unwrap_or_default(),
        end: i64::try_from(end).unwrap_or_default(),
        chunk_id: None,
        version: document.version,
        ..citation
    };
    let mut output = json!({
        "title": document.title.as_ref().unwrap_or(&document.file_name),
        "text": whole.slice(start..end),
        "length": length,
        "start": start,
        "end": end,
    });
    if end > start {
        output["citation"] = json!(part.to_string());
    }
    Ok(output)
}

async fn save_output(answer: &Answer<'_>, input: &SaveInput) -> Result<Value> {
    let format = input.format.as_deref().unwrap_or("markdown");
    if !["markdown", "html", "plain"].contains(&format) {
        return Err(Error::invalid(
            "arguments_invalid",
            "format must be markdown, html or plain",
        ));
    }
    let characters = input.text.chars().count();
    if input.text.trim().is_empty() || characters > activities::LONGEST || input.text.contains('\0')
    {
        return Err(Error::invalid(
            "arguments_invalid",
            format!("text must have 1 to {} characters", activities::LONGEST),
        ));
    }
    let assignment = answer.assignment;
    let cited = super::finish::cited(&input.text, &assignment.sources().await?);
    let output = json!({"saved": true, "characters": characters, "citations": cited.len()});
    let (cited, output_ref) = (&cited, &output);
    assignment
        .write(|activity: Record| async move {
            let mut plan = Plan::default();
            let mut body = activity.body()?;
            let now = assignment.app.clock.now();
            activities::set_output(&mut body, &input.text, format, cited, &now.rfc3339());
            let after = crate::agency::with_body(&activity, body);
            plan.update_silently(&ACTIVITY, activity, after, now);
            plan.after.extend(answer.effects(output_ref));
            Ok(plan)
        })
        .await?;
    Ok(output)
}

/// Returns how many activities are above one.
async fn depth(assignment: &Assignment<'_>) -> Result<usize> {
    let mut depth = 0;
    let mut parent =
        text(&assignment.activity().await?.body()?, "parent_activity_id").map(str::to_owned);
    while let Some(id) = parent.take().filter(|_| depth < DEPTH) {
        depth += 1;
        if let Some(activity) =
            store::optional(assignment.app, assignment.tenant(), &ACTIVITY, &id).await?
        {
            parent = text(&activity.body()?, "parent_activity_id").map(str::to_owned);
        }
    }
    Ok(depth)
}

async fn create_activity(answer: &Answer<'_>, input: &ActivityInput) -> Result<Value> {
    let assignment = answer.assignment;
    let role = roles::named(&input.agent_role)?;
    if role.name == roles::PLANNER || input.title.trim().is_empty() {
        return Err(Error::invalid(
            "arguments_invalid",
            "title must not be empty, and agent_role must not be the planner",
        ));
    }
    if depth(assignment).await? >= DEPTH {
        return Err(Error::unprocessable(
            "too_many_subtasks",
            format!("subtasks nest at most {DEPTH} levels deep; do this part yourself"),
        ));
    }
    let mut output = json!({"created": true});
    if input.wait {
        output["waiting_for"] = json!(Waiting::Subtasks.word());
    }
    let output_ref = &output;
    assignment
        .write(|activity: Record| async move {
            let app = assignment.app;
            let known = activities::subtasks(app, assignment.tenant(), &activity.id).await?;
            if known.len() >= SUBTASKS {
                return Err(Error::unprocessable(
                    "too_many_subtasks",
                    format!("an activity has at most {SUBTASKS} subtasks; do this part yourself"),
                ));
            }
            let body = activity.body()?;
            let deliverable = text(&body, "deliverable_id").zip(text(&body, "deliverable_type"));
            let new = NewActivity {
                title: beginning(&input.title, 200),
                activity_type: "subtask".to_owned(),
                prompt: input.prompt.clone(),
                campaign: assignment.campaign.as_ref(),
                deliverable: deliverable.map(|(id, made)| (id.to_owned(), made.to_owned())),
                parent_activity_id: Some(activity.id.clone()),
                period_start: text(&body, "period_start").map(str::to_owned),
                wake_reason: "subtask".to_owned(),
                ..NewActivity::by(role)
            };
            let mut plan = Plan::default();
            activities::add(app, &assignment.caller, new, &mut plan)?;
            plan.relies_on.push(activity);
            plan.after.extend(answer.effects(output_ref));
            Ok(plan)
        })
        .await?;
    Ok(output)
}

async fn request_approval(answer: &Answer<'_>, input: &ApprovalInput) -> Result<Value> {
    let known = APPROVAL_TYPES.contains(&input.approval_type.as_str())
        && RISK_LEVELS.contains(&input.risk_level.as_str());
    if !known || input.title.trim().is_empty() || input.options.len() > 10 {
        return Err(Error::invalid(
            "arguments_invalid",
            format!(
                "title must not be empty; type is one of {}; risk_level is one of {}; at most 10 options",
                APPROVAL_TYPES.join(", "),
                RISK_LEVELS.join(", ")
            ),
        ));
    }
    let assignment = answer.assignment;
    let output = json!({"requested": true, "waiting_for": Waiting::Approval.word()});
    let output_ref = &output;
    assignment
        .write(|activity: Record| async move {
            let approval = NewApproval {
                title: beginning(&input.title, 200),
                approval_type: input.approval_type.clone(),
                risk_level: input.risk_level.clone(),
                description: input.description.clone(),
                options: input.options.clone(),
                activity_ids: vec![activity.id.clone()],
                campaign_id: activity.parent_id.clone(),
                request_id: None,
            };
            let mut plan = Plan::default();
            let id = approvals::add(assignment.app, &assignment.caller, &approval, &mut plan)?;
            let mut body = activity.body()?;
            body.insert("approval_id".to_owned(), json!(id));
            let after = crate::agency::with_body(&activity, body);
            plan.update_silently(&ACTIVITY, activity, after, assignment.app.clock.now());
            plan.after.extend(answer.effects(output_ref));
            Ok(plan)
        })
        .await?;
    Ok(output)
}

impl Assignment<'_> {
    /// Returns the citations that tools have returned in this run, and those of the version before.
    pub(super) async fn sources(&self) -> Result<Vec<String>> {
        let before = list(&self.activity().await?.body()?, "sources");
        let mut found: BTreeSet<String> = before.into_iter().collect();
        for step in runs::steps(&self.app.db, self.tenant(), &self.run.id).await? {
            if let Some(Message::ToolResult { name, content, .. }) = step.message()?
                && matches!(name.as_str(), "search_knowledge" | "read_document")
            {
                let matches = CITATION.iter().flat_map(|c| c.find_iter(&content));
                found.extend(matches.map(|m| m.as_str().to_owned()));
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Ends the run, and lets the activity wait; one whose decision or subtasks have come meanwhile is assigned again.
    pub(super) async fn wait_for(&self, waiting: Waiting) -> Result<()> {
        self.write(|activity: Record| async move {
            let app = self.app;
            let mut plan = Plan::default();
            plan.after.push(self.ended());
            let tenant_id = self.tenant();
            let status = match waiting {
                Waiting::Approval => {
                    let filters = vec![("activity_ids".to_owned(), activity.id.clone())];
                    let all = store::matching(app, tenant_id, &APPROVAL, filters).await?;
                    let (pending, over): (Vec<Record>, Vec<Record>) = all
                        .into_iter()
                        .partition(|a| a.status.as_deref() == Some("pending"));
                    if pending.is_empty() {
                        let decided = approvals::unknown_to(&activity, over)?;
                        approvals::continue_with(app, activity, &decided, &mut plan)?;
                        return Ok(plan);
                    }
                    // One that is resolved at this moment finds an activity at work.
                    plan.relies_on.extend(pending);
                    "awaiting_approval"
                }
                Waiting::Subtasks => {
                    let all = activities::subtasks(app, tenant_id, &activity.id).await?;
                    let open: Vec<Record> = all
                        .into_iter()
                        .filter(|a| !activities::is_over(a))
                        .collect();
                    if open.is_empty() {
                        let keep = |_: &mut Body| {};
                        activities::assign_again(app, activity, "subtasks_done", keep, &mut plan)?;
                        return Ok(plan);
                    }
                    // One that ends at this moment finds an activity at work.
                    plan.relies_on.extend(open);
                    "awaiting_subtask"
                }
            };
            // The stream of an activity that waits for a subtask goes on with the next run.
            if status == "awaiting_approval" {
                plan.after.push(self.told(status));
            }
            let after = Record {
                status: Some(status.to_owned()),
                ..activity.clone()
            };
            plan.update_silently(&ACTIVITY, activity, after, app.clock.now());
            Ok(plan)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_definition() {
        let names: Vec<String> = roles::TOOLS.iter().map(|t| (*t).to_owned()).collect();
        let defined = definitions(&names);
        assert_eq!(defined.len(), names.len());
        for tool in defined {
            assert_eq!(tool.parameters["type"], "object", "{}", tool.name);
        }
    }

    #[test]
    fn results_say_what_they_wait_for() {
        let result = json!({"requested": true, "waiting_for": "approval"}).to_string();
        assert_eq!(Waiting::of(&result), Some(Waiting::Approval));
        assert_eq!(Waiting::of("{\"created\":true}"), None);
    }
}
