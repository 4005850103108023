//! Mail: MIME messages (including saved web pages), mailbox files, and Outlook's own format. The message text is the document; attachments become separate
//! documents.

use std::collections::HashSet;

use mail_parser::mailbox::mbox::MessageIterator;
use mail_parser::{Address, Message, MessageParser, MimeHeaders, PartType};

use super::writer::Writer;
use super::{Input, ParseError, damaged, detect, guarded, html};
use crate::document::{Child, Document};

/// Maximum messages of a mailbox file.
const MOST_MESSAGES: usize = 10_000;

/// The parts of a message that are used, independent of its format.
#[derive(Default)]
struct Letter {
    subject: Option<String>,
    headers: Vec<(&'static str, String)>,
    date: Option<String>,
    plain: Vec<String>,
    html: Vec<String>,
    attachments: Vec<(String, Vec<u8>)>,
}

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let message = MessageParser::default()
        .parse(input.bytes)
        .ok_or_else(|| damaged("it is not a MIME message"))?;
    let date = message.date().map(mail_parser::DateTime::to_rfc3339);
    let letter = Letter {
        subject: message.subject().map(ToOwned::to_owned),
        headers: [
            ("From", message.from().map(addresses)),
            ("To", message.to().map(addresses)),
            ("Cc", message.cc().map(addresses)),
            ("Date", date.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect(),
        date,
        plain: written_in(&message, &message.text_body, false),
        html: written_in(&message, &message.html_body, true),
        attachments: message
            .attachments()
            .enumerate()
            .map(|(n, part)| {
                let name = part.attachment_name().map_or_else(
                    || {
                        let inner = part
                            .message()
                            .and_then(|m| m.subject().map(ToOwned::to_owned));
                        match inner {
                            Some(subject) => format!("{subject}.eml"),
                            None => format!("attachment-{}", n + 1),
                        }
                    },
                    ToOwned::to_owned,
                );
                (name, part.contents().to_vec())
            })
            .collect(),
    };
    write(input, letter, "mail-parser")
}

/// Parses a mailbox: each message becomes a separate document.
pub(super) fn parse_mailbox(input: &Input<'_>) -> Result<Document, ParseError> {
    let mut document = Document {
        engine: "mail-parser".to_owned(),
        ..Document::default()
    };
    let mut subjects = Vec::new();
    for (number, message) in (1..).zip(MessageIterator::new(input.bytes)) {
        let message = message.map_err(|_| damaged("its messages cannot be separated"))?;
        if number > MOST_MESSAGES {
            return Err(ParseError::new(
                "archive_too_large",
                format!("the file has more than {MOST_MESSAGES} messages"),
            ));
        }
        let contents = message.unwrap_contents();
        let subject = MessageParser::default()
            .parse_headers(&contents)
            .and_then(|m| m.subject().map(super::writer::one_line));
        let subject = subject.filter(|s| !s.is_empty());
        let title = subject.as_deref().unwrap_or("message");
        let short: String = title.chars().take(80).collect();
        let name = format!("{number:05} {}.eml", short.replace(['/', '\\'], "-"));
        document
            .children
            .push(Child::store(input, &name, &contents)?);
        subjects.push(title.to_owned());
    }
    if document.children.is_empty() {
        return Err(damaged("it contains no message"));
    }
    document.text = subjects.join("\n");
    Ok(document)
}

/// Returns the parts of a body that are HTML, or plain text, excluding those converted from the other by the library.
fn written_in(message: &Message<'_>, parts: &[u32], html: bool) -> Vec<String> {
    parts
        .iter()
        .filter_map(|&id| message.part(id))
        .filter_map(|part| match &part.body {
            PartType::Html(text) if html => Some(text.to_string()),
            PartType::Text(text) if !html => Some(text.to_string()),
            PartType::Html(_)
            | PartType::Text(_)
            | PartType::Binary(_)
            | PartType::InlineBinary(_)
            | PartType::Message(_)
            | PartType::Multipart(_) => None,
        })
        .filter(|text| !text.trim().is_empty())
        .collect()
}

pub(super) fn parse_outlook(input: &Input<'_>) -> Result<Document, ParseError> {
    let bytes = input.bytes;
    let message = guarded(|| msg_parser::Outlook::from_slice(bytes))?
        .map_err(|_| damaged("it is not an Outlook message, or it is truncated"))?;
    let people = |people: &[msg_parser::Person]| {
        people
            .iter()
            .map(|p| person(Some(&p.name), &p.email))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let date = [
        &message.client_submit_time,
        &message.message_delivery_time,
        &message.headers.date,
    ]
    .into_iter()
    .find(|d| !d.is_empty())
    .cloned();
    let letter = Letter {
        subject: super::given(Some(message.subject.clone())),
        headers: vec![
            (
                "From",
                person(Some(&message.sender.name), &message.sender.email),
            ),
            ("To", people(&message.to)),
            ("Cc", people(&message.cc)),
            ("Date", date.clone().unwrap_or_default()),
        ],
        date,
        html: super::given(Some(message.html.clone()))
            .or_else(|| message.html_from_rtf())
            .into_iter()
            .collect(),
        attachments: message
            .attachments
            .iter()
            .enumerate()
            .filter(|(_, a)| !a.payload_bytes.is_empty())
            .map(|(n, a)| {
                let name = [&a.long_file_name, &a.file_name, &a.display_name]
                    .into_iter()
                    .find(|n| !n.trim().is_empty())
                    .cloned()
                    .unwrap_or_else(|| format!("attachment-{}{}", n + 1, a.extension));
                (name, a.payload_bytes.clone())
            })
            .collect(),
        plain: vec![message.body.clone()],
    };
    write(input, letter, "msg_parser")
}

fn write(input: &Input<'_>, letter: Letter, engine: &str) -> Result<Document, ParseError> {
    let mut writer = Writer::default();
    if let Some(subject) = &letter.subject {
        writer.heading(1, subject);
    }
    let headers: Vec<String> = letter
        .headers
        .iter()
        .filter(|(_, value)| !value.trim().is_empty())
        .map(|(name, value)| format!("{name}: {}", super::writer::one_line(value)))
        .collect();
    writer.block(&headers.join("\n"));
    let mut pages = Vec::new();
    for page in &letter.html {
        match html::to_markdown(page) {
            Ok(markdown) => pages.push(markdown),
            Err(_) => writer.warn("an HTML part of the message could not be read"),
        }
    }
    // Mail programs send both; the plain text is what the sender wrote, unless it is a placeholder.
    let plain = letter.plain.join("\n\n");
    let parts = if says_as_much(&plain, &pages.join("\n\n")) {
        &letter.plain
    } else {
        &pages
    };
    parts.iter().for_each(|text| writer.block(text));
    let mut children = Vec::new();
    for (name, bytes) in &letter.attachments {
        let inner = Input {
            file_name: name,
            bytes,
            ocr: input.ocr,
            ..Input::default()
        };
        if !bytes.is_empty() && detect(&inner).is_ok() {
            children.push(Child::store(input, name, bytes)?);
        } else {
            writer.warn(format!("the attachment {name} has an unsupported type"));
        }
    }
    let mut document = writer.finish(engine);
    document.title = letter.subject.or(document.title);
    document.published_at = letter.date;
    document.children = children;
    Ok(document)
}

/// Minimum share of the HTML part's words in the plain text.
const SAME: f64 = 0.5;

/// Returns whether a plain text is equivalent to the HTML part: it has half of its words. Placeholders ("view this message in a browser") are not.
fn says_as_much(plain: &str, page: &str) -> bool {
    if plain.trim().is_empty() || page.trim().is_empty() {
        return !plain.trim().is_empty();
    }
    let words = |text: &str| -> HashSet<String> {
        let words = text.split(|c: char| !c.is_alphanumeric());
        let long = words.filter(|w| w.chars().count() > 2);
        long.map(str::to_lowercase).collect()
    };
    let (plain, page) = (words(plain), words(page));
    let shared = page.intersection(&plain).count();
    shared as f64 >= SAME * page.len() as f64
}

fn addresses(address: &Address<'_>) -> String {
    address
        .iter()
        .map(|a| person(a.name(), a.address().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(", ")
}

fn person(name: Option<&str>, email: &str) -> String {
    match name.map(str::trim).filter(|n| !n.is_empty() && *n != email) {
        Some(name) if email.is_empty() => name.to_owned(),
        Some(name) => format!("{name} <{email}>"),
        None => email.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(parts: &[(&str, &str)]) -> String {
        let mut eml = "From: a@example.org\r\nSubject: S\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=q\r\n\r\n".to_owned();
        for (kind, text) in parts {
            eml.push_str(&format!(
                "--q\r\nContent-Type: text/{kind}; charset=utf-8\r\n\r\n{text}\r\n"
            ));
        }
        eml.push_str("--q--\r\n");
        eml
    }

    fn text(eml: &str) -> String {
        let input = Input {
            file_name: "a.eml",
            bytes: eml.as_bytes(),
            ..Input::default()
        };
        parse(&input).expect("parses").text
    }

    #[test]
    fn a_text_that_only_stands_in_for_the_page_gives_way() {
        let page = "<h1>Winter</h1><p>The Kestrel sails at seven.</p><table><tr><td>Gasket</td><td>40</td></tr></table>";
        let stub = text(&message(&[
            ("plain", "This needs a program that shows HTML."),
            ("html", page),
        ]));
        assert!(
            stub.contains("Kestrel") && stub.contains("| Gasket | 40 |"),
            "{stub}"
        );
        let own = "Winter: the Kestrel sails at seven, with a gasket.";
        assert!(text(&message(&[("plain", own), ("html", page)])).contains(own));
        assert!(text(&message(&[("html", page)])).contains("# Winter\n\nThe Kestrel"));
    }

    #[test]
    fn each_message_of_a_mailbox_is_a_document() {
        let mbox = "From a@x Mon Mar  2 10:00:00 2026\nFrom: a@x\nSubject: One/two\n\nfirst\n\nFrom b@x Mon Mar  2 11:00:00 2026\nFrom: b@x\n\nsecond\n";
        let directory = tempfile::tempdir().expect("a directory");
        let document = crate::parse::parse(&Input {
            file_name: "inbox",
            bytes: mbox.as_bytes(),
            children: Some(directory.path()),
            ..Input::default()
        })
        .expect("parses");
        let names: Vec<&str> = document
            .children
            .iter()
            .map(|c| c.file_name.as_str())
            .collect();
        assert_eq!(names, ["00001 One-two.eml", "00002 message.eml"]);
    }

    #[test]
    fn a_message_is_its_text_and_its_attachments_are_children() {
        let eml = "From: Ada <ada@example.org>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Caf=C3=A9?=\r\nDate: Mon, 2 Mar 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\n\
            Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
            See the na=EFve plan.\r\n--x\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename=plan.csv\r\n\r\na,b\r\n1,2\r\n--x--\r\n";
        let directory = tempfile::tempdir().expect("a directory");
        let document = parse(&Input {
            file_name: "a.eml",
            bytes: eml.as_bytes(),
            children: Some(directory.path()),
            ..Input::default()
        })
        .expect("parses");
        assert_eq!(document.title.as_deref(), Some("Café"));
        assert!(
            document.text.contains("From: Ada <ada@example.org>")
                && document.text.contains("See the naïve plan."),
            "{}",
            document.text
        );
        assert_eq!(document.children[0].file_name, "plan.csv");
        assert_eq!(
            std::fs::read(&document.children[0].path).expect("stored"),
            b"a,b\r\n1,2"
        );
    }
}
