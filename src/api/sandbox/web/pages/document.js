// @ts-check
// A document: its text with the chunks coloured, beside the chunks themselves, which can be changed, hidden and added.

import { previewed } from '../dataset/chunking.js';
import { all, call, get, post, raw } from '../lib/api.js';
import { button, field } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { badge, counted } from '../lib/format.js';
import { complain, confirmed, dialog, toast } from '../lib/messages.js';

/** Chunks and characters that a page holds at most; longer documents are shown around what is looked for. */
const CHUNKS = 400;
const LETTERS = 400000;

/** @param {import('../app.js').Context} context */
export async function page({ path, query, signal, title }) {
  const [dataset, id] = path.map(encodeURIComponent);
  const base = `/kb/v1/datasets/${dataset}/documents/${id}`;
  const own = `/kb/v1/datasets/${dataset}/chunks`;
  const content = raw('GET', `${base}/text`, undefined, signal).then((r) => r.text());
  const [document_, text] = await Promise.all([get(base, signal), content.catch((error) => {
    // There is none before it was read.
    if (error.status !== 404) throw error;
    return '';
  })]);
  title(document_.title || document_.fileName);
  const letters = Array.from(text);
  /** @type {any[]} */
  let chunks = [];
  let chosen = query.get('chunk');
  const range = /^(\d+)-(\d+)$/.exec(query.get('at') ?? '');
  const at = range ? { start: Number(range[1]), end: Number(range[2]) } : null;
  const source = h('div', { class: 'source', tabindex: '0', role: 'region', 'aria-label': 'Document text' });
  const list = h('div', { class: 'chunks', tabindex: '0', role: 'region', 'aria-label': 'Chunks' });
  const told = h('p', { class: 'quiet' });

  const lost = h('div');
  const load = async () => {
    const [found, edits] = await Promise.all([all(`${base}/chunks`, signal), get(`${base}/edits`, signal)]);
    chunks = found;
    const orphans = edits.data.filter((/** @type {any} */ e) => e.orphaned);
    const title = `${counted(orphans.length, 'manual edit')} could not be reapplied after the document was re-chunked`;
    const cards = orphans.map((/** @type {any} */ e) => h('div', { class: 'card' },
      h('small', null, e.kind, e.enabled ? '' : ', hidden'),
      e.original && h('p', null, h('small', null, 'Original: '), e.original),
      e.content && h('p', null, h('small', null, 'Edited: '), e.content),
      button('Discard', async () => {
        await call('DELETE', `${base}/edits/${encodeURIComponent(e.id)}`);
        await load();
      }, { class: 'small' })));
    put(lost, orphans.length > 0 && h('details', { class: 'notice' }, h('summary', null, title), cards));
    draw();
  };
  const pick = (/** @type {string} */ chunk, /** @type {boolean} */ fromText) => {
    chosen = chunk;
    for (const element of [...source.querySelectorAll('.span'), ...list.querySelectorAll('.chunk')]) {
      element.classList.toggle('chosen', element.dataset.chunk === chunk);
    }
    const where = fromText ? list : source;
    where.querySelector(`[data-chunk="${CSS.escape(chunk)}"]`)?.scrollIntoView({ block: 'center' });
  };

  /** First chunk that is shown, when somebody has turned the pages. @type {number | null} */
  let beginning = null;
  const turn = (/** @type {number} */ to) => {
    [beginning, chosen] = [Math.max(0, to), null];
    draw();
  };

  /** A chunk in the text. @param {any} chunk @param {any} content */
  const spanOf = (chunk, content) => h('span', {
    class: `span c${chunk.ordinal % 4}`,
    'data-chunk': chunk.id,
    title: `Chunk ${chunk.ordinal + 1}`,
    onclick: () => pick(chunk.id, true),
  }, content);

  /** Name, origin and state of a chunk. @param {any} chunk */
  const headOf = (chunk) => {
    const name = `Chunk ${chunk.ordinal + 1}`;
    const show = h('button', {
      type: 'button',
      class: 'plain small',
      'aria-label': `Show chunk ${chunk.ordinal + 1} in the text`,
      onclick: () => pick(chunk.id, false),
    }, name);
    const title = 'The chunk exceeds the input limit of the embedding model';
    return h('div', { class: 'row' },
      show,
      chunk.origin !== 'parsed' && badge(chunk.origin),
      !chunk.enabled && badge('hidden'),
      chunk.truncated && h('span', { class: 'badge busy', title }, 'truncated'));
  };

  /** What can be done with a chunk. @param {any} chunk */
  const actionsOf = (chunk) => {
    const number = chunk.ordinal + 1;
    const address = `${own}/${encodeURIComponent(chunk.id)}`;
    const toggle = chunk.enabled ? 'Hide' : 'Show';
    const question = chunk.origin === 'added' ? 'Remove the added chunk?' : 'Restore the original text of the chunk?';
    return h('div', { class: 'row' },
      button('Edit', () => edit(chunk), { class: 'small', 'aria-label': `Edit chunk ${number}` }),
      button(toggle, async () => {
        await call('PATCH', address, { enabled: !chunk.enabled });
        await load();
      }, { class: 'small', 'aria-label': `${toggle} chunk ${number} in search results` }),
      chunk.origin !== 'parsed' && button('Revert', async () => {
        if (!(await confirmed(question, 'Revert'))) return;
        await call('DELETE', address);
        await load();
      }, { class: 'small' }));
  };

  /** A chunk in the list. @param {any} chunk */
  const cardOf = (chunk) => {
    const page = chunk.pageLabel || chunk.pageNumber;
    const facts = [counted(chunk.tokens, 'token'), page ? `page ${page}` : null, chunk.headingPath.join(' › ') || null];
    const name = `card chunk c${chunk.ordinal % 4} ${chunk.enabled ? '' : 'off'}`;
    return h('article', { class: name, 'data-chunk': chunk.id },
      headOf(chunk),
      h('small', null, facts.filter(Boolean).join(' · ')),
      h('p', { tabindex: '0', role: 'group', 'aria-label': `Text of chunk ${chunk.ordinal + 1}` }, chunk.content),
      actionsOf(chunk));
  };

  const draw = () => {
    const middle = Math.max(0, chunks.findIndex((c) => (chosen ? c.id === chosen : at && c.start <= at.start && c.end > at.start)));
    const from = Math.max(0, Math.min(beginning ?? middle - CHUNKS / 2, chunks.length - CHUNKS));
    const shown = chunks.slice(from, from + CHUNKS);
    const isLast = from + shown.length >= chunks.length;
    put(told, counted(chunks.length, 'chunk'), shown.length < chunks.length && [
      `, showing ${from + 1} to ${from + shown.length} `,
      from > 0 && button('Previous', () => turn(from - CHUNKS), { class: 'small' }),
      ' ',
      !isLast && button('Next', () => turn(from + CHUNKS), { class: 'small' }),
    ]);
    // Spans may overlap: each letter belongs to the last chunk that begins before it.
    const parsed = shown.filter((c) => c.origin !== 'added').sort((a, b) => a.start - b.start);
    const first = Math.max(0, (parsed[0]?.start ?? 0) - (from > 0 ? 200 : Infinity));
    const end = isLast ? letters.length : (parsed.at(-1)?.end ?? letters.length) + 200;
    const last = Math.min(letters.length, first + LETTERS, end);
    const part = (/** @type {number} */ start, /** @type {number} */ end) => {
      if (!at || at.end <= start || at.start >= end) return letters.slice(start, end).join('');
      const [a, b] = [Math.max(start, at.start), Math.min(end, at.end)];
      return [letters.slice(start, a).join(''), h('mark', null, letters.slice(a, b).join('')), letters.slice(b, end).join('')];
    };
    const spans = [];
    let place = first;
    parsed.forEach((chunk, i) => {
      if (chunk.start > place) spans.push(part(place, Math.min(chunk.start, last)));
      const start = Math.max(chunk.start, place);
      const end = Math.min(chunk.end, parsed[i + 1]?.start > chunk.start ? Math.max(parsed[i + 1].start, start) : chunk.end, last);
      if (end > start) spans.push(spanOf(chunk, part(start, end)));
      place = Math.max(place, end);
    });
    if (place < last) spans.push(part(place, last));
    put(source, text ? spans : h('p', { class: 'quiet' }, 'No text yet.'));
    put(list, shown.map(cardOf));
    const wanted = chosen ? `[data-chunk="${CSS.escape(chosen)}"]` : at ? 'mark' : null;
    if (wanted) requestAnimationFrame(() => {
      if (chosen) pick(chosen, false);
      source.querySelector(wanted)?.scrollIntoView({ block: 'center' });
      list.querySelector(wanted)?.scrollIntoView({ block: 'nearest' });
    });
  };

  const write = async (/** @type {string} */ heading, /** @type {string} */ words, /** @type {string} */ yes) => {
    const area = h('textarea', { rows: 12 }, words);
    return dialog(heading, (close) => [
      field('Text', area),
      h('p', { class: 'row end' }, h('button', { type: 'button', class: 'primary', onclick: () => close(area.value) }, yes)),
    ]);
  };
  const edit = async (/** @type {any} */ chunk) => {
    const content = await write(`Chunk ${chunk.ordinal + 1}`, chunk.content, 'Save');
    if (content === undefined || content === chunk.content) return;
    const changed = await call('PATCH', `${own}/${encodeURIComponent(chunk.id)}`, { content });
    chosen = changed.id;
    toast('Saved. The edit is kept when the file is re-ingested.');
    await load();
  };

  const preview = async () => {
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
  };

  await load();
  const link =
    document_.url &&
    /^https?:/.test(document_.url) &&
    h('a', { href: document_.url, rel: 'noreferrer noopener', target: '_blank' }, 'source URL');
  requestAnimationFrame(() => requestAnimationFrame(() => !signal.aborted && draw()));
  return [
    h('div', { class: 'top' },
      h('div', null,
        h('h1', null, document_.title || document_.fileName),
        h('p', { class: 'quiet' }, badge(document_.status), ' ', document_.fileName, ' ', link),
        document_.errorMessage && h('p', { class: 'notice bad' }, document_.errorMessage)),
      h('div', { class: 'row' }, h('a', { class: 'button', href: `/sandbox/datasets/${dataset}` }, 'Back to dataset'),
        button('Add chunk', async () => {
          const content = await write('Add chunk', '', 'Add');
          if (!content) return;
          const made = await post(`${base}/chunks`, { content });
          chosen = made.id;
          await load();
        }),
        button('Preview chunking', preview))),
    told, lost, h('div', { class: 'split' }, source, list),
  ];
}
