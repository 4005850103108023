// @ts-check
// A chunk in the list: its state, its text, and what can be done with it.

import { call } from '../lib/api.js';
import { changes } from '../lib/changes.js';
import { button } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { badge, counted } from '../lib/format.js';
import { confirmed } from '../lib/messages.js';
import { originalLink } from '../lib/original.js';
import { passage } from '../lib/passage.js';

/**
 * Functions of the page that a chunk calls.
 * @typedef {object} Page
 * @property {string} chunks path of the chunks in the API
 * @property {string} base path of the document in the API
 * @property {string} fileName
 * @property {(chunk: string) => void} pick shows a chunk in the text
 * @property {(chunk: any) => Promise<void>} edit
 * @property {(chunk: any) => string | undefined} original the text that an edited chunk had in the file
 * @property {() => Promise<void>} reload shows the chunks again after a change
 */

/** Name, origin and state of a chunk. @param {any} chunk @param {(chunk: string) => void} pick */
function head(chunk, pick) {
  const name = `Chunk ${chunk.ordinal + 1}`;
  const show = h(
    'button',
    {
      type: 'button',
      class: 'plain small',
      'aria-label': `Show chunk ${chunk.ordinal + 1} in the text`,
      onclick: () => pick(chunk.id),
    },
    name,
  );
  const title = 'This chunk exceeds the input limit of the embedding model. Shorten it, or reduce the chunk size and re-ingest the file.';
  return h(
    'div',
    { class: 'row' },
    show,
    chunk.origin !== 'parsed' && badge(chunk.origin),
    !chunk.enabled && badge('hidden'),
    chunk.truncated && h('span', { class: 'badge busy', title }, 'truncated'),
  );
}

/** @param {any} chunk @param {Page} page */
function actions(chunk, { chunks, edit, reload }) {
  const number = chunk.ordinal + 1;
  const address = `${chunks}/${encodeURIComponent(chunk.id)}`;
  const toggle = chunk.enabled ? 'Hide' : 'Show';
  const question = chunk.origin === 'added' ? 'Delete this added chunk?' : 'Revert this chunk to its original text?';
  return h(
    'div',
    { class: 'row' },
    button('Edit', () => edit(chunk), { class: 'small', 'aria-label': `Edit chunk ${number}` }),
    button(
      toggle,
      async () => {
        await call('PATCH', address, { enabled: !chunk.enabled });
        await reload();
      },
      { class: 'small', 'aria-label': `${toggle} chunk ${number} in search results` },
    ),
    chunk.origin !== 'parsed' &&
      button(
        'Revert',
        async () => {
          if (!(await confirmed(question, 'Revert'))) return;
          await call('DELETE', address);
          await reload();
        },
        { class: 'small' },
      ),
  );
}

/** @param {any} chunk @param {Page} page */
export function chunkCard(chunk, page) {
  const at = chunk.pageLabel || chunk.pageNumber;
  const facts = [counted(chunk.tokens, 'token'), at ? `page ${at}` : null, chunk.headingPath.join(' › ') || null];
  const original = page.original(chunk);
  const link =
    chunk.origin !== 'added' &&
    originalLink(page.base, { fileName: page.fileName, page: chunk.pageNumber, text: chunk.content }, 'original');
  const name = `card chunk c${chunk.ordinal % 4} ${chunk.enabled ? '' : 'off'}`;
  return h(
    'article',
    { class: name, 'data-chunk': chunk.id },
    head(chunk, page.pick),
    h('small', null, facts.filter(Boolean).join(' · '), link && [' · ', link]),
    original !== undefined && h('details', null, h('summary', null, 'Changes'), changes(original, chunk.content)),
    passage(chunk.content, { code: Boolean(chunk.lines) }, `Text of chunk ${chunk.ordinal + 1}`),
    actions(chunk, page),
  );
}
