// @ts-check
// The answer of a lane: notices, confidence, timings, facets, hits and query terms.

import { timeline } from '../lib/chart.js';
import { button, table } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { count, counted, ms } from '../lib/format.js';
import { failure } from '../lib/messages.js';
import { hitElement } from './hit.js';
import { nameOf } from './state.js';

/** @typedef {import('./state.js').Lane} Lane */
/** @typedef {import('./ranking.js').Hit} Hit */

/**
 * Functions of the page that an answer calls.
 * @typedef {object} Page
 * @property {Lane[]} lanes
 * @property {boolean} grouped whether hits are grouped by document
 * @property {AbortSignal} signal
 * @property {() => Promise<void>} ask searches in all lanes
 * @property {(query: string) => Promise<void>} askFor searches for another query
 * @property {() => Promise<void>} restart shows the changed settings and searches
 * @property {(lane: Lane, hit: Hit) => number | undefined} gradeOf the label of a hit for the query that its lane has answered
 * @property {(lane: Lane, hit: Hit, grade: number) => void} label
 */

/** Returns notes about an answer. @param {Lane} lane @param {Page} page */
function notices({ answer, slid }, { ask, askFor }) {
  const preview = 'Preview: scores were recalculated in the browser. Reranking, diversity and folding apply on the next search. ';
  const missing = (answer.degraded ?? []).map((/** @type {string} */ d) =>
    d === 'vectors' ? 'vector search is unavailable, keyword results only' : d,
  );
  const incomplete = `Incomplete results: ${missing.join('; ')}. Scores and order may change when you search again.`;
  const plain = 'No results without the excluded terms. The query was searched as plain text instead.';
  const { didYouMean } = answer;
  return [
    slid && h('p', { class: 'notice' }, preview, button('Search', ask, { class: 'small' })),
    didYouMean &&
      h(
        'p',
        null,
        'Did you mean ',
        button(didYouMean, () => askFor(didYouMean), { class: 'plain' }),
        '?',
      ),
    answer.degraded && h('p', { class: 'notice bad' }, incomplete),
    answer.readAsPlain && h('p', { class: 'notice' }, plain),
  ];
}

/** Whether the best hit can be trusted. @param {Lane} lane */
function trust({ settings, answer, hits }) {
  const { fusion, hybridAlpha } = settings;
  if (fusion) {
    const text = 'With this fusion method, scores cannot be compared across queries and do not indicate confidence.';
    return h('p', { class: 'notice' }, text);
  }
  if (hits.length === 0) return h('p', { class: 'notice bad' }, 'Not confident: no hit reaches the threshold.');
  const best = hits[0].score;
  const { threshold, calibrated } = answer.confidence;
  const line = `${threshold.toFixed(2)}${calibrated ? '' : ' (general default)'}`;
  const scores = `${best.toFixed(3)}; confidence threshold ${line}`;
  // The general threshold was measured with both sides in the blend.
  const isOneSided = !calibrated && hybridAlpha !== undefined && (hybridAlpha > 0.9 || hybridAlpha < 0.1);
  if (isOneSided) {
    const text = `Best score ${scores}. The general threshold is not meaningful when alpha is close to 0 or 1.`;
    return h('p', { class: 'notice ' }, text);
  }
  if (best >= threshold) return h('p', { class: 'notice good' }, `Confident: best score ${scores}.`);
  return h('p', { class: 'notice bad' }, `Not confident: best score ${scores}.`);
}

/** The stages of a search with their times. @param {any} timings */
const stagesOf = (timings) =>
  timings
    ? [
        { name: 'embed', ms: timings.embedMs },
        { name: 'retrieve', ms: timings.retrieveMs },
        { name: 'rerank', ms: timings.rerankMs },
        { name: 'assemble', ms: timings.assembleMs },
      ]
    : [];

/** Times and counts in one line. @param {Lane} lane @param {{name: string, ms: number}[]} stages */
function summary({ answer, settings }, stages) {
  const { totals, reranking } = answer;
  const times = answer.cached ? `Cached, ${ms(answer.searchMs)}` : stages.map((s) => `${s.name} ${ms(s.ms)}`).join(' · ');
  const above = settings.minScore ? 'above the threshold ' : '';
  const matching = `${count(totals.matching)} ${above}in ${counted(totals.documents, 'document')}`;
  const found = ` · ${counted(answer.candidates, 'candidate')}, ${matching}`;
  const reranked =
    reranking?.outcome === 'reranked' ? `reranked ${reranking.candidates} with ${reranking.model}` : `reranking: ${reranking?.outcome}`;
  return h('p', { class: 'quiet' }, h('small', null, times, found, reranking && ` · ${reranked}`));
}

