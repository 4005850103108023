// @ts-check
// All agents with their state, as it changes.

import { calmly, get, stream } from '../lib/api.js';
import { table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { badge } from '../lib/format.js';
import { complain } from '../lib/messages.js';
import { API, address, when } from './shared.js';

/** @param {import('../app.js').Context} context */
export async function agents({ signal }) {
  const out = h('div');
  async function draw() {
    const [{ items }, { items: boards }] = await Promise.all([get(`${API}/agents`, signal), get(`${API}/boards`, signal)]);
    const names = new Map(boards.map((/** @type {any} */ b) => [b.id, b.name]));
    const rows = items.map((/** @type {any} */ a) => [
      a.name,
      a.is_gateway_main ? 'main agent' : a.is_board_lead ? 'lead' : (a.identity_profile?.role ?? 'worker'),
      a.board_id ? h('a', { href: address(a.board_id) }, names.get(a.board_id) ?? 'a board') : 'its gateway',
      badge(a.status),
      when(a.last_seen_at),
    ]);
    put(out, table('Agents', ['Name', 'Role', 'Works on', 'State', 'Last seen'], rows, 'No agents yet.'));
  }
  await draw();
  stream(
    `${API}/agents/stream`,
    'agent',
    signal,
    calmly(() => draw().catch(complain), 250),
  );
  return out;
}
