// @ts-check
// The files of a dataset: their upload, their state as it changes, and what can be done with them.

import { all, calmly, call, events, get, post } from '../lib/api.js';
import { button, select } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge, bytes, count, counted, duration } from '../lib/format.js';
import { complain, confirmed, dialog, toast } from '../lib/messages.js';
import { grid } from '../lib/table.js';
import { selection } from './bulk.js';
import { upload } from './upload.js';

/** @type {[string, string][]} */
const STATES = [
  ['', 'all states'],
  ['indexed', 'indexed'],
  ['pending', 'pending'],
  ['at work', 'processing'],
  ['error', 'failed'],
  ['disabled', 'disabled'],
];

const atWork = (/** @type {any} */ d) => d.status === 'parsing' || d.status === 'embedding';

/** Shows why a file is searchable or not, and what is known about it. @param {string} base @param {any} d */
async function showInfo(base, d) {
  const own = `${base}/${encodeURIComponent(d.id)}`;
  const [reason, detail] = await Promise.all([get(`${own}/why`), get(own)]);
  const facts = {
    Searchable: `keyword: ${reason.byWords ? 'yes' : 'no'}, semantic: ${reason.byMeaning ? 'yes' : 'no'}`,
    Engine: detail.engine,
    Pages: detail.pages,
    Version: detail.version,
    Source: detail.source,
    URL: detail.url,
    Type: detail.mimeType,
    'SHA-256': detail.sha256,
    Aliases: detail.aliases.join(', '),
    Warnings: detail.warnings.join('; '),
    Metadata: JSON.stringify(detail.metadata),
  };
  const known = Object.entries(facts).filter(([, v]) => v);
  await dialog(d.fileName, () => [
    h('p', { class: 'notice' }, h('strong', null, reason.reason)),
    h(
      'dl',
      { class: 'facts' },
      known.map(([k, v]) => [h('dt', null, k), h('dd', null, String(v))]),
    ),
  ]);
}

/** The state of a file, with its progress or its error. @param {any} d */
function state(d) {
  const hasEta = d.etaSeconds !== null && d.etaSeconds !== undefined;
  return [
    badge(d.status),
    atWork(d) && [` ${d.progress}%`, hasEta && ` · ${duration(d.etaSeconds)}`],
    d.errorMessage && h('small', { title: d.errorMessage }, ` ${d.errorMessage}`),
  ];
}

/**
 * The table of the files.
 * @param {string} dataset
 * @param {string} base
 * @param {(file: any) => void} changed called with a file after it was changed
 * @param {(file: any) => void} removed called with a file after it was deleted
 * @param {(file: any) => HTMLElement} box the checkbox that selects a file
 */
function fileGrid(dataset, base, changed, removed, box) {
  const change = (/** @type {any} */ d, /** @type {any} */ body, /** @type {string} */ said) => async () => {
    changed(await call('PATCH', `${base}/${encodeURIComponent(d.id)}`, body));
    toast(`${d.fileName}: ${said}.`);
  };
  const remove = (/** @type {any} */ d) => async () => {
    if (!(await confirmed(`Permanently delete “${d.fileName}” with its chunks and vectors?`, 'Delete'))) return;
    await call('DELETE', `${base}/${encodeURIComponent(d.id)}`);
    removed(d);
  };
  const link = (/** @type {any} */ d) => {
    const href = `/sandbox/documents/${dataset}/${encodeURIComponent(d.id)}`;
    return h('a', { href, title: d.fileName }, d.fileName);
  };
  const actions = (/** @type {any} */ d) => {
    const [turn, turned] = d.enabled ? ['Disable', 'disabled'] : ['Enable', 'enabled'];
    return [
      button('Info', () => showInfo(base, d), { class: 'small plain', 'aria-label': `Info about ${d.fileName}` }),
      button(turn, change(d, { enabled: !d.enabled }, turned), { class: 'small plain', 'aria-label': `${turn} ${d.fileName}` }),
      button('Re-ingest', change(d, { reIngest: true }, 'queued'), { class: 'small plain', 'aria-label': `Re-ingest ${d.fileName}` }),
      button('Delete', remove(d), { class: 'small plain danger', 'aria-label': `Delete ${d.fileName}` }),
    ];
  };
  return grid(
    'Files',
    [
      { title: '', width: '1.25rem', cell: box },
      { title: 'Name', width: 'minmax(14rem, 3fr)', sort: (d) => d.fileName.toLowerCase(), cell: link },
      { title: 'State', width: 'minmax(9rem, 1.2fr)', sort: (d) => d.status, cell: state },
      { title: 'Chunks', width: '5rem', sort: (d) => d.chunksCount, cell: (d) => count(d.chunksCount) },
      { title: 'Size', width: '5.5rem', sort: (d) => d.fileSizeBytes, cell: (d) => bytes(d.fileSizeBytes) },
      { title: 'Added', width: '7.5rem', sort: (d) => d.createdOn, cell: (d) => ago(d.createdOn) },
      { title: 'Actions', width: '17rem', cell: actions },
    ],
    (/** @type {any} */ d) => d.id,
  );
}

