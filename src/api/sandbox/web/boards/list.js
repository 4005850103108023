// @ts-check
// All boards of the reader, with their counts.

import { get } from '../lib/api.js';
import { h } from '../lib/dom.js';
import { badge, counted } from '../lib/format.js';
import { API, address } from './shared.js';

/** @param {import('../app.js').Context} context */
export async function boards({ signal }) {
  const { items, total } = await get(`${API}/boards`, signal);
  if (total === 0) {
    return h(
      'div',
      { class: 'notice' },
      h(
        'p',
        null,
        'No boards yet. A board runs on a gateway, which hosts its agents. Create a gateway with ',
        h('code', null, 'POST /api/v1/gateways'),
        ', then create a board with ',
        h('code', null, 'POST /api/v1/boards'),
        '.',
      ),
      h('p', null, h('a', { href: '/docs' }, 'API')),
    );
  }
  return [
    h('p', { class: 'quiet' }, counted(total, 'board')),
    h(
      'div',
      { class: 'cards' },
      items.map((/** @type {any} */ board) =>
        h(
          'article',
          { class: 'card' },
          h('h2', null, h('a', { href: address(board.id) }, board.name)),
          h('p', null, board.description),
          board.objective && h('p', null, h('strong', null, 'Goal: '), board.objective),
          h('p', { class: 'row' }, badge(board.board_type), board.goal_confirmed && badge('goal confirmed')),
        ),
      ),
    ),
  ];
}
