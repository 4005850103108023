// @ts-check
// The first visit of an empty service: four ways to begin.

import { get, post, raw } from '../lib/api.js';
import { button } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';

const SAMPLES = 'cairn-docs';
const QUESTION = 'how are vector and keyword scores blended?';
/** Files of an upload. */
const BATCH = 10;

/**
 * Adds Cairn's own documents to a dataset and returns it when they can be found.
 * @param {(text: string) => void} tell
 * @param {AbortSignal} signal
 */
async function addSamples(tell, signal) {
  const { documents } = await get('/docs/guide/source', signal);
  const dataset = await post('/kb/v1/datasets', { name: SAMPLES, description: 'Cairn’s own documentation' }, signal);
  for (let at = 0; at < documents.length; at += BATCH) {
    tell(`Adding documents ${at + 1} to ${Math.min(at + BATCH, documents.length)} of ${documents.length}…`);
    const form = new FormData();
    for (const path of documents.slice(at, at + BATCH)) {
      const text = await (await raw('GET', `/docs/guide/source/${path}`, undefined, signal)).blob();
      form.append('files', text, path);
    }
    await raw('POST', `/kb/v1/datasets/${dataset.id}/documents?wait=indexed`, form, signal);
  }
  return dataset;
}

/** A way to begin. @param {string} title @param {string} text @param {any} action */
const card = (title, text, action) =>
  h('section', { class: 'card' }, h('h2', null, title), h('p', null, text), h('p', { class: 'row' }, action));

/**
 * @param {(tab?: string) => Promise<void>} create asks for a new dataset and opens it
 * @param {(address: string) => void} go
 * @param {AbortSignal} signal
 */
export function firstVisit(create, go, signal) {
  const told = h('span', { class: 'quiet', role: 'status' });
  const samples = button(
    'Try with sample documents',
    async () => {
      try {
        const dataset = await addSamples((text) => put(told, text), signal);
        const lane = JSON.stringify({ datasetIds: [dataset.id] });
        go(`/sandbox/search?${new URLSearchParams({ q: QUESTION, lane })}`);
      } finally {
        put(told);
      }
    },
    { class: 'primary' },
  );
  const command = (/** @type {string} */ text) => h('pre', { tabindex: '0', role: 'group', 'aria-label': 'Command' }, text);
  return [
    h(
      'p',
      null,
      'There is nothing to search yet. A dataset is a collection of documents with one embedding model. Start with one of these:',
    ),
    h(
      'div',
      { class: 'cards' },
      card('Look around', 'Cairn’s own documentation, with a question to start with. It can be deleted afterwards.', [samples, told]),
      card(
        'Your documents',
        'Create a dataset and drop files or folders into it: PDF, Office, Markdown, HTML, mail, source code.',
        button('Upload documents', () => create()),
      ),
      card(
        'A website',
        'Create a dataset and crawl a website into it, once or on a schedule.',
        button('Crawl a website', () => create('crawl')),
      ),
    ),
    h(
      'section',
      { class: 'card' },
      h('h2', null, 'From the command line, or from an agent'),
      command(
        'cairn ingest ~/papers --dataset papers\ncairn search "why do tides lag behind the moon"\ncairn mcp config --for claude-code',
      ),
      h('p', null, h('a', { href: '/docs/guide' }, 'Read the guide')),
    ),
  ];
}
