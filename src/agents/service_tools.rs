//! Tools of integrations: figures of search engines, links, advertising and mails, asked from the services with the tenant's keys. All of them only read;
//! a call that a killed process repeats costs units of the service a second time, and changes nothing.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Assignment;
use super::arguments::read;
use crate::agency::ad_platforms::{self, Period};
use crate::agency::integrations;
use crate::agency::roles::SERVICE_TOOLS;
use crate::agency::services::Ask;
use crate::error::{Error, Result};
use crate::llm::Tool;
use crate::records::Record;

/// Rows of a result.
const ROWS: usize = 50;
/// Keywords of a call, and characters of each and of a domain.
const KEYWORDS: usize = 50;
const WORDS: usize = 200;
/// Days of figures, unless the agent asks for others, and at most.
const DAYS: u32 = 30;
const MOST_DAYS: u32 = 366;
/// `DataForSEO`'s numbers of the United States, and of a task that was done.
const UNITED_STATES: u32 = 2840;
const TASK_DONE: u64 = 20_000;

/// Returns whether a tool belongs to an integration.
pub(super) fn is_one(name: &str) -> bool {
    SERVICE_TOOLS.iter().any(|tool| tool.0 == name)
}

/// Returns the definitions of those tools whose integrations are connected.
pub(super) fn definitions(names: &[String], connected: &[String]) -> Vec<Tool> {
    let usable = SERVICE_TOOLS.iter().filter(|(tool, service)| {
        names.iter().any(|name| name == tool) && connected.iter().any(|c| c == service)
    });
    usable.map(|(tool, _)| definition(tool)).collect()
}

