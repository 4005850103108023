// @ts-check
// Dialogs that change the chunks of a document, and the edits that could not be applied again.

import { call, post } from '../lib/api.js';
import { changes } from '../lib/changes.js';
import { button, field } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { counted } from '../lib/format.js';
import { dialog, toast } from '../lib/messages.js';

/** @typedef {import('./state.js').Opened} Opened */

/**
 * Asks for the text of a chunk.
 * @param {string} heading
 * @param {string} text to begin with
 * @param {string} yes what the button says
 * @param {string} [original] what the text is compared with
 */
function write(heading, text, yes, original) {
  const differences = h('div');
  const compare = () => put(differences, original !== undefined && area.value !== original && changes(original, area.value));
  const area = h('textarea', { rows: 12, oninput: compare }, text);
  compare();
  return dialog(heading, (close) => [
    field('Text', area),
    differences,
    h('p', { class: 'row end' }, h('button', { type: 'button', class: 'primary', onclick: () => close(area.value) }, yes)),
  ]);
}

/**
 * The text that a chunk had in the file, if it was edited.
 * @param {any[]} edits of the document
 * @param {any} chunk
 * @returns {string | undefined}
 */
export function originalOf(edits, chunk) {
  const edit = edits.find((e) => e.kind === 'changed' && !e.orphaned && e.content === chunk.content);
  return edit?.original ?? undefined;
}

/**
 * Edits a chunk; resolves to the ID that it has then, or to null if nothing was changed.
 * @param {Opened} opened
 * @param {any} chunk
 * @param {string} [original] the text that it had in the file
 * @returns {Promise<string | null>}
 */
export async function editChunk(opened, chunk, original = chunk.content) {
  const content = await write(`Chunk ${chunk.ordinal + 1}`, chunk.content, 'Save', original);
  if (content === undefined || content === chunk.content) return null;
  const changed = await call('PATCH', `${opened.chunks}/${encodeURIComponent(chunk.id)}`, { content });
  toast('Saved. The edit is kept when the file is re-ingested.');
  return changed.id;
}

/** Adds a chunk; resolves to its ID, or to null if there was no text. @param {Opened} opened @returns {Promise<string | null>} */
export async function addChunk(opened) {
  const content = await write('Add chunk', '', 'Add');
  if (!content) return null;
  const made = await post(`${opened.base}/chunks`, { content });
  return made.id;
}

/**
 * The edits that no chunk has any more; nothing without such edits.
 * @param {Opened} opened
 * @param {any[]} edits all edits of the document
 * @param {() => Promise<void>} reload called after one was discarded
 */
export function orphanedEdits(opened, edits, reload) {
  const orphans = edits.filter((e) => e.orphaned);
  if (orphans.length === 0) return null;
  const title = `${counted(orphans.length, 'manual edit')} could not be reapplied after the document was re-chunked`;
  const cards = orphans.map((e) =>
    h(
      'div',
      { class: 'card' },
      h('small', null, e.kind, e.enabled ? '' : ', hidden'),
      e.original && e.content ? changes(e.original, e.content) : h('p', null, e.original ?? e.content),
      button(
        'Discard',
        async () => {
          await call('DELETE', `${opened.base}/edits/${encodeURIComponent(e.id)}`);
          await reload();
        },
        { class: 'small' },
      ),
    ),
  );
  return h('details', { class: 'notice' }, h('summary', null, title), cards);
}
