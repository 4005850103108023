//! The images of scanned pages, for text recognition.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many variants of foreign enums only some are told apart"
)]

use unpdf::{Error, ParseOptions};

use super::super::{ParseError, damaged, guarded, locked};

/// Returns the largest image of each page that has one, by page number.
///
/// # Errors
/// `password_required`, `damaged_file`.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, ParseError> {
    let options = ParseOptions::new()
        .with_parallel(false)
        .with_resources(true);
    let parsed =
        guarded(|| unpdf::parse_bytes_with_options(bytes, options))?.map_err(|e| match e {
            Error::Encrypted | Error::InvalidPassword => locked(),
            _ => damaged("its images cannot be read"),
        })?;
    Ok(parsed
        .pages
        .into_iter()
        .filter_map(|page| {
            let largest = page.images.into_iter().max_by_key(|(_, picture)| {
                (
                    picture.width.zip(picture.height).map(|(w, h)| w * h),
                    picture.data.len(),
                )
            });
            Some((page.number, largest?.1.data))
        })
        .collect())
}
