// @ts-check
// The settings that a search for better ones has found: what they gain, the alpha curve, apply and undo.

import { call, get, post } from '../lib/api.js';
import { line } from '../lib/chart.js';
import { button, table } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { ago, counted } from '../lib/format.js';
import { toast } from '../lib/messages.js';
import { datasetPath } from './state.js';

/** nDCG by alpha. @param {any} tuning */
function curve({ alphaCurve, tunedOn, defaults }) {
  const points = alphaCurve.map((/** @type {any} */ p) => {
    const label = `alpha ${p.alpha.toFixed(2)}: nDCG@10 ${p.ndcgAt10.toFixed(3)}`;
    return { x: p.alpha, y: p.ndcgAt10, label };
  });
  return line(points, {
    title: `nDCG@10 by alpha, on the ${tunedOn} tuning queries`,
    x: 'alpha',
    y: 'nDCG@10',
    mark: defaults.hybridAlpha,
  });
}

/** Settings in words. @type {Record<string, string>} */
const NAMES = {
  hybridAlpha: 'Semantic weight (alpha)',
  minScore: 'Threshold (minScore)',
  confidentFrom: 'Confidence threshold',
  fusion: 'Fusion',
  rerank: 'Rerank',
  candidates: 'Candidates per list',
  feedback: 'Pseudo-relevance feedback',
  mmr: 'Diversity (MMR)',
};

/** @param {any} value */
const shown = (value) =>
  value === undefined || value === null ? 'not set' : typeof value === 'number' ? String(+value.toFixed(3)) : String(value);

/** What would change, or has changed. @param {any} before @param {any} after */
function differences(before, after) {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const rows = names
    .filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]))
    .map((name) => [NAMES[name] ?? name, shown(before[name]), shown(after[name])]);
  return table('Settings', ['Setting', 'Current', 'Proposed'], rows, 'No better settings found.');
}

/** Who changed the defaults, when, why. @param {any[]} history */
const log = (history) =>
  h(
    'details',
    null,
    h('summary', null, counted(history.length, 'change')),
    table(
      'Changes to the search defaults',
      ['When', 'Who', 'Why', 'Settings'],
      history.map((v) => [
        ago(v.createdOn),
        v.changedByName ?? v.changedBy ?? 'Command line, or not recorded',
        v.reason,
        h('code', null, JSON.stringify(v.defaults)),
      ]),
      'None.',
    ),
  );

/**
 * @param {any} run a run that has tuned settings
 * @param {string} dataset
 * @param {() => void} applied called when the defaults of the dataset were changed
 * @param {AbortSignal} signal
 */
export async function tuning(run, dataset, applied, signal) {
  const t = run.tuning;
  const path = `${datasetPath(dataset)}/search-defaults`;
  const { defaults, history } = await get(path, signal);
  const tested = `On ${counted(t.testedOn, 'query', 'queries')} that were held out`;
  const moved = `nDCG@10 ${t.before.ndcg_at_10.toFixed(3)} → ${t.after.ndcg_at_10.toFixed(3)}`;
  const interval = `(95% confidence interval ${t.gain.low.toFixed(3)} to ${t.gain.high.toFixed(3)})`;
  const gain = `${t.gain.mean >= 0 ? '+' : ''}${t.gain.mean.toFixed(3)} ${interval}`;
  const sure = t.gain.low > 0;
  const apply = async () => {
    const reason = `tuned on ${counted(t.tunedOn, 'query', 'queries')}, applied manually; ${moved}, ${gain}`;
    await call('PUT', `${path}?reason=${encodeURIComponent(reason)}`, t.defaults);
    toast('Applied as search defaults.');
    t.applied = true;
    applied();
  };
  const undo = async () => {
    await post(`${path}/undo`);
    toast('Last change undone. The previous search defaults are active.');
    t.applied = false;
    applied();
  };
  return h(
    'div',
    { class: 'card' },
    h('h3', null, 'Best settings found ', ago(run.createdOn)),
    !t.applied && differences(defaults, t.defaults),
    h('p', null, `${tested}: ${moved}, ${gain}${sure ? '.' : ': the gain may be chance.'}`),
    t.applied && h('p', null, 'These settings were applied as search defaults.'),
    t.alphaCurve.length > 1 && curve(t),
    h(
      'div',
      { class: 'row' },
      !t.applied && button(sure ? 'Apply' : 'Apply anyway', apply, { class: sure ? 'primary' : '' }),
      history.length > 0 && button('Undo last change', undo),
    ),
    history.length > 0 && log(history),
  );
}
