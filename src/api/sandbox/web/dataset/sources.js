// @ts-check
// Sources of a dataset other than websites: folders, buckets, feeds, repositories and mailboxes,
// their syncs, and what became of every item.

import { all, call, get, post } from '../lib/api.js';
import { button, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge, bytes, counted, cutInTheMiddle, itemCounts } from '../lib/format.js';
import { icon } from '../lib/icon.js';
import { complain, confirmed } from '../lib/messages.js';
import { grid } from '../lib/table.js';
import { editSource } from './source_settings.js';
import { scheduleWebsite } from './website_settings.js';

const VERDICTS = ['new', 'changed', 'unchanged', 'skipped', 'failed'];
/** Milliseconds between two looks at a running sync. */
const LOOK = 1000;

/** @param {any} sync */
const isRunning = (sync) => ['queued', 'running'].includes(sync?.status);

/** What a source is, in a few words. @param {any} settings */
function place(settings) {
  if (settings.kind === 'folder') return settings.path;
  if (settings.kind === 's3') return `${settings.bucket}/${settings.prefix}`;
  if (settings.kind === 'imap') return `${settings.user} at ${settings.host}, ${settings.folder ?? 'INBOX'}`;
  return settings.branch ? `${settings.url}, ${settings.branch}` : settings.url;
}

/** @param {any} sync */
function outcome(sync) {
  if (!sync) return 'never synced';
  return [
    badge(sync.status),
    ' ',
    itemCounts(sync) || (isRunning(sync) ? '' : 'no changes'),
    h('br'),
    h('small', null, ago(sync.completedOn ?? sync.startedOn ?? sync.createdOn), `, ${bytes(sync.bytesReceived)}`),
    sync.errorMessage && h('small', null, ` ${sync.errorMessage}`),
  ];
}

/**
 * @param {any} source
 * @param {any} sync the last one
 * @param {string} base path of the sources in the API
 * @param {{redraw: () => Promise<void>, open: (source: any) => Promise<void>}} then
 */
function row(source, sync, base, then) {
  const at = `${base}/${source.id}`;
  const run = async () => {
    await post(`${at}/syncs`);
    await then.redraw();
  };
  const stop = async () => {
    await post(`${at}/syncs/${sync.id}/cancel`);
    await then.redraw();
  };
  const edit = async () => {
    if (await editSource(base, source)) await then.redraw();
  };
  const schedule = async () => {
    if (await scheduleWebsite(base, source)) await then.redraw();
  };
  const remove = async () => {
    const question = `Remove the source “${source.name}” with its schedule and history? Its documents are kept.`;
    if (!(await confirmed(question, 'Remove'))) return;
    await call('DELETE', at);
    await then.redraw();
  };
  const when = source.cron ? `${source.schedule} (${source.cron})` : source.schedule;
  return [
    [h('strong', null, source.name), h('br'), h('small', null, `${source.settings.kind}: ${place(source.settings)}`)],
    source.settings.watch ? 'watched' : when,
    h('div', { 'aria-live': 'polite' }, outcome(sync)),
    h(
      'div',
      { class: 'row' },
      isRunning(sync) ? button('Stop', stop, { class: 'small danger' }) : button('Sync now', run, { class: 'small primary' }),
      button('Items', () => then.open(source), { class: 'small' }),
      button('Settings', edit, { class: 'small' }),
      button('Schedule', schedule, { class: 'small' }),
      button('Remove', remove, { class: 'small danger' }),
    ),
  ];
}

/**
 * Shows what a source has.
 * @param {HTMLElement} view
 * @param {any} source
 * @param {string} dataset
 * @param {string} at
 * @param {AbortSignal} signal
 */
async function showItems(view, source, dataset, at, signal) {
  const link = (/** @type {any} */ item) => {
    const href = `/sandbox/documents/${dataset}/${encodeURIComponent(item.documentId)}`;
    return item.documentId && h('a', { href }, 'open');
  };
  const list = grid(
    'Source items',
    [
      { title: 'Item', width: 'minmax(16rem, 3fr)', sort: (i) => i.key, cell: (i) => cutInTheMiddle(i.key) },
      { title: 'Verdict', width: '7rem', sort: (i) => i.verdict, cell: (i) => badge(i.verdict) },
      { title: 'Reason', width: 'minmax(12rem, 2fr)', sort: (i) => i.reason ?? '', cell: (i) => i.reason ?? '' },
      { title: 'Read', width: '8rem', sort: (i) => i.changedOn, cell: (i) => ago(i.changedOn) },
      { title: 'Document', width: '6rem', cell: link },
    ],
    (/** @type {any} */ item) => item.key,
  );
  const options = VERDICTS.map((v) => /** @type {[string, string]} */ ([v, v]));
  const told = h('span', { class: 'quiet', role: 'status' });
  const tell = () => put(told, counted(list.count(), 'item'));
  const kind = select([['', 'all verdicts'], ...options], '', (v) => {
    list.filter((i) => !v || i.verdict === v);
    tell();
  });
  put(
    view,
    h('h2', null, `Items of “${source.name}”`),
    h('p', { class: 'row' }, h('label', { class: 'check' }, h('span', { class: 'unseen' }, 'Verdict'), kind), told),
    list.view,
  );
  view.scrollIntoView({ behavior: 'smooth' });
  await all(`${at}/items`, signal, (items) => {
    list.set([...items]);
    tell();
  });
}

/** @param {string} dataset @param {AbortSignal} signal */
export async function sources(dataset, signal) {
  const base = `/kb/v1/datasets/${dataset}/sources`;
  const out = h('div');
  const items = h('div');
  const open = (/** @type {any} */ source) => showItems(items, source, dataset, `${base}/${source.id}`, signal);
  const add = async () => {
    if (await editSource(base, null)) await draw();
  };
  const draw = async () => {
    const list = await all(base, signal);
    const last = await Promise.all(
      list.map(async (source) => {
        const syncs = await get(`${base}/${source.id}/syncs?limit=500`, signal);
        return syncs.data.at(-1);
      }),
    );
    const rows = list.map((source, i) => row(source, last[i], base, { redraw: draw, open }));
    put(
      out,
      table(
        'Sources',
        ['Source', 'Schedule', 'Last sync', ''],
        rows,
        'No sources yet. Add a folder, bucket, feed, repository or mailbox to keep this dataset in sync.',
      ),
      h('p', null, button([icon('add'), 'Add a source'], add)),
    );
    if (last.some(isRunning))
      setTimeout(() => {
        if (!signal.aborted) draw().catch(complain);
      }, LOOK);
  };
  await draw();
  return [out, items];
}
