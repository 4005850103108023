//! Searches of the bench: whole ones, each kind of search and each feature as a ratio to the plain search of the same query, several clients at a time, and
//! recall under filters.

use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use serde_json::json;

use super::plant::Planted;
use crate::app::App;
use crate::auth::Caller;
use crate::error::Result;
use crate::evaluation::statistics::percentile;
use crate::kb::filter::Filter;
use crate::search::{self, Answer, Request};

/// Shares of the chunks that the filters of the bench pass, in percent.
pub(super) const SHARES: [usize; 5] = [2, 13, 50, 90, 100];
/// Clients that search at the same time.
const CLIENTS: usize = 8;
/// Queries whose hits are compared with those of a full comparison.
const RECALLED: usize = 50;
/// Words of a query.
const WORDS: usize = 8;

/// Common parameters of the searches of the bench.
#[derive(Clone, Copy)]
pub(super) struct Searches<'a> {
    pub app: &'a Arc<App>,
    pub caller: &'a Caller,
    pub dataset_id: &'a str,
    pub sentences: &'a [&'a str],
    /// Number of searches of each kind.
    pub count: usize,
}

/// Median milliseconds of the stages of a plain search.
pub(super) struct Stages {
    pub prepare: f64,
    pub retrieve: f64,
    pub assemble: f64,
}

/// A kind of search.
pub(super) struct Line {
    pub name: &'static str,
    /// Milliseconds, without embedding the query.
    pub p50: f64,
    pub p95: f64,
    /// Ratio of the median to that of the plain search.
    pub ratio: f64,
}

/// Throughput of several clients.
pub(super) struct Clients {
    pub per_second: f64,
    /// Milliseconds of processor time per search; 0 where the system does not report it.
    pub cpu_ms: f64,
}

type Change = fn(&mut Request);

/// Returns a filter that passes a share of the planted documents.
fn passing(share: usize) -> Filter {
    Filter::read(&json!({"field": "share", "op": "lt", "value": share})).expect("a valid filter")
}

const KINDS: [(&str, Change); 18] = [
    ("plain", |_| {}),
    ("keyword", |r| r.alpha = Some(0.0)),
    ("semantic", |r| r.alpha = Some(1.0)),
    ("filter 2 %", |r| r.filter = Some(passing(2))),
    ("filter 13 %", |r| r.filter = Some(passing(13))),
    ("filter 50 %", |r| r.filter = Some(passing(50))),
    ("filter 90 %", |r| r.filter = Some(passing(90))),
    ("phrase", |r| {
        let mut words = r.query.split_whitespace();
        if let (Some(a), Some(b)) = (words.next(), words.next()) {
            r.query = format!("\"{a} {b}\" {}", r.query);
            r.plain = false;
        }
    }),
    ("explain", |_| {}),
    ("facets", |r| {
        r.facets = vec!["$source".to_owned(), "$page".to_owned()];
    }),
    ("fold", |r| r.fold = true),
    ("mmr", |r| r.mmr = Some(0.7)),
    ("perDocument", |r| r.per_document = Some(3)),
    ("expand", |r| r.expand = 1),
    ("maxTokens", |r| r.max_tokens = Some(1500)),
    ("feedback", |r| r.feedback = Some(true)),
    ("top 100", |r| r.top_k = 100),
    ("cached", |r| r.cache = true),
];

