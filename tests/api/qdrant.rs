//! The same behaviour of both vector stores, on a peer of our own and, where `CAIRN_TEST_QDRANT_URL` names one (gRPC), on a real server; and what becomes of
//! searches and ingestion when servers fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn::config::Config;
use cairn::disk::Disk;
use cairn::error::Result;
use cairn::search::vector::{
    Among, Changes, Cluster, Layout, Point, Scope, VectorIndex, VectorOptions, collection,
};
use qdrant_client::qdrant::quantization_config::Quantization;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::eventually;
use crate::support::process::filled;
use crate::support::qdrant::{Mood, Qdrants, dimensions};
use crate::support::{Engine, Service, program, text};

/// Opens a store of vectors with three numbers, on servers or in this process.
async fn open(
    service: &Service,
    directory: &std::path::Path,
    model: &str,
    urls: &str,
) -> Result<VectorIndex> {
    let config = Config {
        qdrant_urls: urls.to_owned(),
        ..Config::default()
    };
    let cluster = Cluster::of(&config)?.map(Arc::new);
    let options = VectorOptions {
        model,
        dimensions: 3,
        index_above_kb: 100_000,
        disk: &Disk::new(directory.to_owned(), 0),
        cluster: cluster.map(|cluster| (cluster, Layout::of(&config, 3))),
    };
    VectorIndex::open(directory, &service.app.db, options).await
}

