// @ts-check
// The queue: what waits, what runs, what failed for good.

import { calmly, events, get, post } from '../lib/api.js';
import { button, latest, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge } from '../lib/format.js';
import { complain, toast } from '../lib/messages.js';

/** @type {[string, string][]} */
const STATES = [
  ['dead', 'dead letters'],
  ['running', 'running'],
  ['queued', 'queued'],
  ['done', 'done'],
  ['cancelled', 'cancelled'],
  ['all', 'all'],
];

/** @param {import('../app.js').Context} context */
export async function page({ query, signal, replace }) {
  let status = query.get('status') ?? 'dead';
  const out = h('div');
  let at = '';
  const draw = latest(async (isLast, cursor = at) => {
    replace(`/sandbox/jobs?status=${status}`);
    const which = status === 'all' ? '' : `&status=${status}`;
    const from = cursor && `&cursor=${encodeURIComponent(cursor)}`;
    const page = await get(`/kb/v1/jobs?limit=100${which}${from}`, signal);
    if (!isLast()) return;
    at = cursor;
    put(
      out,
      table(
        'Jobs',
        ['Job', 'State', 'Attempts', 'Last error', 'Created', 'Updated', ''],
        page.data.map((/** @type {any} */ job) => [
          job.kind.replaceAll('_', ' '),
          [badge(job.status), job.cancelRequested && ' stopping'],
          `${job.attempts} of ${job.maxAttempts}`,
          job.lastError ?? '',
          ago(job.createdOn),
          ago(job.updatedOn),
          h(
            'div',
            { class: 'row' },
            ['dead', 'cancelled'].includes(job.status) &&
              button(
                'Retry',
                async () => {
                  await post(`/kb/v1/jobs/${job.id}/retry`);
                  toast('Queued.');
                  await draw();
                },
                { class: 'small' },
              ),
            ['queued', 'running'].includes(job.status) &&
              button(
                'Cancel',
                async () => {
                  await post(`/kb/v1/jobs/${job.id}/cancel`);
                  await draw();
                },
                { class: 'small danger' },
              ),
          ),
        ]),
        status === 'dead' ? 'No dead letters.' : 'No matching jobs.',
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
    status = v;
    draw('').catch(complain);
  });
  const hint =
    'Failed jobs are retried with increasing delays. ' + 'Jobs that exhaust their attempts become dead letters and can be retried here.';
  return [
    h('div', { class: 'top' }, h('h1', null, 'Jobs'), h('label', { class: 'check' }, 'Show ', choice)),
    h('p', { class: 'quiet' }, hint),
    out,
  ];
}
