//! Skills: repositories of instructions that agents install. A repository is cloned from GitHub, or read from a mirror on disk.

use super::calls;
use super::roster;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::access::need_admin;
use super::{GATEWAY, SKILL, SKILL_PACK, filled, json_of, store, unfit};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, text};
use crate::records::plan::Plan;
use crate::records::write::{self, New};

/// Time for cloning a repository.
const CLONE: Duration = Duration::from_secs(600);
/// Skills of a repository that are read.
const MOST: usize = 5000;
/// Largest file of a skill that is read, in bytes.
const LARGEST: u64 = 1 << 20;
/// Levels of folders that are read.
const DEEPEST: usize = 8;

/// Returns owner and name of a repository by its address.
///
/// # Errors
/// `pack_url_invalid`.
fn repository(url: &str) -> Result<(String, String)> {
    let invalid = || {
        Error::invalid(
            "pack_url_invalid",
            "Pack source_url must be https://github.com/<owner>/<repo>",
        )
    };
    let rest = url
        .trim()
        .strip_prefix("https://github.com/")
        .ok_or_else(invalid)?;
    let rest = rest.trim_end_matches('/').trim_end_matches(".git");
    let (owner, name) = rest.split_once('/').ok_or_else(invalid)?;
    let is_name = |text: &str| {
        !text.is_empty()
            && !text.starts_with(['-', '.'])
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    if is_name(owner) && is_name(name) {
        Ok((owner.to_owned(), name.to_owned()))
    } else {
        Err(invalid())
    }
}

/// Returns a pack as clients see it.
///
/// # Errors
/// Those of the database.
pub async fn pack_shown(app: &App, pack: &Record) -> Result<Body> {
    let mut body = json_of(&SKILL_PACK, pack)?;
    let skills = store::all(&app.db, &pack.tenant_id, &SKILL, Some(&pack.id)).await?;
    body.insert("skill_count".to_owned(), json!(skills.len()));
    Ok(body)
}

fn checked(body: &mut Body) -> Result<()> {
    let url = text(body, "source_url").unwrap_or_default().to_owned();
    let (owner, name) = repository(&url)?;
    body.insert(
        "source_url".to_owned(),
        json!(format!("https://github.com/{owner}/{name}")),
    );
    if filled(body, "name").is_none() {
        body.insert("name".to_owned(), json!(name));
    }
    if filled(body, "branch").is_none() {
        body.insert("branch".to_owned(), json!("main"));
    }
    Ok(())
}

/// Returns a plan that adds a pack; one with the same address is updated.
///
/// # Errors
/// `admin_required`, `pack_url_invalid`.
pub async fn create_pack(app: &App, caller: &Caller, body: &Body) -> Result<Plan> {
    need_admin(caller)?;
    let mut body = body.clone();
    checked(&mut body)?;
    for known in store::all(&app.db, caller.tenant(), &SKILL_PACK, None).await? {
        if known.body()?.get("source_url") == body.get("source_url") {
            return change_pack(app, known, &body).await;
        }
    }
    let pack = write::draft(app, caller, &SKILL_PACK, New::from(&body))?;
    let mut shown = json_of(&SKILL_PACK, &pack)?;
    shown.insert("skill_count".to_owned(), json!(0));
    let mut plan = Plan::default();
    plan.create_silently(&SKILL_PACK, pack);
    Ok(plan.data(200, Value::Object(shown)))
}

/// Returns a plan that changes a pack.
///
/// # Errors
/// `admin_required`, `record_not_found`, `pack_url_invalid`, `pack_exists`.
pub async fn update_pack(app: &App, caller: &Caller, id: &str, body: &Body) -> Result<Plan> {
    need_admin(caller)?;
    let before = store::get(app, caller.tenant(), &SKILL_PACK, id).await?;
    let mut body = body.clone();
    checked(&mut body)?;
    for other in store::all(&app.db, caller.tenant(), &SKILL_PACK, None).await? {
        if other.id != before.id && other.body()?.get("source_url") == body.get("source_url") {
            return Err(Error::conflict(
                "pack_exists",
                "a pack with this address exists",
            ));
        }
    }
    change_pack(app, before, &body).await
}

async fn change_pack(app: &App, before: Record, body: &Body) -> Result<Plan> {
    let mut fields = before.body()?;
    fields.extend(body.clone());
    let mut after = before.clone();
    after.title = write::title(&SKILL_PACK, &fields);
    after.body = Value::Object(fields).to_string();
    let shown = pack_shown(app, &after).await?;
    let mut plan = Plan::default();
    plan.update_silently(&SKILL_PACK, before, after, app.clock.now());
    Ok(plan.data(200, Value::Object(shown)))
}

/// Returns a plan that deletes a pack with its skills.
///
/// # Errors
/// `admin_required`, `record_not_found`.
pub async fn delete_pack(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    need_admin(caller)?;
    let pack = store::get(app, caller.tenant(), &SKILL_PACK, id).await?;
    let mut plan = Plan::default();
    for skill in store::all(&app.db, caller.tenant(), &SKILL, Some(&pack.id)).await? {
        plan.delete(&SKILL, skill);
    }
    plan.delete(&SKILL_PACK, pack);
    Ok(plan.data(200, json!({"ok": true})))
}

/// A skill of a repository.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    name: String,
    description: Option<String>,
    category: Option<String>,
    risk: Option<String>,
    source: Option<String>,
    url: String,
}

