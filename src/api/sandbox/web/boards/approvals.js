// @ts-check
// The pending approvals of all boards of the reader.

import { calmly, get, stream } from '../lib/api.js';
import { h, put } from '../lib/dom.js';
import { complain } from '../lib/messages.js';
import { API, address, approvalCard } from './shared.js';

/** Boards that are followed as they change: browsers open few connections to one server. */
const FOLLOWED = 3;

/** @param {import('../app.js').Context} context */
export async function approvals({ signal }) {
  const out = h('div');
  const { items: boards } = await get(`${API}/boards`, signal);
  async function draw() {
    const lists = await Promise.all(boards.map((/** @type {any} */ b) => get(`${API}/boards/${b.id}/approvals?status=pending`, signal)));
    const waiting = boards.flatMap((/** @type {any} */ b, /** @type {number} */ i) =>
      lists[i].total > 0 ? [{ board: b, items: lists[i].items }] : [],
    );
    put(
      out,
      waiting.length === 0
        ? h('p', { class: 'quiet' }, 'No pending approvals.')
        : waiting.map((/** @type {any} */ { board, items }) => [
            h('h2', null, h('a', { href: address(board.id) }, board.name)),
            h(
              'div',
              { class: 'cards' },
              items.map((/** @type {any} */ a) => approvalCard(a, draw)),
            ),
          ]),
    );
  }
  await draw();
  const again = calmly(() => draw().catch(complain), 250);
  for (const board of boards.slice(0, FOLLOWED)) stream(`${API}/boards/${board.id}/approvals/stream`, 'approval', signal, again);
  return out;
}
