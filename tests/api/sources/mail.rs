//! Sources that are mailboxes.

use reqwest::Method;
use serde_json::{Value, json};

use super::{counts, documents, names, over, save, start, sync};
use crate::eventually;
use crate::support::imap::{MailServer, PASSWORD, Trouble};
use crate::support::{Engine, Service, text};

fn settings(server: &MailServer) -> Value {
    json!({"kind": "imap", "host": "127.0.0.1", "port": server.port, "user": "ada", "encryption": "none"})
}

/// A service with a dataset and a source of a mailbox, and the path of the source.
async fn with_mailbox(
    engine: Engine,
    settings: Value,
    password: &str,
) -> (Service, String, String) {
    let service = Service::start_with(engine, |config| {
        config.outgoing_allow = "127.0.0.0/8".to_owned();
    })
    .await;
    let dataset = service.dataset("d").await;
    let path = format!("/kb/v1/datasets/{dataset}/sources");
    let body = json!({"name": "s", "settings": settings, "secret": password});
    let (_, source) = service.call(Method::PUT, &path, Some(body)).await;
    let source = format!("{path}/{}", text(&source["id"]));
    (service, dataset, source)
}

async fn a_mailbox_and_its_dataset_stay_in_step(engine: Engine) {
    let server = MailServer::start().await;
    server.put(3, "Tides", "Tides lag behind the moon.");
    server.put(7, "Birds", "Cormorants dry their wings.");
    let (service, dataset, source) = with_mailbox(engine, settings(&server), PASSWORD).await;
    assert_eq!(counts(&sync(&service, &source).await), [2, 0, 0, 0]);
    assert_eq!(names(&service, &dataset).await, ["3.eml", "7.eml"]);
    let cormorants = json!({"query": "cormorants", "datasetIds": [dataset]});
    eventually!(
        found in service.search(cormorants.clone()).await,
        "the mail is found",
        found.first().is_some_and(|hit| hit["title"] == "Birds")
    );
    server.put(9, "Boats", "Boats wait for water.");
    server.remove(3);
    assert_eq!(counts(&sync(&service, &source).await), [1, 0, 1, 1]);
    assert_eq!(names(&service, &dataset).await, ["7.eml", "9.eml"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_and_its_dataset_stay_in_step_on_sqlite() {
    a_mailbox_and_its_dataset_stay_in_step(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_and_its_dataset_stay_in_step_on_postgres() {
    a_mailbox_and_its_dataset_stay_in_step(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_is_read_without_a_mark_and_only_once() {
    let server = MailServer::start().await;
    server.put(3, "Tides", "Tides lag.");
    let (service, _, source) = with_mailbox(Engine::Sqlite, settings(&server), PASSWORD).await;
    sync(&service, &source).await;
    let commands = server.commands();
    assert!(
        commands
            .iter()
            .all(|c| !c.starts_with("SELECT") && !c.contains(" BODY[")),
        "{commands:?}"
    );
    sync(&service, &source).await;
    let commands = server.commands();
    assert!(commands.iter().all(|c| !c.contains("BODY")), "{commands:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_that_are_numbered_anew_are_read_again() {
    let server = MailServer::start().await;
    server.put(3, "Tides", "Tides lag.");
    let (service, dataset, source) =
        with_mailbox(Engine::Sqlite, settings(&server), PASSWORD).await;
    sync(&service, &source).await;
    server.renumber();
    server.put(3, "Birds", "Cormorants dry.");
    assert_eq!(counts(&sync(&service, &source).await), [1, 0, 0, 1]);
    eventually!(
        listed in documents(&service, &dataset).await,
        "the title of the mail is read",
        listed.len() == 1 && listed[0]["title"] == "Birds"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_mail_of_so_many_days_is_asked_for() {
    let server = MailServer::start().await;
    server.put(3, "Tides", "Tides lag.");
    let mut settings = settings(&server);
    settings["days"] = json!(30);
    let (service, _, source) = with_mailbox(Engine::Sqlite, settings, PASSWORD).await;
    sync(&service, &source).await;
    let commands = server.commands();
    let search = commands
        .iter()
        .find(|c| c.starts_with("UID SEARCH"))
        .expect("a search");
    assert!(
        search.starts_with("UID SEARCH UNDELETED SINCE "),
        "{search}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_a_missing_folder_are_told() {
    let server = MailServer::start().await;
    let (service, _, source) = with_mailbox(Engine::Sqlite, settings(&server), "wrong").await;
    let refused = sync(&service, &source).await;
    assert!(
        text(&refused["errorMessage"]).contains("refused the user"),
        "{refused}"
    );
    let mut other = settings(&server);
    other["folder"] = json!("Archive");
    let (service, _, source) = with_mailbox(Engine::Sqlite, other, PASSWORD).await;
    let refused = sync(&service, &source).await;
    assert!(
        text(&refused["errorMessage"]).contains("no such folder"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_cut_off_removes_nothing() {
    let server = MailServer::start().await;
    server.put(3, "Tides", "Tides lag.");
    server.put(7, "Birds", "Cormorants dry.");
    let (service, dataset, source) =
        with_mailbox(Engine::Sqlite, settings(&server), PASSWORD).await;
    sync(&service, &source).await;
    for trouble in [Trouble::Refuses, Trouble::Closes] {
        server.have(trouble);
        assert_eq!(sync(&service, &source).await["status"], "failed");
        assert_eq!(names(&service, &dataset).await, ["3.eml", "7.eml"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_was_emptied_empties_the_dataset() {
    let server = MailServer::start().await;
    server.put(3, "Tides", "Tides lag.");
    let (service, dataset, source) =
        with_mailbox(Engine::Sqlite, settings(&server), PASSWORD).await;
    sync(&service, &source).await;
    server.remove(3);
    assert_eq!(counts(&sync(&service, &source).await), [0, 0, 0, 1]);
    assert!(names(&service, &dataset).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_sends_without_end_is_left() {
    let server = MailServer::start().await;
    server.put(3, "Tides", "Tides lag.");
    server.have(Trouble::Endless);
    let (service, _, source) = with_mailbox(Engine::Sqlite, settings(&server), PASSWORD).await;
    let running = start(&service, &source).await;
    let done = over(&service, &running).await;
    assert_eq!(done["itemsFailed"], 1, "{done}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_inside_the_network_is_refused() {
    let server = MailServer::start().await;
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    let path = format!("/kb/v1/datasets/{dataset}/sources");
    let body = json!({"name": "s", "settings": settings(&server), "secret": PASSWORD});
    let (_, source) = service.call(Method::PUT, &path, Some(body)).await;
    let refused = sync(&service, &format!("{path}/{}", text(&source["id"]))).await;
    assert!(
        text(&refused["errorMessage"]).contains("outgoing_allow"),
        "{refused}"
    );
    assert!(server.commands().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_would_end_a_command_are_refused() {
    let service = Service::start(Engine::Sqlite).await;
    let dataset = service.dataset("d").await;
    for (name, value) in [
        ("user", json!("a\r\nx")),
        ("folder", json!("INBOX\nx LOGOUT")),
        ("host", json!("a b")),
        ("days", json!(0)),
    ] {
        let mut settings = json!({"kind": "imap", "host": "mail.example", "user": "ada"});
        settings[name] = value;
        let (_, answer) = save(&service, &dataset, settings).await;
        assert_eq!(
            answer["error"]["reason"], "source_settings_invalid",
            "{name}: {answer}"
        );
    }
}
