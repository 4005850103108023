//! Search in the guide: an index of its sections in memory, made at the first search.

use std::sync::OnceLock;

use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{
    Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value,
};
use tantivy::snippet::SnippetGenerator;
use tantivy::{Index, IndexReader, TantivyDocument, doc};

use super::documents;
use super::render::render;
use crate::error::{Error, Result};

/// Most sections that are found.
const MOST: usize = 20;
/// Characters of a query that are read.
const QUERY: usize = 200;
/// Characters of an excerpt.
const EXCERPT: usize = 220;
/// Memory for writing the index, the least that is allowed.
const MEMORY: usize = 15_000_000;
/// How much more a word in a heading counts.
const HEADING: f32 = 3.0;

/// A section that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Path of the document, and the id of the heading.
    pub(super) path: String,
    pub(super) id: String,
    /// Title of the document and heading of the section.
    pub(super) title: String,
    pub(super) heading: String,
    /// HTML with the words of the query in bold.
    pub(super) excerpt: String,
}

struct Sections {
    index: Index,
    reader: IndexReader,
    path: Field,
    id: Field,
    title: Field,
    heading: Field,
    text: Field,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::internal("the guide cannot be searched").with_source(error.to_string())
}

impl Sections {
    fn build() -> Result<Self> {
        let mut schema = Schema::builder();
        let words = TextFieldIndexing::default()
            .set_tokenizer("en_stem")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let words = TextOptions::default()
            .set_indexing_options(words)
            .set_stored();
        let (path, id) = (
            schema.add_text_field("path", STORED),
            schema.add_text_field("id", STORED),
        );
        let title = schema.add_text_field("title", words.clone());
        let heading = schema.add_text_field("heading", words.clone());
        let text = schema.add_text_field("text", words);
        let index = Index::create_in_ram(schema.build());
        let mut writer = index.writer_with_num_threads(1, MEMORY).map_err(failed)?;
        for document in documents::all() {
            let page = render(document.path, document.text);
            for section in &page.sections {
                let entry = doc!(
                    path => document.path, id => section.id.clone(), title => page.title(),
                    heading => section.heading.clone(), text => section.text.trim()
                );
                writer.add_document(entry).map_err(failed)?;
            }
        }
        writer.commit().map_err(failed)?;
        let reader = index.reader().map_err(failed)?;
        Ok(Self {
            index,
            reader,
            path,
            id,
            title,
            heading,
            text,
        })
    }

    fn find(&self, query: &str) -> Result<Vec<Found>> {
        let mut parser =
            QueryParser::for_index(&self.index, vec![self.title, self.heading, self.text]);
        parser.set_field_boost(self.heading, HEADING);
        // What a person types has no wrong syntax.
        let (query, _) = parser.parse_query_lenient(query);
        let searcher = self.reader.searcher();
        let top = TopDocs::with_limit(MOST).order_by_score();
        let hits = searcher.search(&query, &top).map_err(failed)?;
        let mut snippets =
            SnippetGenerator::create(&searcher, &*query, self.text).map_err(failed)?;
        snippets.set_max_num_chars(EXCERPT);
        let mut found = Vec::with_capacity(hits.len());
        for (_, address) in hits {
            let entry: TantivyDocument = searcher.doc(address).map_err(failed)?;
            let field = |field: Field| {
                let value = entry.get_first(field).and_then(|value| value.as_str());
                value.unwrap_or_default().to_owned()
            };
            let text = field(self.text);
            let snippet = snippets.snippet(&text).to_html();
            let excerpt = if snippet.is_empty() {
                let start: String = text.chars().take(EXCERPT).collect();
                html_escape::encode_text(&start).into_owned()
            } else {
                snippet
            };
            found.push(Found {
                path: field(self.path),
                id: field(self.id),
                title: field(self.title),
                heading: field(self.heading),
                excerpt,
            });
        }
        Ok(found)
    }
}

/// Finds sections with the words of a query, the best first. Only words count, and only those in the beginning of a long query:
/// parsing of nested operators is recursive.
pub(super) async fn find(query: &str) -> Result<Vec<Found>> {
    let words = query.chars().take(QUERY);
    let query: String = words
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect();
    static SECTIONS: OnceLock<Sections> = OnceLock::new();
    let search = move || {
        let sections = match SECTIONS.get() {
            Some(sections) => sections,
            None => {
                let built = Sections::build()?;
                SECTIONS.get_or_init(|| built)
            }
        };
        sections.find(&query)
    };
    tokio::task::spawn_blocking(search).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_section_is_found_by_its_words() {
        let found = find("how is the cosine calibrated").await.expect("found");
        let first = &found[0];
        assert_eq!(
            (first.path.as_str(), first.id.as_str()),
            ("src/search/README.md", "calibration")
        );
        assert!(first.excerpt.contains("<b>"), "{}", first.excerpt);
    }

    #[tokio::test]
    async fn no_query_has_a_wrong_syntax() {
        let nested = "(".repeat(100_000);
        for query in ["\"", "a:b:c", "-", "", &nested] {
            find(query).await.expect("an answer");
        }
    }
}
