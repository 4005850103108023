//! What the tools take, in words that tell a model how to use it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::data::rows::{Aggregate, Sort};

/// How much of each hit is wanted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Detail {
    /// Citations, titles and scores only.
    Ids,
    /// The beginning of each passage.
    #[default]
    Snippets,
    /// Whole passages.
    Full,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    /// What to look for: a question, or words.
    pub query: String,
    /// Datasets by name or id; all that you may see when absent.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// Hits wanted, 1 to 20; 5 when absent.
    pub top_k: Option<usize>,
    /// Budget of the answer in tokens, 200 to 20000; 2000 when absent.
    pub max_tokens: Option<usize>,
    #[serde(default)]
    pub detail: Detail,
    /// Only hits with at least this score, 0 to 1.
    pub min_score: Option<f32>,
    /// A condition on metadata, as {"field": "year", "op": "gte", "value": 2020}; ops are eq, ne, gt, gte, lt, lte, in, exists, contains; conditions are joined by {"and": […]}, {"or": […]}, {"not": …}.
    pub filter: Option<Value>,
    /// `next_cursor` of the answer before.
    pub cursor: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Read {
    /// A citation, `kb://dataset/document@version#chunk:start-end`; or give dataset and document.
    pub citation: Option<String>,
    /// Dataset, by name or id.
    pub dataset: Option<String>,
    /// Document, by id.
    pub document: Option<String>,
    /// First character; with a citation, its place when absent.
    pub start: Option<usize>,
    /// The character after the last one.
    pub end: Option<usize>,
    /// Budget of the answer in tokens, 100 to 20000; 4000 when absent.
    pub max_tokens: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// Dataset, by name or id.
    pub dataset: String,
    /// Document, by id.
    pub document: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Similar {
    /// The passage, `kb://dataset/document@version#chunk:start-end`.
    pub citation: String,
    /// Passages wanted, 1 to 20; 5 when absent.
    pub top_k: Option<usize>,
    /// Budget of the answer in tokens, 200 to 20000; 2000 when absent.
    pub max_tokens: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Grep {
    /// Dataset, by name or id.
    pub dataset: String,
    /// A regular expression, matched line by line.
    pub pattern: String,
    /// Matches wanted, 1 to 200; 50 when absent.
    pub limit: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Finding {
    /// A title that says what was found.
    pub title: Option<String>,
    /// The findings.
    pub findings: String,
    /// Where they come from, in words.
    pub source: Option<String>,
    /// Address of the main source.
    pub url: Option<String>,
    /// Further sources: addresses or citations.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Id of an earlier finding or article whose place this one takes.
    pub supersedes: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Article {
    /// A title.
    pub title: Option<String>,
    /// The text, Markdown welcome.
    pub content: String,
    /// Id of an earlier article or finding whose place this one takes.
    pub supersedes: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rows {
    /// Folder, by id; `query_dataset` without a folder lists them.
    pub folder: String,
    /// Rows, each an object.
    pub rows: Vec<Map<String, Value>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Folder, by id; absent: list the folders.
    pub folder: Option<String>,
    /// Values that fields must have, as in {"city": "Aarhus"}.
    #[serde(default)]
    pub equals: Map<String, Value>,
    /// A condition: {"field", "op", "value"} with op one of eq, ne, in, nin, gt, gte, lt, lte, contains, exists, or {"and": [...]}, {"or": [...]}, {"not": ...}.
    pub filter: Option<Map<String, Value>>,
    /// Fields to answer with; all of them when absent.
    #[serde(default)]
    pub select: Vec<String>,
    /// The order of rows or groups, most important first; the order of appending when absent.
    #[serde(default)]
    pub sort: Vec<Sort>,
    /// Fields whose values make groups.
    #[serde(default)]
    pub group_by: Vec<String>,
    /// What to count and add up: of each group, or of all rows when there is no `group_by`. Use this rather than reading rows to add them up yourself.
    #[serde(default)]
    pub aggregates: Vec<Aggregate>,
    /// Whether to tell how many rows or groups there are in all.
    #[serde(default)]
    pub count: bool,
    /// Rows or groups wanted, 1 to 200; 20 when absent.
    pub limit: Option<usize>,
    /// `next_cursor` of the answer before.
    pub cursor: Option<String>,
    /// Budget of the answer in tokens, 200 to 20000; 4000 when absent.
    pub max_tokens: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Quote {
    /// The sentence, at most 4000 characters.
    pub quote: String,
    /// Where it should stand: a citation; or give dataset and document.
    pub citation: Option<String>,
    /// Dataset, by name or id.
    pub dataset: Option<String>,
    /// Document, by id.
    pub document: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// `next_cursor` of the answer before.
    pub cursor: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Question {
    /// The question.
    pub question: String,
}
