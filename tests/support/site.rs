//! A website of our own for crawls: pages by path, with everything that sites do to crawlers, and what it was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures::StreamExt;
use sha2::{Digest, Sha256};

/// What a path answers.
#[derive(Clone)]
pub enum Page {
    /// A page with these links below its text.
    Html {
        title: String,
        text: String,
        links: Vec<String>,
        head: String,
    },
    /// Any answer: status, headers, body.
    Raw {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    /// A body that goes on and on, in pieces of 64 KiB.
    Endless,
    /// A piece every second, for ever.
    Trickle,
    /// Answers after this time.
    Slow(Duration, Box<Page>),
    /// The first answers, one after the other, and then the last one for ever.
    Then(Vec<Page>),
}

/// A paragraph long enough to be the main content of a page, about something.
pub fn paragraph(about: &str) -> String {
    format!("This page tells what there is to know about {about}. ").repeat(4)
        + &format!("Whoever looks for {about} finds it here, with the reasons for it and with examples that everybody can try. ").repeat(4)
}

/// A page about something.
pub fn page(about: &str, links: &[&str]) -> Page {
    page_with(about, links, "")
}

/// The same with more in its head.
pub fn page_with(about: &str, links: &[&str], head: &str) -> Page {
    Page::Html {
        title: format!("About {about}"),
        text: paragraph(about),
        links: links.iter().map(|l| (*l).to_owned()).collect(),
        head: head.to_owned(),
    }
}

/// An answer without a body.
pub fn answer(status: u16, headers: &[(&str, &str)]) -> Page {
    raw(status, headers, "")
}

/// Any answer.
pub fn raw(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Page {
    Page::Raw {
        status,
        headers: headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        body: body.into(),
    }
}

#[derive(Default)]
struct State {
    pages: HashMap<String, Page>,
    /// Path and headers of every request.
    requests: Vec<(String, HeaderMap)>,
    counts: HashMap<String, usize>,
    /// Bytes of bodies.
    sent: usize,
    /// Markup that differs each time, as clocks and tokens do.
    noise: bool,
}

/// A site on a free port of this machine.
#[derive(Clone)]
pub struct Site {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Site {
    pub async fn start(pages: Vec<(&str, Page)>) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        for (path, page) in pages {
            state
                .lock()
                .expect("no panic")
                .pages
                .insert(path.to_owned(), page);
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::clone(&state);
        let router = axum::Router::new().fallback(move |request: Request| {
            let shared = Arc::clone(&shared);
            let path = request
                .uri()
                .path_and_query()
                .map_or("/", |p| p.as_str())
                .to_owned();
            let headers = request.headers().clone();
            async move { respond(&shared, path, headers).await }
        });
        tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { url, state }
    }

    pub fn set(&self, path: &str, page: Page) {
        self.state
            .lock()
            .expect("no panic")
            .pages
            .insert(path.to_owned(), page);
    }

    pub fn remove(&self, path: &str) {
        self.state.lock().expect("no panic").pages.remove(path);
    }

    /// From now on, every page differs each time in what is no content.
    pub fn make_noise(&self) {
        self.state.lock().expect("no panic").noise = true;
    }

    /// Paths asked for since the last time, in order.
    pub fn asked(&self) -> Vec<String> {
        let requests = std::mem::take(&mut self.state.lock().expect("no panic").requests);
        requests.into_iter().map(|(path, _)| path).collect()
    }

    /// Requests with their headers since the last time.
    pub fn requests(&self) -> Vec<(String, HeaderMap)> {
        std::mem::take(&mut self.state.lock().expect("no panic").requests)
    }

    /// Bytes of bodies since the last time.
    pub fn sent(&self) -> usize {
        std::mem::take(&mut self.state.lock().expect("no panic").sent)
    }
}

async fn respond(
    state: &Mutex<State>,
    path: String,
    asked: HeaderMap,
) -> Result<Response, Infallible> {
    let (mut page, noise) = {
        let mut state = state.lock().expect("no panic");
        state.requests.push((path.clone(), asked.clone()));
        let count = {
            let count = state.counts.entry(path.clone()).or_default();
            *count += 1;
            *count
        };
        let noise = if state.noise {
            format!("<div hidden>{count}</div>")
        } else {
            String::new()
        };
        let page = state
            .pages
            .get(&path)
            .cloned()
            .unwrap_or_else(|| raw(404, &[("content-type", "text/html")], "<p>Nothing here"));
        let page = match page {
            Page::Then(mut list) => list.swap_remove((count - 1).min(list.len() - 1)),
            other @ (Page::Html { .. }
            | Page::Raw { .. }
            | Page::Endless
            | Page::Trickle
            | Page::Slow(..)) => other,
        };
        (page, noise)
    };
    if let Page::Slow(time, inner) = page {
        tokio::time::sleep(time).await;
        page = *inner;
    }
    let (status, headers, body) = match page {
        Page::Html {
            title,
            text,
            links,
            head,
        } => {
            let links: String = links
                .iter()
                .map(|l| format!("<li><a href=\"{l}\">{l}</a></li>"))
                .collect();
            let html = format!(
                "<!doctype html><html lang=en><head><title>{title}</title>{head}</head><body>{noise}<nav><a href=\"/\">Home</a></nav><article><h1>{title}</h1><p>{text}</p></article><ul>{links}</ul></body></html>"
            );
            let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&html)[..8]));
            if asked
                .get(header::IF_NONE_MATCH)
                .is_some_and(|v| v.to_str().ok() == Some(&etag))
            {
                (304, vec![("etag".to_owned(), etag)], Bytes::new())
            } else {
                (
                    200,
                    vec![
                        (
                            "content-type".to_owned(),
                            "text/html; charset=utf-8".to_owned(),
                        ),
                        ("etag".to_owned(), etag),
                    ],
                    html.into(),
                )
            }
        }
        Page::Raw {
            status,
            headers,
            body,
        } => (status, headers, body),
        Page::Endless => {
            let pieces = futures::stream::repeat_with(|| {
                Ok::<_, Infallible>(Bytes::from(vec![b'x'; 1 << 16]))
            });
            return Ok(Response::builder()
                .header(header::CONTENT_TYPE, "text/html")
                .body(Body::from_stream(pieces))
                .expect("a response"));
        }
        Page::Trickle => {
            let pieces = futures::stream::repeat(()).then(|()| async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok::<_, Infallible>(Bytes::from_static(b"<p>wait</p>"))
            });
            return Ok(Response::builder()
                .header(header::CONTENT_TYPE, "text/html")
                .body(Body::from_stream(pieces))
                .expect("a response"));
        }
        Page::Slow(..) | Page::Then(_) => unreachable!("taken apart above"),
    };
    state.lock().expect("no panic").sent += body.len();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        response.headers_mut().append(
            header::HeaderName::try_from(name).expect("a name"),
            value.parse().expect("a value"),
        );
    }
    Ok(response)
}
