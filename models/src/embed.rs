//! Text embedding: the trait that the service uses, and its local implementation.

use std::path::Path;
use std::sync::Arc;

use fastembed::{InitOptionsUserDefined, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};
use serde::Serialize;

use crate::fetch::{Cache, Progress, is_recorded};
use crate::manifest::{Files, Manifest, Origin, Pooling, Precision, TOKENIZER_FILES};
use crate::onnx::{BertConfig, Head, Published, write_bert};
use crate::packed::Packed;
use crate::pool::{Inference, Run};
use crate::{Error, Result, Tokens, ensure_runtime};

/// Priority of a text in the inference queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A caller waits for the result.
    Query,
    /// Ingestion.
    Bulk,
}

/// Properties of a loaded model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EmbedderSpec {
    /// Where inference runs: `local` or `openai`.
    pub provider: String,
    /// Name under which vectors are stored; unique per model.
    pub model: String,
    /// Dimensions of the vectors.
    pub dimensions: usize,
    /// Longest input in tokens, including special tokens.
    pub max_tokens: usize,
}

/// Embeds texts as unit vectors.
pub trait Embedder: Send + Sync {
    /// Returns the properties of the model.
    fn spec(&self) -> &EmbedderSpec;

    /// Returns the tokenizer that determines chunk sizes.
    fn tokens(&self) -> &Tokens;

    /// Embeds passages or queries, in order; vectors have length 1. Blocks the thread: do not call it from async code.
    ///
    /// # Errors
    /// [`Error::Inference`] or [`Error::Remote`].
    fn embed(&self, texts: &[String], priority: Priority) -> Result<Vec<Vec<f32>>>;
}

/// Returns the cosine of two embeddings, whose length is 1: their dot product.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A model loaded from its manifest.
pub type Loaded = Arc<dyn Embedder>;

/// Version of the graph writer: cached graphs of other versions are rewritten.
const GRAPH_VERSION: u32 = 2;
/// Maximum padded tokens in a batch of an fp32 model. Measured on two cores: batches of four long passages are fastest and use little memory.
const BATCH_TOKENS: usize = 1024;
/// Maximum number of model copies that run in parallel; additional processors give each copy more threads.
const MAX_COPIES: usize = 4;
/// Maximum memory for the weights of all copies.
const COPIES_BYTES: usize = 400 << 20;
/// Maximum texts in a batch of an fp32 model.
const BATCH_TEXTS: usize = 16;

