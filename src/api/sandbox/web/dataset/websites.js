// @ts-check
// Websites of a dataset: settings, schedule, crawls as they go on, and what became of every address.

import { all, calmly, call, events, post } from '../lib/api.js';
import { button, field, form, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge, bytes, count, counted, ms } from '../lib/format.js';
import { complain, confirmed, dialog, toast } from '../lib/messages.js';
import { grid } from '../lib/table.js';

/** Settings that a form shows; the others keep what they have. */
/** @type {[string, string, 'number' | 'list' | 'flag' | 'text', string?][]} */
const FIELDS = [
  ['maxPages', 'Max pages', 'number'],
  ['maxDepth', 'Max depth', 'number'],
  ['requestsPerSecond', 'Requests per second', 'number'],
  ['urlPathFilter', 'Path prefix', 'text', 'leave blank for the whole site'],
  ['include', 'Include', 'list', 'comma-separated patterns: /docs/**'],
  ['exclude', 'Exclude', 'list', 'comma-separated patterns'],
  ['files', 'Index PDF and Office files', 'flag'],
  ['sitemaps', 'Use sitemaps', 'flag'],
  ['removeVanished', 'Remove missing pages', 'flag'], ['render', 'Render with a browser', 'flag'],
];

const SCHEDULES = ['manual', 'weekly', 'monthly', 'cron'];
const VERDICTS = ['new', 'changed', 'unchanged', 'skipped', 'failed', 'pending'];
const CRAWL_HEAD = ['Started', 'State', 'Pages', 'New', 'Changed', 'Unchanged', 'Skipped', 'Failed', 'Removed', ''];

/** The input of a setting. @param {string} kind @param {string} name @param {any} value */
function inputOf(kind, name, value) {
  if (kind === 'flag') {
    return h('input', { type: 'checkbox', checked: value ?? ['sitemaps', 'removeVanished'].includes(name) });
  }
  const text = kind === 'list' ? (value ?? []).join(', ') : value ?? '';
  return h('input', { type: kind === 'number' ? 'number' : 'text', step: 'any', value: text });
}

