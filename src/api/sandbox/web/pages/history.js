// @ts-check
// What was asked: by people and programs, with settings and latency; asked again, with what moved.

import { call, datasets as load, get, post } from '../lib/api.js';
import { button, latest, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, counted, ms, score } from '../lib/format.js';
import { complain, confirmed, dialog, toast } from '../lib/messages.js';

/** @type {[string, string][]} */
const KINDS = [
  ['all', 'all queries'],
  ['withoutHits', 'without hits'],
  ['notConfident', 'without a confident answer'],
];
/** @type {[string, string][]} */
const SOURCES = [
  ['all', 'all sources'],
  ['programs', 'API and CLI'],
  ['sandbox', 'sandbox'],
];

/** @param {import('../app.js').Context} context */
export async function page({ query, signal, replace }) {
  const datasets = await load(signal);
  if (datasets.length === 0) return [h('h1', null, 'History'), h('p', { class: 'notice' }, 'No datasets yet.')];
  let dataset = datasets.find((d) => d.id === query.get('dataset'))?.id ?? datasets[0].id;
  let which = query.get('which') ?? 'all';
  let by = query.get('by') ?? 'all';
  const out = h('div');
  /** @type {any[]} */
  let items = [];
  const draw = latest(async (isLast, cursor = '') => {
    replace(`/sandbox/history?${new URLSearchParams({ dataset, which, by })}`);
    const from = cursor && `&cursor=${encodeURIComponent(cursor)}`;
    const page = await get(`/kb/v1/datasets/${dataset}/queries?which=${which}&by=${by}&limit=100${from}`, signal);
    if (!isLast()) return;
    items = cursor ? [...items, ...page.data] : page.data;
    put(
      out,
      table(
        'Queries',
        ['Query', 'Hits', 'Best score', 'Confident', 'Latency', 'Source', 'When', 'Settings', ''],
        items.map((a) => [
          h('a', { href: `/sandbox/search?${new URLSearchParams({ q: a.query, lane: JSON.stringify(a.settings) })}` }, a.query),
          a.hits,
          score(a.results[0]?.score),
          a.confident ? 'yes' : 'no',
          ms(a.milliseconds),
          { sandbox: 'sandbox' }[/** @type {'sandbox'} */ (a.keyId)] ?? (a.keyId ? 'API' : 'CLI'),
          ago(a.createdOn),
          h('small', { class: 'mono' }, JSON.stringify({ ...a.settings, datasetIds: undefined })),
          button('Replay', () => replay(a), { class: 'small', 'aria-label': `Replay ${a.query}` }),
        ]),
        'No queries.',
      ),
      page.pagination.nextCursor && button('Load more', () => draw(page.pagination.nextCursor)),
    );
  });
  const replay = async (/** @type {any} */ asked) => {
    const again = await post(`/kb/v1/datasets/${dataset}/queries/${asked.id}/replay`);
    const ids = [...new Set(again.results.map((/** @type {any} */ m) => m.documentId))];
    const documents = `/kb/v1/datasets/${encodeURIComponent(dataset)}/documents`;
    const nameOf = (/** @type {string} */ id) =>
      get(`${documents}/${encodeURIComponent(id)}`, signal).then(
        (d) => d.title || d.fileName,
        () => 'deleted',
      );
    const names = new Map(await Promise.all(ids.map(async (id) => /** @type {const} */ ([id, await nameOf(id)]))));
    const moved = again.results.filter((/** @type {any} */ m) => m.rankBefore !== m.rankAfter);
    const rows = again.results.map((/** @type {any} */ m) => {
      const [document, chunk] = [m.documentId, m.chunkId].map(encodeURIComponent);
      return [
        h('a', { href: `/sandbox/documents/${dataset}/${document}?chunk=${chunk}` }, names.get(m.documentId)),
        m.rankBefore ?? '–',
        m.rankAfter ?? 'missing',
        score(m.scoreBefore),
        score(m.scoreAfter),
      ];
    });
    await dialog(`Replay of “${asked.query}”`, () => [
      h('p', null, moved.length === 0 ? 'No rank changes.' : `${counted(moved.length, 'hit')} changed rank.`),
      table('Rank changes', ['Document', 'Rank before', 'Rank now', 'Score before', 'Score now'], rows),
    ]);
  };
  const remember = async (/** @type {boolean} */ wanted) => {
    await call('PATCH', `/kb/v1/datasets/${dataset}/queries`, { remember: wanted });
    toast(`Query history ${wanted ? 'enabled' : 'disabled'} for this dataset.`);
  };
  await draw();
  return [
    h(
      'div',
      { class: 'top' },
      h('h1', null, 'History'),
      h(
        'div',
        { class: 'row' },
        h(
          'label',
          { class: 'check' },
          'Dataset ',
          select(
            datasets.map((d) => [d.id, d.name]),
            dataset,
            (v) => {
              dataset = v;
              draw().catch(complain);
            },
          ),
        ),
        h(
          'label',
          { class: 'check' },
          'Show ',
          select(KINDS, which, (v) => {
            which = v;
            draw().catch(complain);
          }),
        ),
        h(
          'label',
          { class: 'check' },
          'Source ',
          select(SOURCES, by, (v) => {
            by = v;
            draw().catch(complain);
          }),
        ),
        button('Enable history', () => remember(true)),
        button('Disable history', () => remember(false)),
        button(
          'Clear history',
          async () => {
            if (!(await confirmed('Clear the query history of this dataset? It cannot be restored.', 'Clear history'))) return;
            await call('DELETE', `/kb/v1/datasets/${dataset}/queries`);
            await draw();
          },
          { class: 'danger' },
        ),
      ),
    ),
    out,
  ];
}
