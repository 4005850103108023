//! Calibrations of models by name: those measured on this machine, stored in the cache, and those of the manifests.

use std::collections::BTreeMap;

use crate::calibration::Measured;
use crate::fetch::{Cache, replace_json};
use crate::manifest::{is_reference, known};
use crate::{Error, Result};

/// File in the cache with the calibrations measured by `cairn models calibrate`, by model.
const FILE: &str = "calibrations.json";

impl Cache {
    /// Returns the calibration of a model: the one measured on this machine, or that of its manifest. `None` for an uncalibrated model.
    ///
    /// # Errors
    /// [`Error::Io`] when the file of calibrations cannot be read.
    pub fn calibration(&self, model: &str) -> Result<Option<Measured>> {
        if let Some(own) = self.calibrations()?.remove(model) {
            return Ok(Some(own));
        }
        Ok(known()
            .into_iter()
            .find(|m| m.name == model)
            .and_then(|m| m.calibration))
    }

    /// Records the calibration of a model, for datasets that are created or rebuilt from now on.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Calibration`] for the reference model.
    pub fn record_calibration(&self, model: &str, measured: Measured) -> Result<()> {
        if is_reference(model) {
            return Err(Error::Calibration(format!(
                "{model} is the reference: its cosines define what scores mean"
            )));
        }
        let _lock = self.lock()?;
        let mut all = self.calibrations()?;
        all.insert(model.to_owned(), measured);
        replace_json(&self.root().join(FILE), &all)
    }

    /// Returns the calibrations measured on this machine, by model.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn calibrations(&self) -> Result<BTreeMap<String, Measured>> {
        let path = self.root().join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::io(&path)(e.into())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(e) => Err(Error::io(&path)(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibration;
    use crate::manifest::{DEFAULT, MULTILINGUAL};

    #[test]
    fn the_reference_keeps_its_calibration() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::new(directory.path(), true);
        let measured = Measured {
            calibration: Calibration {
                low: 0.5,
                high: 0.9,
            },
            source: "a dataset".to_owned(),
        };
        assert!(cache.record_calibration(DEFAULT, measured).is_err());
        let found = cache.calibration(DEFAULT).expect("readable");
        assert_eq!(found.map(|m| m.calibration), Some(Calibration::REFERENCE));
    }

    #[test]
    fn a_recorded_calibration_precedes_that_of_the_manifest() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::new(directory.path(), true);
        let of = |model: &str| cache.calibration(model).expect("readable");
        let model = MULTILINGUAL;
        assert!(of(model).is_some());
        assert_eq!(of("a model of one's own"), None);
        let own = Measured {
            calibration: Calibration {
                low: 0.5,
                high: 0.9,
            },
            source: "a dataset".to_owned(),
        };
        cache
            .record_calibration(model, own.clone())
            .expect("written");
        assert_eq!(of(model), Some(own));
    }
}
