//! Commands beside a running server, and the commands that manage what is in it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{program, text};

/// A data directory, and a server that uses it or none.
struct Place {
    data: TempDir,
    server: Option<Child>,
    /// What the server printed at its start.
    announced: Value,
}

impl Place {
    fn empty() -> Self {
        Self {
            data: tempfile::tempdir().expect("temporary directory"),
            server: None,
            announced: Value::Null,
        }
    }

    fn served() -> Self {
        let mut place = Self::empty();
        let mut server = place
            .command(&["serve", "--listen", "127.0.0.1:0", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let out = server.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("a line");
        place.announced = serde_json::from_str(&line).expect("JSON");
        place.server = Some(server);
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("--data-dir")
            .arg(self.data.path())
            .args(arguments)
            .env("CAIRN_LOG", "error")
            .env("CAIRN_EMBED_THREADS", "1")
            .env("XDG_CONFIG_HOME", self.data.path().join("config"))
            .env_remove("CAIRN_URL")
            .env_remove("CAIRN_KEY");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Runs a command that succeeds, and returns what it prints.
    fn done(&self, arguments: &[&str]) -> String {
        succeeded(&self.run(arguments))
    }

    fn read(&self, arguments: &[&str]) -> Value {
        let printed = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}"))
    }

    /// Ingests a text as a file of the dataset `sea`.
    fn ingest(&self, name: &str, content: &str) {
        let mut child = self
            .command(&["ingest", "-", "--name", name, "--dataset", "sea"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(content.as_bytes()).expect("read");
        drop(input);
        succeeded(&child.wait_with_output().expect("it ends"));
    }

    fn hits(&self, query: &str) -> usize {
        let found = self.read(&["search", query, "--alpha", "0"]);
        found["results"].as_array().map_or(0, Vec::len)
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let id = server.id().to_string();
            let ended = Command::new("kill").args(["-TERM", &id]).status();
            assert!(ended.expect("kill runs").success());
            assert!(server.wait().expect("it ends").success());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // A failed test must not leave it behind.
            drop(server.kill());
            drop(server.wait());
        }
    }
}

fn succeeded(output: &Output) -> String {
    let (out, err) = (lossy(&output.stdout), lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const TIDES: &str =
    "# Tides\n\nThe **moon** pulls the sea, and tides lag behind the moon because of friction.\n";

#[test]
fn commands_reach_the_server_that_is_using_the_directory() {
    let mut place = Place::served();
    place.ingest("tides.md", TIDES);
    let found = place.read(&["search", "why do tides lag"]);
    assert_eq!(found["results"][0]["fileName"], "tides.md");
    place.stop();
    assert!(!place.data.path().join("server.json").exists());
}

#[cfg(unix)]
#[test]
fn the_address_of_the_server_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::served();
    let file = place.data.path().join("server.json");
    let mode = file.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_secret_of_an_ended_server_opens_nothing() {
    let mut first = Place::served();
    let file = first.data.path().join("server.json");
    let old: Value = serde_json::from_slice(&std::fs::read(file).expect("there")).expect("JSON");
    first.stop();
    let second = Place::served();
    let url = text(&second.announced["url"]);
    let outcome = second.run(&[
        "datasets",
        "list",
        "--url",
        &url,
        "--key",
        &text(&old["key"]),
    ]);
    assert!(lossy(&outcome.stderr).contains("401"), "{outcome:?}");
}

/// Returns the arguments of an action on documents of the dataset `sea`.
fn in_sea<'a>(action: &[&'a str]) -> Vec<&'a str> {
    [&["documents"], action, &["--dataset", "sea"]].concat()
}

/// Lists, shows, hides, saves and deletes documents and their dataset.
fn manage(place: &Place) {
    place.ingest("tides.md", TIDES);
    let listed = place.read(&["datasets", "list"]);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["totalFiles"]),
        (&json!("sea"), &json!(1))
    );
    assert_eq!(place.read(&["datasets", "show", "sea"])["name"], "sea");
    assert_eq!(place.read(&in_sea(&["list"]))[0]["fileName"], "tides.md");
    assert_eq!(
        place.read(&in_sea(&["list", "--status", "error"])),
        json!([])
    );
    let shown = place.read(&in_sea(&["show", "tides.md"]));
    assert_eq!(shown["search"]["code"], "searchable");
    let printed = place.done(&in_sea(&["text", "tides.md"]));
    assert!(printed.contains("because of friction"), "{printed}");
    let saved = place.data.path().join("saved.md");
    let path = saved.display().to_string();
    place.done(&in_sea(&["file", "tides.md", "--out", &path]));
    assert_eq!(std::fs::read_to_string(&saved).expect("saved"), TIDES);
    let again = place.run(&in_sea(&["file", "tides.md", "--out", &path]));
    assert!(lossy(&again.stderr).contains("--force"), "{again:?}");
    place.done(&in_sea(&["disable", "tides.md"]));
    assert_eq!(place.hits("friction"), 0);
    place.done(&in_sea(&["enable", "tides.md"]));
    // A running server takes it into its indexes again within a second or so.
    let mut looks = 0;
    while place.hits("friction") != 1 {
        looks += 1;
        assert!(looks < 20, "it is not found again");
    }
    let indexed = place.read(&in_sea(&["reindex", "tides.md"]));
    assert_eq!(indexed[0]["status"], "indexed");
    let unsure = place.run(&in_sea(&["delete", "tides.md"]));
    assert_eq!(unsure.status.code(), Some(2), "{unsure:?}");
    assert_eq!(place.hits("friction"), 1);
    place.done(&in_sea(&["delete", "tides.md", "--yes"]));
    assert_eq!(place.read(&in_sea(&["list"])), json!([]));
    place.done(&["datasets", "delete", "sea", "--yes"]);
    assert_eq!(place.read(&["datasets", "list"]), json!([]));
}

