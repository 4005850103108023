//! Evaluation as a feature: query sets, runs and their comparison, tuning with undo, calibration, history, reranking.

use cairn::db::Args;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Engine, Service, cross_encoder, text};
use crate::{eventually, on_both};

const SUBJECTS: [(&str, &str); 12] = [
    ("harbour", "ships anchor behind the breakwater"),
    ("quarry", "stone is cut from the hillside"),
    ("orchard", "apples are picked in autumn"),
    ("bakery", "loaves leave the oven at dawn"),
    ("library", "books are lent for three weeks"),
    ("foundry", "iron is poured into moulds"),
    ("vineyard", "grapes ripen on the southern slope"),
    ("station", "trains stop here twice an hour"),
    ("lighthouse", "a lamp warns sailors at night"),
    ("windmill", "grain is ground between the stones"),
    ("apiary", "bees are kept in wooden hives"),
    ("theatre", "plays are performed every evening"),
];

/// A dataset with a document per subject, and a query set that asks for each by words and by meaning.
async fn labelled(service: &Service) -> (String, String) {
    let dataset = service.dataset("town").await;
    for (name, sentence) in SUBJECTS {
        service
            .add(
                &dataset,
                &format!("{name}.md"),
                &format!("# The {name} of the town\n\nAt the {name}, {sentence}."),
            )
            .await;
    }
    let sets = format!("/kb/v1/datasets/{dataset}/query-sets");
    let set = text(&service.post(&sets, json!({"name": "questions"})).await["id"]);
    let mut csv = "query,document,grade\n".to_owned();
    for (name, sentence) in SUBJECTS {
        csv += &format!("what happens at the {name},{name}.md,2\n{sentence},{name}.md,1\n");
    }
    csv +=
        "how do I file a tax return,,\nquantum chromodynamics lattice,,\nwho,no-such-file.md,1\n";
    let added = service
        .post(&format!("{sets}/{set}/import"), json!({"csv": csv}))
        .await;
    assert_eq!(added, json!({"added": 26, "unknown": ["no-such-file.md"]}));
    (dataset, set)
}