/// Fetches missing files, verifies them, and loads the model and ONNX Runtime.
///
/// # Errors
/// A missing or damaged file, a runtime that cannot be opened, or a graph with vectors of the wrong dimensions. All are reported here, not at the first query.
pub fn load_local(
    manifest: &Manifest,
    cache: &Cache,
    runtime: Option<&Path>,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Loaded> {
    let (manifest, directory) = cache.obtain(manifest, progress)?;
    let manifest = &manifest;
    let (_, environment) = ensure_runtime(cache, runtime, progress)?;
    if let Origin::PackedWeights(name) = &manifest.origin {
        unpack_files(manifest, cache, &directory, name)?;
    }
    let read = |name: &str| cache.read_verified(&directory, &manifest.file(name));
    let tokenizer_file = read("tokenizer.json")?;
    let file = directory.join("tokenizer.json");
    let tokens = Tokens::from_bytes(&manifest.name, &file, &tokenizer_file)?;
    let files = TokenizerFiles {
        tokenizer_file,
        config_file: read("config.json")?,
        special_tokens_map_file: read("special_tokens_map.json")?,
        tokenizer_config_file: read("tokenizer_config.json")?,
    };
    let graph = match &manifest.origin {
        Origin::Onnx(name) => read(name)?,
        Origin::BertWeights | Origin::PackedWeights(_) => {
            written_graph(manifest, cache, &directory, &files.config_file)?
        }
    };
    let mut definition =
        UserDefinedEmbeddingModel::new(graph, files).with_pooling(match manifest.pooling {
            Pooling::Mean => fastembed::Pooling::Mean,
            Pooling::Cls => fastembed::Pooling::Cls,
        });
    for file in manifest.files.iter().filter(|f| f.name.ends_with("_data")) {
        let name = Path::new(&file.name)
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        definition = definition.with_external_initializer(name, read(&file.name)?);
    }
    // Large graphs are not loaded several times.
    let weight = definition.onnx_file.len()
        + definition
            .external_initializers
            .iter()
            .map(|i| i.buffer.len())
            .sum::<usize>();
    let copies = threads.clamp(1, (COPIES_BYTES / weight.max(1)).clamp(1, MAX_COPIES));
    let options = InitOptionsUserDefined::new()
        .with_environment(environment)
        .with_max_length(manifest.max_tokens)
        .with_intra_threads((threads / copies).max(1));
    let load = |definition| -> Result<Run> {
        let mut session = TextEmbedding::try_new_from_user_defined(definition, options.clone())
            .map_err(|e| Error::load(&manifest.name, e))?;
        let probe = session
            .embed(["dimension probe"], Some(1))
            .map_err(|e| Error::load(&manifest.name, e))?;
        let found = probe.first().map_or(0, Vec::len);
        if found != manifest.dimensions {
            return Err(Error::Dimensions {
                name: manifest.name.clone(),
                expected: manifest.dimensions,
                found,
            });
        }
        Ok(Box::new(move |texts: &[String]| {
            session
                .embed(texts, Some(texts.len()))
                .map_err(|e| Error::Inference(e.to_string()))
        }))
    };
    let runs = std::thread::scope(|scope| {
        let loading: Vec<_> = std::iter::repeat_n(definition, copies)
            .map(|definition| scope.spawn(|| load(definition)))
            .collect();
        loading
            .into_iter()
            .map(|loading| {
                loading
                    .join()
                    .unwrap_or_else(|_| Err(Error::load(&manifest.name, "loading panicked")))
            })
            .collect::<Result<Vec<Run>>>()
    })?;
    Ok(Arc::new(Local {
        spec: EmbedderSpec {
            provider: "local".to_owned(),
            model: manifest.name.clone(),
            dimensions: manifest.dimensions,
            max_tokens: manifest.max_tokens,
        },
        query_prefix: manifest.query_prefix.clone(),
        passage_prefix: manifest.passage_prefix.clone(),
        precision: manifest.precision,
        inference: Inference::start(&manifest.name, runs)?,
        tokens,
    }))
}

/// Returns the graph from the cache, or writes it from the weights and caches it with its checksum.
fn written_graph(
    manifest: &Manifest,
    cache: &Cache,
    directory: &Path,
    config: &[u8],
) -> Result<Vec<u8>> {
    let suffix = match manifest.precision {
        Precision::Fp32 => "fp32",
        Precision::Int8 => "int8",
    };
    let file = Files {
        name: format!("graph-v{GRAPH_VERSION}-{suffix}.onnx"),
        sha256: None,
    };
    let ready = || is_recorded(directory, &file.name);
    if ready() {
        return cache.read_verified(directory, &file);
    }
    let config: BertConfig = serde_json::from_slice(config)
        .map_err(|e| Error::load(&manifest.name, format!("config.json: {e}")))?;
    let read = |name: &str| cache.read_verified(directory, &manifest.file(name));
    let (name, precision) = (&manifest.name, manifest.precision);
    let graph = match &manifest.origin {
        Origin::PackedWeights(file) => {
            let bytes = read(file)?;
            let weights = Packed::read(name, &bytes)?;
            write_bert(name, &config, &weights, precision, Head::None)?
        }
        Origin::BertWeights | Origin::Onnx(_) => {
            let bytes = read("model.safetensors")?;
            let weights = Published::read(name, &bytes)?;
            write_bert(name, &config, &weights, precision, Head::None)?
        }
    };
    if !matches!(
        manifest.sources.first(),
        Some(crate::Source::Directory { .. })
    ) {
        let _lock = cache.lock()?;
        if !ready() {
            crate::fetch::place(directory, &file, graph.as_slice(), None, &|_, _, _| {})?;
        }
    }
    Ok(graph)
}

/// Writes the configuration and the tokenizer of packed weights into the cache, with their checksums, unless they are there.
fn unpack_files(manifest: &Manifest, cache: &Cache, directory: &Path, packed: &str) -> Result<()> {
    let all_there = || {
        TOKENIZER_FILES
            .iter()
            .all(|name| is_recorded(directory, name))
    };
    if all_there() {
        return Ok(());
    }
    let bytes = cache.read_verified(directory, &manifest.file(packed))?;
    let _lock = cache.lock()?;
    if all_there() {
        return Ok(());
    }
    for (name, content) in Packed::read(&manifest.name, &bytes)?.files() {
        let file = manifest.file(name);
        let content = serde_json::to_vec(&content).map_err(|e| Error::load(&manifest.name, e))?;
        crate::fetch::place(directory, &file, content.as_slice(), None, &|_, _, _| {})?;
    }
    Ok(())
}

struct Local {
    spec: EmbedderSpec,
    query_prefix: String,
    passage_prefix: String,
    precision: Precision,
    inference: Inference,
    tokens: Tokens,
}

impl Embedder for Local {
    fn spec(&self) -> &EmbedderSpec {
        &self.spec
    }

    fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    fn embed(&self, texts: &[String], priority: Priority) -> Result<Vec<Vec<f32>>> {
        let prefix = match priority {
            Priority::Query => &self.query_prefix,
            Priority::Bulk => &self.passage_prefix,
        };
        let texts = texts
            .iter()
            .map(|text| Ok(format!("{prefix}{}", self.tokens.readable(text)?)))
            .collect::<Result<Vec<String>>>()?;
        self.inference
            .embed(&texts, self.batches(&texts)?, priority)
    }
}

impl Local {
    /// Splits texts into batches. int8: one text per batch, which is as fast on a CPU and makes a vector independent of other texts (activations are quantised
    /// per call). fp32: texts of similar length, bounded in padded tokens.
    fn batches(&self, texts: &[String]) -> Result<Vec<Vec<usize>>> {
        if self.precision == Precision::Int8 || texts.len() == 1 {
            return Ok((0..texts.len()).map(|i| vec![i]).collect());
        }
        let lengths = texts
            .iter()
            .map(|t| Ok(self.tokens.count(t)?.min(self.spec.max_tokens)))
            .collect::<Result<Vec<_>>>()?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|i| lengths[*i]);
        let mut batches: Vec<Vec<usize>> = Vec::new();
        for i in order {
            match batches.last_mut() {
                Some(batch)
                    if batch.len() < BATCH_TEXTS
                        && (batch.len() + 1) * lengths[i] <= BATCH_TOKENS =>
                {
                    batch.push(i)
                }
                _ => batches.push(vec![i]),
            }
        }
        Ok(batches)
    }
}
