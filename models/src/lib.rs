//! Embedding models: what they are (manifests), how their files arrive and are verified (fetch),
//! how ONNX graphs are written from published weights (onnx), and how texts become vectors
//! (local through ONNX Runtime, or a remote endpoint).
//!
//! Knows nothing of the service: no SQL, no HTTP handlers, no indexes.

mod embed;
mod error;
mod fetch;
mod manifest;
mod onnx;
mod pool;
mod remote;
mod rerank;

mod runtime;
mod tokens;

pub use embed::{Embedder, EmbedderSpec, Loaded, Priority, load_local};
pub use error::{Error, Result};
pub use fetch::{Cache, Progress, hash_file};
pub use manifest::{
    Files, Manifest, Origin, Pooling, Precision, Source, known, rerankers, resolve,
    resolve_reranker,
};
pub use onnx::{BertConfig, Head, write_bert};
pub use remote::{RemoteEmbedder, RemoteOptions};
pub use rerank::{Reranker, load_reranker};
pub use runtime::{RuntimeManifest, ensure_runtime, runtime_manifest};
pub use tokens::Tokens;
