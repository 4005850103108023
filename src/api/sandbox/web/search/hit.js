// @ts-check
// A hit, and why it is one.

import { get } from '../lib/api.js';
import { button, h, marked, put } from '../lib/dom.js';
import { score } from '../lib/format.js';
import { waterfall } from '../lib/chart.js';

/**
 * @typedef {{chunkId: string, fileId: string, datasetId: string, fileName: string, title: string | null, headingPath: string[], page: string | number | null, start: number,
 *   score: number, vector: number | null, keyword: number | null, vectorWeight: number, keywordWeight: number, cosine: number | null, bm25: number | null, bound: number,
 *   vectorRank: number | null, keywordRank: number | null, full: any | null, preview: string, minScore: number}} Hit
 */

/** A hit of an answer of the API. @param {any} result @param {number} minScore @returns {Hit} */
export function fromResult(result, minScore) {
  const e = result.explain ?? {};
  return {
    chunkId: result.chunkId, fileId: result.fileId, datasetId: result.datasetId, fileName: result.fileName, title: result.title, headingPath: result.headingPath,
    page: result.metadata?.pageLabel ?? result.metadata?.pageNumber ?? null, start: result.start, score: result.score, vector: e.vectorScore ?? null, keyword: e.keywordScore ?? null,
    vectorWeight: e.vectorWeight ?? 0, keywordWeight: e.keywordWeight ?? 0, cosine: e.cosine ?? null, bm25: e.bm25 ?? null, bound: e.bm25Bound ?? 0,
    vectorRank: e.vectorRank ?? null, keywordRank: e.keywordRank ?? null, full: result, preview: '', minScore,
  };
}

/** A hit that was blended in the page. @param {import('../lib/blend.js').Blended & {least?: number}} b @param {number} bound @param {any} known @returns {Hit} */
export function fromBlend(b, bound, known) {
  const c = b.candidate;
  return {
    chunkId: c.chunkId, fileId: c.fileId, datasetId: c.datasetId, fileName: c.fileName, title: c.title, headingPath: c.headingPath, page: c.page ?? null, start: c.start, score: b.score,
    vector: b.vector, keyword: b.keyword, vectorWeight: b.vectorWeight, keywordWeight: b.keywordWeight, cosine: c.cosine ?? null, bm25: c.bm25 ?? null, bound,
    vectorRank: c.vectorRank ?? null, keywordRank: c.keywordRank ?? null, full: known ?? null, preview: c.preview, minScore: b.least ?? 0,
  };
}

/** Where a hit stands in its document. @param {{datasetId: string, fileId: string, chunkId: string}} hit */
export const source = (hit) => `/sandbox/documents/${hit.datasetId}/${encodeURIComponent(hit.fileId)}?chunk=${encodeURIComponent(hit.chunkId)}`;

/** How it moved against the first lane. @param {number} rank @param {number | null} before @param {boolean} compares */
function movement(rank, before, compares) {
  if (!compares) return null;
  if (before === null) return h('span', { class: 'move new', title: 'Not in the results of lane A' }, 'not in A');
  const by = before - rank;
  if (by === 0) return h('span', { class: 'move', title: `Rank ${before} in lane A` }, '=');
  return h('span', { class: `move ${by > 0 ? 'up' : 'down'}`, title: `Rank ${before} in lane A` }, by > 0 ? `▲${by}` : `▼${-by}`);
}

/** The sentence of a text that has most of the marked words. @param {string} text @param {{start: number, end: number}[]} ranges */
export function bestSentence(text, ranges) {
  const segments = [...new Intl.Segmenter('en', { granularity: 'sentence' }).segment(text)];
  let best = null;
  let most = 0;
  for (const { segment, index } of segments) {
    const start = Array.from(text.slice(0, index)).length;
    const end = start + Array.from(segment).length;
    const inside = ranges.filter((r) => r.start >= start && r.end <= end).length;
    if (inside > most) [best, most] = [{ start, end }, inside];
  }
  return segments.length > 1 ? best : null;
}

/** A text with its marked words, and its best sentence stronger. @param {string} text @param {{start: number, end: number}[]} ranges */
function told(text, ranges) {
  const sentence = bestSentence(text, ranges);
  if (!sentence) return marked(text, ranges);
  const letters = Array.from(text);
  const part = (/** @type {number} */ from, /** @type {number} */ to) => marked(letters.slice(from, to).join(''), ranges.filter((r) => r.start >= from && r.end <= to).map((r) => ({ start: r.start - from, end: r.end - from })));
  return [part(0, sentence.start), h('strong', null, part(sentence.start, sentence.end)), part(sentence.end, letters.length)];
}

