// @ts-check
// What was asked: by people and programs, with settings and latency; asked again, with what moved.

import { call, datasets as load, get, post } from '../lib/api.js';
import { button, complain, confirmed, dialog, h, latest, put, select, table, toast } from '../lib/dom.js';
import { ago, counted, ms, score } from '../lib/format.js';

/** @param {import('../app.js').Context} context */
export async function page({ query, signal, replace }) {
  const datasets = await load(signal);
  if (datasets.length === 0) return [h('h1', null, 'History'), h('p', { class: 'notice' }, 'There is no dataset yet.')];
  let dataset = datasets.find((d) => d.id === query.get('dataset'))?.id ?? datasets[0].id;
  let which = query.get('which') ?? 'all';
  let by = query.get('by') ?? 'all';
  const out = h('div');
  /** @type {any[]} */
  let items = [];
  const draw = latest(async (isLast, cursor = '') => {
    replace(`/sandbox/history?${new URLSearchParams({ dataset, which, by })}`);
    const page = await get(`/kb/v1/datasets/${dataset}/queries?which=${which}&by=${by}&limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, signal);
    if (!isLast()) return;
    items = cursor ? [...items, ...page.data] : page.data;
    put(out, table('Queries', ['Query', 'Hits', 'Best', 'Confident', 'Took', 'Asked by', 'When', 'Settings', ''], items.map((a) => [
      h('a', { href: `/sandbox/search?${new URLSearchParams({ q: a.query, lane: JSON.stringify(a.settings) })}` }, a.query), a.hits, score(a.results[0]?.score), a.confident ? 'yes' : 'no', ms(a.milliseconds), { sandbox: 'the sandbox' }[/** @type {'sandbox'} */ (a.keyId)] ?? (a.keyId ? 'a program' : 'the command line'), ago(a.createdOn), h('small', { class: 'mono' }, JSON.stringify({ ...a.settings, datasetIds: undefined })),
      button('Replay', () => replay(a), { class: 'small', 'aria-label': `Replay ${a.query}` })]), 'Nothing to show.'),
    page.pagination.nextCursor && button('More', () => draw(page.pagination.nextCursor)));
  });
  const replay = async (/** @type {any} */ asked) => {
    const again = await post(`/kb/v1/datasets/${dataset}/queries/${asked.id}/replay`);
    const ids = [...new Set(again.results.map((/** @type {any} */ m) => m.documentId))];
    const names = new Map(await Promise.all(ids.map(async (id) => /** @type {const} */ ([id, await get(`/kb/v1/datasets/${encodeURIComponent(dataset)}/documents/${encodeURIComponent(id)}`, signal).then((d) => d.title || d.fileName, () => 'gone')]))));
    const moved = again.results.filter((/** @type {any} */ m) => m.rankBefore !== m.rankAfter);
    await dialog(`“${asked.query}” asked again`, () => [h('p', null, moved.length === 0 ? 'Nothing moved.' : `${counted(moved.length, 'hit')} moved.`), table('What moved', ['Document', 'Rank before', 'Rank now', 'Score before', 'Score now'], again.results.map((/** @type {any} */ m) => [h('a', { href: `/sandbox/documents/${dataset}/${encodeURIComponent(m.documentId)}?chunk=${encodeURIComponent(m.chunkId)}` }, names.get(m.documentId)), m.rankBefore ?? '–', m.rankAfter ?? 'gone', score(m.scoreBefore), score(m.scoreAfter)]))]);
  };
  await draw();
  return [
    h('div', { class: 'top' }, h('h1', null, 'History'), h('div', { class: 'row' },
      h('label', { class: 'check' }, 'Dataset ', select(datasets.map((d) => [d.id, d.name]), dataset, (v) => { dataset = v; draw().catch(complain); })),
      h('label', { class: 'check' }, 'Show ', select([['all', 'all queries'], ['withoutHits', 'those without hits'], ['notConfident', 'those without a confident answer']], which, (v) => { which = v; draw().catch(complain); })),
      h('label', { class: 'check' }, 'Asked by ', select([['all', 'anybody'], ['programs', 'programs'], ['sandbox', 'the sandbox']], by, (v) => { by = v; draw().catch(complain); })),
      button('Remember', async () => { await call('PATCH', `/kb/v1/datasets/${dataset}/queries`, { remember: true }); toast('Queries of this dataset are remembered.'); }), button('Stop remembering', async () => { await call('PATCH', `/kb/v1/datasets/${dataset}/queries`, { remember: false }); toast('Queries of this dataset are not remembered any more.'); }),
      button('Forget all', async () => {
        if (!(await confirmed('What was asked of this dataset is forgotten.', 'Forget'))) return;
        await call('DELETE', `/kb/v1/datasets/${dataset}/queries`);
        await draw();
      }, { class: 'danger' }))), out];
}
