//! Crawls against a website of our own: what is taken, what is not and why, what a second crawl costs, hostile sites.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::site::{Page, Site, answer, page, page_with, paragraph, raw};
use crate::support::{Service, pdf, text};
use crate::{eventually, on_both};

const DASHBOARD: &str = "/dashboard/v1/knowledge-base/datasets";

/// A service that may reach this machine, and is in no hurry to give up on pages but for tests.
async fn service() -> Service {
    Service::start_with(crate::support::Engine::Sqlite, open).await
}

fn open(config: &mut cairn::config::Config) {
    config.outgoing_allow = "127.0.0.0/8".to_owned();
    config.crawl_seconds = 2;
    config.crawl_page_mb = 1;
    config.parse_seconds = 8;
}

/// Settings of a crawl that does not dawdle.
fn settings(start: &str, more: Value) -> Value {
    let mut all = json!({"startUrl": start, "requestsPerSecond": 500});
    for (name, value) in more.as_object().expect("an object") {
        all[name] = value.clone();
    }
    all
}

async fn over(service: &Service, dataset: &str, id: &str) -> Value {
    let path = format!("/kb/v1/datasets/{dataset}/crawls/{id}");
    eventually!(within 90, crawl in service.get(&path).await, "the crawl ends", !["queued", "running"].contains(&text(&crawl["status"]).as_str()))
}

