//! The shared string table.

use quick_xml::events::Event;

use super::package::Package;
use crate::parse::sheet::Output;
use crate::parse::sheet::stream::{resolve, unescape};

/// Maximum bytes of all strings together.
const MAX_TEXT: usize = 256 << 20;

/// All strings concatenated, with their ends.
#[derive(Debug, Default)]
pub(super) struct Strings {
    text: String,
    ends: Vec<usize>,
}

impl Strings {
    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..end)
    }
}

pub(super) fn read(package: &mut Package<'_>, path: Option<&str>, output: &mut Output) -> Strings {
    let mut strings = Strings::default();
    let path = path.unwrap_or("xl/sharedStrings.xml");
    let Some(mut reader) = package.stream(path) else {
        return strings;
    };
    let mut buffer = Vec::new();
    let mut text = String::new();
    let (mut inside, mut reading) = (false, 0);
    loop {
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Start(start)) => match start.local_name().as_ref() {
                "si" => {
                    inside = true;
                    text.clear();
                }
                "t" if inside => reading += 1,
                // Phonetic text is written above the actual text.
                "rPh" => inside = false,
                _ => {}
            },
            Ok(Event::Empty(start)) => {
                if start.local_name().as_ref() == "si" {
                    strings.ends.push(strings.text.len());
                }
            }
            Ok(Event::Text(part)) if reading > 0 => text.push_str(&part.xml10_content()),
            Ok(Event::CData(part)) if reading > 0 => text.push_str(&part.xml10_content()),
            Ok(Event::GeneralRef(reference)) if reading > 0 => resolve(&reference, &mut text),
            Ok(Event::End(end)) => match end.local_name().as_ref() {
                "t" => reading = 0,
                "rPh" => inside = true,
                "si" => {
                    inside = false;
                    unescape(&text, &mut strings.text);
                    strings.ends.push(strings.text.len());
                    if strings.text.len() > MAX_TEXT {
                        output.warn(
                            "the workbook has too many shared strings; the last ones were skipped"
                                .to_owned(),
                        );
                        break;
                    }
                }
                _ => {}
            },
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(e) => {
                output.warn(format!(
                    "some shared strings of the workbook could not be read: {e}"
                ));
                break;
            }
        }
        buffer.clear();
    }
    strings
}