fn definition(name: &'static str) -> Tool {
    let text = |description: &str| json!({"type": "string", "description": description});
    let keyword = text("A search term.");
    let keywords = json!({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": KEYWORDS, "description": "Search terms."});
    let country = text("Country as two letters; us unless it is named.");
    let domain = text("A domain, such as example.com.");
    let days = json!({"type": "integer", "minimum": 1, "maximum": MOST_DAYS, "description": "Days up to today."});
    let location = json!({"type": "integer", "description": "Number of a location of DataForSEO; 2840, the United States, unless it is named."});
    let language = text("Language as two letters; en unless it is named.");
    let (description, properties, required) = match name {
        "semrush_keyword_research" => (
            "Searches per month, price per click and competition of a search term, and related terms (Semrush).",
            json!({"keyword": keyword, "country": country}),
            &["keyword"][..],
        ),
        "semrush_domain_keywords" => (
            "Search terms for which a domain is found, with position, volume and address (Semrush).",
            json!({"domain": domain, "country": country}),
            &["domain"][..],
        ),
        "dataforseo_keyword_volume" => (
            "Searches per month, price per click and competition of search terms (DataForSEO, Google Ads).",
            json!({"keywords": keywords, "location_code": location, "language_code": language}),
            &["keywords"][..],
        ),
        "dataforseo_search_results" => (
            "The pages that Google shows for a search term today (DataForSEO).",
            json!({"keyword": keyword, "location_code": location, "language_code": language}),
            &["keyword"][..],
        ),
        "ahrefs_keywords" => (
            "Searches per month, difficulty and price per click of search terms (Ahrefs).",
            json!({"keywords": keywords, "country": country}),
            &["keywords"][..],
        ),
        "ahrefs_referring_domains" => (
            "Domains that link to a domain, the strongest first (Ahrefs).",
            json!({"domain": domain}),
            &["domain"][..],
        ),
        "google_ads_campaigns" => (
            "Cost, impressions, clicks and conversions of each campaign of the Google Ads account.",
            json!({"days": days}),
            &[][..],
        ),
        "meta_ads_campaigns" => (
            "Spending, impressions, clicks and reach of each campaign of the Meta ads account.",
            json!({"days": days}),
            &[][..],
        ),
        _ => (
            "Deliveries, opens, clicks, bounces and complaints of mails by day (SendGrid).",
            json!({"days": days}),
            &[][..],
        ),
    };
    Tool {
        name,
        description,
        parameters: json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false}),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeywordInput {
    keyword: String,
    country: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeywordsInput {
    keywords: Vec<String>,
    country: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DomainInput {
    domain: String,
    country: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LocatedInput {
    #[serde(default)]
    keywords: Vec<String>,
    keyword: Option<String>,
    location_code: Option<u32>,
    language_code: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DaysInput {
    days: Option<u32>,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid("arguments_invalid", message.into())
}

fn checked(value: &str, name: &str) -> Result<String> {
    let value = value.trim();
    if value.is_empty() || value.chars().count() > WORDS || value.chars().any(char::is_control) {
        return Err(invalid(format!(
            "{name} must have 1 to {WORDS} characters on one line"
        )));
    }
    Ok(value.to_owned())
}

/// Returns a country or language as two small letters.
fn letters(value: Option<&str>, default: &str) -> Result<String> {
    let value = value.unwrap_or(default).to_lowercase();
    if value.len() != 2 || !value.bytes().all(|b| b.is_ascii_lowercase()) {
        return Err(invalid("countries and languages have two letters"));
    }
    Ok(value)
}

fn all_checked(keywords: &[String]) -> Result<Vec<String>> {
    if keywords.is_empty() || keywords.len() > KEYWORDS {
        return Err(invalid(format!("keywords must be 1 to {KEYWORDS} terms")));
    }
    let check = |keyword: &String| checked(keyword, "a keyword");
    keywords.iter().map(check).collect()
}

/// Returns the host of a domain or an address.
fn domain_of(value: &str) -> Result<String> {
    let value = checked(value, "domain")?;
    let without_scheme = value.split_once("://").map_or(value.as_str(), |p| p.1);
    let host = without_scheme.split('/').next().unwrap_or_default();
    if !host.contains('.') {
        return Err(invalid(format!("{value:?} is not a domain")));
    }
    Ok(host.to_lowercase())
}

/// Calls a tool of an integration.
///
/// # Errors
/// `arguments_invalid`, `integration_missing`, `config_invalid`, `service_refused`, `service_unreachable`, which the agent is told.
pub(super) async fn call(
    assignment: &Assignment<'_>,
    name: &str,
    arguments: Map<String, Value>,
) -> Result<Value> {
    let service = SERVICE_TOOLS.iter().find(|tool| tool.0 == name);
    let service = service.map_or("", |tool| tool.1);
    let record = integrations::working(assignment.app, assignment.tenant(), service).await?;
    let at = Connection {
        assignment,
        record: &record,
    };
    match name {
        "semrush_keyword_research" => at.semrush_keyword(read(arguments)?).await,
        "semrush_domain_keywords" => at.semrush_domain(read(arguments)?).await,
        "dataforseo_keyword_volume" => at.dataforseo_volume(read(arguments)?).await,
        "dataforseo_search_results" => at.dataforseo_results(read(arguments)?).await,
        "ahrefs_keywords" => at.ahrefs_keywords(read(arguments)?).await,
        "ahrefs_referring_domains" => at.ahrefs_domains(read(arguments)?).await,
        "google_ads_campaigns" => at.google_ads(read(arguments)?).await,
        "meta_ads_campaigns" => at.meta_ads(read(arguments)?).await,
        _ => at.sendgrid(read(arguments)?).await,
    }
}

/// An integration that works, in an assignment.
struct Connection<'a> {
    assignment: &'a Assignment<'a>,
    record: &'a Record,
}

impl Connection<'_> {
    async fn ask(&self, ask: &Ask) -> Result<Vec<u8>> {
        let Assignment { app, caller, .. } = self.assignment;
        integrations::ask(app, caller, self.record, ask).await
    }

    async fn json(&self, ask: &Ask) -> Result<Value> {
        let Assignment { app, caller, .. } = self.assignment;
        integrations::ask_json(app, caller, self.record, ask).await
    }

    fn period(&self, input: &DaysInput) -> Result<Period> {
        let days = input.days.unwrap_or(DAYS);
        if !(1..=MOST_DAYS).contains(&days) {
            return Err(invalid(format!("days must be 1 to {MOST_DAYS}")));
        }
        Ok(Period::of_days(self.assignment.app.clock.now(), days))
    }

    async fn semrush(
        &self,
        report: &str,
        subject: (&'static str, &str),
        country: &str,
        columns: &str,
    ) -> Result<Vec<Value>> {
        let mut ask = Ask::new("https://api.semrush.com/");
        ask.query = vec![
            ("type", report.to_owned()),
            (subject.0, subject.1.to_owned()),
            ("database", country.to_owned()),
            ("export_columns", columns.to_owned()),
            ("display_limit", ROWS.to_string()),
        ];
        semrush_rows(&self.ask(&ask).await?)
    }

    async fn semrush_keyword(&self, input: KeywordInput) -> Result<Value> {
        let keyword = checked(&input.keyword, "keyword")?;
        let country = letters(input.country.as_deref(), "us")?;
        let subject = ("phrase", keyword.as_str());
        let own = self
            .semrush("phrase_this", subject, &country, "Ph,Nq,Cp,Co")
            .await?;
        let related = self
            .semrush("phrase_related", subject, &country, "Ph,Nq,Cp,Co")
            .await?;
        let mut output = match own.into_iter().next() {
            Some(row) => row,
            None => {
                json!({"keyword": keyword, "volume": null, "note": "Semrush has no figures of this term"})
            }
        };
        output["country"] = json!(country);
        output["related"] = json!(related);
        Ok(output)
    }

    async fn semrush_domain(&self, input: DomainInput) -> Result<Value> {
        let domain = domain_of(&input.domain)?;
        let country = letters(input.country.as_deref(), "us")?;
        let rows = self
            .semrush(
                "domain_organic",
                ("domain", &domain),
                &country,
                "Ph,Po,Nq,Cp,Ur",
            )
            .await?;
        Ok(json!({"domain": domain, "country": country, "keywords": rows}))
    }

    /// Returns the result of a live task.
    async fn dataforseo(&self, path: &str, mut task: Value, input: &LocatedInput) -> Result<Value> {
        task["location_code"] = json!(input.location_code.unwrap_or(UNITED_STATES));
        task["language_code"] = json!(letters(input.language_code.as_deref(), "en")?);
        let mut ask = Ask::new(format!("https://api.dataforseo.com/v3/{path}"));
        ask.body = Some(json!([task]));
        let mut answer = self.json(&ask).await?;
        let done = answer.pointer_mut("/tasks/0").map(Value::take);
        let done = done.unwrap_or_default();
        if done["status_code"].as_u64() != Some(TASK_DONE) {
            let said = done["status_message"]
                .as_str()
                .or(answer["status_message"].as_str());
            let said = said.unwrap_or("the task was not done");
            return Err(Error::unprocessable(
                "service_refused",
                format!("DataForSEO: {said}"),
            ));
        }
        Ok(done["result"].clone())
    }

    async fn dataforseo_volume(&self, input: LocatedInput) -> Result<Value> {
        let keywords = all_checked(&input.keywords)?;
        let result = self
            .dataforseo(
                "keywords_data/google_ads/search_volume/live",
                json!({"keywords": keywords}),
                &input,
            )
            .await?;
        let fields = [
            ("keyword", "/keyword"),
            ("volume", "/search_volume"),
            ("cpc", "/cpc"),
            ("competition", "/competition"),
        ];
        Ok(json!({"keywords": rows(&result, &fields)}))
    }

    async fn dataforseo_results(&self, input: LocatedInput) -> Result<Value> {
        let keyword = checked(input.keyword.as_deref().unwrap_or_default(), "keyword")?;
        let task = json!({"keyword": keyword, "depth": 20});
        let result = self
            .dataforseo("serp/google/organic/live/regular", task, &input)
            .await?;
        let fields = [
            ("position", "/rank_absolute"),
            ("type", "/type"),
            ("title", "/title"),
            ("url", "/url"),
            ("description", "/description"),
        ];
        Ok(json!({"keyword": keyword, "results": rows(&result[0]["items"], &fields)}))
    }

    async fn ahrefs_keywords(&self, input: KeywordsInput) -> Result<Value> {
        let keywords = all_checked(&input.keywords)?;
        let country = letters(input.country.as_deref(), "us")?;
        let mut ask = Ask::new("https://api.ahrefs.com/v3/keywords-explorer/overview");
        ask.query = vec![
            ("country", country.clone()),
            ("keywords", keywords.join(",")),
            ("select", "keyword,volume,difficulty,cpc".to_owned()),
        ];
        let answer = self.json(&ask).await?;
        let fields = [
            ("keyword", "/keyword"),
            ("volume", "/volume"),
            ("difficulty", "/difficulty"),
            ("cpc_cents", "/cpc"),
        ];
        Ok(json!({"country": country, "keywords": rows(&answer["keywords"], &fields)}))
    }

    async fn ahrefs_domains(&self, input: DomainInput) -> Result<Value> {
        let domain = domain_of(&input.domain)?;
        let mut ask = Ask::new("https://api.ahrefs.com/v3/site-explorer/refdomains");
        ask.query = vec![
            ("target", domain.clone()),
            ("mode", "subdomains".to_owned()),
            (
                "select",
                "domain,domain_rating,links_to_target,first_seen".to_owned(),
            ),
            ("order_by", "domain_rating:desc".to_owned()),
            ("limit", ROWS.to_string()),
        ];
        let answer = self.json(&ask).await?;
        let fields = [
            ("domain", "/domain"),
            ("rating", "/domain_rating"),
            ("links", "/links_to_target"),
            ("first_seen", "/first_seen"),
        ];
        Ok(json!({"domain": domain, "referring_domains": rows(&answer["refdomains"], &fields)}))
    }

    async fn google_ads(&self, input: DaysInput) -> Result<Value> {
        let period = self.period(&input)?;
        let answer = self
            .json(&ad_platforms::google(self.record, &period, false, ROWS)?)
            .await?;
        let fields = [
            ("campaign", "/campaign/name"),
            ("status", "/campaign/status"),
            ("cost_micros", "/metrics/costMicros"),
            ("impressions", "/metrics/impressions"),
            ("clicks", "/metrics/clicks"),
            ("conversions", "/metrics/conversions"),
        ];
        let campaigns = rows(&answer["results"], &fields);
        Ok(json!({"from": period.start, "to": period.end, "campaigns": campaigns}))
    }

    async fn meta_ads(&self, input: DaysInput) -> Result<Value> {
        let period = self.period(&input)?;
        let answer = self
            .json(&ad_platforms::meta(self.record, &period, ROWS)?)
            .await?;
        let fields = [
            ("campaign", "/campaign_name"),
            ("spend", "/spend"),
            ("currency", "/account_currency"),
            ("impressions", "/impressions"),
            ("clicks", "/clicks"),
            ("reach", "/reach"),
        ];
        let campaigns = rows(&answer["data"], &fields);
        Ok(json!({"from": period.start, "to": period.end, "campaigns": campaigns}))
    }

    async fn sendgrid(&self, input: DaysInput) -> Result<Value> {
        let Period { start, end } = self.period(&input)?;
        let mut ask = Ask::new("https://api.sendgrid.com/v3/stats");
        ask.query = vec![
            ("start_date", start.clone()),
            ("end_date", end.clone()),
            ("aggregated_by", "day".to_owned()),
        ];
        let answer = self.json(&ask).await?;
        let metrics = |name: &str| {
            let days = answer.as_array().into_iter().flatten();
            let of_day = |day: &Value| {
                let stats = day["stats"].as_array().into_iter().flatten();
                stats
                    .filter_map(|s| s["metrics"][name].as_i64())
                    .sum::<i64>()
            };
            days.map(of_day).sum::<i64>()
        };
        let mut output = json!({"from": start, "to": end});
        for name in [
            "requests",
            "delivered",
            "unique_opens",
            "unique_clicks",
            "bounces",
            "spam_reports",
            "unsubscribes",
        ] {
            output[name] = json!(metrics(name));
        }
        Ok(output)
    }
}

/// Returns some fields of rows, by JSON pointers; absent ones are left out.
fn rows(list: &Value, fields: &[(&str, &str)]) -> Vec<Value> {
    let row = |value: &Value| {
        let found = fields.iter().filter_map(|(name, pointer)| {
            let value = value.pointer(pointer).filter(|v| !v.is_null())?;
            Some(((*name).to_owned(), value.clone()))
        });
        Value::Object(found.collect())
    };
    list.as_array()
        .into_iter()
        .flatten()
        .take(ROWS)
        .map(row)
        .collect()
}

/// Reads a report of Semrush: values between semicolons below a line of names. Numbers become numbers.
fn semrush_rows(answer: &[u8]) -> Result<Vec<Value>> {
    if answer.starts_with(b"ERROR") {
        return Ok(Vec::new());
    }
    let unreadable = |e: csv::Error| {
        Error::unprocessable("service_refused", format!("the report cannot be read: {e}"))
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b';')
        .from_reader(answer);
    let names: Vec<String> = reader
        .headers()
        .map_err(unreadable)?
        .iter()
        .map(|name| match name {
            "Search Volume" => "volume".to_owned(),
            other => other.to_lowercase().replace(' ', "_"),
        })
        .collect();
    let mut rows = Vec::new();
    for record in reader.records().take(ROWS) {
        let record = record.map_err(unreadable)?;
        let values = names
            .iter()
            .cloned()
            .zip(record.iter())
            .map(|(name, value)| {
                let number = serde_json::from_str::<serde_json::Number>(value);
                (name, number.map_or_else(|_| json!(value), Value::Number))
            });
        rows.push(Value::Object(values.collect()));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_offered_when_they_are_chosen_and_connected() {
        let names = ["semrush_keyword_research", "ahrefs_keywords", "save_output"];
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let offered = definitions(&names, &["semrush".to_owned(), "sendgrid".to_owned()]);
        let offered: Vec<&str> = offered.iter().map(|t| t.name).collect();
        assert_eq!(offered, ["semrush_keyword_research"]);
    }

    #[test]
    fn reports_of_semrush_are_read() {
        let report = b"Keyword;Search Volume;CPC;Competition\r\ntide tables;8100;0.52;0.04\r\n";
        let rows = semrush_rows(report).expect("rows");
        assert_eq!(
            rows,
            [json!({"keyword": "tide tables", "volume": 8100, "cpc": 0.52, "competition": 0.04})]
        );
        let none = semrush_rows(b"ERROR 50 :: NOTHING FOUND").expect("rows");
        assert!(none.is_empty());
    }

    #[test]
    fn fields_of_rows_are_chosen() {
        let list = json!([{"campaign": {"name": "Spring"}, "metrics": {"clicks": "7", "secret": 1}}, {"campaign": {}}]);
        let fields = [
            ("campaign", "/campaign/name"),
            ("clicks", "/metrics/clicks"),
        ];
        assert_eq!(
            rows(&list, &fields),
            [json!({"campaign": "Spring", "clicks": "7"}), json!({})]
        );
    }

    #[test]
    fn domains_are_read_from_addresses() {
        assert_eq!(
            domain_of("https://Example.com/a/b").expect("a domain"),
            "example.com"
        );
        assert!(domain_of("localhost").is_err());
        assert!(letters(Some("usa"), "us").is_err());
    }
}
