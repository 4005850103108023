// @ts-check
// Websites of a dataset: settings, schedule, crawls as they go on, and what became of every address.

import { all, calmly, call, events, post } from '../lib/api.js';
import { button, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { count } from '../lib/format.js';
import { complain, confirmed, toast } from '../lib/messages.js';
import { crawlTable, showReport } from './crawls.js';
import { editWebsite, scheduleWebsite } from './website_settings.js';

/** @param {any} site @param {string} base path of the websites in the API @param {() => Promise<void>} redraw */
function row(site, base, redraw) {
  const { startUrl, maxPages, maxDepth, requestsPerSecond } = site.settings;
  const crawl = async () => {
    await post(`${base}/${site.id}/crawls`);
    await redraw();
  };
  const edit = async () => {
    if (await editWebsite(base, site)) await redraw();
  };
  const schedule = async () => {
    if (await scheduleWebsite(base, site)) await redraw();
  };
  const remove = async () => {
    const question = 'Remove the website with its schedule and crawl history? Its documents are kept.';
    if (!(await confirmed(question, 'Remove'))) return;
    await call('DELETE', `${base}/${site.id}`);
    await redraw();
  };
  return [
    startUrl,
    site.cron ? `${site.schedule} (${site.cron})` : site.schedule,
    `${count(maxPages)} pages, depth ${maxDepth}, ${requestsPerSecond}/s`,
    h(
      'div',
      { class: 'row' },
      button('Crawl now', crawl, { class: 'small primary' }),
      button('Settings', edit, { class: 'small' }),
      button('Schedule', schedule, { class: 'small' }),
      button('Remove', remove, { class: 'small danger' }),
    ),
  ];
}

/** @param {string} dataset @param {AbortSignal} signal */
export async function sites(dataset, signal) {
  const base = `/kb/v1/datasets/${dataset}/sites`;
  const crawlsAt = `/kb/v1/datasets/${dataset}/crawls`;
  const out = h('div');
  const report = h('div');
  const open = (/** @type {any} */ crawl) => showReport(report, crawl, dataset, crawlsAt, signal);
  const add = async () => {
    if (await editWebsite(base, null)) await draw();
  };
  const draw = async () => {
    const [list, crawls] = await Promise.all([all(base, signal), all(crawlsAt, signal)]);
    crawls.reverse();
    const rows = list.map((site) => row(site, base, draw));
    put(
      out,
      table('Websites', ['Start URL', 'Schedule', 'Limits', ''], rows, 'No websites yet.'),
      h('p', null, button('Add a website', add)),
      h('h2', null, 'Crawls'),
      crawlTable(crawls, crawlsAt, open, draw),
    );
  };

  const again = calmly(() => draw().catch(complain), 700);
  events(
    { topics: ['crawl_changed'], datasetId: dataset },
    signal,
    (_, event) => {
      if (event.errorMessage) toast(event.errorMessage, 'bad');
      again();
    },
    again,
  );
  await draw();
  return [out, report];
}