/**
 * @param {Hit} hit
 * @param {{rank: number, before: number | null, compares: boolean, label: (grade: number) => void, grade: number | undefined, signal: AbortSignal, reranked: boolean}} about
 */
export function show(hit, about) {
  const e = hit.full?.explain;
  const vector = hit.vectorWeight * (hit.vector ?? 0);
  const keyword = hit.keywordWeight * (hit.keyword ?? 0);
  const parts = [
    hit.cosine === null ? 'no cosine' : `cosine ${hit.cosine.toFixed(3)} → ${score(hit.vector)} × ${hit.vectorWeight.toFixed(2)} = ${vector.toFixed(3)}`,
    hit.bm25 === null ? 'no BM25' : `BM25 ${hit.bm25.toFixed(2)} of ${hit.bound.toFixed(2)} → ${score(hit.keyword)} × ${hit.keywordWeight.toFixed(2)} = ${keyword.toFixed(3)}`,
  ];
  const reranked = about.reranked ? e?.rerank : null;
  const final = `${reranked ? `blend ${(vector + keyword).toFixed(3)} → reranked ` : '= '}${hit.score.toFixed(3)}`;
  const neighbours = h('div');
  const element = h('li', { class: 'hit', tabindex: '-1', 'data-chunk': hit.chunkId, 'data-file': hit.fileId, 'data-dataset': hit.datasetId },
    h('div', { class: 'title' }, h('span', { class: 'rank' }, about.rank), movement(about.rank, about.before, about.compares), h('a', { href: source(hit) }, hit.title || hit.fileName), h('span', { class: 'score', title: 'Score' }, hit.score.toFixed(3))),
    h('div', { class: 'path' }, [hit.title && hit.title !== hit.fileName ? hit.fileName : null, hit.page !== null ? `page ${hit.page}` : null, hit.headingPath.join(' › ') || null].filter(Boolean).join(' · ')),
    waterfall({ vector, keyword, final: hit.score, minScore: hit.minScore, text: `Score ${hit.score.toFixed(3)}: semantic ${vector.toFixed(3)}, keyword ${keyword.toFixed(3)}${hit.minScore > 0 ? `, threshold ${hit.minScore}` : ''}` }),
    h('div', { class: 'text', tabindex: '0', role: 'group', 'aria-label': `Text of hit ${about.rank}` }, hit.full ? told(hit.full.content, hit.full.highlights) : [hit.preview, h('small', null, ' …')]),
    h('p', { class: 'why' }, e ? e.sentence : h('small', null, `Semantic rank ${hit.vectorRank ?? '–'}, keyword rank ${hit.keywordRank ?? '–'}. Search again to load the full text.`)),
    h('details', null, h('summary', null, h('small', null, 'Score details')),
      h('p', { class: 'sum' }, parts[0], h('br'), parts[1], h('br'), final, reranked && ` (logit ${reranked.logit.toFixed(2)}, rank ${reranked.rankBefore} → ${reranked.rankAfter})`),
      e?.terms?.length > 0 && h('p', { class: 'sum' }, 'Matched terms: ', e.matchedTerms.join(', ') || 'none'),
      hit.full?.folded > 0 && h('p', { class: 'sum' }, `${hit.full.folded} near-duplicates folded into this hit.`)),
    hit.full?.expanded && h('details', null, h('summary', null, h('small', null, 'With neighbouring chunks')), h('div', { class: 'text' }, hit.full.expanded.text)),
    h('div', { class: 'row' },
      h('span', { role: 'group', 'aria-label': 'Label this hit' }, [['2', 'answer'], ['1', 'useful'], ['0', 'not relevant']].map(([grade, said]) => h('button', { type: 'button', class: 'small', 'aria-pressed': String(about.grade === Number(grade)), title: `Label: ${said} (key ${grade})`, onclick: () => about.label(Number(grade)) }, `${grade} ${said}`))),
      button('Neighbours', async () => {
        const around = await get(`/kb/v1/datasets/${hit.datasetId}/chunks/${encodeURIComponent(hit.chunkId)}/context?neighbours=1&characters=300`, about.signal);
        put(neighbours, h('div', { class: 'text' }, h('span', { class: 'quiet' }, around.source.before), h('strong', null, around.source.text), h('span', { class: 'quiet' }, around.source.after)));
      }, { class: 'small' })),
    neighbours);
  return element;
}
