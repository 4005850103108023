//! The fields of each system's records, and what they become. The names are those of the systems' public API references.

use super::records::{Field, Shape, Target};

const fn field(path: &'static str, target: Target) -> Field {
    Field { path, target }
}

/// Our own simplest form, and what vector databases and libraries write: one passage per line.
pub(super) const JSONL: Shape = Shape {
    lists: &[],
    fields: &[
        field("text", Target::Text),
        field("content", Target::Text),
        field("page_content", Target::Text),
        field("id", Target::Id),
        field("document", Target::Document),
        field("document_id", Target::Document),
        field("doc_id", Target::Document),
        field("position", Target::Position),
        field("chunk_index", Target::Position),
        field("name", Target::Name),
        field("file_name", Target::Name),
        field("title", Target::Title),
        field("url", Target::Url),
        field("metadata", Target::Merge),
        field("tags", Target::Metadata("tags")),
        field("vector", Target::Vector),
        field("embedding", Target::Vector),
        field("enabled", Target::Enabled),
    ],
    is_passages: true,
};

/// `POST /api/chunks/scroll` and the payloads of `POST /api/chunk`.
pub(super) const TRIEVE: Shape = Shape {
    lists: &["chunks"],
    fields: &[
        field("chunk_html", Target::Html),
        field("tracking_id", Target::Id),
        field("id", Target::Id),
        field("link", Target::Url),
        field("metadata", Target::Merge),
        field("tag_set", Target::Metadata("tags")),
        field("group_tracking_ids", Target::Metadata("groups")),
        field("group_ids", Target::Metadata("groupIds")),
        field("time_stamp", Target::Metadata("timeStamp")),
        field("num_value", Target::Metadata("numValue")),
        field("weight", Target::Metadata("weight")),
        field("location", Target::Metadata("location")),
        field("image_urls", Target::Metadata("imageUrls")),
        field("chunk_vector", Target::Vector),
        field("embedding", Target::Vector),
    ],
    is_passages: true,
};

/// `GET /v3/chunks` and `GET /v3/documents`.
pub(super) const R2R: Shape = Shape {
    lists: &["results"],
    fields: &[
        field("text", Target::Text),
        field("document_id", Target::Document),
        field("id", Target::Id),
        field("metadata.chunk_order", Target::Position),
        field("metadata.title", Target::Title),
        field("title", Target::Title),
        field("metadata", Target::Merge),
        field("collection_ids", Target::Metadata("collections")),
        field("owner_id", Target::Metadata("owner")),
        field("document_type", Target::Metadata("documentType")),
        field("summary", Target::Metadata("summary")),
        field("vector", Target::Vector),
        field("embedding", Target::Vector),
    ],
    is_passages: true,
};

/// `GET /datasets/{id}/documents/{id}/segments` and `GET /datasets/{id}/documents`.
pub(super) const DIFY: Shape = Shape {
    lists: &["data"],
    fields: &[
        field("content", Target::Text),
        field("answer", Target::Answer),
        field("document_id", Target::Document),
        field("id", Target::Id),
        field("position", Target::Position),
        field("name", Target::Name),
        field("keywords", Target::Metadata("keywords")),
        field("doc_metadata", Target::Merge),
        field("data_source_type", Target::Metadata("dataSourceType")),
        field("enabled", Target::Enabled),
    ],
    is_passages: true,
};

/// `GET /api/v1/datasets/{id}/documents/{id}/chunks` and `GET /api/v1/datasets/{id}/documents`.
pub(super) const RAGFLOW: Shape = Shape {
    lists: &["data", "chunks", "docs", "doc"],
    fields: &[
        field("content", Target::Text),
        field("document_id", Target::Document),
        field("id", Target::Id),
        field("docnm_kwd", Target::Name),
        field("document_keyword", Target::Name),
        field("name", Target::Name),
        field("important_keywords", Target::Metadata("keywords")),
        field("questions", Target::Metadata("questions")),
        field("meta_fields", Target::Merge),
        field("available", Target::Enabled),
    ],
    is_passages: true,
};

/// `GET /api/v1/knowledge/{id}`.
pub(super) const OPEN_WEBUI: Shape = Shape {
    lists: &["files", "items"],
    fields: &[
        field("data.content", Target::Text),
        field("id", Target::Id),
        field("meta.name", Target::Name),
        field("filename", Target::Name),
        field("meta.data", Target::Merge),
    ],
    is_passages: false,
};
