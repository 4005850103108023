// @ts-check
// Is the right passage found? Query sets with labels, runs of settings over them, their comparison, tuning. The parts of the
// page are in `evaluate/`.

import { comparison } from '../evaluate/comparison.js';
import { launchForm } from '../evaluate/launch.js';
import { queryList } from '../evaluate/queries.js';
import { runList } from '../evaluate/runs.js';
import { querySets, setBar } from '../evaluate/sets.js';
import { readAddress, setPath, writeAddress } from '../evaluate/state.js';
import { tuning } from '../evaluate/tuning.js';
import { datasets as load, get } from '../lib/api.js';
import { latest, select } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { complain, failure } from '../lib/messages.js';

/** @param {import('../app.js').Context} context */
export async function page({ query, signal, replace }) {
  const datasets = await load(signal);
  if (datasets.length === 0) {
    const create = h('a', { href: '/sandbox' }, 'Create one.');
    return [h('h1', null, 'Evaluation'), h('p', { class: 'notice' }, 'No datasets yet. ', create)];
  }
  const state = readAddress(query, datasets);
  const sets = h('div');
  const queries = h('div');
  const compared = h('div', { role: 'status' });
  const tuned = h('div', { role: 'status' });
  const remember = () => {
    replace(writeAddress(state));
    localStorage.setItem('cairn.dataset', state.dataset);
  };

  const compare = async (/** @type {string} */ a, /** @type {string} */ b) => {
    put(compared, await comparison(state.dataset, a, b, signal));
    compared.scrollIntoView({ behavior: 'smooth', block: 'nearest' });
  };
  const showTuning = async (/** @type {any} */ run) => {
    const again = () => showTuning(run).catch(complain);
    const { dataset } = state;
    const card = await tuning(run, dataset, again, signal);
    if (dataset === state.dataset) put(tuned, card);
  };
  const runs = runList(state, compare, showTuning, signal);

  const drawSets = async (/** @type {() => boolean} */ isLast) => {
    const list = await querySets(state.dataset, signal);
    if (!isLast()) return;
    if (!list.some((s) => s.id === state.set)) state.set = list[0]?.id ?? '';
    put(sets, setBar(list, state, redraw, signal));
  };
  const drawQueries = async (/** @type {() => boolean} */ isLast) => {
    if (!state.set) {
      put(queries);
      return;
    }
    const detail = await get(setPath(state), signal);
    if (isLast()) put(queries, queryList(detail.data, state, redraw));
  };
  /** @type {() => Promise<void>} */
  const redraw = latest(async (isLast) => {
    runs.stop();
    remember();
    put(compared);
    put(tuned);
    try {
      await drawSets(isLast);
      if (!isLast()) return;
      remember();
      await Promise.all([drawQueries(isLast), runs.draw(isLast)]);
    } catch (error) {
      if (isLast()) put(sets, failure(error));
    }
  });

  const choice = select(
    datasets.map((d) => [d.id, d.name]),
    state.dataset,
    (id) => {
      Object.assign(state, { dataset: id, set: '' });
      redraw().catch(complain);
    },
  );
  const launch = launchForm(state, query.get('settings') ?? '{}', runs.draw, signal);
  await redraw();
  return [
    h('div', { class: 'top' }, h('h1', null, 'Evaluation'), h('label', { class: 'check' }, 'Dataset ', choice)),
    h('h2', null, 'Query set'),
    sets,
    queries,
    h('h2', null, 'Run evaluation'),
    launch,
    tuned,
    h('h2', null, 'Runs'),
    runs.view,
    compared,
  ];
}
