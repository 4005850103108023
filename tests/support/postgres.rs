//! A throw-away PostgreSQL from the installed binaries: one cluster for the whole test run, one database per test.
//!
//! Tests run as processes of their own (nextest), so the cluster is found through a directory in the target folder, guarded by a file lock.
//! It listens on a socket in that directory only. `tests/run` stops it at the end; the next run finds it or starts another.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::{Connection, PgConnection, SqlSafeStr};

/// A database of its own, dropped with the value's cluster.
pub struct Database {
    pub url: String,
}

/// Binaries of the newest installed version, or those on the path.
fn binaries() -> PathBuf {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path().join("bin"))
        .filter(|p| p.join("initdb").is_file())
        .collect();
    versions.sort();
    versions.pop().unwrap_or_default()
}

/// PostgreSQL refuses to run as root: then the commands run as the account `postgres` or `nobody`.
fn command(program: &str, directory: &Path) -> Command {
    let path = binaries().join(program);
    let root =
        fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid",
                user(),
                "--regid",
                group(),
                "--clear-groups",
                "--reset-env",
            ])
            .arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir(directory).stdin(Stdio::null());
    command
}

fn account(name: &str) -> bool {
    fs::read_to_string("/etc/passwd")
        .is_ok_and(|t| t.lines().any(|l| l.starts_with(&format!("{name}:"))))
}

fn user() -> &'static str {
    if account("postgres") {
        "postgres"
    } else {
        "nobody"
    }
}

fn group() -> &'static str {
    if account("postgres") {
        "postgres"
    } else {
        "nogroup"
    }
}

fn run(mut command: Command) {
    let output = command
        .output()
        .expect("PostgreSQL's programs are installed");
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Starts the cluster unless it runs already; gives the directory of its socket.
fn cluster() -> PathBuf {
    // Socket paths are limited to 107 bytes, so the cluster is in the system's temporary folder, told apart by the checkout.
    let checkout = env!("CARGO_MANIFEST_DIR").replace('/', "_");
    let home = std::env::temp_dir().join(format!(
        "cairn-pg{}",
        &checkout[checkout.len().saturating_sub(40)..]
    ));
    fs::create_dir_all(&home).expect("a folder");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(home.join("lock"))
        .expect("a lock file");
    lock.lock().expect("the lock");
    let data = home.join("data");
    let pid = data.join("postmaster.pid");
    let running = fs::read_to_string(&pid)
        .ok()
        .and_then(|t| t.lines().next()?.parse::<u32>().ok())
        .is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
    if !running {
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(&data).expect("a folder");
        let mut open = Command::new("chmod");
        open.arg("0777").arg(&home);
        run(open);
        let root =
            fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
        if root {
            let mut own = Command::new("chown");
            own.arg(format!("{}:{}", user(), group())).arg(&data);
            run(own);
        }
        let mut init = command("initdb", &home);
        init.args([
            "--auth=trust",
            "--username=cairn",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--pgdata",
        ])
        .arg(&data);
        run(init);
        let mut start = command("pg_ctl", &home);
        let options = format!(
            "-k {} -h '' -c max_connections=200 -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c autovacuum=off",
            home.display()
        );
        start
            .args(["start", "--wait", "--timeout=60", "--options"])
            .arg(options)
            .arg("--log")
            .arg(home.join("data/log.txt"))
            .arg("--pgdata")
            .arg(&data);
        // The server inherits what it can: give it nothing to hold open.
        start.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(
            start.status().expect("pg_ctl is installed").success(),
            "{}",
            fs::read_to_string(data.join("log.txt")).unwrap_or_default()
        );
    }
    home
}

impl Database {
    pub async fn create() -> Self {
        let home = tokio::task::spawn_blocking(cluster)
            .await
            .expect("a cluster");
        let unique = std::process::id();
        let count = std::sync::atomic::AtomicU64::fetch_add(
            &COUNT,
            1,
            std::sync::atomic::Ordering::Relaxed,
        );
        let stamp = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_nanos();
        let name = format!("test_{unique}_{count}_{stamp}");
        let url = |database: &str| {
            format!(
                "postgres://cairn@localhost/{database}?host={}",
                home.display().to_string().replace('/', "%2F")
            )
        };
        for attempt in 0.. {
            match PgConnection::connect(&url("postgres")).await {
                Ok(mut admin) => {
                    sqlx::query(
                        sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"))
                            .into_sql_str(),
                    )
                    .execute(&mut admin)
                    .await
                    .expect("a database");
                    break;
                }
                Err(error) if attempt > 50 => panic!("PostgreSQL cannot be reached: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        Self { url: url(&name) }
    }
}

static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
