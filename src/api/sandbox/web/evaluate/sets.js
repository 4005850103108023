// @ts-check
// The query sets of a dataset: the choice of one, and the buttons that create, fill and delete them.

import { call, get, post } from '../lib/api.js';
import { button, field, form, select } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { counted } from '../lib/format.js';
import { complain, confirmed, dialog } from '../lib/messages.js';
import { addFromHistory, generateFromTitles, importLabels } from './sources.js';
import { datasetPath, setPath } from './state.js';

/** @typedef {import('./state.js').State} State */

/** The sets of a dataset. @param {string} dataset @param {AbortSignal} signal @returns {Promise<any[]>} */
export const querySets = async (dataset, signal) => (await get(`${datasetPath(dataset)}/query-sets`, signal)).data;

/** Asks for a name and creates a set; resolves to nothing if the dialog is closed. @param {string} dataset */
function create(dataset) {
  const name = h('input', { required: true });
  const work = () => post(`${datasetPath(dataset)}/query-sets`, { name: name.value });
  return dialog('New query set', (close) =>
    form(async () => close(await work()), field('Name', name), h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Create'))),
  );
}

/** The choice of a set. @param {any[]} list @param {State} state @param {() => Promise<void>} redraw */
function choice(list, state, redraw) {
  const options = list.map((s) => {
    const name = `${s.name} (${counted(s.queries, 'query', 'queries')})`;
    return /** @type {[string, string]} */ ([s.id, name]);
  });
  const choose = (/** @type {string} */ id) => {
    state.set = id;
    redraw().catch(complain);
  };
  return h('label', { class: 'check' }, h('span', { class: 'unseen' }, 'Query set'), select(options, state.set, choose));
}

/** Returns the view of a dataset without sets. @param {string} dataset */
function introduction(dataset) {
  return h(
    'p',
    { class: 'notice' },
    'No labelled queries yet. ',
    h('a', { href: `/sandbox/search?dataset=${dataset}` }, 'Search'),
    ' and label hits with the keys 2, 1 and 0, or create a query set here and import labels.',
  );
}

/**
 * @param {any[]} list the sets of the dataset
 * @param {State} state its set is changed in place
 * @param {() => Promise<void>} redraw shows the page again, with what was changed
 * @param {AbortSignal} signal
 * @returns {import('../lib/dom.js').Child}
 */
export function setBar(list, state, redraw, signal) {
  const add = async () => {
    const made = await create(state.dataset);
    if (!made) return;
    state.set = made.id;
    await redraw();
  };
  const bring = async () => {
    if (await importLabels(state)) await redraw();
  };
  const remember = async () => {
    if (await addFromHistory(state, signal)) await redraw();
  };
  const generate = async () => {
    await generateFromTitles(state, list);
    await redraw();
  };
  const remove = async () => {
    if (!(await confirmed('Delete the query set with its queries and runs?', 'Delete'))) return;
    await call('DELETE', setPath(state));
    state.set = '';
    await redraw();
  };
  const title = 'Create a query set from unique document titles, for use before labels exist';
  return [
    h(
      'div',
      { class: 'row' },
      list.length > 0 && choice(list, state, redraw),
      button('New set', add),
      state.set && button('Import', bring),
      state.set && button('From history', remember),
      button('Generate from titles', generate, { title }),
      state.set && button('Delete set', remove, { class: 'danger' }),
    ),
    list.length === 0 && introduction(state.dataset),
  ];
}