async fn behaves(url: &str) {
    let service = Service::start(Engine::Sqlite).await;
    let db = &service.app.db;
    let directory = tempfile::tempdir().expect("temporary directory");
    let model = format!("conformance-{}", service.app.clock.id());
    let store = open(&service, directory.path(), &model, url)
        .await
        .expect("opens");
    let scope = |dataset: &str| Scope {
        tenant_id: "t".to_owned(),
        dataset_id: dataset.to_owned(),
        generation: 1,
    };
    let point = |n: u128, document: &str, vector: [f32; 3]| Point {
        id: Uuid::from_u128(n),
        document_id: document.to_owned(),
        vector: vector.to_vec(),
    };
    let put = |put: Vec<Point>| Changes {
        put,
        ..Changes::default()
    };
    store
        .apply(
            db,
            &scope("a"),
            put(vec![
                point(1, "x", [1.0, 0.0, 0.0]),
                point(2, "y", [0.6, 0.8, 0.0]),
            ]),
            2,
        )
        .await
        .expect("applies");
    store
        .apply(
            db,
            &scope("b"),
            put(vec![point(3, "z", [1.0, 0.0, 0.0])]),
            7,
        )
        .await
        .expect("applies");
    let hits = store
        .search(&scope("a"), vec![1.0, 0.0, 0.0].into(), None, 10)
        .await
        .expect("searches");
    assert_eq!(
        hits.iter().map(|h| h.0.as_u128()).collect::<Vec<_>>(),
        [1, 2]
    );
    assert!(
        (hits[0].1 - 1.0).abs() < 1e-5 && (hits[1].1 - 0.6).abs() < 1e-5,
        "cosines: {hits:?}"
    );
    let filtered = store
        .search(
            &scope("a"),
            vec![1.0, 0.0, 0.0].into(),
            Some(Among {
                documents: vec!["y".to_owned()],
                chunks: 1,
            }),
            10,
        )
        .await
        .expect("searches");
    assert_eq!(filtered.len(), 1);
    let single = store
        .scores(
            &scope("a"),
            vec![0.0, 1.0, 0.0].into(),
            vec![Uuid::from_u128(2), Uuid::from_u128(99)],
        )
        .await
        .expect("scores");
    assert!(single.len() == 1 && (single[&Uuid::from_u128(2)] - 0.8).abs() < 1e-5);
    // applying again, deleting twice, and moving a point change nothing else
    let change = Changes {
        put: vec![point(1, "x", [0.0, 0.0, 1.0])],
        delete: vec![Uuid::from_u128(2), Uuid::from_u128(2)],
        clear: false,
    };
    for _ in 0..2 {
        store
            .apply(db, &scope("a"), change.clone(), 4)
            .await
            .expect("applies");
    }
    assert_eq!(
        store.ids(&scope("a")).await.expect("reads"),
        [Uuid::from_u128(1)]
    );
    store.flush().await.expect("flushes");
    store.improve().await.expect("improves");
    let positions = store.applied(db).await.expect("reads");
    assert_eq!((positions["a"], positions["b"]), (4, 7));
    drop(store);
    let store = open(&service, directory.path(), &model, url)
        .await
        .expect("opens again");
    assert_eq!(store.applied(db).await.expect("reads"), positions);
    store
        .keep_only(db, vec!["b".to_owned()])
        .await
        .expect("drops");
    assert!(store.ids(&scope("a")).await.expect("reads").is_empty());
    assert_eq!(store.ids(&scope("b")).await.expect("reads").len(), 1);
    assert!(!store.applied(db).await.expect("reads").contains_key("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_behaves() {
    behaves("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_behaves_and_serves_searches() {
    let Ok(url) = std::env::var("CAIRN_TEST_QDRANT_URL") else {
        println!("skipped: CAIRN_TEST_QDRANT_URL names no Qdrant server");
        return;
    };
    behaves(&url).await;
    let service = Service::start_with(Engine::Sqlite, |config| config.qdrant_url = url).await;
    let dataset = service.dataset("d").await;
    service
        .add(
            &dataset,
            "a.txt",
            "Puffins carry sand eels crosswise in their beaks.",
        )
        .await;
    let hits = service
        .search(json!({"query": "seabirds with fish", "datasetIds": [dataset], "explain": true}))
        .await;
    assert_eq!(
        (
            &hits[0]["fileName"],
            hits[0]["explain"]["cosine"].is_number()
        ),
        (&json!("a.txt"), true)
    );
    service
        .call(Method::DELETE, &format!("/kb/v1/datasets/{dataset}"), None)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_behave_as_the_embedded_store() {
    let servers = Qdrants::start(3);
    behaves(&servers.urls()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_server_is_a_clear_error() {
    let service = Service::start(Engine::Sqlite).await;
    let outcome = open(&service, service.data.path(), "m", "http://127.0.0.1:9").await;
    let error = outcome.expect_err("nobody there");
    assert_eq!(error.code(), "vector_store_unavailable");
}

/// A service on servers, with a document.
async fn served(servers: &Qdrants, change: impl FnOnce(&mut Config)) -> (Service, String) {
    let urls = servers.urls();
    let service = Service::start_with(Engine::Sqlite, |config| {
        config.qdrant_urls = urls;
        change(config);
    })
    .await;
    let dataset = service.dataset("d").await;
    service
        .add(&dataset, "a.txt", "Puffins carry sand eels in their beaks.")
        .await;
    (service, dataset)
}

/// What a search answers that words alone would not find.
async fn asked(service: &Service, dataset: &str) -> Value {
    let body = json!({"query": "seabirds with fish", "datasetIds": [dataset], "cache": false});
    service.post("/kb/v1/search", body).await
}

fn is_whole(answer: &Value) -> bool {
    answer.get("degraded").is_none() && answer["results"].as_array().is_some_and(|r| r.len() == 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_that_is_away_is_not_missed() {
    let mut servers = Qdrants::start(3);
    let (service, dataset) = served(&servers, |_| {}).await;
    servers.kill(1);
    let began = Instant::now();
    for _ in 0..30 {
        let answer = asked(&service, &dataset).await;
        assert!(is_whole(&answer), "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{began:?}");
    service.add(&dataset, "b.txt", "Gulls steal chips.").await;
    servers.revive(1);
    let before = servers.asked(1);
    eventually!("it is asked again", {
        asked(&service, &dataset).await;
        servers.asked(1) > before
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_servers_words_are_searched_and_ingestion_waits() {
    let mut servers = Qdrants::start(2);
    let (service, dataset) = served(&servers, |_| {}).await;
    servers.kill(0);
    servers.kill(1);
    let body = json!({"query": "puffins", "datasetIds": [dataset], "cache": false});
    let answer = service.post("/kb/v1/search", body).await;
    assert_eq!(
        (
            &answer["degraded"],
            answer["results"].as_array().map(Vec::len)
        ),
        (&json!(["vectors"]), Some(1)),
        "{answer}"
    );
    let body = json!({"query": "puffins", "datasetIds": [dataset], "cache": false, "requireVectors": true});
    let (status, answer) = service
        .call(Method::POST, "/kb/v1/search", Some(body))
        .await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &json!("vector_store_unavailable")
        )
    );
    let (status, body) = service
        .upload(&dataset, &[("b.txt", b"Gulls steal chips.")], &[])
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let id = text(&body["uploadedFiles"][0]["id"]);
    let words = json!({"query": "gulls", "datasetIds": [dataset], "cache": false});
    eventually!("its words are found", {
        let answer = service.post("/kb/v1/search", words.clone()).await;
        answer["results"].as_array().is_some_and(|r| r.len() == 1)
    });
    let waiting = service
        .get(&format!("/kb/v1/datasets/{dataset}/documents/{id}"))
        .await;
    assert!(
        !["indexed", "error"].contains(&text(&waiting["status"]).as_str()),
        "{waiting}"
    );
    let ready = service.get("/readyz").await;
    assert!(
        !ready["degraded"].as_array().expect("a list").is_empty(),
        "{ready}"
    );
    servers.revive(0);
    servers.revive(1);
    assert_eq!(service.settled(&dataset, &id).await["status"], "indexed");
    eventually!(
        "searches are whole again",
        asked(&service, &dataset).await.get("degraded").is_none()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_is_waited_for_once() {
    let servers = Qdrants::start(2);
    let (service, dataset) = served(&servers, |config| config.qdrant_seconds = 1).await;
    servers.set(0, Mood::Slow(Duration::from_secs(20)));
    let began = Instant::now();
    for _ in 0..6 {
        let answer = asked(&service, &dataset).await;
        assert!(is_whole(&answer), "{answer}");
    }
    // Once a second for its first request, and perhaps once more when it is tried again.
    assert!(began.elapsed() < Duration::from_secs(4), "{began:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_without_replicas_are_told_and_asked_for_again() {
    let servers = Qdrants::start(2);
    let (service, dataset) = served(&servers, |_| {}).await;
    servers.set(0, Mood::HalfTheShards);
    let answer = asked(&service, &dataset).await;
    assert!(is_whole(&answer), "the other server has them: {answer}");
    servers.set(1, Mood::HalfTheShards);
    let answer = asked(&service, &dataset).await;
    assert_eq!(answer["degraded"], json!(["vectors"]), "{answer}");
    for node in [0, 1] {
        servers.set(node, Mood::Works);
    }
    // The servers answered all the time, so nobody waits for them.
    assert!(is_whole(&asked(&service, &dataset).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_lost_everything_are_filled_again() {
    let servers = Qdrants::start(2);
    let (service, dataset) = served(&servers, |_| {}).await;
    assert!(is_whole(&asked(&service, &dataset).await));
    servers.wipe();
    let answer = asked(&service, &dataset).await;
    assert!(
        !answer["degraded"].as_array().expect("a list").is_empty(),
        "{answer}"
    );
    eventually!(
        "vectors are there again",
        is_whole(&asked(&service, &dataset).await)
    );
    assert_eq!(servers.points(), 1);
}

/// The error with which a start fails on servers.
async fn refusal(servers: &Qdrants) -> String {
    let service = Service::start(Engine::Sqlite).await;
    let outcome = open(&service, service.data.path(), "m", &servers.urls()).await;
    outcome.expect_err("refused").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_cannot_be_used_are_named_with_the_reason() {
    let old = refusal(&Qdrants::with_version(1, "1.7.4")).await;
    assert!(old.contains("1.7.4") && old.contains("1.11"), "{old}");
    let servers = Qdrants::start(1);
    servers.set(0, Mood::Refuses);
    let locked = refusal(&servers).await;
    assert!(locked.contains("qdrant_api_key"), "{locked}");
    let servers = Qdrants::start(1);
    servers.make(&collection("m"), 5);
    let other = refusal(&servers).await;
    assert!(
        other.contains("vectors of 5 dimensions") && other.contains("returns 3"),
        "{other}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collections_are_made_as_configured() {
    let servers = Qdrants::start(1);
    let (_service, _) = served(&servers, |config| {
        config.qdrant_replication = 3;
        config.qdrant_shards = 4;
        config.qdrant_on_disk = true;
        config.qdrant_quantization = "scalar".to_owned();
    })
    .await;
    let made = servers.made();
    assert_eq!(
        (made.replication_factor, made.shard_number),
        (Some(3), Some(4))
    );
    assert_eq!(dimensions(&made), 384);
    let vectors = made.vectors_config.and_then(|v| v.config);
    let Some(qdrant_client::qdrant::vectors_config::Config::Params(params)) = vectors else {
        panic!("plain vectors");
    };
    #[expect(deprecated, reason = "what replaces it is too new for most servers")]
    let on_disk = params.on_disk;
    assert_eq!(on_disk, Some(true));
    let quantization = params.quantization_config.and_then(|q| q.quantization);
    assert!(
        matches!(quantization, Some(Quantization::Scalar(_))),
        "{quantization:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_compares_with_the_servers() {
    let servers = Qdrants::start(2);
    let data = tempfile::tempdir().expect("a directory");
    let urls = format!("qdrant_urls={}", servers.urls());
    filled(data.path(), 2, &[&urls]).await;
    let doctor = |more: &[&str]| -> Value {
        let output = std::process::Command::new(program())
            .args(["doctor", "--json", "--set", &urls, "--data-dir"])
            .arg(data.path())
            .args(more)
            .env("CAIRN_LOG", "off")
            .output()
            .expect("doctor runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(said.lines().next().unwrap_or_default()).expect("JSON")
    };
    let report = doctor(&[]);
    assert_eq!(report["drift"], 0, "{report}");
    let told = &report["vectorServers"];
    assert_eq!(told["nodes"][1]["version"], "1.17.0", "{told}");
    assert_eq!(told["collections"][0]["points"], 2, "{told}");
    servers.lose_points(1);
    assert_eq!(doctor(&[])["drift"], 1);
    assert_eq!(doctor(&["--repair"])["drift"], 0);
    assert_eq!(servers.points(), 2);
}
