// @ts-check
// The crawls of a dataset's websites: a table, and the report of one with a verdict for every URL.

import { all, post } from '../lib/api.js';
import { button, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge, bytes, count, counted, cutInTheMiddle, ms } from '../lib/format.js';
import { grid } from '../lib/table.js';

const VERDICTS = ['new', 'changed', 'unchanged', 'skipped', 'failed', 'pending'];
const HEAD = ['Started', 'State', 'Pages', 'New', 'Changed', 'Unchanged', 'Skipped', 'Failed', 'Removed', ''];

/** How fast a running crawl is. @param {any} crawl */
function pace(crawl) {
  const seconds = (Date.now() - Date.parse(crawl.startedOn)) / 1000;
  const rate = crawl.pagesCrawled / Math.max(seconds, 1);
  return [h('progress', { 'aria-label': 'Crawl in progress' }), h('small', null, `${rate.toFixed(1)} pages/s`)];
}

/** @param {any} crawl @param {() => Promise<void>} open @param {() => Promise<void>} stop */
function row(crawl, open, stop) {
  return [
    ago(crawl.startedOn ?? crawl.createdOn),
    [badge(crawl.status), crawl.errorMessage && h('small', null, ` ${crawl.errorMessage}`)],
    [`${count(crawl.pagesCrawled)}, ${bytes(crawl.bytesReceived)}`, crawl.status === 'running' && pace(crawl)],
    count(crawl.pagesNew),
    count(crawl.pagesChanged),
    count(crawl.pagesUnchanged),
    count(crawl.pagesSkipped),
    count(crawl.pagesFailed),
    count(crawl.pagesRemoved),
    h(
      'div',
      { class: 'row' },
      button('Report', open, { class: 'small' }),
      ['queued', 'running'].includes(crawl.status) && button('Stop', stop, { class: 'small danger' }),
    ),
  ];
}

/**
 * @param {any[]} list newest first
 * @param {string} crawls path of the crawls in the API
 * @param {(crawl: any) => Promise<void>} open shows the report of a crawl
 * @param {() => Promise<void>} redraw called after one was stopped
 */
export function crawlTable(list, crawls, open, redraw) {
  const rows = list.slice(0, 50).map((crawl) =>
    row(
      crawl,
      () => open(crawl),
      async () => {
        await post(`${crawls}/${crawl.id}/cancel`);
        await redraw();
      },
    ),
  );
  return table('Crawls', HEAD, rows, 'No crawls yet.');
}

/** The URLs of a crawl as a table. @param {string} dataset */
function pageGrid(dataset) {
  const link = (/** @type {any} */ p) => {
    const href = `/sandbox/documents/${dataset}/${encodeURIComponent(p.documentId)}`;
    return p.documentId && h('a', { href }, 'open');
  };
  const reason = (/** @type {any} */ p) => h('span', { title: p.reason ?? '' }, p.reason ?? '');
  return grid(
    'Crawl report',
    [
      { title: 'URL', width: 'minmax(16rem, 3fr)', sort: (p) => p.url, cell: (p) => cutInTheMiddle(p.url) },
      { title: 'Verdict', width: '7rem', sort: (p) => p.verdict ?? 'pending', cell: (p) => badge(p.verdict ?? p.state) },
      { title: 'Reason', width: 'minmax(12rem, 2fr)', sort: (p) => p.reason ?? '', cell: reason },
      { title: 'HTTP', width: '4rem', sort: (p) => p.httpStatus ?? 0, cell: (p) => p.httpStatus ?? '' },
      { title: 'Size', width: '5rem', sort: (p) => p.bytes, cell: (p) => bytes(p.bytes) },
      { title: 'Time', width: '5rem', sort: (p) => p.millis, cell: (p) => ms(p.millis) },
      { title: 'Document', width: '6rem', cell: link },
    ],
    (/** @type {any} */ p) => p.url,
  );
}

/**
 * Shows the report of a crawl; its URLs appear as they are loaded.
 * @param {HTMLElement} place
 * @param {any} crawl
 * @param {string} dataset
 * @param {string} crawls path of the crawls in the API
 * @param {AbortSignal} signal
 */
export async function showReport(place, crawl, dataset, crawls, signal) {
  const list = pageGrid(dataset);
  const options = VERDICTS.map((v) => /** @type {[string, string]} */ ([v, v]));
  const told = h('span', { class: 'quiet', role: 'status' });
  const tell = () => put(told, counted(list.count(), 'URL'));
  const kind = select([['', 'all verdicts'], ...options], '', (v) => {
    list.filter((p) => !v || (p.verdict ?? 'pending') === v);
    tell();
  });
  put(
    place,
    h('h2', null, `Crawl report for ${crawl.startUrl}`),
    h('p', { class: 'row' }, h('label', { class: 'check' }, h('span', { class: 'unseen' }, 'Verdict'), kind), told),
    list.view,
  );
  place.scrollIntoView({ behavior: 'smooth' });
  await all(`${crawls}/${crawl.id}/pages`, signal, (items) => {
    list.set([...items]);
    tell();
  });
}
