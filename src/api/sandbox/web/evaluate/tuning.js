// @ts-check
// The settings that a search for better ones has found: what they gain, the alpha curve, apply and undo.

import { call, post } from '../lib/api.js';
import { line } from '../lib/chart.js';
import { button } from '../lib/controls.js';
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

/**
 * @param {any} run a run that has tuned settings
 * @param {string} dataset
 * @param {() => void} applied called when the settings are the defaults of the dataset
 */
export function tuning(run, dataset, applied) {
  const t = run.tuning;
  const tested = `On the held-out half (${counted(t.testedOn, 'query', 'queries')})`;
  const moved = `nDCG@10 ${t.before.ndcg_at_10.toFixed(3)} → ${t.after.ndcg_at_10.toFixed(3)}`;
  const gain = `gain ${t.gain.mean.toFixed(3)} (${t.gain.low.toFixed(3)} to ${t.gain.high.toFixed(3)})`;
  const sure = t.gain.low > 0;
  const apply = async () => {
    await call('PUT', `${datasetPath(dataset)}/search-defaults`, t.defaults);
    toast('Applied as dataset defaults.');
    t.applied = true;
    applied();
  };
  const undo = async () => {
    const { defaults } = await post(`${datasetPath(dataset)}/search-defaults/undo`);
    toast(`Defaults restored: ${JSON.stringify(defaults)}`);
  };
  return h(
    'div',
    { class: 'card' },
    h('h3', null, 'Best settings found ', ago(run.createdOn)),
    h('p', null, h('code', null, JSON.stringify(t.defaults)), t.applied ? ' – applied as dataset defaults.' : ' – not applied.'),
    h('p', null, `${tested}: ${moved}, ${gain}${sure ? '.' : '; not statistically significant.'}`),
    t.alphaCurve.length > 1 && curve(t),
    h('div', { class: 'row' }, !t.applied && button('Apply', apply, { class: 'primary' }), button('Undo last change', undo)),
  );
}
