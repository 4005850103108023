//! What must be true of every search.

use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Engine, Service, number, text};

const TEXTS: [(&str, &str); 6] = [
    (
        "whales.txt",
        "Blue whales are the largest animals known to have lived. They feed on krill in cold waters.",
    ),
    (
        "rust.txt",
        "The borrow checker rejects programs in which a reference outlives its value, before they run.",
    ),
    (
        "tea.txt",
        "Steep green tea at eighty degrees for two minutes, or it turns bitter.",
    ),
    (
        "proxy.txt",
        "Export HTTP_PROXY and NO_PROXY before starting release 2.14.3 of the gateway.",
    ),
    (
        "moon.txt",
        "The far side of the moon has fewer maria and a thicker crust than the near side.",
    ),
    (
        "bread.txt",
        "A sourdough starter wants flour and water every day until it doubles within six hours.",
    ),
];

async fn filled(service: &Service) -> String {
    let dataset = service.dataset("facts").await;
    for (name, content) in TEXTS {
        service.add(&dataset, name, content).await;
    }
    dataset
}

on_both! {
    async fn near_duplicates_are_folded_into_the_best_of_them(service: Service) {
        let dataset = service.dataset("d").await;
        let report = |n: usize| format!("The ferry to the northern islands leaves every morning from the stone pier behind the market, number {n}, and returns in the evening when the tide allows it, with mail, sheep and visitors on board, as it has done for more than a hundred years without a single day of rest.");
        for n in 0..4 {
            service.add(&dataset, &format!("copy{n}.txt"), &report(n)).await;
        }
        service.add(&dataset, "other.txt", "The ferry was painted green.").await;
        let ask = async |fold: bool| service.search(json!({"query": "ferry to the islands", "datasetIds": [dataset], "topK": 3, "foldDuplicates": fold})).await;
        let all = ask(false).await;
        assert_eq!(all.iter().map(|h| h["folded"].as_u64()).collect::<Vec<_>>(), [Some(0); 3]);
        let folded = ask(true).await;
        let said: Vec<_> = folded.iter().map(|h| (h["fileName"] == "other.txt", h["folded"].as_u64())).collect();
        assert_eq!(said, [(false, Some(3)), (true, Some(0))]);
        assert_eq!(folded[0]["score"], all[0]["score"], "folding moves no score");
    }

    async fn explanations_add_up_and_nothing_else_moves_a_score(service: Service) {
        let dataset = filled(&service).await;
        let request = |top_k: u64, alpha: f64| json!({"query": "animals in cold water", "datasetIds": [dataset], "topK": top_k, "hybridAlpha": alpha, "explain": true});
        let all = service.search(request(6, 0.7)).await;
        assert_eq!(all.len(), 6, "every chunk is a candidate of the vector list");
        assert_eq!(all[0]["fileName"], "whales.txt");
        for hit in &all {
            let e = &hit["explain"];
            let cosine = number(&e["cosine"]);
            let bm25 = number(&e["bm25"]);
            assert!((number(&e["vectorScore"]) - (1.0 + cosine) / 2.0).abs() < 1e-6);
            assert!((number(&e["keywordScore"]) - (bm25 / number(&e["bm25Bound"])).sqrt()).abs() < 1e-6);
            let sum = number(&e["vectorWeight"]) * number(&e["vectorScore"]) + number(&e["keywordWeight"]) * number(&e["keywordScore"]);
            assert!((number(&hit["score"]) - sum).abs() < 1e-6);
        }
        let few = service.search(request(2, 0.7)).await;
        assert_eq!(few.iter().map(|h| &h["score"]).collect::<Vec<_>>(), all[..2].iter().map(|h| &h["score"]).collect::<Vec<_>>());
        let threshold = number(&all[1]["score"]);
        let above = service.search(json!({"query": "animals in cold water", "datasetIds": [dataset], "topK": 6, "hybridAlpha": 0.7, "minScore": threshold})).await;
        assert_eq!(above.len(), 2, "minScore is a threshold on the final score");
    }

    async fn each_side_can_be_had_alone_and_names_its_source(service: Service) {
        let dataset = filled(&service).await;
        let search = async |query: &str, alpha: f64| service.search(json!({"query": query, "datasetIds": [dataset], "hybridAlpha": alpha, "explain": true})).await;
        let words = search("HTTP_PROXY", 0.0).await;
        assert_eq!((words.len(), &words[0]["fileName"], &words[0]["rankSource"], &words[0]["explain"]["cosine"]), (1, &json!("proxy.txt"), &json!("keyword"), &Value::Null));
        for identifier in ["2.14.3", "no_proxy", "proxy", "HTTP_PROXY"] {
            assert_eq!(search(identifier, 0.0).await[0]["fileName"], "proxy.txt", "{identifier}");
        }
        let meaning = search("compile-time memory safety", 1.0).await;
        assert_eq!((&meaning[0]["fileName"], &meaning[0]["rankSource"], &meaning[0]["explain"]["bm25"]), (&json!("rust.txt"), &json!("vector"), &Value::Null));
        let highlighted = &words[0];
        let content: Vec<char> = text(&highlighted["content"]).chars().collect();
        let shown: Vec<String> = highlighted["highlights"].as_array().expect("ranges").iter().map(|r| {
            let at = |key: &str| usize::try_from(r[key].as_u64().expect("a number")).expect("small");
            content[at("start")..at("end")].iter().collect()
        }).collect();
        assert_eq!(shown, ["HTTP_PROXY", "PROXY"], "the whole name, and the part that the other name shares");
    }

    async fn filters_choose_documents_and_leave_scores_alone(service: Service) {
        let dataset = service.dataset("d").await;
        for (name, year, lang) in [("a.txt", 2020, "en"), ("b.txt", 2024, "en"), ("c.txt", 2024, "de")] {
            let metadata = json!({"year": year, "lang": lang, "tags": [name]}).to_string();
            service.add_with(&dataset, name, format!("Quarterly report of the harbour, volume {name}.").as_bytes(), &[("metadata", &metadata)]).await;
        }
        let search = async |filter: Value| {
            let hits = service.search(json!({"query": "harbour report", "datasetIds": [dataset], "filter": filter})).await;
            let mut found: Vec<(String, f64)> = hits.iter().map(|h| (text(&h["fileName"]), number(&h["score"]))).collect();
            found.sort_by(|a, b| a.0.cmp(&b.0));
            found
        };
        let all = search(Value::Null).await;
        let some = search(json!({"and": [{"field": "year", "op": "gte", "value": 2024}, {"not": {"field": "lang", "op": "eq", "value": "de"}}]})).await;
        assert_eq!(some, [all[1].clone()]);
        assert_eq!(search(json!({"field": "tags", "op": "contains", "value": "c.txt"})).await, [all[2].clone()]);
        assert!(search(json!({"field": "missing", "op": "exists"})).await.is_empty());
        let (status, body) = service.call(reqwest::Method::POST, "/kb/v1/search", Some(json!({"query": "x", "datasetIds": [dataset], "filter": {"field": "x"}}))).await;
        assert_eq!((status.as_u16(), &body["error"]["reason"]), (400, &json!("filter_invalid")));
    }

    async fn a_change_of_a_document_counts_for_the_next_filter(service: Service) {
        let dataset = service.dataset("d").await;
        let metadata = |team: &str| json!({"team": team}).to_string();
        let mut ids = Vec::new();
        for (name, team) in [("a.txt", "north"), ("b.txt", "south")] {
            let text = format!("Tide table of the harbour {name}.");
            ids.push(service.add_with(&dataset, name, text.as_bytes(), &[("metadata", &metadata(team))]).await);
        }
        let found = async |filter: Value| {
            let hits = service.search(json!({"query": "tide table", "datasetIds": [dataset], "filter": filter})).await;
            let mut names: Vec<String> = hits.iter().map(|h| text(&h["fileName"])).collect();
            names.sort();
            names
        };
        let north = json!({"field": "team", "op": "eq", "value": "north"});
        let elsewhere = json!({"field": "team", "op": "ne", "value": "north"});
        assert_eq!(found(north.clone()).await, ["a.txt"]);
        let path = format!("/kb/v1/datasets/{dataset}/documents/{}", ids[1]);
        let (status, body) = service.call(reqwest::Method::PATCH, &path, Some(json!({"metadata": {"team": "north"}}))).await;
        assert_eq!(status.as_u16(), 200, "{body}");
        assert_eq!(found(north.clone()).await, ["a.txt", "b.txt"]);
        let late = "Tide table of the harbour, late.".as_bytes();
        service.add_with(&dataset, "c.txt", late, &[("metadata", &metadata("north"))]).await;
        assert_eq!(found(north.clone()).await, ["a.txt", "b.txt", "c.txt"]);
        let (status, body) = service.call(reqwest::Method::PATCH, &path, Some(json!({"enabled": false}))).await;
        assert_eq!(status.as_u16(), 200, "{body}");
        assert_eq!(found(north).await, ["a.txt", "c.txt"]);
        assert!(found(elsewhere).await.is_empty());
    }

    async fn several_datasets_are_merged_by_score(service: Service) {
        let first = service.dataset("first").await;
        let second = service.dataset("second").await;
        service.add(&first, "one.txt", "Penguins huddle against the wind.").await;
        service.add(&second, "two.txt", "Penguins dive for fish.").await;
        service.add(&second, "three.txt", "The parliament adjourned.").await;
        let hits = service.search(json!({"query": "penguins", "datasetIds": [first, second, first], "topK": 10})).await;
        let names: Vec<String> = hits.iter().map(|h| text(&h["fileName"])).collect();
        assert_eq!(names.len(), 3, "a dataset named twice is searched once");
        assert_eq!(names[2], "three.txt");
        assert!(hits.is_sorted_by(|a, b| number(&a["score"]) >= number(&b["score"])));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_fusions_can_be_asked_for() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = filled(&service).await;
    for fusion in ["rrf", "minmax", "blend"] {
        let hits = service.search(json!({"query": "krill whales", "datasetIds": [dataset], "fusion": fusion, "explain": true})).await;
        assert_eq!(
            (&hits[0]["fileName"], &hits[0]["explain"]["fusion"]),
            (&json!("whales.txt"), &json!(fusion))
        );
        assert!(
            hits.iter()
                .all(|h| (0.0..=1.0).contains(&number(&h["score"])))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_spans_of_the_text_whatever_the_script() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let source: String = (0..80).map(|n| format!("# Straße {n}\r\n\r\nÜber den Wolken 雲の上 ist es kühl, sagt Nummer {n}. Und weiter geht es.\r\n\r\n")).collect();
    let id = service.add(&dataset, "wolken.md", &source).await;
    let base = format!("/kb/v1/datasets/{dataset}/documents/{id}");
    let (_, body) = service
        .call(reqwest::Method::GET, &format!("{base}/text"), None)
        .await;
    let normalised = text(&body);
    assert!(!normalised.contains('\r'));
    let characters: Vec<char> = normalised.chars().collect();
    let mut cursor = String::new();
    let mut seen = 0;
    loop {
        let page = service
            .get(&format!("{base}/chunks?limit=3&cursor={cursor}"))
            .await;
        for chunk in page["data"].as_array().expect("chunks") {
            let at =
                |key: &str| usize::try_from(chunk[key].as_u64().expect("a number")).expect("small");
            let content = text(&chunk["content"]);
            assert_eq!(content, normalised[at("startByte")..at("endByte")]);
            assert_eq!(
                content,
                characters[at("start")..at("end")]
                    .iter()
                    .collect::<String>()
            );
            assert!(at("tokens") <= 256 && chunk["truncated"] == json!(false));
            assert_eq!(at("ordinal"), seen);
            seen += 1;
        }
        match page["pagination"]["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert!(seen > 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_beyond_the_models_limit_says_so() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let long: String = (0..700).map(|n| format!("item{n} ")).collect();
    let id = service
        .add_with(
            &dataset,
            "long.txt",
            long.as_bytes(),
            &[
                ("chunkSize", "2048"),
                ("chunkOverlap", "0"),
                ("parseType", "NAIVE"),
            ],
        )
        .await;
    let chunks = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents/{id}/chunks"))
        .await;
    assert_eq!(chunks["data"][0]["truncated"], true);
    let hits = service
        .search(json!({"query": "item1", "datasetIds": [dataset], "explain": true}))
        .await;
    assert_eq!(hits[0]["explain"]["truncated"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_does_not_stand_for_words_that_nothing_has() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("filtered").await;
    service
        .add(&dataset, "a.md", "Gannets nest on the cliff.")
        .await;
    for (query, wanted) in [("zyzzyva", 0), ("gannets", 1)] {
        let hits = service
            .search(json!({"query": query, "datasetIds": [dataset], "hybridAlpha": 0.0, "filter": {"field": "$fileName", "op": "eq", "value": "a.md"}}))
            .await;
        assert_eq!(hits.len(), wanted, "{query}: {hits:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_not_answered_with_confidence_whatever_the_fusion() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = filled(&service).await;
    for fusion in ["blend", "rrf", "minmax"] {
        for (query, unsure) in [
            ("qwxz vbnkl plomf", true),
            ("largest animals that feed on krill", false),
        ] {
            let body = json!({"query": query, "datasetIds": [dataset], "fusion": fusion});
            let answer = service.post("/kb/v1/search", body).await;
            assert_eq!(
                answer["confidence"]["noConfidentAnswer"], unsure,
                "{fusion}, {query}: {}",
                answer["confidence"]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_nothing_as_operators_is_read_as_words() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    service
        .add(
            &dataset,
            "a.txt",
            "Use find with -name to list files of a type:warning kind.",
        )
        .await;
    for (query, plain) in [
        ("find -name", true),
        ("list type:warning", false),
        ("find list", false),
    ] {
        let body = json!({"query": query, "datasetIds": [dataset], "hybridAlpha": 0.0});
        let answer = service.post("/kb/v1/search", body).await;
        assert_eq!(
            answer["results"].as_array().map(Vec::len),
            Some(1),
            "{query}"
        );
        assert_eq!(answer["readAsPlain"] == true, plain, "{query}");
    }
}
