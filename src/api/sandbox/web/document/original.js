// @ts-check
// The original file beside the chunks, where a browser can show it: PDF at the page of a chunk, web pages without scripts, images.

import { button } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { fragmentOf } from '../lib/original.js';

/** @typedef {import('./state.js').Opened} Opened */

/** How a browser shows a type of file. @param {string} mime @returns {'frame' | 'image' | null} */
function manner(mime) {
  const type = mime.split(';')[0];
  if (['application/pdf', 'text/html', 'application/xhtml+xml'].includes(type)) return 'frame';
  return ['image/png', 'image/jpeg', 'image/gif', 'image/webp'].includes(type) ? 'image' : null;
}

/**
 * The text of a document and its original, one of which is shown; without buttons if there is only the text.
 * @param {Opened} opened
 * @param {HTMLElement} text
 */
export function textOrOriginal({ base, facts }, text) {
  const how = manner(facts.mimeType);
  if (!how) return { view: h('div', null, text), lead: () => {} };
  const address = `${base}/file`;
  const title = `Original of ${facts.fileName}`;
  const isPage = how === 'frame' && !facts.mimeType.startsWith('application/pdf');
  /** @type {HTMLElement} */
  const original =
    how === 'image'
      ? h('img', { class: 'original', alt: title, hidden: true })
      : h('iframe', { class: 'original', title, hidden: true, sandbox: isPage ? '' : null });
  let fragment = '';
  // Nothing is loaded before somebody wants to see it.
  const load = () => original.setAttribute('src', `${address}${fragment}`);
  const choose = (/** @type {boolean} */ wanted) => {
    if (wanted && !original.hasAttribute('src')) load();
    original.hidden = !wanted;
    text.hidden = wanted;
    shown.setAttribute('aria-pressed', String(wanted));
    written.setAttribute('aria-pressed', String(!wanted));
  };
  const written = button('Text', () => choose(false), { class: 'small', 'aria-pressed': 'true' });
  const shown = button('Original', () => choose(true), { class: 'small', 'aria-pressed': 'false' });
  /** Shows a chunk in the original, as far as the format allows. @param {any} chunk */
  const lead = (chunk) => {
    const next = fragmentOf({ fileName: facts.fileName, page: chunk.pageNumber, text: chunk.content }) ?? '';
    if (next === fragment) return;
    fragment = next;
    if (original.hasAttribute('src') && how === 'frame') load();
  };
  return { view: h('div', null, h('div', { class: 'row chips' }, written, shown), text, original), lead };
}
