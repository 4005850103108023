// @ts-check
// The hits that a lane lists: those of its answer, or those that the sliders make of its candidates.

import { blend } from '../lib/blend.js';

/**
 * @typedef {object} Hit
 * @property {string} chunkId
 * @property {string} fileId
 * @property {string} datasetId
 * @property {string} fileName
 * @property {string | null} title
 * @property {string[]} headingPath
 * @property {string | number | null} page as it is shown
 * @property {number | null} pageNumber from 1
 * @property {number} start
 * @property {number} score
 * @property {number | null} vector
 * @property {number | null} keyword
 * @property {number} vectorWeight
 * @property {number} keywordWeight
 * @property {number | null} cosine
 * @property {number | null} bm25
 * @property {number} bound the highest BM25 that the query can reach
 * @property {number | null} vectorRank
 * @property {number | null} keywordRank
 * @property {any | null} full the result of the API, if the chunk is in the answer
 * @property {string} preview the start of the text, for hits that are not in the answer
 * @property {number} minScore
 */

/** A hit of an answer of the API. @param {any} result @param {number} minScore @returns {Hit} */
function fromResult(result, minScore) {
  const e = result.explain ?? {};
  return {
    chunkId: result.chunkId,
    fileId: result.fileId,
    datasetId: result.datasetId,
    fileName: result.fileName,
    title: result.title,
    headingPath: result.headingPath,
    pageNumber: result.metadata?.pageNumber ?? null,
    page: result.metadata?.pageLabel ?? result.metadata?.pageNumber ?? null,
    start: result.start,
    score: result.score,
    vector: e.vectorScore ?? null,
    keyword: e.keywordScore ?? null,
    vectorWeight: e.vectorWeight ?? 0,
    keywordWeight: e.keywordWeight ?? 0,
    cosine: e.cosine ?? null,
    bm25: e.bm25 ?? null,
    bound: e.bm25Bound ?? 0,
    vectorRank: e.vectorRank ?? null,
    keywordRank: e.keywordRank ?? null,
    full: result,
    preview: '',
    minScore,
  };
}

/**
 * A hit that was blended in the page.
 * @param {import('../lib/blend.js').Blended & {least?: number}} b
 * @param {number} bound
 * @param {any} known its result in the answer, if it has one
 * @returns {Hit}
 */
function fromBlend(b, bound, known) {
  const c = b.candidate;
  return {
    chunkId: c.chunkId,
    fileId: c.fileId,
    datasetId: c.datasetId,
    fileName: c.fileName,
    title: c.title,
    headingPath: c.headingPath,
    pageNumber: c.page ?? null,
    page: c.page ?? null,
    start: c.start,
    score: b.score,
    vector: b.vector,
    keyword: b.keyword,
    vectorWeight: b.vectorWeight,
    keywordWeight: b.keywordWeight,
    cosine: c.cosine ?? null,
    bm25: c.bm25 ?? null,
    bound,
    vectorRank: c.vectorRank ?? null,
    keywordRank: c.keywordRank ?? null,
    full: known ?? null,
    preview: c.preview,
    minScore: b.least ?? 0,
  };
}

/** A value per dataset of a pool. @param {any} pool @param {string} name @returns {Map<string, any>} */
const byDataset = (pool, name) => new Map(pool.datasets.map((/** @type {any} */ d) => [d.datasetId, d[name]]));

/**
 * The hits of a lane, best first.
 * @param {{settings: any, answer: any, pool: any, slid: boolean}} lane
 * @returns {Hit[]}
 */
export function hitsOf({ settings, answer, pool, slid }) {
  if (!answer) return [];
  if (!slid) {
    const usual = byDataset(pool, 'usualMinScore');
    return answer.results.map((/** @type {any} */ r) => fromResult(r, settings.minScore ?? usual.get(r.datasetId) ?? 0));
  }
  const known = new Map(answer.results.map((/** @type {any} */ r) => [r.chunkId, r]));
  const bounds = byDataset(pool, 'bm25Bound');
  const blended = blend(pool, {
    alpha: settings.hybridAlpha ?? null,
    minScore: settings.minScore ?? null,
    fusion: settings.fusion ?? 'blend',
    perDocument: settings.perDocument,
  });
  return blended
    .slice(0, settings.topK ?? 10)
    .map((b) => fromBlend(b, bounds.get(b.candidate.datasetId) ?? 0, known.get(b.candidate.chunkId)));
}