/// Crawls with settings to the end; gives the crawl and what became of every address, by path.
async fn crawl(
    service: &Service,
    dataset: &str,
    settings: Value,
) -> (Value, BTreeMap<String, Value>) {
    let (status, site) = service
        .call(
            Method::PUT,
            &format!("/kb/v1/datasets/{dataset}/sites"),
            Some(settings),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{site}");
    let started = service
        .post(
            &format!(
                "/kb/v1/datasets/{dataset}/sites/{}/crawls",
                text(&site["id"])
            ),
            json!({}),
        )
        .await;
    let crawl = over(service, dataset, &text(&started["id"])).await;
    let report = format!(
        "/kb/v1/datasets/{dataset}/crawls/{}/pages?limit=500",
        text(&crawl["id"])
    );
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut part = service.get(&format!("{report}&cursor={cursor}")).await;
        pages.append(part["data"].as_array_mut().expect("pages"));
        match part["pagination"]["nextCursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    let own = text(&crawl["startUrl"])
        .parse::<reqwest::Url>()
        .expect("an address")
        .origin();
    let by_path = pages.iter().map(|p| {
        let url: reqwest::Url = text(&p["url"]).parse().expect("an address");
        let path = if url.origin() == own {
            url[url::Position::BeforePath..].to_owned()
        } else {
            url.to_string()
        };
        (path, p.clone())
    });
    (crawl, by_path.collect())
}

/// Verdict and code of an address.
fn verdict(pages: &BTreeMap<String, Value>, path: &str) -> String {
    let page = pages
        .get(path)
        .unwrap_or_else(|| panic!("{path} is not among {:?}", pages.keys()));
    let word = |name: &str| page[name].as_str().unwrap_or("-").to_owned();
    format!("{} {}", word("verdict"), word("code"))
}

fn small_site() -> Vec<(&'static str, Page)> {
    vec![
        (
            "/",
            page(
                "the heron colony",
                &["/reeds", "/docs/otters", "/docs/otters/"],
            ),
        ),
        ("/reeds", page("reed warblers", &["/", "/docs/otters"])),
        (
            "/docs/otters",
            page_with(
                "river otters",
                &["/reeds"],
                "<link rel=canonical href=\"/docs/otters\"><meta property='article:published_time' content='2026-02-03'>",
            ),
        ),
        (
            "/docs/otters/",
            answer(301, &[("location", "/docs/otters")]),
        ),
    ]
}

on_both! {
    async fn the_dashboard_crawls_a_site(service: Service) {
        // The service of this macro reaches the public internet only.
        let dataset = service.dataset("web").await;
        let base = format!("{DASHBOARD}/{dataset}/crawl");
        let config = service.get(&base).await;
        assert_eq!(config, json!({"datasetId": dataset, "startUrl": null, "maxPages": 200, "maxDepth": 3, "urlPathFilter": null, "schedule": null, "lastCrawl": null}));
        for (body, reason) in [
            (json!({"startUrl": "http://127.0.0.1:9/"}), "address_refused"),
            (json!({"startUrl": "http://[::ffff:10.0.0.1]/"}), "address_refused"),
            (json!({"startUrl": "ftp://example.com"}), "start_url_invalid"),
            (json!({"startUrl": "https://example.com", "maxPages": 0}), "crawl_settings_invalid"),
            (json!({"startUrl": "https://example.com", "scheduleFor": "tomorrow"}), "time_invalid"),
        ] {
            let (status, answer) = service.call(Method::POST, &base, Some(body)).await;
            assert!(status.is_client_error() && answer["error"]["reason"] == reason, "{answer}");
        }
        // One that waits for its time can be seen and cancelled.
        let body = json!({"startUrl": "https://example.com/docs", "maxPages": 50, "maxDepth": 2, "urlPathFilter": "/docs", "scheduleFor": "2999-01-01T00:00:00Z"});
        let (status, queued) = service.call(Method::POST, &base, Some(body.clone())).await;
        assert_eq!((status, &queued["status"]), (StatusCode::ACCEPTED, &json!("queued")), "{queued}");
        let (status, second) = service.call(Method::POST, &base, Some(body)).await;
        assert_eq!((status, &second["error"]["reason"]), (StatusCode::CONFLICT, &json!("crawl_running")), "{second}");
        let id = text(&queued["crawlJobId"]);
        let config = service.get(&base).await;
        assert_eq!((&config["startUrl"], &config["maxPages"], &config["schedule"]), (&json!("https://example.com/docs"), &json!(50), &json!("manual")));
        assert_eq!(config["lastCrawl"], json!({"id": id, "status": "queued", "pagesCrawled": 0, "pagesIndexed": 0, "completedAt": null}));
        service.post(&format!("/kb/v1/datasets/{dataset}/crawls/{id}/cancel"), json!({})).await;
        assert_eq!(over(&service, &dataset, &id).await["status"], "cancelled");
        let status = service.get(&format!("{base}/{id}/status")).await;
        assert_eq!((&status["status"], &status["errorMessage"]), (&json!("failed"), &json!("the crawl was cancelled")), "{status}");
        // Schedules are kept with their site.
        let sites = service.get(&format!("/kb/v1/datasets/{dataset}/sites")).await;
        let site = format!("/kb/v1/datasets/{dataset}/sites/{}", text(&sites["data"][0]["id"]));
        let put = async |body: Value| service.call(Method::PUT, &format!("{site}/schedule"), Some(body)).await;
        assert_eq!(put(json!({"schedule": "weekly"})).await.1["schedule"], "weekly");
        assert_eq!(service.get(&base).await["schedule"], "weekly");
        assert_eq!(put(json!({"schedule": "cron", "cron": "5 4 * * *"})).await.1["cron"], "5 4 * * *");
        assert_eq!(service.get(&base).await["schedule"], Value::Null);
        assert_eq!(put(json!({"schedule": "cron", "cron": "words"})).await.1["error"]["reason"], "cron_invalid");
        assert_eq!(put(json!({"schedule": "hourly"})).await.1["error"]["reason"], "schedule_invalid");
        let (_, cleared) = service.call(Method::DELETE, &format!("{site}/schedule"), None).await;
        assert_eq!((&cleared["schedule"], &cleared["cron"]), (&json!("manual"), &Value::Null));
        let (status, _) = service.call(Method::DELETE, &format!("{site}?documents=true"), None).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(service.get(&format!("/kb/v1/datasets/{dataset}/crawls")).await["data"], json!([]));
    }
}

async fn a_site_becomes_searchable(engine: crate::support::Engine) {
    let service = Service::start_with(engine, open).await;
    let site = Site::start(small_site()).await;
    let dataset = service.dataset("web").await;
    let base = format!("{DASHBOARD}/{dataset}/crawl");
    let (status, queued) = service
        .call(Method::POST, &base, Some(json!({"startUrl": site.url})))
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{queued}");
    let id = text(&queued["crawlJobId"]);
    over(&service, &dataset, &id).await;
    let status = service.get(&format!("{base}/{id}/status")).await;
    assert_eq!(
        (
            &status["status"],
            &status["pagesCrawled"],
            &status["pagesIndexed"],
            &status["pagesFailed"]
        ),
        (&json!("completed"), &json!(3), &json!(3), &json!(0)),
        "{status}"
    );
    assert!(status["errorMessage"].is_null() && status["completedAt"].is_string());
    let hits = service
        .search(json!({"query": "where do otters live", "datasetIds": [dataset], "topK": 1}))
        .await;
    let metadata = &hits[0]["metadata"];
    assert_eq!(
        metadata["url"],
        json!(format!("{}/docs/otters", site.url)),
        "{}",
        hits[0]
    );
    assert_eq!(metadata["publishedAt"], "2026-02-03");
    let files = service.get(&format!("{DASHBOARD}/{dataset}")).await;
    let file = files["files"]
        .as_array()
        .expect("files")
        .iter()
        .find(|f| text(&f["fileName"]).ends_with("/docs/otters.html"))
        .expect("named by its address");
    assert_eq!(file["source"], "website_crawl");
    // The dataset goes with its sites.
    let (status, _) = service
        .call(Method::DELETE, &format!("/kb/v1/datasets/{dataset}"), None)
        .await;
    assert!(status.is_success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_becomes_searchable_on_sqlite() {
    a_site_becomes_searchable(crate::support::Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_becomes_searchable_on_postgres() {
    a_site_becomes_searchable(crate::support::Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_has_its_verdict() {
    let service = service().await;
    let other = Site::start(vec![("/", page("another host", &[]))]).await;
    let links = [
        "/private/a",
        "/noindex",
        "/tagged",
        "/nofollowed-page",
        "/deep/1",
        "/copy",
        "/canonical",
        "/moved",
        "/temporary",
        "/refresh",
        "/loop/a",
        "/self",
        "/paper.pdf",
        "/picture",
        "/gone",
        "/missing",
        "/broken",
        "/slow",
        "/empty",
        "/cal/2931/05/",
        "https://elsewhere.test/",
        "mailto:a@b.test",
        "/wrong?utm_source=x",
        "/notes.txt",
        "/Case",
        "/case",
        "/away",
    ];
    let mut pages = vec![
        (
            "/robots.txt",
            raw(
                200,
                &[("content-type", "text/plain")],
                "User-agent: *\nDisallow: /private/\n",
            ),
        ),
        ("/", page("the start", &links)),
        ("/private/a", page("secrets", &[])),
        (
            "/noindex",
            page_with(
                "the unlisted",
                &["/from-noindex"],
                "<meta name=robots content=noindex>",
            ),
        ),
        ("/from-noindex", page("what the unlisted links to", &[])),
        (
            "/tagged",
            raw(
                200,
                &[("content-type", "text/html"), ("x-robots-tag", "noindex")],
                paragraph("tags"),
            ),
        ),
        (
            "/nofollowed-page",
            page_with(
                "no endorsement",
                &["/unendorsed"],
                "<meta name=cairnbot content=nofollow>",
            ),
        ),
        ("/deep/1", page("depth one", &["/deep/2"])),
        ("/deep/2", page("depth two", &["/deep/3"])),
        ("/copy", page("the start of it all", &[])),
        (
            "/canonical",
            page_with(
                "a page by another name",
                &[],
                "<link rel=canonical href='/copy'>",
            ),
        ),
        ("/moved", answer(301, &[("location", "/target")])),
        ("/target", page("the target", &[])),
        ("/temporary", answer(302, &[("location", "/target")])),
        (
            "/refresh",
            raw(
                200,
                &[("content-type", "text/html")],
                "<meta http-equiv=refresh content='0; url=/target'>",
            ),
        ),
        ("/loop/a", answer(302, &[("location", "/loop/b")])),
        ("/loop/b", answer(302, &[("location", "/loop/a")])),
        ("/self", answer(302, &[("location", "/self")])),
        (
            "/paper.pdf",
            raw(
                200,
                &[("content-type", "application/pdf")],
                pdf(&["A paper about sturgeons"]),
            ),
        ),
        (
            "/picture",
            raw(200, &[("content-type", "image/png")], "png"),
        ),
        ("/gone", answer(410, &[])),
        ("/broken", answer(500, &[])),
        (
            "/slow",
            Page::Slow(Duration::from_secs(5), Box::new(page("slowness", &[]))),
        ),
        (
            "/empty",
            raw(
                200,
                &[("content-type", "text/html")],
                "<html><body><script>render()</script></body></html>",
            ),
        ),
        (
            "/wrong",
            raw(
                200,
                &[
                    ("content-type", "text/html"),
                    ("link", "</target>; rel=\"canonical\""),
                ],
                paragraph("something else"),
            ),
        ),
        (
            "/notes.txt",
            raw(
                200,
                &[("content-type", "text/plain")],
                "Notes about the weir and its fish ladder.",
            ),
        ),
        ("/Case", page("the capital letter", &[])),
        ("/case", page("the small letter", &[])),
        ("/away", answer(301, &[("location", &other.url)])),
    ];
    let twin = page("the twins", &[]);
    pages.push(("/twin/1", twin.clone()));
    pages.push(("/twin/2", twin));
    let site = Site::start(pages).await;
    site.set(
        "/deep/1",
        page("depth one", &["/deep/2", "/twin/1", "/twin/2"]),
    );
    let dataset = service.dataset("web").await;
    let (crawl, seen) = crawl(
        &service,
        &dataset,
        settings(&site.url, json!({"maxDepth": 2})),
    )
    .await;
    for (path, expected) in [
        ("/", "new -"),
        ("/private/a", "skipped robots"),
        ("/noindex", "skipped noindex"),
        ("/from-noindex", "new -"),
        ("/tagged", "skipped noindex"),
        ("/nofollowed-page", "new -"),
        ("/unendorsed", "skipped nofollow"),
        ("/deep/2", "new -"),
        ("/deep/3", "skipped too_deep"),
        ("/copy", "new -"),
        ("/canonical", "skipped duplicate"),
        ("/moved", "skipped moved"),
        ("/target", "new -"),
        ("/temporary", "skipped redirected"),
        ("/refresh", "skipped moved"),
        ("/loop/a", "skipped redirected"),
        ("/loop/b", "skipped redirected"),
        ("/self", "failed redirect_loop"),
        ("/paper.pdf", "skipped type"),
        ("/picture", "skipped type"),
        ("/gone", "failed gone"),
        ("/missing", "failed gone"),
        ("/broken", "failed status"),
        ("/slow", "failed timeout"),
        ("/empty", "failed no_text"),
        ("/cal/2931/05/", "skipped trap"),
        ("https://elsewhere.test/", "skipped out_of_scope"),
        ("/wrong", "skipped duplicate"),
        ("/notes.txt", "new -"),
        ("/Case", "new -"),
        ("/case", "new -"),
        ("/away", "skipped moved"),
    ] {
        assert_eq!(verdict(&seen, path), expected, "{path}: {}", seen[path]);
    }
    let twins = [verdict(&seen, "/twin/1"), verdict(&seen, "/twin/2")];
    assert!(
        twins.contains(&"new -".to_owned()) && twins.contains(&"skipped duplicate".to_owned()),
        "{twins:?}"
    );
    assert_eq!(
        seen["/private/a"]["reason"],
        "blocked by robots.txt: Disallow: /private/ (line 2)"
    );
    assert_eq!(
        seen["/canonical"]["otherUrl"],
        json!(format!("{}/copy", site.url))
    );
    assert!(
        text(&seen["/away"]["reason"]).contains("not part of the crawl"),
        "{}",
        seen["/away"]
    );
    assert!(
        seen.values()
            .all(|p| p["state"] == "done" && (p["reason"].is_string() || p["verdict"] == "new")),
        "{seen:?}"
    );
    let count = |wanted: &str| seen.values().filter(|p| p["verdict"] == wanted).count();
    assert_eq!(crawl["pagesIndexed"], json!(count("new")));
    assert_eq!(
        (&crawl["pagesSkipped"], &crawl["pagesFailed"]),
        (&json!(count("skipped")), &json!(count("failed")))
    );
    assert!(other.asked().is_empty(), "other hosts are left alone");
    assert!(
        !site.asked().contains(&"/private/a".to_owned()),
        "robots.txt was obeyed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crawling_again_costs_almost_nothing() {
    let service = service().await;
    let site = Site::start(small_site()).await;
    site.set(
        "/reeds",
        page("reed warblers", &["/", "/docs/otters", "/print/reeds"]),
    );
    site.set(
        "/print/reeds",
        page_with("reed warblers", &[], "<link rel=canonical href='/reeds'>"),
    );
    let dataset = service.dataset("web").await;
    let wanted = settings(&site.url, json!({}));
    let (first, _) = crawl(&service, &dataset, wanted.clone()).await;
    assert_eq!(first["pagesNew"], 3);
    let embedded = service.app.embedding_rate();
    let all = site.sent();
    let (second, seen) = crawl(&service, &dataset, wanted.clone()).await;
    assert_eq!(
        (
            &second["pagesUnchanged"],
            &second["pagesNew"],
            &second["pagesChanged"]
        ),
        (&json!(3), &json!(0), &json!(0)),
        "{second}"
    );
    assert_eq!(verdict(&seen, "/reeds"), "unchanged not_modified");
    assert_eq!(verdict(&seen, "/print/reeds"), "skipped duplicate");
    let again = site.sent();
    assert!(again * 10 < all, "{again} of {all} bytes");
    // What is no content may change as it likes.
    site.make_noise();
    let (third, seen) = crawl(&service, &dataset, wanted.clone()).await;
    assert_eq!(
        (&third["pagesUnchanged"], &third["pagesChanged"]),
        (&json!(3), &json!(0)),
        "{third}"
    );
    assert_eq!(verdict(&seen, "/reeds"), "unchanged same_content");
    assert!(
        (service.app.embedding_rate() - embedded).abs() < f64::EPSILON,
        "nothing was embedded"
    );
    // A changed page, a new one, one that is gone, one that moved.
    let before = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents"))
        .await;
    let id_of = |list: &Value, end: &str| {
        let found = list["data"]
            .as_array()
            .expect("documents")
            .iter()
            .find(|d| d["fileName"].as_str().is_some_and(|n| n.ends_with(end)));
        found.map(|d| text(&d["id"]))
    };
    site.set(
        "/",
        page("the heron colony and its owls", &["/docs/otters", "/new"]),
    );
    site.set("/new", page("kingfishers", &[]));
    site.remove("/reeds");
    site.set(
        "/docs/otters",
        answer(308, &[("location", "/animals/otters")]),
    );
    site.set("/animals/otters", page_with("river otters", &[], ""));
    let (fourth, seen) = crawl(&service, &dataset, wanted).await;
    assert_eq!(
        (
            &fourth["pagesNew"],
            &fourth["pagesChanged"],
            &fourth["pagesRemoved"]
        ),
        (&json!(1), &json!(1), &json!(1)),
        "{fourth} {seen:#?}"
    );
    assert_eq!(verdict(&seen, "/reeds"), "failed gone");
    assert_eq!(verdict(&seen, "/animals/otters"), "unchanged same_content");
    let after = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents"))
        .await;
    assert_eq!(
        id_of(&before, "/docs/otters.html"),
        id_of(&after, "/animals/otters.html"),
        "a page that moved is the same document"
    );
    assert!(id_of(&before, "/reeds.html").is_some() && id_of(&after, "/reeds.html").is_none());
    for (query, expected) in [
        ("reed warblers", "/reeds"),
        ("kingfishers", "/new"),
        ("owls", "/"),
    ] {
        let hits = service
            .search(json!({"query": query, "datasetIds": [dataset], "hybridAlpha": 0.0}))
            .await;
        let found = hits
            .iter()
            .any(|h| h["metadata"]["url"] == json!(format!("{}{expected}", site.url)));
        assert_eq!(found, expected != "/reeds", "{query}: {hits:?}");
    }
}

/// A site with documentation, of which the sitemap names two pages, and a blog with three.
async fn documentation() -> Site {
    let site = Site::start(vec![(
        "/docs/",
        page("the documentation", &["/docs/deep/tides", "/"]),
    )])
    .await;
    let named = [
        "/docs/tides",
        "/docs/birds",
        "/blog/1",
        "/blog/2",
        "/blog/3",
    ];
    let entries: String = named
        .iter()
        .map(|path| format!("<url><loc>{}{path}</loc></url>", site.url))
        .collect();
    site.set(
        "/sitemap.xml",
        raw(200, &[], format!("<urlset>{entries}</urlset>")),
    );
    site
}

async fn scope(service: &Service, dataset: &str, settings: Value) -> (StatusCode, Value) {
    let path = format!("/kb/v1/datasets/{dataset}/sites/scope");
    service.call(Method::POST, &path, Some(settings)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scope_of_a_crawl_is_known_before_it_starts() {
    let (service, site) = (service().await, documentation().await);
    let dataset = service.dataset("web").await;
    let start = format!("{}/docs/", site.url);
    let narrow = json!({"startUrl": start, "urlPathFilter": "/docs/"});
    let (_, found) = scope(&service, &dataset, narrow).await;
    // The start, what it links to, and two of the sitemap.
    assert_eq!(
        (&found["inside"], &found["hasSitemap"]),
        (&json!(4), &json!(true)),
        "{found}"
    );
    let left_out = json!([{"folder": "/blog/", "addresses": 3}, {"folder": "/", "addresses": 1}]);
    assert_eq!(found["outside"], left_out);
    let wide = json!({"startUrl": start, "include": ["/docs/**", "/blog/**"]});
    let (_, found) = scope(&service, &dataset, wide).await;
    assert_eq!(found["inside"], 7, "{found}");
    let sites = service
        .get(&format!("/kb/v1/datasets/{dataset}/sites"))
        .await;
    assert_eq!(sites["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wider_scope_finds_what_unchanged_pages_link_to() {
    let service = service().await;
    let site = Site::start(vec![
        ("/docs/", page("the documentation", &["/docs/tides"])),
        ("/docs/tides", page("the tides", &["/blog/1"])),
        ("/blog/1", page("the news", &[])),
    ])
    .await;
    let dataset = service.dataset("web").await;
    let start = format!("{}/docs/", site.url);
    let narrow = settings(&start, json!({"urlPathFilter": "/docs/"}));
    let (first, _) = crawl(&service, &dataset, narrow.clone()).await;
    assert_eq!(first["pagesNew"], 2, "{first}");
    let (second, seen) = crawl(&service, &dataset, narrow).await;
    assert_eq!(second["pagesUnchanged"], 2, "{second}");
    assert_eq!(verdict(&seen, "/docs/tides"), "unchanged not_modified");
    let wide = settings(&start, json!({"include": ["/docs/**", "/blog/**"]}));
    let (third, _) = crawl(&service, &dataset, wide).await;
    assert_eq!(
        (&third["pagesNew"], &third["pagesUnchanged"]),
        (&json!(1), &json!(2)),
        "{third}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_be_read_has_no_scope() {
    let (service, site) = (service().await, documentation().await);
    let dataset = service.dataset("web").await;
    let gone = json!({"startUrl": format!("{}/gone", site.url)});
    let (status, answer) = scope(&service, &dataset, gone).await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!("start_unreachable")
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sitemaps_find_pages_and_save_requests() {
    let service = service().await;
    let site = Site::start(vec![
        ("/", page("the start", &[])),
        ("/island/1", page("the first island", &[])),
        ("/island/2", page("the second island", &[])),
    ])
    .await;
    let list = |times: [&str; 2]| {
        let entry = |n: usize| {
            format!(
                "<url><loc>https://www.islands.test/island/{n}</loc><lastmod>{}</lastmod></url>",
                times[n - 1]
            )
        };
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed
            .write_all(format!("<urlset>{}{}</urlset>", entry(1), entry(2)).as_bytes())
            .expect("packs");
        raw(
            200,
            &[("content-type", "application/gzip")],
            packed.finish().expect("packs"),
        )
    };
    site.set(
        "/robots.txt",
        raw(200, &[], "Sitemap: https://www.islands.test/index.xml\n"),
    );
    site.set("/index.xml", raw(200, &[], "<sitemapindex><sitemap><loc>https://www.islands.test/pages.xml.gz</loc></sitemap></sitemapindex>"));
    site.set("/pages.xml.gz", list(["2020-01-01", "2020-01-01"]));
    let dataset = service.dataset("web").await;
    let wanted = settings(&site.url, json!({"aliases": ["https://www.islands.test"]}));
    let (first, _) = crawl(&service, &dataset, wanted.clone()).await;
    assert_eq!(first["pagesNew"], 3, "{first}");
    site.asked();
    site.set("/pages.xml.gz", list(["2020-01-01", "2999-01-01"]));
    let (second, seen) = crawl(&service, &dataset, wanted).await;
    assert_eq!(second["pagesUnchanged"], 3);
    assert_eq!(verdict(&seen, "/island/1"), "unchanged sitemap");
    assert_eq!(verdict(&seen, "/island/2"), "unchanged not_modified");
    let asked = site.asked();
    assert!(
        !asked.contains(&"/island/1".to_owned()) && asked.contains(&"/island/2".to_owned()),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn borders_hold_and_files_are_taken_when_wanted() {
    let service = service().await;
    let links: Vec<String> = (0..30).map(|n| format!("/docs/{n}")).collect();
    let links: Vec<&str> = links
        .iter()
        .map(String::as_str)
        .chain(["/blog/a", "/docs/paper.pdf", "/docs/print/1"])
        .collect();
    let site = Site::start(vec![("/docs/", page("the manual", &links))]).await;
    for n in 0..30 {
        site.set(
            &format!("/docs/{n}"),
            page(&format!("chapter number {n}"), &[]),
        );
    }
    site.set(
        "/docs/paper.pdf",
        raw(
            200,
            &[("content-type", "application/pdf"), ("etag", "\"1\"")],
            pdf(&["A paper about sturgeons"]),
        ),
    );
    let dataset = service.dataset("web").await;
    let start = format!("{}/docs/", site.url);
    let (limited, seen) = crawl(
        &service,
        &dataset,
        settings(
            &start,
            json!({"maxPages": 10, "urlPathFilter": "/docs/", "exclude": ["/docs/print/**"]}),
        ),
    )
    .await;
    assert_eq!(limited["pagesIndexed"], 10, "{limited}");
    assert_eq!(verdict(&seen, "/blog/a"), "skipped out_of_scope");
    assert_eq!(verdict(&seen, "/docs/print/1"), "skipped out_of_scope");
    assert_eq!(
        seen.values().filter(|p| p["code"] == "limit").count(),
        22,
        "nobody knows yet that a file is no page"
    );
    let (whole, seen) = crawl(&service, &dataset, settings(&start, json!({"files": true}))).await;
    assert_eq!(whole["pagesIndexed"], 32, "{whole}");
    assert_eq!(verdict(&seen, "/docs/paper.pdf"), "new -");
    let hits = service
        .search(
            json!({"query": "sturgeons", "datasetIds": [dataset], "hybridAlpha": 0.0, "topK": 1}),
        )
        .await;
    assert_eq!(
        (
            &hits[0]["metadata"]["pageNumber"],
            &hits[0]["metadata"]["url"]
        ),
        (&json!(1), &json!(format!("{}/docs/paper.pdf", site.url)))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_that_indexes_nothing_says_why() {
    let service = service().await;
    for (name, pages, expected) in [
        (
            "a",
            vec![
                ("/robots.txt", raw(200, &[], "User-agent: *\nDisallow: /\n")),
                ("/", page("x", &[])),
            ],
            "blocked by robots.txt: Disallow: / (line 2)",
        ),
        (
            "b",
            vec![
                ("/robots.txt", answer(503, &[("retry-after", "0")])),
                ("/", page("x", &[])),
            ],
            "robots.txt returned 503",
        ),
        (
            "c",
            vec![("/", answer(401, &[]))],
            "the server returned 401",
        ),
        (
            "d",
            vec![("/", page_with("x", &[], "<meta name=robots content=none>"))],
            "the page specifies none",
        ),
        (
            "e",
            vec![("/", answer(301, &[("location", "https://other.test/")]))],
            "points to https://other.test/, which is not part of the crawl",
        ),
    ] {
        let site = Site::start(pages).await;
        let dataset = service.dataset(name).await;
        let (crawl, _) = crawl(&service, &dataset, settings(&site.url, json!({}))).await;
        assert_eq!(crawl["status"], "failed", "{crawl}");
        let message = text(&crawl["errorMessage"]);
        assert!(
            message.starts_with("nothing was indexed: ") && message.contains(expected),
            "{message}"
        );
    }
    // Whoever owns the site may look past its robots.txt.
    let site = Site::start(vec![
        ("/robots.txt", raw(200, &[], "User-agent: *\nDisallow: /\n")),
        ("/", page("the open door", &[])),
    ])
    .await;
    let dataset = service.dataset("own").await;
    let (crawl, _) = crawl(
        &service,
        &dataset,
        settings(&site.url, json!({"respectRobots": false})),
    )
    .await;
    assert_eq!(crawl["pagesIndexed"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_treated_with_care() {
    let service = Service::start_with(crate::support::Engine::Sqlite, |config| {
        open(config);
        config.crawl_contact = "mailto:me@here.test".to_owned();
    })
    .await;
    let links: Vec<String> = (0..8).map(|n| format!("/p/{n}")).collect();
    let links: Vec<&str> = links
        .iter()
        .map(String::as_str)
        .chain(["/busy", "/closed"])
        .collect();
    let site = Site::start(vec![("/", page("the start", &links))]).await;
    for n in 0..8 {
        site.set(
            &format!("/p/{n}"),
            page(&format!("the page number {n}"), &[]),
        );
    }
    site.set(
        "/busy",
        Page::Then(vec![
            answer(429, &[("retry-after", "1")]),
            page("the busy page", &[]),
        ]),
    );
    site.set("/closed", answer(503, &[("retry-after", "86400")]));
    let dataset = service.dataset("web").await;
    let began = Instant::now();
    let (crawl, seen) = crawl(
        &service,
        &dataset,
        json!({"startUrl": site.url, "requestsPerSecond": 20.0}),
    )
    .await;
    // Fourteen requests and more, twenty per second, and a second's rest.
    assert!(
        began.elapsed() > Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        (verdict(&seen, "/busy"), verdict(&seen, "/closed")),
        ("new -".to_owned(), "failed status".to_owned()),
        "{crawl}"
    );
    let requests = site.requests();
    assert!(
        requests
            .iter()
            .all(|(_, h)| h["user-agent"] == "CairnBot/0.1 (+mailto:me@here.test)")
    );
    assert_eq!(
        requests
            .iter()
            .filter(|(path, _)| path == "/closed")
            .count(),
        1,
        "who says tomorrow is not asked again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_sites_end_with_verdicts() {
    let service = service().await;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..1024 {
        bomb.write_all(&[b'x'; 1 << 16]).expect("packs");
    }
    let bomb = bomb.finish().expect("packs");
    let endless: String = (0..1000)
        .map(|n| format!("/made-up/{n}?session={n}"))
        .fold(String::new(), |all, link| {
            format!("{all}<a href='{link}'>x</a>")
        });
    let links = [
        "/private",
        "/metadata",
        "/endless",
        "/trickle",
        "/bomb",
        "/announced",
        "/r/0",
        "/calendar/2026/11",
        "/binary",
        "/nested",
        "/many",
        "/odd",
    ];
    let site = Site::start(vec![
        ("/", page("the lair", &links)),
        (
            "/robots.txt",
            raw(200, &[], "Disallow: /never\n".repeat(500_000)),
        ),
        (
            "/private",
            answer(302, &[("location", "http://10.0.0.1/admin")]),
        ),
        (
            "/metadata",
            answer(
                302,
                &[("location", "http://169.254.169.254/latest/meta-data")],
            ),
        ),
        ("/endless", Page::Endless),
        ("/trickle", Page::Trickle),
        (
            "/bomb",
            raw(
                200,
                &[("content-type", "text/html"), ("content-encoding", "gzip")],
                bomb,
            ),
        ),
        (
            "/binary",
            raw(200, &[("content-type", "text/html")], vec![0_u8; 5000]),
        ),
        (
            "/nested",
            raw(
                200,
                &[("content-type", "text/html")],
                "<div><b><i>".repeat(60_000),
            ),
        ),
        (
            "/many",
            raw(
                200,
                &[("content-type", "text/html")],
                format!("{}{endless}", paragraph("many links")),
            ),
        ),
        (
            "/odd",
            raw(
                200,
                &[("content-type", "text/html; charset=nonsense")],
                paragraph("odd headers"),
            ),
        ),
    ])
    .await;
    for n in 0..40 {
        site.set(
            &format!("/r/{n}"),
            answer(302, &[("location", &format!("/r/{}", n + 1))]),
        );
    }
    for year in 2026..2040 {
        for month in 1..=12 {
            let (next_year, next_month) = if month == 12 {
                (year + 1, 1)
            } else {
                (year, month + 1)
            };
            site.set(
                &format!("/calendar/{year}/{month:02}"),
                page(
                    &format!("the month {month} of {year}"),
                    &[&format!("/calendar/{next_year}/{next_month:02}")],
                ),
            );
        }
    }
    let dataset = service.dataset("web").await;
    let began = Instant::now();
    let wanted =
        json!({"maxPages": 200, "maxDepth": 100, "hosts": ["10.0.0.1", "169.254.169.254"]});
    let (crawl, seen) = crawl(&service, &dataset, settings(&site.url, wanted)).await;
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(crawl["status"], "completed", "{crawl}");
    for (path, expected) in [
        ("/private", "skipped redirected"),
        ("/metadata", "skipped redirected"),
        ("/endless", "failed too_large"),
        ("/trickle", "failed timeout"),
        ("/bomb", "failed too_large"),
        ("/r/10", "failed redirect_loop"),
        ("/calendar/2026/12", "new -"),
        ("/calendar/2028/01", "skipped trap"),
        ("/odd", "new -"),
        ("/nested", "failed parse_timeout"),
        ("/binary", "failed no_text"),
    ] {
        assert_eq!(verdict(&seen, path), expected, "{path}: {}", seen[path]);
    }
    for refused in [
        "http://10.0.0.1/admin",
        "http://169.254.169.254/latest/meta-data",
    ] {
        assert_eq!(
            verdict(&seen, refused),
            "failed address_refused",
            "{}",
            seen[refused]
        );
    }
    assert!(!seen.contains_key("/r/12"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_crawl_can_be_cancelled_and_tells_how_far_it_is() {
    let service = service().await;
    let links: Vec<String> = (0..50).map(|n| format!("/p/{n}")).collect();
    let links: Vec<&str> = links.iter().map(String::as_str).collect();
    let site = Site::start(vec![("/", page("the start", &links))]).await;
    for n in 0..50 {
        site.set(
            &format!("/p/{n}"),
            page(&format!("the page number {n}"), &[]),
        );
    }
    let dataset = service.dataset("web").await;
    let (_, put) = service
        .call(
            Method::PUT,
            &format!("/kb/v1/datasets/{dataset}/sites"),
            Some(json!({"startUrl": site.url, "requestsPerSecond": 4.0})),
        )
        .await;
    let crawl = service
        .post(
            &format!(
                "/kb/v1/datasets/{dataset}/sites/{}/crawls",
                text(&put["id"])
            ),
            json!({}),
        )
        .await;
    let id = text(&crawl["id"]);
    let path = format!("/kb/v1/datasets/{dataset}/crawls/{id}");
    eventually!(within 60, "it has begun", service.get(&path).await["pagesCrawled"].as_i64() >= Some(3));
    let began = Instant::now();
    service.post(&format!("{path}/cancel"), json!({})).await;
    let ended = over(&service, &dataset, &id).await;
    assert!(
        ended["status"] == "cancelled" && began.elapsed() < Duration::from_secs(4),
        "{ended} after {:?}",
        began.elapsed()
    );
    let pending = service
        .get(&format!("{path}/pages?verdict=pending&limit=500"))
        .await;
    assert!(pending["data"].as_array().expect("pages").len() > 30);
    // Its job can be tried again, and goes on where it was.
    site.asked();
    let (status, _) = service
        .call(
            Method::POST,
            &format!("/kb/v1/jobs/{}/retry", text(&ended["jobId"])),
            None,
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    eventually!(within 60, "it goes on", service.get(&path).await["pagesCrawled"].as_i64() >= Some(8));
    assert!(
        !site.asked().contains(&"/".to_owned()),
        "what was visited is not visited again"
    );
    service.post(&format!("{path}/cancel"), json!({})).await;
    over(&service, &dataset, &id).await;
    let caller = service.app.local_caller("default").await.expect("a tenant");
    let events = cairn::events::after(&service.app.db, caller.tenant(), 0)
        .await
        .expect("events");
    let told: Vec<&str> = events
        .iter()
        .filter(|e| e.topic == "crawl_changed")
        .map(|e| e.payload.as_str())
        .collect();
    assert!(
        told.len() >= 4 && told.last().is_some_and(|last| last.contains("cancelled")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_made_by_scripts_are_rendered_by_an_endpoint() {
    let renderer = Site::start(vec![("/render", raw(200, &[("content-type", "application/json")], json!({"html": format!("<html><body><article><h1>Eels</h1><p>{}</p></article></body></html>", paragraph("eels"))}).to_string()))]).await;
    let url = format!("{}/render", renderer.url);
    let service = Service::start_with(crate::support::Engine::Sqlite, |config| {
        open(config);
        config.render_url = url;
    })
    .await;
    let site = Site::start(vec![(
        "/",
        raw(
            200,
            &[("content-type", "text/html")],
            "<div id=app></div><script>render()</script>",
        ),
    )])
    .await;
    let dataset = service.dataset("web").await;
    let (plain, seen) = crawl(&service, &dataset, settings(&site.url, json!({}))).await;
    assert_eq!(
        (&plain["status"], verdict(&seen, "/").as_str()),
        (&json!("failed"), "failed no_text")
    );
    let (rendered, _) = crawl(
        &service,
        &dataset,
        settings(&site.url, json!({"render": true})),
    )
    .await;
    assert_eq!(rendered["pagesIndexed"], 1, "{rendered}");
    let hits = service
        .search(json!({"query": "eels", "datasetIds": [dataset]}))
        .await;
    assert_eq!(hits[0]["metadata"]["url"], json!(format!("{}/", site.url)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_any_length_end_with_a_verdict() {
    let service = service().await;
    let long = format!("/{}", "%E6%BC%A2".repeat(90));
    let endless = format!("/{}", "x".repeat(5000));
    let site = Site::start(vec![("/", page("the start", &[&long, &endless, "/away"]))]).await;
    site.set(&long, page("a long name", &[]));
    site.set("/away", answer(301, &[("location", &endless)]));
    let dataset = service.dataset("web").await;
    let (crawl, seen) = crawl(&service, &dataset, settings(&site.url, json!({}))).await;
    assert_eq!(crawl["pagesIndexed"], 2, "{crawl}");
    assert_eq!(verdict(&seen, &long), "new -");
    assert!(
        seen.iter()
            .any(|(path, p)| path.ends_with('…') || text(&p["url"]).ends_with('…')),
        "{:?}",
        seen.keys()
    );
    let (again, _) = self::crawl(&service, &dataset, settings(&site.url, json!({}))).await;
    assert_eq!(again["pagesUnchanged"], 2, "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_takes_what_is_found_first_and_keeps_it() {
    let service = service().await;
    let links: Vec<String> = (0..60).map(|n| format!("/p/{n:02}")).collect();
    let links: Vec<&str> = links.iter().map(String::as_str).collect();
    let site = Site::start(vec![("/", page("the start", &links))]).await;
    for link in &links {
        site.set(link, page(&format!("the page {link}"), &[]));
    }
    let dataset = service.dataset("web").await;
    let wanted = settings(&site.url, json!({"maxPages": 5, "concurrency": 1}));
    let taken = |seen: &BTreeMap<String, Value>| -> Vec<String> {
        seen.iter()
            .filter(|(_, p)| ["new", "unchanged"].iter().any(|v| p["verdict"] == *v))
            .map(|(path, _)| path.clone())
            .collect()
    };
    let (_, seen) = crawl(&service, &dataset, wanted.clone()).await;
    assert_eq!(taken(&seen), ["/", "/p/00", "/p/01", "/p/02", "/p/03"]);
    // The same again, and one that is gone makes room for one.
    site.remove("/p/01");
    let (second, seen) = crawl(&service, &dataset, wanted).await;
    assert_eq!(
        taken(&seen),
        ["/", "/p/00", "/p/02", "/p/03", "/p/04"],
        "{second}"
    );
    assert_eq!(
        (
            &second["pagesRemoved"],
            &second["pagesUnchanged"],
            &second["pagesNew"]
        ),
        (&json!(1), &json!(4), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_moved_is_the_same_document_wherever_its_links_point() {
    let service = service().await;
    let site = Site::start(vec![
        ("/", page("the start", &["/old"])),
        ("/old", page("the traveller", &[])),
    ])
    .await;
    let dataset = service.dataset("web").await;
    let wanted = settings(&site.url, json!({}));
    let (_, first) = crawl(&service, &dataset, wanted.clone()).await;
    // Everybody links to the new address already.
    site.set("/", page("the start", &["/new"]));
    site.set("/new", page("the traveller", &[]));
    site.set("/old", answer(301, &[("location", "/new")]));
    let (second, seen) = crawl(&service, &dataset, wanted).await;
    assert_eq!(verdict(&seen, "/old"), "skipped moved");
    assert_eq!(
        seen["/new"]["documentId"], first["/old"]["documentId"],
        "{second} {}",
        seen["/new"]
    );
    assert_eq!(
        (&second["pagesRemoved"], &second["pagesNew"]),
        (&json!(0), &json!(0)),
        "{second}"
    );
    let hits = service
        .search(
            json!({"query": "traveller", "datasetIds": [dataset], "hybridAlpha": 0.0, "topK": 1}),
        )
        .await;
    assert_eq!(
        hits[0]["metadata"]["url"],
        json!(format!("{}/new", site.url))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_came_back_stays() {
    let service = service().await;
    let site = Site::start(vec![
        ("/", page("the start", &["/shy"])),
        ("/shy", page("the shy page", &[])),
    ])
    .await;
    site.set(
        "/sitemap.xml",
        raw(
            200,
            &[],
            format!(
                "<urlset><url><loc>{}/shy</loc><lastmod>2020-01-01</lastmod></url></urlset>",
                site.url
            ),
        ),
    );
    let dataset = service.dataset("web").await;
    let wanted = settings(&site.url, json!({"vanishedGraceDays": 1}));
    crawl(&service, &dataset, wanted.clone()).await;
    // Its sitemap says that nothing changed; without it, it is gone, and has a day.
    site.remove("/sitemap.xml");
    site.remove("/shy");
    let (gone, _) = crawl(&service, &dataset, wanted.clone()).await;
    assert_eq!(gone["pagesRemoved"], 0, "{gone}");
    site.set("/shy", page("the shy page", &[]));
    let (back, seen) = crawl(
        &service,
        &dataset,
        settings(&site.url, json!({"vanishedGraceDays": 0})),
    )
    .await;
    assert_eq!(
        (verdict(&seen, "/shy"), &back["pagesRemoved"]),
        ("unchanged not_modified".to_owned(), &json!(0)),
        "{back}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_call_each_other_canonical_stay_as_they_are() {
    let service = service().await;
    let site = Site::start(vec![
        ("/", page("the heron colony", &["/a", "/b", "/c"])),
        (
            "/a",
            page_with("reed warblers", &[], "<link rel=canonical href='/b'>"),
        ),
        (
            "/b",
            page_with("river otters", &[], "<link rel=canonical href='/c'>"),
        ),
        (
            "/c",
            page_with("kingfishers", &[], "<link rel=canonical href='/a'>"),
        ),
    ])
    .await;
    let dataset = service.dataset("web").await;
    let wanted = settings(&site.url, json!({}));
    let (first, _) = crawl(&service, &dataset, wanted.clone()).await;
    assert_eq!(first["pagesNew"], 4, "each has a text of its own: {first}");
    let ids = async || {
        let listed = service
            .get(&format!("/kb/v1/datasets/{dataset}/documents"))
            .await;
        let mut ids: Vec<(String, Value)> = listed["data"]
            .as_array()
            .expect("documents")
            .iter()
            .map(|d| (text(&d["id"]), d["version"].clone()))
            .collect();
        ids.sort_by(|a, b| a.0.cmp(&b.0));
        ids
    };
    let before = ids().await;
    for _ in 0..3 {
        // Without it, the server would say by itself that nothing has changed.
        site.make_noise();
        let (again, seen) = crawl(&service, &dataset, wanted.clone()).await;
        assert_eq!(
            (
                &again["pagesUnchanged"],
                &again["pagesChanged"],
                &again["pagesNew"]
            ),
            (&json!(4), &json!(0), &json!(0)),
            "{seen:#?}"
        );
        assert_eq!(ids().await, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_becomes_a_copy_gives_its_document_up() {
    let service = service().await;
    let site = Site::start(vec![
        ("/", page("the heron colony", &["/print"])),
        ("/print", page("reed warblers", &[])),
    ])
    .await;
    let dataset = service.dataset("web").await;
    let wanted = settings(&site.url, json!({}));
    crawl(&service, &dataset, wanted.clone()).await;
    site.set("/", page("the heron colony", &["/print", "/reeds"]));
    site.set(
        "/print",
        page_with("reed warblers", &[], "<link rel=canonical href='/reeds'>"),
    );
    site.set("/reeds", page("reed warblers", &[]));
    let (_, seen) = crawl(&service, &dataset, wanted.clone()).await;
    assert_eq!(verdict(&seen, "/print"), "skipped duplicate");
    assert_eq!(seen["/reeds"]["verdict"], "new", "{seen:#?}");
    let listed = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents"))
        .await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(2), "{listed}");
}
