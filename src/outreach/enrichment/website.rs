//! The company's own website: its front page, and the pages about the company and its people that this links to. Read through the guarded client, within the rules
//! of robots.txt; only stated facts are taken, from structured data (schema.org as JSON-LD, Open Graph) and from links.

use std::collections::HashSet;

use cairn_ingest::crawl::robots::Robots;
use reqwest::{Method, Url, header};
use scraper::{Html, Selector};
use serde_json::Value;

use super::known::member;
use super::{Findings, Subject};
use crate::app::App;
use crate::error::{Error, Result};
use crate::outgoing;
use crate::records::body::texts;

const PROVIDER: &str = "website";
/// Bytes of a page that are read.
const PAGE: usize = 1 << 20;
const REDIRECTS: usize = 5;
/// Pages that are read beside the front page.
const MORE: usize = 3;
/// Words in the addresses of pages about a company and its people.
const ABOUT: [&str; 10] = [
    "about",
    "team",
    "contact",
    "company",
    "people",
    "impressum",
    "imprint",
    "kontakt",
    "staff",
    "over",
];

fn unreadable(message: String) -> Error {
    Error::unprocessable("website_unreadable", message)
}

/// Fetches a page; redirects stay within the guard.
///
/// # Errors
/// `website_unreadable`; those of the guard.
pub(crate) async fn fetch(app: &App, address: &Url) -> Result<(Url, String)> {
    let mut url = address.clone();
    for _ in 0..=REDIRECTS {
        let response = app
            .outgoing
            .request(Method::GET, url.clone())?
            .header(header::ACCEPT, "text/html")
            .send()
            .await
            .map_err(|e| unreadable(format!("{url}: {}", outgoing::cause(&e).1)))?;
        let status = response.status();
        if status.is_redirection() {
            url = outgoing::redirection(&url, &response)
                .ok_or_else(|| unreadable(format!("{url}: a redirect without an address")))?;
            continue;
        }
        if !status.is_success() {
            return Err(unreadable(format!("{url}: status {}", status.as_u16())));
        }
        let body = outgoing::beginning(response, PAGE)
            .await
            .map_err(|e| unreadable(format!("{url}: {}", outgoing::cause(&e).1)))?;
        return Ok((url, String::from_utf8_lossy(&body).into_owned()));
    }
    Err(unreadable(format!("{address}: too many redirects")))
}

/// Reads robots.txt of a site; one that is not there allows everything.
pub(crate) async fn robots(app: &App, site: &Url) -> Robots {
    let token = app.config.crawl_token().to_owned();
    let address = site.join("/robots.txt");
    let text = match address {
        Ok(address) => fetch(app, &address).await.map(|(_, text)| text),
        Err(_) => Ok(String::new()),
    };
    Robots::parse(text.unwrap_or_default().as_bytes(), &token)
}

pub(super) async fn ask(app: &App, subject: &Subject, found: &mut Findings) -> Result<()> {
    let stated = subject.website.as_deref().or(found.get("website"));
    let address = match (stated, &subject.domain) {
        (Some(stated), _) if stated.contains("://") => Url::parse(stated).ok(),
        (Some(stated), _) => Url::parse(&format!("https://{stated}")).ok(),
        (None, Some(domain)) => Url::parse(&format!("https://{domain}/")).ok(),
        (None, None) => {
            return Err(unreadable(
                "the lead has neither a website nor the mail address of a company".to_owned(),
            ));
        }
    };
    let address =
        address.ok_or_else(|| unreadable("the address of the website is not valid".to_owned()))?;
    let rules = robots(app, &address).await;
    let allowed = |url: &Url| rules.forbids(url.path()).is_none();
    if !allowed(&address) {
        return Err(unreadable(format!("{address}: robots.txt forbids it")));
    }
    let (front, html) = fetch(app, &address).await?;
    let links = read(&html, &front, subject, found);
    found.add("website", front.as_str(), PROVIDER, front.as_str());
    let mut seen = HashSet::from([front.clone()]);
    for link in links {
        let is_own = link.host_str() == front.host_str();
        if seen.len() > MORE || !is_own || !allowed(&link) || !seen.insert(link.clone()) {
            continue;
        }
        // A page that is missing says nothing about the others.
        if let Ok((url, html)) = fetch(app, &link).await {
            read(&html, &url, subject, found);
        }
    }
    Ok(())
}

