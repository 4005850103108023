//! External Knowledge API of Dify, `/dify`: a dataset of Cairn as an external knowledge base of a Dify workspace. Dify appends `/retrieval` to the endpoint that is
//! registered there.
//!
//! Where the specification is silent, this holds:
//! - `knowledge_id` is the id of a dataset or its name
//! - a `score_threshold` of 0 is none; scores are those of the search, 0 to 1
//! - a condition with several names holds when it does for one of them; with a negated operator, when it does for all
//! - values that look like numbers or truth values also equal those; `before` and `after` compare times and days
//! - a missing or wrong key is answered with 403
//! - errors have the members of Dify (`error_code`, `error_msg`) and those of the other APIs (`error`)

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::extract::{auth, body, problem};
use super::fault::{self, FaultBody};
use super::retrieved;
use super::secret::SecretHeader;
use crate::auth::Scope;
use crate::error::{Error, Kind, Result};
use crate::evaluation::history;
use crate::kb::datasets;
use crate::kb::filter::{Comparison, Filter, Operator};
use crate::search::{self, Hit, Request};

/// Prefix of the paths of this dialect.
pub(super) const PREFIX: &str = "/dify";

/// An error as returned to Dify.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DifyFault {
    /// 1001 for a missing key, 1002 for a wrong one, 2001 for an unknown knowledge base; otherwise the HTTP status.
    error_code: u16,
    error_msg: String,
    error: FaultBody,
}

impl From<&Error> for DifyFault {
    fn from(error: &Error) -> Self {
        let error_code = match error.code() {
            "key_missing" => 1001,
            "dataset_not_found" => 2001,
            _ => match fault::status(error.kind()).0.as_u16() {
                401 => 1002,
                status => status,
            },
        };
        Self {
            error_code,
            error_msg: error.public_message().to_owned(),
            error: error.into(),
        }
    }
}

// When an endpoint is registered, Dify tries it and rejects the key on 403 only, so a missing or wrong key is not answered with 401.
problem!(|error| DifyFault::from(error), |error| (error.kind()
    == Kind::Unauthorized)
    .then_some(StatusCode::FORBIDDEN));
auth!(Problem, &[SecretHeader::Bearer]);
body!(Problem);

/// Returns the routes.
pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(retrieve))
}

/// A retrieval request.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DifyRetrievalRequest)]
pub(super) struct Retrieval {
    /// Id or name of a dataset.
    knowledge_id: String,
    query: String,
    retrieval_setting: Setting,
    #[serde(default)]
    metadata_condition: Option<Conditions>,
}

/// Settings of a retrieval.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DifyRetrievalSetting)]
struct Setting {
    /// Number of records, 1 to 100.
    top_k: usize,
    /// Minimum score, 0 to 1; 0 for none.
    #[serde(default)]
    score_threshold: Option<f32>,
}

/// Conditions on the metadata of documents.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DifyMetadataCondition)]
pub(super) struct Conditions {
    #[serde(default, alias = "logic")]
    logical_operator: Option<Logic>,
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
}

/// How conditions are combined.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DifyLogicalOperator)]
enum Logic {
    #[default]
    And,
    Or,
}

/// A condition on metadata.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DifyCondition)]
struct Condition {
    /// Name of a metadata field, or a list of names.
    #[schema(value_type = Value)]
    name: Names,
    /// `contains`, `not contains`, `start with`, `end with`, `is`, `is not`, `in`, `not in`, `empty`, `not empty`, `=`, `≠`, `>`, `<`, `≥`, `≤`, `before` or `after`.
    comparison_operator: String,
    #[serde(default)]
    value: Value,
}

/// One name or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

/// Records that were found, the best first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DifyRetrievalResponse)]
pub(super) struct Retrieved {
    records: Vec<Found>,
}

