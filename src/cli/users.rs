//! `cairn users`: the people of a tenant, their roles and sign-in links.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Connection, Needs};
use super::{Done, Global, Remote, output, sandbox};
use crate::error::{Error, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cairn users add Ada --email ada@example.com --role admin
  cairn users link Ada                prints a link that signs Ada in once
  cairn users role Ada reviewer
  cairn users datasets Ada --reader handbook --editor wiki
  cairn users remove Ada
  cairn users log                     prints who changed access and who signed in")]
pub(super) struct UsersArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List people with their roles
    List,
    /// Add a person
    Add {
        /// Unique name
        name: String,
        /// Email address
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// Role: owner, admin, member or reviewer [default: member]
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
    },
    /// Print a link that signs a person in once; the previous one ends
    Link {
        /// Name or ID
        name: String,
    },
    /// Change the role of a person
    Role {
        /// Name or ID
        name: String,
        /// Role: owner, admin, member or reviewer
        role: String,
    },
    /// Let a person sign in again
    Activate {
        /// Name or ID
        name: String,
    },
    /// Refuse a person's sessions and keys, without removing the person
    Deactivate {
        /// Name or ID
        name: String,
    },
    /// Print or change the datasets that a person uses, with the role in each; without options, print them
    Datasets {
        /// Name or ID
        name: String,
        /// Dataset that the person searches and reads; repeatable
        #[arg(long, value_name = "DATASET")]
        reader: Vec<String>,
        /// Dataset whose documents the person changes, too; repeatable
        #[arg(long, value_name = "DATASET")]
        editor: Vec<String>,
        /// Dataset that the person also configures and deletes; repeatable
        #[arg(long, value_name = "DATASET")]
        owner: Vec<String>,
        /// All datasets of the tenant
        #[arg(long, conflicts_with_all = ["reader", "editor", "owner"])]
        all: bool,
    },
    /// List changes of keys, people, agents and invitations, and sign-ins, newest first
    Log {
        /// Number of entries, 1 to 500
        #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
        limit: u16,
    },
    /// Remove a person: its sessions end, and its keys are revoked
    Remove {
        /// Name or ID
        name: String,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
}

pub(super) async fn run(global: &Global, args: UsersArgs) -> Result<Done> {
    Connection::with(
        global,
        &args.remote,
        Needs::Nothing,
        async |client| match &args.action {
            Action::List => list(global, client).await,
            Action::Add { name, email, role } => {
                let mut new = json!({"name": name, "email": email});
                if let Some(role) = role {
                    new["role"] = json!(role);
                }
                let added = Client::send(client.post("/kb/v1/users").json(&new)).await?;
                let done = format!(
                    "{name} is added as {}; `cairn users link {name:?}` prints a sign-in link.",
                    output::word(&added, "role")
                );
                Ok(tell(global, &added, &done))
            }
            Action::Link { name } => link(global, client, name).await,
            Action::Role { name, role } => {
                change(global, client, name, json!({"role": role})).await
            }
            Action::Activate { name } => {
                change(global, client, name, json!({"status": "active"})).await
            }
            Action::Deactivate { name } => {
                change(global, client, name, json!({"status": "inactive"})).await
            }
            Action::Datasets {
                name,
                reader,
                editor,
                owner,
                all,
            } => {
                let named = [("reader", reader), ("editor", editor), ("owner", owner)];
                datasets(global, client, name, named, *all).await
            }
            Action::Log { limit } => log(global, client, *limit).await,
            Action::Remove { name, yes } => {
                let path = path(client, name).await?;
                output::confirm(&format!("Remove {name}?"), *yes)?;
                Client::send(client.delete(&path)).await?;
                Ok(tell(
                    global,
                    &json!({"removed": name}),
                    &format!("{name} is removed."),
                ))
            }
        },
    )
    .await
}

/// Prints an outcome, as JSON or as a sentence.
fn tell(global: &Global, outcome: &Value, sentence: &str) -> Done {
    if global.json {
        println!("{outcome}");
    } else {
        println!("{sentence}");
    }
    Done::All
}

async fn all(client: &Client) -> Result<Vec<Value>> {
    let mut users = Client::send(client.get("/kb/v1/users")).await?;
    Ok(serde_json::from_value(users["data"].take())?)
}

/// Returns the path of a person by name or id.
async fn path(client: &Client, name: &str) -> Result<String> {
    let users = all(client).await?;
    let found = users
        .iter()
        .find(|user| output::word(user, "id") == name || output::word(user, "name") == name);
    let user = found.ok_or_else(|| {
        Error::not_found(
            "user_not_found",
            format!("there is no person {name:?}; `cairn users list` shows them"),
        )
    })?;
    Ok(format!("/kb/v1/users/{}", output::word(user, "id")))
}

async fn list(global: &Global, client: &Client) -> Result<Done> {
    let users = all(client).await?;
    if global.json {
        println!("{}", serde_json::to_string(&users)?);
        return Ok(Done::All);
    }
    let cells = ["id", "name", "email", "role", "status", "createdOn"];
    let rows: Vec<Vec<String>> = users
        .iter()
        .map(|user| {
            cells
                .map(|cell| output::word(user, cell).to_owned())
                .to_vec()
        })
        .collect();
    let header = ["id", "name", "email", "role", "status", "added"];
    println!("{}", output::table(&header, &rows));
    Ok(Done::All)
}

/// Prints the datasets of a person, after changing them if any are named.
async fn datasets(
    global: &Global,
    client: &Client,
    name: &str,
    named: [(&str, &Vec<String>); 3],
    all: bool,
) -> Result<Done> {
    let path = format!("{}/datasets", path(client, name).await?);
    let mut grants = Vec::new();
    for (role, names) in named {
        for dataset in names {
            let id = client.dataset(dataset).await?;
            grants.push(json!({"datasetId": id, "role": role}));
        }
    }
    let found = if all {
        Client::send(client.put(&path).json(&json!({"datasets": null}))).await?
    } else if grants.is_empty() {
        Client::send(client.get(&path)).await?
    } else {
        Client::send(client.put(&path).json(&json!({"datasets": grants}))).await?
    };
    if global.json {
        println!("{found}");
        return Ok(Done::All);
    }
    let Some(grants) = found["datasets"].as_array() else {
        println!("{name} uses all datasets.");
        return Ok(Done::All);
    };
    let rows: Vec<Vec<String>> = grants
        .iter()
        .map(|grant| {
            ["datasetId", "role"]
                .map(|cell| output::word(grant, cell).to_owned())
                .to_vec()
        })
        .collect();
    println!("{}", output::table(&["dataset", "role"], &rows));
    Ok(Done::All)
}

async fn log(global: &Global, client: &Client, limit: u16) -> Result<Done> {
    let path = format!("/kb/v1/access-log?limit={limit}");
    let answer = Client::send(client.get(&path)).await?;
    if global.json {
        println!("{answer}");
        return Ok(Done::All);
    }
    let entries: Vec<Value> = serde_json::from_value(answer["data"].clone())?;
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let named = |name: &str, id: &str| match output::word(entry, name) {
                "" => output::word(entry, id).to_owned(),
                name => name.to_owned(),
            };
            let detail = entry["detail"].as_object().filter(|d| !d.is_empty());
            vec![
                output::word(entry, "createdOn").to_owned(),
                named("actorName", "actor"),
                output::word(entry, "action").to_owned(),
                named("subjectName", "subject"),
                detail.map_or_else(String::new, |_| entry["detail"].to_string()),
            ]
        })
        .collect();
    let header = ["when", "who", "what", "whom", "particulars"];
    println!("{}", output::table(&header, &rows));
    Ok(Done::All)
}

async fn change(global: &Global, client: &Client, name: &str, change: Value) -> Result<Done> {
    let path = path(client, name).await?;
    let user = Client::send(client.patch(&path).json(&change)).await?;
    let sentence = format!(
        "{} is {} ({}).",
        output::word(&user, "name"),
        output::word(&user, "role"),
        output::word(&user, "status")
    );
    Ok(tell(global, &user, &sentence))
}

async fn link(global: &Global, client: &Client, name: &str) -> Result<Done> {
    let path = format!("{}/link", path(client, name).await?);
    let mut link = Client::send(client.post(&path)).await?;
    if client.is_inside() {
        // The server inside this command ends with it: people open the link at the one that is started later.
        let (config, _) = global.settings(&[])?;
        let address = sandbox::reached(&config, &config.listen)?;
        let secret = output::word(&link, "url")
            .split_once("/sandbox")
            .map(|(_, rest)| rest);
        link["url"] = json!(format!("{address}/sandbox{}", secret.unwrap_or_default()));
    }
    let url = output::word(&link, "url").to_owned();
    Ok(tell(global, &link, &url))
}
