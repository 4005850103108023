// @ts-check
// The section of a long document that the page shows, and paging through the others.

import { button } from '../lib/controls.js';
import { counted } from '../lib/format.js';

/** Chunks that a section holds at most. */
const MOST = 400;

/**
 * @typedef {object} Section
 * @property {any[]} shown chunks
 * @property {number} from position of the first one
 * @property {boolean} isLast whether the document ends with this section
 */

/**
 * The section of a place; without one the beginning.
 * @param {any[]} chunks of the whole document
 * @param {import('./state.js').Place} place
 * @returns {Section}
 */
export function sectionOf(chunks, { chosen, at, beginning }) {
  const isWanted = (/** @type {any} */ c) => (chosen ? c.id === chosen : at && c.start <= at.start && c.end > at.start);
  const middle = Math.max(0, chunks.findIndex(isWanted));
  const from = Math.max(0, Math.min(beginning ?? middle - MOST / 2, chunks.length - MOST));
  const shown = chunks.slice(from, from + MOST);
  return { shown, from, isLast: from + shown.length >= chunks.length };
}

/**
 * How many chunks there are, and buttons to the other sections.
 * @param {number} total
 * @param {Section} section
 * @param {(to: number) => void} turn
 */
export function pager(total, { shown, from, isLast }, turn) {
  return [
    counted(total, 'chunk'),
    shown.length < total && [
      `, showing ${from + 1} to ${from + shown.length} `,
      from > 0 && button('Previous', () => turn(from - MOST), { class: 'small' }),
      ' ',
      !isLast && button('Next', () => turn(from + MOST), { class: 'small' }),
    ],
  ];
}