/** The alpha of a lane, and why it is that. @param {Lane} lane */
function alpha({ settings, pool, slid }) {
  const reasons = new Set(pool.datasets.map((/** @type {any} */ d) => d.alphaReason));
  const used = slid ? (settings.hybridAlpha ?? pool.datasets[0].usualAlpha).toFixed(2) : [...reasons].join('; ');
  return h('p', { class: 'quiet' }, h('small', null, 'Alpha ', used, pool.truncated && ' · candidate list truncated'));
}

/** Restricts a lane to a value of a facet. @param {Lane} lane @param {string} field @param {any} value */
function narrow({ settings }, field, value) {
  const own = value === null ? { field, op: 'exists', value: false } : { field, op: 'eq', value };
  settings.filter = settings.filter ? { and: [settings.filter, own] } : own;
}

/** The facets of an answer; their buttons restrict the lane. @param {Lane} lane @param {() => Promise<void>} restart */
function facets(lane, restart) {
  return (lane.answer.facets ?? []).map((/** @type {any} */ facet) => {
    const buttons = facet.values.slice(0, 12).map((/** @type {any} */ v) =>
      button(
        `${v.value ?? 'none'} (${v.chunks})`,
        () => {
          narrow(lane, facet.field, v.value);
          return restart();
        },
        { class: 'small' },
      ),
    );
    const label = `Facet ${facet.field}`;
    return h('div', { class: 'chips', role: 'group', 'aria-label': label }, h('small', null, facet.field), buttons);
  });
}

/** The hits of a lane, in one list or one per document. @param {Lane} lane @param {Page} page */
function hitList(lane, { lanes, grouped, signal, gradeOf, label }) {
  if (lane.hits.length === 0) return h('p', null, 'No hits.');
  const [first] = lanes;
  const ranks = new Map(first.hits.map((hit, i) => [hit.chunkId, i + 1]));
  const items = lane.hits.map((hit, i) => ({
    hit,
    element: hitElement(hit, {
      rank: i + 1,
      before: ranks.get(hit.chunkId) ?? null,
      compares: lane !== first,
      reranked: !lane.slid,
      grade: gradeOf(lane, hit),
      label: (grade) => label(lane, hit, grade),
      signal,
    }),
  }));
  if (!grouped) {
    const title = `Hits of lane ${nameOf(lanes, lane)}`;
    return h(
      'ol',
      { class: 'hits', 'aria-label': title },
      items.map((i) => i.element),
    );
  }
  /** @type {Map<string, typeof items>} */
  const groups = new Map();
  for (const item of items) groups.set(item.hit.fileId, [...(groups.get(item.hit.fileId) ?? []), item]);
  return [...groups.values()].map((group) => {
    const [{ hit }] = group;
    const title = `${hit.title || hit.fileName} · ${counted(group.length, 'hit')}`;
    return h(
      'section',
      null,
      h('h3', null, title),
      h(
        'ol',
        { class: 'hits' },
        group.map((i) => i.element),
      ),
    );
  });
}

/** The terms of the query with their statistics. @param {any[]} terms */
function termTable(terms) {
  const rows = terms.map((term) => {
    const variants = term.forms.map((/** @type {any} */ f) => `${f.term.split(':').pop()} (${f.kind}, ${count(f.df)})`);
    return [term.term, count(term.df), term.idf.toFixed(2), variants.join(', ')];
  });
  const list = table('Query terms', ['Term', 'Chunks (df)', 'IDF', 'Variants'], rows);
  return h('details', null, h('summary', null, 'Query terms'), list);
}

/** How long the search took, and what it looked at. @param {Lane} lane @param {{name: string, ms: number}[]} stages */
function footer(lane, stages) {
  const { answer } = lane;
  const took = answer.cached ? answer.searchMs : stages.reduce((sum, stage) => sum + stage.ms, 0);
  const toggle = () => {
    lane.timed = !lane.timed;
  };
  return h(
    'details',
    { class: 'timings', open: lane.timed },
    h('summary', { onclick: toggle }, `${ms(took)}${answer.cached ? ', cached' : ''}`),
    stages.length > 0 && !answer.cached && timeline(stages),
    summary(lane, stages),
    lane.pool && alpha(lane),
  );
}

/** @param {Lane} lane @param {Page} page @returns {import('../lib/dom.js').Child} */
export function answerOf(lane, page) {
  const { answer } = lane;
  if (lane.error) return failure(lane.error);
  if (!answer) {
    const text = lane.settings.datasetIds.length === 0 ? 'Select a dataset.' : 'No search yet.';
    return h('p', { class: 'quiet' }, text);
  }
  const stages = stagesOf(answer.timings);
  const terms = answer.results[0]?.explain?.terms ?? [];
  return [
    notices(lane, page),
    !answer.degraded && trust(lane),
    facets(lane, page.restart),
    hitList(lane, page),
    footer(lane, stages),
    terms.length > 0 && termTable(terms),
  ];
}
