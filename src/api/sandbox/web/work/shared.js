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
const KINDS = { in_progress: 'busy', assigned: 'busy', awaiting_approval: 'busy', on_track: 'good', at_risk: 'busy', missed: 'bad', blocked: 'bad', approved: 'good', rejected: 'bad' };

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
