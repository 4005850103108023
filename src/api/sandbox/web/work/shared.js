// @ts-check
// Addresses of the work of a team, and what several of its pages show.

import { h } from '../lib/dom.js';
import { ago, badge } from '../lib/format.js';

/** Where the operations are. */
export const API = '/dashboard/v1';

/** @param {'campaigns' | 'activities'} kind @param {string} id */
export const address = (kind, id) => `/sandbox/work/${kind}/${id}`;

/** @param {number} amount */
export const usd = (amount) => `$${amount.toFixed(amount !== 0 && Math.abs(amount) < 1 ? 4 : 2)}`;

/** A word of the API as people read it. @param {string} word */
export const plain = (word) => word.replaceAll('_', ' ');

/** Statuses that mean that something happens, or that somebody has to do something. @type {Record<string, string>} */
const KINDS = {
  in_progress: 'busy',
  assigned: 'busy',
  awaiting_approval: 'busy',
  on_track: 'good',
  at_risk: 'busy',
  missed: 'bad',
  blocked: 'bad',
  approved: 'good',
  rejected: 'bad',
};

/** @param {string} status */
export const state = (status) => (KINDS[status] ? h('span', { class: `badge ${KINDS[status]}` }, plain(status)) : badge(plain(status)));

/** Columns of a list of activities. */
export const HEAD = ['Activity', 'Status', 'Agent', 'Cost', 'Created'];

/** A row of a list of activities. @param {any} activity */
export const row = (activity) => [
  h('a', { href: address('activities', activity.id) }, activity.title),
  [state(activity.status), activity.blockedReason && h('div', { class: 'quiet' }, plain(activity.blockedReason))],
  activity.assigneeName,
  usd(activity.costUsd),
  ago(activity.createdOn),
];

/** Where a citation leads. @param {string} citation */
export function place(citation) {
  const found = /^kb:\/\/([^/]+)\/([^@]+)@[^#]*#(?:(.+):)?(\d+-\d+)$/.exec(citation);
  if (!found) return null;
  const [, dataset, document, chunk, range] = found;
  const query = new URLSearchParams({ ...(chunk && { chunk }), at: range });
  return `/sandbox/documents/${encodeURIComponent(dataset)}/${encodeURIComponent(document)}?${query}`;
}

/** A text whose citations are links. @param {string} text */
export const cited = (text) =>
  text.split(/(kb:\/\/[^\s\])"]+)/).map((part) => {
    const href = part.startsWith('kb://') && place(part);
    return href ? h('a', { href, title: part }, 'source') : part;
  });
