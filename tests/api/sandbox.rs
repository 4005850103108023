//! The sandbox: its files and sessions through HTTP, its pages in Chromium.

use std::path::PathBuf;

use fantoccini::key::Key;
use fantoccini::{Client, Locator};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Digest;

use crate::support::browser::Browser;
use crate::support::model::{Model, Say};
use crate::support::site::{Site, page};
use crate::support::{Engine, Service, text};
use crate::{agency, eventually, mission_control, on_both};

/// What a browser keeps of an answer's `Set-Cookie`.
fn cookie(answer: &reqwest::Response) -> String {
    let set = answer.headers()["set-cookie"].to_str().expect("text");
    set.split(';').next().expect("a pair").to_owned()
}

#[tokio::test]
async fn the_files_come_with_headers_that_bind_the_page() {
    let service = Service::start(Engine::Sqlite).await;
    for (path, kind) in [
        ("/sandbox", "text/html"),
        ("/sandbox/search?q=x", "text/html"),
        ("/sandbox/app.js", "text/javascript"),
        ("/sandbox/style.css", "text/css"),
        ("/sandbox/pages/search.js", "text/javascript"),
    ] {
        let answer = service
            .http
            .get(format!("{}{path}", service.url))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .map(|v| v.to_str().expect("text").to_owned())
                .unwrap_or_default()
        };
        assert!(
            header("content-type").starts_with(kind),
            "{path}: {}",
            header("content-type")
        );
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            (header("x-content-type-options"), header("referrer-policy")),
            ("nosniff".to_owned(), "no-referrer".to_owned())
        );
        // The same file is not sent twice.
        let again = service
            .http
            .get(format!("{}{path}", service.url))
            .header("if-none-match", header("etag"))
            .send()
            .await
            .expect("an answer");
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
    }
    let shell = service
        .http
        .get(format!("{}/sandbox", service.url))
        .send()
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    // Scripts and styles are files, and nothing comes from elsewhere.
    assert!(
        !shell.contains("<script>") && !shell.contains("style=") && !shell.contains("://"),
        "{shell}"
    );
    for path in [
        "/sandbox/missing.js",
        "/sandbox/../Cargo.toml",
        "/sandbox/..%2f..%2fmod.rs",
    ] {
        let answer = service
            .http
            .get(format!("{}{path}", service.url))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

on_both! {
    async fn a_browser_signs_in_with_a_key_or_a_link(service: Service) {
        let session = format!("{}/kb/v1/session", service.url);
        let reader = service.key_with(&["kb:read"], None).await;
        let answer = service.http.post(&session).json(&json!({"key": reader})).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        let set = answer.headers()["set-cookie"].to_str().expect("text").to_owned();
        for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"] {
            assert!(set.contains(part), "{set}");
        }
        assert!(!set.contains("Secure") && !set.contains(&reader), "{set}");
        let mine = cookie(&answer);
        let with = |method: Method, path: &str| service.http.request(method, format!("{}{path}", service.url)).header("cookie", &mine);

        // The session has the rights of its key, and no others.
        let answer = with(Method::GET, "/kb/v1/session").send().await.expect("an answer");
        let shown: Value = answer.json().await.expect("JSON");
        assert_eq!((&shown["tenant"], &shown["scopes"]), (&json!("default"), &json!(["kb:read"])));
        let answer = with(Method::GET, "/kb/v1/keys").send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        // Changes come from our own pages only: other sites cannot send this header.
        let body = json!({"query": "x", "datasetIds": ["x"]});
        let answer = with(Method::POST, "/kb/v1/search").json(&body).send().await.expect("an answer");
        let told: Value = answer.json().await.expect("JSON");
        assert_eq!(told["error"]["reason"], "page_unknown");
        let answer = with(Method::POST, "/kb/v1/search").header("x-cairn-sandbox", "1").json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        // The documentation of the API is a page of ours, too, as browsers say.
        for (site, status) in [("same-origin", StatusCode::NOT_FOUND), ("same-site", StatusCode::FORBIDDEN), ("cross-site", StatusCode::FORBIDDEN)] {
            let answer = with(Method::POST, "/kb/v1/search").header("sec-fetch-site", site).json(&body).send().await.expect("an answer");
            assert_eq!(answer.status(), status, "{site}");
        }
        // The other dialects take it, too.
        let answer = with(Method::GET, "/v1/contacts").send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);

        // It ends with the key.
        let keys = service.get("/kb/v1/keys").await;
        let id = keys["data"].as_array().expect("keys").iter().find(|k| k["scopes"] == json!(["kb:read"])).map(|k| text(&k["id"])).expect("the key");
        service.call(Method::DELETE, &format!("/kb/v1/keys/{id}"), None).await;
        let answer = with(Method::GET, "/kb/v1/session").send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);

        // A link works once, also for two at the same time.
        let tenant = cairn::auth::tenants::by_name(&service.app.db, "default").await.expect("the tenant");
        let link = cairn::auth::sessions::link(service.app.sessions(), &tenant.id).await.expect("a link");
        let enter = || service.http.post(&session).header("x-forwarded-proto", "https").json(&json!({"link": link})).send();
        let (one, two) = tokio::join!(enter(), enter());
        let (one, two) = (one.expect("an answer"), two.expect("an answer"));
        let (good, bad) = if one.status() == StatusCode::OK { (one, two) } else { (two, one) };
        assert_eq!((good.status(), bad.status()), (StatusCode::OK, StatusCode::UNAUTHORIZED));
        assert!(good.headers()["set-cookie"].to_str().expect("text").contains("Secure"));
        let owner = cookie(&good);
        let told: Value = bad.json().await.expect("JSON");
        assert_eq!(told["error"]["reason"], "link_consumed");
        let as_owner = |method: Method| service.http.request(method, &session).header("cookie", &owner).header("x-cairn-sandbox", "1");
        let shown: Value = as_owner(Method::GET).send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!((&shown["keyId"], &shown["scopes"]), (&json!("owner"), &json!(["*"])));
        // Signing out ends it on the server, too.
        let out = as_owner(Method::DELETE).send().await.expect("an answer");
        assert_eq!(out.status(), StatusCode::NO_CONTENT);
        assert!(out.headers()["set-cookie"].to_str().expect("text").contains("Max-Age=0"));
        assert_eq!(as_owner(Method::GET).send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
        // Of two links the last one works, and all sessions can be ended at once.
        use cairn::auth::sessions;
        let before = sessions::link(service.app.sessions(), &tenant.id).await.expect("a link");
        let last = sessions::link(service.app.sessions(), &tenant.id).await.expect("a link");
        assert_eq!(sessions::begin_by_link(service.app.sessions(), &before, None).await.expect_err("replaced").code(), "link_consumed");
        let begun = sessions::begin_by_link(service.app.sessions(), &last, None).await.expect("a session");
        sessions::caller(service.app.sessions(), &begun.secret).await.expect("it holds");
        assert_eq!(sessions::end_all(service.app.sessions(), &tenant.id).await.expect("ended"), 2);
        assert_eq!(sessions::caller(service.app.sessions(), &begun.secret).await.expect_err("over").code(), "session_expired");
        // What is stored opens nothing.
        let secret = owner.split_once('=').expect("a pair").1;
        let stored = hex::encode(sha2::Sha256::digest(secret.as_bytes()));
        let answer = service.http.get(&session).header("cookie", format!("cairn_session={stored}")).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }

    async fn all_candidates_come_with_what_their_scores_are_made_of(service: Service) {
        let dataset = service.dataset("d").await;
        for (name, words) in [("a.txt", "The ferry to the island leaves at noon."), ("b.txt", "Boats cross the strait every morning."), ("c.txt", "Bread is baked before dawn.")] {
            service.add(&dataset, name, words).await;
        }
        for alpha in [0.0, 0.3, 1.0] {
            let body = json!({"query": "ferry to the island", "datasetIds": [dataset], "hybridAlpha": alpha, "explain": true, "topK": 10});
            let hits = service.search(body.clone()).await;
            let mut asked = body;
            asked.as_object_mut().expect("an object").remove("explain");
            let pool = service.post("/kb/v1/candidates", asked).await;
            assert_eq!(pool["candidates"].as_array().map(Vec::len), Some(3), "{pool}");
            let bound = pool["datasets"][0]["bm25Bound"].as_f64().expect("a bound");
            assert_eq!(pool["datasets"][0]["alpha"].as_f64().map(|a| (a * 10.0).round()), Some(alpha * 10.0));
            for hit in &hits {
                let own = pool["candidates"].as_array().expect("a list").iter().find(|c| c["chunkId"] == hit["chunkId"]).expect("every hit is a candidate");
                // Both raw scores are there whatever the weight is, and the documented sum is the score.
                let (cosine, bm25) = (own["cosine"].as_f64().expect("a cosine"), own["bm25"].as_f64().expect("a BM25"));
                let score = alpha * f64::midpoint(1.0, cosine) + (1.0 - alpha) * (bm25 / bound).clamp(0.0, 1.0).sqrt();
                assert!((score - hit["score"].as_f64().expect("a score")).abs() < 1e-4, "{score} {hit}");
            }
        }
        let (status, _) = service.call(Method::POST, "/kb/v1/candidates", Some(json!({"query": "x", "datasetIds": [dataset], "cursor": "x"}))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

/// A browser that is signed in by a link, as at the first start.
async fn signed_in(service: &Service, width: u32, height: u32) -> Browser {
    let tenant = cairn::auth::tenants::by_name(&service.app.db, "default")
        .await
        .expect("the tenant");
    let link = cairn::auth::sessions::link(service.app.sessions(), &tenant.id)
        .await
        .expect("a link");
    let browser = Browser::start(width, height).await;
    browser
        .open(&format!("{}/sandbox#enter={link}", service.url))
        .await;
    browser.see("h1", "Datasets").await;
    browser
}

/// The chunks of a lane's hits, in order.
async fn order(browser: &Browser, lane: usize) -> Vec<String> {
    let found = browser.eval(&format!("return [...document.querySelectorAll('.lane')[{lane}].querySelectorAll('.hit')].map(h => h.dataset.chunk)")).await;
    serde_json::from_value(found).expect("a list")
}

/// Moves a slider as a hand does, in steps.
async fn drag(browser: &Browser, lane: usize, slider: usize, to: f64) {
    let script = format!(
        "const s = document.querySelectorAll('.lane')[{lane}].querySelectorAll('input[type=range]')[{slider}]; const from = Number(s.value);
         for (let i = 1; i <= 20; i += 1) {{ s.value = String(from + ({to} - from) * i / 20); s.dispatchEvent(new Event('input', {{bubbles: true}})); }} return s.value"
    );
    browser.eval(&script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_an_empty_service_to_a_labelled_query_and_a_measured_run() {
    let service = Service::start(Engine::Sqlite).await;
    let browser = signed_in(&service, 1300, 1000).await;
    // The secret of the link does not stay in the address.
    assert!(
        !browser
            .page
            .current_url()
            .await
            .expect("an address")
            .as_str()
            .contains("enter")
    );

    browser.press("Upload documents").await;
    browser.write("dialog input", "harbour").await;
    browser.press("Create").await;
    browser.see("h1", "harbour").await;

    // Upload, and see the files become searchable without asking again.
    let folder = tempfile::tempdir().expect("temporary directory");
    let mut paths = Vec::new();
    for (name, words) in [
        (
            "ferry.md",
            "# Ferry to the island\n\nThe ferry to the island leaves at noon from the old pier. Tickets are sold on board.",
        ),
        (
            "boats.md",
            "# Boats across the strait\n\nBoats cross the strait every morning when the tide is high.",
        ),
        (
            "bread.md",
            "# Bread baked before dawn\n\nBread is baked before dawn, and rolls are sold at the pier.",
        ),
        (
            "island.md",
            "# Village on the island\n\nThe island has one village, a lighthouse, and no cars.",
        ),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, words).expect("written");
        paths.push(path.display().to_string());
    }
    let input = browser
        .page
        .find(Locator::Css("input[type=file]"))
        .await
        .expect("an input for files");
    input.send_keys(&paths.join("\n")).await.expect("files");
    browser.see("body", "4 files uploaded").await;
    browser.see("[role=tabpanel]", "4 of 4 files").await;
    let indexed = "return [...document.querySelectorAll('.grid .badge')].filter(b => b.textContent === 'indexed').length";
    eventually!(within 60, shown in (browser.eval(indexed).await, browser.text("body").await), "the files are indexed", shown.0 == 4);

    // Search, by keyboard.
    browser.press("Search").await;
    browser
        .write(".query input", "when does the ferry leave")
        .await;
    browser
        .find(".query input")
        .await
        .send_keys(&Key::Enter.to_string())
        .await
        .expect("a key");
    browser.see(".lane .hit .title", "Ferry").await;
    browser.see(".lane .hit .why", "of the").await;
    browser.see(".lane .answer", "Confident").await;

    // Another lane with one thing changed, by dragging: no request, and the same as the service says.
    browser.press("Duplicate").await;
    assert_eq!(order(&browser, 1).await, order(&browser, 0).await);
    // The search asks for labels, and each form of a lane for generations, once built and twice with the second: then the page is at rest.
    let rest = "const asked = what => performance.getEntriesByType('resource').filter(e => e.name.endsWith(what)).length; return [asked('/query-sets'), asked('/generations')]";
    eventually!(asked in browser.eval(rest).await, "the page is at rest", asked[0].as_u64() >= Some(1) && asked[1].as_u64() >= Some(3));
    let before = browser.requests().await;
    for (to, alpha) in [(1.0, 1.0), (0.0, 0.0), (0.2, 0.2)] {
        drag(&browser, 1, 0, to).await;
        let shown = order(&browser, 1).await;
        assert_eq!(
            browser.requests().await,
            before,
            "dragging asked the service"
        );
        let hits = service.search(json!({"query": "when does the ferry leave", "datasetIds": [text(&service.get("/kb/v1/datasets").await["data"][0]["id"])], "hybridAlpha": alpha, "topK": 10})).await;
        let expected: Vec<String> = hits.iter().map(|h| text(&h["chunkId"])).collect();
        assert_eq!(shown, expected, "alpha {alpha}");
        let score: f64 = browser.eval("return Number(document.querySelectorAll('.lane')[1].querySelector('.hit .score').textContent)").await.as_f64().expect("a score");
        assert!(
            (score - hits[0]["score"].as_f64().expect("a score")).abs() < 0.001,
            "alpha {alpha}"
        );
    }
    drag(&browser, 1, 1, 0.99).await;
    browser
        .see(".lanes .lane:nth-child(2) .answer", "No hits")
        .await;
    assert_eq!(
        browser.requests().await,
        before,
        "dragging asked the service"
    );
    // What differs from the first lane is marked.
    assert_eq!(
        browser
            .eval(
                "return document.querySelectorAll('.lane')[1].querySelectorAll('.changed').length"
            )
            .await,
        2
    );
    // The whole state is in the address, a moment later.
    let address = eventually!(
        address in browser.page.current_url().await.expect("an address"),
        "the address follows",
        address.query_pairs().any(|(name, value)| name == "lane" && value.contains("0.99"))
    );
    assert!(
        address
            .query_pairs()
            .filter(|(name, value)| name == "lane"
                && (value.contains("0.99") || !value.contains("minScore")))
            .count()
            == 2,
        "{address}"
    );

    // Why not?
    browser.press("Missing a result?").await;
    browser.write(".why-not input", "bread.md").await;
    browser.press("Why not?").await;
    browser.see(".why-not .notice", "rank").await;

    // Labels, by keyboard: j to the first hit, 2; j, 0.
    browser.eval("document.activeElement.blur()").await;
    for key in ["j", "2"] {
        browser
            .page
            .active_element()
            .await
            .expect("the focus")
            .send_keys(key)
            .await
            .expect("a key");
    }
    browser.see("#toasts", "Labelled 2").await;
    for key in ["j", "0"] {
        browser
            .page
            .active_element()
            .await
            .expect("the focus")
            .send_keys(key)
            .await
            .expect("a key");
    }
    browser.see("#toasts", "Labelled 0").await;

    // The label is in the query set, and settings are measured over it.
    browser.press("Evaluation").await;
    browser.see("#main", "when does the ferry leave").await;
    browser.see("#main", "1 × grade 2").await;
    browser.press("Generate from titles").await;
    browser.see("#main", "4 queries with their labels").await;
    browser.press("Run").await;
    browser.see("#main", "done").await;
    // Settings that find less are told to; they are not called worse while most hits are not judged.
    browser.eval("document.querySelector('textarea[aria-label^=Settings]').value = JSON.stringify({filter: {field: '$fileName', op: 'eq', value: 'bread.md'}})").await;
    browser.press("Run").await;
    let done = "return [...document.querySelectorAll('#main .badge')].filter(b => b.textContent === 'done').length";
    eventually!(within 60, shown in (browser.eval(done).await, browser.text("body").await), "both runs are done", shown.0 == 2);
    browser.eval("const boxes = [...document.querySelectorAll('#main input[data-run]')]; boxes[1].click(); boxes[0].click()").await;
    browser.press("Compare selected").await;
    browser.see("#main", "significantly lower, but only").await;
    assert!(browser.text("body").await.contains("3 lost"));
    // More labels from a file: tuning on four queries would be guessing.
    browser.press("Tune settings").await;
    browser.see("#toasts", "Tuning requires at least").await;
    browser.press("Import").await;
    let questions = [
        "ferry at noon,ferry.md",
        "tickets on board,ferry.md",
        "tide at the strait,boats.md",
        "baked rolls,bread.md",
        "lighthouse and no cars,island.md",
    ];
    let csv: String = (0..30)
        .map(|n| {
            format!(
                "{} {n},{},2\n",
                questions[n % 5].split(',').next().expect("a text"),
                questions[n % 5].split(',').nth(1).expect("a name")
            )
        })
        .collect();
    browser
        .write("dialog textarea", &format!("query,document,grade\n{csv}"))
        .await;
    browser.press("Import").await;
    browser.see("#main", "34 queries with their labels").await;
    browser.press("Tune settings").await;
    browser.see("#main", "Best settings found").await;
    browser.see("#main", "the gain may be chance").await;
    browser.press("Apply anyway").await;
    browser.see("#main", "applied as search defaults").await;
    let id = text(&service.get("/kb/v1/datasets").await["data"][0]["id"]);
    let defaults = service
        .get(&format!("/kb/v1/datasets/{id}/search-defaults"))
        .await;
    assert!(
        defaults["history"]
            .as_array()
            .is_some_and(|h| !h.is_empty()),
        "{defaults}"
    );
    // What was tried here is told from what programs asked.
    let told = |by: &'static str| {
        let path = format!("/kb/v1/datasets/{id}/queries?by={by}&limit=100");
        let service = &service;
        async move {
            service.get(&path).await["data"]
                .as_array()
                .expect("queries")
                .len()
        }
    };
    eventually!(
        counts in (told("sandbox").await, told("programs").await),
        "what was asked is remembered",
        counts.0 > 0 && counts.1 >= 3
    );
    assert_eq!(
        told("all").await,
        told("sandbox").await + told("programs").await
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_texts_that_look_like_markup_are_text() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("<b>set</b>").await;
    let evil = "<img src=x onerror=document.title='taken'>";
    let page = "<html><head><title><script>document.title='taken'</script><svg onload=document.title='taken'></title></head><body><p>The lighthouse &lt;script&gt;document.title='taken'&lt;/script&gt; was lit in 1911.</p></body></html>";
    service
        .add(
            &dataset,
            &format!("{evil}.txt"),
            &format!("{evil} The lighthouse was lit in 1911."),
        )
        .await;
    service.add(&dataset, "page.html", page).await;
    service
        .post(
            "/v1/contacts",
            json!({"name": evil, "email": "a@example.com"}),
        )
        .await;
    let browser = signed_in(&service, 1300, 1000).await;
    let lane = json!({"datasetIds": [dataset]}).to_string();
    let search: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("q", "lighthouse lit")
        .append_pair("lane", &lane)
        .finish();
    let files = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents"))
        .await;
    // Pages, and where they show at the end what looks like markup, or what stands beside it.
    let mut pages = vec![
        ("/sandbox".to_owned(), "#main", "<b>set</b>"),
        (
            format!("/sandbox/datasets/{dataset}"),
            ".grid",
            "<img src=x onerror",
        ),
        (format!("/sandbox/search?{search}"), "#main .lane", "1911"),
        (
            "/sandbox/records?kind=contacts".to_owned(),
            "#main",
            "<img src=x onerror",
        ),
        (
            format!("/sandbox/ask?q=lighthouse+lit&dataset={dataset}"),
            "#main",
            "<b>set</b>",
        ),
        // Its table is there when its heading is.
        (format!("/sandbox/history?dataset={dataset}"), "#main", ""),
    ];
    pages.extend(files["data"].as_array().expect("files").iter().map(|f| {
        let path = format!("/sandbox/documents/{dataset}/{}", text(&f["id"]));
        (path, "#main .chunks", "1911")
    }));
    for (path, place, shown) in pages {
        browser.open(&format!("{}{path}", service.url)).await;
        browser.find("#main h1, #main .lane").await;
        browser.see(place, shown).await;
        // A picture that fails after those of the page would have: what they bring about has happened.
        browser.eval("const last = new Image(); last.onerror = () => { window.lastFailed = true; }; last.src = 'x'").await;
        eventually!(
            "the last picture has failed",
            browser.eval("return window.lastFailed === true").await == true
        );
        let found = browser.eval("return [document.title, document.querySelectorAll('#main img, #main script, #main svg[onload], #main b').length, document.body.textContent.includes('onerror') || document.body.textContent.includes('script')]").await;
        assert!(found[0] != "taken", "{path}: {found}");
        assert_eq!(found[1], 0, "{path}: {found}");
    }
    browser
        .open(&format!("{}/sandbox/datasets/{dataset}", service.url))
        .await;
    browser.see(".grid", "<img src=x onerror").await;
    // Even a script that tries may not make markup out of a string.
    let refused = browser.eval("try { document.body.innerHTML = '<p>x</p>'; return 'made'; } catch (e) { return e.name; }").await;
    assert_eq!(refused, "TypeError");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lists_hold_few_elements() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("many").await;
    for from in (0..240).step_by(20) {
        let form = (from..from + 20).fold(reqwest::multipart::Form::new(), |form, n| {
            form.part(
                "files",
                reqwest::multipart::Part::text(format!("Note number {n}."))
                    .file_name(format!("note-{n:03}.txt")),
            )
        });
        let answer = service
            .http
            .post(format!(
                "{}/dashboard/v1/knowledge-base/datasets/{dataset}/files/upload",
                service.url
            ))
            .bearer_auth(&service.key)
            .multipart(form)
            .send()
            .await
            .expect("an answer");
        assert!(answer.status().is_success());
    }
    let browser = signed_in(&service, 1300, 900).await;
    browser
        .open(&format!("{}/sandbox/datasets/{dataset}", service.url))
        .await;
    browser.see("[role=tabpanel]", "240 of 240 files").await;
    assert!(!browser.text(".grid").await.contains("Nothing here"));
    let rows = "return [document.querySelector('.grid').getAttribute('aria-rowcount'), document.querySelectorAll('.grid-body .grid-row').length]";
    let found = browser.eval(rows).await;
    assert_eq!(found[0], "241");
    assert!(found[1].as_u64().is_some_and(|n| n < 60), "{found}");
    browser
        .eval("const g = document.querySelector('.grid'); g.scrollTop = g.scrollHeight")
        .await;
    browser.press("Name").await;
    browser.press("Name").await;
    browser
        .eval("document.querySelector('.grid').scrollTop = 0")
        .await;
    browser.see(".grid", "note-239.txt").await;
    browser
        .write("input[aria-label='Filter by name']", "note-01")
        .await;
    browser.see("[role=tabpanel]", "10 of 240 files").await;
    browser.close().await;
}

/// The rules of axe, which `tests/run` fetches.
fn axe() -> String {
    let path = std::env::var_os("CAIRN_AXE").map_or_else(
        || {
            PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("target/axe/axe_playwright_python/axe.min.js")
        },
        PathBuf::from,
    );
    std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; tests/run fetches it", path.display()))
}

/// Checks that a page, all of it unfolded, has no fault that axe finds and is no wider than the window.
async fn is_finished(browser: &Browser, axe: &str, page: &str) {
    browser
        .eval("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        .await;
    let found = violations(&browser.page, axe).await;
    assert!(found.is_empty(), "{page}: {found:#?}");
    let over = browser
        .eval("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        .await;
    assert_eq!(over, 0, "{page} is too wide");
}

/// What axe finds on the page that is open.
async fn violations(page: &Client, axe: &str) -> Vec<String> {
    let script = format!(
        "{axe}; const done = arguments[arguments.length - 1]; axe.run({{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}}).then(r => done(r.violations.filter(v => v.impact === 'serious' || v.impact === 'critical').map(v => v.id + ': ' + v.nodes[0].html)), e => done([String(e)]))"
    );
    let found = page
        .execute_async(&script, Vec::new())
        .await
        .expect("axe runs");
    serde_json::from_value(found).expect("a list")
}

/// A pipeline with a lead that a rule has moved, a campaign with a waiting mail, and feedback; gives the ids of the lead and the campaign.
async fn sold(service: &Service) -> (String, String) {
    let post =
        async |path: &str, body: Value| service.post(&format!("/api/openclaw{path}"), body).await;
    let stages = json!([{"name": "Prospects", "order": 0, "isDefault": true}, {"name": "Meeting", "order": 1}]);
    post("/setup", json!({"stages": stages})).await;
    let rule =
        json!({"name": "Booked", "triggerEvent": "meeting_booked", "targetStage": "Meeting"});
    post("/automation/rules", rule).await;
    let lead =
        json!({"firstName": "Ada", "lastName": "Holm", "email": "ada@berg.test", "tier": "high"});
    let lead = text(&post("/leads", lead).await["id"]);
    post(
        "/touchpoints",
        json!({"leadId": lead, "type": "meeting_booked"}),
    )
    .await;
    let steps = json!([{"delayDays": 3, "subject": "Hello", "body": "Hello {{ firstName }}"}]);
    let campaign = text(&post("/campaigns", json!({"name": "Hello", "steps": steps})).await["id"]);
    let enrol = format!("/campaigns/{campaign}/enroll");
    post(&enrol, json!({"leadId": lead})).await;
    post(
        "/feedback",
        json!({"type": "bug", "title": "Lists are slow"}),
    )
    .await;
    (lead, campaign)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lead_is_added_moved_and_answered_for_on_the_board() {
    let service = Service::start(Engine::Sqlite).await;
    let browser = signed_in(&service, 1300, 900).await;
    browser.open(&format!("{}/sandbox/crm", service.url)).await;
    browser.press("Add the usual stages").await;
    browser.see(".board", "Negotiated").await;
    browser.press("New lead").await;
    browser.write("dialog input[name=firstName]", "Bo").await;
    browser
        .write("dialog input[name=email]", "bo@dal.test")
        .await;
    browser.press("Add lead").await;
    browser.see(".board .column:first-child", "Bo").await;
    let stage = async || {
        let lead = service.get("/api/openclaw/leads").await["leads"][0].clone();
        text(&lead["stage"])
    };
    // By keyboard: the choice on the card.
    let choice = browser.find(".card.lead select").await;
    choice.send_keys("Engaged").await.expect("typed");
    eventually!(found in stage().await, "it is moved", found == "Engaged");
    browser.see(".board .column:nth-child(3)", "Bo").await;
    // By mouse: the card is dropped on another column.
    let dropped = "const transfer = new DataTransfer(); const card = document.querySelector('.card.lead'); \
        const column = [...document.querySelectorAll('.column')].find((c) => c.textContent.startsWith('Negotiated')); \
        card.dispatchEvent(new DragEvent('dragstart', { dataTransfer: transfer, bubbles: true })); \
        column.dispatchEvent(new DragEvent('dragover', { dataTransfer: transfer, bubbles: true, cancelable: true })); \
        column.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true }));";
    browser.eval(dropped).await;
    eventually!(found in stage().await, "it is moved", found == "Negotiated");
    browser.see(".board .column:nth-child(5)", "Bo").await;
    let lead = text(&service.get("/api/openclaw/leads").await["leads"][0]["id"]);
    browser
        .open(&format!("{}/sandbox/crm/leads/{lead}", service.url))
        .await;
    browser.press("Log touchpoint").await;
    browser
        .write("dialog input[type=text]", "Talked about crowns")
        .await;
    // The button of the dialog has the name of the one that opened it.
    browser
        .find("dialog button.primary")
        .await
        .click()
        .await
        .expect("sent");
    browser.see(".events", "Talked about crowns").await;
    let sent = service
        .post(
            "/api/openclaw/feedback",
            json!({"type": "bug", "title": "Lists are slow"}),
        )
        .await;
    browser
        .open(&format!("{}/sandbox/crm?tab=feedback", service.url))
        .await;
    browser.press("Answer Lists are slow").await;
    browser
        .find("dialog textarea")
        .await
        .send_keys("Ask for fewer.")
        .await
        .expect("written");
    browser.press("Send answer").await;
    browser.see("#main table", "resolved").await;
    let health = service.get("/api/openclaw/health").await;
    assert_eq!(
        health["unread_responses"][0]["feedbackId"],
        sent["feedbackId"]
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_moved_discussed_and_approved_on_its_board() {
    let service = mission_control::start(Engine::Sqlite).await;
    let team = mission_control::Team::make(&service, json!({})).await;
    let browser = signed_in(&service, 1300, 900).await;
    browser
        .open(&format!("{}/sandbox/boards", service.url))
        .await;
    browser.see("#main .cards", "Harbour").await;
    let page = format!("{}/sandbox/boards/{}", service.url, team.board);
    browser.open(&page).await;
    browser.see("#main .facts", "Lea (lead)").await;
    browser.press("New task").await;
    browser.write("dialog input", "Paint the hull").await;
    browser.press("Add task").await;
    browser
        .see(".board .column:first-child", "Paint the hull")
        .await;
    // By keyboard: the choice on the card, which is drawn anew while the dialog's request and the stream both report the task.
    let typed = eventually!(typed in browser.find(".card.lead select").await.send_keys("Review").await, "the choice takes keys", typed.is_ok());
    typed.expect("typed");
    browser
        .see(".board .column:nth-child(3)", "Paint the hull")
        .await;
    // What others do appears by itself.
    let task = team
        .task(&service, json!({"title": "Caulk the deck"}))
        .await;
    browser
        .see(".board .column:first-child", "Caulk the deck")
        .await;
    let chat = json!({"content": "The tide is out", "tags": ["chat"]});
    mission_control::post(&service, &format!("/boards/{}/memory", team.board), chat).await;
    browser.see(".events", "The tide is out").await;
    let ask = json!({"action_type": "buy tar", "confidence": 70, "task_id": task, "payload": {"reason": "The old tar is hard"}});
    let path = format!("/agent/boards/{}/approvals", team.board);
    mission_control::call_as(&service, &team.worker_token, Method::POST, &path, ask).await;
    browser.see("#main", "The old tar is hard").await;
    let axe = axe();
    let found = violations(&browser.page, &axe).await;
    assert!(found.is_empty(), "{found:#?}");
    browser.press("Approve buy tar").await;
    let approvals = async || {
        let all =
            mission_control::get(&service, &format!("/boards/{}/approvals", team.board)).await;
        text(&all["items"][0]["status"])
    };
    eventually!(status in approvals().await, "it is approved", status == "approved");
    browser.open(&format!("{page}/tasks/{task}")).await;
    browser.write("#main textarea", "Use the new tar").await;
    browser.press("Comment").await;
    browser.see(".events", "Use the new tar").await;
    browser.see("#main .cards", "approved").await;
    for (path, said) in [
        (format!("{page}/tasks/{task}"), "Caulk the deck"),
        (
            format!("{}/sandbox/boards?tab=approvals", service.url),
            "No pending approvals",
        ),
        (
            format!("{}/sandbox/boards?tab=agents", service.url),
            "Wim Worker",
        ),
        (format!("{}/sandbox/boards", service.url), "Boats and quays"),
    ] {
        browser.open(&path).await;
        browser.see("#main", said).await;
        let found = violations(&browser.page, &axe).await;
        assert!(found.is_empty(), "{path}: {found:#?}");
        let over = browser.eval("return document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(over, 0, "{path} is wider than its window");
    }
    browser.close().await;
}

/// A model that plans one post, writes it, and writes it again after a note.
async fn writer() -> Model {
    Model::start(|asked| {
        if asked.system.contains("Activity Planner") {
            let told = asked.body.to_string();
            let id = told.split("- id ").nth(1).and_then(|part| part.split(':').next());
            let post = json!({"title": "The post", "agent_role": "gbp-post-writer", "deliverable_id": id, "prompt": "Write it."});
            return Say::call("submit_plan", json!({"activities": [post]}));
        }
        match (asked.results, asked.contains("Name the harbour")) {
            (0, _) => Say::call("search_knowledge", json!({"query": "lighthouse"})),
            (_, false) => Say::text("The lighthouse was lit in 1911. Come and see it."),
            (_, true) => Say::text("The lighthouse of the harbour was lit in 1911. Come and see it."),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_is_made_watched_revised_and_approved() {
    let model = writer().await;
    let service = agency::with_model(Engine::Sqlite, &model, "openai").await;
    let dataset = service.dataset("harbour").await;
    service.add(&dataset, "lighthouse.md", "# Lighthouse\n\nThe lighthouse was lit in 1911. Its keeper lived on the island until 1974.").await;
    let browser = signed_in(&service, 1300, 900).await;
    browser.open(&format!("{}/sandbox/work", service.url)).await;
    browser.press("New campaign").await;
    browser
        .write("dialog input[type=text]", "Harbour days")
        .await;
    browser
        .write("dialog textarea", "Bring people to the harbour.")
        .await;
    browser
        .find("dialog select")
        .await
        .send_keys("gbp post")
        .await
        .expect("chosen");
    browser.press("Create").await;
    browser.see("#main h1", "Harbour days").await;
    // The plan, and the agent at work, appear by themselves.
    browser.see("#main table", "The post").await;
    browser.see("#main table", "awaiting approval").await;
    let all = agency::activities(&service, "filter.agentRole=gbp-post-writer").await;
    let post = text(&all[0]["id"]);
    browser
        .open(&format!("{}/sandbox/work/activities/{post}", service.url))
        .await;
    browser.see(".events", "search knowledge").await;
    browser.see(".text", "Come and see it.").await;
    browser
        .open(&format!("{}/sandbox/work?tab=approvals", service.url))
        .await;
    browser.see("#main .text", "Come and see it.").await;
    browser
        .press("Ask for a revision of Review: The post")
        .await;
    browser.write("dialog textarea", "Name the harbour").await;
    browser.press("Send").await;
    // The second version comes with what changed.
    browser.see("#main .text ins", "of the harbour").await;
    let axe = axe();
    let campaign = text(&agency::get(&service, "/campaigns").await["data"][0]["id"]);
    for (width, theme) in [(1300, "light"), (480, "dark")] {
        let browser = signed_in(&service, width, 900).await;
        browser
            .eval(&format!("localStorage.setItem('cairn.theme', '{theme}')"))
            .await;
        for (path, said) in [
            ("/sandbox/work".to_owned(), "1 approval pending"),
            ("/sandbox/work?tab=activities".to_owned(), "The post"),
            ("/sandbox/work?tab=approvals".to_owned(), "Review: The post"),
            ("/sandbox/work?tab=reports".to_owned(), "No reports yet"),
            ("/sandbox/work?tab=chat".to_owned(), "No conversations yet"),
            (
                format!("/sandbox/work/campaigns/{campaign}"),
                "Bring people to the harbour",
            ),
            (
                format!("/sandbox/work/activities/{post}"),
                "Changes since version 1",
            ),
        ] {
            browser.open(&format!("{}{path}", service.url)).await;
            browser.see("#main", said).await;
            is_finished(&browser, &axe, &format!("{path} at {width}")).await;
        }
        browser.close().await;
    }
    browser.press("Approve Review: The post").await;
    browser.see("#main", "No pending approvals").await;
    agency::reaches(&service, &post, "done").await;
    browser
        .open(&format!("{}/sandbox/work?tab=chat", service.url))
        .await;
    browser
        .write("#main form input", "When was the lighthouse lit?")
        .await;
    browser.press("Send").await;
    browser.see("#main", "1911").await;
    browser
        .see("#main ul.plain", "When was the lighthouse lit?")
        .await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_tells_its_story_and_axe_finds_nothing_serious() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("harbour").await;
    let file = service.add(&dataset, "lighthouse.md", "# Lighthouse\n\nThe lighthouse was lit in 1911. Its keeper lived on the island until 1974.\n\n# Ferry\n\nThe ferry leaves at noon.").await;
    service
        .post(
            "/protected/research",
            json!({"title": "Ferries are late", "findings": "The noon ferry is late on Mondays."}),
        )
        .await;
    service
        .post(
            "/v1/contacts",
            json!({"name": "Jane Holm", "email": "jane@example.com"}),
        )
        .await;
    service
        .search(json!({"query": "when was the lighthouse lit", "datasetIds": [dataset]}))
        .await;
    let (lead, campaign) = sold(&service).await;
    let axe = axe();
    let lane = json!({"datasetIds": [dataset]}).to_string();
    let search: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("q", "lighthouse lit")
        .append_pair("lane", &lane)
        .append_pair("lane", &lane)
        .finish();
    let stories: Vec<(String, &str, &str)> = vec![
        ("/sandbox".to_owned(), "#main", "The indexes "),
        (
            format!("/sandbox/datasets/{dataset}"),
            ".grid",
            "lighthouse.md",
        ),
        (
            format!("/sandbox/datasets/{dataset}?tab=crawl"),
            "[role=tabpanel]",
            "https://harbour.example/docs/",
        ),
        (
            format!("/sandbox/datasets/{dataset}?tab=sources"),
            "[role=tabpanel]",
            "No sources yet",
        ),
        (
            format!("/sandbox/datasets/{dataset}?tab=configuration"),
            "[role=tabpanel]",
            "Parsing and chunking",
        ),
        (
            format!("/sandbox/datasets/{dataset}?tab=generations"),
            "[role=tabpanel]",
            "live",
        ),
        (
            format!("/sandbox/documents/{dataset}/{file}"),
            ".source",
            "The lighthouse was lit in 1911",
        ),
        (
            format!("/sandbox/search?{search}"),
            ".lane .hit",
            "lighthouse",
        ),
        (
            format!("/sandbox/ask?q=when+was+the+lighthouse+lit&dataset={dataset}"),
            ".said",
            "1911",
        ),
        (
            format!("/sandbox/evaluate?dataset={dataset}"),
            "#main",
            "No labelled queries yet",
        ),
        (
            format!("/sandbox/history?dataset={dataset}"),
            "#main table",
            "when was the lighthouse lit",
        ),
        (
            "/sandbox/records".to_owned(),
            "#main table",
            "Ferries are late",
        ),
        (
            "/sandbox/records?kind=contacts&q=holm".to_owned(),
            "#main table",
            "Jane Holm",
        ),
        ("/sandbox/crm".to_owned(), ".board", "Ada Holm"),
        (
            format!("/sandbox/crm/leads/{lead}"),
            ".events",
            "rule Booked on meeting booked",
        ),
        (
            "/sandbox/crm?tab=campaigns".to_owned(),
            "#main table",
            "1 waiting",
        ),
        (
            format!("/sandbox/crm/campaigns/{campaign}"),
            "#main table",
            "ada@berg.test",
        ),
        (
            "/sandbox/crm?tab=stalled".to_owned(),
            "#main",
            "No lead is overdue",
        ),
        (
            "/sandbox/crm?tab=feedback".to_owned(),
            "#main table",
            "Lists are slow",
        ),
        (
            "/sandbox/jobs?status=dead".to_owned(),
            "#main",
            "No dead letters",
        ),
        (
            "/sandbox/sources".to_owned(),
            "#main table",
            "https://harbour.example/docs/",
        ),
        ("/sandbox/webhooks".to_owned(), "#main table", "My endpoint"),
        ("/sandbox/keys".to_owned(), "#main table", "admin"),
        ("/sandbox/access".to_owned(), "#main table", "signed in"),
        ("/sandbox/styleguide".to_owned(), "#main", "Style guide"),
        ("/sandbox/people".to_owned(), "#main table", "Grace"),
        (
            "/sandbox/people/usage".to_owned(),
            "#main table",
            "Documents",
        ),
        (
            "/sandbox/people/tenants".to_owned(),
            "#main table",
            "default",
        ),
    ];
    service
        .post("/kb/v1/users", json!({"name": "Grace", "role": "reviewer"}))
        .await;
    let website = json!({"startUrl": "https://harbour.example/docs/"});
    let sites = format!("/kb/v1/datasets/{dataset}/sites");
    service.call(Method::PUT, &sites, Some(website)).await;
    let endpoint = json!({"name": "My endpoint", "url": "https://harbour.example/hook", "event_types": ["document.indexed"]});
    service.post("/v1/webhooks", endpoint).await;
    for (width, theme) in [(1300, "light"), (480, "dark")] {
        let browser = signed_in(&service, width, 900).await;
        browser
            .eval(&format!("localStorage.setItem('cairn.theme', '{theme}')"))
            .await;
        for (path, css, said) in &stories {
            browser.open(&format!("{}{path}", service.url)).await;
            if path.contains("/ask?") {
                // An address from elsewhere asks nothing by itself.
                browser
                    .find(".query button")
                    .await
                    .click()
                    .await
                    .expect("asks");
            }
            browser.see(css, said).await;
            is_finished(&browser, &axe, &format!("{path} at {width}")).await;
        }
        browser.close().await;
    }

    // A chunk is changed beside the text; a key is made, shown once, and ended.
    let browser = signed_in(&service, 1300, 900).await;
    browser
        .open(&format!(
            "{}/sandbox/documents/{dataset}/{file}",
            service.url
        ))
        .await;
    browser.press("Edit chunk 1").await;
    let area = browser.find("dialog textarea").await;
    area.clear().await.expect("emptied");
    area.send_keys("The beacon was lit in 1912.")
        .await
        .expect("written");
    browser.press("Save").await;
    browser.see(".chunks", "The beacon was lit in 1912.").await;
    browser.see(".chunks", "edited").await;
    browser.open(&format!("{}/sandbox/keys", service.url)).await;
    browser.press("New key").await;
    browser.write("dialog input", "from the page").await;
    browser.press("Create").await;
    browser.see("dialog pre", "cairn_").await;
    let key = browser.text("dialog pre").await;
    let (status, _) = service
        .call_as(&key, Method::GET, "/kb/v1/datasets", None)
        .await;
    assert_eq!(status, StatusCode::OK);
    browser.press("Close").await;
    browser.press("Revoke from the page").await;
    browser.press("Revoke").await;
    browser.see("#main table", "revoked").await;
    let (status, _) = service
        .call_as(&key, Method::GET, "/kb/v1/datasets", None)
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    browser.press("Sign out").await;
    browser.see("h1", "Sign in").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_added_restricted_and_limited_in_the_page() {
    let service = Service::start(Engine::Sqlite).await;
    service.dataset("handbook").await;
    let browser = signed_in(&service, 1300, 900).await;
    let page = format!("{}/sandbox/people", service.url);
    browser.open(&page).await;
    browser.press("Add a member").await;
    browser.write("dialog input", "Grace").await;
    browser.press("Add").await;
    browser.see("dialog pre", "#enter=").await;
    browser.press("Close").await;
    browser.see("#main table", "Grace").await;
    browser.press("Datasets of Grace").await;
    browser.see("dialog h2", "Datasets of Grace").await;
    browser
        .eval("document.querySelector('dialog input[type=checkbox]').click()")
        .await;
    browser
        .eval("document.querySelector('dialog select').value = 'editor'")
        .await;
    browser.press("Save").await;
    let users = service.get("/kb/v1/users").await;
    let members = users["data"].as_array().expect("members");
    let grace = members.iter().find(|member| member["name"] == "Grace");
    let id = text(&grace.expect("a member")["id"]);
    let granted = format!("/kb/v1/users/{id}/datasets");
    eventually!(
        last in service.get(&granted).await,
        "the role is stored",
        last["datasets"][0]["role"] == "editor"
    );
    browser.press("Deactivate Grace").await;
    browser.see("#main table", "inactive").await;
    browser.open(&format!("{page}/tenants")).await;
    browser.press("Quotas for default").await;
    browser.see("dialog h2", "Quotas for default").await;
    browser.write("dialog .content input", "7").await;
    browser.press("Save").await;
    browser.see("#main table", "Documents: 7").await;
    let usage = service.get("/kb/v1/usage").await;
    assert_eq!(usage["quotas"]["documents"], 7);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_website_is_confined_to_the_folder_of_its_first_address() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("web").await;
    let browser = signed_in(&service, 1300, 900).await;
    browser
        .open(&format!(
            "{}/sandbox/datasets/{dataset}?tab=crawl",
            service.url
        ))
        .await;
    browser.press("Add a website").await;
    browser
        .write(
            "dialog input[type=url]",
            "https://example.com/docs/guide.html",
        )
        .await;
    let filled = browser
        .eval("return [...document.querySelectorAll('dialog input')].map((i) => i.value)")
        .await;
    let values = filled.as_array().expect("values");
    assert!(values.contains(&json!("/docs/")), "{filled}");
    browser.close().await;
}

/// A service with one document, whose search for herons has a hit.
async fn with_herons() -> Service {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("birds").await;
    let text = "Herons wait in shallow water.";
    service.add(&dataset, "a.md", text).await;
    service
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_hit_is_seen_without_scrolling_with_one_to_three_lanes_and_on_a_phone() {
    let service = with_herons().await;
    let address = format!("{}/sandbox/search?q=herons", service.url);
    for (width, height, most) in [(1440, 900, 3), (390, 844, 1)] {
        let browser = signed_in(&service, width, height).await;
        browser.open(&address).await;
        for lanes in 1..=most {
            if lanes > 1 {
                browser.press("Duplicate").await;
            }
            browser
                .see(&format!(".lane:nth-of-type({lanes}) .hit"), "Herons")
                .await;
            let shown = browser
                .eval(
                    "scrollTo(0, 0);
                     return [...document.querySelectorAll('.lane')].map((lane) => lane.querySelector('.hit .title').getBoundingClientRect().bottom < innerHeight)",
                )
                .await;
            assert_eq!(shown, json!(vec![true; lanes]), "{lanes} at {width}");
        }
        browser.close().await;
    }
}

/// Types keys into what has the focus.
async fn keys(browser: &Browser, keys: &str) {
    let focused = browser.page.active_element().await.expect("a focus");
    focused.send_keys(keys).await.expect("keys");
}

/// Moves the focus by the tabulator to what bears a name.
async fn tab_to(browser: &Browser, name: &str) {
    let named = "const e = document.activeElement; return (e.getAttribute('aria-label') ?? e.textContent ?? '').trim()";
    for _ in 0..150 {
        keys(browser, &Key::Tab.to_string()).await;
        if browser.eval(named).await == name {
            return;
        }
    }
    panic!("{name:?} is not reached by the tabulator");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_is_labelled_and_evaluated_by_keyboard_alone() {
    let service = with_herons().await;
    let enter = Key::Enter.to_string();
    let browser = signed_in(&service, 1300, 900).await;
    tab_to(&browser, "Search").await;
    keys(&browser, &enter).await;
    browser.see(".lane .answer", "No search yet").await;
    keys(&browser, "/").await;
    let focused = browser.eval("return document.activeElement.type").await;
    assert_eq!(focused, "search", "a slash focuses the query");
    keys(&browser, &format!("who waits{enter}")).await;
    browser.see(".hit", "Herons").await;
    // The first hit has the focus, and a digit labels it.
    eventually!(
        focused in browser.eval("return document.activeElement.className").await,
        "the first hit has the focus",
        focused.as_str().is_some_and(|c| c.split(' ').any(|c| c == "hit"))
    );
    keys(&browser, "2").await;
    browser.see(".hit [aria-pressed=true]", "2 answer").await;
    browser
        .page
        .goto(&format!("{}/sandbox/evaluate", service.url))
        .await
        .expect("opens");
    browser.see("#main", "sandbox").await;
    tab_to(&browser, "Run").await;
    keys(&browser, &enter).await;
    // The run is done, and knows that its one hit was judged.
    browser.see("#main", "100%").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_has_enough_contrast_in_both_themes() {
    let service = Service::start(Engine::Sqlite).await;
    let browser = signed_in(&service, 1300, 900).await;
    for theme in ["light", "dark"] {
        let choose = format!("localStorage.setItem('cairn.theme', '{theme}')");
        browser.eval(&choose).await;
        browser
            .open(&format!("{}/sandbox/styleguide", service.url))
            .await;
        browser.see("h1", "Style guide").await;
        let found = browser
            .eval("return [...document.querySelectorAll('[data-contrast]')].map((e) => [e.textContent, Number(e.dataset.contrast)])")
            .await;
        let all: Vec<(String, f64)> = serde_json::from_value(found).expect("contrasts");
        assert!(all.len() > 10, "{all:?}");
        for (name, contrast) in all {
            assert!(contrast >= 4.5, "{theme}: {name} {contrast}");
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preset_stays_named_until_a_setting_is_changed() {
    let service = with_herons().await;
    let browser = signed_in(&service, 1300, 900).await;
    let address = format!("{}/sandbox/search?q=herons", service.url);
    browser.open(&address).await;
    browser.see(".hit", "Herons").await;
    let named =
        "return document.querySelector('.lane > header select').selectedOptions[0].textContent";
    assert_eq!(browser.eval(named).await, "Dataset defaults");
    let choose = "const s = document.querySelector('.lane > header select'); s.value = [...s.options].find((o) => o.textContent === 'Balanced').value; s.dispatchEvent(new Event('change'))";
    browser.eval(choose).await;
    browser.see(".lane .settings output", "0.50").await;
    assert_eq!(browser.eval(named).await, "Balanced");
    drag(&browser, 0, 0, 0.8).await;
    assert_eq!(browser.eval(named).await, "Custom");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_of_a_lane_are_a_line_that_says_them() {
    let service = with_herons().await;
    let browser = signed_in(&service, 390, 844).await;
    let lane = r#"{"datasetIds":[],"hybridAlpha":0.3,"minScore":0.1,"mmr":0.5}"#;
    let address = format!("{}/sandbox/search?q=herons&lane={lane}", service.url);
    browser.open(&address).await;
    let said = "alpha 0.30 · threshold 0.10 · Diversity (MMR): 0.5";
    browser.see(".lane .settings > summary", said).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_cannot_be_read_is_left_out_with_a_notice() {
    let service = Service::start(Engine::Sqlite).await;
    service.dataset("one").await;
    let browser = signed_in(&service, 1300, 900).await;
    for lane in ["null", "[]", "1", "%7Bbroken"] {
        let address = format!("{}/sandbox/search?q=x&lane={lane}", service.url);
        browser.open(&address).await;
        browser.see(".notice", "could not be read").await;
        let lanes = browser
            .eval("return document.querySelectorAll('.lane').length")
            .await;
        assert_eq!(lanes, 1, "{lane}");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_forms_of_a_lane_bear_its_present_letter() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("birds").await;
    service
        .add(&dataset, "a.md", "Herons wait in shallow water.")
        .await;
    let browser = signed_in(&service, 1300, 900).await;
    let address = format!("{}/sandbox/search?q=herons", service.url);
    browser.open(&address).await;
    browser.see(".hit", "Herons").await;
    browser.press("Duplicate").await;
    browser.see(".lane:nth-of-type(2) .hit", "Herons").await;
    browser.press("Remove lane A").await;
    browser.press("Duplicate").await;
    browser.see(".lane:nth-of-type(2) .hit", "Herons").await;
    let found = browser
        .eval(
            "const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
             const names = [...document.querySelectorAll('.lane')].map(l => [...l.querySelectorAll('.why-not [aria-label]')].map(e => e.getAttribute('aria-label')).join());
             return [ids.length - new Set(ids).size, names[0].includes('lane A'), names[1].includes('lane B'), names.join().includes('undefined')]",
        )
        .await;
    assert_eq!(found, json!([0, true, true, false]));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passages_are_rendered_and_written_one_click_apart() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("sea").await;
    let content = "# Tides\n\nThe **moon** pulls.\n\n| port | lag |\n|---|---|\n| Brest | 3 h |\n\n```rust\nlet lag = 3; // hours\n```\n\n- first\n- second\n";
    service.add(&dataset, "tides.md", content).await;
    let browser = signed_in(&service, 1300, 900).await;
    let address = format!("{}/sandbox/search?q=moon+Brest", service.url);
    browser.open(&address).await;
    browser.see(".hit .rendered td", "Brest").await;
    let shown = "return ['td mark', 'strong mark', 'pre .code-keyword', 'li'].map((css) => document.querySelector(`.hit .rendered ${css}`)?.textContent)";
    let found = browser.eval(shown).await;
    assert_eq!(found, json!(["Brest", "moon", "let", "first"]));
    browser.press("Raw text").await;
    browser.see(".hit .text", "| Brest | 3 h |").await;
    let marked =
        "return [...document.querySelectorAll('.hit .text mark')].map((m) => m.textContent)";
    assert_eq!(browser.eval(marked).await, json!(["moon", "Brest"]));
    // The choice holds on other pages.
    let files = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents"))
        .await;
    let document = format!(
        "{}/sandbox/documents/{dataset}/{}",
        service.url,
        text(&files["data"][0]["id"])
    );
    browser.open(&document).await;
    browser.see(".chunk .text", "| Brest | 3 h |").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_told_until_it_does() {
    let service = Service::start(Engine::Sqlite).await;
    let browser = signed_in(&service, 1300, 900).await;
    browser
        .eval("window.reached = window.fetch; window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
        .await;
    browser.press("Jobs").await;
    browser.see(".offline", "cannot be reached").await;
    browser.eval("window.fetch = window.reached").await;
    // The page that was asked for opens by itself.
    browser.see("h1", "Jobs").await;
    eventually!(
        "the banner is gone",
        browser
            .eval("return document.querySelector('.offline') === null")
            .await
            == true
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_service_is_tried_with_samples() {
    let service = Service::start(Engine::Sqlite).await;
    let browser = signed_in(&service, 1300, 900).await;
    browser.press("Try with sample documents").await;
    eventually!(
        within 120,
        found in browser.text(".lane .hit").await,
        "the suggested question has hits",
        !found.is_empty()
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_is_added_and_its_items_are_shown() {
    let folder = tempfile::tempdir().expect("temporary directory");
    std::fs::write(folder.path().join("tides.md"), "Tides lag.").expect("written");
    let permitted = folder.path().display().to_string();
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.source_folders = permitted.clone();
    })
    .await;
    let dataset = service.dataset("sea").await;
    let browser = signed_in(&service, 1300, 900).await;
    let address = format!("{}/sandbox/datasets/{dataset}?tab=sources", service.url);
    browser.open(&address).await;
    browser.press("Add a source").await;
    browser.write("dialog input[name=name]", "handbook").await;
    browser.write("dialog input[name=path]", &permitted).await;
    browser.press("Save and sync").await;
    // The folder is watched, so that another sync may follow.
    browser.see("table", "completed").await;
    browser.press("Items").await;
    browser.see(".grid", "tides.md").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_source_is_on_one_page_and_can_be_run_there() {
    let folder = tempfile::tempdir().expect("temporary directory");
    std::fs::write(folder.path().join("tides.md"), "Tides lag.").expect("written");
    let permitted = folder.path().display().to_string();
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.source_folders = permitted.clone();
    })
    .await;
    let dataset = service.dataset("sea").await;
    let settings = json!({"kind": "folder", "path": permitted});
    let sources = format!("/kb/v1/datasets/{dataset}/sources");
    let body = json!({"name": "handbook", "settings": settings});
    service.call(Method::PUT, &sources, Some(body)).await;
    let browser = signed_in(&service, 1300, 900).await;
    let address = format!("{}/sandbox/sources", service.url);
    browser.open(&address).await;
    browser.see("#main table", "never").await;
    browser.press("Run handbook").await;
    browser.see("#main table", "1 new").await;
    browser.press("handbook").await;
    browser.see("h1", "sea").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_selected_and_changed_together() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("birds").await;
    for name in ["heron.md", "gannet.md", "puffin.md"] {
        service.add(&dataset, name, name).await;
    }
    let browser = signed_in(&service, 1300, 900).await;
    let address = format!("{}/sandbox/datasets/{dataset}", service.url);
    browser.open(&address).await;
    browser.see(".grid", "puffin.md").await;
    browser
        .find("[aria-label='Select heron.md']")
        .await
        .click()
        .await
        .expect("selects");
    browser
        .find("[aria-label='Select gannet.md']")
        .await
        .click()
        .await
        .expect("selects");
    browser.see(".bulk", "2 files selected").await;
    browser.press("Disable").await;
    browser.see("#toasts", "2 files disabled").await;
    let listed = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents"))
        .await;
    let documents = listed["data"].as_array().expect("documents").iter();
    let enabled: Vec<String> = documents
        .filter(|d| d["enabled"] == true)
        .map(|d| text(&d["fileName"]))
        .collect();
    assert_eq!(enabled, ["puffin.md"]);
    browser
        .find("[aria-label='Select all shown files']")
        .await
        .click()
        .await
        .expect("selects");
    browser.see(".bulk", "3 files selected").await;
    browser.press("Delete").await;
    browser
        .find("dialog button.danger")
        .await
        .click()
        .await
        .expect("deletes");
    browser.see(".grid", "Nothing here yet").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_moved_to_another_dataset() {
    let service = Service::start(Engine::Sqlite).await;
    let (from, to) = (
        service.dataset("inbox").await,
        service.dataset("birds").await,
    );
    let fields = [
        ("metadata", r#"{"year": 2026}"#),
        ("titles", r#"["Herons"]"#),
    ];
    let files: [(&str, &[u8]); 1] = [("heron.md", b"Herons wait.")];
    service.upload(&from, &files, &fields).await;
    let browser = signed_in(&service, 1300, 900).await;
    let address = format!("{}/sandbox/datasets/{from}", service.url);
    browser.open(&address).await;
    browser.see(".grid", "indexed").await;
    browser
        .find("[aria-label='Select heron.md']")
        .await
        .click()
        .await
        .expect("selects");
    browser.press("Move").await;
    browser
        .find("dialog button.primary")
        .await
        .click()
        .await
        .expect("moves");
    browser.see("#toasts", "1 file moved").await;
    let documents = async |dataset: &str| {
        let path = format!("/kb/v1/datasets/{dataset}/documents");
        service.get(&path).await["data"]
            .as_array()
            .expect("documents")
            .clone()
    };
    assert!(documents(&from).await.is_empty());
    let id = text(&documents(&to).await[0]["id"]);
    let moved = service
        .get(&format!("/kb/v1/datasets/{to}/documents/{id}"))
        .await;
    assert_eq!(
        (
            &moved["fileName"],
            &moved["title"],
            &moved["metadata"]["year"]
        ),
        (&json!("heron.md"), &json!("Herons"), &json!(2026))
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_chunk_shows_what_was_changed() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("shore").await;
    let file = service
        .add(&dataset, "light.md", "The lighthouse was lit in 1911.")
        .await;
    let browser = signed_in(&service, 1300, 900).await;
    let address = format!("{}/sandbox/documents/{dataset}/{file}", service.url);
    browser.open(&address).await;
    browser.press("Edit chunk 1").await;
    let area = browser.find("dialog textarea").await;
    area.clear().await.expect("emptied");
    area.send_keys("The lighthouse was lit in 1912.")
        .await
        .expect("written");
    browser.see("dialog .changes ins", "1912.").await;
    browser.see("dialog .changes del", "1911.").await;
    browser.press("Save").await;
    browser.press("Changes").await;
    browser.see(".chunk .changes", "1911.").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_added_and_its_deliveries_are_shown() {
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.outgoing_allow = "127.0.0.0/8".to_owned();
    })
    .await;
    let browser = signed_in(&service, 1300, 900).await;
    let address = format!("{}/sandbox/webhooks", service.url);
    browser.open(&address).await;
    browser.press("New endpoint").await;
    browser.write("dialog input:not([type])", "Mine").await;
    browser
        .write("dialog input[type=url]", "http://127.0.0.1:9/hook")
        .await;
    browser.press("Create endpoint").await;
    browser.see("dialog pre", "whsec_").await;
    browser.press("Close").await;
    browser.see("#main table", "document.indexed").await;
    browser.press("Send a test").await;
    browser
        .see("[aria-label='Deliveries to Mine']", "webhook.test")
        .await;
    browser
        .see("[aria-label='Deliveries to Mine']", "retrying")
        .await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_a_crawl_leaves_out_can_be_included_before_it_starts() {
    let site = Site::start(vec![("/docs/", page("the documentation", &["/blog/1"]))]).await;
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.outgoing_allow = "127.0.0.0/8".to_owned();
    })
    .await;
    let dataset = service.dataset("web").await;
    let browser = signed_in(&service, 1300, 900).await;
    let address = format!("{}/sandbox/datasets/{dataset}?tab=crawl", service.url);
    browser.open(&address).await;
    browser.press("Add a website").await;
    let start = format!("{}/docs/", site.url);
    browser.write("dialog input[type=url]", &start).await;
    browser.press("Preview scope").await;
    browser
        .see("dialog .notice", "1 address under /blog/")
        .await;
    browser.press("Include /blog/").await;
    browser.see("dialog .notice", "2 addresses").await;
    browser.press("Save").await;
    browser.see("#main table", "/docs/").await;
    let saved = service
        .get(&format!("/kb/v1/datasets/{dataset}/sites"))
        .await;
    assert_eq!(
        saved["data"][0]["settings"]["include"],
        json!(["/docs/**", "/blog/**"])
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn originals_open_at_the_passage() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("shore").await;
    let pages = [
        "The harbour lies in the north.",
        "Herons wait in the shallow water of the lagoon.",
    ];
    let printed = service
        .add_with(&dataset, "birds.pdf", &crate::support::pdf(&pages), &[])
        .await;
    let page = "<h1>Crabs</h1><p>Crabs walk sideways, well-armed, over the wet sand.</p>";
    service.add(&dataset, "crabs.html", page).await;
    let browser = signed_in(&service, 1300, 900).await;
    let originals = "return Array.from(document.querySelectorAll('.hit .path a, .chunk a'), a => a.getAttribute('href')).join(' ')";
    let search = format!("{}/sandbox/search?q=herons", service.url);
    browser.open(&search).await;
    browser.see(".hit", "Herons").await;
    let links = browser.eval(originals).await.to_string();
    assert!(links.contains(&format!("{printed}/file#page=2")), "{links}");
    let fragment = "/file#:~:text=Crabs%20walk%20sideways%2C%20well%2Darmed";
    assert!(links.contains(fragment), "{links}");
    let document = format!("{}/sandbox/documents/{dataset}/{printed}", service.url);
    browser.open(&document).await;
    browser.see(".chunk", "harbour").await;
    let links = browser.eval(originals).await.to_string();
    assert!(links.contains("/file#page=1"), "{links}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_is_shown_beside_its_chunks_at_the_page_of_a_chunk() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("shore").await;
    let pages = [
        "The harbour lies in the north.",
        "Herons wait in the shallow water of the lagoon.",
    ];
    let printed = service
        .add_with(&dataset, "birds.pdf", &crate::support::pdf(&pages), &[])
        .await;
    let browser = signed_in(&service, 1300, 900).await;
    let document = format!("{}/sandbox/documents/{dataset}/{printed}", service.url);
    browser.open(&document).await;
    browser.press("Original").await;
    let address = "return document.querySelector('iframe.original').getAttribute('src')";
    let file = format!("/kb/v1/datasets/{dataset}/documents/{printed}/file");
    assert_eq!(browser.eval(address).await, file.as_str());
    browser.press("Show chunk 2 in the text").await;
    assert_eq!(
        browser.eval(address).await,
        format!("{file}#page=2").as_str()
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_shows_who_changed_what() {
    let service = Service::start(Engine::Sqlite).await;
    let made = service
        .post("/v1/tasks", json!({"title": "Caulk the deck"}))
        .await;
    let task = format!("/v1/tasks/{}", text(&made["data"]["id"]));
    let renamed = json!({"title": "Tar the deck"});
    let (status, answer) = service.call(Method::PATCH, &task, Some(renamed)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let browser = signed_in(&service, 1300, 900).await;
    let address = format!("{}/sandbox/records?kind=tasks", service.url);
    browser.open(&address).await;
    browser.press("Open Tar the deck").await;
    browser.press("Changes").await;
    browser
        .see("dialog table", "Caulk the deck → Tar the deck")
        .await;
    browser.close().await;
}
