//! Facts for agents: the audit of a website, the figures of performance, searches without a good result; and each of them as a report.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use reqwest::Url;
use scraper::{Html, Selector};
use serde_json::{Value, json};

use super::Assignment;
use crate::app::App;
use crate::db::args;
use crate::error::{Error, Result};
use crate::outreach::enrichment::website;

/// Pages of an audit, and links that are checked.
const PAGES: usize = 20;
const LINKS: usize = 40;
/// Time for an audit.
const AUDIT: Duration = Duration::from_secs(120);
/// Searches that are read, and those that are shown.
const SEARCHES: i64 = 5000;
const GAPS: usize = 50;

fn selector(css: &str) -> Option<Selector> {
    Selector::parse(css).ok()
}

/// Returns the facts of a page, and its links.
fn page_facts(url: &Url, html: &str) -> (Value, Vec<Url>) {
    let page = Html::parse_document(html);
    let texts = |css: &str| -> Vec<String> {
        let Some(selector) = selector(css) else {
            return Vec::new();
        };
        let text = |e: scraper::ElementRef<'_>| e.text().collect::<String>().trim().to_owned();
        page.select(&selector).map(text).collect()
    };
    let attribute = |css: &str, name: &str| -> Vec<String> {
        let Some(selector) = selector(css) else {
            return Vec::new();
        };
        let value = |e: scraper::ElementRef<'_>| e.value().attr(name).map(str::to_owned);
        page.select(&selector).filter_map(value).collect()
    };
    let title = texts("title").into_iter().next().unwrap_or_default();
    let description = attribute("meta[name='description']", "content");
    let description = description.into_iter().next().unwrap_or_default();
    let headings = texts("h1");
    let words: usize = texts("body")
        .iter()
        .map(|b| b.split_whitespace().count())
        .sum();
    let images = selector("img").map_or(0, |s| {
        let lacks = |e: &scraper::ElementRef<'_>| e.value().attr("alt").is_none();
        page.select(&s).filter(lacks).count()
    });
    let mut problems: Vec<&str> = Vec::new();
    match title.chars().count() {
        0 => problems.push("no title"),
        1..=9 => problems.push("very short title"),
        61.. => problems.push("title longer than 60 characters"),
        _ => {}
    }
    match description.chars().count() {
        0 => problems.push("no description"),
        161.. => problems.push("description longer than 160 characters"),
        _ => {}
    }
    match headings.len() {
        0 => problems.push("no h1"),
        1 => {}
        _ => problems.push("several h1"),
    }
    if words < 100 {
        problems.push("fewer than 100 words");
    }
    if images > 0 {
        problems.push("images without alternative text");
    }
    if attribute("html", "lang").is_empty() {
        problems.push("no language");
    }
    let facts = json!({"url": url.as_str(), "title": title, "description": description, "h1": headings, "words": words, "imagesWithoutAlt": images, "problems": problems});
    let links = attribute("a[href]", "href");
    let links = links.iter().filter_map(|link| {
        let mut link = url.join(link).ok()?;
        link.set_fragment(None);
        matches!(link.scheme(), "http" | "https").then_some(link)
    });
    (facts, links.collect())
}

/// Reads pages of a website within the rules of its robots.txt, and reports the facts of each.
///
/// # Errors
/// `website_unreadable`, `address_refused` and others of the guarded client.
pub(super) async fn audit(app: &App, address: &str) -> Result<Value> {
    let invalid = || Error::invalid("url_invalid", format!("{address:?} is not a web address"));
    let start = Url::parse(address.trim()).map_err(|_| invalid())?;
    if !matches!(start.scheme(), "http" | "https") {
        return Err(invalid());
    }
    let rules = website::robots(app, &start).await;
    if rules.forbids(start.path()).is_some() {
        return Err(Error::unprocessable(
            "website_unreadable",
            format!("{start}: robots.txt forbids it"),
        ));
    }
    let deadline = tokio::time::Instant::now() + AUDIT;
    let mut queue = VecDeque::from([start.clone()]);
    let mut seen = BTreeSet::from([start.clone()]);
    let (mut pages, mut broken, mut checked) = (Vec::new(), Vec::new(), 0);
    while let Some(url) = queue.pop_front() {
        let is_first = url == start;
        if tokio::time::Instant::now() > deadline {
            break;
        }
        if pages.len() >= PAGES {
            if checked >= LINKS {
                break;
            }
            checked += 1;
        }
        match website::fetch(app, &url).await {
            Ok((at, html)) if pages.len() < PAGES => {
                let (facts, links) = page_facts(&at, &html);
                pages.push(facts);
                for link in links {
                    let is_own = link.host_str() == start.host_str()
                        && link.port_or_known_default() == start.port_or_known_default();
                    if is_own && rules.forbids(link.path()).is_none() && seen.insert(link.clone()) {
                        queue.push_back(link);
                    }
                }
            }
            Ok(_) => {}
            Err(error) if is_first => return Err(error),
            Err(error) => {
                broken.push(json!({"url": url.as_str(), "error": error.public_message()}))
            }
        }
    }
    let with_problems = pages
        .iter()
        .filter(|p| p["problems"].as_array().is_some_and(|all| !all.is_empty()))
        .count();
    Ok(
        json!({"url": start.as_str(), "pages": pages, "pagesWithProblems": with_problems, "broken": broken, "unread": queue.len()}),
    )
}

