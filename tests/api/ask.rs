//! Answers with citations: by each protocol of language models, and without one.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode as Code};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

use crate::support::{Engine, Service, text};

/// What the model says, in pieces.
const SAYS: [&str; 5] = [
    "The lighthouse at Skagen was lit ",
    "in 1858 [1]. It was painted red by ",
    "a committee of forty owls",
    " in 1859 [1]. Nobody knows its weight [7]",
    ".",
];

/// A language model that says the same to everybody, and remembers what it was told.
#[derive(Clone, Default)]
struct Model {
    told: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    breaks: bool,
}

async fn openai(State(model): State<Model>, headers: HeaderMap, body: String) -> Response {
    model
        .told
        .lock()
        .expect("told")
        .push((headers, serde_json::from_str(&body).expect("JSON")));
    let mut out = String::new();
    for (at, piece) in SAYS.iter().enumerate() {
        if model.breaks && at == 2 {
            out.push_str("data: {\"error\":{\"message\":\"the machine is full\"}}\n\n");
            return out.into_response();
        }
        out.push_str(&format!(
            "data: {}\n\n",
            json!({"choices": [{"delta": {"content": piece}, "finish_reason": null}]})
        ));
    }
    out.push_str("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":90,\"completion_tokens\":20}}\n\ndata: [DONE]\n\n");
    out.into_response()
}

async fn anthropic(State(model): State<Model>, headers: HeaderMap, body: String) -> Response {
    model
        .told
        .lock()
        .expect("told")
        .push((headers, serde_json::from_str(&body).expect("JSON")));
    let mut out = String::from(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":90,\"output_tokens\":1}}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
    );
    for piece in SAYS {
        out.push_str(&format!("event: content_block_delta\ndata: {}\n\n", json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}})));
    }
    out.push_str("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":20}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    out.into_response()
}

async fn ollama(State(model): State<Model>, headers: HeaderMap, body: String) -> Response {
    model
        .told
        .lock()
        .expect("told")
        .push((headers, serde_json::from_str(&body).expect("JSON")));
    let mut out = String::new();
    for piece in SAYS {
        out.push_str(&format!(
            "{}\n",
            json!({"message": {"role": "assistant", "content": piece}, "done": false})
        ));
    }
    out.push_str("{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":90,\"eval_count\":20}\n");
    out.into_response()
}

/// Serves the model; gives its address.
async fn serve(model: Model) -> String {
    let app = Router::new()
        .route("/v1/chat/completions", post(openai))
        .route("/v1/messages", post(anthropic))
        .route("/api/chat", post(ollama))
        .route(
            "/down/chat/completions",
            post(async || (Code::BAD_GATEWAY, "secret words of the gateway")),
        )
        .with_state(model);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

const TEXT: &str = "# Skagen\n\nThe town lies where two seas meet.\n\n## The lighthouse\n\nThe lighthouse at Skagen was lit for the first time in 1858. It stands forty six metres tall.\n\n## The harbour\n\nThe harbour was opened in 1907, and is the largest fishing harbour of the country.\n";

async fn started(url: &str, protocol: &str, key: &str) -> (Service, String) {
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.answer_url = url.to_owned();
        config.answer_protocol = protocol.to_owned();
        config.answer_model = "stub".to_owned();
        config.answer_api_key = key.to_owned();
    })
    .await;
    let dataset = service.dataset("north").await;
    service.add(&dataset, "skagen.md", TEXT).await;
    (service, dataset)
}

