// @ts-check
// The blend of the two raw lists, as `src/search/blend.rs` has it: what the sliders try without asking the server.

/**
 * @typedef {{
 *   chunkId: string, datasetId: string, fileId: string, cosine: number | null, bm25: number | null,
 *   vectorRank: number | null, keywordRank: number | null, [name: string]: any,
 * }} Candidate
 */
/**
 * @typedef {{
 *   datasetId: string, bm25Bound: number, cosineLow: number, cosineHigh: number, alpha: number, alphaReason: string,
 *   usualAlpha: number, usualMinScore: number, alwaysWords: boolean,
 * }} Of
 */
/**
 * @typedef {{
 *   candidate: Candidate, score: number, vector: number | null, keyword: number | null, vectorWeight: number,
 *   keywordWeight: number, least: number,
 * }} Blended
 */

const K = 60;
const clamp = (/** @type {number} */ x) => Math.max(0, Math.min(1, x));

/**
 * @param {{datasets: Of[], candidates: Candidate[]}} pool
 * @param {{alpha: number | null, minScore: number | null, fusion: string, perDocument?: number | null}} settings
 *   null takes what the search has
 * @returns {Blended[]} best first, those below the threshold left out
 */
export function blend(pool, settings) {
  const of = new Map(
    pool.datasets.map((d) => {
      const [used, least] = [settings.alpha ?? d.usualAlpha, settings.minScore ?? d.usualMinScore];
      return [d.datasetId, { ...d, used, least }];
    }),
  );
  // What a search with these weights would ask: one that gives one side everything leaves the other list out.
  const asked = pool.candidates.flatMap((candidate) => {
    const dataset = of.get(candidate.datasetId);
    if (!dataset) return [];
    const words = dataset.used < 1 || settings.fusion === 'rrf' || dataset.alwaysWords;
    const meaning = dataset.used > 0;
    const raw = {
      cosine: meaning ? (candidate.cosine ?? null) : null,
      vectorRank: meaning ? (candidate.vectorRank ?? null) : null,
      bm25: words ? (candidate.bm25 ?? null) : null,
      keywordRank: words ? (candidate.keywordRank ?? null) : null,
    };
    return raw.vectorRank || raw.keywordRank ? [{ candidate, dataset, raw }] : [];
  });
  const range = (/** @type {'cosine' | 'bm25'} */ value, /** @type {'vectorRank' | 'keywordRank'} */ rank) => {
    let limits = null;
    for (const { raw } of asked) {
      const v = raw[value];
      if (raw[rank] && v !== null) limits = limits ? [Math.min(limits[0], v), Math.max(limits[1], v)] : [v, v];
    }
    return limits;
  };
  const spread = settings.fusion === 'minmax' ? { cosine: range('cosine', 'vectorRank'), bm25: range('bm25', 'keywordRank') } : null;
  const scaled = (/** @type {number | null} */ value, /** @type {number | null} */ rank, /** @type {number[] | null} */ limits) => {
    if (value === null || !rank || !limits) return 0;
    return limits[1] > limits[0] ? (value - limits[0]) / (limits[1] - limits[0]) : 1;
  };
  const kept = asked
    .map(({ candidate, dataset, raw }) => {
      const alpha = dataset.used;
      /** @type {number | null} */
      let vector;
      /** @type {number | null} */
      let keyword;
      let weights = [alpha, 1 - alpha];
      if (settings.fusion === 'rrf') {
        vector = raw.vectorRank ? (K + 1) / (K + raw.vectorRank) : null;
        keyword = raw.keywordRank ? (K + 1) / (K + raw.keywordRank) : null;
        weights = [0.5, 0.5];
      } else if (spread) {
        vector = scaled(raw.cosine, raw.vectorRank, spread.cosine);
        keyword = scaled(raw.bm25, raw.keywordRank, spread.bm25);
      } else {
        vector = raw.cosine === null ? null : clamp((raw.cosine - dataset.cosineLow) / (dataset.cosineHigh - dataset.cosineLow));
        keyword = raw.bm25 === null ? null : dataset.bm25Bound > 0 ? Math.sqrt(clamp(raw.bm25 / dataset.bm25Bound)) : 0;
        if (vector === null) weights = [0, keyword === null ? 0 : 1];
        else if (keyword === null) weights = [1, 0];
      }
      const [vectorWeight, keywordWeight] = weights;
      const score = vectorWeight * (vector ?? 0) + keywordWeight * (keyword ?? 0);
      return { candidate, vector, keyword, vectorWeight, keywordWeight, least: dataset.least, score };
    })
    .filter((b) => b.score >= b.least);
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
