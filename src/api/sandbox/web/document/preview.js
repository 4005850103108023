// @ts-check
// The dialog that shows the chunks of a document under other settings, without storing them.

import { previewed } from '../dataset/chunking.js';
import { post } from '../lib/api.js';
import { button, field } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { complain, dialog } from '../lib/messages.js';

/** @param {string} base path of the document in the API */
export async function previewChunking(base) {
  const size = h('input', { type: 'number', value: 256 });
  const overlap = h('input', { type: 'number', value: 32 });
  const out = h('div');
  const show = async () => {
    const body = { chunkSize: Number(size.value), chunkOverlap: Number(overlap.value) };
    put(out, previewed(await post(`${base}/preview`, body)));
  };
  await dialog('Preview chunking', () => [
    h('p', null, 'Nothing is stored.'),
    h('div', { class: 'fields' }, field('Chunk size (tokens)', size), field('Overlap (tokens)', overlap)),
    button('Preview', show, { class: 'primary' }),
    out,
  ]).catch(complain);
}