on_both! {
    async fn a_threshold_never_comes_from_generated_queries(service: Service) {
        let (dataset, _) = labelled(&service).await;
        let sets = format!("/kb/v1/datasets/{dataset}/query-sets");
        let set = text(&service.post(&sets, json!({"name": "titles"})).await["id"]);
        let made = service.post(&format!("{sets}/{set}/synthetic"), json!({"from": "titles"})).await;
        assert_eq!(made["added"], 12, "{made}");
        // Queries that nothing answers, which would be enough to tell answers from the rest.
        let tune = async || service.post(&format!("{sets}/{set}/tune"), json!({"apply": true, "allowUncertainGain": true})).await["tuning"].clone();
        let generated = tune().await;
        assert_eq!((generated["applied"].as_bool(), generated["defaults"].get("confidentFrom")), (Some(true), None), "{generated}");
        let asked = json!({"queries": [
            {"text": "what happens at the apiary", "labels": {"apiary.md": 2}},
            {"text": "quantum chromodynamics lattice", "labels": {}},
        ]});
        service.post(&format!("{sets}/{set}/queries"), asked).await;
        let by_people = tune().await;
        assert!(by_people["defaults"]["confidentFrom"].is_number(), "{by_people}");
    }

    async fn a_gain_that_may_be_chance_is_not_applied(service: Service) {
        let (dataset, set) = labelled(&service).await;
        service.call(Method::PUT, &format!("/kb/v1/datasets/{dataset}/search-defaults"), Some(json!({"hybridAlpha": 0.55}))).await;
        let tuning = service.post(&format!("/kb/v1/datasets/{dataset}/query-sets/{set}/tune"), json!({"apply": true})).await["tuning"].clone();
        let low = tuning["gain"]["low"].as_f64().expect("an interval");
        assert_eq!(tuning["applied"], json!(low > 0.0), "{tuning}");
        let in_force = service.get(&format!("/kb/v1/datasets/{dataset}/search-defaults")).await["defaults"].clone();
        assert_eq!(in_force == json!({"hybridAlpha": 0.55}), low <= 0.0, "{in_force}");
    }

    async fn a_run_that_is_significantly_worse_with_the_same_settings_is_announced(service: Service) {
        let (dataset, set) = labelled(&service).await;
        let runs = format!("/kb/v1/datasets/{dataset}/query-sets/{set}/runs");
        let run = async |alpha: f64| text(&service.post(&runs, json!({"configuration": {"hybridAlpha": alpha}})).await["id"]);
        let announced = async || -> Vec<(String,)> {
            let query = "SELECT payload FROM events WHERE topic = 'evaluation_regressed'";
            service.app.db.all(query, Args::default()).await.expect("events")
        };
        run(0.5).await;
        let before = run(0.5).await;
        run(0.0).await;
        assert_eq!(announced().await, []);
        let documents = service.get(&format!("/kb/v1/datasets/{dataset}/documents?limit=100")).await;
        for document in documents["data"].as_array().expect("documents") {
            let path = format!("/kb/v1/datasets/{dataset}/documents/{}", text(&document["id"]));
            service.call(Method::PATCH, &path, Some(json!({"enabled": false}))).await;
        }
        let worse = run(0.5).await;
        let told = announced().await;
        let event: Value = serde_json::from_str(&told[0].0).expect("JSON");
        assert_eq!((told.len(), &event["runId"], &event["beforeId"]), (1, &json!(worse), &json!(before)));
        assert!(event["high"].as_f64().is_some_and(|high| high < 0.0), "{event}");
    }

    async fn the_progress_of_a_run_is_stored(service: Service) {
        let (dataset, set) = labelled(&service).await;
        let run = service.post(&format!("/kb/v1/datasets/{dataset}/query-sets/{set}/runs"), json!({"name": "far", "configuration": {}})).await;
        assert_eq!((&run["status"], &run["progress"]), (&json!("done"), &Value::Null), "only a run at work tells how far it is");
        let sql = "SELECT queries_done, queries_total, started_on FROM kb_eval_runs";
        let (done, total, started): (i64, i64, Option<i64>) = service.app.db.one(sql, cairn::db::Args(Vec::new())).await.expect("a run");
        assert!((1..=26).contains(&done) && total == 26 && started.is_some(), "{done} of {total}");
    }

    async fn a_run_tells_how_much_of_it_is_judged(service: Service) {
        let (dataset, set) = labelled(&service).await;
        let run = service.post(&format!("/kb/v1/datasets/{dataset}/query-sets/{set}/runs"), json!({"name": "judged", "configuration": {}})).await;
        // Every query has one judged document of twelve, which stands among the best ten of them.
        let judged = run["summary"]["judgedAt10"].as_f64().expect("a share");
        assert!((0.05..=0.2).contains(&judged), "{judged}");
    }

    async fn configurations_are_measured_compared_and_tuned(service: Service) {
        let (dataset, set) = labelled(&service).await;
        let runs = format!("/kb/v1/datasets/{dataset}/query-sets/{set}/runs");
        let run = async |alpha: f64| {
            let made = service.post(&runs, json!({"name": format!("alpha {alpha}"), "configuration": {"hybridAlpha": alpha}})).await;
            assert_eq!((made["summary"]["answerable"].as_u64(), made["summary"]["unanswerable"].as_u64()), (Some(24), Some(2)), "{made}");
            assert_eq!((&made["status"], &made["configuration"]["generation"]), (&json!("done"), &json!(1)));
            made
        };
        let (words, both) = (run(0.0).await, run(0.5).await);
        let ndcg = |run: &Value| run["summary"]["measures"]["ndcg_at_10"].as_f64().expect("a measure");
        assert!(ndcg(&both) > 0.9 && ndcg(&both) >= ndcg(&words) - 1e-9, "{} {}", ndcg(&words), ndcg(&both));
        assert!(both["summary"]["noAnswerAccuracy"].as_f64().expect("a share") > 0.6, "{}", both["summary"]);
        assert_eq!(service.get(&runs).await["data"].as_array().map(Vec::len), Some(2));

        let one = format!("/kb/v1/datasets/{dataset}/runs/{}", text(&words["id"]));
        let compared = service.get(&format!("{one}/compare?with={}", text(&both["id"]))).await;
        let counted = compared["wins"].as_array().expect("wins").len() + compared["losses"].as_array().expect("losses").len() + compared["ties"].as_u64().expect("ties") as usize;
        assert_eq!((compared["queries"].as_u64(), counted), (Some(24), 24));
        let mean = compared["difference"]["mean"].as_f64().expect("a mean");
        assert!((mean - (ndcg(&both) - ndcg(&words))).abs() < 1e-9);
        let calibration = service.get(&format!("/kb/v1/datasets/{dataset}/runs/{}/calibration", text(&both["id"]))).await;
        assert!(calibration["confidentFrom"].as_f64().is_some_and(|t| (0.3..0.9).contains(&t)), "{calibration}");
        assert!(calibration["accuracy"].as_f64().expect("a share") > 0.8);

        let tuning = service.post(&format!("/kb/v1/datasets/{dataset}/query-sets/{set}/tune"), json!({"apply": true, "allowUncertainGain": true})).await;
        let tuned = &tuning["tuning"];
        assert_eq!(tuned["tunedOn"].as_u64().zip(tuned["testedOn"].as_u64()).map(|(a, b)| a + b), Some(24));
        assert_eq!((tuned["alphaCurve"].as_array().map(Vec::len), &tuned["applied"]), (Some(21), &json!(true)), "{tuned}");
        assert!(tuned["after"]["ndcg_at_10"].as_f64() >= tuned["before"]["ndcg_at_10"].as_f64());
        // Tuned once more, what is in force does not leak into what is tried.
        let again = service.post(&format!("/kb/v1/datasets/{dataset}/query-sets/{set}/tune"), json!({})).await;
        assert_eq!((&again["tuning"]["defaults"], &again["tuning"]["alphaCurve"]), (&tuned["defaults"], &tuned["alphaCurve"]));
        let path = format!("/kb/v1/datasets/{dataset}/search-defaults");
        let defaults = service.get(&path).await;
        assert_eq!(defaults["defaults"], tuned["defaults"]);
        assert!(text(&defaults["history"][0]["reason"]).contains("tuned on"));
        let answer = service.post("/kb/v1/search", json!({"query": "bees", "datasetIds": [dataset]})).await;
        assert_eq!((&answer["confidence"]["calibrated"], &answer["confidence"]["threshold"]), (&json!(true), &tuned["defaults"]["confidentFrom"]));

        service.call(Method::PUT, &format!("{path}?reason=too%20much%20noise"), Some(json!({"minScore": 0.99}))).await;
        let changed = service.get(&path).await["history"][0].clone();
        assert_eq!((&changed["reason"], &changed["changedByName"]), (&json!("too much noise"), &json!("admin")), "{changed}");
        assert!(service.search(json!({"query": "bees", "datasetIds": [dataset]})).await.is_empty(), "defaults are in force at the next search");
        let undone = service.post(&format!("{path}/undo"), json!({})).await;
        assert_eq!(undone["defaults"], tuned["defaults"]);
        service.post(&format!("{path}/undo"), json!({})).await;
        let (status, body) = service.call(Method::POST, &format!("{path}/undo"), Some(json!({}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::CONFLICT, &json!("nothing_to_undo")));
        let (status, body) = service.call(Method::PUT, &path, Some(json!({"rerank": true}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("reranker_not_configured")));
        let (status, body) = service.call(Method::PUT, &format!("{path}?reason={}", "x".repeat(301)), Some(json!({}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("reason_invalid")));
        let (status, body) = service.call(Method::PUT, &path, Some(json!({"alpha": 0.5}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("defaults_invalid")));
        let (status, body) = service.call(Method::PUT, &path, Some(json!({"hybridAlpha": 2.0}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("alpha_out_of_range")));
    }

    async fn labels_come_from_feedback_and_from_titles(service: Service) {
        let (dataset, _) = labelled(&service).await;
        let hit = service.search(json!({"query": "bees", "datasetIds": [dataset]})).await.remove(0);
        for grade in [2, 1] {
            let body = json!({"query": "bees", "datasetId": dataset, "chunkId": hit["chunkId"], "grade": grade});
            assert_eq!(service.call(Method::POST, "/kb/v1/feedback", Some(body)).await.0, StatusCode::NO_CONTENT);
        }
        let sets = format!("/kb/v1/datasets/{dataset}/query-sets");
        let feedback = service.get(&format!("{sets}/feedback")).await;
        let passage = format!("{}@{}-{}", text(&hit["fileId"]), hit["start"], hit["end"]);
        assert_eq!((feedback["data"].as_array().map(Vec::len), &feedback["data"][0]["labels"]), (Some(1), &json!({passage: 1})));
        // A label of a passage holds in another generation, where its chunk is another one.
        let generations = format!("/kb/v1/datasets/{dataset}/generations");
        service.post(&generations, json!({"chunkSize": 128})).await;
        eventually!(state in service.get(&generations).await["data"][1].clone(), "the generation is built", state["documentsReady"] == state["documentsTotal"]);
        let again = json!({"configuration": {"generation": 2}});
        eventually!(run in service.post(&format!("{sets}/feedback/runs"), again.clone()).await, "its passage is found", run["summary"]["measures"]["mrr_at_10"] == 1.0);
        let (status, body) = service.call(Method::POST, &format!("{sets}/feedback/runs"), Some(json!({"configuration": {"hybridalpha": 0}}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("field_unknown")));
        let (status, body) = service.call(Method::POST, &format!("{sets}/feedback/runs"), Some(json!({"configuration": {"generation": 9}}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::NOT_FOUND, &json!("generation_not_found")));
        let (status, _) = service.call(Method::POST, "/kb/v1/feedback", Some(json!({"query": "bees", "datasetId": dataset, "documentId": "x", "grade": 2}))).await;
        assert_eq!(status, StatusCode::NOT_FOUND);

        service.post(&sets, json!({"name": "headings"})).await;
        let made = service.post(&format!("{sets}/headings/synthetic"), json!({"from": "headings", "limit": 100})).await;
        assert_eq!(made["added"], 12);
        let run = service.post(&format!("{sets}/headings/runs"), json!({"name": "known items"})).await;
        assert!(run["summary"]["measures"]["mrr_at_10"].as_f64().expect("a measure") > 0.95, "{}", run["summary"]);
        assert_eq!(service.call(Method::DELETE, &format!("{sets}/headings"), None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(service.call(Method::GET, &format!("{sets}/headings"), None).await.1["error"]["reason"], "query_set_not_found");
    }

    async fn queries_are_remembered_and_asked_again(service: Service) {
        let (dataset, _) = labelled(&service).await;
        let search = json!({"query": "bees in hives", "datasetIds": [dataset], "topK": 3});
        let first = service.search(search.clone()).await;
        service.search(json!({"query": "zzzz", "datasetIds": [dataset], "minScore": 0.99})).await;
        let path = format!("/kb/v1/datasets/{dataset}/queries");
        let listed = eventually!(listed in service.get(&path).await, "both are remembered", listed["data"].as_array().map(Vec::len) == Some(2));
        let asked = &listed["data"][1];
        assert_eq!((&asked["query"], asked["results"].as_array().map(Vec::len), &asked["settings"]["topK"]), (&json!("bees in hives"), Some(3), &json!(3)), "{listed}");
        let none = service.get(&format!("{path}?which=withoutHits")).await;
        assert_eq!((none["data"].as_array().map(Vec::len), &none["data"][0]["query"]), (Some(1), &json!("zzzz")));

        // What has changed since: the best document is gone.
        let gone = text(&first[0]["fileId"]);
        service.call(Method::DELETE, &format!("/kb/v1/datasets/{dataset}/documents/{gone}"), None).await;
        let again = service.post(&format!("{path}/{}/replay", text(&asked["id"])), json!({})).await;
        let moved = again["results"].as_array().expect("results");
        assert_eq!((&moved[0]["rankBefore"], &moved[0]["rankAfter"]), (&json!(2), &json!(1)), "{again}");
        let lost = moved.iter().find(|m| m["rankAfter"].is_null()).expect("one is gone");
        assert_eq!((&lost["documentId"], &lost["rankBefore"]), (&json!(gone), &json!(1)));
        let (status, forgotten) = service.call(Method::DELETE, &path, None).await;
        assert_eq!((status, &forgotten["forgotten"]), (StatusCode::OK, &json!(2)));
        assert_eq!(service.call(Method::PATCH, &path, Some(json!({"remember": false}))).await.0, StatusCode::NO_CONTENT);
        service.search(search).await;
        // Written in order: once this one of another dataset is there, the other would be.
        let other = service.dataset("other").await;
        service.search(json!({"query": "x", "datasetIds": [other]})).await;
        let others = format!("/kb/v1/datasets/{other}/queries");
        eventually!(listed in service.get(&others).await, "the later one is remembered", listed["data"].as_array().map(Vec::len) == Some(1));
        assert_eq!(service.get(&path).await["data"], json!([]), "a dataset that opted out");
    }
}

#[tokio::test]
async fn a_cross_encoder_orders_the_head_within_its_time() {
    let models = tempfile::tempdir().expect("temporary directory");
    let reranker = cross_encoder(models.path());
    let start = async |budget: u64| {
        Service::start_with(Engine::Sqlite, |config| {
            config.reranker = reranker.display().to_string();
            config.rerank_budget_ms = budget;
        })
        .await
    };
    let service = start(20_000).await;
    let (dataset, _) = labelled(&service).await;
    let ask = |rerank: bool| json!({"query": "what do sailors see at night", "datasetIds": [dataset], "topK": 12, "rerank": rerank, "explain": true});
    let plain = service.post("/kb/v1/search", ask(false)).await;
    let reranked = service.post("/kb/v1/search", ask(true)).await;
    assert_eq!(
        (
            &reranked["reranking"]["outcome"],
            &reranked["reranking"]["candidates"]
        ),
        (&json!("reranked"), &json!(12))
    );
    let order = |answer: &Value| -> Vec<String> {
        answer["results"]
            .as_array()
            .expect("results")
            .iter()
            .map(|h| text(&h["chunkId"]))
            .collect()
    };
    let before = order(&plain);
    assert_ne!(before, order(&reranked));
    let mut last = f64::MAX;
    for (place, hit) in (1..).zip(reranked["results"].as_array().expect("results")) {
        let (score, moved) = (
            hit["score"].as_f64().expect("a score"),
            &hit["explain"]["rerank"],
        );
        let logit = moved["logit"].as_f64().expect("a logit");
        assert!(score <= last && (score - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6);
        assert_eq!(moved["rankAfter"], json!(place));
        let rank = moved["rankBefore"].as_u64().expect("a rank") as usize;
        assert_eq!(before[rank - 1], text(&hit["chunkId"]));
        last = score;
    }
    let hurried = start(0).await;
    let (dataset, _) = labelled(&hurried).await;
    let body = json!({"query": "what do sailors see at night", "datasetIds": [dataset], "topK": 12, "rerank": true});
    let answer = hurried.post("/kb/v1/search", body).await;
    assert_eq!(answer["reranking"]["outcome"], "outOfTime");
    assert!(answer["results"][0]["score"].as_f64() >= answer["results"][1]["score"].as_f64());
}