/// Returns the folder of a repository: of its mirror, or of a clone, which lasts as long as the second value.
async fn folder(
    app: &App,
    (owner, name): &(String, String),
    branch: &str,
) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    let failed = |reason: String| {
        Error::upstream(
            "pack_unreachable",
            format!("the repository cannot be cloned: {reason}"),
        )
    };
    let mirror = &app.config.skills_mirror;
    if !mirror.as_os_str().is_empty() {
        let path = mirror.join(owner).join(name);
        return if path.is_dir() {
            Ok((path, None))
        } else {
            Err(failed(format!("the mirror has no {owner}/{name}")))
        };
    }
    let is_branch = !branch.is_empty()
        && !branch.starts_with('-')
        && branch.bytes().all(|b| b.is_ascii_graphic());
    if !is_branch {
        return Err(unfit("branch_invalid", "branch is invalid"));
    }
    let scratch = tempfile::tempdir_in(app.config.data_dir.join("scratch"))?;
    let url = format!("https://github.com/{owner}/{name}");
    let clone = tokio::process::Command::new("git")
        .args([
            "clone",
            "--quiet",
            "--depth",
            "1",
            "--single-branch",
            "--branch",
            branch,
            &url,
        ])
        .arg(scratch.path().join("pack"))
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(CLONE, clone).await;
    let done = done.map_err(|_| failed("it takes too long".to_owned()))?;
    let done = done.map_err(|e| failed(format!("git cannot be run: {e}")))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(failed(
            said.lines().last().unwrap_or("git failed").to_owned(),
        ));
    }
    Ok((scratch.path().join("pack"), Some(scratch)))
}

