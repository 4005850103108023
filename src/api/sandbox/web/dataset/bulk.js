// @ts-check
// Files chosen together, and what is done with all of them.

import { call, datasets, raw } from '../lib/api.js';
import { button, field, select } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { counted } from '../lib/format.js';
import { icon } from '../lib/icon.js';
import { complain, confirmed, dialog, toast } from '../lib/messages.js';

/** Requests at a time. */
const LANES = 4;
/** Milliseconds in which the list of datasets must come. */
const WAIT = 20000;

/**
 * Does something with each of several files, a few at a time; resolves to those with which it succeeded, and tells of the others.
 * @param {any[]} files
 * @param {(file: any) => Promise<any>} work
 * @param {(done: number) => void} progress
 */
async function withEach(files, work, progress) {
  const waiting = [...files];
  let done = 0;
  /** @type {unknown[]} */
  const failures = [];
  /** @type {any[]} */
  const succeeded = [];
  const lane = async () => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      await work(file).then(
        () => succeeded.push(file),
        (error) => failures.push(error),
      );
      done += 1;
      progress(done);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  if (failures.length > 0) {
    complain(failures[0]);
    toast(`${failures.length} of ${counted(files.length, 'file')} failed.`, 'bad');
  }
  return succeeded;
}

/**
 * Adds the original of a file to another dataset, and deletes it here when it is there.
 * @param {string} path of the document in the API
 * @param {string} target
 */
async function move(path, target) {
  const [facts, original] = await Promise.all([call('GET', path), raw('GET', `${path}/file`)]);
  const form = new FormData();
  form.append('files', new File([await original.blob()], facts.fileName, { type: facts.mimeType }));
  form.append('metadata', JSON.stringify(facts.metadata ?? {}));
  form.append('titles', JSON.stringify([facts.title ?? null]));
  form.append('urls', JSON.stringify([facts.url ?? null]));
  await call('POST', `/kb/v1/datasets/${target}/documents`, form);
  await call('DELETE', path);
}

/** Asks for another dataset; resolves to its id. @param {string} base path of the documents in the API @param {number} number of files */
async function target(base, number) {
  const all = await datasets(AbortSignal.timeout(WAIT));
  const others = all.filter((set) => !base.includes(`/${set.id}/`) && !set.id.includes('~'));
  if (others.length === 0) {
    toast('There is no other dataset. Create one on the Overview page.', 'bad');
    return null;
  }
  const choice = select(
    others.map((set) => [set.id, set.name]),
    others[0].id,
  );
  return dialog(`Move ${counted(number, 'file')}`, (close) => [
    field('To dataset', choice),
    h('p', { class: 'quiet' }, 'Files are ingested there with their names, titles, addresses and metadata. Edits of chunks are not moved.'),
    h('p', { class: 'row end' }, h('button', { type: 'button', class: 'primary', onclick: () => close(choice.value) }, 'Move')),
  ]);
}

/**
 * The choice of files, with a bar that shows what can be done with them.
 * @param {string} base path of the documents in the API
 * @param {Map<string, any>} known
 * @param {() => any[]} shown the files that the filters let through
 * @param {{changed: (file: any) => void, removed: (file: any) => void}} then
 */
export function selection(base, known, shown, then) {
  /** @type {Set<string>} */
  const chosen = new Set();
  /** The last box that was made for each file. @type {Map<string, any>} */
  const boxes = new Map();
  const path = (/** @type {any} */ file) => `${base}/${encodeURIComponent(file.id)}`;
  const told = h('span', { role: 'status' });
  const everything = h('input', { type: 'checkbox', 'aria-label': 'Select all shown files', onchange: () => turnAll(everything.checked) });
  const actions = h('span', { class: 'row' });
  const bar = h('div', { class: 'row bulk' }, h('label', { class: 'check' }, everything, told), actions);

  const files = () => [...chosen].map((id) => known.get(id)).filter(Boolean);
  const tell = () => {
    for (const id of chosen) if (!known.has(id)) chosen.delete(id);
    const here = shown();
    const all = here.length > 0 && here.every((file) => chosen.has(file.id));
    everything.checked = all;
    everything.indeterminate = !all && chosen.size > 0;
    put(told, chosen.size > 0 ? `${counted(chosen.size, 'file')} selected` : 'Select all');
    actions.hidden = chosen.size === 0;
    for (const [id, box] of boxes) {
      if (known.has(id)) box.checked = chosen.has(id);
      else boxes.delete(id);
    }
  };
  const turnAll = (/** @type {boolean} */ isOn) => {
    for (const file of shown()) {
      if (isOn) chosen.add(file.id);
      else chosen.delete(file.id);
    }
    if (!isOn) chosen.clear();
    tell();
  };
  const run = async (/** @type {(file: any) => Promise<any>} */ work, /** @type {string} */ said) => {
    const all = files();
    actions.inert = true;
    const succeeded = await withEach(all, work, (done) => put(told, `${done} of ${counted(all.length, 'file')}`));
    actions.inert = false;
    // What failed stays selected.
    for (const file of succeeded) chosen.delete(file.id);
    tell();
    if (succeeded.length > 0) toast(`${counted(succeeded.length, 'file')} ${said}.`);
  };
  const change = (/** @type {any} */ body, /** @type {string} */ said) => () =>
    run(async (file) => then.changed(await call('PATCH', path(file), body)), said);
  const remove = async () => {
    const question = `Permanently delete ${counted(chosen.size, 'file')} with their chunks and vectors?`;
    if (!(await confirmed(question, 'Delete'))) return;
    await run(async (file) => {
      await call('DELETE', path(file));
      then.removed(file);
    }, 'deleted');
  };
  const moveAll = async () => {
    const to = await target(base, chosen.size);
    if (!to) return;
    await run(async (file) => {
      await move(path(file), to);
      then.removed(file);
    }, 'moved');
  };
  put(
    actions,
    button([icon('enable'), 'Enable'], change({ enabled: true }, 'enabled'), { class: 'small' }),
    button([icon('disable'), 'Disable'], change({ enabled: false }, 'disabled'), { class: 'small' }),
    button([icon('repeat'), 'Re-ingest'], change({ reIngest: true }, 'queued'), { class: 'small' }),
    button([icon('next'), 'Move'], moveAll, { class: 'small' }),
    button([icon('delete'), 'Delete'], remove, { class: 'small danger' }),
  );
  /** The checkbox of a file. @param {any} file */
  const box = (file) => {
    const element = h('input', {
      type: 'checkbox',
      'data-id': file.id,
      'aria-label': `Select ${file.fileName}`,
      checked: chosen.has(file.id),
      onchange: () => {
        if (element.checked) chosen.add(file.id);
        else chosen.delete(file.id);
        tell();
      },
    });
    boxes.set(file.id, element);
    return element;
  };
  return { bar, box, tell };
}