#[test]
fn documents_are_managed_through_a_running_server() {
    manage(&Place::served());
}

#[test]
fn documents_are_managed_without_a_server() {
    manage(&Place::empty());
}

#[test]
fn a_question_is_answered_with_its_source() {
    let place = Place::empty();
    place.ingest("tides.md", TIDES);
    let question = "why do tides lag behind the moon";
    let printed = place.done(&["ask", question, "--mode", "extract"]);
    assert!(
        printed.contains("because of friction") && printed.contains("[1] Tides"),
        "{printed}"
    );
    let answer = place.read(&["ask", question, "--mode", "extract"]);
    assert_eq!(answer["kind"], "extractive");
}

#[test]
fn a_question_that_nothing_answers_is_told() {
    let place = Place::empty();
    place.ingest("tides.md", TIDES);
    let printed = place.done(&["ask", "who won the chess olympiad", "--mode", "extract"]);
    assert!(printed.starts_with("No passage answers"), "{printed}");
}

#[test]
fn people_get_links_that_lead_to_the_server() {
    let place = Place::served();
    let added = place.read(&["users", "add", "Ada", "--role", "reviewer"]);
    assert_eq!(added["role"], "reviewer");
    assert_eq!(
        place.read(&["users", "role", "Ada", "admin"])["role"],
        "admin"
    );
    let link = text(&place.read(&["users", "link", "Ada"])["url"]);
    let expected = format!("{}/sandbox#enter=", text(&place.announced["url"]));
    assert!(link.starts_with(&expected), "{link}");
    place.done(&["users", "remove", "Ada", "--yes"]);
    let unknown = place.run(&["users", "link", "Ada"]);
    assert!(
        lossy(&unknown.stderr).contains("cairn users list"),
        "{unknown:?}"
    );
}

#[test]
fn links_made_without_a_server_lead_to_where_it_will_listen() {
    let place = Place::empty();
    place.done(&["users", "add", "Ada"]);
    let link =
        text(&place.read(&["users", "link", "Ada", "--set", "listen=127.0.0.1:7799"])["url"]);
    assert!(
        link.starts_with("http://127.0.0.1:7799/sandbox#enter="),
        "{link}"
    );
}

