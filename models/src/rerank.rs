//! Cross-encoders: models that encode query and passage together and return a score, more accurate and much slower than comparing vectors.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use fastembed::{
    OnnxSource, RerankInitOptionsUserDefined, TextRerank, TokenizerFiles, UserDefinedRerankingModel,
};

use crate::fetch::{Cache, Progress};
use crate::manifest::{Manifest, Origin, Precision};
use crate::onnx::{BertConfig, Head, Published, write_bert};
use crate::{Error, Result, ensure_runtime};

/// Pairs per batch: enough to use all processors, few enough that the time limit is checked often.
const BATCH: usize = 8;

/// A loaded cross-encoder. Only one search uses it at a time; others wait within their own time limit.
pub struct Reranker {
    name: String,
    model: Mutex<TextRerank>,
}

impl std::fmt::Debug for Reranker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reranker")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Fetches missing files, verifies them, and loads the cross-encoder. A directory contains `config.json`, the tokenizer's files and `model.onnx`, or
/// `model.safetensors` of a BERT with a classification head, from which the graph is written.
///
/// # Errors
/// A missing or damaged file, or a graph without `logits`. All are reported here, not at the first search.
pub fn load_reranker(
    manifest: &Manifest,
    cache: &Cache,
    runtime: Option<&Path>,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Arc<Reranker>> {
    let directory = cache.pull(manifest, progress)?;
    let (_, environment) = ensure_runtime(cache, runtime, progress)?;
    let read = |name: &str| cache.read_verified(&directory, &manifest.file(name));
    let config_file = read("config.json")?;
    let graph = match &manifest.origin {
        Origin::Onnx(name) => read(name)?,
        Origin::PackedWeights(_) => {
            return Err(Error::load(
                &manifest.name,
                "packed weights have no classifier, so they are not a cross-encoder",
            ));
        }
        Origin::BertWeights => {
            let config: BertConfig = serde_json::from_slice(&config_file)
                .map_err(|e| Error::load(&manifest.name, format!("config.json: {e}")))?;
            let weights = read("model.safetensors")?;
            write_bert(
                &manifest.name,
                &config,
                &Published::read(&manifest.name, &weights)?,
                Precision::Fp32,
                Head::Classifier,
            )?
        }
    };
    let files = TokenizerFiles {
        tokenizer_file: read("tokenizer.json")?,
        config_file,
        special_tokens_map_file: read("special_tokens_map.json")?,
        tokenizer_config_file: read("tokenizer_config.json")?,
    };
    let mut options = RerankInitOptionsUserDefined::default();
    options.environment = Some(environment);
    options.max_length = manifest.max_tokens;
    options.intra_threads = Some(threads.max(1));
    let mut model = TextRerank::try_new_from_user_defined(
        UserDefinedRerankingModel::new(OnnxSource::Memory(graph), files),
        options,
    )
    .map_err(|e| Error::load(&manifest.name, e))?;
    model
        .rerank("probe", ["a probe"], false, Some(1))
        .map_err(|e| Error::load(&manifest.name, e))?;
    Ok(Arc::new(Reranker {
        name: manifest.name.clone(),
        model: Mutex::new(model),
    }))
}

impl Reranker {
    /// Returns the name of the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns one score per passage, higher for more relevant ones, in their order; `None` when the time did not suffice for all. Blocks the thread: do not
    /// call it from async code.
    ///
    /// # Errors
    /// [`Error::Inference`] when inference fails.
    pub fn logits(
        &self,
        query: &str,
        passages: &[String],
        until: Instant,
    ) -> Result<Option<Vec<f32>>> {
        let mut logits = Vec::with_capacity(passages.len());
        for batch in passages.chunks(BATCH) {
            let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
            let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
            // Waiting for the lock may have used up the time.
            if Instant::now() >= until {
                return Ok(None);
            }
            let mut results = model
                .rerank(query, &batch, false, Some(BATCH))
                .map_err(|e| Error::Inference(e.to_string()))?;
            drop(model);
            results.sort_by_key(|r| r.index);
            logits.extend(results.iter().map(|r| r.score));
        }
        Ok((Instant::now() <= until).then_some(logits))
    }
}
