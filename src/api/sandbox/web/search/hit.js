// @ts-check
// A hit as an element: title, score, explanation, text, labels and neighbours.

import { get } from '../lib/api.js';
import { button } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { originalLink } from '../lib/original.js';
import { passage } from '../lib/passage.js';
import { explanation } from './explanation.js';

/** @typedef {import('./ranking.js').Hit} Hit */

/** The grades of a label, with their names. */
const GRADES = [
  ['2', 'answer'],
  ['1', 'useful'],
  ['0', 'not relevant'],
];

/** The address of a hit in its document. @param {Hit} hit */
const addressOf = (hit) => `/sandbox/documents/${hit.datasetId}/${encodeURIComponent(hit.fileId)}?chunk=${encodeURIComponent(hit.chunkId)}`;

/** How a hit moved against lane A. @param {number} rank @param {number | null} before @param {boolean} compares */
function movement(rank, before, compares) {
  if (!compares) return null;
  if (before === null) return h('span', { class: 'move new', title: 'Not in the results of lane A' }, 'not in A');
  const by = before - rank;
  const title = `Rank ${before} in lane A`;
  if (by === 0) return h('span', { class: 'move', title }, '=');
  return h('span', { class: `move ${by > 0 ? 'up' : 'down'}`, title }, by > 0 ? `▲${by}` : `▼${-by}`);
}

/** The sentence of a text that has most of the marked words. @param {string} text @param {{start: number, end: number}[]} ranges */
function bestSentence(text, ranges) {
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

/** The text of a hit with its marked words, and its best sentence emphasised. @param {any} full @param {string} label */
function textOf(full, label) {
  const { content, highlights, lines } = full;
  return passage(content, { marks: highlights, strong: bestSentence(content, highlights), code: Boolean(lines) }, label);
}

/** File, page and headings. @param {Hit} hit */
function path(hit) {
  const file = hit.title && hit.title !== hit.fileName ? hit.fileName : null;
  const page = hit.page !== null ? `page ${hit.page}` : null;
  const headings = hit.headingPath.join(' › ') || null;
  const base = `/kb/v1/datasets/${hit.datasetId}/documents/${encodeURIComponent(hit.fileId)}`;
  const place = { fileName: hit.fileName, page: hit.pageNumber, text: hit.full?.content ?? hit.preview };
  const original = originalLink(base, place, 'original');
  const said = [file, page, headings].filter(Boolean).join(' · ');
  return h('div', { class: 'path' }, said, said && original && ' · ', original);
}

/** The buttons that label a hit. @param {number | undefined} now @param {(grade: number) => void} label */
function labelButtons(now, label) {
  const buttons = GRADES.map(([grade, meaning]) =>
    h(
      'button',
      {
        type: 'button',
        class: 'small',
        'aria-pressed': String(now === Number(grade)),
        title: `Label: ${meaning} (key ${grade})`,
        onclick: () => label(Number(grade)),
      },
      `${grade} ${meaning}`,
    ),
  );
  return h('span', { role: 'group', 'aria-label': 'Label this hit' }, buttons);
}

/** A button that shows the text around a hit, and the place for it. @param {Hit} hit @param {AbortSignal} signal */
function neighbours(hit, signal) {
  const place = h('div');
  const chunk = `/kb/v1/datasets/${hit.datasetId}/chunks/${encodeURIComponent(hit.chunkId)}`;
  const open = button(
    'Neighbours',
    async () => {
      const { source } = await get(`${chunk}/context?neighbours=1&characters=300`, signal);
      put(
        place,
        h(
          'div',
          { class: 'text' },
          h('span', { class: 'quiet' }, source.before),
          h('strong', null, source.text),
          h('span', { class: 'quiet' }, source.after),
        ),
      );
    },
    { class: 'small' },
  );
  return { open, place };
}

/**
 * @param {Hit} hit
 * @param {object} about
 * @param {number} about.rank
 * @param {number | null} about.before rank in lane A
 * @param {boolean} about.compares whether the lane is another than A
 * @param {boolean} about.reranked whether the order is that of the service, so that its reranking applies
 * @param {number | undefined} about.grade
 * @param {(grade: number) => void} about.label
 * @param {AbortSignal} about.signal
 */
export function hitElement(hit, { rank, before, compares, reranked, grade, label, signal }) {
  const { bar, sentence, details } = explanation(hit, reranked);
  const { open, place } = neighbours(hit, signal);
  const name = `Text of hit ${rank}`;
  const text = hit.full ? textOf(hit.full, name) : h('div', { class: 'text' }, hit.preview, h('small', null, ' …'));
  const data = { 'data-chunk': hit.chunkId, 'data-file': hit.fileId, 'data-dataset': hit.datasetId };
  return h(
    'li',
    { class: 'hit', tabindex: '-1', ...data },
    h(
      'div',
      { class: 'title' },
      h('span', { class: 'rank' }, rank),
      movement(rank, before, compares),
      h('a', { href: addressOf(hit) }, hit.title || hit.fileName),
      h('span', { class: 'score', title: 'Score' }, hit.score.toFixed(3)),
    ),
    path(hit),
    bar,
    text,
    sentence,
    details,
    hit.full?.expanded &&
      h(
        'details',
        null,
        h('summary', null, h('small', null, 'With neighbouring chunks')),
        passage(hit.full.expanded.text, { code: Boolean(hit.full.lines) }, `${name} with its neighbours`),
      ),
    h('div', { class: 'row' }, labelButtons(grade, label), open),
    place,
  );
}
