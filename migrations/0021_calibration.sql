-- Cosines with the vector scores 0 and 1; NULL for a model that is not calibrated, whose vector score is (1 + cosine) / 2 as it was for all. A dataset
-- keeps its scores until it is rebuilt, so the values are stored with its settings.
ALTER TABLE kb_datasets ADD COLUMN calibration_low DOUBLE PRECISION;
ALTER TABLE kb_datasets ADD COLUMN calibration_high DOUBLE PRECISION;
ALTER TABLE kb_generations ADD COLUMN calibration_low DOUBLE PRECISION;
ALTER TABLE kb_generations ADD COLUMN calibration_high DOUBLE PRECISION;
-- The reference model.
UPDATE kb_datasets SET calibration_low = -1, calibration_high = 1 WHERE embedding_model IN ('all-MiniLM-L6-v2', 'all-MiniLM-L6-v2-fp32');
UPDATE kb_generations SET calibration_low = -1, calibration_high = 1 WHERE embedding_model IN ('all-MiniLM-L6-v2', 'all-MiniLM-L6-v2-fp32');
