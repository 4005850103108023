//! Calibration of embedding models: what it is measured on, what it changes, and what it leaves as it is.

use cairn::db::{Args, Value as Sql};
use cairn::evaluation::calibrate;
use cairn::kb::{Dataset, datasets, portable};
use serde_json::{Value, json};

use crate::generations::switch;
use crate::on_both;
use crate::support::{Service, number};

/// Subjects of documents with three sentences each.
const SUBJECTS: [&str; 32] = [
    "bread",
    "telescopes",
    "violins",
    "glaciers",
    "bees",
    "lighthouses",
    "chess",
    "volcanoes",
    "umbrellas",
    "tractors",
    "coffee",
    "submarines",
    "roses",
    "typewriters",
    "wolves",
    "bridges",
    "carpets",
    "satellites",
    "cheese",
    "mushrooms",
    "trains",
    "diamonds",
    "pottery",
    "windmills",
    "dolphins",
    "fireworks",
    "libraries",
    "tomatoes",
    "anchors",
    "mirrors",
    "deserts",
    "kites",
];

async fn filled(service: &Service) -> String {
    let dataset = service.dataset("subjects").await;
    for subject in SUBJECTS {
        let content = format!(
            "Everybody in our small town knows something about {subject}. The museum shows old and new {subject} from many countries. On Sundays a guide \
             explains to the children how {subject} became so important."
        );
        service
            .add(&dataset, &format!("{subject}.txt"), &content)
            .await;
    }
    dataset
}

async fn row(service: &Service, dataset: &str) -> Dataset {
    let caller = service.app.local_caller("default").await.expect("a caller");
    datasets::settings(&service.app, &caller, dataset)
        .await
        .expect("the dataset")
}

async fn asked(service: &Service, dataset: &str) -> Value {
    service
        .post(
            "/kb/v1/search",
            json!({"query": "what do children learn about bees", "datasetIds": [dataset], "explain": true, "hybridAlpha": 0.5}),
        )
        .await
}

