// @ts-check
// Everything that datasets are kept in step with, websites included: what needs attention, what runs, and when the next run is.

import { all, calmly, events, post } from '../lib/api.js';
import { button, latest, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge, itemCounts } from '../lib/format.js';
import { icon } from '../lib/icon.js';
import { complain, toast } from '../lib/messages.js';

/** @type {[string, string][]} */
const STATES = [
  ['', 'all states'],
  ['failed', 'failed'],
  ['running', 'running'],
  ['queued', 'queued'],
  ['completed', 'completed'],
  ['cancelled', 'cancelled'],
  ['never', 'never run'],
];

/** Milliseconds between two looks while something runs. */
const LOOK = 2000;

/** @type {Record<string, string>} */
const KINDS = { website: 'Website', folder: 'Folder', s3: 'Bucket', feed: 'Feed', git: 'Git repository', imap: 'Mailbox' };

/** The result of the last run. @param {any} source */
function outcome({ state, lastRun }) {
  if (!lastRun) return badge('never');
  const told = itemCounts(lastRun);
  return [
    badge(state),
    told && ` ${told}`,
    h('br'),
    h('small', null, ago(lastRun.completedOn ?? lastRun.startedOn)),
    lastRun.errorMessage && h('small', null, ` ${lastRun.errorMessage}`),
  ];
}

/** When it runs. @param {any} source */
function schedule({ schedule, cron, isWatched, nextRunOn }) {
  if (isWatched && !cron) return 'when a file changes';
  if (!cron) return 'manually';
  return [
    `next ${new Date(nextRunOn).toLocaleString()}`,
    h('br'),
    h('small', null, isWatched ? `${cron}, and on changes` : `${schedule} (${cron} UTC)`),
  ];
}

/** @param {any} source @param {() => Promise<void>} redraw */
function row(source, redraw) {
  const tab = source.kind === 'website' ? 'crawl' : 'sources';
  const base = `/kb/v1/datasets/${source.datasetId}`;
  const run = async () => {
    await post(source.kind === 'website' ? `${base}/sites/${source.id}/crawls` : `${base}/sources/${source.id}/syncs`);
    toast('Started.');
    await redraw();
  };
  const isOpen = ['queued', 'running'].includes(source.state);
  const here = `/sandbox/datasets/${source.datasetId}`;
  return [
    [
      h('span', { class: 'with-icon' }, icon(source.kind), h('a', { href: `${here}?tab=${tab}` }, source.name)),
      h('small', null, KINDS[source.kind] ?? source.kind),
    ],
    h('a', { href: here }, source.datasetName),
    schedule(source),
    outcome(source),
    !isOpen && button([icon('start'), 'Run'], run, { class: 'small', 'aria-label': `Run ${source.name}` }),
  ];
}

/** @param {import('../app.js').Context} context */
export async function page({ query, signal, replace }) {
  let state = query.get('state') ?? '';
  const out = h('div');
  /** @type {any} */
  let timer = null;
  // A button keeps the focus as long as nothing has changed.
  let drawn = '';
  const draw = latest(async (isLast) => {
    replace(state ? `/sandbox/sources?state=${state}` : '/sandbox/sources');
    const list = await all(`/kb/v1/sources${state && `?state=${state}`}`, signal);
    if (!isLast()) return;
    // Failures first.
    list.sort((a, b) => Number(b.state === 'failed') - Number(a.state === 'failed'));
    const now = JSON.stringify([state, list]);
    if (now !== drawn)
      put(
        out,
        table(
          'Sources',
          ['Source', 'Dataset', 'Runs', 'Last run', ''],
          list.map((source) => row(source, draw)),
          state ? 'Nothing is in this state.' : 'No sources yet. Open a dataset to add a website or another source.',
        ),
      );
    drawn = now;
    clearTimeout(timer);
    if (list.some((source) => source.state === 'running' || source.state === 'queued'))
      timer = setTimeout(() => !signal.aborted && draw().catch(complain), LOOK);
  });
  await draw();
  signal.addEventListener('abort', () => clearTimeout(timer));
  events(
    { topics: ['crawl_changed'] },
    signal,
    calmly(() => draw().catch(complain), 1000),
  );
  const choice = select(STATES, state, (v) => {
    state = v;
    draw().catch(complain);
  });
  return [
    h('div', { class: 'top' }, h('h1', null, 'Sources'), h('label', { class: 'check' }, 'Show ', choice)),
    h(
      'p',
      { class: 'quiet' },
      'Websites, folders, buckets, feeds, Git repositories and mailboxes that keep datasets in sync. ',
      'To add one, open a dataset.',
    ),
    out,
  ];
}
