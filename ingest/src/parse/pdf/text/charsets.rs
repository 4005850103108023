//! Legacy and Unicode charsets implied by `CMap` names, for those whose tables are not available.

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GB18030, SHIFT_JIS};

/// The charset of a string.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Charset {
    Utf8,
    Utf16,
    Utf32,
    Legacy(&'static Encoding),
    /// Two bytes below 0x80, whose letters are those of a legacy charset with the high bits set.
    SevenBit(&'static Encoding),
}

impl Charset {
    /// Returns the charset implied by the name of a `CMap`, such as `UniJIS-UTF8-H` or `78-RKSJ-H`.
    pub(crate) fn named(cmap: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(cmap).ok()?;
        let stem = name
            .strip_suffix("-H")
            .or_else(|| name.strip_suffix("-V"))
            .unwrap_or(name);
        let korean = stem.starts_with("KSC");
        let chinese = stem.starts_with("GB");
        Some(match stem {
            _ if stem.contains("UTF8") => Self::Utf8,
            _ if stem.contains("UTF16") || stem.contains("UCS2") => Self::Utf16,
            _ if stem.contains("UTF32") => Self::Utf32,
            _ if stem.contains("RKSJ") => Self::Legacy(SHIFT_JIS),
            _ if stem.contains("B5") => Self::Legacy(BIG5),
            _ if stem.contains("Johab") || stem.starts_with("CNS") => return None,
            _ if korean && (stem.contains("UHC") || stem.contains("EUC")) => Self::Legacy(EUC_KR),
            _ if chinese && (stem.contains("EUC") || stem.contains("GBK")) => Self::Legacy(GB18030),
            _ if stem.contains("EUC") => Self::Legacy(EUC_JP),
            "KSC" => Self::SevenBit(EUC_KR),
            "GB" | "GBT" | "GBpc" => Self::SevenBit(GB18030),
            "H" | "V" | "78" | "Add" | "Ext" | "NWP" => Self::SevenBit(EUC_JP),
            _ => return None,
        })
    }

    /// Returns the number of bytes of a string's first character.
    pub(crate) fn length(self, bytes: &[u8]) -> usize {
        let (first, second) = (
            bytes.first().copied().unwrap_or(0),
            bytes.get(1).copied().unwrap_or(0),
        );
        let length = match self {
            Self::Utf8 => match first {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf7 => 4,
                _ => 1,
            },
            Self::Utf16 if matches!(first, 0xd8..=0xdb) => 4,
            Self::Utf16 | Self::SevenBit(_) => 2,
            Self::Utf32 => 4,
            Self::Legacy(encoding) if encoding == SHIFT_JIS => {
                if matches!(first, 0x81..=0x9f | 0xe0..=0xfc) {
                    2
                } else {
                    1
                }
            }
            Self::Legacy(encoding)
                if encoding == GB18030 && first > 0x80 && second.is_ascii_digit() =>
            {
                4
            }
            Self::Legacy(encoding) if encoding == EUC_JP && first == 0x8f => 3,
            Self::Legacy(_) => {
                if first > 0x80 {
                    2
                } else {
                    1
                }
            }
        };
        length.clamp(1, bytes.len().max(1))
    }

    /// Returns the character of a code with `length` bytes.
    pub(crate) fn character(self, code: u32, length: usize) -> Option<char> {
        let bytes = code.to_be_bytes();
        let bytes = bytes.get(4_usize.checked_sub(length)?..)?;
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).ok()?.chars().next(),
            Self::Utf16 => {
                let units = bytes
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|pair| u16::from_be_bytes(*pair));
                char::decode_utf16(units).next()?.ok()
            }
            Self::Utf32 => char::from_u32(code),
            Self::Legacy(encoding) => legacy(encoding, bytes),
            Self::SevenBit(encoding) => {
                let high: Vec<u8> = bytes.iter().map(|b| b | 0x80).collect();
                legacy(encoding, &high)
            }
        }
    }
}

fn legacy(encoding: &'static Encoding, bytes: &[u8]) -> Option<char> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::Charset;

    fn read(cmap: &str, mut bytes: &[u8]) -> String {
        let charset = Charset::named(cmap.as_bytes()).expect("a known name");
        let mut text = String::new();
        while !bytes.is_empty() {
            let (first, rest) = bytes.split_at(charset.length(bytes));
            let code = first
                .iter()
                .fold(0, |code, byte| code << 8 | u32::from(*byte));
            text.extend(charset.character(code, first.len()));
            bytes = rest;
        }
        text
    }

    #[test]
    fn names_of_cmaps_tell_charsets() {
        assert_eq!(read("78-RKSJ-H", b"a\x90\xec"), "a川");
        assert_eq!(read("KSC-H", b"\x30\x21"), "가");
        assert_eq!(read("UniGB-UTF32-H", &[0, 0, 0x6c, 0xb3]), "河");
        assert_eq!(read("UniJIS-UTF8-V", "川a".as_bytes()), "川a");
        assert_eq!(read("GBT-EUC-H", b"\xba\xd3"), "河");
        assert_eq!(Charset::named(b"Identity-H"), None);
    }
}