/** A button that ingests all files again. @param {string} dataset */
const reIngestAll = (dataset) =>
  button('Re-ingest all', async () => {
    const question = 'Parse, chunk and index every file again with the current settings? Searches keep working meanwhile.';
    if (!(await confirmed(question, 'Re-ingest all'))) return;
    const queued = await post(`/dashboard/v1/knowledge-base/datasets/${dataset}/re-index`);
    toast(`${counted(queued.jobsQueued, 'file')} queued, about ${queued.estimatedMinutes} min.`);
  });

/**
 * Keeps the known files up to date until the signal, from events and from the API. Resolves when the list was loaded once.
 * @param {string} dataset
 * @param {string} base
 * @param {Map<string, any>} known
 * @param {() => void} refresh called when the known files have changed
 * @param {AbortSignal} signal
 */
async function follow(dataset, base, known, refresh, signal) {
  /** Files with an event since the list was requested: the list may be older. @type {Set<string>} */
  let touched = new Set();
  const load = () => {
    const since = new Set();
    touched = since;
    return all(base, signal, (_, fresh) => {
      for (const d of fresh) if (!since.has(d.id)) known.set(d.id, d);
      refresh();
    });
  };
  // A file is requested once, however many events it had meanwhile.
  /** @type {Set<string>} */
  const stale = new Set();
  const again = calmly(async () => {
    const ids = [...stale];
    stale.clear();
    if (ids.length > 50) return load().catch(complain);
    const one = (/** @type {string} */ id) => get(`${base}/${encodeURIComponent(id)}`, signal).catch(() => null);
    for (const d of await Promise.all(ids.map(one))) if (d) known.set(d.id, d);
    refresh();
  }, 400);
  events(
    { topics: ['document_changed', 'document_deleted'], datasetId: dataset },
    signal,
    (topic, event) => {
      const { documentId, status, progress, chunksCount, errorMessage } = event;
      touched.add(documentId);
      const d = known.get(documentId);
      if (topic === 'document_deleted') known.delete(documentId);
      else if (d) known.set(d.id, { ...d, status, progress, chunksCount, errorMessage });
      else stale.add(documentId);
      if (['indexed', 'error', 'disabled'].includes(status)) stale.add(documentId);
      refresh();
      again();
    },
    () => load().catch(complain),
  );
  await load();
  return load;
}

/** @param {any} dataset @param {AbortSignal} signal */
export async function files(dataset, signal) {
  const base = `/kb/v1/datasets/${dataset.id}/documents`;
  /** @type {Map<string, any>} */
  const known = new Map();
  const status = select(STATES, '', () => sift());
  const name = h('input', {
    type: 'search',
    placeholder: 'Filter by name',
    'aria-label': 'Filter by name',
    oninput: () => sift(),
  });
  const told = h('span', { role: 'status', class: 'quiet' });
  const changed = (/** @type {any} */ d) => {
    known.set(d.id, d);
    refresh();
  };
  const removed = (/** @type {any} */ d) => {
    known.delete(d.id);
    refresh();
  };
  const chosen = selection(base, known, () => list.items(), { changed, removed });
  const list = fileGrid(dataset.id, base, changed, removed, chosen.box);
  const tell = () => {
    put(told, `${count(list.count())} of ${counted(known.size, 'file')}`);
    chosen.tell();
  };
  const sift = () => {
    const [s, n] = [status.value, name.value.trim().toLowerCase()];
    const hasState = (/** @type {any} */ d) => !s || d.status === s || (s === 'at work' && atWork(d));
    list.filter((d) => hasState(d) && (!n || d.fileName.toLowerCase().includes(n)));
    tell();
  };
  const refresh = () => {
    list.set([...known.values()]);
    tell();
  };
  const load = await follow(dataset.id, base, known, refresh, signal);
  return [
    upload(dataset, () => load().catch(complain)),
    h(
      'div',
      { class: 'row' },
      h('div', { class: 'grow' }, name),
      h('label', { class: 'check' }, h('span', { class: 'unseen' }, 'Filter by state'), status),
      told,
      reIngestAll(dataset.id),
    ),
    chosen.bar,
    list.view,
  ];
}
