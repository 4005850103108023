// @ts-check
// A document: its text with the chunks coloured, beside the chunks themselves, which can be changed, hidden and added. The parts
// of the page are in `document/`.

import { chunkCard } from '../document/chunk.js';
import { addChunk, editChunk, originalOf, orphanedEdits } from '../document/editing.js';
import { textOrOriginal } from '../document/original.js';
import { previewChunking } from '../document/preview.js';
import { pager, sectionOf } from '../document/section.js';
import { colouredText } from '../document/source.js';
import { openDocument, readAddress } from '../document/state.js';
import { all, get } from '../lib/api.js';
import { button } from '../lib/controls.js';
import { crumbs } from '../lib/crumbs.js';
import { h, put } from '../lib/dom.js';
import { badge } from '../lib/format.js';

/**
 * Name, state and links of a document, with the buttons.
 * @param {import('../document/state.js').Opened} opened
 * @param {HTMLElement[]} buttons
 */
function header({ base, facts }, buttons) {
  const link =
    facts.url && /^https?:/.test(facts.url) && h('a', { href: facts.url, rel: 'noreferrer noopener', target: '_blank' }, 'source URL');
  return h(
    'div',
    { class: 'top' },
    h(
      'div',
      null,
      h('h1', null, facts.title || facts.fileName),
      h('p', { class: 'quiet' }, badge(facts.status), ' ', facts.fileName, ' ', link),
      facts.errorMessage && h('p', { class: 'notice bad' }, facts.errorMessage),
    ),
    h(
      'div',
      { class: 'row' },
      h('a', { class: 'button', href: `${base}/file`, target: '_blank', rel: 'noopener' }, 'Original file'),
      buttons,
    ),
  );
}

/** @param {import('../app.js').Context} context */
export async function page({ path, query, signal, title }) {
  const [opened, set] = await Promise.all([
    openDocument(path, signal),
    get(`/dashboard/v1/knowledge-base/datasets/${encodeURIComponent(path[0])}`, signal),
  ]);
  const { base, facts, text } = opened;
  title(facts.title || facts.fileName);
  const letters = Array.from(text);
  const place = readAddress(query);
  /** @type {any[]} */
  let chunks = [];
  /** @type {any[]} */
  let edits = [];
  const source = h('div', { class: 'source', tabindex: '0', role: 'region', 'aria-label': 'Document text' });
  const list = h('div', { class: 'chunks', tabindex: '0', role: 'region', 'aria-label': 'Chunks' });
  const reading = textOrOriginal(opened, source);
  const told = h('p', { class: 'quiet' });
  const orphans = h('div');

  /** Marks a chunk in the text and in the list, and scrolls one of them to it. @param {string} chunk @param {HTMLElement} scrolled */
  const pick = (chunk, scrolled) => {
    place.chosen = chunk;
    const picked = chunks.find((c) => c.id === chunk);
    if (picked) reading.lead(picked);
    for (const element of [...source.querySelectorAll('.span'), ...list.querySelectorAll('.chunk')]) {
      element.classList.toggle('chosen', element.dataset.chunk === chunk);
    }
    scrolled.querySelector(`[data-chunk="${CSS.escape(chunk)}"]`)?.scrollIntoView({ block: 'center' });
  };
  const scrollToPlace = () => {
    const { chosen, at } = place;
    const wanted = chosen ? `[data-chunk="${CSS.escape(chosen)}"]` : at ? 'mark' : null;
    if (!wanted) return;
    requestAnimationFrame(() => {
      if (place.chosen) pick(place.chosen, source);
      source.querySelector(wanted)?.scrollIntoView({ block: 'center' });
      list.querySelector(wanted)?.scrollIntoView({ block: 'nearest' });
    });
  };
  const turn = (/** @type {number} */ to) => {
    Object.assign(place, { beginning: Math.max(0, to), chosen: null });
    draw();
  };
  const load = async () => {
    const [found, made] = await Promise.all([all(`${base}/chunks`, signal), get(`${base}/edits`, signal)]);
    [chunks, edits] = [found, made.data];
    put(orphans, orphanedEdits(opened, edits, load));
    draw();
  };
  const show = async (/** @type {string | null} */ chunk) => {
    if (!chunk) return;
    place.chosen = chunk;
    await load();
  };
  const parts = {
    chunks: opened.chunks,
    base: opened.base,
    fileName: facts.fileName,
    pick: (/** @type {string} */ chunk) => pick(chunk, source),
    edit: async (/** @type {any} */ chunk) => show(await editChunk(opened, chunk, originalOf(edits, chunk))),
    original: (/** @type {any} */ chunk) => originalOf(edits, chunk),
    reload: load,
  };
  const draw = () => {
    const section = sectionOf(chunks, place);
    put(told, pager(chunks.length, section, turn));
    const spans = colouredText(letters, section, place.at, (chunk) => pick(chunk, list));
    put(source, text ? spans : h('p', { class: 'quiet' }, 'No text yet.'));
    put(
      list,
      section.shown.map((chunk) => chunkCard(chunk, parts)),
    );
    scrollToPlace();
  };

  await load();
  // Nothing can be scrolled to before the elements are in the page.
  requestAnimationFrame(() => requestAnimationFrame(() => !signal.aborted && draw()));
  return [
    crumbs([set.name, `/sandbox/datasets/${opened.dataset}`]),
    header(opened, [
      button('Add chunk', async () => show(await addChunk(opened))),
      button('Preview chunking', () => previewChunking(base)),
    ]),
    told,
    orphans,
    h('div', { class: 'split' }, reading.view, list),
  ];
}
