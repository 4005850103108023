//! The Model Context Protocol, over HTTP and over standard input: every tool, resources, the prompt, keys and scopes.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::support::{Engine, MCP_VERSION, Service, program, text};

async fn send(service: &Service, key: &str, message: &Value) -> (StatusCode, Value) {
    service.mcp("/mcp", key, message).await
}

async fn ask(service: &Service, key: &str, method: &str, params: Value) -> Value {
    service.mcp_call("/mcp", key, method, params).await
}

async fn tool(service: &Service, key: &str, name: &str, arguments: Value) -> (Value, bool) {
    service.mcp_tool("/mcp", key, name, arguments).await
}

async fn fine(service: &Service, key: &str, name: &str, arguments: Value) -> Value {
    let (answer, failed) = tool(service, key, name, arguments).await;
    assert!(!failed, "{name}: {answer}");
    answer
}

const TEXT: &str = "# Skagen\n\nThe town lies where two seas meet.\n\n## The lighthouse\n\nThe lighthouse at Skagen was lit for the first time in 1858. It stands forty six metres tall.\n\n## The harbour\n\nThe harbour was opened in 1907, and is the largest fishing harbour of the country.\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_a_text_in_several_datasets_are_one_hit() {
    let service = Service::start(Engine::Sqlite).await;
    for name in ["north", "copy"] {
        let dataset = service.dataset(name).await;
        service.add(&dataset, "skagen.md", TEXT).await;
    }
    let asked = json!({"query": "when was the lighthouse at Skagen lit"});
    let found = fine(&service, &service.key, "search", asked).await;
    let hits = found["hits"].as_array().expect("hits");
    let first = hits[0]["text"].as_str().expect("a text");
    assert_eq!(
        hits.iter().filter(|h| h["text"] == first).count(),
        1,
        "{found}"
    );
    let also = hits[0]["also_in"].as_array().expect("a copy");
    assert!(also.len() == 1 && also[0] != hits[0]["citation"], "{found}");
    let score = hits[0]["score"].as_f64().expect("a score");
    assert_eq!((score * 1e4).round() / 1e4, score, "four digits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tool_answers() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("north").await;
    let document = service.add(&dataset, "skagen.md", TEXT).await;
    service.add(&dataset, "other.md", "# Lighthouses\n\nA lighthouse is a tower with a lamp that guides ships at night, and it is seen from many miles away.").await;
    let key = service.key.clone();
    let hello = json!({"protocolVersion": MCP_VERSION, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
    let answer = ask(&service, &key, "initialize", hello).await;
    assert_eq!(answer["result"]["serverInfo"]["name"], "cairn", "{answer}");
    assert!(
        answer["result"]["instructions"]
            .as_str()
            .is_some_and(|i| i.contains("list_datasets"))
    );
    let listed = ask(&service, &key, "tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().expect("tools").clone();
    let mut names: Vec<&str> = tools.iter().filter_map(|t| t["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "add_knowledge",
            "append_rows",
            "grep",
            "list_datasets",
            "my_permissions",
            "outline",
            "post_finding",
            "query_folder",
            "read",
            "search",
            "similar",
            "verify_quote"
        ]
    );
    // Four characters are about a token, so that the list costs a client at most 2,500.
    let size = listed["result"].to_string().chars().count();
    assert!(size <= 10_000, "{size} characters");
    assert!(
        tools.iter().all(|t| t["annotations"]["title"].is_string()
            && t["description"].as_str().is_some_and(|d| d.len() > 20)),
        "{tools:?}"
    );
    let call = async |name: &str, arguments: Value| fine(&service, &key, name, arguments).await;
    let datasets = call("list_datasets", json!({})).await;
    assert_eq!(
        (
            &datasets["datasets"][0]["name"],
            &datasets["datasets"][0]["documents"]
        ),
        (&json!("north"), &json!(2))
    );
    assert!(
        call("my_permissions", json!({})).await["scopes"]
            .as_array()
            .is_some_and(|s| s.contains(&json!("keys:manage")))
    );
    let found = call("search", json!({"query": "when was the lighthouse at Skagen lit", "datasets": ["north"], "top_k": 2, "detail": "full"})).await;
    let citation = text(&found["hits"][0]["citation"]);
    assert!(
        found["hits"][0]["text"]
            .as_str()
            .is_some_and(|t| t.contains("1858")),
        "{found}"
    );
    let ids = call("search", json!({"query": "lighthouse", "detail": "ids"})).await;
    assert!(ids["hits"][0]["text"].is_null() && ids["hits"][0]["citation"].is_string());
    let place = call("read", json!({"citation": citation})).await;
    assert_eq!(
        (&place["text"], &place["title"]),
        (&found["hits"][0]["text"], &json!("Skagen")),
        "{place}"
    );
    let part = call(
        "read",
        json!({"dataset": "north", "document": document, "max_tokens": 100, "start": 2, "end": 20}),
    )
    .await;
    assert_eq!(
        (&part["start"], part["text"].as_str().map(str::len)),
        (&json!(2), Some(18))
    );
    let outline = call("outline", json!({"dataset": "north", "document": document})).await;
    assert!(
        outline["headings"]
            .as_array()
            .is_some_and(|h| !h.is_empty()),
        "{outline}"
    );
    let similar = call("similar", json!({"citation": citation})).await;
    assert_eq!(similar["hits"][0]["title"], "Lighthouses", "{similar}");
    let grep = call(
        "grep",
        json!({"dataset": "north", "pattern": "\\b19\\d\\d\\b"}),
    )
    .await;
    assert_eq!(
        (
            &grep["matches"][0]["line"],
            &grep["complete"],
            grep["matches"].as_array().map(Vec::len)
        ),
        (&json!(11), &json!(true), Some(1)),
        "{grep}"
    );
    let line = call("read", json!({"citation": grep["matches"][0]["citation"]})).await;
    assert_eq!(line["text"], grep["matches"][0]["text"], "{line}");
    let quote = call("verify_quote", json!({"quote": "the harbour was opened in 1907", "dataset": "north", "document": document})).await;
    assert_eq!(quote["verdict"], "exact", "{quote}");
    let posted = call("post_finding", json!({"title": "Dunes", "findings": "The dune at Rubjerg moves nine metres every year, and has swallowed a lighthouse.", "sources": [citation]})).await;
    assert_eq!(posted["duplicates"], json!([]), "{posted}");
    call(
        "add_knowledge",
        json!({"content": "Skagen is reached by train from Frederikshavn."}),
    )
    .await;
    let folder = service
        .post(
            "/protected/data/folders",
            json!({"title": "Heights", "dataSchema": [["name", "text"], ["metres", "number"]]}),
        )
        .await;
    let folder = text(&folder["data"]["id"]);
    assert_eq!(
        call("query_folder", json!({})).await["folders"][0]["id"],
        json!(folder)
    );
    let rows = json!([{"name": "Skagen", "metres": 46}, {"name": "Rubjerg", "metres": 23}]);
    assert_eq!(
        call("append_rows", json!({"folder": folder, "rows": rows})).await["appended"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    let (bad, failed) = tool(&service, &key, "append_rows", json!({"folder": folder, "rows": [{"name": "Bovbjerg", "metres": 26}, {"name": "x", "metres": "high"}]})).await;
    assert!(
        failed
            && bad["error"]["message"]
                .as_str()
                .is_some_and(|m| m.starts_with("row 2: ")),
        "{bad}"
    );
    call(
        "append_rows",
        json!({"folder": folder, "rows": [{"name": "Bovbjerg", "metres": 26}]}),
    )
    .await;
    let one = call(
        "query_folder",
        json!({"folder": folder, "equals": {"metres": 23}}),
    )
    .await;
    assert_eq!(
        (
            &one["rows"][0]["data"]["name"],
            one["rows"].as_array().map(Vec::len)
        ),
        (&json!("Rubjerg"), Some(1))
    );
    let page = call("query_folder", json!({"folder": folder, "limit": 2})).await;
    let rest = call(
        "query_folder",
        json!({"folder": folder, "cursor": page["next_cursor"]}),
    )
    .await;
    assert_eq!(rest["rows"][0]["data"]["name"], "Bovbjerg", "{page} {rest}");
    let told = call(
        "query_folder",
        json!({"folder": folder, "aggregates": [{"op": "avg", "field": "metres"}, {"op": "count"}], "filter": {"field": "metres", "op": "lt", "value": 40}}),
    )
    .await;
    assert_eq!(told["groups"], json!([{"avg_metres": 24.5, "count": 2}]));
    // Resources and the prompt.
    let resources = ask(&service, &key, "resources/list", json!({})).await;
    let uri = text(&resources["result"]["resources"][0]["uri"]);
    let read = ask(&service, &key, "resources/read", json!({"uri": uri})).await;
    assert!(
        read["result"]["contents"][0]["text"]
            .as_str()
            .is_some_and(|t| !t.is_empty()),
        "{read}"
    );
    let missing = send(&service, &key, &json!({"jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": {"uri": "kb://nowhere/x"}})).await.1;
    assert!(missing["error"]["message"].is_string(), "{missing}");
    let prompt = ask(
        &service,
        &key,
        "prompts/get",
        json!({"name": "cited_answer", "arguments": {"question": "How tall is it?"}}),
    )
    .await;
    assert!(
        prompt["result"]["messages"][0]["content"]["text"]
            .as_str()
            .is_some_and(|t| t.contains("How tall is it?")),
        "{prompt}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_keep_to_their_budgets_and_mistakes_are_told() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("long").await;
    let paragraphs: String = (0..60)
        .map(|n| {
            format!(
                "## Part {n}\n\n{}\n\n",
                format!("The herons of part {n} stand in the reeds and wait for fish. ").repeat(12)
            )
        })
        .collect();
    let document = service.add(&dataset, "herons.md", &paragraphs).await;
    let key = service.key.clone();
    for budget in [200, 500, 2000] {
        let arguments = json!({"query": "herons in the reeds", "top_k": 20, "max_tokens": budget, "detail": "full"});
        let found = fine(&service, &key, "search", arguments).await;
        assert!(
            found.to_string().chars().count() / 4 <= budget + 50,
            "{budget}: {}",
            found.to_string().len()
        );
        assert!(found["hits"].as_array().is_some_and(|h| !h.is_empty()));
        let part = fine(
            &service,
            &key,
            "read",
            json!({"dataset": "long", "document": document, "max_tokens": budget}),
        )
        .await;
        assert!(
            part["text"]
                .as_str()
                .is_some_and(|t| t.chars().count() <= 4 * budget)
                && part["next_start"].is_number()
        );
    }
    for (name, arguments, reason) in [
        (
            "search",
            json!({"query": "x", "datasets": ["nowhere"]}),
            "dataset_not_found",
        ),
        (
            "search",
            json!({"query": "x", "top_k": 99}),
            "parameter_invalid",
        ),
        (
            "search",
            json!({"query": "x", "filter": {"nonsense": 1}}),
            "filter_invalid",
        ),
        ("read", json!({}), "source_missing"),
        ("read", json!({"citation": "nonsense"}), "citation_invalid"),
        (
            "grep",
            json!({"dataset": "long", "pattern": "("}),
            "pattern_invalid",
        ),
        (
            "append_rows",
            json!({"folder": "nowhere", "rows": [{"a": 1}]}),
            "record_not_found",
        ),
        ("verify_quote", json!({"quote": "x"}), "source_missing"),
    ] {
        let (answer, failed) = tool(&service, &key, name, arguments).await;
        assert!(
            failed && answer["error"]["reason"] == reason,
            "{name}: {answer}"
        );
    }
    let (status, answer) = send(&service, &key, &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": {"question": "x"}}})).await;
    assert!(
        status == StatusCode::OK
            && answer["result"]["isError"] == true
            && answer.to_string().contains("unknown field"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_scopes_are_those_of_http() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("private").await;
    service
        .add(&dataset, "a.md", "The gannets nest on the northern cliff.")
        .await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}});
    for key in ["", "nonsense"] {
        let (status, answer) = send(&service, key, &list).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (StatusCode::UNAUTHORIZED, &json!("UNAUTHORIZED")),
            "{answer}"
        );
    }
    let writer = service.key_with(&["knowledge:write"], None).await;
    let (refused, failed) = tool(&service, &writer, "search", json!({"query": "gannets"})).await;
    assert!(
        failed && refused["error"]["reason"] == "scope_missing",
        "{refused}"
    );
    fine(
        &service,
        &writer,
        "post_finding",
        json!({"findings": "Gannets dive from thirty metres."}),
    )
    .await;
    let stranger = service.stranger().await;
    let (nothing, failed) = tool(&service, &stranger, "search", json!({"query": "gannets"})).await;
    assert!(
        failed && nothing["error"]["reason"] == "dataset_not_found",
        "{nothing}"
    );
    let other = service.dataset("other").await;
    let confined = service.key_with(&["kb:search"], Some(vec![other])).await;
    let seen = fine(&service, &confined, "list_datasets", json!({})).await;
    assert_eq!(seen["datasets"].as_array().map(Vec::len), Some(1), "{seen}");
    // A page in a browser that was led astray by its name server is refused.
    let response = reqwest::Client::new()
        .post(format!("{}/mcp", service.url))
        .header("host", "evil.test")
        .header("accept", "application/json, text/event-stream")
        .bearer_auth(&service.key)
        .json(&list)
        .send()
        .await
        .expect("an answer");
    assert!(response.status().is_client_error(), "{}", response.status());
}

/// An empty knowledge base: `cairn mcp` makes none.
async fn knowledge_base() -> tempfile::TempDir {
    let data = tempfile::tempdir().expect("temporary directory");
    let mut command = tokio::process::Command::new(program());
    command
        .args(["keys", "list", "--data-dir"])
        .arg(data.path());
    let output = command.output().await.expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    data
}

#[tokio::test]
async fn a_knowledge_base_that_is_missing_is_told() {
    let data = tempfile::tempdir().expect("temporary directory");
    let mut command = tokio::process::Command::new(program());
    command.args(["mcp", "--data-dir"]).arg(data.path());
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("cairn ingest") && said.contains("--url"),
        "{said}"
    );
    assert!(!data.path().join("cairn.db").exists());
}

/// Speaks to a `cairn mcp` and gives its answers.
async fn over_stdio(arguments: &[&str], messages: &[Value]) -> Vec<Value> {
    let mut child = tokio::process::Command::new(program())
        .arg("mcp")
        .args(arguments)
        .env("CAIRN_LOG", "error")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("piped");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut answers = Vec::new();
    for message in messages {
        input
            .write_all(format!("{message}\n").as_bytes())
            .await
            .expect("writes");
        if message["id"].is_number() {
            let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line())
                .await
                .expect("in time")
                .expect("reads")
                .expect("a line");
            answers.push(serde_json::from_str(&line).expect("JSON"));
        }
    }
    drop(input);
    let status = tokio::time::timeout(Duration::from_secs(30), child.wait())
        .await
        .expect("it ends with its input")
        .expect("a status");
    assert!(status.success(), "{status}");
    answers
}

/// A server that answers what it is told to, one after the other, and then that it is well.
async fn moody(answers: Vec<(u16, &'static str)>) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let handler = move || {
        let n = count.fetch_add(1, Ordering::SeqCst);
        let (status, body) = answers.get(n).copied().unwrap_or((
            200,
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"well\":true}}",
        ));
        let status = StatusCode::from_u16(status).expect("a status");
        std::future::ready((status, [("retry-after", "1")], body))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = axum::Router::new().route("/mcp", axum::routing::post(handler));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_waits_for_a_server_that_is_busy() {
    let (url, asked) = moody(vec![(429, "{}"), (503, "{}")]).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let answers = over_stdio(&["--url", &url, "--key", "k"], &[ping]).await;
    assert_eq!(answers[0]["result"]["well"], true, "{answers:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_answers_what_a_server_refuses_and_goes_on() {
    let refusals = vec![
        (
            401,
            "{\"error\": {\"message\": \"the API key is not valid\"}}",
        ),
        (200, "<html>a proxy</html>"),
    ];
    let (url, _) = moody(refusals).await;
    let ping = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    let answers = over_stdio(&["--url", &url, "--key", "k"], &[ping(7), ping(8), ping(1)]).await;
    let message = |at: usize| text(&answers[at]["error"]["message"]);
    assert!(
        message(0).contains("the API key is not valid"),
        "{answers:?}"
    );
    assert!(message(1).contains("is it Cairn?"), "{answers:?}");
    assert_eq!(
        (
            &answers[0]["id"],
            &answers[1]["id"],
            &answers[2]["result"]["well"]
        ),
        (&json!(7), &json!(8), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_no_message_ends_no_conversation() {
    let (url, _) = moody(Vec::new()).await;
    let data = knowledge_base().await;
    let path = data.path().to_string_lossy().into_owned();
    for arguments in [vec!["--url", &url, "--key", "k"], vec!["--data-dir", &path]] {
        let mut child = tokio::process::Command::new(program())
            .arg("mcp")
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut input = child.stdin.take().expect("piped");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": MCP_VERSION, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
        let sent = format!("{{\"half\n\u{fffd}\n\n{hello}\n");
        input.write_all(sent.as_bytes()).await.expect("writes");
        let mut seen = Vec::new();
        while !seen
            .iter()
            .any(|answer: &Value| answer["result"].is_object())
        {
            let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line());
            let line = line.await.expect("in time").expect("reads");
            let line = line.unwrap_or_else(|| panic!("{arguments:?} ended: {seen:?}"));
            seen.push(serde_json::from_str(&line).expect("JSON"));
        }
        // The library that speaks for the data directory skips such lines.
        if arguments[0] == "--url" {
            assert_eq!(seen[0]["error"]["code"], -32700, "{seen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_may_start_it_themselves() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("north").await;
    service.add(&dataset, "skagen.md", TEXT).await;
    let messages = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": MCP_VERSION, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "search", "arguments": {"query": "lighthouse"}}}),
    ];
    let remote = over_stdio(&["--url", &service.url, "--key", &service.key], &messages).await;
    assert_eq!(remote[0]["result"]["serverInfo"]["name"], "cairn");
    assert!(
        remote[1]["result"]["structuredContent"]["hits"][0]["citation"].is_string(),
        "{}",
        remote[1]
    );
    let data = knowledge_base().await;
    let path = data.path().to_string_lossy().into_owned();
    let messages = [
        messages[0].clone(),
        messages[1].clone(),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "add_knowledge", "arguments": {"content": "Herons wait in the reeds."}}}),
        json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "list_datasets", "arguments": {}}}),
    ];
    let local = over_stdio(&["--data-dir", &path], &messages).await;
    assert_eq!(
        local[2]["result"]["structuredContent"]["datasets"][0]["name"], "Knowledge",
        "{}",
        local[2]
    );
    assert!(!text(&local[1]["result"]["structuredContent"]["id"]).is_empty());
}
