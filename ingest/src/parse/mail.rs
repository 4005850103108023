//! Mail: MIME messages and Outlook's own files. The text of the message is the document; attachments become documents of their own.

use mail_parser::{Address, MessageParser, MimeHeaders};

use super::writer::Writer;
use super::{Input, ParseError, damaged, detect, guarded, html};
use crate::document::{Child, Document};

/// What is read of a message, whichever way it is stored.
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
        plain: (0..message.text_body_count())
            .filter_map(|i| message.body_text(i).map(std::borrow::Cow::into_owned))
            .collect(),
        html: (0..message.html_body_count())
            .filter_map(|i| message.body_html(i).map(std::borrow::Cow::into_owned))
            .collect(),
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

pub(super) fn parse_outlook(input: &Input<'_>) -> Result<Document, ParseError> {
    let bytes = input.bytes;
    let message =
        guarded(|| msg_parser::Outlook::from_slice(bytes))?.map_err(|e| damaged(&e.to_string()))?;
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
        html: if message.body.trim().is_empty() {
            super::given(Some(message.html.clone()))
                .or_else(|| message.html_from_rtf())
                .into_iter()
                .collect()
        } else {
            Vec::new()
        },
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
    // Mail programs send both; the plain text is what the sender wrote, unless it is empty.
    let plain: Vec<&String> = letter
        .plain
        .iter()
        .filter(|t| !t.trim().is_empty())
        .collect();
    if plain.is_empty() {
        for page in &letter.html {
            match html::to_markdown(page) {
                Ok(markdown) => writer.block(&markdown),
                Err(e) => writer.warn(format!("a part of the message could not be read: {e}")),
            }
        }
    } else {
        plain.into_iter().for_each(|text| writer.block(text));
    }
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
            writer.warn(format!(
                "the attachment {name} is of a kind that cannot be read"
            ));
        }
    }
    let mut document = writer.finish(engine);
    document.title = letter.subject.or(document.title);
    document.published_at = letter.date;
    document.children = children;
    Ok(document)
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