on_both! {
    async fn a_calibration_changes_the_scores_of_the_dataset_it_is_applied_to(service: Service) {
        let dataset = filled(&service).await;
        let before = asked(&service, &dataset).await;
        let caller = service.app.local_caller("default").await.expect("a caller");
        let found = calibrate::estimate(&service.app, &caller, &row(&service, &dataset).await, |_, _| {}).await.expect("enough text");
        assert_eq!((found.pairs, found.documents), (SUBJECTS.len(), SUBJECTS.len()));
        assert!(found.anchors.related > found.anchors.unrelated + 0.1, "{found:?}");
        assert_eq!(asked(&service, &dataset).await["results"], before["results"], "estimating changes nothing");
        calibrate::apply(&service.app, &caller, &row(&service, &dataset).await, &found).await.expect("applied");
        let after = asked(&service, &dataset).await;
        let (low, high) = (f64::from(found.calibration.low), f64::from(found.calibration.high));
        let e = &after["results"][0]["explain"];
        assert!((number(&e["cosineLow"]) - low).abs() < 1e-6 && (number(&e["cosineHigh"]) - high).abs() < 1e-6, "{e}");
        let expected = ((number(&e["cosine"]) - low) / (high - low)).clamp(0.0, 1.0);
        assert!((number(&e["vectorScore"]) - expected).abs() < 1e-5, "{e}");
        assert_ne!(after["results"][0]["score"], before["results"][0]["score"]);
        assert_eq!(after["results"][0]["explain"]["cosine"], before["results"][0]["explain"]["cosine"]);
    }

    async fn a_generation_keeps_the_calibration_it_was_built_with(service: Service) {
        let dataset = filled(&service).await;
        let caller = service.app.local_caller("default").await.expect("a caller");
        let found = calibrate::estimate(&service.app, &caller, &row(&service, &dataset).await, |_, _| {}).await.expect("enough text");
        calibrate::apply(&service.app, &caller, &row(&service, &dataset).await, &found).await.expect("applied");
        // The calibration was not recorded for the model, so a rebuilt set has that of the manifest.
        let generations = format!("/kb/v1/datasets/{dataset}/generations");
        service.post(&generations, json!({"chunkSize": 128})).await;
        switch(&service, &dataset, 2).await;
        let calibration = row(&service, &dataset).await.indexing.calibration().expect("calibrated");
        assert_eq!((calibration.low, calibration.high), (-1.0, 1.0));
        switch(&service, &dataset, 1).await;
        assert_eq!(row(&service, &dataset).await.indexing.calibration(), Some(found.calibration));
    }

    async fn confidence_says_nothing_of_scores_of_an_uncalibrated_model(service: Service) {
        let dataset = service.dataset("d").await;
        service.add(&dataset, "tea.txt", "Steep green tea at eighty degrees for two minutes, or it turns bitter.").await;
        let ask = async || {
            let answer = service.post("/kb/v1/search", json!({"query": "quantum chromodynamics", "datasetIds": [dataset], "hybridAlpha": 1})).await;
            (answer["confidence"]["modelCalibrated"] == true, answer["confidence"]["noConfidentAnswer"] == true)
        };
        assert_eq!(ask().await, (true, true));
        let mut tx = service.app.db.begin().await.expect("a transaction");
        tx.execute(
            "UPDATE kb_datasets SET calibration_low = NULL, calibration_high = NULL, version = version + 1 WHERE id = $1",
            Args(vec![Sql::from(dataset.as_str())]),
        )
        .await
        .expect("updated");
        tx.commit().await.expect("committed");
        assert_eq!(ask().await, (false, false));
    }

    async fn a_multilingual_model_is_suggested_for_a_language_the_model_knows_in_part(service: Service) {
        let suggested = async |dataset: &str| service.get(&format!("/kb/v1/datasets/{dataset}/generations")).await["suggestedModel"]["model"].clone();
        let german = service.dataset("german").await;
        assert_eq!(suggested(&german).await, Value::Null, "nothing is known of an empty dataset");
        service.add(&german, "tee.txt", "Grüner Tee zieht bei achtzig Grad zwei Minuten lang, sonst schmeckt er bitter und verliert seinen Duft.").await;
        assert_eq!(suggested(&german).await, "multilingual-e5-small");
        let english = service.dataset("english").await;
        service.add(&english, "tea.txt", "Steep green tea at eighty degrees for two minutes, or it turns bitter.").await;
        assert_eq!(suggested(&english).await, Value::Null);
    }

    async fn generations_are_listed_although_the_model_is_gone(service: Service) {
        let dataset = service.dataset("d").await;
        let mut tx = service.app.db.begin().await.expect("a transaction");
        tx.execute("UPDATE kb_datasets SET embedding_model = 'gone' WHERE id = $1", Args(vec![Sql::from(dataset.as_str())])).await.expect("updated");
        tx.commit().await.expect("committed");
        let listed = service.get(&format!("/kb/v1/datasets/{dataset}/generations")).await;
        assert_eq!((listed["data"].as_array().map(Vec::len), &listed["suggestedModel"]), (Some(1), &Value::Null));
    }

    async fn an_export_keeps_the_calibration_and_so_the_scores(service: Service) {
        let dataset = filled(&service).await;
        let caller = service.app.local_caller("default").await.expect("a caller");
        let found = calibrate::estimate(&service.app, &caller, &row(&service, &dataset).await, |_, _| {}).await.expect("enough text");
        calibrate::apply(&service.app, &caller, &row(&service, &dataset).await, &found).await.expect("applied");
        let file = service.data.path().join("d.cairn");
        portable::export(&service.app, &caller, &dataset, &file).await.expect("exports");
        let copy = portable::import(&service.app, &caller, &file, Some("copy")).await.expect("imports");
        assert_eq!(copy.indexing.calibration(), Some(found.calibration));
    }

    async fn too_little_text_is_not_calibrated(service: Service) {
        let dataset = service.dataset("d").await;
        service.add(&dataset, "tea.txt", "Steep green tea at eighty degrees for two minutes, or it turns bitter.").await;
        let caller = service.app.local_caller("default").await.expect("a caller");
        let error = calibrate::estimate(&service.app, &caller, &row(&service, &dataset).await, |_, _| {}).await.expect_err("too little");
        assert_eq!(error.code(), "too_little_text");
    }
}