/// Reads the skills of a repository: those of its index, or every folder with a SKILL.md that is not hidden.
fn read(folder: &Path, base: &str) -> Result<(Vec<Found>, Vec<String>)> {
    let (mut found, mut warnings) = (Vec::new(), Vec::new());
    let index = folder.join("skills_index.json");
    if index.is_file() {
        let text = std::fs::read_to_string(&index)?;
        let index: Value = serde_json::from_str(&text).map_err(|e| {
            Error::upstream(
                "pack_unreadable",
                format!("skills_index.json is no JSON: {e}"),
            )
        })?;
        let list = index.get("skills").unwrap_or(&index);
        for skill in list.as_array().into_iter().flatten() {
            let member = |name: &str| skill.get(name).and_then(Value::as_str).map(str::to_owned);
            let path = member("path")
                .or_else(|| member("id"))
                .or_else(|| member("name"));
            let Some(path) = path.filter(|p| !p.trim().is_empty()) else {
                warnings.push("a skill of skills_index.json has neither path nor name".to_owned());
                continue;
            };
            found.push(Found {
                name: member("name").unwrap_or_else(|| path.clone()),
                description: member("description"),
                category: member("category"),
                risk: member("risk"),
                source: member("source"),
                url: member("url").unwrap_or_else(|| format!("{base}/{}", path.trim_matches('/'))),
            });
        }
        return Ok((found, warnings));
    }
    let mut folders = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((at, path, depth)) = folders.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&at)?.collect::<std::io::Result<_>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && !name.starts_with('.') && depth < DEEPEST {
                let inner = if path.is_empty() {
                    name
                } else {
                    format!("{path}/{name}")
                };
                folders.push((entry.path(), inner, depth + 1));
            } else if kind.is_file() && name == "SKILL.md" && found.len() < MOST {
                if entry.metadata()?.len() > LARGEST {
                    warnings.push(format!("{path}/SKILL.md is too large"));
                    continue;
                }
                let text = String::from_utf8_lossy(&std::fs::read(entry.path())?).into_owned();
                let head = front_matter(&text);
                let get = |name: &str| head.get(name).cloned();
                let last = path.rsplit('/').next().unwrap_or_default().to_owned();
                found.push(Found {
                    name: get("name").unwrap_or(last),
                    description: get("description"),
                    category: get("category"),
                    risk: get("risk"),
                    source: get("source"),
                    url: format!("{base}/{path}").trim_end_matches('/').to_owned(),
                });
            }
        }
    }
    found.sort_by(|a, b| a.url.cmp(&b.url));
    Ok((found, warnings))
}

