// @ts-check
// Where the queries of a set come from: a CSV file with labels, the query history, document titles.

import { get, post } from '../lib/api.js';
import { field } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { counted } from '../lib/format.js';
import { dialog, toast } from '../lib/messages.js';
import { datasetPath, setPath } from './state.js';

/** @typedef {import('./state.js').State} State */

/** The set of queries made of titles. */
const KNOWN = 'generated from titles';

/** Asks for labels in CSV and adds them to the set; resolves to whether it has changed. @param {State} state */
export async function importLabels(state) {
  const csv = h('textarea', { rows: 8, placeholder: 'query,document,grade\nwhy do tides lag,tides.pdf,2' });
  const file = h('input', {
    type: 'file',
    accept: '.csv,text/csv',
    onchange: async () => {
      csv.value = await file.files[0].text();
    },
  });
  const hint =
    'CSV with the columns query, document (ID, external ID or file name) and grade (0 = not relevant, 1 = useful, 2 = answers the query).';
  const text = await dialog('Import labels', (close) => [
    h('p', null, hint),
    field('CSV file', file),
    field('Or paste CSV', csv),
    h('p', { class: 'row end' }, h('button', { type: 'button', class: 'primary', onclick: () => close(csv.value) }, 'Import')),
  ]);
  if (!text) return false;
  const { added, unknown } = await post(`${setPath(state)}/import`, { csv: text });
  const strange = unknown.length ? `; unknown: ${unknown.slice(0, 5).join(', ')}` : '';
  toast(`${counted(added, 'query', 'queries')} added${strange}.`, unknown.length ? 'bad' : 'good');
  return true;
}

/**
 * Asks for past queries and adds them to the set, without labels; resolves to whether it has changed.
 * @param {State} state
 * @param {AbortSignal} signal
 */
export async function addFromHistory(state, signal) {
  const asked = (await get(`${datasetPath(state.dataset)}/queries?limit=100`, signal)).data;
  const unique = [...new Map(asked.map((/** @type {any} */ a) => [a.query, a])).values()];
  const boxes = unique.map((a) => h('input', { type: 'checkbox', value: a.query }));
  const picks = () => boxes.filter((b) => b.checked).map((b) => b.value);
  const chosen = await dialog('Query history', (close) => [
    h('p', null, 'Queries are added without labels. Label their hits on the Search page.'),
    unique.map((a, i) => h('p', null, h('label', { class: 'check' }, boxes[i], a.query))),
    h('p', { class: 'row end' }, h('button', { type: 'button', class: 'primary', onclick: () => close(picks()) }, 'Add')),
  ]);
  if (!chosen?.length) return false;
  const queries = chosen.map((/** @type {string} */ text) => ({ text, labels: {} }));
  await post(`${setPath(state)}/queries`, { queries });
  return true;
}

/**
 * Generates queries from document titles, in a set of their own, which is then the one of the state: they are easier than what
 * people ask.
 * @param {State} state
 * @param {any[]} list the sets of the dataset
 */
export async function generateFromTitles(state, list) {
  const sets = `${datasetPath(state.dataset)}/query-sets`;
  const own = list.find((s) => s.name === KNOWN) ?? (await post(sets, { name: KNOWN }));
  state.set = own.id;
  const { added } = await post(`${setPath(state)}/synthetic`, { from: 'titles' });
  toast(`${counted(added, 'query', 'queries')} generated from unique document titles.`);
}