fn selector(css: &str) -> Option<Selector> {
    Selector::parse(css).ok()
}

fn meta<'a>(page: &'a Html, css: &str) -> Option<&'a str> {
    let content = page
        .select(&selector(css)?)
        .next()?
        .value()
        .attr("content")?;
    (!content.trim().is_empty()).then_some(content)
}

/// Takes the facts of a page, and returns its links to pages about the company.
fn read(html: &str, url: &Url, subject: &Subject, found: &mut Findings) -> Vec<Url> {
    let page = Html::parse_document(html);
    let source = url.as_str();
    let scripts = selector("script[type='application/ld+json']");
    for script in scripts.iter().flat_map(|s| page.select(s)) {
        let text: String = script.text().collect();
        if let Ok(data) = serde_json::from_str::<Value>(&text) {
            structured(&data, source, subject, found, 0);
        }
    }
    if let Some(name) = meta(&page, "meta[property='og:site_name']") {
        found.add("companyName", name, PROVIDER, source);
    }
    for css in [
        "meta[property='og:description']",
        "meta[name='description']",
    ] {
        if let Some(text) = meta(&page, css) {
            found.add("companyDescription", text, PROVIDER, source);
        }
    }
    if let Some(title) = selector("title").and_then(|s| page.select(&s).next()) {
        let title: String = title.text().collect();
        found.add("websiteTitle", &title, PROVIDER, source);
    }
    let mut about = Vec::new();
    for link in selector("a[href]").iter().flat_map(|s| page.select(s)) {
        let Some(target) = link
            .value()
            .attr("href")
            .and_then(|href| url.join(href).ok())
        else {
            continue;
        };
        if target
            .host_str()
            .is_some_and(|h| h.ends_with("linkedin.com"))
        {
            let path = target.path();
            if path.starts_with("/company/") {
                found.add("companyLinkedinUrl", target.as_str(), PROVIDER, source);
            } else if path.starts_with("/in/") && names(&link.text().collect::<String>(), subject) {
                found.add("linkedinUrl", target.as_str(), PROVIDER, source);
            }
        }
        let path = target.path().to_lowercase();
        if ABOUT.iter().any(|word| path.contains(word)) {
            let mut target = target;
            target.set_fragment(None);
            target.set_query(None);
            about.push(target);
        }
    }
    about
}

/// Returns whether a text is the name of the lead.
fn names(text: &str, subject: &Subject) -> bool {
    let plain = |t: &str| {
        t.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .to_lowercase()
    };
    subject.name.contains(' ') && plain(text) == plain(&subject.name)
}

const DEEPEST: usize = 6;

