// @ts-check
// How documents are chunked: the choices of a form, and a preview of chunks.

import { counted } from '../lib/format.js';
import { h } from '../lib/dom.js';

/** The ways to chunk a document; the first one leaves it to the dataset. @type {[string, string][]} */
export const PARSE = [
  ['', 'dataset default'],
  ['NAIVE', 'naive: by size'],
  ['MARKDOWN', 'markdown: by headings'],
  ['MANUAL', 'manual: by delimiter'],
];

/** The chunks of a preview. @param {any} found */
export function previewed(found) {
  const cards = found.chunks.slice(0, 100).map((/** @type {any} */ c) => {
    const headings = c.headingPath.length > 0 && ` · ${c.headingPath.join(' › ')}`;
    return h(
      'div',
      { class: `card chunk c${c.ordinal % 4}` },
      h('small', null, `${counted(c.tokens, 'token')} · characters ${c.start}–${c.end}`, headings),
      h('p', null, c.content),
    );
  });
  const parsed = `${counted(found.totalChunks, 'chunk')}, parsed by ${found.engine}. `;
  return [h('p', null, parsed, found.warnings.join('; ')), cards];
}