/// The events of an answer.
async fn ask(service: &Service, body: Value) -> Vec<(String, Value)> {
    let response = service
        .http
        .post(format!("{}/kb/v1/answer", service.url))
        .bearer_auth(&service.key)
        .json(&body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.text().await.expect("events");
    body.split("\n\n")
        .filter(|e| !e.trim().is_empty())
        .map(|event| {
            let of = |name: &str| {
                let line = event.lines().find_map(|l| l.strip_prefix(name));
                line.expect("a line").trim().to_owned()
            };
            (
                of("event:"),
                serde_json::from_str(&of("data:")).expect("JSON"),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_each_protocol_answers_and_is_checked() {
    for (path, protocol, header) in [
        ("/v1", "openai", "authorization"),
        ("/v1", "anthropic", "x-api-key"),
        ("", "ollama", "authorization"),
    ] {
        let model = Model::default();
        let address = serve(model.clone()).await;
        let (service, dataset) = started(&format!("{address}{path}"), protocol, "hunter2").await;
        let events = ask(&service, json!({"question": "When was the lighthouse at Skagen lit?", "datasetIds": [dataset], "history": [{"role": "user", "content": "Tell me of Skagen"}, {"role": "assistant", "content": "A town [1]."}]})).await;
        let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            (names.first(), names.last()),
            (Some(&"passages"), Some(&"completed")),
            "{protocol}: {names:?}"
        );
        let said: String = events
            .iter()
            .filter(|(name, _)| name == "text_delta")
            .filter_map(|(_, e)| e["text"].as_str())
            .collect();
        assert_eq!(said, SAYS.concat());
        // The first sentence is cited before the last piece is said: nobody waits for the end.
        let first = names
            .iter()
            .position(|n| *n == "citation")
            .expect("a citation");
        assert!(
            first
                < names
                    .iter()
                    .rposition(|n| *n == "text_delta")
                    .expect("text"),
            "{names:?}"
        );
        let done = &events.last().expect("an end").1;
        assert_eq!(
            (
                &done["kind"],
                &done["model"],
                &done["finish"],
                &done["grounded"]
            ),
            (
                &json!("generated"),
                &json!("stub"),
                &json!("stop"),
                &json!(false)
            ),
            "{done}"
        );
        assert_eq!(
            done["usage"],
            json!({"inputTokens": 90, "outputTokens": 20}),
            "{protocol}"
        );
        let verdicts: Vec<&Value> = done["sentences"]
            .as_array()
            .expect("sentences")
            .iter()
            .map(|s| &s["verdict"])
            .collect();
        assert_eq!(
            verdicts,
            [&json!("supported"), &json!("unsupported"), &Value::Null],
            "{done}"
        );
        assert_eq!(
            (
                &done["sentences"][2]["unknown"],
                &done["citations"][1]["missingNumbers"]
            ),
            (&json!([7]), &json!(["1859"]))
        );
        assert!(
            done["citations"][0]["quote"]
                .as_str()
                .is_some_and(|q| q.contains("lit for the first time in 1858")),
            "{done}"
        );
        // The citation leads to that sentence.
        let query = json!({"uri": done["citations"][0]["citation"]});
        let url = format!("{}/kb/v1/citations", service.url);
        let place = service
            .http
            .get(url)
            .query(&query)
            .bearer_auth(&service.key)
            .send()
            .await
            .expect("an answer");
        let place: Value = place.json().await.expect("JSON");
        assert_eq!(place["text"], done["citations"][0]["quote"], "{place}");
        // What the model was told.
        let told = model.told.lock().expect("told").clone();
        let (headers, body) = &told[0];
        assert!(
            headers[header]
                .to_str()
                .is_ok_and(|v| v.ends_with("hunter2"))
        );
        let words = body.to_string();
        assert!(
            words.contains("lit for the first time")
                && words.contains("Tell me of Skagen")
                && words.contains("square brackets"),
            "{words}"
        );
        assert_eq!(
            (&body["stream"], &body["model"]),
            (&json!(true), &json!("stub"))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_the_model_are_told() {
    let address = serve(Model {
        breaks: true,
        ..Model::default()
    })
    .await;
    let (service, dataset) = started(&format!("{address}/v1"), "openai", "").await;
    let question = json!({"question": "When was the lighthouse lit?", "datasetIds": [dataset]});
    let events = ask(&service, question.clone()).await;
    let (name, last) = events.last().expect("an end");
    assert_eq!(
        (name.as_str(), &last["reason"]),
        ("error", &json!("answer_endpoint_failed")),
        "{last}"
    );
    assert!(
        last["message"]
            .as_str()
            .is_some_and(|m| m.contains("the machine is full"))
    );
    let whole = json!({"question": "When?", "datasetIds": [dataset], "stream": false});
    let (status, body) = service
        .call(Method::POST, "/kb/v1/answer", Some(whole))
        .await;
    assert_eq!(
        (status, &body["error"]["reason"]),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &json!("answer_endpoint_failed")
        )
    );
    // One that refuses: its words are for the log only.
    let (service, dataset) = started(&format!("{address}/down"), "openai", "").await;
    let events = ask(
        &service,
        json!({"question": "When?", "datasetIds": [dataset]}),
    )
    .await;
    let (_, last) = events.last().expect("an end");
    assert!(
        last["message"]
            .as_str()
            .is_some_and(|m| m.contains("502") && !m.contains("secret")),
        "{last}"
    );
    // One that is not there at all.
    let (service, dataset) = started("http://127.0.0.1:1/v1", "openai", "").await;
    let events = ask(
        &service,
        json!({"question": "When?", "datasetIds": [dataset]}),
    )
    .await;
    assert!(
        events.last().expect("an end").1["message"]
            .as_str()
            .is_some_and(|m| m.contains("cannot be reached"))
    );
    // The best sentences are there all the same, for who asks for them.
    let events = ask(&service, json!({"question": "When was the lighthouse lit?", "datasetIds": [dataset], "mode": "extract"})).await;
    assert_eq!(events.last().expect("an end").1["kind"], "extractive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_model_the_best_sentences_answer() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("north").await;
    service.add(&dataset, "skagen.md", TEXT).await;
    let (status, done) = service.call(Method::POST, "/kb/v1/answer", Some(json!({"question": "When was the lighthouse at Skagen lit?", "datasetIds": [dataset], "stream": false}))).await;
    assert_eq!(
        (status, &done["kind"], &done["model"]),
        (StatusCode::OK, &json!("extractive"), &Value::Null),
        "{done}"
    );
    let answer = text(&done["answer"]);
    assert!(
        answer.contains("The lighthouse at Skagen was lit for the first time in 1858. [1]"),
        "{answer}"
    );
    assert_eq!(done["grounded"], true, "{done}");
    let letters: Vec<char> = answer.chars().collect();
    for cited in done["citations"].as_array().expect("citations") {
        let at =
            |name: &str| usize::try_from(cited[name].as_u64().expect("a place")).expect("small");
        let sentence: String = letters[at("start")..at("end")].iter().collect();
        assert!(
            sentence.starts_with(cited["quote"].as_str().expect("a quote")),
            "{sentence}: {cited}"
        );
    }
    // Nothing found is said, not made up.
    let empty = service.dataset("empty").await;
    let (_, none) = service
        .call(
            Method::POST,
            "/kb/v1/answer",
            Some(json!({"question": "When?", "datasetIds": [empty], "stream": false})),
        )
        .await;
    assert_eq!(
        (&none["kind"], &none["answer"], &none["grounded"]),
        (&json!("none"), &json!(""), &json!(false))
    );
    for (body, status, reason) in [
        (
            json!({"question": "When?", "datasetIds": [dataset], "mode": "generate"}),
            422,
            "answers_not_configured",
        ),
        (
            json!({"question": "", "datasetIds": [dataset]}),
            400,
            "query_invalid",
        ),
        (
            json!({"question": "When?", "datasetIds": ["nowhere"]}),
            404,
            "dataset_not_found",
        ),
        (
            json!({"question": "When?", "datasetIds": [dataset], "topk": 3}),
            400,
            "field_unknown",
        ),
        (
            json!({"question": "When?", "datasetIds": [dataset], "history": vec![json!({"role": "user", "content": "x"}); 21]}),
            400,
            "history_invalid",
        ),
    ] {
        let (got, answer) = service
            .call(Method::POST, "/kb/v1/answer", Some(body))
            .await;
        assert_eq!(
            (got.as_u16(), &answer["error"]["reason"]),
            (status, &json!(reason)),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_model_nothing_is_said_about_what_no_passage_answers() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("north").await;
    service.add(&dataset, "skagen.md", TEXT).await;
    for question in [
        "flurb quandle zib wub",
        "How do I configure two factor authentication for the mail server?",
    ] {
        let (status, done) = service
            .call(
                Method::POST,
                "/kb/v1/answer",
                Some(json!({"question": question, "datasetIds": [dataset], "stream": false})),
            )
            .await;
        assert_eq!(
            (status, &done["kind"], &done["grounded"], &done["answer"]),
            (StatusCode::OK, &json!("none"), &json!(false), &json!("")),
            "{question}: {done}"
        );
        assert!(!done["passages"].as_array().expect("passages").is_empty());
    }
}
