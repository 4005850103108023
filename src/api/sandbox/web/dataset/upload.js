// @ts-check
// The upload of files and folders, with its settings and a preview of the chunks.

import { raw } from '../lib/api.js';
import { button, field, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { badge, counted } from '../lib/format.js';
import { complain, dialog } from '../lib/messages.js';
import { PARSE, previewed } from './chunking.js';

/** @typedef {{file: File, name: string}} Named a file, and its name with its folders */

/** The API takes at most this many files at once. */
const MOST = 20;
const MOST_BYTES = 150e6;

/** @type {[string, string][]} */
const DUPLICATES = [
  ['skip', 'skip'],
  ['link', 'skip, and add the file name as an alias'],
  ['replace', 'replace'],
  ['keep', 'keep both'],
];

/** Files of a dropped entry, which may be a folder. @param {any} entry @returns {Promise<Named[]>} */
async function within(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, name: entry.fullPath.replace(/^\//, '') }];
  }
  const reader = entry.createReader();
  /** @type {Named[]} */
  const found = [];
  for (;;) {
    /** @type {any[]} */
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (part.length === 0) return found;
    for (const child of part) found.push(...(await within(child)));
  }
}
/** @param {File} file @returns {Named} */
const alone = (file) => ({ file, name: file.name });

/** The dropped files, with those in dropped folders. @param {DataTransfer | null} dropped */
async function filesOf(dropped) {
  // Entries have to be taken before anything is awaited.
  const entries = [...(dropped?.items ?? [])].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  const plain = [...(dropped?.files ?? [])].map(alone);
  return entries.length ? (await Promise.all(entries.map(within))).flat() : plain;
}

/** The settings of an upload: their inputs, and `read` for a form that has them. @param {any} dataset */
function uploadSettings(dataset) {
  const inputs = {
    chunkSize: h('input', { type: 'number', min: 16, max: 4096, placeholder: String(dataset.chunkSize) }),
    chunkOverlap: h('input', { type: 'number', min: 0, max: 2048, placeholder: String(dataset.chunkOverlap) }),
    parseType: select(PARSE, ''),
    metadata: h('textarea', { rows: 2, spellcheck: 'false', placeholder: '{"year": 2026}' }),
    onDuplicate: select(DUPLICATES, 'skip'),
  };
  const fields = h(
    'div',
    { class: 'fields' },
    field('Chunk size (tokens)', inputs.chunkSize),
    field('Overlap (tokens)', inputs.chunkOverlap),
    field('Chunking', inputs.parseType),
    field('If a file already exists', inputs.onDuplicate),
    field('Metadata (JSON)', inputs.metadata),
  );
  const read = () => {
    const form = new FormData();
    for (const [name, input] of Object.entries(inputs)) if (input.value.trim()) form.set(name, input.value);
    return form;
  };
  return { fields, read };
}

/** Uploads files in one request. @param {string} address @param {FormData} form @param {Named[]} chosen @returns {Promise<any[]>} */
async function sendTogether(address, form, chosen) {
  for (const { file, name } of chosen) form.append('files', file, name);
  return (await (await raw('POST', address, form)).json()).uploadedFiles;
}

/**
 * Uploads files in one request; if it is refused, one by one, so that a refused file does not hold back the others.
 * @param {string} address
 * @param {() => FormData} settings
 * @param {Named[]} chosen
 * @returns {Promise<any[]>}
 */
async function sendPart(address, settings, chosen) {
  try {
    return await sendTogether(address, settings(), chosen);
  } catch (error) {
    const [{ name }] = chosen;
    if (chosen.length === 1) {
      return [{ fileName: name, outcome: 'refused', errorMessage: /** @type {any} */ (error).message }];
    }
    const results = [];
    for (const one of chosen) results.push(...(await sendPart(address, settings, [one])));
    return results;
  }
}

/** The end of the part that begins at `at`, by number and size of its files. @param {Named[]} chosen @param {number} at */
function endOfPart(chosen, at) {
  let [end, weight] = [at, 0];
  while (end < chosen.length && end - at < MOST && (end === at || weight + chosen[end].file.size < MOST_BYTES)) {
    weight += chosen[end].file.size;
    end += 1;
  }
  return end;
}

/** What became of the files. @param {any[]} results */
function outcome(results) {
  const other = results.filter((r) => r.outcome !== 'created');
  const kind = other.some((r) => r.outcome === 'refused') ? 'bad' : 'good';
  const fresh = counted(results.length - other.length, 'file');
  const rows = other.map((r) => [r.fileName, badge(r.outcome), r.errorMessage ?? '']);
  return [
    h('p', { class: `notice ${kind}` }, `${fresh} uploaded. The list below shows their progress.`),
    other.length > 0 && table('Other files', ['File', 'Outcome', 'Message'], rows),
  ];
}

/** @param {any} dataset @param {FormData} form */
async function preview(dataset, form) {
  const input = h('input', { type: 'file', 'aria-label': 'File to preview' });
  const out = h('div');
  const show = async () => {
    if (!input.files?.length) return;
    const body = new FormData();
    for (const name of ['chunkSize', 'chunkOverlap', 'parseType']) {
      if (form.get(name)) body.set(name, /** @type {string} */ (form.get(name)));
    }
    body.set('file', input.files[0]);
    const found = await (await raw('POST', `/kb/v1/datasets/${dataset.id}/preview/upload`, body)).json();
    put(out, previewed(found));
  };
  await dialog('Preview chunks', () => [
    h('p', null, 'Nothing is stored.'),
    h('p', null, input),
    button('Preview', show, { class: 'primary' }),
    out,
  ]);
}

/** @param {any} dataset @param {() => void} done */
export function upload(dataset, done) {
  const address = `/dashboard/v1/knowledge-base/datasets/${dataset.id}/files/upload`;
  const { fields, read } = uploadSettings(dataset);
  const said = h('div', { role: 'status' });
  const pick = h('input', {
    type: 'file',
    multiple: true,
    class: 'unseen',
    tabindex: '-1',
    'aria-label': 'Choose files',
    onchange: () => send([...pick.files].map(alone)).catch(complain),
  });
  const send = async (/** @type {Named[]} */ chosen) => {
    /** @type {any[]} */
    const results = [];
    const bar = h('progress', { max: chosen.length, value: 0, 'aria-label': 'Uploading' });
    put(said, h('p', null, `Uploading ${counted(chosen.length, 'file')}…`), bar);
    for (let at = 0; at < chosen.length;) {
      const end = endOfPart(chosen, at);
      results.push(...(await sendPart(address, read, chosen.slice(at, end))));
      at = end;
      bar.value = at;
    }
    pick.value = '';
    put(said, outcome(results));
    done();
  };
  const choose = h('button', { type: 'button', onclick: () => pick.click() }, 'choose files');
  const zone = h(
    'div',
    {
      class: 'drop',
      ondragover: (/** @type {DragEvent} */ e) => {
        e.preventDefault();
        zone.classList.add('over');
      },
      ondragleave: () => zone.classList.remove('over'),
      ondrop: async (/** @type {DragEvent} */ e) => {
        e.preventDefault();
        zone.classList.remove('over');
        const found = await filesOf(e.dataTransfer);
        if (found.length) send(found).catch(complain);
      },
    },
    h('p', null, 'Drop files or folders here, or ', choose, pick),
    h(
      'details',
      null,
      h('summary', null, 'Upload settings'),
      fields,
      button('Preview chunks', () => preview(dataset, read())),
    ),
  );
  return h('section', { 'aria-label': 'Upload' }, zone, said);
}