fn word<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn entries(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Writes an audit as Markdown.
pub(super) fn audited(facts: &Value) -> String {
    let pages = entries(&facts["pages"]);
    let mut text = format!(
        "# Website audit: {}\n\n{} pages read, {} with problems, {} broken links.\n\n| Page | Title | Words | Problems |\n|---|---|---|---|\n",
        word(facts, "url"),
        pages.len(),
        facts["pagesWithProblems"],
        entries(&facts["broken"]).len()
    );
    for page in pages {
        let problems: Vec<&str> = entries(&page["problems"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        text.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            word(page, "url"),
            word(page, "title").replace(['|', '\n'], " "),
            page["words"],
            if problems.is_empty() {
                "none".to_owned()
            } else {
                problems.join(", ")
            }
        ));
    }
    for link in entries(&facts["broken"]) {
        text.push_str(&format!(
            "\nBroken: {} ({})",
            word(link, "url"),
            word(link, "error")
        ));
    }
    text
}

/// Writes figures as Markdown.
pub(super) fn reported(figures: &Value) -> String {
    let day = |name: &str| word(figures, name).get(..10).unwrap_or_default().to_owned();
    let mut text = format!(
        "# Performance report\n\n{} to {} ({} days). Every figure is from the stored records.\n",
        day("from"),
        day("to"),
        figures["days"]
    );
    for (name, heading) in [
        ("activities", "Activities by status"),
        ("approvals", "Approvals by status"),
        ("newLeads", "New leads by status"),
        ("advertising", "Advertising, all time"),
        ("costByAgentUsd", "Cost of agents in US dollars"),
    ] {
        text.push_str(&format!("\n## {heading}\n\n"));
        match figures[name].as_object().filter(|o| !o.is_empty()) {
            Some(rows) => {
                text.push_str("| | |\n|---|---|\n");
                for (label, value) in rows {
                    text.push_str(&format!("| {label} | {value} |\n"));
                }
            }
            None => text.push_str("None.\n"),
        }
    }
    text.push_str(&format!("\nTotal cost: {} USD\n", figures["costUsd"]));
    text
}

/// Returns the searches without a good result, the most frequent first.
pub(super) async fn keyword_gaps(assignment: &Assignment<'_>) -> Result<Value> {
    let app = assignment.app;
    let rows: Vec<(String, i64)> = app
        .db
        .all(
            "SELECT text, hits FROM kb_query_history WHERE tenant_id = $1 AND (hits = 0 OR confident = FALSE) ORDER BY id DESC LIMIT $2",
            args![assignment.tenant(), SEARCHES],
        )
        .await?;
    let mut gaps: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (query, hits) in &rows {
        let entry = gaps.entry(query.trim().to_lowercase()).or_default();
        entry.0 += 1;
        entry.1 += usize::from(*hits == 0);
    }
    let mut gaps: Vec<(String, (usize, usize))> = gaps.into_iter().collect();
    gaps.sort_by(|a, b| b.1.0.cmp(&a.1.0).then(a.0.cmp(&b.0)));
    let shown: Vec<Value> = gaps
        .iter()
        .take(GAPS)
        .map(|(query, (count, empty))| json!({"query": query, "searches": count, "withoutHits": empty}))
        .collect();
    Ok(json!({"gaps": shown, "searchesRead": rows.len()}))
}

/// Writes gaps as Markdown.
pub(super) fn gaps_shown(gaps: &Value) -> String {
    let found = entries(&gaps["gaps"]);
    if found.is_empty() {
        return "# Keyword gaps\n\nEvery recorded search had a good result.".to_owned();
    }
    let mut text =
        "# Keyword gaps\n\n| Search | How often | Without any hit |\n|---|---|---|\n".to_owned();
    for gap in found {
        text.push_str(&format!(
            "| {} | {} | {} |\n",
            word(gap, "query").replace(['|', '\n'], " "),
            gap["searches"],
            gap["withoutHits"]
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_checked() {
        let url = Url::parse("https://example.com/a").expect("a URL");
        let html = "<html><head><title>Tea</title></head><body><h1>One</h1><h1>Two</h1><img src=x><a href='/b#c'>b</a><a href='mailto:x'>m</a></body></html>";
        let (facts, links) = page_facts(&url, html);
        let problems = facts["problems"].to_string();
        for problem in [
            "very short title",
            "no description",
            "several h1",
            "no language",
        ] {
            assert!(problems.contains(problem), "{problem}: {problems}");
        }
        let links: Vec<&str> = links.iter().map(Url::as_str).collect();
        assert_eq!(links, ["https://example.com/b"]);
    }
}
