//! Examples of request bodies in the OpenAPI document, by operation.

/// Operation and JSON text.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    (
        "createDataset",
        r#"{"name": "papers", "description": "Papers about the sea", "chunkSize": 256, "language": "auto"}"#,
    ),
    (
        "search",
        r#"{"query": "why do tides lag behind the moon", "datasetIds": ["01KB8V3ZQ4M2N6P8R0S2T4V6W8"], "topK": 5, "minScore": 0.3, "filter": {"field": "year", "op": "gte", "value": 2020}, "explain": true}"#,
    ),
    (
        "answerQuestion",
        r#"{"question": "Why do tides lag behind the moon?", "datasetIds": ["01KB8V3ZQ4M2N6P8R0S2T4V6W8"]}"#,
    ),
    (
        "listCandidates",
        r#"{"query": "why do tides lag behind the moon", "datasetIds": ["01KB8V3ZQ4M2N6P8R0S2T4V6W8"]}"#,
    ),
    (
        "explainMissingHit",
        r#"{"query": "why do tides lag behind the moon", "datasetIds": ["01KB8V3ZQ4M2N6P8R0S2T4V6W8"], "documentId": "01KB8V3ZQ4M2N6P8R0S2T4V6W8"}"#,
    ),
    (
        "verifyQuote",
        r#"{"quote": "The tide lags behind the moon because of friction.", "datasetId": "01KB8V3ZQ4M2N6P8R0S2T4V6W8"}"#,
    ),
    (
        "storeVectors",
        r#"{"model": "all-MiniLM-L6-v2", "vectors": [{"title": "Tides", "text": "Tides follow the moon with a delay.", "vector": [0.12, -0.05, 0.33]}]}"#,
    ),
    (
        "saveSource",
        r#"{"name": "handbook", "settings": {"kind": "folder", "path": "/srv/handbook", "include": ["**/*.md"], "watch": true}}"#,
    ),
    (
        "scheduleSource",
        r#"{"schedule": "cron", "cron": "30 4 * * 1"}"#,
    ),
    (
        "updateChunk",
        r#"{"content": "Tides follow the moon with a delay.", "enabled": true}"#,
    ),
    (
        "updateDocument",
        r#"{"enabled": true, "metadata": {"year": 2026, "author": "Ada Holm"}}"#,
    ),
    (
        "addChunk",
        r#"{"content": "Tides follow the moon with a delay.", "after": 3}"#,
    ),
    (
        "previewDocument",
        r#"{"chunkSize": 400, "chunkOverlap": 40}"#,
    ),
    (
        "buildGeneration",
        r#"{"embeddingModel": "multilingual-e5-small", "chunkSize": 256}"#,
    ),
    (
        "compareGeneration",
        r#"{"queries": ["why do tides lag behind the moon"]}"#,
    ),
    ("setQueryHistory", r#"{"remember": true}"#),
    (
        "createQuerySet",
        r#"{"name": "Questions of the harbour office"}"#,
    ),
    (
        "importQuerySet",
        r#"{"csv": "query,document,grade\nwhy do tides lag,tides.pdf,2\n"}"#,
    ),
    (
        "addQueries",
        r#"{"queries": [{"text": "why do tides lag", "labels": {"tides.pdf": 2}}]}"#,
    ),
    (
        "createRun",
        r#"{"name": "more vectors", "configuration": {"hybridAlpha": 0.8}, "waitSeconds": 30}"#,
    ),
    ("generateQueries", r#"{"from": "titles", "limit": 100}"#),
    ("tuneQuerySet", r#"{"apply": false, "waitSeconds": 60}"#),
    (
        "setSearchDefaults",
        r#"{"hybridAlpha": 0.6, "minScore": 0.2}"#,
    ),
    (
        "saveSite",
        r#"{"startUrl": "https://example.com/docs/", "maxPages": 500, "maxDepth": 5, "requestsPerSecond": 2}"#,
    ),
    (
        "previewSite",
        r#"{"startUrl": "https://example.com/docs/", "urlPathFilter": "/docs/"}"#,
    ),
    ("crawlSite", r#"{"scheduleFor": "2026-12-01T02:00:00Z"}"#),
    ("scheduleSite", r#"{"schedule": "weekly"}"#),
    (
        "sendFeedback",
        r#"{"datasetId": "01KB8V3ZQ4M2N6P8R0S2T4V6W8", "query": "why do tides lag", "documentId": "01KB8V3ZQ4M2N6P8R0S2T4V6W8", "grade": 2}"#,
    ),
    (
        "answerFeedback",
        r#"{"response": "The upload is repaired since today.", "status": "resolved"}"#,
    ),
    (
        "kbCreateAgent",
        r#"{"name": "Harbour researcher", "role": "blog-writer", "scopes": ["kb:search"], "datasetIds": ["01KB8V3ZQ4M2N6P8R0S2T4V6W8"]}"#,
    ),
    ("kbUpdateAgent", r#"{"status": "inactive"}"#),
    (
        "createInvite",
        r#"{"name": "Ada Holm", "email": "ada@example.com", "role": "member"}"#,
    ),
    (
        "kbCreateUser",
        r#"{"name": "Ada Holm", "email": "ada@example.com", "role": "member"}"#,
    ),
    ("kbUpdateUser", r#"{"role": "admin"}"#),
    (
        "setUserDatasets",
        r#"{"datasets": [{"datasetId": "01KB8V3ZQ4M2N6P8R0S2T4V6W8", "role": "editor"}]}"#,
    ),
    (
        "createKey",
        r#"{"name": "search page", "scopes": ["kb:search"], "datasetIds": ["01KB8V3ZQ4M2N6P8R0S2T4V6W8"], "ratePerMinute": 600, "expiresOn": "2027-12-31T00:00:00Z"}"#,
    ),
    ("setModule", r#"{"enabled": false}"#),
    ("beginSession", r#"{"link": "the code of the link"}"#),
    ("createTenant", r#"{"name": "acme"}"#),
    (
        "setTenantQuotas",
        r#"{"documents": 10000, "bytes": 5368709120, "chunks": 200000, "requests": 600, "tokens": null}"#,
    ),
];
