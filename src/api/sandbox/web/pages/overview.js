// @ts-check
// What there is, and what goes on at this moment.

import { calmly, datasets, events, get, post, raw } from '../lib/api.js';
import { button, field, form, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge, bytes, counted } from '../lib/format.js';
import { icon } from '../lib/icon.js';
import { complain, dialog } from '../lib/messages.js';
import { firstVisit } from './first_visit.js';

/** A dataset with its counts. @param {any} set */
const card = (set) =>
  h(
    'section',
    { class: 'card' },
    h('h2', null, h('a', { href: `/sandbox/datasets/${set.id}` }, set.name), ' ', badge(set.status)),
    set.description && h('p', { class: 'quiet' }, set.description),
    h(
      'p',
      null,
      counted(set.totalFiles, 'document'),
      ' · ',
      counted(set.totalChunks, 'chunk'),
      ' · ',
      bytes(set.sizeBytes),
      set.filesFailed > 0 && [' · ', h('span', { class: 'badge bad' }, `${set.filesFailed} failed`)],
      h('br'),
      h('small', null, set.embeddingModel, set.changedOn ? [' · updated ', ago(set.changedOn)] : ' · empty'),
    ),
    h(
      'p',
      { class: 'row' },
      h('a', { class: 'button', href: `/sandbox/search?dataset=${set.id}` }, 'Search'),
      h('a', { class: 'button', href: `/sandbox/datasets/${set.id}` }, 'Files'),
    ),
  );

/** @param {import('../app.js').Context} context */
export async function page({ session, signal, go }) {
  const list = h('div', { class: 'cards' });
  const others = h('details', { class: 'managed' });
  const first = h('div');
  const running = h('div');
  const state = h('p', { class: 'quiet' });

  const draw = async () => {
    const [sets, settings] = await Promise.all([datasets(signal, true), get('/kb/v1/settings', signal)]);
    const model = `${settings.embeddingModel} (${settings.vectorSize} dimensions)`;
    put(state, `Cairn ${settings.version} · ${model} · ${settings.database}, ${settings.vectorStore} vectors`);
    // Those with the texts of records are maintained by Cairn; their ids name the area.
    const [own, managed] = [sets.filter((set) => !set.id.includes('~')), sets.filter((set) => set.id.includes('~'))];
    put(list, own.map(card));
    put(
      others,
      managed.length > 0 && [
        h('summary', null, `${counted(managed.length, 'dataset')} with texts of records`),
        h('div', { class: 'cards' }, managed.map(card)),
      ],
    );
    others.hidden = managed.length === 0;
    put(first, own.length === 0 && firstVisit(create, go, signal));
  };

  const jobs = async () => {
    if (session.datasetIds) {
      put(running, h('p', { class: 'quiet' }, 'Jobs are not available to keys restricted to datasets.'));
      return;
    }
    const lists = ['running', 'queued'].map((status) => get(`/kb/v1/jobs?status=${status}&limit=20`, signal));
    const open = (await Promise.all(lists)).flatMap((p) => p.data);
    const rows = open.slice(0, 10).map((job) => [job.kind.replaceAll('_', ' '), badge(job.status), ago(job.createdOn)]);
    put(
      running,
      open.length === 0 ? h('p', { class: 'quiet' }, 'No jobs are running.') : table('Jobs', ['Job', 'State', 'Since'], rows),
      h('p', null, h('a', { href: '/sandbox/jobs' }, 'All jobs and dead letters')),
    );
  };

  const create = async (tab = 'files') => {
    const name = h('input', { required: true, maxlength: 200 });
    const description = h('input', {});
    const work = () => post('/kb/v1/datasets', { name: name.value, description: description.value || undefined });
    const made = await dialog('New dataset', (close) =>
      form(
        async () => close(await work()),
        field('Name', name),
        field('Description', description),
        h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Create')),
      ),
    );
    if (made) go(`/sandbox/datasets/${made.id}?tab=${tab}`);
  };

  const health = h('p', null);
  const drift = async () => {
    if (!session.scopes.some((/** @type {string} */ s) => ['*', 'admin', 'system:*', 'system:read'].includes(s))) return;
    const text = await (await raw('GET', '/metrics', undefined, signal)).text();
    const lines = (/** @type {string} */ name) => text.split('\n').filter((l) => l.startsWith(name));
    const value = (/** @type {string} */ name) => lines(name).reduce((sum, l) => sum + Number(l.split(' ').pop()), 0);
    if (lines('cairn_index_drift_entries').length === 0) {
      put(health, h('small', null, 'The indexes have not been compared with the database yet.'));
      return;
    }
    const gap = value('cairn_index_drift_entries');
    const lag = value('cairn_index_lag_entries');
    const differences = `${counted(gap, 'entry differs', 'entries differ')} between the indexes and the database.`;
    put(
      health,
      h('span', { class: gap === 0 ? 'badge good' : 'badge bad' }, gap === 0 ? 'in sync' : 'out of sync'),
      gap === 0 ? ' The indexes match the database.' : ` ${differences} Run “cairn doctor --repair” to fix this.`,
      lag > 0 && ` ${counted(lag, 'entry', 'entries')} of the index log not yet applied.`,
    );
  };

  await Promise.all([draw(), jobs()]);
  drift().catch(complain);
  const again = calmly(() => Promise.all([draw(), jobs()]).catch(complain), 800);
  events({ topics: ['document_changed', 'document_deleted', 'dataset_changed', 'dataset_deleted', 'crawl_changed'] }, signal, again, again);
  return [
    h(
      'div',
      { class: 'top' },
      h('div', null, h('h1', null, session.tenant === 'default' ? 'Datasets' : `Datasets of ${session.tenant}`), state),
      button([icon('add'), 'New dataset'], () => create(), { class: 'primary' }),
    ),
    health,
    first,
    list,
    others,
    h('h2', null, 'Running jobs'),
    running,
  ];
}