/// Returns the plain lines `name: value` between the first two lines `---`.
fn front_matter(text: &str) -> std::collections::HashMap<String, String> {
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some("---") {
        return std::collections::HashMap::new();
    }
    let head = lines.take_while(|line| line.trim() != "---");
    let pairs = head.filter_map(|line| line.split_once(':'));
    pairs
        .filter(|(name, _)| !name.starts_with(char::is_whitespace))
        .map(|(name, value)| {
            (
                name.trim().to_owned(),
                value.trim().trim_matches(['"', '\'']).to_owned(),
            )
        })
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// Reads the skills of a pack again. Returns the plan, which answers with what was done.
///
/// # Errors
/// `admin_required`, `record_not_found`, `pack_unreachable`.
pub async fn sync(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    need_admin(caller)?;
    let pack = store::get(app, caller.tenant(), &SKILL_PACK, id).await?;
    let body = pack.body()?;
    let repository = repository(text(&body, "source_url").unwrap_or_default())?;
    let branch = text(&body, "branch").unwrap_or("main").to_owned();
    let (path, scratch) = folder(app, &repository, &branch).await?;
    let base = format!(
        "https://github.com/{}/{}/tree/{branch}",
        repository.0, repository.1
    );
    let (skills, warnings) = tokio::task::spawn_blocking(move || {
        let read = read(&path, &base);
        drop(scratch);
        read
    })
    .await??;
    let known = store::all(&app.db, caller.tenant(), &SKILL, None).await?;
    let (mut created, mut updated) = (0, 0);
    let mut plan = Plan::default();
    let mut wanted = Vec::new();
    for skill in &skills {
        let mut fields = Body::new();
        let optional = |value: &Option<String>| json!(value);
        for (name, value) in [
            ("name", json!(skill.name)),
            ("description", optional(&skill.description)),
            (
                "category",
                json!(
                    skill
                        .category
                        .clone()
                        .unwrap_or_else(|| "uncategorized".to_owned())
                ),
            ),
            (
                "risk",
                json!(
                    skill
                        .risk
                        .clone()
                        .unwrap_or_else(|| "uncategorized".to_owned())
                ),
            ),
            (
                "source",
                json!(skill.source.clone().unwrap_or_else(|| pack.title.clone())),
            ),
            ("source_url", json!(skill.url)),
        ] {
            fields.insert(name.to_owned(), value);
        }
        if wanted.contains(&skill.url) {
            continue;
        }
        wanted.push(skill.url.clone());
        let mut same = None;
        for record in &known {
            if text(&record.body()?, "source_url") == Some(&skill.url) {
                same = Some(record);
            }
        }
        match same {
            Some(before) => {
                let mut body = before.body()?;
                body.extend(fields);
                let mut after = before.clone();
                after.parent_id = Some(pack.id.clone());
                after.title = write::title(&SKILL, &body);
                after.body = Value::Object(body).to_string();
                plan.update_silently(&SKILL, before.clone(), after, app.clock.now());
                updated += 1;
            }
            None => {
                let new = New {
                    parent_id: Some(pack.id.clone()),
                    ..New::from(&fields)
                };
                plan.create_silently(&SKILL, write::draft(app, caller, &SKILL, new)?);
                created += 1;
            }
        }
    }
    // What the repository has no longer goes, too.
    for record in known {
        let url = text(&record.body()?, "source_url")
            .unwrap_or_default()
            .to_owned();
        if record.parent_id.as_ref() == Some(&pack.id) && !wanted.contains(&url) {
            plan.delete(&SKILL, record);
        }
    }
    let answer = json!({"ok": true, "pack_id": pack.id, "synced": wanted.len(), "created": created, "updated": updated, "warnings": warnings});
    Ok(plan.data(200, answer))
}

/// Returns a plan that adds a skill by its address.
///
/// # Errors
/// `admin_required`, `skill_exists`.
pub async fn create(app: &App, caller: &Caller, body: &Body) -> Result<Plan> {
    need_admin(caller)?;
    let mut body = body.clone();
    let url = text(&body, "source_url").unwrap_or_default().to_owned();
    for known in store::all(&app.db, caller.tenant(), &SKILL, None).await? {
        if text(&known.body()?, "source_url") == Some(&url) {
            return Err(Error::conflict(
                "skill_exists",
                "a skill with this address exists",
            ));
        }
    }
    if filled(&body, "name").is_none() {
        let last = url
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        body.insert("name".to_owned(), json!(last));
    }
    let skill = write::draft(app, caller, &SKILL, New::from(&body))?;
    let shown = json_of(&SKILL, &skill)?;
    let mut plan = Plan::default();
    plan.create_silently(&SKILL, skill);
    Ok(plan.data(200, Value::Object(shown)))
}

/// Returns a plan that deletes a skill.
///
/// # Errors
/// `admin_required`, `record_not_found`.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Plan> {
    need_admin(caller)?;
    let skill = store::get(app, caller.tenant(), &SKILL, id).await?;
    let mut plan = Plan::default();
    plan.delete(&SKILL, skill);
    Ok(plan.data(200, json!({"ok": true})))
}

/// Which skills a list holds.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub search: Option<String>,
    pub category: Option<String>,
    pub risk: Option<String>,
    pub pack_id: Option<String>,
}

/// Returns the skills of a tenant by name, with whether each is installed at a gateway.
///
/// # Errors
/// `admin_required`, `record_not_found`.
pub async fn list(
    app: &App,
    caller: &Caller,
    gateway_id: &str,
    filter: &Filter,
) -> Result<Vec<Body>> {
    need_admin(caller)?;
    let gateway = store::get(app, caller.tenant(), &GATEWAY, gateway_id).await?;
    let mut skills =
        store::all(&app.db, caller.tenant(), &SKILL, filter.pack_id.as_deref()).await?;
    skills.sort_by_key(|s| s.title.to_lowercase());
    let mut shown = Vec::new();
    for skill in skills {
        let mut body = json_of(&SKILL, &skill)?;
        let has = |name: &str, wanted: &Option<String>| {
            let own = text(&body, name).unwrap_or("uncategorized").to_lowercase();
            wanted
                .as_ref()
                .is_none_or(|w| own == w.trim().to_lowercase())
        };
        let texts = ["name", "description", "category", "source"];
        let words: Vec<String> = texts
            .iter()
            .filter_map(|n| text(&body, n))
            .map(str::to_lowercase)
            .collect();
        let is_found = filter.search.as_ref().is_none_or(|s| {
            let wanted = s.trim().to_lowercase();
            words.iter().any(|w| w.contains(&wanted))
        });
        if !is_found || !has("category", &filter.category) || !has("risk", &filter.risk) {
            continue;
        }
        let installed = body
            .get("installed_at")
            .and_then(|m| m.get(&gateway.id))
            .cloned();
        body.insert("installed".to_owned(), json!(installed.is_some()));
        body.insert("installed_at".to_owned(), installed.unwrap_or_default());
        shown.push(body);
    }
    Ok(shown)
}

