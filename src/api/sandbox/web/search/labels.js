// @ts-check
// Labels of hits, stored in a query set of the dataset.

import { get, post } from '../lib/api.js';
import { h } from '../lib/dom.js';
import { complain, toast } from '../lib/messages.js';

/** @typedef {import('./ranking.js').Hit} Hit */

/** A label is for a hit of a query. @param {string} query @param {Hit} hit */
const keyOf = (query, hit) => JSON.stringify([query, hit.fileId, hit.chunkId]);

/** The query sets of a dataset. @param {string} dataset */
const setsOf = (dataset) => `/kb/v1/datasets/${dataset}/query-sets`;

/**
 * The labels that a set of a dataset has for a query.
 * @param {string} dataset
 * @param {string} set
 * @param {string} query
 * @param {AbortSignal} signal
 * @returns {Promise<[string, number][]>} what is labelled, and its grade
 */
async function stored(dataset, set, query, signal) {
  const base = setsOf(dataset);
  const sets = (await get(base, signal)).data;
  const own = sets.find((/** @type {any} */ s) => s.name === set);
  if (!own) return [];
  const detail = await get(`${base}/${own.id}`, signal);
  const found = detail.data.find((/** @type {any} */ q) => q.text === query);
  return Object.entries(found?.labels ?? {}).map(([what, grade]) => [what, Number(grade)]);
}

/** Whether a label is for a hit. It names a file, or a file and a range: `file@from-to`. @param {string} what @param {Hit} hit */
function covers(what, hit) {
  const [file, span] = what.split('@');
  const [from, to] = (span ?? '').split('-').map(Number);
  return hit.fileId === file && (!span || (hit.start >= from && hit.start < to));
}

/**
 * Adds a label to the set of a name, which is created if it does not exist.
 * @param {string} set
 * @param {string} query
 * @param {Hit} hit
 * @param {number} grade
 * @param {AbortSignal} signal
 */
async function store(set, query, hit, grade, signal) {
  const base = setsOf(hit.datasetId);
  const sets = (await get(base, signal)).data;
  const own = sets.find((/** @type {any} */ s) => s.name === set) ?? (await post(base, { name: set }, signal));
  await post(`${base}/${own.id}/queries`, { queries: [{ text: query, labels: { [hit.chunkId]: grade } }] }, signal);
}

/**
 * The labels of the hits on the page.
 * @param {AbortSignal} signal
 * @param {() => void} changed called when there are other labels to show
 */
export function labelling(signal, changed) {
  /** @type {Map<string, number>} */
  const grades = new Map();
  let set = localStorage.getItem('cairn.labels') || 'sandbox';
  // One after the other, so that a set is not created twice.
  let storing = Promise.resolve();

  const rename = (/** @type {any} */ e) => {
    set = e.target.value.trim() || 'sandbox';
    localStorage.setItem('cairn.labels', set);
  };
  return {
    setInput: h('input', { value: set, 'aria-label': 'Query set for labels', size: 14, onchange: rename }),
    clear: () => grades.clear(),
    /** @param {{asked: string}} lane @param {Hit} hit */
    gradeOf: (lane, hit) => grades.get(keyOf(lane.asked, hit)),

    /** Labels a hit for the query that its lane has answered. @param {{asked: string}} lane @param {Hit} hit @param {number} grade */
    label(lane, hit, grade) {
      const query = lane.asked;
      storing = storing
        .then(async () => {
          await store(set, query, hit, grade, signal);
          if (lane.asked !== query) return;
          grades.set(keyOf(query, hit), grade);
          changed();
          toast(`Labelled ${grade} in query set “${set}”.`);
        })
        .catch(complain);
    },

    /**
     * Loads the labels that the set has for a query already. They are dropped if they come after a newer search has begun.
     * @param {string} query
     * @param {Hit[]} hits
     * @param {() => boolean} isLast
     */
    async load(query, hits, isLast) {
      for (const dataset of new Set(hits.map((hit) => hit.datasetId))) {
        const labels = await stored(dataset, set, query, signal);
        if (!isLast()) return;
        for (const [what, grade] of labels) {
          for (const hit of hits) if (covers(what, hit)) grades.set(keyOf(query, hit), grade);
        }
      }
      if (grades.size) changed();
    },
  };
}
