//! Parameters of the tools, with descriptions for models.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::data::rows::{Aggregate, Sort};

/// How much of each hit to return.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Detail {
    /// Citations, titles and scores only.
    Ids,
    /// The first characters of each passage.
    #[default]
    Snippets,
    /// Whole passages.
    Full,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    /// Query: a question, or keywords.
    pub query: String,
    /// Datasets by name or id; all visible ones when absent.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// Number of hits, 1 to 20; 5 when absent.
    pub top_k: Option<usize>,
    /// Token budget of the answer, 200 to 20000; 2000 when absent.
    pub max_tokens: Option<usize>,
    #[serde(default)]
    pub detail: Detail,
    /// Only hits with at least this score, 0 to 1.
    pub min_score: Option<f32>,
    /// A condition on metadata, as {"field": "year", "op": "gte", "value": 2020}; ops are eq, ne, gt, gte, lt, lte, in, exists, contains; conditions are joined by {"and": […]}, {"or": […]}, {"not": …}.
    pub filter: Option<Value>,
    /// `next_cursor` of the previous answer.
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
    /// First character; when absent, the start of the citation.
    pub start: Option<usize>,
    /// End character, exclusive.
    pub end: Option<usize>,
    /// Token budget of the answer, 100 to 20000; 4000 when absent.
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
    /// Number of passages, 1 to 20; 5 when absent.
    pub top_k: Option<usize>,
    /// Token budget of the answer, 200 to 20000; 2000 when absent.
    pub max_tokens: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Grep {
    /// Dataset, by name or id.
    pub dataset: String,
    /// A regular expression, matched line by line.
    pub pattern: String,
    /// Maximum number of matches, 1 to 200; 50 when absent.
    pub limit: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Finding {
    /// A title that summarizes the findings.
    pub title: Option<String>,
    /// The findings.
    pub findings: String,
    /// Description of the source.
    pub source: Option<String>,
    /// Address of the main source.
    pub url: Option<String>,
    /// Further sources: addresses or citations.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Id of an earlier finding or article that this one replaces.
    pub supersedes: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Article {
    /// Title of the article.
    pub title: Option<String>,
    /// Text of the article; Markdown is supported.
    pub content: String,
    /// Id of an earlier article or finding that this one replaces.
    pub supersedes: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rows {
    /// Folder, by id; `query_folder` without a folder lists them.
    pub folder: String,
    /// Rows, each an object.
    pub rows: Vec<Map<String, Value>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Folder, by id; lists the folders when absent.
    pub folder: Option<String>,
    /// Required values of fields, as in {"city": "Aarhus"}.
    #[serde(default)]
    pub equals: Map<String, Value>,
    /// A condition: {"field", "op", "value"} with op one of eq, ne, in, nin, gt, gte, lt, lte, contains, starts, ends, exists, or {"and": [...]}, {"or": [...]}, {"not": ...}.
    pub filter: Option<Map<String, Value>>,
    /// Fields to return; all of them when absent.
    #[serde(default)]
    pub select: Vec<String>,
    /// Sort order of rows or groups, most significant first; the order of insertion when absent.
    #[serde(default)]
    pub sort: Vec<Sort>,
    /// Fields to group by.
    #[serde(default)]
    pub group_by: Vec<String>,
    /// Aggregates of each group, or of all rows without `group_by`. Use this rather than reading rows to add them up yourself.
    #[serde(default)]
    pub aggregates: Vec<Aggregate>,
    /// Whether to return the total number of rows or groups.
    #[serde(default)]
    pub count: bool,
    /// Number of rows or groups, 1 to 200; 20 when absent.
    pub limit: Option<usize>,
    /// `next_cursor` of the previous answer.
    pub cursor: Option<String>,
    /// Token budget of the answer, 200 to 20000; 4000 when absent.
    pub max_tokens: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Quote {
    /// The sentence, at most 4000 characters.
    pub quote: String,
    /// Citation of the expected source; or give dataset and document.
    pub citation: Option<String>,
    /// Dataset, by name or id.
    pub dataset: Option<String>,
    /// Document, by id.
    pub document: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// `next_cursor` of the previous answer.
    pub cursor: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Question {
    /// The question.
    pub question: String,
}