/// A record.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DifyRecord)]
struct Found {
    content: String,
    /// 0 to 1.
    score: f32,
    /// Title of the document, or the name of its file.
    title: String,
    /// Metadata of the document, and where the record is in it.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

impl Found {
    fn new(hit: Hit) -> Result<Self> {
        Ok(Self {
            metadata: retrieved::metadata(&hit)?,
            score: hit.score,
            title: retrieved::title(&hit),
            content: hit.chunk.with_header(),
        })
    }
}

/// Returns a value and the number or truth value that its text stands for.
fn meanings(value: &Value) -> Vec<Value> {
    let mut meanings = vec![value.clone()];
    if let Some(parsed) = value.as_str().and_then(|t| serde_json::from_str(t).ok())
        && matches!(parsed, Value::Number(_) | Value::Bool(_))
    {
        meanings.push(parsed);
    }
    meanings
}

fn invalid(message: String) -> Error {
    Error::invalid("filter_invalid", message)
}

/// Returns the filter of one condition on one field.
fn comparison(field: &str, operator: &str, value: &Value) -> Result<Filter> {
    let is = |op, value: Value| {
        Filter::Is(Comparison {
            field: field.to_owned(),
            op,
            value,
        })
    };
    let not = |filter| Filter::Not {
        not: Box::new(filter),
    };
    let text = |op| {
        let text = value.as_str().filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| invalid(format!("{operator:?} needs a text as value")));
        text.map(|text| is(op, json!(text)))
    };
    let any_of = |values: &[Value]| {
        let all: Vec<Value> = values.iter().flat_map(meanings).collect();
        is(Operator::In, Value::Array(all))
    };
    let number = |op| {
        let parsed = meanings(value).pop().filter(Value::is_number);
        let parsed = parsed.ok_or_else(|| invalid(format!("{operator:?} needs a number as value")));
        parsed.map(|number| is(op, number))
    };
    let empty = || Filter::Or {
        or: vec![
            is(Operator::Exists, json!(false)),
            is(Operator::Eq, json!("")),
        ],
    };
    let listed = || {
        let list = value.as_array().map(Vec::as_slice);
        let list = list.or_else(|| value.is_string().then(|| std::slice::from_ref(value)));
        let list = list.ok_or_else(|| invalid(format!("{operator:?} needs a list as value")));
        list.map(any_of)
    };
    match operator {
        "contains" => text(Operator::Contains),
        "not contains" => text(Operator::Contains).map(not),
        "start with" => text(Operator::Starts),
        "end with" => text(Operator::Ends),
        "is" => Ok(any_of(std::slice::from_ref(value))),
        "is not" => Ok(not(any_of(std::slice::from_ref(value)))),
        "in" => listed(),
        "not in" => listed().map(not),
        "empty" => Ok(empty()),
        "not empty" => Ok(not(empty())),
        "=" => number(Operator::Eq),
        "≠" | "!=" => number(Operator::Eq).map(not),
        ">" => number(Operator::Gt),
        "<" => number(Operator::Lt),
        "≥" | ">=" => number(Operator::Gte),
        "≤" | "<=" => number(Operator::Lte),
        "before" => text(Operator::Lt),
        "after" => text(Operator::Gt),
        other => Err(invalid(format!(
            "unknown comparison_operator {other:?}; use contains, not contains, start with, end with, is, is not, in, not in, empty, not empty, =, ≠, >, <, ≥, ≤, before or after"
        ))),
    }
}

impl Condition {
    fn filter(&self) -> Result<Filter> {
        let names = match &self.name {
            Names::One(name) => std::slice::from_ref(name),
            Names::Several(names) => names.as_slice(),
        };
        if names.is_empty() {
            return Err(invalid("a condition needs a name".to_owned()));
        }
        let operator = self.comparison_operator.trim();
        let is_negated = matches!(
            operator,
            "not contains" | "is not" | "not in" | "empty" | "≠" | "!="
        );
        let parts = names
            .iter()
            .map(|name| comparison(name, operator, &self.value))
            .collect::<Result<Vec<_>>>()?;
        Ok(if is_negated {
            Filter::And { and: parts }
        } else {
            Filter::Or { or: parts }
        })
    }
}

impl Conditions {
    /// Returns the filter, checked; `None` when there are no conditions.
    pub(super) fn filter(&self) -> Result<Option<Filter>> {
        let conditions = self.conditions.as_deref().unwrap_or_default();
        if conditions.is_empty() {
            return Ok(None);
        }
        let parts = conditions
            .iter()
            .map(Condition::filter)
            .collect::<Result<Vec<_>>>()?;
        let filter = match self.logical_operator.unwrap_or_default() {
            Logic::And => Filter::And { and: parts },
            Logic::Or => Filter::Or { or: parts },
        };
        filter.validate()?;
        Ok(Some(filter))
    }
}

