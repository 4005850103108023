// @ts-check
// The text of a document with the chunks coloured.

import { h } from '../lib/dom.js';

/** @typedef {import('./state.js').Range} Range */
/** @typedef {import('../lib/dom.js').Child} Child */

/** Characters that the page shows at most, and those around a section that are shown with it. */
const MOST = 400000;
const MARGIN = 200;

/** The characters of a section. @param {any[]} parsed its chunks @param {import('./section.js').Section} section @param {number} length */
function boundsOf(parsed, { from, isLast }, length) {
  const start = Math.max(0, (parsed[0]?.start ?? 0) - (from > 0 ? MARGIN : Infinity));
  const end = isLast ? length : (parsed.at(-1)?.end ?? length) + MARGIN;
  return { start, end: Math.min(length, start + MOST, end) };
}

/** A part of the text, with the range that is looked at marked. @param {string[]} letters @param {Range} part @param {Range | null} at */
function marked(letters, { start, end }, at) {
  if (!at || at.end <= start || at.start >= end) return letters.slice(start, end).join('');
  const [a, b] = [Math.max(start, at.start), Math.min(end, at.end)];
  return [letters.slice(start, a).join(''), h('mark', null, letters.slice(a, b).join('')), letters.slice(b, end).join('')];
}

/** A chunk in the text. @param {any} chunk @param {Child} content @param {(chunk: string) => void} pick */
function span(chunk, content, pick) {
  return h(
    'span',
    {
      class: `span c${chunk.ordinal % 4}`,
      'data-chunk': chunk.id,
      title: `Chunk ${chunk.ordinal + 1}`,
      onclick: () => pick(chunk.id),
    },
    content,
  );
}

/**
 * @param {string[]} letters characters of the whole text
 * @param {import('./section.js').Section} section
 * @param {Range | null} at
 * @param {(chunk: string) => void} pick called when a chunk is clicked
 */
export function colouredText(letters, section, at, pick) {
  // Spans may overlap: each letter belongs to the last chunk that begins before it.
  const parsed = section.shown.filter((c) => c.origin !== 'added').sort((a, b) => a.start - b.start);
  const bounds = boundsOf(parsed, section, letters.length);
  const part = (/** @type {number} */ start, /** @type {number} */ end) => marked(letters, { start, end }, at);
  /** @type {Child[]} */
  const spans = [];
  let place = bounds.start;
  parsed.forEach((chunk, i) => {
    if (chunk.start > place) spans.push(part(place, Math.min(chunk.start, bounds.end)));
    const next = parsed[i + 1]?.start;
    const start = Math.max(chunk.start, place);
    const end = Math.min(chunk.end, next > chunk.start ? Math.max(next, start) : chunk.end, bounds.end);
    if (end > start) spans.push(span(chunk, part(start, end), pick));
    place = Math.max(place, end);
  });
  if (place < bounds.end) spans.push(part(place, bounds.end));
  return spans;
}
