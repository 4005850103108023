//! Agents at work: a job runs an activity with the language model of its role and with tools, step by step. Every response and every result of a tool is stored
//! when it is complete, so that a killed process continues after the last one; see [`crate::agency::runs`].

mod arguments;
mod facts;
mod finish;
mod plans;
mod prompt;
mod publish;
mod service_tools;
mod tend;
mod tools;
mod without_model;
mod worker;

use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::agency::notices::Notice;
use crate::agency::roles::{self, Settings};
use crate::agency::runs::{self, Run};
use crate::agency::{ACTIVITY, activities, campaigns, logs, store};
use crate::app::App;
use crate::auth::Caller;
use crate::error::Result;
use crate::jobs::Job;
use crate::llm::catalog::Listed;
use crate::records::body::text;
use crate::records::plan::Plan;
use crate::records::{Record, Request, execute};

pub use tend::{routine, tend};

/// Reason of an activity whose role has no model.
const NO_MODEL: &str =
    "no language model is configured for agents (agent_models); the activity goes on when one is";
/// Reason of an activity whose cost is limited, but not known.
const NO_PRICE: &str = "the model has no price (agent_models), but the cost is limited";

/// The work of one run.
#[derive(Debug)]
struct Assignment<'a> {
    app: &'a Arc<App>,
    caller: Caller,
    run: Run,
    job_id: &'a str,
    settings: Settings,
    campaign: Option<Record>,
}