/** @param {string} dataset @param {AbortSignal} signal */
export async function sites(dataset, signal) {
  const base = `/kb/v1/datasets/${dataset}/sites`;
  const crawlsAt = `/kb/v1/datasets/${dataset}/crawls`;
  const out = h('div');
  const report = h('div');

  const edit = async (/** @type {any} */ site) => {
    const now = site?.settings ?? {};
    const start = h('input', {
      type: 'url',
      required: true,
      value: now.startUrl ?? '',
      placeholder: 'https://example.com/docs/',
      readonly: Boolean(site),
    });
    const inputs = Object.fromEntries(FIELDS.map(([name, , kind]) => [name, inputOf(kind, name, now[name])]));
    // A website that is added begins with the folder of its first address: whoever names https://example.com/docs/ means the documentation.
    if (!site) {
      let own = false;
      inputs.urlPathFilter.addEventListener('input', () => { own = true; });
      start.addEventListener('input', () => {
        if (own) return;
        const path = URL.canParse(start.value) ? new URL(start.value).pathname : '/';
        const folder = path.slice(0, path.lastIndexOf('/') + 1);
        inputs.urlPathFilter.value = folder === '/' ? '' : folder;
      });
    }
    const saved = await dialog(site ? 'Website settings' : 'Add a website', (close) => form(async () => {
      /** @type {any} */
      const body = { ...now, startUrl: start.value };
      for (const [name, , kind] of FIELDS) {
        const input = inputs[name];
        if (kind === 'flag') body[name] = input.checked;
        else if (kind === 'list') body[name] = input.value.split(',').map((/** @type {string} */ p) => p.trim()).filter(Boolean);
        else if (input.value !== '') body[name] = kind === 'number' ? Number(input.value) : input.value;
        else delete body[name];
      }
      close(await call('PUT', base, body));
    },
    field('Start URL', start),
    h('div', { class: 'fields' }, FIELDS.map(([name, label, kind, hint]) => kind === 'flag'
      ? h('p', null, h('label', { class: 'check' }, inputs[name], label))
      : field(label, inputs[name], hint))),
    h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Save'))));
    if (saved) await draw();
  };
  const plan = async (/** @type {any} */ site) => {
    const kind = select(SCHEDULES.map((s) => [s, s]), site.schedule);
    const cron = h('input', { value: site.cron ?? '', placeholder: '30 4 * * 1' });
    const read = () => ({ schedule: kind.value, cron: kind.value === 'cron' ? cron.value : undefined });
    const wanted = await dialog('Schedule', (close) => [
      field('Frequency', kind),
      field('Cron expression (UTC)', cron, 'for “cron” only: minute hour day month weekday'),
      h('p', { class: 'row end' }, h('button', { type: 'button', class: 'primary', onclick: () => close(read()) }, 'Save')),
    ]);
    if (!wanted) return;
    if (wanted.schedule === 'manual') await call('DELETE', `${base}/${site.id}/schedule`);
    else await call('PUT', `${base}/${site.id}/schedule`, wanted);
    await draw();
  };

  const siteRow = (/** @type {any} */ site) => {
    const { startUrl, maxPages, maxDepth, requestsPerSecond } = site.settings;
    const crawl = async () => {
      await post(`${base}/${site.id}/crawls`);
      await draw();
    };
    const remove = async () => {
      const question = 'Remove the website with its schedule and crawl history? Its documents are kept.';
      if (!(await confirmed(question, 'Remove'))) return;
      await call('DELETE', `${base}/${site.id}`);
      await draw();
    };
    return [
      startUrl,
      site.cron ? `${site.schedule} (${site.cron})` : site.schedule,
      `${count(maxPages)} pages, depth ${maxDepth}, ${requestsPerSecond}/s`,
      h('div', { class: 'row' },
        button('Crawl now', crawl, { class: 'small primary' }),
        button('Settings', () => edit(site), { class: 'small' }),
        button('Schedule', () => plan(site), { class: 'small' }),
        button('Remove', remove, { class: 'small danger' })),
    ];
  };
  const crawlRow = (/** @type {any} */ c) => {
    const stop = async () => {
      await post(`${crawlsAt}/${c.id}/cancel`);
      await draw();
    };
    return [
      ago(c.startedOn ?? c.createdOn),
      [badge(c.status), c.errorMessage && h('small', null, ` ${c.errorMessage}`)],
      `${count(c.pagesCrawled)}, ${bytes(c.bytesReceived)}`,
      count(c.pagesNew),
      count(c.pagesChanged),
      count(c.pagesUnchanged),
      count(c.pagesSkipped),
      count(c.pagesFailed),
      count(c.pagesRemoved),
      h('div', { class: 'row' },
        button('Report', () => verdicts(c), { class: 'small' }),
        ['queued', 'running'].includes(c.status) && button('Stop', stop, { class: 'small danger' })),
    ];
  };

  const draw = async () => {
    const [list, crawls] = await Promise.all([all(base, signal), all(crawlsAt, signal)]);
    crawls.reverse();
    put(out,
      table('Websites', ['Start URL', 'Schedule', 'Limits', ''], list.map(siteRow), 'No websites yet.'),
      h('p', null, button('Add a website', () => edit(null))),
      h('h2', null, 'Crawls'),
      table('Crawls', CRAWL_HEAD, crawls.slice(0, 50).map(crawlRow), 'No crawls yet.'));
  };

  const verdicts = async (/** @type {any} */ crawl) => {
    const options = VERDICTS.map((v) => /** @type {[string, string]} */ ([v, v]));
    const kind = select([['', 'all verdicts'], ...options], '', (v) =>
      list.filter((p) => !v || (p.verdict ?? 'pending') === v));
    const link = (/** @type {any} */ p) => {
      const href = `/sandbox/documents/${dataset}/${encodeURIComponent(p.documentId)}`;
      return p.documentId && h('a', { href }, 'open');
    };
    const reason = (/** @type {any} */ p) => h('span', { title: p.reason ?? '' }, p.reason ?? '');
    const list = grid('Crawl report', [
      { title: 'URL', width: 'minmax(16rem, 3fr)', sort: (p) => p.url, cell: (p) => h('span', { title: p.url }, p.url) },
      { title: 'Verdict', width: '7rem', sort: (p) => p.verdict ?? 'pending', cell: (p) => badge(p.verdict ?? p.state) },
      { title: 'Reason', width: 'minmax(12rem, 2fr)', sort: (p) => p.reason ?? '', cell: reason },
      { title: 'HTTP', width: '4rem', sort: (p) => p.httpStatus ?? 0, cell: (p) => p.httpStatus ?? '' },
      { title: 'Size', width: '5rem', sort: (p) => p.bytes, cell: (p) => bytes(p.bytes) },
      { title: 'Time', width: '5rem', sort: (p) => p.millis, cell: (p) => ms(p.millis) },
      { title: 'Document', width: '6rem', cell: link },
    ], (/** @type {any} */ p) => p.url);
    const told = h('span', { class: 'quiet' });
    put(report,
      h('h2', null, `Crawl report for ${crawl.startUrl}`),
      h('p', { class: 'row' }, h('label', { class: 'check' }, h('span', { class: 'unseen' }, 'Verdict'), kind), told),
      list.view);
    report.scrollIntoView({ behavior: 'smooth' });
    await all(`${crawlsAt}/${crawl.id}/pages`, signal, (items) => {
      list.set([...items]);
      put(told, counted(items.length, 'URL'));
    });
  };

  const again = calmly(() => draw().catch(complain), 700);
  events({ topics: ['crawl_changed'], datasetId: dataset }, signal, (_, event) => {
    if (event.errorMessage) toast(event.errorMessage, 'bad');
    again();
  }, again);
  await draw();
  return [out, report];
}
