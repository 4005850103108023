//! `cairn ask`: answers a question from documents, with citations.

use std::io::Write;

use clap::Args;
use console::style;
use eventsource_stream::{EventStreamError, Eventsource};
use futures::StreamExt;
use serde_json::{Value, json};

use super::client::{Client, Connection, Needs, unreachable};
use super::excerpt::excerpt;
use super::output::word;
use super::{Done, Global, Remote};
use crate::error::{Error, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn ask \"why do tides lag behind the moon\"
  cairn ask \"what does the contract say about refunds\" --dataset contracts
  cairn ask \"how long is the warranty\" --mode extract --json

The answer is written by the configured language model (answer_url), or consists of the best sentences of the documents. Every sentence is checked against the passage
that it cites. Without a passage that answers the question, there is no answer.")]
pub(super) struct AskArgs {
    /// The question
    question: String,
    /// Dataset name or ID; repeatable [default: all datasets]
    #[arg(short, long, value_name = "NAME")]
    dataset: Vec<String>,
    /// Whether a language model writes the answer (generate) or sentences are taken from the documents (extract)
    #[arg(long, default_value = "auto", value_parser = ["auto", "generate", "extract"])]
    mode: String,
    /// Maximum number of passages, 1 to 100
    #[arg(short = 'k', long, value_name = "N")]
    top_k: Option<usize>,
    #[command(flatten)]
    remote: Remote,
}

/// Passages shown when there is no answer.
const OFFERED: usize = 3;

pub(super) async fn run(global: &Global, args: AskArgs) -> Result<Done> {
    Connection::with(global, &args.remote, Needs::Search, async |client| {
        let mut body = json!({
            "question": args.question,
            "datasetIds": client.datasets_or_all(&args.dataset).await?,
            "mode": args.mode,
            "stream": !global.json,
        });
        if let Some(top_k) = args.top_k {
            body["topK"] = json!(top_k);
        }
        let request = client.post("/kb/v1/answer").json(&body);
        if global.json {
            println!("{}", Client::send(request).await?);
        } else {
            print(&follow(Client::receive(request).await?).await?);
        }
        Ok(Done::All)
    })
    .await
}

/// Prints an answer while it is written, and returns it when it is complete.
async fn follow(response: reqwest::Response) -> Result<Value> {
    let mut events = response.bytes_stream().eventsource();
    let mut out = std::io::stdout();
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| match error {
            EventStreamError::Transport(error) => unreachable(&error),
            EventStreamError::Utf8(_) | EventStreamError::Parser(_) => {
                Error::unavailable("server_unreachable", error.to_string())
            }
        })?;
        let data: Value = serde_json::from_str(&event.data)?;
        match event.event.as_str() {
            "text_delta" => {
                out.write_all(data["text"].as_str().unwrap_or_default().as_bytes())?;
                out.flush()?;
            }
            "completed" => return Ok(data),
            "error" => {
                let message = data["message"].as_str().unwrap_or("no reason given");
                return Err(Error::unavailable(
                    "answer_failed",
                    format!("the answer is incomplete: {message}"),
                ));
            }
            _ => {}
        }
    }
    Err(Error::unavailable(
        "answer_failed",
        "the answer is incomplete: the server closed the connection",
    ))
}

/// Prints what belongs to an answer: the cited passages, or the best ones when there is no answer.
fn print(answer: &Value) {
    let list = |name: &str| answer[name].as_array().map_or(&[][..], Vec::as_slice);
    let passages = list("passages");
    for trouble in list("degraded") {
        println!("\nincomplete: {}", trouble.as_str().unwrap_or_default());
    }
    if answer["kind"] == "none" {
        println!("No passage answers this question.");
        for passage in passages.iter().take(OFFERED) {
            println!();
            headline(passage);
            println!("    {}", excerpt(word(passage, "text"), &[], false));
        }
        return;
    }
    println!("\n");
    for passage in passages {
        let cited = list("citations")
            .iter()
            .filter(|c| c["number"] == passage["number"]);
        let verdicts: Vec<&str> = cited.map(|c| word(c, "verdict")).collect();
        if verdicts.is_empty() {
            continue;
        }
        headline(passage);
        if verdicts.iter().any(|verdict| *verdict != "supported") {
            println!("    a sentence that cites it is not fully supported by it");
        }
    }
    if answer["grounded"] == false {
        println!(
            "\nNot every sentence is supported by the passage that it cites: check the sources."
        );
    }
}

fn headline(passage: &Value) {
    let headings = passage["headingPath"].as_array().into_iter().flatten();
    let title = word(passage, "title");
    let headings = headings.filter_map(Value::as_str);
    let headings: Vec<&str> = headings.skip_while(|heading| *heading == title).collect();
    let place = if headings.is_empty() {
        String::new()
    } else {
        format!(" — {}", headings.join(" > "))
    };
    println!(
        "[{}] {}{place}  {}",
        passage["number"],
        style(title).bold(),
        style(word(passage, "citation")).dim()
    );
}
