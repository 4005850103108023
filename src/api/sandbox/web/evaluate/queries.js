// @ts-check
// The queries of a set with their labels.

import { call } from '../lib/api.js';
import { button, table } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { counted } from '../lib/format.js';
import { lanesAddress, setPath } from './state.js';

/** How many labels of each grade a query has. @param {any} query */
function gradesOf({ labels }) {
  const grades = Object.values(labels).map(Number);
  if (!grades.some((g) => g > 0)) return 'no positive labels';
  return [2, 1, 0]
    .map((g) => {
      const n = grades.filter((x) => x === g).length;
      return n ? `${n} × grade ${g}; ` : '';
    })
    .join('');
}

/**
 * @param {any[]} queries
 * @param {import('./state.js').State} state
 * @param {() => Promise<void>} redraw called after a query was removed
 */
export function queryList(queries, state, redraw) {
  const row = (/** @type {any} */ q) => {
    const remove = async () => {
      await call('DELETE', `${setPath(state)}/queries/${q.id}`);
      await redraw();
    };
    return [
      h('a', { href: lanesAddress(state.dataset, q.text, [{}]) }, q.text),
      gradesOf(q),
      button('Remove', remove, { class: 'small plain', 'aria-label': `Remove ${q.text}` }),
    ];
  };
  const title = `${counted(queries.length, 'query', 'queries')} with their labels`;
  return h(
    'details',
    { open: queries.length <= 10 },
    h('summary', null, title),
    table('Queries', ['Query', 'Labels', ''], queries.slice(0, 500).map(row), 'No queries yet.'),
  );
}
