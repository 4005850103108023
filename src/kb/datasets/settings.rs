//! Settings of datasets and their checks.

use cairn_models::Calibration;

use crate::error::{Error, Result};

/// How the documents of a set are chunked and embedded.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct IndexSettings {
    /// `local` or `openai`.
    pub embedding_provider: String,
    pub embedding_model: String,
    /// Dimensions of its vectors.
    pub vector_size: i64,
    /// Maximum number of tokens of a chunk.
    pub chunk_size: i64,
    /// Tokens repeated from the previous chunk.
    pub chunk_overlap: i64,
    /// `NAIVE`, `MARKDOWN` or `MANUAL`.
    pub parse_type: String,
    /// `NODE_NATIVE` or `DOCLING`.
    pub parser_engine: String,
    /// Delimiter at which `MANUAL` splits.
    pub delimiter: String,
    /// Cosine with the vector score 0; `None` for a model that is not calibrated.
    pub calibration_low: Option<f64>,
    /// Cosine with the vector score 1.
    pub calibration_high: Option<f64>,
}

impl IndexSettings {
    /// Returns the calibration of the vectors; `None` when the model is not calibrated.
    #[must_use]
    pub fn calibration(&self) -> Option<Calibration> {
        Some(Calibration {
            low: self.calibration_low? as f32,
            high: self.calibration_high? as f32,
        })
    }
}

/// Chunking settings; absent fields use the default or stay unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkSettings {
    /// Maximum number of tokens of a chunk, 128 to 2048.
    pub chunk_size: Option<i64>,
    /// Tokens repeated from the previous chunk, 0 to 512 and less than the size.
    pub chunk_overlap: Option<i64>,
    /// `NAIVE`, `MARKDOWN` or `MANUAL`.
    pub parse_type: Option<String>,
    /// `NODE_NATIVE` or `DOCLING`.
    pub parser_engine: Option<String>,
}

impl ChunkSettings {
    /// Checks ranges, against the dataset's values where only one of two is set.
    ///
    /// # Errors
    /// `chunk_size_out_of_range`, `chunk_overlap_out_of_range`, `parse_type_unknown`, `parser_engine_unknown`.
    pub fn check(&self, size: i64, overlap: i64) -> Result<()> {
        let (size, overlap) = (
            self.chunk_size.unwrap_or(size),
            self.chunk_overlap.unwrap_or(overlap),
        );
        if !(128..=2048).contains(&size) {
            return Err(Error::invalid(
                "chunk_size_out_of_range",
                "chunkSize must be between 128 and 2048",
            ));
        }
        if !(0..=512).contains(&overlap) || overlap >= size {
            return Err(Error::invalid(
                "chunk_overlap_out_of_range",
                "chunkOverlap must be between 0 and 512 and less than chunkSize",
            ));
        }
        if self
            .parse_type
            .as_deref()
            .is_some_and(|t| !["NAIVE", "MARKDOWN", "MANUAL"].contains(&t))
        {
            return Err(Error::invalid(
                "parse_type_unknown",
                "parseType must be NAIVE, MARKDOWN or MANUAL",
            ));
        }
        if self
            .parser_engine
            .as_deref()
            .is_some_and(|t| !["NODE_NATIVE", "DOCLING"].contains(&t))
        {
            return Err(Error::invalid(
                "parser_engine_unknown",
                "parserEngine must be NODE_NATIVE or DOCLING",
            ));
        }
        Ok(())
    }
}

/// Default chunk size: the input length of the default model.
pub const CHUNK_SIZE: i64 = 256;

/// Default overlap.
pub const CHUNK_OVERLAP: i64 = 32;

/// Default delimiter of `MANUAL`.
pub const DELIMITER: &str = "\n---\n";

pub(super) fn checked_name(name: &str) -> Result<&str> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 200 {
        return Err(Error::invalid(
            "name_missing",
            "a dataset must have a name of at most 200 characters",
        ));
    }
    Ok(name)
}

pub(super) fn checked_delimiter(delimiter: &str) -> Result<&str> {
    if delimiter.is_empty() || delimiter.len() > 200 {
        return Err(Error::invalid(
            "delimiter_invalid",
            "delimiter must have 1 to 200 characters",
        ));
    }
    Ok(delimiter)
}
