//! Pages as PDF files, printed by an installed Chromium or Chrome without a window.
//! Pages cannot load anything: their policy forbids it, and no host has an address.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Semaphore;
use url::Url;

use crate::error::{Error, Result};

/// Names under which the browser is installed.
const NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];
/// Characters of the browser's messages that an error repeats.
const MESSAGE: usize = 300;

/// A browser takes some 200 MB, so one prints at a time.
static PRINTING: Semaphore = Semaphore::const_new(1);

/// Returns the browser: the configured one, else the first in `PATH`.
fn browser(configured: &Path) -> Result<PathBuf> {
    if !configured.as_os_str().is_empty() {
        return Ok(configured.to_path_buf());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let mut candidates = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.find(|c| c.is_file()).ok_or_else(|| {
        Error::unprocessable(
            "pdf_browser_missing",
            "PDF files are printed by Chromium or Chrome: install one, or set pdf_browser to its path",
        )
    })
}

/// Whether this process is root, as which Chromium refuses to use its sandbox.
fn is_root() -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
    }
    #[cfg(not(target_os = "linux"))]
    false
}

fn failed(program: &Path, why: &str) -> Error {
    Error::unavailable("pdf_failed", format!("{}: {why}", program.display()))
}

/// Prints a page, which must not need anything but itself, within a time that includes the wait for the browser.
///
/// # Errors
/// `pdf_browser_missing`; `pdf_failed` with what the browser said.
pub async fn print(configured: &Path, html: &str, limit: Duration) -> Result<Vec<u8>> {
    let program = browser(configured)?;
    let printed = tokio::time::timeout(limit, print_with(&program, html)).await;
    printed.unwrap_or_else(|_| {
        let why = format!("not printed within {} s", limit.as_secs());
        Err(failed(&program, &why))
    })
}

async fn print_with(program: &Path, html: &str) -> Result<Vec<u8>> {
    let _turn = PRINTING
        .acquire()
        .await
        .map_err(|e| Error::internal(e.to_string()))?;
    let folder = tempfile::tempdir()?;
    let (page, file) = (
        folder.path().join("page.html"),
        folder.path().join("page.pdf"),
    );
    tokio::fs::write(&page, html).await?;
    let address = Url::from_file_path(&page)
        .map_err(|()| Error::internal("the temporary folder has no absolute path"))?;
    let option = |name: &str, value: &OsStr| {
        let mut option = OsString::from(name);
        option.push(value);
        option
    };
    let mut command = Command::new(program);
    command
        .args([
            "--headless",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-extensions",
            "--disable-background-networking",
            "--no-first-run",
            "--no-pdf-header-footer",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ])
        .arg(option(
            "--user-data-dir=",
            folder.path().join("profile").as_os_str(),
        ))
        .arg(option("--print-to-pdf=", file.as_os_str()))
        .args(is_root().then_some("--no-sandbox"))
        .arg(address.as_str())
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = command
        .output()
        .await
        .map_err(|e| failed(program, &e.to_string()))?;
    match tokio::fs::read(&file).await {
        Ok(pdf) if output.status.success() && pdf.starts_with(b"%PDF-") => Ok(pdf),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = super::beginning(said.trim(), MESSAGE);
            Err(failed(program, &format!("{} ({said})", output.status)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_browser_is_taken_as_it_is() {
        let own = browser(Path::new("/opt/browser")).expect("a browser");
        assert_eq!(own, Path::new("/opt/browser"));
    }

    #[tokio::test]
    async fn a_browser_that_is_missing_is_an_error() {
        let error = print(
            Path::new("/nowhere/browser"),
            "<p>x",
            Duration::from_secs(20),
        )
        .await;
        assert_eq!(error.expect_err("no browser").code(), "pdf_failed");
    }

    #[tokio::test]
    async fn a_browser_that_prints_nothing_is_an_error() {
        let error = print(Path::new("/bin/true"), "<p>x", Duration::from_secs(20)).await;
        assert_eq!(error.expect_err("no file").code(), "pdf_failed");
    }
}
