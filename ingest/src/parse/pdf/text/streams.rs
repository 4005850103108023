//! Decoding of streams, with the filters that `hayro-syntax` lacks.

use std::borrow::Cow;
use std::collections::BTreeSet;

use hayro_syntax::object::{Array, Dict, Name, Object, Stream};

/// Maximum decompressed size of a Brotli stream.
const BROTLI_LIMIT: usize = 256 << 20;

/// Reported instead of a filter name when the filter is supported but its data are incomplete.
pub(crate) const DAMAGED: &str = "damaged";

/// The reason why a stream could not be decoded: the name of its filter, or [`DAMAGED`].
pub(crate) type Undecoded = String;

/// Decodes a stream. Unknown filters are an error here, because `hayro-syntax` skips them silently.
pub(crate) fn decoded<'a>(stream: &Stream<'a>) -> Result<Cow<'a, [u8]>, Undecoded> {
    let names = filters(stream.dict());
    let unknown = names.iter().position(|name| !known(name));
    let data = stream.decoded_data();
    match unknown {
        None => data.map_err(|_| DAMAGED.to_owned()),
        Some(at)
            if names.get(at).is_some_and(|n| n == b"BrotliDecode") && at + 1 == names.len() =>
        {
            let packed = data.map_err(|_| DAMAGED.to_owned())?;
            brotli(&packed)
                .map(Cow::Owned)
                .ok_or_else(|| "Brotli".to_owned())
        }
        Some(at) => Err(names
            .get(at)
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .unwrap_or_default()),
    }
}

fn filters(dict: &Dict<'_>) -> Vec<Vec<u8>> {
    let filter = dict
        .get::<Object<'_>>(b"Filter")
        .or_else(|| dict.get::<Object<'_>>(b"F"));
    match filter {
        Some(Object::Name(name)) => vec![name.to_vec()],
        Some(Object::Array(array)) => array.iter::<Name<'_>>().map(|n| n.to_vec()).collect(),
        _ => Vec::new(),
    }
}

fn known(name: &[u8]) -> bool {
    matches!(
        name,
        b"FlateDecode"
            | b"Fl"
            | b"LZWDecode"
            | b"LZW"
            | b"ASCIIHexDecode"
            | b"AHx"
            | b"ASCII85Decode"
            | b"A85"
            | b"RunLengthDecode"
            | b"RL"
            | b"Crypt"
            | b"DCTDecode"
            | b"DCT"
            | b"CCITTFaxDecode"
            | b"CCF"
            | b"JBIG2Decode"
            | b"JPXDecode"
    )
}

/// Decompresses Brotli; data before a damage is kept.
fn brotli(packed: &[u8]) -> Option<Vec<u8>> {
    let mut out = Limited(Vec::new());
    let mut input = packed;
    let result = brotli_decompressor::BrotliDecompress(&mut input, &mut out);
    (result.is_ok() || !out.0.is_empty()).then_some(out.0)
}

/// A buffer that is limited to [`BROTLI_LIMIT`].
struct Limited(Vec<u8>);

impl std::io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > BROTLI_LIMIT {
            return Err(std::io::Error::other("too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns the content of a page: its concatenated streams. Streams that cannot be decoded are skipped, with the reason added to `problems`.
pub(crate) fn page_content(page: &Dict<'_>, problems: &mut BTreeSet<Undecoded>) -> Vec<u8> {
    let mut content = Vec::new();
    let mut append = |stream: &Stream<'_>| match decoded(stream) {
        Ok(data) => {
            content.extend_from_slice(&data);
            content.push(b'\n');
        }
        Err(why) => {
            problems.insert(why);
        }
    };
    if let Some(stream) = page.get::<Stream<'_>>(b"Contents") {
        append(&stream);
    } else if let Some(streams) = page.get::<Array<'_>>(b"Contents") {
        streams.iter::<Stream<'_>>().for_each(|s| append(&s));
    } else if page.contains_key(b"Contents") {
        problems.insert(DAMAGED.to_owned());
    }
    content
}

/// Decodes a text string (not of page content): UTF-16 or UTF-8 with a mark, otherwise `PDFDocEncoding`.
pub(crate) fn text_string(bytes: &[u8]) -> String {
    if let Some(wide) = bytes.strip_prefix(b"\xfe\xff") {
        return utf16(wide, u16::from_be_bytes);
    }
    if let Some(wide) = bytes.strip_prefix(b"\xff\xfe") {
        return utf16(wide, u16::from_le_bytes);
    }
    if let Some(utf8) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        return String::from_utf8_lossy(utf8).into_owned();
    }
    bytes.iter().map(|byte| pdf_doc(*byte)).collect()
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
    let mut escaped = false;
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        // Escape characters enclose a language code.
        .filter(|c| {
            if *c == '\u{1b}' {
                escaped = !escaped;
                return false;
            }
            !escaped
        })
        .collect()
}

/// Decodes a byte of `PDFDocEncoding`: Latin-1 with other characters from 0x18 to 0x1f and 0x80 to 0xa0.
fn pdf_doc(byte: u8) -> char {
    const LOW: [char; 8] = ['˘', 'ˇ', 'ˆ', '˙', '˝', '˛', '˚', '˜'];
    const HIGH: [char; 33] = [
        '•', '†', '‡', '…', '—', '–', 'ƒ', '⁄', '‹', '›', '−', '‰', '„', '“', '”', '‘', '’', '‚',
        '™', 'ﬁ', 'ﬂ', 'Ł', 'Œ', 'Š', 'Ÿ', 'Ž', 'ı', 'ł', 'œ', 'š', 'ž', '\u{fffd}', '€',
    ];
    let other = match byte {
        0x18..=0x1f => LOW.get(usize::from(byte - 0x18)),
        0x80..=0xa0 => HIGH.get(usize::from(byte - 0x80)),
        _ => None,
    };
    other.copied().unwrap_or(char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::text_string;

    #[test]
    fn text_strings_have_three_encodings() {
        assert_eq!(text_string(b"na\xefve \x84 \xa0"), "naïve — €");
        assert_eq!(text_string(b"\xfe\xff\x00A\x04\x16"), "AЖ");
        assert_eq!(text_string(b"\xef\xbb\xbf\xc3\xa9"), "é");
    }
}
