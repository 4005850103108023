// @ts-check
// The blend of the two raw lists, as `src/search/blend.rs` has it: what the sliders try without asking the server.

/** @typedef {{chunkId: string, datasetId: string, fileId: string, cosine: number | null, bm25: number | null, vectorRank: number | null, keywordRank: number | null, [name: string]: any}} Candidate */
/** @typedef {{datasetId: string, bm25Bound: number, alpha: number, minScore: number, alphaReason: string}} Of */
/** @typedef {{candidate: Candidate, score: number, vector: number | null, keyword: number | null, vectorWeight: number, keywordWeight: number}} Blended */

const K = 60;
const clamp = (/** @type {number} */ x) => Math.max(0, Math.min(1, x));

/**
 * @param {{datasets: Of[], candidates: Candidate[]}} pool
 * @param {{alpha: number | null, minScore: number | null, fusion: string, perDocument?: number | null}} settings null takes what the search has
 * @returns {Blended[]} best first, those below the threshold left out
 */
export function blend(pool, settings) {
  const of = new Map(pool.datasets.map((d) => [d.datasetId, d]));
  const range = (/** @type {'cosine' | 'bm25'} */ value, /** @type {'vectorRank' | 'keywordRank'} */ rank) => {
    const values = pool.candidates.filter((c) => c[rank] && c[value] !== null && c[value] !== undefined).map((c) => /** @type {number} */ (c[value]));
    return values.length ? [Math.min(...values), Math.max(...values)] : null;
  };
  const spread = settings.fusion === 'minmax' ? { cosine: range('cosine', 'vectorRank'), bm25: range('bm25', 'keywordRank') } : null;
  const scaled = (/** @type {number | null} */ value, /** @type {number | null} */ rank, /** @type {number[] | null} */ limits) => {
    if (value === null || value === undefined || !rank || !limits) return 0;
    return limits[1] > limits[0] ? (value - limits[0]) / (limits[1] - limits[0]) : 1;
  };
  const scored = pool.candidates.map((candidate) => {
    const dataset = of.get(candidate.datasetId);
    const alpha = settings.alpha ?? dataset?.alpha ?? 0.6;
    /** @type {number | null} */
    let vector;
    /** @type {number | null} */
    let keyword;
    let weights = [alpha, 1 - alpha];
    if (settings.fusion === 'rrf') {
      vector = candidate.vectorRank ? (K + 1) / (K + candidate.vectorRank) : null;
      keyword = candidate.keywordRank ? (K + 1) / (K + candidate.keywordRank) : null;
      weights = [0.5, 0.5];
    } else if (spread) {
      vector = scaled(candidate.cosine, candidate.vectorRank, spread.cosine);
      keyword = scaled(candidate.bm25, candidate.keywordRank, spread.bm25);
    } else {
      const bound = dataset?.bm25Bound ?? 0;
      // A search with one side only leaves the other out.
      vector = candidate.cosine === null || candidate.cosine === undefined || alpha <= 0 ? null : clamp((1 + candidate.cosine) / 2);
      keyword = candidate.bm25 === null || candidate.bm25 === undefined || alpha >= 1 ? null : bound > 0 ? Math.sqrt(clamp(candidate.bm25 / bound)) : 0;
      if (vector === null) weights = [0, keyword === null ? 0 : 1];
      else if (keyword === null) weights = [1, 0];
    }
    const score = weights[0] * (vector ?? 0) + weights[1] * (keyword ?? 0);
    return { candidate, score, vector, keyword, vectorWeight: weights[0], keywordWeight: weights[1], least: settings.minScore ?? dataset?.minScore ?? 0 };
  });
  const inLists = (/** @type {Blended} */ b) => {
    const alpha = settings.alpha ?? of.get(b.candidate.datasetId)?.alpha ?? 0.6;
    return settings.fusion === 'rrf' || (alpha > 0 && alpha < 1) || Boolean(alpha <= 0 ? b.candidate.keywordRank : b.candidate.vectorRank);
  };
  const kept = scored.filter((b) => b.score >= b.least && inLists(b));
  kept.sort((a, b) => b.score - a.score || (a.candidate.chunkId < b.candidate.chunkId ? -1 : 1));
  if (!settings.perDocument) return kept;
  /** @type {Map<string, number>} */
  const seen = new Map();
  return kept.filter((b) => {
    const n = (seen.get(b.candidate.fileId) ?? 0) + 1;
    seen.set(b.candidate.fileId, n);
    return n <= /** @type {number} */ (settings.perDocument);
  });
}
