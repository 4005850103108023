//! Embedding models: their manifests (`manifest`), download and verification of their files (`fetch`), ONNX graphs written from published weights (`onnx`), and
//! inference, locally through ONNX Runtime or through a remote endpoint.
//!
//! Independent of the service: no SQL, no HTTP handlers, no indexes.

mod calibration;
mod calibrations;
mod embed;
mod error;
mod fetch;
mod manifest;
mod onnx;
mod packed;
mod pool;
mod remote;
mod rerank;
mod runtime;
mod tokens;
mod verified;

pub use calibration::{Anchors, Calibration, Measured, REFERENCE};
pub use embed::{Embedder, EmbedderSpec, Loaded, Priority, cosine, load_local};
pub use error::{Error, Result};
pub use fetch::{Cache, Progress, hash_file};
pub use manifest::{
    DEFAULT, Files, MULTILINGUAL, Manifest, Origin, Pooling, Precision, Source, is_multilingual,
    is_reference, known, rerankers, resolve, resolve_reranker,
};
pub use onnx::{BertConfig, Head, Published, Weights, write_bert};
pub use remote::{RemoteEmbedder, RemoteOptions};
pub use rerank::{Reranker, load_reranker};
pub use runtime::{RuntimeManifest, ensure_runtime, runtime_manifest};
pub use tokens::Tokens;