/// Takes the facts of structured data: those of the organisation, and those of the person with the name or the address of the lead.
fn structured(data: &Value, source: &str, subject: &Subject, found: &mut Findings, depth: usize) {
    if depth > DEEPEST {
        return;
    }
    match data {
        Value::Array(list) => {
            for item in list {
                structured(item, source, subject, found, depth + 1);
            }
        }
        Value::Object(object) => {
            let types = texts(&data["@type"]);
            let is_person = types.contains(&"Person");
            // Businesses have many types of their own (Dentist, Restaurant); all of them have a name and an address or a telephone.
            let is_organisation = types.iter().any(|t| {
                t.contains("Organization") || t.contains("Business") || *t == "Corporation"
            }) || (!is_person
                && object.contains_key("telephone")
                && object.contains_key("address"));
            if is_person {
                person(data, source, subject, found);
            } else if is_organisation {
                organisation(data, source, found);
            }
            for (name, value) in object {
                if value.is_array() || value.is_object() {
                    // What a person works for is an organisation, and may be another one.
                    if !(is_person && name == "worksFor") {
                        structured(value, source, subject, found, depth + 1);
                    }
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn organisation(data: &Value, source: &str, found: &mut Findings) {
    for (field, name) in [
        ("companyName", "name"),
        ("companyDescription", "description"),
        ("companyPhone", "telephone"),
    ] {
        if let Some(value) = member(data, name) {
            found.add(field, value, PROVIDER, source);
        }
    }
    let employees = &data["numberOfEmployees"];
    let size = match employees {
        Value::Object(_) => match (&employees["minValue"], &employees["maxValue"]) {
            (Value::Number(least), Value::Number(most)) => Some(format!("{least}-{most}")),
            _ => employees["value"]
                .as_f64()
                .map(|n| n.to_string())
                .or(member(employees, "value").map(str::to_owned)),
        },
        Value::Number(n) => Some(n.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    };
    if let Some(size) = size {
        found.add("companySize", &size, PROVIDER, source);
    }
    if let Some(year) = member(data, "foundingDate") {
        found.add("companyFounded", year, PROVIDER, source);
    }
    let address = &data["address"];
    let place: Vec<&str> = ["addressLocality", "addressRegion", "addressCountry"]
        .iter()
        .filter_map(|name| member(address, name))
        .collect();
    if !place.is_empty() {
        found.add("companyLocation", &place.join(", "), PROVIDER, source);
    }
    let profiles = texts(&data["sameAs"]);
    for profile in profiles {
        if profile.contains("linkedin.com/company/") {
            found.add("companyLinkedinUrl", profile, PROVIDER, source);
        }
    }
}

fn person(data: &Value, source: &str, subject: &Subject, found: &mut Findings) {
    let by_mail = member(data, "email").is_some_and(|mail| {
        mail.trim_start_matches("mailto:")
            .eq_ignore_ascii_case(&subject.email)
    });
    if !by_mail && !member(data, "name").is_some_and(|name| names(name, subject)) {
        return;
    }
    if let Some(title) = member(data, "jobTitle") {
        found.add("title", title, PROVIDER, source);
    }
    let profiles = texts(&data["sameAs"]);
    for profile in profiles {
        if profile.contains("linkedin.com/in/") {
            found.add("linkedinUrl", profile, PROVIDER, source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            id: "x".to_owned(),
            name: "Ada Holm".to_owned(),
            email: "ada@berg.test".to_owned(),
            domain: Some("berg.test".to_owned()),
            company: None,
            website: None,
        }
    }

    #[test]
    fn a_page_gives_what_it_states_and_nothing_else() {
        let html = r#"<title>Berg</title><meta property="og:site_name" content="Berg Dental">
            <script type="application/ld+json">{"@graph": [
              {"@type": "Dentist", "name": "Berg Dental ApS", "telephone": "1", "address": {"addressLocality": "Skagen"}, "numberOfEmployees": {"minValue": 11, "maxValue": 50}},
              {"@type": "Person", "name": "Ada  Holm", "jobTitle": "Chief Dentist"}, {"@type": "Person", "name": "Bo Dal", "jobTitle": "Nurse"}]}</script>
            <a href="/about">About</a> <a href="https://www.linkedin.com/in/bo">Bo Dal</a>"#;
        let mut found = Findings::default();
        let url = Url::parse("https://berg.test/").expect("an address");
        let links = read(html, &url, &subject(), &mut found);
        assert_eq!(
            [
                found.get("companyName"),
                found.get("companySize"),
                found.get("title"),
                found.get("companyLocation"),
                found.get("linkedinUrl")
            ],
            [
                Some("Berg Dental ApS"),
                Some("11-50"),
                Some("Chief Dentist"),
                Some("Skagen"),
                None
            ]
        );
        assert_eq!(links.len(), 1);
    }
}
