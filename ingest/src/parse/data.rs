//! JSON, JSON lines and notebooks: values as `name: value` lines, one record after another; notebooks as their cells.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use serde_json::Value;

use super::writer::{Writer, one_line};
use super::{Input, ParseError, damaged, text};
use crate::document::Document;

/// Maximum length in characters of a notebook output; longer ones are data, not prose.
const MAX_OUTPUT: usize = 2000;

pub(super) fn parse_json(input: &Input<'_>) -> Result<Document, ParseError> {
    let (decoded, warnings) = text::decode(input.bytes, None);
    let decoded = decoded.trim_start_matches('\u{feff}');
    let mut writer = Writer::default();
    let quoted = with_long_numbers_as_text(decoded);
    let decoded = quoted.as_ref();
    match serde_json::from_str::<Value>(decoded) {
        Ok(Value::Object(notebook)) if notebook.contains_key("nbformat") => {
            return notebook_cells(&Value::Object(notebook));
        }
        Ok(value) => records(&mut writer, &value),
        // Several values in a row, or one per line with other lines in between.
        Err(whole) => {
            let all: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(decoded)
                .into_iter()
                .collect();
            if let Ok(values) = all {
                values.iter().for_each(|value| writer.block(&lines(value)));
                return Ok(finished(writer, warnings));
            }
            let (mut read, mut bad) = (0, Vec::new());
            for (number, line) in decoded.lines().enumerate() {
                if line.trim().is_empty() {
                    continue;
                }
                match serde_json::from_str::<Value>(line) {
                    Ok(value) => {
                        read += 1;
                        writer.block(&lines(&value));
                    }
                    Err(_) => bad.push(number + 1),
                }
            }
            if read == 0 || bad.len() > read {
                return Err(damaged(&format!("it is not valid JSON: {whole}")));
            }
            if let Some(first) = bad.first() {
                writer.warn(format!(
                    "{} lines are not valid JSON and were skipped; the first is line {first}",
                    bad.len()
                ));
            }
        }
    }
    Ok(finished(writer, warnings))
}

fn finished(writer: Writer, warnings: Vec<String>) -> Document {
    let mut document = writer.finish("json");
    document.headings.clear();
    document.title = None;
    document.warnings.extend(warnings);
    document
}

/// Quotes numbers that a binary number cannot represent as written: those with more than 15 digits, none of which may be lost.
fn with_long_numbers_as_text(json: &str) -> std::borrow::Cow<'_, str> {
    const EXACT: usize = 15;
    let bytes = json.as_bytes();
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' {
            at += 1;
            while let Some(&inside) = bytes.get(at) {
                at += 1 + usize::from(inside == b'\\');
                if inside == b'"' {
                    break;
                }
            }
        } else if byte.is_ascii_digit() || byte == b'-' {
            let rest = &bytes[at..];
            let part = |b: &u8| b.is_ascii_digit() || b"+-.eE".contains(b);
            let length = rest.iter().take_while(|b| part(b)).count();
            let digits = rest[..length].iter().filter(|b| b.is_ascii_digit()).count();
            if digits > EXACT {
                out.push_str(&json[copied..at]);
                out.push('"');
                out.push_str(&json[at..at + length]);
                out.push('"');
                copied = at + length;
            }
            at += length;
        } else {
            at += 1;
        }
    }
    if copied == 0 {
        return json.into();
    }
    out.push_str(&json[copied..]);
    out.into()
}

/// Writes an outer array as its elements; an outer object as one record for each of its arrays of records, and one for the rest.
fn records(writer: &mut Writer, value: &Value) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|e| writer.block(&lines(e))),
        Value::Object(members) => {
            let is_list = |v: &Value| {
                v.as_array()
                    .is_some_and(|a| a.iter().any(|e| e.is_object() || e.is_array()))
            };
            let rest: serde_json::Map<String, Value> = members
                .iter()
                .filter(|(_, v)| !is_list(v))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            if !rest.is_empty() {
                writer.block(&lines(&Value::Object(rest)));
            }
            for (name, list) in members.iter().filter(|(_, v)| is_list(v)) {
                for element in list.as_array().into_iter().flatten() {
                    writer.block(&format!("{name}:\n{}", lines(element)));
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            writer.block(&scalar(value));
        }
    }
}

fn lines(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out
}

