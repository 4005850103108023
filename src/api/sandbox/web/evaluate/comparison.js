// @ts-check
// Two runs compared: the mean difference with its interval, and the queries that won and lost.

import { get } from '../lib/api.js';
import { table } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { count, counted } from '../lib/format.js';
import { datasetPath, lanesAddress } from './state.js';

/** Share of the top ten hits that must be judged before one run is called better than another. */
const JUDGED = 0.8;

/**
 * The difference in one sentence. A run whose hits are hardly judged is not called better or worse: what nobody has judged counts as wrong.
 * @param {any} found
 * @param {any[]} runs both
 */
function verdict({ difference, queries }, runs) {
  const { mean, low, high } = difference;
  const judged = Math.min(...runs.map((run) => run.summary?.judgedAt10 ?? Number.NaN));
  const isSignificant = low > 0 || high < 0;
  const sure = judged >= JUDGED && isSignificant;
  const gain = `${mean >= 0 ? '+' : ''}${mean.toFixed(3)} nDCG@10`;
  const interval = ` (95% confidence interval ${low.toFixed(3)} to ${high.toFixed(3)})`;
  const over = ` over ${counted(queries, 'query', 'queries')}: `;
  const said = () => {
    if (!isSignificant) return 'not statistically significant.';
    if (sure) return mean > 0 ? 'better.' : 'worse.';
    const few = `only ${Math.round(100 * judged)} % of the top ten hits are judged, and the others count as wrong`;
    const share = Number.isNaN(judged) ? 'how many of the top ten hits are judged was not recorded' : few;
    const [direction, word] = mean > 0 ? ['higher', 'better'] : ['lower', 'worse'];
    return `significantly ${direction}, but ${share}. Label more of them before you call it ${word}.`;
  };
  const kind = sure ? (mean > 0 ? 'good' : 'bad') : '';
  return h('p', { class: `notice ${kind}` }, h('strong', null, gain), interval, over, said());
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
    verdict(found, [first, second]),
    h(
      'div',
      { class: 'split' },
      h('div', null, h('h3', null, `${found.wins.length} won`), table('Won', head, found.wins.map(row), 'None.')),
      h('div', null, h('h3', null, `${found.losses.length} lost`), table('Lost', head, found.losses.map(row), 'None.')),
    ),
    h('p', { class: 'quiet' }, `${count(found.ties)} unchanged.`),
  ];
}
