//! `WebVTT` and `SubRip`: the spoken text by cue, with marked speaker names, and the time every half minute.

use super::writer::Writer;
use super::{Input, ParseError, text};
use crate::document::Document;

/// A passage ends at a pause of this length, in seconds, or at this length, in characters.
const PAUSE: f64 = 4.0;
const PASSAGE: usize = 600;
/// Seconds after which the time is written again.
const MARK: f64 = 30.0;

struct Cue {
    start: f64,
    end: f64,
    speaker: Option<String>,
    text: String,
}

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    let (decoded, warnings) = text::decode(input.bytes, None);
    let decoded = crate::document::normalise(&decoded);
    let cues: Vec<Cue> = blocks(&decoded).iter().filter_map(|b| cue(b)).collect();
    let mut writer = Writer::default();
    let mut passage = String::new();
    let (mut last, mut marked): (Option<&Cue>, Option<f64>) = (None, None);
    for cue in &cues {
        let new = last.is_none_or(|before| {
            before.speaker != cue.speaker
                || cue.start - before.end > PAUSE
                || passage.len() > PASSAGE
        });
        if new {
            writer.paragraph(&passage);
            passage.clear();
            if marked.is_none_or(|at| cue.start - at >= MARK) {
                passage.push_str(&format!("[{}] ", clock(cue.start)));
                marked = Some(cue.start);
            }
            if let Some(speaker) = &cue.speaker {
                passage.push_str(&format!("{speaker}: "));
            }
        } else {
            passage.push(' ');
        }
        passage.push_str(&cue.text);
        last = Some(cue);
    }
    writer.paragraph(&passage);
    let mut document = writer.finish("subtitles");
    document.warnings.extend(warnings);
    Ok(document)
}

/// Splits a file into cues, each starting with its time line. A cue extends to the next time line, without the number or name above that; blank lines in it are
/// kept. Text before the first cue (a header, styles) is skipped.
fn blocks(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let starts: Vec<usize> = (0..lines.len()).filter(|&at| is_times(lines[at])).collect();
    let mut blocks = Vec::with_capacity(starts.len());
    for (nth, &start) in starts.iter().enumerate() {
        let mut end = starts.get(nth + 1).copied().unwrap_or(lines.len());
        if end < lines.len() && end > start + 1 && !lines[end - 1].trim().is_empty() {
            // The number or name of the next cue follows a blank line.
            let alone = end < start + 3 || lines[end - 2].trim().is_empty();
            let number = lines[end - 1].trim().chars().all(|c| c.is_ascii_digit());
            if alone || number {
                end -= 1;
            }
        }
        let mut block = String::new();
        for line in &lines[start..end] {
            let blank_before = block.ends_with("\n\n");
            // WebVTT notes and styles between cues.
            if blank_before
                && ["NOTE", "STYLE", "REGION"]
                    .iter()
                    .any(|k| line.starts_with(k))
            {
                break;
            }
            block.push_str(line.trim_end());
            block.push('\n');
        }
        blocks.push(block);
    }
    blocks
}

fn is_times(line: &str) -> bool {
    line.split_once("-->")
        .is_some_and(|(start, end)| seconds(start).is_some() && seconds(end).is_some())
}

fn cue(block: &str) -> Option<Cue> {
    let mut lines = block.lines().skip_while(|l| !l.contains("-->"));
    let (start, end) = lines.next()?.split_once("-->")?;
    let raw: Vec<&str> = lines.collect();
    let raw = raw.join(" ");
    let speaker = raw.find("<v").and_then(|at| {
        let tag = &raw[at + 2..];
        let name = &tag[tag.find(' ')?..tag.find('>')?];
        Some(name.trim().to_owned()).filter(|n| !n.is_empty())
    });
    let text = unescape(&without_tags(&raw));
    (!text.trim().is_empty()).then_some(Cue {
        start: seconds(start)?,
        end: seconds(end)?,
        speaker,
        text: text.trim().to_owned(),
    })
}

/// Parses `hh:mm:ss.mmm` or `mm:ss,mmm`, optionally followed by settings.
fn seconds(text: &str) -> Option<f64> {
    let time = text.split_whitespace().next()?.replace(',', ".");
    let mut total = 0.0;
    for part in time.split(':') {
        total = total * 60.0 + part.parse::<f64>().ok()?;
    }
    Some(total)
}

fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    format!(
        "{:02}:{:02}:{:02}",
        whole / 3600,
        whole / 60 % 60,
        whole % 60
    )
}

/// Removes `<…>`; a `<` that does not open a tag is kept.
fn without_tags(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let tag = &rest[at + 1..];
        let is_tag = tag.starts_with(|c: char| c.is_alphanumeric() || c == '/');
        match tag.find('>').filter(|_| is_tag) {
            Some(end) => rest = &tag[end + 1..],
            None => {
                out.push('<');
                rest = tag;
            }
        }
    }
    out.push_str(rest);
    out
}

fn unescape(text: &str) -> String {
    quick_xml::escape::unescape(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cues_become_passages_with_speaker_and_time() {
        let vtt = "WEBVTT\n\n1\n00:01.000 --> 00:02.000 align:start\n<v Ada>Hello <i>all</i>,</v>\n\n00:02.100 --> 00:03.000\n<v Ada>welcome &amp; thanks.</v>\n\n\
                   00:59:10.000 --> 00:59:11.000\n<v Bob>Bye</v>";
        let document = parse(&Input {
            file_name: "a.vtt",
            bytes: vtt.as_bytes(),
            ..Input::default()
        })
        .expect("parses");
        assert_eq!(
            document.text,
            "[00:00:01] Ada: Hello all, welcome & thanks.\n\n[00:59:10] Bob: Bye"
        );
        let srt = "1\r\n00:00:01,500 --> 00:00:02,000\r\nOne\r\ntwo\r\n\r\n2\r\n00:00:02,100 --> 00:00:03,000\r\nthree";
        let document = parse(&Input {
            file_name: "a.srt",
            bytes: srt.as_bytes(),
            ..Input::default()
        })
        .expect("parses");
        assert_eq!(document.text, "[00:00:01] One two three");
        let srt = "1\n00:00:01,000 --> 00:00:05,000\nCaptain first.\n\nThen the engineer.\n \n2\n00:00:05,100 --> 00:00:08,000\nThe end.";
        let document = parse(&Input {
            file_name: "a.srt",
            bytes: srt.as_bytes(),
            ..Input::default()
        })
        .expect("parses");
        assert_eq!(
            document.text,
            "[00:00:01] Captain first. Then the engineer. The end."
        );
    }
}