/// Asks the main agent of a gateway to install a skill or to remove it, and marks it.
///
/// # Errors
/// `admin_required`, `record_not_found`, `gateway_failed`.
pub async fn install(
    app: &App,
    caller: &Caller,
    id: &str,
    gateway_id: &str,
    installs: bool,
) -> Result<Plan> {
    need_admin(caller)?;
    let before = store::get(app, caller.tenant(), &SKILL, id).await?;
    let gateway = store::get(app, caller.tenant(), &GATEWAY, gateway_id).await?;
    let main = roster::main_of(app, caller.tenant(), &gateway.id).await?;
    let main =
        main.ok_or_else(|| unfit("gateway_without_main", "the gateway has no main agent"))?;
    let mut body = before.body()?;
    let url = text(&body, "source_url").unwrap_or_default().to_owned();
    let root = text(&gateway.body()?, "workspace_root")
        .unwrap_or_default()
        .to_owned();
    let (header, task) = if installs {
        (
            "MISSION CONTROL SKILL INSTALL REQUEST",
            "Download it into the folder of skills of this gateway and check that it loads.",
        )
    } else {
        (
            "MISSION CONTROL SKILL UNINSTALL REQUEST",
            "Remove it from the folder of skills of this gateway.",
        )
    };
    let message = format!(
        "{header}\nSkill: {}\nSource: {url}\nSkills folder: {root}/skills\n{task}\nAnswer with what you did.",
        before.title
    );
    calls::send(app, &main, &message, true)
        .await
        .map_err(|e| calls::undelivered("Gateway skill action failed", &e))?;
    let mut marks = match body.get("installed_at") {
        Some(Value::Object(marks)) => marks.clone(),
        _ => Map::new(),
    };
    if installs {
        marks.insert(gateway.id.clone(), json!(app.clock.now().rfc3339()));
    } else {
        marks.shift_remove(&gateway.id);
    }
    body.insert("installed_at".to_owned(), Value::Object(marks));
    let mut after = before.clone();
    after.body = Value::Object(body).to_string();
    let mut plan = Plan::default();
    plan.update_silently(&SKILL, before, after, app.clock.now());
    Ok(plan.data(
        200,
        json!({"ok": true, "skill_id": id, "gateway_id": gateway.id, "installed": installs}),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_come_from_github_only() {
        let names = |url: &str| repository(url).map(|(o, n)| format!("{o}/{n}")).ok();
        assert_eq!(names("https://github.com/a/b.git").as_deref(), Some("a/b"));
        for wrong in [
            "http://github.com/a/b",
            "https://github.com/a",
            "https://github.com/a/b/c",
            "https://github.com/-a/b",
            "file:///a/b",
            "https://github.com/../b",
        ] {
            assert_eq!(names(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn skills_are_read_from_an_index_or_from_their_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write(
            "skills/tide/SKILL.md",
            "---\nname: Tide tables\ndescription: \"When to sail\"\n---\nText",
        );
        write(".hidden/x/SKILL.md", "x");
        let (found, _) = read(folder.path(), "base").expect("readable");
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].name.as_str(), found[0].url.as_str()),
            ("Tide tables", "base/skills/tide")
        );
        assert_eq!(found[0].description.as_deref(), Some("When to sail"));
        write(
            "skills_index.json",
            r#"[{"name": "One", "path": "skills/one", "risk": "safe"}, {}]"#,
        );
        let (found, warnings) = read(folder.path(), "base").expect("readable");
        assert_eq!(
            (found.len(), warnings.len(), found[0].risk.as_deref()),
            (1, 1, Some("safe"))
        );
    }
}
