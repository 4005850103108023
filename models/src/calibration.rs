//! Calibrations: maps of a model's cosines to scores that mean the same with every model.
//!
//! Each model has its own range of cosines: with `multilingual-e5-small` unrelated texts have about 0.76 and a question and its answer 0.87, with
//! `all-MiniLM-L6-v2` 0.05 and 0.6. The score of the latter is `(1 + cosine) / 2`; the calibration of another model gives unrelated and related pairs
//! the same scores on average, so that thresholds and weights keep their meaning.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// An affine map from cosines to scores, limited to 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Cosine with the score 0.
    pub low: f32,
    /// Cosine with the score 1; greater than `low`.
    pub high: f32,
}

/// Median cosines of sentences with the rest of their own passage, and with passages of other documents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Anchors {
    pub related: f32,
    pub unrelated: f32,
}

/// Anchors of the reference model, `all-MiniLM-L6-v2`, measured by `cairn models calibrate` on 400 paragraphs of an English handbook.
pub const REFERENCE: Anchors = Anchors {
    related: 0.476,
    unrelated: 0.077,
};

/// Least difference of the anchors' cosines; below it the model does not distinguish related from unrelated texts.
const LEAST_DISTANCE: f32 = 0.02;

impl Calibration {
    /// The map of the reference model, `(1 + cosine) / 2`; also that of models without a calibration.
    pub const REFERENCE: Self = Self {
        low: -1.0,
        high: 1.0,
    };

    /// Returns the score of a cosine, 0 to 1.
    #[must_use]
    pub fn score(self, cosine: f32) -> f32 {
        ((cosine - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Returns the map that gives related and unrelated texts of a model the scores that they have with the reference model.
    ///
    /// # Errors
    /// [`Error::Calibration`] when the model does not distinguish the two.
    pub fn from_anchors(anchors: Anchors) -> Result<Self> {
        let distance = anchors.related - anchors.unrelated;
        if distance.is_nan() || distance < LEAST_DISTANCE {
            return Err(Error::Calibration(format!(
                "sentences of the same passage have a median cosine of {:.3}, those of other documents {:.3}; they must differ by at least {LEAST_DISTANCE}",
                anchors.related, anchors.unrelated
            )));
        }
        let score = |cosine: f32| Self::REFERENCE.score(cosine);
        let (related, unrelated) = (score(REFERENCE.related), score(REFERENCE.unrelated));
        let width = distance / (related - unrelated);
        let low = anchors.unrelated - unrelated * width;
        Ok(Self {
            low,
            high: low + width,
        })
    }
}

/// A calibration and how it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    #[serde(flatten)]
    pub calibration: Calibration,
    /// The text it was measured on.
    pub source: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_the_affine_map_of_its_definition() {
        for cosine in [-1.0_f32, -0.3, 0.0, 0.123_456, 0.6, 1.0] {
            let defined = ((1.0 + cosine) / 2.0).clamp(0.0, 1.0);
            assert_eq!(
                Calibration::REFERENCE.score(cosine).to_bits(),
                defined.to_bits()
            );
        }
    }

    #[test]
    fn anchors_of_the_reference_give_the_reference() {
        let found = Calibration::from_anchors(REFERENCE).expect("distinct");
        assert!((found.low + 1.0).abs() < 1e-6 && (found.high - 1.0).abs() < 1e-6);
    }

    #[test]
    fn anchors_of_another_model_have_the_scores_of_the_reference() {
        let anchors = Anchors {
            related: 0.87,
            unrelated: 0.76,
        };
        let found = Calibration::from_anchors(anchors).expect("distinct");
        let same = |cosine: f32, reference: f32| {
            (found.score(cosine) - Calibration::REFERENCE.score(reference)).abs() < 1e-5
        };
        assert!(same(0.87, REFERENCE.related) && same(0.76, REFERENCE.unrelated));
    }

    #[test]
    fn a_model_that_does_not_distinguish_texts_has_no_calibration() {
        let anchors = Anchors {
            related: 0.8,
            unrelated: 0.79,
        };
        assert!(matches!(
            Calibration::from_anchors(anchors),
            Err(Error::Calibration(_))
        ));
    }
}
