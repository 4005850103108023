// @ts-check
// A search to take along: as code in several languages, or with its results as a JSON file.

import { tabs } from '../lib/controls.js';
import { copyButton } from '../lib/copy.js';
import { h } from '../lib/dom.js';
import { dialog } from '../lib/messages.js';
import { request } from './settings.js';
import { snippets } from './snippets.js';

/** Opens a dialog with a search as code. @param {import('./settings.js').Settings} settings @param {string} query */
export function showCode(settings, query) {
  const body = { ...request(settings, query), explain: undefined };
  const panels = snippets(body, location.origin).map(([language, text]) => {
    return { name: language, title: language, body: () => [h('pre', { tabindex: '0' }, text), copyButton(text)] };
  });
  return dialog('Search as code', () => tabs('Languages', panels, 'curl'));
}

/** Downloads settings, results and candidates of all lanes. @param {string} query @param {import('./state.js').Lane[]} lanes */
export function download(query, lanes) {
  const run = {
    query,
    on: new Date().toISOString(),
    lanes: lanes.map((l) => ({ settings: l.settings, answer: l.answer, candidates: l.pool })),
  };
  const url = URL.createObjectURL(new Blob([JSON.stringify(run, null, 2)], { type: 'application/json' }));
  h('a', { href: url, download: 'sandbox-run.json' }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
