// @ts-check
// The runs of a query set as a table, which follows those that are not done yet. Two of them can be selected to compare.

import { call, get } from '../lib/api.js';
import { button, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge, duration, ms, score } from '../lib/format.js';
import { complain } from '../lib/messages.js';
import { datasetPath, setPath } from './state.js';

const HEAD = ['Select', 'Run', 'State', 'nDCG@10', 'Recall@10', 'MRR@10', 'Hit@1', 'Judged@10', 'p50', 'p95', 'When', ''];

const isActive = (/** @type {any} */ run) => ['queued', 'running'].includes(run.status);

/** How far a run is, and how long it still takes. @param {any} run */
function progressOf({ progress }) {
  if (!progress) return h('progress', { 'aria-label': 'Running' });
  const { queriesDone: done, queriesTotal: total, startedOn } = progress;
  const seconds = (Date.now() - Date.parse(startedOn)) / 1000;
  const left = done > 0 ? `, ${duration((seconds / done) * (total - done))} left` : '';
  return [
    h('progress', { 'aria-label': 'Running', max: total, value: done }),
    h('small', null, `${Math.round((100 * done) / total)} %${left}`),
  ];
}

/** State of a run, and why it failed. @param {any} run */
const stateOf = (run) => [badge(run.status), run.error && h('small', null, ` ${run.error}`), isActive(run) && progressOf(run)];

/**
 * @param {any} run
 * @param {boolean} isPicked
 * @param {(e: any) => void} choose called when the box of a run is changed
 * @param {() => Promise<void>} remove
 */
function row(run, isPicked, choose, remove) {
  const { measures: m, judgedAt10, p50Ms, p95Ms } = run.summary ?? {};
  const settings = JSON.stringify({ ...run.configuration, topK: undefined });
  return [
    run.summary &&
      !run.tuning &&
      h('input', {
        type: 'checkbox',
        checked: isPicked,
        'aria-label': `Select ${run.name} to compare`,
        onchange: choose,
        'data-run': run.id,
      }),
    [run.name || 'Run', run.configuration && h('div', null, h('small', { class: 'mono' }, settings))],
    stateOf(run),
    score(m?.ndcg_at_10),
    score(m?.recall_at_10),
    score(m?.mrr_at_10),
    score(m?.hit_at_1),
    judgedAt10 === undefined ? '–' : `${Math.round(100 * judgedAt10)}%`,
    run.summary ? ms(p50Ms) : '–',
    run.summary ? ms(p95Ms) : '–',
    ago(run.createdOn),
    button('Delete', remove, { class: 'small plain', 'aria-label': `Delete run ${run.name}` }),
  ];
}

/**
 * @param {import('./state.js').State} state
 * @param {(first: string, second: string) => Promise<void>} compare shows the difference of two runs
 * @param {(run: any) => Promise<void>} showTuning called with the newest run that has tuned settings
 * @param {AbortSignal} signal
 */
export function runList(state, compare, showTuning, signal) {
  const view = h('div');
  /** @type {string[]} */
  let picked = [];
  /** @type {any} */
  let timer = null;
  const stop = () => clearTimeout(timer);

  const compareButton = () => button('Compare selected', () => compare(picked[0], picked[1]), { disabled: picked.length !== 2 });
  const choosing = (/** @type {HTMLElement} */ both) => (/** @type {any} */ e) => {
    const id = e.target.dataset.run;
    picked = e.target.checked ? [...picked, id].slice(-2) : picked.filter((p) => p !== id);
    both.toggleAttribute('disabled', picked.length !== 2);
    for (const box of view.querySelectorAll('input[type=checkbox]')) box.checked = picked.includes(box.dataset.run);
  };
  const draw = async (/** @type {() => boolean} */ isLast = () => true) => {
    if (!state.set) {
      put(view);
      return;
    }
    const { set } = state;
    const list = (await get(`${setPath(state)}/runs`, signal)).data;
    if (!isLast() || set !== state.set) return;
    picked = picked.filter((id) => list.some((/** @type {any} */ r) => r.id === id));
    const both = compareButton();
    const choose = choosing(both);
    const rows = list.map((/** @type {any} */ run) =>
      row(run, picked.includes(run.id), choose, async () => {
        await call('DELETE', `${datasetPath(state.dataset)}/runs/${run.id}`);
        await draw();
      }),
    );
    put(view, table('Runs', HEAD, rows, 'No runs yet. Choose settings above and press Run.'), list.length > 1 && h('p', null, both));
    stop();
    if (list.some(isActive)) timer = setTimeout(() => !signal.aborted && draw().catch(complain), 1000);
    const tuned = list.find((/** @type {any} */ r) => r.tuning);
    if (tuned) await showTuning(tuned);
  };
  return { view, draw, stop };
}
