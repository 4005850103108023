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
        ZipError::InvalidArchive(_) => "it is no zip container, or is cut short",
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            "it is packed in a way that is not supported"
        }
        ZipError::FileNotFound => "it is not there",
        ZipError::InvalidPassword => "it is locked with a password",
        _ => "its directory contradicts its content",
    }
}

/// Returns the message for a decompression error.
pub(super) fn of_io(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "its end is missing",
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
            "its packed data or its checksum is wrong"
        }
        _ => "it cannot be unpacked",
    }
}

/// Returns the message for an XML error.
pub(super) fn of_xml(error: &quick_xml::Error) -> &'static str {
    match error {
        quick_xml::Error::Syntax(_) => "a tag, a comment or a declaration has no end",
        quick_xml::Error::IllFormed(_) => "its tags do not belong together",
        quick_xml::Error::InvalidAttr(_) => "an attribute is not written as one",
        quick_xml::Error::Encoding(_) => "its bytes are not in its encoding",
        quick_xml::Error::Escape(_) => "an entity in it is unknown",
        quick_xml::Error::Namespace(_) => "a name space in it is not declared",
        _ => "it cannot be read to its end",
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
            ("a.docx", &b"PK\x03\x04 and nothing more"[..], "cut short"),
            ("a.zip", b"PK\x03\x04 and nothing more", "cut short"),
            ("a.xml", b"<a><b attribute></a", "no end"),
        ] {
            let told = message(name, bytes);
            assert!(told.contains(part), "{name}: {told}");
            for foreign in ["Invalid", "EOCD", "Error", "error", "::"] {
                assert!(!told.contains(foreign), "{name}: {told}");
            }
        }
    }
}