/// How a run ended.
#[derive(Debug)]
enum Ended {
    /// With an output, saved already or as given.
    Output(Option<String>),
    /// With everything stored: the activity waits for somebody, or a plan was accepted.
    Stored,
    /// The activity was stopped by somebody.
    Stopped,
    /// It cannot go on for a reason.
    Blocked(&'static str),
    /// It failed: status of the run, and the error.
    Failed(&'static str, String),
}

/// Runs an activity. Does nothing for a run that is over, that another job executes, or that has to wait for its turn or its campaign.
///
/// # Errors
/// Those of the database and of search, after which the job is tried again, and the run continues.
pub async fn run(
    app: &Arc<App>,
    job: &Job,
    (activity_id, run_id): (&str, &str),
    cancel: &CancellationToken,
) -> Result<()> {
    let tenant_id = &job.tenant_id;
    let found = runs::get(&app.db, tenant_id, run_id).await?;
    let Some(run) = found.filter(|r| matches!(r.status.as_str(), "queued" | "running")) else {
        return Ok(());
    };
    let Some(activity) = store::optional(app, tenant_id, &ACTIVITY, activity_id).await? else {
        return Ok(());
    };
    let campaign = activities::campaign_of(app, &activity).await?;
    if !may_run(&activity, campaign.as_ref()) {
        return runs::put_back(app, &run, false).await;
    }
    let role = roles::named(&run.role)?;
    let settings = roles::settings(app, tenant_id, role).await?;
    let listed = settings.model(app);
    let model = listed.map(|l| l.endpoint.model());
    if !runs::claim(app, &run, &job.id, settings.concurrency, model).await? {
        return Ok(());
    }
    let assignment = Assignment {
        app,
        caller: Caller::worker(tenant_id, role.name),
        run,
        job_id: &job.id,
        settings,
        campaign,
    };
    match assignment.go(listed, cancel).await {
        // Another job has taken the run over.
        Err(error) if error.code() == "run_taken_over" => Ok(()),
        outcome => outcome,
    }
}

/// Whether an activity is assigned or in progress, and its campaign is neither paused nor over.
fn may_run(activity: &Record, campaign: Option<&Record>) -> bool {
    let is_stopped = campaign.is_some_and(|c| {
        matches!(
            c.status.as_deref(),
            Some("paused" | "archived" | "completed")
        )
    });
    matches!(activity.status.as_deref(), Some("assigned" | "in_progress")) && !is_stopped
}

impl Assignment<'_> {
    fn tenant(&self) -> &str {
        self.caller.tenant()
    }

    /// Returns the activity as it is now.
    async fn activity(&self) -> Result<Record> {
        store::get(self.app, self.tenant(), &ACTIVITY, &self.run.activity_id).await
    }

    /// Executes a plan that is made from the activity as it is then.
    async fn write<F>(&self, plan: impl Fn(Record) -> F + Send + Sync) -> Result<()>
    where
        F: Future<Output = Result<Plan>> + Send,
    {
        let request = Request::internal(&self.caller, "runActivity");
        let plan = &plan;
        execute(self.app, &request, || async move {
            plan(self.activity().await?).await
        })
        .await?;
        Ok(())
    }

    async fn go(&self, listed: Option<&Listed>, cancel: &CancellationToken) -> Result<()> {
        self.begin().await?;
        let activity = self.activity().await?;
        let body = activity.body()?;
        if activity.status.as_deref() != Some("in_progress") {
            return self.stop().await;
        }
        let is_approved = text(&body, "wake_reason") == Some("review_approved")
            && body.get("is_approved") == Some(&json!(true))
            && body.contains_key("output");
        let ended = if is_approved {
            publish::publish(self).await?;
            return self.finish_approved().await;
        } else if let Some(listed) = listed {
            let is_limited = self.settings.max_cost_micros.is_some() || self.has_cap()?;
            if listed.price.is_none() && is_limited {
                Ended::Blocked(NO_PRICE)
            } else {
                worker::work(self, listed, &activity, cancel).await?
            }
        } else {
            match without_model::work(self, &activity).await? {
                Some(ended) => ended,
                None => Ended::Blocked(NO_MODEL),
            }
        };
        match ended {
            Ended::Output(output) => self.finish(output).await,
            Ended::Stored => Ok(()),
            Ended::Stopped => self.stop().await,
            Ended::Blocked(reason) => self.block(reason).await,
            Ended::Failed(status, error) => self.fail(status, &error).await,
        }
    }

    fn has_cap(&self) -> Result<bool> {
        match &self.campaign {
            Some(campaign) => Ok(campaign
                .body()?
                .get("cap_micros")
                .is_some_and(|c| !c.is_null())),
            None => Ok(false),
        }
    }

    /// Sets the activity in progress, unless its campaign was stopped meanwhile.
    async fn begin(&self) -> Result<()> {
        self.write(|activity: Record| async move {
            let mut plan = Plan::default();
            let campaign = activities::campaign_of(self.app, &activity).await?;
            if activity.status.as_deref() != Some("assigned")
                || !may_run(&activity, campaign.as_ref())
            {
                return Ok(plan);
            }
            plan.relies_on.extend(campaign);
            plan.after.push(Box::new(Notice::started(
                self.tenant(),
                &activity.id,
                &activity.title,
                self.settings.role.name,
            )));
            plan.after.push(Box::new(logs::NewEntry {
                tenant_id: self.tenant().to_owned(),
                level: "info",
                category: "agent",
                message: format!("{} started: {}", self.settings.role.title, activity.title),
                context: json!({"runId": self.run.id}),
                activity_id: Some(activity.id.clone()),
                agent_role: Some(self.run.role.clone()),
            }));
            let after = Record {
                status: Some("in_progress".to_owned()),
                ..activity.clone()
            };
            plan.update_silently(&ACTIVITY, activity, after, self.app.clock.now());
            Ok(plan)
        })
        .await
    }

    /// Returns the run to the queue, because somebody stopped the activity. Continues it when it has been assigned again meanwhile.
    async fn stop(&self) -> Result<()> {
        let activity = self.activity().await?;
        let campaign = activities::campaign_of(self.app, &activity).await?;
        let wakes = may_run(&activity, campaign.as_ref());
        runs::put_back(self.app, &self.run, wakes).await
    }

    /// Blocks the activity, and returns the run to the queue with its steps.
    async fn block(&self, reason: &'static str) -> Result<()> {
        self.write(|activity: Record| async move {
            let mut plan = Plan::default();
            if activity.status.as_deref() == Some("in_progress") {
                activities::block(self.app, activity, reason, &mut plan)?;
            }
            Ok(plan)
        })
        .await?;
        runs::put_back(self.app, &self.run, false).await?;
        if let (campaigns::BUDGET, Some(campaign)) = (reason, &self.campaign) {
            // The cap may have been raised before the activity was blocked.
            tend::continue_within_budget(self.app, &self.caller, &campaign.id).await?;
        }
        Ok(())
    }

    /// Fails the activity, and ends the run.
    async fn fail(&self, status: &'static str, error: &str) -> Result<()> {
        let retries = runs::of_activity(&self.app.db, self.tenant(), &self.run.activity_id)
            .await?
            .len();
        let retries = i64::try_from(retries.saturating_sub(1)).unwrap_or(i64::MAX);
        self.write(|activity: Record| async move {
            let mut plan = Plan::default();
            activities::fail(self.app, activity, error, retries, &mut plan).await?;
            plan.after.push(Box::new(runs::End {
                run: self.run.clone(),
                status,
                error: Some(error.to_owned()),
            }));
            Ok(plan)
        })
        .await
    }
}

/// Fails an activity whose job was given up.
///
/// # Errors
/// Those of the database.
pub async fn failed(
    app: &Arc<App>,
    job: &Job,
    (activity_id, run_id): (&str, &str),
    error: &str,
) -> Result<()> {
    let tenant_id = &job.tenant_id;
    let found = runs::get(&app.db, tenant_id, run_id).await?;
    // A queued run has another job, or gets one.
    let Some(run) = found.filter(|r| r.status == "running") else {
        return Ok(());
    };
    if run.job_id.as_deref() != Some(job.id.as_str())
        || store::optional(app, tenant_id, &ACTIVITY, activity_id)
            .await?
            .is_none()
    {
        return Ok(());
    }
    let role = roles::named(&run.role)?;
    let assignment = Assignment {
        app,
        caller: Caller::worker(tenant_id, role.name),
        settings: roles::settings(app, tenant_id, role).await?,
        run,
        job_id: &job.id,
        campaign: None,
    };
    assignment.fail("failed", error).await
}