impl Searches<'_> {
    fn request(&self, query: String) -> Request {
        Request {
            top_k: 10,
            cache: false,
            ..Request::new(query, vec![self.dataset_id.to_owned()])
        }
    }

    /// Returns the `n`th query: the first words of a sentence.
    fn query(&self, n: usize) -> String {
        let sentence = self.sentences[n * 7 % self.sentences.len()];
        let words: Vec<&str> = sentence.split_whitespace().take(WORDS).collect();
        words.join(" ")
    }

    async fn search(&self, request: &Request) -> Result<Answer> {
        search::search(self.app, self.caller, request).await
    }

    /// Returns sorted milliseconds of searches with queries that were not embedded before: whole, and without embedding.
    pub(super) async fn plain(&self, random: &mut Rng) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut whole, mut without) = (Vec::new(), Vec::new());
        for n in 0..self.count {
            let query = self.query(random.usize(..self.sentences.len()));
            let answer = self.search(&self.request(format!("{query} {n}"))).await?;
            whole.push(answer.timings.total_ms);
            without.push(answer.timings.total_ms - answer.timings.embed_ms);
        }
        whole.sort_by(f64::total_cmp);
        without.sort_by(f64::total_cmp);
        Ok((whole, without))
    }

    /// Measures each kind of search. They alternate on each query, so that disturbances affect all equally; the queries are embedded beforehand.
    pub(super) async fn table(&self) -> Result<(Vec<Line>, Stages)> {
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); KINDS.len()];
        let mut stages: [Vec<f64>; 3] = Default::default();
        for n in 0..self.count.min(150) {
            let plain = Request {
                plain: true,
                ..self.request(self.query(n))
            };
            self.search(&plain).await?;
            for ((name, change), times) in KINDS.iter().zip(&mut times) {
                let mut request = plain.clone();
                change(&mut request);
                if *name == "phrase" || *name == "cached" {
                    // The query's vector, or its answer.
                    self.search(&request).await?;
                }
                let began = Instant::now();
                let answer = self.search(&request).await?;
                if *name == "explain" {
                    for hit in &answer.hits {
                        std::hint::black_box(serde_json::to_string(&hit.explanation)?);
                    }
                }
                times.push(began.elapsed().as_secs_f64() * 1000.0);
                if *name == "plain" {
                    let t = answer.timings;
                    let each = [t.embed_ms, t.retrieve_ms, t.assemble_ms];
                    stages.iter_mut().zip(each).for_each(|(s, t)| s.push(t));
                }
            }
        }
        times.iter_mut().for_each(|t| t.sort_by(f64::total_cmp));
        let plain = percentile(&times[0], 0.5).max(f64::MIN_POSITIVE);
        let lines = KINDS.iter().zip(&times).map(|((name, _), times)| {
            let p50 = percentile(times, 0.5);
            Line {
                name,
                p50,
                p95: percentile(times, 0.95),
                ratio: p50 / plain,
            }
        });
        stages.iter_mut().for_each(|s| s.sort_by(f64::total_cmp));
        let [prepare, retrieve, assemble] = stages.map(|s| percentile(&s, 0.5));
        let stages = Stages {
            prepare,
            retrieve,
            assemble,
        };
        Ok((lines.collect(), stages))
    }

    /// Measures clients that search at the same time.
    pub(super) async fn clients(&self) -> Result<Clients> {
        let each = self.count.min(100);
        let (began, cpu) = (Instant::now(), processor_ms());
        let clients = (0..CLIENTS).map(|client| async move {
            for n in 0..each {
                let request = Request {
                    plain: true,
                    ..self.request(self.query(n + client))
                };
                self.search(&request).await?;
            }
            Ok::<_, crate::error::Error>(())
        });
        futures::future::try_join_all(clients).await?;
        let searches = (CLIENTS * each) as f64;
        Ok(Clients {
            per_second: searches / began.elapsed().as_secs_f64(),
            cpu_ms: (processor_ms() - cpu) / searches,
        })
    }

    /// Returns the share of the right first ten that semantic search finds under each filter.
    pub(super) async fn recall(&self, planted: &[Planted]) -> Result<[f64; SHARES.len()]> {
        let mut found = [0.0; SHARES.len()];
        let queries = RECALLED.min(self.count).max(1);
        for n in 0..queries {
            let query = self.query(n);
            let text = vec![query.clone()];
            let vector = self.app.embed(text, cairn_models::Priority::Query).await?;
            let vector = vector.into_iter().next().unwrap_or_default();
            let mut order: Vec<(f32, &Planted)> = planted
                .iter()
                .map(|p| (cairn_models::cosine(&p.vector, &vector), p))
                .collect();
            order.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (share, found) in SHARES.iter().zip(&mut found) {
                let right = order.iter().filter(|(_, p)| p.share < *share).take(10);
                let right: Vec<&str> = right.map(|(_, p)| p.id.as_str()).collect();
                let request = Request {
                    alpha: Some(1.0),
                    plain: true,
                    filter: Some(passing(*share)),
                    ..self.request(query.clone())
                };
                let answer = self.search(&request).await?;
                let hits = answer.hits.iter();
                let hits = hits.filter(|hit| right.contains(&hit.chunk.id.as_str()));
                *found += hits.count() as f64 / right.len().max(1) as f64;
            }
        }
        Ok(found.map(|sum| sum / queries as f64))
    }
}

/// Returns the processor time of this process in milliseconds.
fn processor_ms() -> f64 {
    /// Milliseconds of a tick, as on all common systems.
    const TICK: f64 = 10.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may contain spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|field| field.parse::<f64>().ok())
        .sum::<f64>()
        * TICK
}
