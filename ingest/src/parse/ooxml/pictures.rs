//! Alternative texts of images: descriptions written by people, not names and paths added by programs.

use crate::parse::writer::one_line;

const EXTENSIONS: [&str; 18] = [
    "png", "jpg", "jpeg", "jfif", "gif", "bmp", "tif", "tiff", "emf", "wmf", "svg", "webp", "heic",
    "ico", "eps", "pdf", "mp4", "mov",
];

/// Sentences that programs add to generated descriptions.
const GUESSED: [&str; 8] = [
    "Description automatically generated",
    "AI-generated content may be incorrect.",
    "Automatisch generierte Beschreibung",
    "KI-generierte Inhalte können fehlerhaft sein.",
    "Description générée automatiquement",
    "Descripción generada automáticamente",
    "Descrizione generata automaticamente",
    "Descrição gerada automaticamente",
];

/// Returns a description on one line; `None` when it is only the name, path or address of a file.
pub(in crate::parse) fn description(written: &str) -> Option<String> {
    let mut text = written.to_owned();
    for guessed in GUESSED {
        if let Some(at) = text.find(guessed) {
            // Some are followed by "with medium confidence".
            let rest = text
                .get(at + guessed.len()..)
                .and_then(|r| r.split_once('\n'))
                .map(|(_, after)| after.to_owned())
                .unwrap_or_default();
            text.truncate(at);
            text.push_str(&rest);
        }
    }
    let text = one_line(&text);
    (!text.is_empty() && !is_file(&text)).then_some(text)
}

fn is_file(text: &str) -> bool {
    let lower = text.to_lowercase();
    let words = lower.split(' ').count();
    let scheme = ["file:", "http://", "https://", "cid:", "data:"]
        .iter()
        .any(|s| lower.starts_with(s));
    let drive = lower.chars().nth(1) == Some(':') && lower.starts_with(|c: char| c.is_alphabetic());
    let named = lower
        .rsplit_once('.')
        .is_some_and(|(_, extension)| EXTENSIONS.contains(&extension));
    let separated = lower.contains('\\') || lower.contains('/');
    scheme && words == 1
        || lower.starts_with("file:")
        || lower.starts_with("\\\\")
        || drive && lower.contains('\\')
        || named && (separated || words <= 3)
        || words == 1 && (separated && lower.starts_with(['/', '.']) || is_camera_name(&lower))
        || words == 2 && is_numbered_picture(&lower)
}

/// Returns whether a description is like `dsc_0098` or `image12`.
fn is_camera_name(lower: &str) -> bool {
    let letters = lower.trim_end_matches(|c: char| c.is_ascii_digit() || "_-().".contains(c));
    letters.len() < lower.len()
        && [
            "img",
            "dsc",
            "dscn",
            "dscf",
            "pict",
            "image",
            "picture",
            "photo",
            "bild",
            "scan",
            "screenshot",
            "grafik",
            "pxl",
            "mvi",
            "vid",
        ]
        .contains(&letters)
}

/// Returns whether a description is like `picture 3`.
fn is_numbered_picture(lower: &str) -> bool {
    const WORDS: [&str; 8] = [
        "picture", "image", "grafik", "bild", "immagine", "imagen", "imagem", "photo",
    ];
    lower.split_once(' ').is_some_and(|(word, number)| {
        WORDS.contains(&word) && number.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_of_files_are_no_descriptions() {
        for file in [
            r"C:\Users\mill\My Pictures\wheel 0412.jpg",
            "DSC_0098.JPG",
            "file:///home/mill/scan-3.png",
            "DSC_0098",
            "image12",
            "Picture 3",
            "https://example.org/a/b",
            "/tmp/plot",
            "holiday at sea.jpeg",
            r"\\server\share\a b c d.png",
            " ",
        ] {
            assert_eq!(description(file), None, "{file}");
        }
    }

    #[test]
    fn sentences_stay_without_the_note_of_the_program() {
        for (written, kept) in [
            (
                "A wooden wheel\nwith twelve buckets",
                "A wooden wheel with twelve buckets",
            ),
            (
                "A tree by a lake\n\nDescription automatically generated with medium confidence",
                "A tree by a lake",
            ),
            ("Logo", "Logo"),
            ("Input/output diagram", "Input/output diagram"),
            ("Photo of Unit 7", "Photo of Unit 7"),
        ] {
            assert_eq!(description(written).as_deref(), Some(kept));
        }
    }
}
