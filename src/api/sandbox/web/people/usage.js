// @ts-check
// How much of its quotas a workspace uses.

import { get } from '../lib/api.js';
import { table } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { bytes, count } from '../lib/format.js';

/**
 * A quota.
 * @typedef {object} Kind
 * @property {string} name
 * @property {string} title
 * @property {string} unit of the number that is entered
 * @property {number} size of the unit
 */

/** @type {Kind[]} */
export const KINDS = [
  { name: 'documents', title: 'Documents', unit: '', size: 1 },
  { name: 'bytes', title: 'Size of files', unit: 'MB', size: 1 << 20 },
  { name: 'chunks', title: 'Chunks', unit: '', size: 1 },
  { name: 'tokens', title: 'Model tokens this month', unit: '', size: 1 },
  { name: 'requests', title: 'Requests per minute', unit: '', size: 1 },
];

/** A number as it is read. @param {Kind} kind @param {number | null | undefined} n */
export const told = ({ name }, n) => (n === null || n === undefined ? '–' : name === 'bytes' ? bytes(n) : count(n));

/** The share of a quota that is used. @param {Kind} kind @param {number} used @param {number} most */
function share(kind, used, most) {
  const percent = Math.round((100 * used) / Math.max(most, 1));
  const bar = { min: 0, max: 100, low: 75, high: 90, optimum: 0, value: percent };
  return h('span', null, h('meter', { ...bar, 'aria-label': `${kind.title}: ${percent} %` }), ` ${percent} %`);
}

/** @param {AbortSignal} signal */
export async function usage(signal) {
  const { usage: used, quotas } = await get('/kb/v1/usage', signal);
  return [
    h(
      'p',
      { class: 'quiet' },
      'Documents include records, and files inside archives and emails. The administrator of the server sets the quotas.',
    ),
    table(
      'Usage',
      ['', 'Used', 'Quota', 'Share'],
      KINDS.map((kind) => {
        const [now, most] = [used[kind.name], quotas[kind.name]];
        return [
          h('strong', null, kind.title),
          told(kind, now),
          most === null ? 'no limit' : told(kind, most),
          most !== null && now !== undefined && share(kind, now, most),
        ];
      }),
    ),
  ];
}
