// @ts-check
// The queue: what waits, what runs, what failed for good.

import { calmly, events, get, post } from '../lib/api.js';
import { button, latest, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge } from '../lib/format.js';
import { icon } from '../lib/icon.js';
import { complain, toast } from '../lib/messages.js';

/** @type {[string, string][]} */
const STATES = [
  ['open', 'running and queued'],
  ['dead', 'dead letters'],
  ['done', 'done'],
  ['cancelled', 'cancelled'],
  ['all', 'all'],
];

/** The buttons of a job. @param {any} job @param {() => Promise<void>} redraw */
function actions(job, redraw) {
  const retry = async () => {
    await post(`/kb/v1/jobs/${job.id}/retry`);
    toast('Queued.');
    await redraw();
  };
  const cancel = async () => {
    await post(`/kb/v1/jobs/${job.id}/cancel`);
    await redraw();
  };
  return h(
    'div',
    { class: 'row' },
    ['dead', 'cancelled'].includes(job.status) && button([icon('repeat'), 'Retry'], retry, { class: 'small' }),
    ['queued', 'running'].includes(job.status) && button([icon('close'), 'Cancel'], cancel, { class: 'small danger' }),
  );
}

/** @param {any} job @param {() => Promise<void>} redraw */
const row = (job, redraw) => [
  job.kind.replaceAll('_', ' '),
  [badge(job.status), job.cancelRequested && ' stopping'],
  `${job.attempts} of ${job.maxAttempts}`,
  job.lastError ?? '',
  ago(job.createdOn),
  ago(job.updatedOn),
  actions(job, redraw),
];

/**
 * A page of jobs; of the open ones, the running come before the queued.
 * @param {string} status
 * @param {string} cursor
 * @param {AbortSignal} signal
 */
async function load(status, cursor, signal) {
  const one = (/** @type {string} */ only) => {
    const query = new URLSearchParams({ limit: '100', ...(only && { status: only }), ...(cursor && { cursor }) });
    return get(`/kb/v1/jobs?${query}`, signal);
  };
  if (status !== 'open') return one(status === 'all' ? '' : status);
  const [running, queued] = await Promise.all([cursor ? { data: [] } : one('running'), one('queued')]);
  return { data: [...running.data, ...queued.data], pagination: queued.pagination };
}

/** @param {import('../app.js').Context} context */
export async function page({ query, signal, replace }) {
  let status = query.get('status') ?? 'open';
  const out = h('div');
  const dead = h('div');
  let at = '';
  const again = () => draw();
  const draw = latest(async (isLast, cursor = at) => {
    replace(`/sandbox/jobs?status=${status}`);
    const [page, given] = await Promise.all([load(status, cursor, signal), get('/kb/v1/jobs?status=dead&limit=1', signal)]);
    if (!isLast()) return;
    at = cursor;
    put(
      dead,
      given.data.length > 0 &&
        status !== 'dead' &&
        h(
          'p',
          { class: 'notice bad' },
          'Some jobs failed permanently. ',
          h('a', { href: '/sandbox/jobs?status=dead' }, 'View dead letters'),
        ),
    );
    const empty = /** @type {Record<string, string>} */ ({ dead: 'No dead letters.', open: 'Nothing is running or queued.' });
    put(
      out,
      table(
        'Jobs',
        ['Job', 'State', 'Attempts', 'Last error', 'Created', 'Updated', ''],
        page.data.map((/** @type {any} */ job) => row(job, again)),
        empty[status] ?? 'No matching jobs.',
      ),
      page.pagination.nextCursor && button('Next page', () => draw(page.pagination.nextCursor)),
      at && button('First page', () => draw('')),
    );
  });
  await draw();
  events(
    { topics: ['document_changed', 'crawl_changed'] },
    signal,
    calmly(() => draw().catch(complain), 1000),
  );
  const choice = select(STATES, status, (v) => {
    [status, at] = [v, ''];
    draw('').catch(complain);
  });
  const hint =
    'Failed jobs are retried with increasing delays. ' + 'Jobs that exhaust their attempts become dead letters and can be retried here.';
  return [
    h('div', { class: 'top' }, h('h1', null, 'Jobs'), h('label', { class: 'check' }, 'Show ', choice)),
    h('p', { class: 'quiet' }, hint),
    dead,
    out,
  ];
}
