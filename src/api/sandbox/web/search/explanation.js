// @ts-check
// Why a hit has its score: the bar, the sentence of the service, and the arithmetic.

import { waterfall } from '../lib/chart.js';
import { h } from '../lib/dom.js';
import { score } from '../lib/format.js';

/** @typedef {import('./ranking.js').Hit} Hit */

/** @param {Hit} hit @param {number} weighted */
function vectorPart(hit, weighted) {
  if (hit.cosine === null) return 'no cosine';
  const weight = hit.vectorWeight.toFixed(2);
  return `cosine ${hit.cosine.toFixed(3)} → ${score(hit.vector)} × ${weight} = ${weighted.toFixed(3)}`;
}

/** @param {Hit} hit @param {number} weighted */
function keywordPart(hit, weighted) {
  if (hit.bm25 === null) return 'no BM25';
  const weight = hit.keywordWeight.toFixed(2);
  const [bm25, bound] = [hit.bm25.toFixed(2), hit.bound.toFixed(2)];
  return `BM25 ${bm25} of ${bound} → ${score(hit.keyword)} × ${weight} = ${weighted.toFixed(3)}`;
}

/** The score as a bar of its two parts. @param {Hit} hit @param {number} vector @param {number} keyword */
function bar(hit, vector, keyword) {
  const threshold = hit.minScore > 0 ? `, threshold ${hit.minScore}` : '';
  const parts = `semantic ${vector.toFixed(3)}, keyword ${keyword.toFixed(3)}`;
  const text = `Score ${hit.score.toFixed(3)}: ${parts}${threshold}`;
  return waterfall({ vector, keyword, final: hit.score, minScore: hit.minScore, text });
}

/** The sentence of the service; a hit that was blended in the page has none. @param {Hit} hit */
function sentence(hit) {
  const said = hit.full?.explain;
  if (said) return h('p', { class: 'why' }, said.sentence);
  const ranks = `Semantic rank ${hit.vectorRank ?? '–'}, keyword rank ${hit.keywordRank ?? '–'}.`;
  return h('p', { class: 'why' }, h('small', null, `${ranks} Search again to load the full text.`));
}

/**
 * The arithmetic of a score.
 * @param {Hit} hit
 * @param {number} vector
 * @param {number} keyword
 * @param {boolean} reranked
 */
function details(hit, vector, keyword, reranked) {
  const e = hit.full?.explain;
  const rerank = reranked ? e?.rerank : null;
  const final = `${rerank ? `blend ${(vector + keyword).toFixed(3)} → reranked ` : '= '}${hit.score.toFixed(3)}`;
  const order = rerank && ` (logit ${rerank.logit.toFixed(2)}, rank ${rerank.rankBefore} → ${rerank.rankAfter})`;
  const sum = [vectorPart(hit, vector), h('br'), keywordPart(hit, keyword), h('br'), final, order];
  return h(
    'details',
    null,
    h('summary', null, h('small', null, 'Score details')),
    h('p', { class: 'sum' }, sum),
    e?.terms?.length > 0 && h('p', { class: 'sum' }, 'Matched terms: ', e.matchedTerms.join(', ') || 'none'),
    hit.full?.folded > 0 && h('p', { class: 'sum' }, `${hit.full.folded} near-duplicates folded into this hit.`),
  );
}

/**
 * The elements that explain a hit.
 * @param {Hit} hit
 * @param {boolean} reranked whether the order is that of the service, so that its reranking applies
 */
export function explanation(hit, reranked) {
  const vector = hit.vectorWeight * (hit.vector ?? 0);
  const keyword = hit.keywordWeight * (hit.keyword ?? 0);
  return {
    bar: bar(hit, vector, keyword),
    sentence: sentence(hit),
    details: details(hit, vector, keyword, reranked),
  };
}
