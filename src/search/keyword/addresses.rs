//! Where the chunks of a set are in the segments of its index, by ordinal, and which chunk each document of a segment is.

use std::sync::Arc;

use tantivy::index::SegmentId;
use tantivy::{DocId, Searcher};
use uuid::Uuid;

use super::{Ids, KeywordIndex};
use crate::error::Result;
use crate::search::live::LiveSet;

/// Ordinals of the documents of a segment. Segments are immutable, so these are too.
#[derive(Debug)]
pub(super) struct SegmentOrdinals {
    segment: SegmentId,
    pub ordinals: Vec<u32>,
}

/// Addresses of the chunks of a set in one state of the index.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Epoch of the ordinals, and state of the index.
    valid_for: (u64, u64),
    pub segments: Vec<Arc<SegmentOrdinals>>,
    /// Segment and document by ordinal; [`NOWHERE`] for chunks that the index does not contain.
    of: Vec<(u32, DocId)>,
}

const NOWHERE: (u32, DocId) = (u32::MAX, 0);

impl Addresses {
    /// Returns the segment and the document of a chunk.
    pub(super) fn of(&self, ordinal: u32) -> Option<(u32, DocId)> {
        let address = self.of.get(ordinal as usize).copied();
        address.filter(|address| *address != NOWHERE)
    }

    /// Returns how many ordinals it covers.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }
}

impl KeywordIndex {
    /// Returns the addresses of the chunks of a set in a state of the index; those of new segments are read, the others are known.
    pub(super) fn addresses(&self, searcher: &Searcher, live: &LiveSet) -> Result<Arc<Addresses>> {
        let valid_for = (live.epoch(), searcher.generation().generation_id());
        let mut slot = super::lock(&self.addresses);
        let known = slot.take();
        if let Some(known) = known.as_ref().filter(|a| a.valid_for == valid_for) {
            *slot = Some(Arc::clone(known));
            return Ok(Arc::clone(known));
        }
        let known = known.filter(|known| known.valid_for.0 == live.epoch());
        let ids = Ids::new(searcher)?;
        let mut segments = Vec::new();
        for (number, segment) in (0_u32..).zip(searcher.segment_readers()) {
            let same = known.iter().flat_map(|known| &known.segments);
            let same = same
                .filter(|other| other.segment == segment.segment_id())
                .find(|other| other.ordinals.len() == segment.max_doc() as usize);
            if let Some(same) = same {
                segments.push(Arc::clone(same));
                continue;
            }
            let uuids: Vec<Uuid> = (0..segment.max_doc())
                .map(|doc| ids.get(tantivy::DocAddress::new(number, doc)))
                .collect::<Result<_>>()?;
            let mut table = live.table_mut();
            segments.push(Arc::new(SegmentOrdinals {
                segment: segment.segment_id(),
                ordinals: uuids.into_iter().map(|id| table.intern(id)).collect(),
            }));
        }
        let mut of = vec![NOWHERE; live.table().len()];
        let readers = searcher.segment_readers();
        for (number, (segment, reader)) in (0_u32..).zip(segments.iter().zip(readers)) {
            for (doc, ordinal) in (0..).zip(&segment.ordinals) {
                if reader
                    .alive_bitset()
                    .is_none_or(|alive| alive.is_alive(doc))
                {
                    of[*ordinal as usize] = (number, doc);
                }
            }
        }
        let addresses = Arc::new(Addresses {
            valid_for,
            segments,
            of,
        });
        *slot = Some(Arc::clone(&addresses));
        Ok(addresses)
    }
}