/// Runs a command without a data directory of its own.
fn elsewhere(config: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program())
        .args(arguments)
        .current_dir(config)
        .env("XDG_CONFIG_HOME", config)
        .env("CAIRN_LOG", "error")
        .env_remove("CAIRN_URL")
        .env_remove("CAIRN_KEY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut given = child.stdin.take().expect("piped");
    given.write_all(input.as_bytes()).expect("read");
    drop(given);
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_login_is_used_until_it_is_ended() {
    let place = Place::served();
    place.ingest("tides.md", TIDES);
    let home = tempfile::tempdir().expect("temporary directory");
    let (url, key) = (
        text(&place.announced["url"]),
        text(&place.announced["adminKey"]),
    );
    let refused = elsewhere(home.path(), &["login", &url], "cairn_wrong\n");
    assert!(lossy(&refused.stderr).contains("401"), "{refused:?}");
    succeeded(&elsewhere(
        home.path(),
        &["login", &url],
        &format!("{key}\n"),
    ));
    let listed = succeeded(&elsewhere(home.path(), &["datasets", "list"], ""));
    assert!(listed.contains("sea"), "{listed}");
    let unknown = elsewhere(home.path(), &["datasets", "list", "--profile", "work"], "");
    assert!(
        lossy(&unknown.stderr).contains("cairn login"),
        "{unknown:?}"
    );
    succeeded(&elsewhere(home.path(), &["logout"], ""));
    let listed = succeeded(&elsewhere(home.path(), &["datasets", "list"], ""));
    assert!(listed.contains("no dataset yet"), "{listed}");
}

/// A server, and a folder from which its owner is logged in.
fn logged_in() -> (Place, TempDir) {
    let place = Place::served();
    let home = tempfile::tempdir().expect("temporary directory");
    let (url, key) = (
        text(&place.announced["url"]),
        text(&place.announced["adminKey"]),
    );
    let login = ["login", &url, "--key", &key];
    succeeded(&elsewhere(home.path(), &login, ""));
    (place, home)
}

#[test]
fn keys_of_a_server_are_managed_after_a_login() {
    let (place, home) = logged_in();
    place.ingest("tides.md", TIDES);
    let url = text(&place.announced["url"]);
    let keys = |arguments: &[&str]| {
        let all = [&["keys"], arguments, &["--json"]].concat();
        let printed = succeeded(&elsewhere(home.path(), &all, ""));
        serde_json::from_str::<Value>(&printed).expect("JSON")
    };
    let created = keys(&[
        "create",
        "--name",
        "ci",
        "--scope",
        "kb:read",
        "--dataset",
        "sea",
    ]);
    let (id, key) = (text(&created["id"]), text(&created["key"]));
    let listed = keys(&["list"]);
    assert!(
        listed
            .as_array()
            .expect("keys")
            .iter()
            .any(|k| k["id"] == id)
    );
    let with_key = ["datasets", "list", "--url", &url, "--key", &key];
    let seen = succeeded(&elsewhere(home.path(), &with_key, ""));
    assert!(seen.contains("sea"), "{seen}");
    assert_eq!(keys(&["revoke", &id])["revoked"], true);
    let refused = elsewhere(home.path(), &with_key, "");
    assert!(lossy(&refused.stderr).contains("401"), "{refused:?}");
}

#[test]
fn a_command_for_a_directory_makes_none_beside_a_login() {
    let (_server, home) = logged_in();
    let refused = elsewhere(home.path(), &["sandbox"], "");
    assert!(!refused.status.success());
    assert!(lossy(&refused.stderr).contains("--data-dir"), "{refused:?}");
    assert!(!home.path().join("cairn-data").exists());
}

#[test]
fn a_profile_in_the_environment_does_not_move_a_named_directory() {
    let (mine, other) = (Place::empty(), Place::served());
    mine.ingest("tides.md", TIDES);
    let home = mine.data.path().join("config");
    std::fs::create_dir_all(&home).expect("a folder");
    let (url, key) = (
        text(&other.announced["url"]),
        text(&other.announced["adminKey"]),
    );
    let login = ["login", &url, "--key", &key, "--profile", "work"];
    succeeded(&elsewhere(&home, &login, ""));
    let listed = mine
        .command(&["datasets", "list"])
        .env("CAIRN_PROFILE", "work")
        .output();
    assert!(succeeded(&listed.expect("runs")).contains("sea"));
    let listed = mine.done(&["datasets", "list", "--profile", "work"]);
    assert!(listed.contains("no dataset yet"), "{listed}");
}

#[test]
fn documents_of_one_name_are_told_apart_by_their_ids() {
    let place = Place::empty();
    let dump = place.data.path().join("dump.jsonl");
    let lines = "{\"id\": \"a\", \"name\": \"x.txt\", \"text\": \"One.\"}\n{\"id\": \"b\", \"name\": \"x.txt\", \"text\": \"Two.\"}";
    std::fs::write(&dump, lines).expect("writable");
    let dump = dump.display().to_string();
    place.done(&["import", &dump, "--from", "jsonl", "--dataset", "sea"]);
    let listed = place.read(&in_sea(&["list"]));
    let id = text(&listed[0]["id"]);
    let unclear = place.run(&in_sea(&["delete", "x.txt", "--yes"]));
    assert!(lossy(&unclear.stderr).contains(&id), "{unclear:?}");
    place.done(&in_sea(&["delete", &id, "--yes"]));
    let left = place.read(&in_sea(&["list"]));
    assert_eq!(left.as_array().map(Vec::len), Some(1));
}

#[test]
fn standard_input_needs_a_name() {
    let place = Place::empty();
    let nameless = place.run(&["ingest", "-", "--dataset", "sea"]);
    assert_eq!(nameless.status.code(), Some(2));
    assert!(lossy(&nameless.stderr).contains("--name"), "{nameless:?}");
}

#[test]
fn a_pipe_gets_no_colours() {
    let place = Place::empty();
    place.ingest("tides.md", TIDES);
    let printed = place.done(&["search", "moon", "--explain"]);
    assert!(printed.contains("The moon pulls"), "{printed}");
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
}

#[test]
fn shells_and_manuals_know_the_commands() {
    let place = Place::empty();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.done(&["completions", shell]);
        assert!(script.contains("reindex"), "{shell}");
    }
    let pages = place.data.path().join("man");
    place.done(&["man", "--out", &pages.display().to_string()]);
    for page in ["cairn.1", "cairn-search.1", "cairn-documents-list.1"] {
        let written = std::fs::read_to_string(pages.join(page)).expect(page);
        assert!(written.contains(".SH"), "{page}");
    }
}
