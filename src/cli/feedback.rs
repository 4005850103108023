//! `cairn feedback`: what agents tell the operator, and the answers. Works while a server is running.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Done, Global, output};
use crate::auth::{Caller, tenants};
use crate::error::Result;
use crate::outreach::{FEEDBACK, feedback};
use crate::records::{Request, execute};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn feedback list --status submitted
  cairn feedback answer fb_01… \"Fixed in this version; retry the request\"
  cairn feedback answer fb_01… \"We look into it\" --status in_progress")]
pub(super) struct FeedbackArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List feedback of all tenants, newest first
    List {
        /// Only feedback in this state: submitted, `in_progress`, resolved or declined
        #[arg(long)]
        status: Option<String>,
        /// Maximum number
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// Answer feedback; the agent sees the answer at the start of its next session
    Answer {
        /// Id of the feedback, as fb_…
        id: String,
        /// Answer, for example what to do now
        response: String,
        /// State afterwards
        #[arg(long, default_value = "resolved")]
        status: String,
    },
}

pub(super) async fn run(global: &Global, args: FeedbackArgs) -> Result<Done> {
    let app = global.local_app().await?;
    let operator = app.local_caller(tenants::DEFAULT).await?;
    match args.action {
        Action::List { status, limit } => {
            let found =
                feedback::of_installation(&app, &operator, status.as_deref(), limit).await?;
            let records: Vec<Value> = found
                .iter()
                .map(|record| FEEDBACK.to_json(record))
                .collect::<Result<_>>()?;
            if global.json {
                println!("{}", serde_json::to_string(&records)?);
            } else {
                let word = |record: &Value, name: &str| {
                    record[name].as_str().unwrap_or_default().to_owned()
                };
                let rows: Vec<Vec<String>> = records
                    .iter()
                    .map(|r| {
                        ["id", "status", "priority", "type", "agent", "title"]
                            .map(|n| word(r, n))
                            .to_vec()
                    })
                    .collect();
                println!(
                    "{}",
                    output::table(
                        &["id", "status", "priority", "type", "agent", "title"],
                        &rows
                    )
                );
            }
        }
        Action::Answer {
            id,
            response,
            status,
        } => {
            let owner = feedback::owner(&app, &operator, &id).await?;
            let owner = Caller::local(&owner);
            let given = serde_json::Map::from_iter([
                ("response".to_owned(), json!(response)),
                ("status".to_owned(), json!(status)),
            ]);
            let request = Request::internal(&owner, "answerFeedback");
            let answer = execute(&app, &request, || {
                feedback::change(&app, &operator, &owner, &id, &given)
            })
            .await?;
            if global.json {
                println!("{}", answer.data);
            } else {
                println!(
                    "{id} is {status}; the agent sees the answer at the start of its next session."
                );
            }
        }
    }
    app.db.close().await;
    Ok(Done::All)
}
