// @ts-check
// Addresses of boards, and what several of their pages show.

import { call, get } from '../lib/api.js';
import { button } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { ago, badge } from '../lib/format.js';
import { toast } from '../lib/messages.js';

/** Where the operations are. */
export const API = '/api/v1';

/** Columns of a board. @type {[string, string][]} */
export const STATUSES = [
  ['inbox', 'Inbox'],
  ['in_progress', 'In progress'],
  ['review', 'Review'],
  ['done', 'Done'],
];

/** @param {string} board @param {string} [task] */
export const address = (board, task) => `/sandbox/boards/${board}${task ? `/tasks/${task}` : ''}`;

/** Times of boards are in UTC, without saying so. @param {string | null} time */
export const when = (time) => ago(time ? `${time}Z` : time);

/** Agents of a board, by id; nobody for those who may not see them. @param {AbortSignal} signal @param {string} [board] */
export async function agentsOf(signal, board) {
  const path = board ? `/boards/${board}/snapshot` : '/agents';
  const found = await get(`${API}${path}`, signal).catch((error) => {
    if (error.status === 403) return { items: [], agents: [] };
    throw error;
  });
  return found.agents ?? found.items;
}

/** A decision that an agent asks for, with the buttons that decide it. @param {any} approval @param {() => any} decided */
export function approvalCard(approval, decided) {
  const decide = (/** @type {string} */ status) => async () => {
    await call('PATCH', `${API}/boards/${approval.board_id}/approvals/${approval.id}`, { status });
    toast(`${approval.action_type}: ${status}.`);
    await decided();
  };
  const reason = approval.payload?.reason ?? approval.payload?.decision?.reason;
  return h(
    'article',
    { class: 'card', 'aria-label': `Approval of ${approval.action_type}` },
    h('h3', null, approval.action_type, ' ', badge(approval.status)),
    h('p', null, reason),
    h(
      'p',
      { class: 'quiet' },
      `${Math.round(approval.confidence)} % sure`,
      approval.task_titles.length > 0 && [
        ' · ',
        approval.task_titles.map((/** @type {string} */ title, /** @type {number} */ i) => [
          i > 0 && ', ',
          h('a', { href: address(approval.board_id, approval.task_ids[i]) }, title),
        ]),
      ],
      ' · ',
      when(approval.created_at),
    ),
    approval.status === 'pending' &&
      h(
        'p',
        { class: 'row' },
        button('Approve', decide('approved'), { class: 'primary', 'aria-label': `Approve ${approval.action_type}` }),
        button('Reject', decide('rejected'), { 'aria-label': `Reject ${approval.action_type}` }),
      ),
  );
}
