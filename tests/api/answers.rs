//! What people type, what they get, and why.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Service, text};
use crate::{eventually, on_both};

const PAGES: [(&str, &str); 6] = [
    (
        "keys.md",
        "# Key rotation\n\nRotate the signing keys every month. The old way was to restart the gateway.",
    ),
    (
        "gateway.md",
        "# Gateway\n\n## Limits\n\nThe api gateway accepts forty requests per second.\n\n## Keys\n\nKeys of the gateway are rotated by an operator.",
    ),
    (
        "malaga.md",
        "# Travel\n\nThe train to Málaga leaves at noon and follows the coast.",
    ),
    (
        "legacy.md",
        "# Legacy\n\nThe legacy signing of keys is kept for old clients of the gateway.",
    ),
    (
        "encryption.md",
        "# Storage\n\nEncryption at rest is done by the disk, and encrypted backups are kept elsewhere.",
    ),
    (
        "tea.md",
        "# Tea\n\nSteep green tea for two minutes, or it turns bitter.",
    ),
];

async fn filled(service: &Service) -> String {
    let dataset = service.dataset("facts").await;
    for (name, content) in PAGES {
        let lang =
            json!({"team": if name == "tea.md" { "kitchen" } else { "platform" }}).to_string();
        service
            .add_with(&dataset, name, content.as_bytes(), &[("metadata", &lang)])
            .await;
    }
    dataset
}

async fn names(service: &Service, body: Value) -> Vec<String> {
    let hits = service.search(body).await;
    let mut names: Vec<String> = hits.iter().map(|h| text(&h["fileName"])).collect();
    names.dedup();
    names.sort();
    names
}

