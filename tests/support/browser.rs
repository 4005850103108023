//! Debian's Chromium without a window, driven through `chromedriver`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser with one page, which ends with the test.
pub struct Browser {
    pub page: Client,
    driver: Child,
    profile: TempDir,
}

/// How long the page may take for what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

impl Browser {
    /// Starts a browser of a size in pixels.
    pub async fn start(width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().expect("temporary directory");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`chromedriver` is installed (tests/run installs it)");
        let output = BufReader::new(driver.stdout.take().expect("its output"));
        let (tell, port) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut tell = Some(tell);
            // Read to the end, so that it can always write.
            for line in output.lines().map_while(Result::ok) {
                let port = line.split_once("successfully on port ");
                let port = port.and_then(|(_, p)| p.trim_end_matches('.').parse::<u16>().ok());
                if let (Some(port), Some(tell)) = (port, tell.take_if(|_| port.is_some())) {
                    let _ = tell.send(port);
                }
            }
        });
        let port = tokio::time::timeout(PATIENCE, port)
            .await
            .expect("`chromedriver` starts")
            .expect("`chromedriver` says its port");
        let options = json!({"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-extensions", "--force-device-scale-factor=1",
            format!("--window-size={width},{height}"), format!("--user-data-dir={}", profile.path().display()),
        ]});
        let capabilities =
            json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let Value::Object(capabilities) = capabilities else {
            unreachable!("an object")
        };
        // Another test of the process may have chosen it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let page = ClientBuilder::rustls()
            .expect("TLS")
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("Chromium is installed (tests/run installs it)");
        Self {
            page,
            driver,
            profile,
        }
    }

    pub async fn open(&self, url: &str) {
        self.page.goto(url).await.expect("the page opens");
    }

    /// The element, as soon as there is one that is shown.
    pub async fn find(&self, css: &str) -> Element {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Ok(element) = self.page.find(Locator::Css(css)).await
                && element.is_displayed().await.unwrap_or(false)
            {
                return element;
            }
            if tokio::time::Instant::now() > end {
                panic!("there is no {css} on the page: {}", self.text("body").await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks the button, link or summary that says this.
    pub async fn press(&self, said: &str) {
        let path = format!(
            "//*[self::button or self::a or self::summary][normalize-space(.)='{said}' or @aria-label='{said}']"
        );
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut hindrance = String::new();
        loop {
            let found = self.page.find_all(Locator::XPath(&path)).await;
            for element in found.unwrap_or_default() {
                if !element.is_displayed().await.unwrap_or(false) {
                    continue;
                }
                // The header stays at the top and covers what is scrolled just into view.
                let handle = serde_json::to_value(&element).expect("JSON");
                let centre = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})";
                let _ = self.page.execute(centre, vec![handle]).await;
                match element.click().await {
                    Ok(()) => return,
                    Err(error) => hindrance = error.to_string(),
                }
            }
            if tokio::time::Instant::now() > end {
                let text = self.text("body").await;
                panic!("nothing to press says {said} ({hindrance}): {text}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn write(&self, css: &str, text: &str) {
        self.find(css)
            .await
            .send_keys(text)
            .await
            .expect("it can be written into");
    }

    /// The text that is shown.
    pub async fn text(&self, css: &str) -> String {
        match self.page.find(Locator::Css(css)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until a text is shown.
    pub async fn see(&self, css: &str, part: &str) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !self.text(css).await.contains(part) {
            if tokio::time::Instant::now() > end {
                panic!(
                    "{css} does not say {part:?} but: {}",
                    self.text("body").await
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The value of a script's `return`.
    pub async fn eval(&self, script: &str) -> Value {
        self.page.execute(script, Vec::new()).await.expect(script)
    }

    /// Requests that the page has made so far.
    pub async fn requests(&self) -> usize {
        let found = self
            .eval("return performance.getEntriesByType('resource').length")
            .await;
        usize::try_from(found.as_u64().expect("a number")).expect("few")
    }

    /// Ends the browser.
    pub async fn close(mut self) {
        self.page.clone().close().await.expect("it ends");
        self.driver.kill().expect("it ends");
        self.driver.wait().expect("it has ended");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A test that fails leaves no browser behind: its driver would.
        if let Ok(None) = self.driver.try_wait() {
            let profile = self.profile.path().display().to_string();
            let _ = Command::new("pkill")
                .args(["-KILL", "-f", &profile])
                .status();
            let _ = self.driver.kill();
            let _ = self.driver.wait();
        }
    }
}
