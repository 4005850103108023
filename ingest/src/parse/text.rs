//! Plain text: encoding detection and decoding.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::{Input, ParseError};
use crate::document::{Document, normalise};

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let (text, warnings) = decode(input.bytes, None);
    Ok(Document {
        text: normalise(&text),
        engine: "text".to_owned(),
        warnings,
        ..Document::default()
    })
}

/// Decodes by byte order mark, then as UTF-16 without a mark, then as UTF-8, then by `hint`, then by statistical detection. The warnings report replaced
/// characters.
pub(super) fn decode(bytes: &[u8], hint: Option<&'static Encoding>) -> (String, Vec<String>) {
    let encoding = Encoding::for_bom(bytes)
        .map(|(e, _)| e)
        .or_else(|| utf16_without_mark(bytes))
        .unwrap_or_else(|| {
            if is_mostly_utf8(bytes) {
                return UTF_8;
            }
            hint.unwrap_or_else(|| {
                let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
                detector.feed(bytes, true);
                detector.guess(None, Utf8Detection::Allow)
            })
        });
    let (text, encoding, replaced) = encoding.decode(bytes);
    let warnings = if replaced {
        vec![format!(
            "some bytes are not valid {} and were replaced",
            encoding.name()
        )]
    } else {
        Vec::new()
    };
    (text.into_owned(), warnings)
}

/// Returns whether bytes are UTF-8 with a few damaged places: text in single-byte encodings rarely contains several valid UTF-8 sequences, so one invalid place
/// among ten valid ones, or a truncated one at the end, is damage.
fn is_mostly_utf8(bytes: &[u8]) -> bool {
    let (mut valid, mut damaged) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        valid += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        damaged += usize::from(!chunk.invalid().is_empty());
    }
    let cut_off = std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none());
    damaged == 0 || valid >= 10 * damaged || valid > 0 && damaged == 1 && (cut_off || valid >= 2)
}

/// Detects UTF-16 of mostly Latin text, in which every other byte is zero.
fn utf16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(4096)];
    let zeros = |offset: usize| {
        head.iter()
            .skip(offset)
            .step_by(2)
            .filter(|b| **b == 0)
            .count()
    };
    let (even, odd, half) = (zeros(0), zeros(1), head.len() / 2);
    match half > 4 {
        true if odd * 10 >= half * 7 && even * 10 < half => Some(UTF_16LE),
        true if even * 10 >= half * 7 && odd * 10 < half => Some(UTF_16BE),
        _ => None,
    }
}

/// Returns whether the bytes are UTF-8, apart from a truncated character at the end.
pub(super) fn is_utf8(head: &[u8]) -> bool {
    match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}

/// Returns whether the bytes are text in a legacy encoding: no control characters except those of texts, mostly ASCII or letters of the guessed encoding.
pub(super) fn is_legacy(head: &[u8]) -> bool {
    let odd = |b: &u8| matches!(b, 0..=8 | 11 | 14..=31 | 127);
    if head.is_empty() || head.iter().any(odd) {
        return false;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(head, false);
    let (text, _, replaced) = detector.guess(None, Utf8Detection::Deny).decode(head);
    let plain = |c: &char| c.is_alphanumeric() || c.is_whitespace() || c.is_ascii_punctuation();
    let count = text.chars().count();
    !replaced && text.chars().filter(plain).count() * 20 >= count * 19
}

/// Returns whether the bytes are binary: they have control characters that no text file contains.
pub(super) fn looks_binary(head: &[u8]) -> bool {
    if Encoding::for_bom(head).is_some() || utf16_without_mark(head).is_some() {
        return false;
    }
    let odd = head
        .iter()
        .filter(|b| matches!(b, 0..=8 | 14..=26 | 28..=31))
        .count();
    odd * 100 > head.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_found() {
        let text = "Größe und Maß der Straße: für die Prüfung der Übergänge genügt ein Blick.";
        let (latin, ..) = encoding_rs::WINDOWS_1252.encode(text);
        assert_eq!(decode(&latin, None).0, text);
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(&utf16, None).0, text);
        let chinese = "检索系统把精确的词频统计与稠密向量结合起来,从而得到更好的排序结果。";
        let (gb, ..) = encoding_rs::GB18030.encode(chinese);
        assert_eq!(decode(&gb, None).0, chinese);
    }

    #[test]
    fn a_damaged_byte_does_not_change_the_encoding() {
        let text = "Gerät größer, Übergänge";
        for broken in [
            [text.as_bytes(), b"\xff", text.as_bytes()].concat(),
            [text.as_bytes(), b" \xc3"].concat(),
        ] {
            let (decoded, warnings) = decode(&broken, None);
            assert!(decoded.starts_with(text), "{decoded}");
            assert_eq!(warnings.len(), 1);
        }
    }

    #[test]
    fn replaced_bytes_are_reported() {
        let (text, warnings) = decode(b"caf\xc3\xa9 \xff\xfe broken but utf-8", Some(UTF_8));
        assert!(text.starts_with("caf\u{e9} "));
        assert_eq!(warnings.len(), 1);
    }
}
