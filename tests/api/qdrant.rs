//! The same behaviour of both vector stores. The server's part runs where `CAIRN_TEST_QDRANT_URL` names one (gRPC), and says so otherwise.

use cairn::disk::Disk;
use cairn::search::vector::{Changes, Point, Scope, VectorIndex, VectorOptions};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Engine, Service};

async fn behaves(url: &str) {
    let service = Service::start(Engine::Sqlite).await;
    let db = &service.app.db;
    let directory = tempfile::tempdir().expect("temporary directory");
    let model = format!("conformance-{}", service.app.clock.id());
    let options = VectorOptions {
        model: &model,
        dimensions: 3,
        index_above_kb: 100_000,
        url,
        disk: &Disk::new(directory.path().to_owned(), 0),
        api_key: "",
    };
    let store = VectorIndex::open(directory.path(), options.clone())
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
        .search(&scope("a"), vec![1.0, 0.0, 0.0], None, 10)
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
            vec![1.0, 0.0, 0.0],
            Some(vec!["y".to_owned()]),
            10,
        )
        .await
        .expect("searches");
    assert_eq!(filtered.len(), 1);
    let single = store
        .scores(
            &scope("a"),
            vec![0.0, 1.0, 0.0],
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
    let store = VectorIndex::open(directory.path(), options)
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
async fn an_unreachable_server_is_a_clear_error_at_start() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let options = VectorOptions {
        model: "m",
        dimensions: 3,
        index_above_kb: 1,
        url: "http://127.0.0.1:9",
        disk: &Disk::new(directory.path().to_owned(), 0),
        api_key: "",
    };
    let error = VectorIndex::open(directory.path(), options)
        .await
        .expect_err("nobody there");
    assert_eq!(error.code(), "vector_store_unavailable");
}