on_both! {
    async fn stop_words_are_found_where_they_are_meant(service: Service) {
        let dataset = service.dataset("lines").await;
        for (name, text) in [
            ("hamlet.md", "To be, or not to be, that is the question."),
            ("help.md", "IT is run by Ravi, who is to be found in the cellar."),
            ("hafen.md", "Frau Müller aus Köln prüft die Größe der Brücke und der Straße am Hafen."),
        ] {
            service.add(&dataset, name, text).await;
        }
        let ask = async |query: &str| names(&service, json!({"query": query, "datasetIds": [dataset], "topK": 20})).await;
        assert_eq!(ask("\"to be or not to be\"").await, ["hamlet.md"]);
        assert_eq!(ask("\"is to be\"").await, ["help.md"], "in this order");
        assert_eq!(ask("+IT").await, ["help.md"]);
        assert_eq!(ask("+IT Ravi").await, ["help.md"]);
        assert_eq!(ask("+der Straße").await, ["hafen.md"]);
        assert!(!ask("Köln question -or").await.contains(&"hamlet.md".to_owned()));
        // A query of nothing else has scores, and says which words it found.
        let hits = service.search(json!({"query": "who is it", "datasetIds": [dataset], "hybridAlpha": 0.0, "explain": true})).await;
        assert_eq!(text(&hits[0]["fileName"]), "help.md");
        assert!(hits[0]["score"].as_f64().is_some_and(|s| s > 0.0), "{}", hits[0]);
        let shown = hits[0]["explain"].to_string();
        assert!(shown.contains("\"who\"") && !shown.contains("\\u0002"), "{shown}");
    }

    async fn operators_choose_hits(service: Service) {
        let dataset = filled(&service).await;
        let ask = async |query: &str| names(&service, json!({"query": query, "datasetIds": [dataset], "topK": 20})).await;
        assert_eq!(ask("\"api gateway\" limits").await, ["gateway.md"]);
        assert_eq!(ask("keys -legacy +signing").await, ["keys.md"]);
        assert_eq!(ask("keys -\"old way\" +signing").await, ["legacy.md"]);
        assert_eq!(ask("green team:kitchen").await, ["tea.md"]);
        assert_eq!(ask("keys file:gateway").await, ["gateway.md"]);
        assert_eq!(ask("steep type:md").await.len(), 6);
        assert!(ask("steep type:pdf").await.is_empty());
        assert_eq!(ask("gateway heading:limits").await, ["gateway.md"]);
        let words = async |query: &str| service.search(json!({"query": query, "datasetIds": [dataset], "hybridAlpha": 0.0, "topK": 20})).await;
        for prefix in ["encrypt*", "encryptio*", "elsewh*"] {
            assert_eq!(words(prefix).await.len(), 1, "{prefix}");
        }
        assert_eq!(ask("+malaga train").await, ["malaga.md"], "a condition needs no diacritics");
        assert_eq!(ask("\"to malaga\" train").await, ["malaga.md"]);
        assert!(!ask("train -malaga").await.contains(&"malaga.md".to_owned()));
        assert_eq!(ask("team:kitchen").await, ["tea.md"], "a condition alone lists what satisfies it");
        let (status, body) = service.call(Method::POST, "/kb/v1/search", Some(json!({"query": "-legacy", "datasetIds": [dataset]}))).await;
        assert_eq!((status, &body["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("query_only_excludes")));
        let other = service.dataset("other").await;
        service.add(&other, "kettle.md", "Green tea is made in a kettle.").await;
        let both = names(&service, json!({"query": "green team:kitchen", "datasetIds": [other, dataset], "topK": 20})).await;
        assert_eq!(both, ["tea.md"], "a field of one dataset is a condition for all");
        for (field, value) in [("fitler", json!({})), ("topk", json!(1))] {
            let mut body = json!({"query": "keys", "datasetIds": [dataset]});
            body[field] = value;
            let (status, answer) = service.call(Method::POST, "/kb/v1/search", Some(body)).await;
            assert_eq!((status, &answer["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("field_unknown")), "{field}");
        }
        let bogus = json!({"query": "keys", "datasetIds": [dataset], "filter": {"field": "$bogus", "op": "exists"}});
        assert_eq!(service.call(Method::POST, "/kb/v1/search", Some(bogus)).await.1["error"]["reason"], "field_unknown");
        let plain = names(&service, json!({"query": "keys -legacy", "datasetIds": [dataset], "topK": 20, "syntax": "plain"})).await;
        assert!(plain.contains(&"legacy.md".to_owned()), "{plain:?}");
        for odd in ["\"", "+ - *", "a:b:c", "-\"", "field:", "((((", "\"unclosed phrase", "*", "NOT AND OR", "\u{0}", "-x +y z*"] {
            let (status, body) = service.call(Method::POST, "/kb/v1/search", Some(json!({"query": odd, "datasetIds": [dataset]}))).await;
            assert_eq!(status, StatusCode::OK, "{odd}: {body}");
        }
    }

    async fn misspelt_and_unaccented_words_are_found(service: Service) {
        let dataset = filled(&service).await;
        let ask = async |query: &str| service.post("/kb/v1/search", json!({"query": query, "datasetIds": [dataset], "hybridAlpha": 0.0})).await;
        let answer = ask("rotat the sigming keys").await;
        assert_eq!(answer["results"][0]["fileName"], "keys.md");
        assert_eq!(answer["didYouMean"], "rotat the signing keys", "{answer}");
        for odd in ["gatway nested.b", "encription.gatway", "node.sj requsts", "a.gatway.b"] {
            let (status, body) = service.call(Method::POST, "/kb/v1/search", Some(json!({"query": odd, "datasetIds": [dataset]}))).await;
            assert_eq!(status, StatusCode::OK, "{odd}: {body}");
        }
        let plain = ask("malaga").await;
        let accented = ask("Málaga").await;
        assert_eq!((&plain["results"][0]["fileName"], &accented["results"][0]["fileName"]), (&json!("malaga.md"), &json!("malaga.md")));
        assert!(accented["results"][0]["score"].as_f64() > plain["results"][0]["score"].as_f64(), "the exact form is preferred");
        assert_eq!(accented["results"][0]["highlights"].as_array().map(Vec::len), Some(1));
        assert_eq!(plain["results"][0]["highlights"], accented["results"][0]["highlights"]);
    }

    async fn answers_say_how_many_there_are_and_go_on_page_by_page(service: Service) {
        let dataset = filled(&service).await;
        let body = |more: Value| {
            let mut body = json!({"query": "keys of the gateway", "datasetIds": [dataset], "topK": 2, "facets": ["team", "$fileName"]});
            body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            body
        };
        let whole = service.post("/kb/v1/search", body(json!({"topK": 50}))).await;
        let total = whole["results"].as_array().expect("results").len();
        assert_eq!((whole["totals"]["candidates"].as_u64(), &whole["totals"]["complete"], &whole["totals"]["documents"]), (Some(total as u64), &json!(true), &json!(6)));
        assert_eq!(whole["facets"][0]["values"][0], json!({"value": "platform", "chunks": total - 1, "documents": 5}));
        let (mut seen, mut cursor) = (Vec::new(), Value::Null);
        for _ in 0..20 {
            let page = service.post("/kb/v1/search", body(json!({"cursor": cursor}))).await;
            seen.extend(page["results"].as_array().expect("results").iter().map(|h| (h["chunkId"].clone(), h["score"].clone())));
            cursor = page["nextCursor"].clone();
            if cursor.is_null() { break; }
        }
        let all: Vec<_> = whole["results"].as_array().expect("results").iter().map(|h| (h["chunkId"].clone(), h["score"].clone())).collect();
        assert_eq!(seen, all, "every hit once, with the same score");
        // What a budget leaves out begins the next page; a cursor leads on only where it came from.
        let first = service.post("/kb/v1/search", body(json!({"topK": 4, "maxTokens": 60}))).await;
        let shown = first["results"].as_array().expect("results").len();
        assert!((1..4).contains(&shown), "{shown}");
        let second = service.post("/kb/v1/search", body(json!({"topK": 4, "cursor": first["nextCursor"]}))).await;
        assert_eq!(second["results"][0]["chunkId"], whole["results"][shown]["chunkId"]);
        let elsewhere = json!({"query": "tea", "datasetIds": [dataset], "cursor": first["nextCursor"]});
        assert_eq!(service.call(Method::POST, "/kb/v1/search", Some(elsewhere)).await.1["error"]["reason"], "cursor_invalid");
        let one_each = service.search(body(json!({"topK": 50, "perDocument": 1}))).await;
        assert_eq!(one_each.len(), 6);
        let (status, refused) = service.call(Method::POST, "/kb/v1/search", Some(body(json!({"cursor": "nonsense"})))).await;
        assert_eq!((status, &refused["error"]["reason"]), (StatusCode::BAD_REQUEST, &json!("cursor_invalid")));
    }

    async fn hits_come_with_their_surroundings_within_a_budget(service: Service) {
        let dataset = service.dataset("d").await;
        let paragraphs: String = (0..12).map(|n| format!("## Part {}\n\nParagraph {n} tells of {}.\n\n", n / 4, ["harbours", "lighthouses", "ferries", "buoys"][n % 4].to_owned() + &" and of the sea".repeat(60))).collect();
        service.add(&dataset, "sea.md", &paragraphs).await;
        let body = json!({"query": "paragraph 5 tells of lighthouses", "datasetIds": [dataset], "topK": 10, "expand": 1, "section": true, "hybridAlpha": 0.0});
        let hits = service.search(body.clone()).await;
        let first = &hits[0];
        let (content, expanded, section) = (text(&first["content"]), text(&first["expanded"]["text"]), text(&first["section"]["text"]));
        assert!(expanded.contains(&content) && expanded.len() > content.len());
        assert_eq!(first["expanded"]["chunkIds"].as_array().map(Vec::len), Some(3));
        assert!(section.contains("Paragraph 4") && section.contains("Paragraph 7") && !section.contains("Paragraph 8"), "{section}");
        let mut budgeted = json!({"query": "paragraph 5 tells of lighthouses", "datasetIds": [dataset], "topK": 10, "maxTokens": 500});
        let answer = service.post("/kb/v1/search", budgeted.clone()).await;
        let shown = answer["results"].as_array().expect("results").len();
        assert!(shown >= 1 && answer["tokens"].as_u64().expect("tokens") <= 500);
        assert_eq!(answer["trimmed"].as_u64(), Some(10 - shown as u64));
        budgeted["maxTokens"] = json!(1);
        let none = service.post("/kb/v1/search", budgeted).await;
        assert_eq!((none["results"].as_array().map(Vec::len), &none["tokens"]), (Some(0), &json!(0)), "no answer is over its budget");
    }

    async fn differing_hits_come_first_when_asked_for(service: Service) {
        let dataset = service.dataset("d").await;
        for n in 0..4 {
            service.add(&dataset, &format!("tide{n}.txt"), &format!("High tide at the stone pier is at noon on day {n}.")).await;
        }
        service.add(&dataset, "mooring.txt", "Boats are moored at the pier by two ropes.").await;
        let ask = async |mmr: Value| names(&service, json!({"query": "high tide at the pier", "datasetIds": [dataset], "topK": 2, "mmr": mmr})).await;
        assert!(ask(Value::Null).await.iter().all(|n| n.starts_with("tide")));
        assert_eq!(ask(json!(0.4)).await[0], "mooring.txt");
        assert!(ask(json!(1.0)).await.iter().all(|n| n.starts_with("tide")));
        let capped = names(&service, json!({"query": "high tide at the pier", "datasetIds": [dataset], "topK": 4, "mmr": 0.9, "perDocument": 1})).await;
        assert_eq!(capped.len(), 4, "the cap leaves room for others");
    }

    async fn a_remembered_answer_is_that_of_this_moment(service: Service) {
        let dataset = filled(&service).await;
        let body = json!({"query": "signing keys", "datasetIds": [dataset], "topK": 3});
        // The indexes may still be on their way to the last document.
        let again = eventually!(again in service.post("/kb/v1/search", body.clone()).await, "the answer is remembered", again["cached"] == true);
        let first = text(&again["results"][0]["fileId"]);
        let fresh = service.post("/kb/v1/search", json!({"query": "signing keys", "datasetIds": [dataset], "topK": 3, "cache": false})).await;
        assert_eq!((&fresh["cached"], &fresh["results"]), (&json!(false), &again["results"]));
        service.call(Method::PATCH, &format!("/kb/v1/datasets/{dataset}/documents/{first}"), Some(json!({"metadata": {"team": "other"}}))).await;
        let changed = service.post("/kb/v1/search", body.clone()).await;
        assert_eq!((&changed["cached"], &changed["results"][0]["documentMetadata"]["team"]), (&json!(false), &json!("other")));
        service.call(Method::DELETE, &format!("/kb/v1/datasets/{dataset}/documents/{first}"), None).await;
        let gone = service.post("/kb/v1/search", body).await;
        assert!(gone["results"].as_array().expect("results").iter().all(|h| h["fileId"] != json!(first)));
    }

    async fn the_weight_of_the_vectors_suits_the_language(service: Service) {
        let dataset = service.dataset("d").await;
        service.add(&dataset, "en.txt", "The harbour was built by fishermen in the middle ages.").await;
        service.add(&dataset, "de.txt", "Der Hafen wurde im Mittelalter von Fischern gebaut und später erweitert.").await;
        let alpha = async |query: &str, given: Value| {
            let answer = service.post("/kb/v1/search", json!({"query": query, "datasetIds": [dataset], "explain": true, "hybridAlpha": given})).await;
            let e = &answer["results"][0]["explain"];
            (e["alpha"].as_f64().expect("a weight"), text(&e["alphaReason"]))
        };
        let (english, _) = alpha("who built the harbour", Value::Null).await;
        let (russian, reason) = alpha("кто построил гавань", Value::Null).await;
        assert!(english > 0.5 && russian < 0.2, "{english} {russian}");
        assert!(reason.contains("query"), "{reason}");
        assert_eq!(alpha("кто построил гавань", json!(0.5)).await.0, 0.5, "a request that names a weight gets it");
        let german = service.search(json!({"query": "Fischer im Hafen", "datasetIds": [dataset], "hybridAlpha": 0.0})).await;
        assert_eq!((german.len(), &german[0]["fileName"]), (1, &json!("de.txt")), "each chunk is stemmed in its own language");
    }

    async fn feedback_of_the_best_chunks_widens_a_query(service: Service) {
        let dataset = service.dataset("d").await;
        for n in 0..4 {
            service.add(&dataset, &format!("a{n}.txt"), &format!("The lighthouse keeper trims the lantern wick in year {n}.")).await;
        }
        service.add(&dataset, "b.txt", "A lantern needs a clean wick.").await;
        let ask = async |feedback: bool| service.post("/kb/v1/search", json!({"query": "lighthouse", "datasetIds": [dataset], "topK": 10, "hybridAlpha": 0.0, "feedback": feedback, "explain": true})).await;
        let narrow = ask(false).await;
        assert_eq!(narrow["results"].as_array().map(Vec::len), Some(4));
        let wide = ask(true).await;
        assert_eq!(wide["results"].as_array().map(Vec::len), Some(5), "{wide}");
        let added = wide["interpretations"][0]["added"].to_string();
        assert!(added.contains("wick") && added.contains("lantern"), "{added}");
    }

    async fn a_score_depends_on_nothing_but_query_and_chunk(service: Service) {
        let dataset = filled(&service).await;
        let mut scores: std::collections::HashMap<(String, String), f64> = std::collections::HashMap::new();
        let variants = [
            json!({"topK": 1}), json!({"topK": 3, "candidates": 2}), json!({"topK": 50}), json!({"topK": 50, "candidates": 3}),
            json!({"topK": 50, "filter": {"field": "team", "op": "eq", "value": "platform"}}), json!({"topK": 50, "perDocument": 1}),
            json!({"topK": 4, "mmr": 0.5}), json!({"topK": 50, "minScore": 0.4}), json!({"topK": 5, "foldDuplicates": true, "expand": 1}),
            json!({"topK": 5, "facets": ["team"], "maxTokens": 200}),
        ];
        for query in ["rotate the keys", "gateway", "how hot is tea", "\"signing keys\" rotate", "tran to malaga"] {
            for variant in &variants {
                let mut body = json!({"query": query, "datasetIds": [dataset], "explain": true, "cache": false});
                body.as_object_mut().expect("an object").extend(variant.as_object().expect("an object").clone());
                for hit in service.search(body).await {
                    let (score, e) = (hit["score"].as_f64().expect("a score"), &hit["explain"]);
                    let part = |name: &str| e[name].as_f64().unwrap_or(0.0);
                    let sum = part("vectorWeight") * part("vectorScore") + part("keywordWeight") * part("keywordScore");
                    assert!((sum - score).abs() < 1e-6, "{query} {variant}: {hit}");
                    let known = *scores.entry((query.to_owned(), text(&hit["chunkId"]))).or_insert(score);
                    assert!((known - score).abs() < 1e-6, "{query} {variant}: {score} instead of {known}");
                }
            }
        }
        assert!(scores.len() > 20);
    }

    async fn agent_roles_choose_datasets(service: Service) {
        let dataset = filled(&service).await;
        let config = format!("/dashboard/v1/knowledge-base/datasets/{dataset}/config");
        service.call(Method::PATCH, &config, Some(json!({"allowedAgentRoles": ["support"]}))).await;
        let ask = async |role: &str| service.call(Method::POST, "/kb/v1/search", Some(json!({"query": "keys", "datasetIds": [dataset], "agentRole": role}))).await;
        assert_eq!(ask("support").await.0, StatusCode::OK);
        let (status, refused) = ask("sales").await;
        assert_eq!((status, &refused["error"]["reason"]), (StatusCode::FORBIDDEN, &json!("role_not_allowed")));
    }
}
