//! Word and `PowerPoint`: the XML formats are parsed here, the old binary ones by a crate. Slides are pages; comments and deleted text are omitted.

use super::ooxml::package::Package;
use super::{Input, OLE, ParseError, damaged, has_stream, old_office, slides, word};
use crate::document::Document;

pub(super) fn parse(input: &Input<'_>) -> Result<Document, ParseError> {
    if input.bytes.starts_with(&OLE) {
        // XML files with a password are wrapped in an OLE container.
        if ["EncryptedPackage", "EncryptionInfo"]
            .iter()
            .any(|stream| has_stream(input.bytes, stream))
        {
            return Err(super::locked());
        }
        return old_office::parse(input);
    }
    let mut package = Package::open(input.bytes)?;
    let main = package.main_part()?;
    let xml = package.xml(&main)?;
    match root_name(&xml) {
        "document" => word::parse(package, &main, &xml),
        "presentation" => slides::parse(package, &main),
        _ => Err(damaged(
            "it contains neither a Word document nor a presentation",
        )),
    }
}

/// Returns the local name of the first element of a part.
fn root_name(xml: &str) -> &str {
    let tag = xml
        .split('<')
        .skip(1)
        .find(|tag| !tag.starts_with(['?', '!']))
        .unwrap_or_default();
    let name = tag
        .split(|c: char| c.is_whitespace() || c == '>' || c == '/')
        .next()
        .unwrap_or_default();
    name.rsplit(':').next().unwrap_or(name)
}
