// @ts-check
// What agents and services have written: findings, folders, projects, sales, and the workspace's contacts, deals, tickets, content.

import { datasets as load, get, post } from '../lib/api.js';
import { button, latest, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, counted } from '../lib/format.js';
import { complain, dialog } from '../lib/messages.js';

/** Where each kind is listed; `words` tells whether the list can be searched. */
/** @type {Record<string, {title: string, path: string, words?: boolean, shelf?: string}>} */
const KINDS = {
  knowledge: { title: 'Findings and articles', path: '/protected/knowledge' },
  folders: { title: 'Data folders', path: '/protected/data/folders' },
  projects: { title: 'Projects', path: '/protected/projects' },
  plans: { title: 'Business plans', path: '/protected/business-plans' },
  campaigns: { title: 'Campaigns', path: '/protected/sales/campaigns' },
  tasks_of_agents: { title: 'Agent tasks', path: '/kb/v1/agent-tasks' },
  ...Object.fromEntries(
    [
      ['contacts', 'Contacts'],
      ['companies', 'Companies'],
      ['leads', 'Leads'],
      ['deals', 'Deals'],
      ['invoices', 'Invoices'],
      ['tasks', 'Tasks'],
      ['activities', 'Activities'],
      ['support/tickets', 'Tickets'],
      ['cms/entries', 'Content'],
      ['marketing/posts', 'Posts'],
      ['assets', 'Assets'],
    ].map(([path, title]) => [path, { title, path: `/v1/${path}`, words: true }]),
  ),
};

const NAMES = ['title', 'name', 'subject', 'summary', 'dataTitle', 'file_name', 'number'];
/** @param {any} record */
const named = (record) => String(NAMES.map((n) => record[n]).find(Boolean) ?? record.id ?? record._id ?? 'unnamed');
/** @param {any} record */
const identity = (record) => record.id ?? record._id ?? record.taskId;

/** A value of a record. @param {any} value */
const shown = (value) => (value !== null && typeof value === 'object' ? h('code', null, JSON.stringify(value)) : String(value ?? '–'));

/** The changes of a record as the audit has them, newest first. @param {any[]} entries */
const audit = (entries) =>
  table(
    'Changes',
    ['When', 'What', 'By', 'Fields'],
    entries.map((entry) => [
      ago(entry.createdOn),
      entry.action.replaceAll('_', ' '),
      entry.actor ?? 'Cairn',
      Object.entries(entry.changes).map(([name, change]) => [
        h(
          'div',
          null,
          `${name}: `,
          Array.isArray(change) && change.length === 2 ? [shown(change[0]), ' → ', shown(change[1])] : shown(change),
        ),
      ]),
    ]),
    'No changes are recorded.',
  );

/** @param {import('../app.js').Context} context */
export async function page({ query, signal, replace }) {
  let kind = KINDS[query.get('kind') ?? ''] ? /** @type {string} */ (query.get('kind')) : 'knowledge';
  const words = h('input', { type: 'search', placeholder: 'Filter records', 'aria-label': 'Filter records', value: query.get('q') ?? '' });
  const out = h('div');
  const datasets = await load(signal);

  /** A search of everything for what a record says. @param {any} record */
  const found = (record) => {
    const lane = JSON.stringify({ datasetIds: datasets.map((d) => d.id).slice(0, 20), syntax: 'plain' });
    return `/sandbox/search?${new URLSearchParams({ q: named(record).slice(0, 300), lane })}`;
  };

  const open = async (/** @type {any} */ record) => {
    const rows = h('div');
    const isFolder = kind === 'folders';
    await dialog(named(record), () => [
      h('p', null, h('a', { href: found(record), onclick: () => document.querySelector('dialog')?.close() }, 'Find in search')),
      h(
        'dl',
        { class: 'facts' },
        Object.entries(record)
          .filter(([, v]) => v !== null && v !== '')
          .map(([name, value]) => [h('dt', null, name), h('dd', null, shown(value))]),
      ),
      isFolder &&
        button('Rows', async () => {
          const answer = await post(`/protected/data/folders/${identity(record)}/query`, { limit: 100, count: true }, signal);
          const list = answer.data?.rows ?? answer.rows ?? answer.data ?? [];
          const names = [...new Set(list.flatMap((/** @type {any} */ r) => Object.keys(r.data ?? r)))].slice(0, 12);
          put(
            rows,
            table(
              'Rows',
              names,
              list.map((/** @type {any} */ r) => names.map((n) => shown((r.data ?? r)[n] ?? ''))),
              'No rows.',
            ),
          );
        }),
      button('Changes', async () => {
        const { data } = await get(`/kb/v1/audit?entityId=${encodeURIComponent(identity(record))}&limit=100`, signal);
        put(rows, audit(data));
      }),
      rows,
    ]);
  };
  const draw = latest(async (isLast, cursor = '', number = 1) => {
    const about = KINDS[kind];
    words.disabled = !about.words;
    replace(`/sandbox/records?${new URLSearchParams({ kind, ...(words.value && about.words && { q: words.value }) })}`);
    const asked = new URLSearchParams(
      kind === 'tasks_of_agents'
        ? {}
        : {
            limit: '50',
            ...(about.words && words.value && { query: words.value }),
            ...(cursor && { cursor }),
            ...(number > 1 && { page: String(number) }),
          },
    );
    const answer = await get(`${about.path}?${asked}`, signal);
    if (!isLast()) return;
    const inside = () => answer.data?.items ?? answer.items ?? Object.values(answer.data ?? {}).find(Array.isArray) ?? [];
    const list = Array.isArray(answer.data) ? answer.data : inside();
    const next = answer.next_cursor ?? answer.pagination?.nextCursor;
    const { pages = 1, total } = answer.pagination ?? {};
    const rows = list.map((/** @type {any} */ r) => [
      named(r),
      r.status ?? r.stage ?? '',
      ago(r.created_at ?? r.createdAt ?? r.createdOn),
      ago(r.updated_at ?? r.updatedAt ?? r.updatedOn),
      h(
        'div',
        { class: 'row' },
        button('Open', () => open(r), { class: 'small', 'aria-label': `Open ${named(r)}` }),
        h('a', { class: 'button small', href: found(r) }, 'Find in search'),
      ),
    ]);
    const pageOf = total === undefined ? '' : `, page ${number} of ${Math.max(pages, 1)}`;
    put(
      out,
      table(about.title, ['Name', 'State', 'Created', 'Updated', ''], rows, 'No records yet.'),
      h('p', { class: 'quiet' }, `${counted(total === undefined ? list.length : total, 'record')}${pageOf}`),
      next && button('Next page', () => draw(next)),
      number > 1 && button('Previous page', () => draw('', number - 1)),
      number < pages && button('Next page', () => draw('', number + 1)),
    );
  });
  await draw();
  const send = (/** @type {Event} */ e) => {
    e.preventDefault();
    draw().catch(complain);
  };
  const choice = select(
    Object.entries(KINDS).map(([name, k]) => [name, k.title]),
    kind,
    (v) => {
      kind = v;
      draw().catch(complain);
    },
  );
  const hint = 'Records written by agents and other services. Their text is searchable by callers with read access.';
  return [
    h(
      'div',
      { class: 'top' },
      h('h1', null, 'Records'),
      h(
        'form',
        { class: 'row', onsubmit: send },
        h('label', { class: 'check' }, h('span', { class: 'unseen' }, 'Kind'), choice),
        words,
        h('button', null, 'Filter'),
      ),
    ),
    h('p', { class: 'quiet' }, hint),
    out,
  ];
}
