// @ts-check
// The log of access: who gave, changed or took rights, and who signed in.

import { get } from '../lib/api.js';
import { button, field, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago } from '../lib/format.js';

/** Actions in words. @type {Record<string, string>} */
const ACTIONS = {
  'key.created': 'created the key',
  'key.revoked': 'revoked the key',
  'agent.created': 'created the agent',
  'agent.activated': 'activated the agent',
  'agent.deactivated': 'deactivated the agent',
  'agent.token_replaced': 'replaced the token of the agent',
  'agent.removed': 'removed the agent',
  'member.added': 'added the member',
  'member.changed': 'changed the member',
  'member.removed': 'removed the member',
  'invite.created': 'invited',
  'invite.removed': 'withdrew the invitation of',
  'link.created': 'created a sign-in link for',
  'session.begun': 'signed in',
  'session.ended': 'signed out',
  'session.all_ended': 'ended all sessions',
  'module.changed': 'changed the module',
  'plan.changed': 'changed the plan',
  'quotas.changed': 'changed the quotas',
};

/** The quotas that differ. @param {[any, any]} change */
function quotas([before, after]) {
  const changed = Object.keys(after).filter((name) => before[name] !== after[name]);
  return changed.map((name) => `${name}: ${before[name] ?? 'no limit'} → ${after[name] ?? 'no limit'}`).join(', ');
}

/** The particulars of an entry in words. @param {any} detail */
function particulars(detail) {
  const said = Object.entries(detail)
    .filter(([name, value]) => name === 'datasets' || value !== null)
    .map(([name, value]) => {
      if (name === 'datasets') {
        return `datasets: ${value?.map((/** @type {any} */ one) => `${one.datasetId} (${one.role})`).join(', ') ?? 'all'}`;
      }
      if (name === 'quotas') return quotas(/** @type {[any, any]} */ (value));
      if (name === 'role' || name === 'status' || name === 'plan') {
        return Array.isArray(value) ? `${name}: ${value[0] ?? 'none'} → ${value[1] ?? 'none'}` : `${name}: ${value}`;
      }
      return `${name}: ${Array.isArray(value) ? value.join(', ') : String(value)}`;
    });
  return said.join('; ');
}

/** @param {any} entry */
function row(entry) {
  const actor = entry.actorName ?? (entry.actor === 'owner' ? 'Owner' : (entry.actor ?? 'System'));
  const own = entry.subject === entry.actor || entry.action === 'session.all_ended';
  const subject = own ? '' : (entry.subjectName ?? (entry.subject === 'owner' ? 'the owner' : entry.subject));
  const action = own && entry.action === 'member.added' ? 'became a member' : (ACTIONS[entry.action] ?? entry.action);
  const detail = particulars(entry.detail);
  return [ago(entry.createdOn), actor, action, subject, detail && h('small', null, detail)];
}

/** @param {import('../app.js').Context} context */
export async function page({ signal }) {
  const out = h('div');
  const more = h('p', { class: 'row' });
  const kind = h(
    'select',
    null,
    [
      ['', 'All events'],
      ['key.', 'Keys'],
      ['member.', 'Members'],
      ['invite.', 'Invitations'],
      ['agent.', 'Agents'],
      ['session.', 'Sign-ins'],
    ].map(([value, label]) => h('option', { value }, label)),
  );
  /** @type {any[]} */
  let entries = [];
  /** @type {string | undefined} */
  let cursor;
  const draw = () => {
    const shown = entries.filter((entry) => entry.action.startsWith(kind.value));
    put(out, table('Access log', ['When', 'Who', 'What', 'Target', 'Details'], shown.map(row), 'No entries.'));
    put(more, cursor ? button('Show older entries', load) : null);
  };
  const load = async () => {
    const from = cursor ? `&cursor=${encodeURIComponent(cursor)}` : '';
    const answer = await get(`/kb/v1/access-log?limit=200${from}`, signal);
    entries = [...entries, ...answer.data];
    cursor = answer.nextCursor;
    draw();
  };
  kind.addEventListener('change', draw);
  await load();
  return [
    h('div', { class: 'top' }, h('h1', null, 'Access log'), field('Show', kind)),
    h('p', { class: 'quiet' }, 'Sign-ins, and changes to keys, agents, members and invitations.'),
    out,
    more,
  ];
}