/// Retrieves records for Dify from a dataset.
#[utoipa::path(post, path = "/dify/retrieval", tag = "compatible", operation_id = "retrieveForDify", security(("key" = [])), request_body = Retrieval,
    responses((status = 200, body = Retrieved), (status = "4XX", body = DifyFault)))]
async fn retrieve(
    State(service): State<Service>,
    Auth(caller): Auth,
    Body(body): Body<Retrieval>,
) -> Result<Json<Retrieved>, Problem> {
    caller.need(Scope::KbSearch)?;
    let filter = match &body.metadata_condition {
        Some(conditions) => conditions.filter()?,
        None => None,
    };
    let knowledge = body.knowledge_id.trim();
    let dataset = datasets::by_name(&service.app, &caller, knowledge).await?;
    let request = Request {
        top_k: body.retrieval_setting.top_k,
        min_score: body.retrieval_setting.score_threshold.filter(|s| *s != 0.0),
        filter,
        ..Request::new(body.query, vec![dataset.id])
    };
    let answer = search::search(&service.app, &caller, &request).await?;
    history::record(&service.app, &caller, &request, &answer);
    let records = answer
        .hits
        .into_iter()
        .map(Found::new)
        .collect::<Result<_>>()?;
    Ok(Json(Retrieved { records }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(conditions: Value) -> bool {
        let read: Conditions = serde_json::from_value(conditions).expect("conditions");
        let filter = read.filter().expect("valid").expect("a filter");
        filter.holds(&json!({"lang": "de", "year": 2024, "day": "2026-03-01", "none": ""}))
    }

    #[test]
    fn every_operator_of_dify_is_understood() {
        for (name, operator, value, expected) in [
            ("lang", "contains", json!("D"), true),
            ("lang", "not contains", json!("d"), false),
            ("lang", "start with", json!("d"), true),
            ("lang", "end with", json!("d"), false),
            ("year", "is", json!("2024"), true),
            ("lang", "is not", json!("en"), true),
            ("lang", "in", json!(["en", "de"]), true),
            ("year", "not in", json!(["2023", "2024"]), false),
            ("none", "empty", Value::Null, true),
            ("gone", "empty", Value::Null, true),
            ("lang", "not empty", Value::Null, true),
            ("year", "=", json!("2024"), true),
            ("year", "≠", json!(2024), false),
            ("year", ">", json!(2023), true),
            ("year", "<", json!(2024), false),
            ("year", "≥", json!(2024), true),
            ("year", "≤", json!(2023), false),
            ("day", "before", json!("2026-03-02"), true),
            ("day", "after", json!("2026-03-01T12:00:00Z"), false),
        ] {
            let condition = json!({"name": name, "comparison_operator": operator, "value": value});
            let found = holds(json!({"conditions": [condition]}));
            assert_eq!(found, expected, "{name} {operator}");
        }
    }

    #[test]
    fn conditions_are_combined() {
        let german = json!({"name": ["gone", "lang"], "comparison_operator": "is", "value": "de"});
        let old = json!({"name": "year", "comparison_operator": "<", "value": 2000});
        assert!(holds(
            json!({"logical_operator": "or", "conditions": [old, german]})
        ));
        assert!(!holds(
            json!({"logical_operator": "and", "conditions": [old, german]})
        ));
    }

    #[test]
    fn what_dify_sends_as_null_is_as_if_it_were_absent() {
        let german = json!({"name": "lang", "comparison_operator": "is", "value": "de"});
        assert!(holds(
            json!({"logical_operator": null, "conditions": [german]})
        ));
        let nothing = json!({"logical_operator": "and", "conditions": null});
        let read: Conditions = serde_json::from_value(nothing).expect("conditions");
        assert_eq!(read.filter().expect("valid"), None);
    }

    #[test]
    fn unknown_operators_are_refused_with_the_known_ones() {
        let given =
            json!({"conditions": [{"name": "a", "comparison_operator": "like", "value": "b"}]});
        let read: Conditions = serde_json::from_value(given).expect("conditions");
        assert!(
            read.filter()
                .expect_err("unknown")
                .to_string()
                .contains("start with")
        );
    }
}
