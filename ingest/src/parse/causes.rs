//! Error messages for unreadable files: those of the underlying crates are written for programmers, and change between versions.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use zip::result::ZipError;

/// Returns the message for an error of a zip container or one of its entries.
pub(super) fn of_zip(error: &ZipError) -> &'static str {
    match error {
        ZipError::Io(error) => of_io(error),
        ZipError::InvalidArchive(_) => "it is not a zip container, or it is truncated",
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            "it uses an unsupported compression method"
        }
        ZipError::FileNotFound => "it is missing",
        ZipError::InvalidPassword => "it is protected by a password",
        _ => "its directory does not match its content",
    }
}

/// Returns the message for a decompression error.
pub(super) fn of_io(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it is truncated",
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
            "its compressed data or checksum is invalid"
        }
        _ => "it cannot be decompressed",
    }
}

/// Returns the message for an XML error.
pub(super) fn of_xml(error: &quick_xml::Error) -> &'static str {
    match error {
        quick_xml::Error::Syntax(_) => "a tag, comment or declaration is not closed",
        quick_xml::Error::IllFormed(_) => "its opening and closing tags do not match",
        quick_xml::Error::InvalidAttr(_) => "an attribute is malformed",
        quick_xml::Error::Encoding(_) => "its bytes are not valid in its declared encoding",
        quick_xml::Error::Escape(_) => "it uses an unknown entity",
        quick_xml::Error::Namespace(_) => "it uses an undeclared namespace",
        _ => "it cannot be fully read",
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::{Input, parse};

    /// Returns the error message for a file.
    fn message(name: &str, bytes: &[u8]) -> String {
        let input = Input {
            file_name: name,
            bytes,
            ..Input::default()
        };
        parse(&input).expect_err("damaged").message
    }

    #[test]
    fn messages_speak_of_the_file_and_not_of_a_crate() {
        for (name, bytes, part) in [
            ("a.docx", &b"PK\x03\x04 and nothing more"[..], "truncated"),
            ("a.zip", b"PK\x03\x04 and nothing more", "truncated"),
            ("a.xml", b"<a><b attribute></a", "not closed"),
        ] {
            let told = message(name, bytes);
            assert!(told.contains(part), "{name}: {told}");
            for foreign in ["Invalid", "EOCD", "Error", "error", "::"] {
                assert!(!told.contains(foreign), "{name}: {told}");
            }
        }
    }
}