fn write(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth.min(16));
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::Object(inner) if !inner.is_empty() => {
                        out.push_str(&format!("{indent}{name}:\n"));
                        write(member, depth + 1, out);
                    }
                    Value::Array(inner) if inner.iter().any(|e| e.is_object() || e.is_array()) => {
                        out.push_str(&format!("{indent}{name}:\n"));
                        write(member, depth + 1, out);
                    }
                    _ => out.push_str(&format!("{indent}{name}: {}\n", scalar(member))),
                }
            }
        }
        Value::Array(elements) => {
            for element in elements {
                if element.is_object() || element.is_array() {
                    let mut inner = String::new();
                    write(element, depth + 1, &mut inner);
                    out.push_str(&format!("{indent}- {}", inner.trim_start()));
                } else {
                    out.push_str(&format!("{indent}- {}\n", scalar(element)));
                }
            }
        }
        _ => out.push_str(&format!("{indent}{}\n", scalar(value))),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => one_line(text),
        Value::Array(elements) => elements.iter().map(scalar).collect::<Vec<_>>().join(", "),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Parses Jupyter notebooks: text cells unchanged, code cells and their printed output as code.
fn notebook_cells(notebook: &Value) -> Result<Document, ParseError> {
    let joined = |value: &Value| match value {
        Value::Array(parts) => parts.iter().filter_map(Value::as_str).collect::<String>(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let language = notebook["metadata"]["kernelspec"]["language"]
        .as_str()
        .or_else(|| notebook["metadata"]["language_info"]["name"].as_str())
        .unwrap_or("python");
    let cells = notebook["cells"]
        .as_array()
        .or_else(|| notebook["worksheets"][0]["cells"].as_array())
        .ok_or_else(|| damaged("the notebook has no cells"))?;
    let mut writer = Writer::default();
    for cell in cells {
        let source = joined(if cell["source"].is_null() {
            &cell["input"]
        } else {
            &cell["source"]
        });
        match cell["cell_type"].as_str() {
            Some("markdown") => writer.block(&source),
            Some("heading") => writer.heading(
                usize::try_from(cell["level"].as_u64().unwrap_or(1)).unwrap_or(1),
                &source,
            ),
            Some("raw") => writer.block(&source),
            _ => writer.code(language, &source),
        }
        for output in cell["outputs"].as_array().into_iter().flatten() {
            let printed = match output["output_type"].as_str() {
                Some("error") => format!(
                    "{}: {}",
                    output["ename"].as_str().unwrap_or_default(),
                    output["evalue"].as_str().unwrap_or_default()
                ),
                Some("stream") => joined(&output["text"]),
                _ => joined(&output["data"]["text/plain"]),
            };
            let short: String = printed.chars().take(MAX_OUTPUT).collect();
            if short.len() < printed.len() {
                writer.warn("long cell outputs were truncated");
            }
            writer.code("", &short);
        }
    }
    Ok(writer.finish("notebook"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Document, ParseError> {
        parse_json(&Input {
            file_name: "a.json",
            bytes: text.as_bytes(),
            ..Input::default()
        })
    }

    #[test]
    fn records_are_names_and_values() {
        let document =
            parsed(r#"[{"name":"bolt","tags":["a","b"],"size":{"mm":5}},{"name":"nut"}]"#)
                .expect("parses");
        assert_eq!(
            document.text,
            "name: bolt\ntags: a, b\nsize:\n  mm: 5\n\nname: nut"
        );
    }

    #[test]
    fn every_digit_of_a_number_stays() {
        let document = parsed(r#"{"id":123456789012345678901234567890,"a":"1234567890123456789 \" 9","price":19.90,"x":-1.2345678901234567890e3}"#)
            .expect("parses");
        assert_eq!(
            document.text,
            "id: 123456789012345678901234567890\na: 1234567890123456789 \" 9\nprice: 19.9\nx: -1.2345678901234567890e3"
        );
    }

    #[test]
    fn values_may_stand_behind_each_other() {
        let document =
            parsed("{\n \"name\": \"alder\"\n}\n{\n \"name\": \"birch\"}").expect("parses");
        assert_eq!(document.text, "name: alder\n\nname: birch");
    }

    #[test]
    fn lines_that_are_not_json_are_counted() {
        let document = parsed("{\"a\":1}\n{\"a\":2}\nbad\n").expect("parses");
        assert_eq!(document.text, "a: 1\n\na: 2");
        assert!(
            document.warnings[0].contains("line 3"),
            "{:?}",
            document.warnings
        );
        assert_eq!(
            parsed("{\"a\": ").expect_err("cut off").code,
            "damaged_file"
        );
    }

    #[test]
    fn a_notebook_is_its_cells() {
        let document = parsed(
            r##"{"nbformat":4,"metadata":{},"cells":[{"cell_type":"markdown","source":["# Study\n","text"]},
               {"cell_type":"code","source":"print(1)","outputs":[{"output_type":"stream","text":["1\n"]}]}]}"##,
        )
        .expect("parses");
        assert_eq!(
            document.text,
            "# Study\ntext\n\n```python\nprint(1)\n```\n\n```\n1\n```"
        );
        assert_eq!(document.title.as_deref(), Some("Study"));
    }
}
