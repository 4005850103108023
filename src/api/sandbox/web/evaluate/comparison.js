// @ts-check
// Two runs compared: the mean difference with its interval, and the queries that won and lost.

import { get } from '../lib/api.js';
import { table } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { count, counted } from '../lib/format.js';
import { datasetPath, lanesAddress } from './state.js';

/** The difference in one sentence. @param {any} found */
function verdict({ difference, queries }) {
  const { mean, low, high } = difference;
  const sure = low > 0 || high < 0;
  const gain = `${mean >= 0 ? '+' : ''}${mean.toFixed(3)} nDCG@10`;
  const interval = ` (95% confidence interval ${low.toFixed(3)} to ${high.toFixed(3)})`;
  const over = ` over ${counted(queries, 'query', 'queries')}: `;
  return h(
    'p',
    { class: `notice ${sure ? (mean > 0 ? 'good' : 'bad') : ''}` },
    h('strong', null, gain),
    interval,
    over,
    sure ? (mean > 0 ? 'better.' : 'worse.') : 'not statistically significant.',
  );
}

/**
 * @param {string} dataset
 * @param {string} a a run
 * @param {string} b the run that is compared with it
 * @param {AbortSignal} signal
 */
export async function comparison(dataset, a, b, signal) {
  const runs = `${datasetPath(dataset)}/runs`;
  const [found, first, second] = await Promise.all([
    get(`${runs}/${a}/compare?with=${b}`, signal),
    get(`${runs}/${a}`, signal),
    get(`${runs}/${b}`, signal),
  ]);
  const row = (/** @type {any} */ d) => {
    const href = lanesAddress(dataset, d.text, [first.configuration, second.configuration]);
    return [h('a', { href, title: 'Open both in lanes' }, d.text), d.before.toFixed(3), d.after.toFixed(3)];
  };
  const head = ['Query', first.name || 'From', second.name || 'To'];
  return [
    h('h2', null, `From “${first.name || 'Run'}” to “${second.name || 'Run'}”`),
    verdict(found),
    h(
      'div',
      { class: 'split' },
      h('div', null, h('h3', null, `${found.wins.length} won`), table('Won', head, found.wins.map(row), 'None.')),
      h('div', null, h('h3', null, `${found.losses.length} lost`), table('Lost', head, found.losses.map(row), 'None.')),
    ),
    h('p', { class: 'quiet' }, `${count(found.ties)} unchanged.`),
  ];
}
