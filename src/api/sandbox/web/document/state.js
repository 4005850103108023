// @ts-check
// The state of the document page: the document with its text, and what of it is looked at.

import { get, raw } from '../lib/api.js';

/** @typedef {{start: number, end: number}} Range positions in characters */

/**
 * Visible part of a document; changed in place.
 * @typedef {object} Place
 * @property {string | null} chosen the ID of a chunk
 * @property {Range | null} at a range of the text, marked
 * @property {number | null} beginning the first chunk to show, after paging; without it the page shows what surrounds `chosen` or `at`
 */

/**
 * A document: its properties, its text, and its paths in the API.
 * @typedef {object} Opened
 * @property {string} dataset
 * @property {string} base path of the document
 * @property {string} chunks path of the chunks of the dataset
 * @property {any} facts
 * @property {string} text empty before the document was read
 */

/** @param {string[]} path dataset and document @param {AbortSignal} signal @returns {Promise<Opened>} */
export async function openDocument(path, signal) {
  const [dataset, id] = path.map(encodeURIComponent);
  const base = `/kb/v1/datasets/${dataset}/documents/${id}`;
  const content = raw('GET', `${base}/text`, undefined, signal)
    .then((r) => r.text())
    .catch((error) => {
      // There is none before it was read.
      if (error.status !== 404) throw error;
      return '';
    });
  const [facts, text] = await Promise.all([get(base, signal), content]);
  return { dataset, base, chunks: `/kb/v1/datasets/${dataset}/chunks`, facts, text };
}

/** The place that a URL names. @param {URLSearchParams} query @returns {Place} */
export function readAddress(query) {
  const range = /^(\d+)-(\d+)$/.exec(query.get('at') ?? '');
  const at = range ? { start: Number(range[1]), end: Number(range[2]) } : null;
  return { chosen: query.get('chunk'), at, beginning: null };
}
