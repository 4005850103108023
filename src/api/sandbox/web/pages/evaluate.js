// @ts-check
// Is the right passage found? Query sets with labels, runs of settings over them, their comparison, tuning.

import { call, datasets as load, get, post } from '../lib/api.js';
import { line } from '../lib/chart.js';
import { button, field, form, latest, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge, count, counted, ms } from '../lib/format.js';
import { complain, confirmed, dialog, failure, toast } from '../lib/messages.js';
import { PRESETS } from '../search/settings.js';

/** The set of queries made of titles. */
const KNOWN = 'generated from titles';

const RUN_HEAD = [
  'Select', 'Run', 'State', 'nDCG@10', 'Recall@10', 'MRR@10', 'Hit@1', 'Judged@10', 'p50', 'p95', 'When', '',
];

/** @param {import('../app.js').Context} context */
export async function page({ query, signal, replace }) {
  const datasets = await load(signal);
  if (datasets.length === 0) {
    const create = h('a', { href: '/sandbox' }, 'Create one.');
    return [h('h1', null, 'Evaluation'), h('p', { class: 'notice' }, 'No datasets yet. ', create)];
  }
  let dataset = query.get('dataset') ?? localStorage.getItem('cairn.dataset') ?? datasets[0].id;
  if (!datasets.some((d) => d.id === dataset)) dataset = datasets[0].id;
  let set = query.get('set') ?? '';
  const base = () => `/kb/v1/datasets/${dataset}`;
  const sets = h('div');
  const queries = h('div');
  const runs = h('div');
  const compared = h('div', { role: 'status' });
  const tuned = h('div', { role: 'status' });
  /** @type {string[]} */
  let picked = [];
  /** @type {any} */
  let timer = null;

  const here = () => {
    replace(`/sandbox/evaluate?${new URLSearchParams({ dataset, ...(set && { set }) })}`);
    localStorage.setItem('cairn.dataset', dataset);
  };
  /** The address that opens a query in lanes, one for each of the settings. @param {string} text @param {any[]} settings */
  const inLanes = (text, ...settings) => {
    const address = new URLSearchParams({ q: text });
    for (const own of settings) address.append('lane', JSON.stringify({ ...own, datasetIds: [dataset] }));
    return `/sandbox/search?${address}`;
  };

  const drawSets = async (/** @type {() => boolean} */ isLast) => {
    const list = (await get(`${base()}/query-sets`, signal)).data;
    if (!isLast()) return;
    if (!list.some((/** @type {any} */ s) => s.id === set)) set = list[0]?.id ?? '';
    const nameOf = (/** @type {any} */ s) => `${s.name} (${counted(s.queries, 'query', 'queries')})`;
    const choice = select(list.map((/** @type {any} */ s) => [s.id, nameOf(s)]), set, (v) => {
      set = v;
      drawAll().catch(complain);
    });
    put(sets, h('div', { class: 'row' },
      list.length > 0 && h('label', { class: 'check' }, h('span', { class: 'unseen' }, 'Query set'), choice),
      button('New set', async () => {
        const name = h('input', { required: true });
        const work = () => post(`${base()}/query-sets`, { name: name.value });
        const made = await dialog('New query set', (close) => form(async () => close(await work()),
          field('Name', name), h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Create'))));
        if (made) {
          set = made.id;
          await drawAll();
        }
      }),
      set && button('Import', bring), set && button('From history', remember), button('Generate from titles', async () => {
        // A set of their own: they are easier than what people ask.
        const own = list.find((/** @type {any} */ s) => s.name === KNOWN) ?? (await post(`${base()}/query-sets`, { name: KNOWN }));
        set = own.id;
        const { added } = await post(`${base()}/query-sets/${set}/synthetic`, { from: 'titles' });
        toast(`${counted(added, 'query', 'queries')} generated from unique document titles.`);
        await drawAll();
      }, { title: 'Create a query set from unique document titles, for use before labels exist' }),
      set && button('Delete set', async () => {
        if (!(await confirmed('Delete the query set with its queries and runs?', 'Delete'))) return;
        await call('DELETE', `${base()}/query-sets/${set}`);
        set = '';
        await drawAll();
      }, { class: 'danger' })),
    list.length === 0 && h('p', { class: 'notice' },
      'No labelled queries yet. Search in the ', h('a', { href: `/sandbox/search?dataset=${dataset}` }, 'sandbox'),
      ' and label hits with the keys 2, 1 and 0, or create a query set here and import labels.'));
  };

  const bring = async () => {
    const csv = h('textarea', { rows: 8, placeholder: 'query,document,grade\nwhy do tides lag,tides.pdf,2' });
    const file = h('input', { type: 'file', accept: '.csv,text/csv', onchange: async () => { csv.value = await file.files[0].text(); } });
    const hint =
      'CSV with the columns query, document (ID, external ID or file name) and grade (0 not relevant, 1 useful, 2 answer).';
    const text = await dialog('Import labels', (close) => [
      h('p', null, hint),
      field('CSV file', file),
      field('Or paste CSV', csv),
      h('p', { class: 'row end' },
        h('button', { type: 'button', class: 'primary', onclick: () => close(csv.value) }, 'Import')),
    ]);
    if (!text) return;
    const { added, unknown } = await post(`${base()}/query-sets/${set}/import`, { csv: text });
    const strange = unknown.length ? `; unknown: ${unknown.slice(0, 5).join(', ')}` : '';
    toast(`${counted(added, 'query', 'queries')} added${strange}.`, unknown.length ? 'bad' : 'good');
    await drawAll();
  };
  const remember = async () => {
    const asked = (await get(`${base()}/queries?limit=100`, signal)).data;
    const unique = [...new Map(asked.map((/** @type {any} */ a) => [a.query, a])).values()];
    const boxes = unique.map((a) => h('input', { type: 'checkbox', value: a.query }));
    const picks = () => boxes.filter((b) => b.checked).map((b) => b.value);
    const chosen = await dialog('Query history', (close) => [
      h('p', null, 'Queries are added without labels. Label their hits in the sandbox.'),
      unique.map((a, i) => h('p', null, h('label', { class: 'check' }, boxes[i], a.query))),
      h('p', { class: 'row end' }, h('button', { type: 'button', class: 'primary', onclick: () => close(picks()) }, 'Add')),
    ]);
    if (!chosen?.length) return;
    await post(`${base()}/query-sets/${set}/queries`, { queries: chosen.map((/** @type {string} */ text) => ({ text, labels: {} })) });
    await drawAll();
  };

  const drawQueries = async (/** @type {() => boolean} */ isLast) => {
    if (!set) return put(queries);
    const detail = await get(`${base()}/query-sets/${set}`, signal);
    if (!isLast()) return;
    const title = `${counted(detail.data.length, 'query', 'queries')} with their labels`;
    const list = detail.data.slice(0, 500);
    put(queries, h('details', { open: detail.data.length <= 10 }, h('summary', null, title),
      table('Queries', ['Query', 'Labels', ''], list.map((/** @type {any} */ q) => {
        const grades = Object.values(q.labels).map(Number);
        const remove = async () => {
          await call('DELETE', `${base()}/query-sets/${set}/queries/${q.id}`);
          await drawAll();
        };
        return [
          h('a', { href: inLanes(q.text, {}) }, q.text),
          grades.some((g) => g > 0) ? [2, 1, 0].map((g) => {
            const n = grades.filter((x) => x === g).length;
            return n ? `${n} × grade ${g}; ` : '';
          }).join('') : 'no positive labels',
          button('Remove', remove, { class: 'small plain', 'aria-label': `Remove ${q.text}` }),
        ];
      }), 'No queries yet.')));
  };

  const number = (/** @type {number | undefined} */ v) => (v === undefined ? '–' : v.toFixed(3));
  const drawRuns = async (/** @type {() => boolean} */ isLast = () => true) => {
    if (!set) return put(runs);
    const own = set;
    const list = (await get(`${base()}/query-sets/${set}/runs`, signal)).data;
    if (!isLast() || own !== set) return;
    picked = picked.filter((id) => list.some((/** @type {any} */ r) => r.id === id));
    const both = button('Compare selected', compare, { disabled: picked.length !== 2 });
    const choose = (/** @type {any} */ e) => {
      const id = e.target.dataset.run;
      picked = e.target.checked ? [...picked, id].slice(-2) : picked.filter((p) => p !== id);
      both.toggleAttribute('disabled', picked.length !== 2);
      for (const box of runs.querySelectorAll('input[type=checkbox]')) {
        /** @type {any} */ (box).checked = picked.includes(/** @type {any} */ (box).dataset.run);
      }
    };
    const row = (/** @type {any} */ run) => {
      const { measures: m, judgedAt10, p50Ms, p95Ms } = run.summary ?? {};
      const remove = async () => {
        await call('DELETE', `${base()}/runs/${run.id}`);
        await drawRuns();
      };
      const settings = JSON.stringify({ ...run.configuration, topK: undefined });
      return [
        run.summary && !run.tuning && h('input', {
          type: 'checkbox',
          checked: picked.includes(run.id),
          'aria-label': `Select ${run.name} to compare`,
          onchange: choose,
          'data-run': run.id,
        }),
        [run.name || 'Run', run.configuration && h('div', null, h('small', { class: 'mono' }, settings))],
        [
          badge(run.status),
          run.error && h('small', null, ` ${run.error}`),
          ['queued', 'running'].includes(run.status) && h('progress', { 'aria-label': 'Running' }),
        ],
        number(m?.ndcg_at_10),
        number(m?.recall_at_10),
        number(m?.mrr_at_10),
        number(m?.hit_at_1),
        judgedAt10 === undefined ? '–' : `${Math.round(100 * judgedAt10)}%`,
        run.summary ? ms(p50Ms) : '–',
        run.summary ? ms(p95Ms) : '–',
        ago(run.createdOn),
        button('Delete', remove, { class: 'small plain', 'aria-label': `Delete run ${run.name}` }),
      ];
    };
    put(runs,
      table('Runs', RUN_HEAD, list.map(row), 'No runs yet. Choose settings above and press Run.'),
      list.length > 1 && h('p', null, both));
    clearTimeout(timer);
    if (list.some((/** @type {any} */ r) => ['queued', 'running'].includes(r.status))) {
      timer = setTimeout(() => !signal.aborted && drawRuns().catch(complain), 1000);
    }
    const best = list.find((/** @type {any} */ r) => r.tuning);
    if (best) showTuning(best);
  };

  const compare = async () => {
    const [a, b] = picked;
    const [found, first, second] = await Promise.all([
      get(`${base()}/runs/${a}/compare?with=${b}`, signal),
      get(`${base()}/runs/${a}`, signal),
      get(`${base()}/runs/${b}`, signal),
    ]);
    const i = found.difference;
    const sure = i.low > 0 || i.high < 0;
    const row = (/** @type {any} */ d) => {
      const href = inLanes(d.text, first.configuration, second.configuration);
      return [h('a', { href, title: 'Open both in lanes' }, d.text), d.before.toFixed(3), d.after.toFixed(3)];
    };
    const head = ['Query', first.name || 'From', second.name || 'To'];
    const gain = `${i.mean >= 0 ? '+' : ''}${i.mean.toFixed(3)} nDCG@10`;
    const interval = ` (95% confidence interval ${i.low.toFixed(3)} to ${i.high.toFixed(3)})`;
    const over = ` over ${counted(found.queries, 'query', 'queries')}: `;
    put(compared, h('h2', null, `From “${first.name || 'Run'}” to “${second.name || 'Run'}”`),
      h('p', { class: `notice ${sure ? (i.mean > 0 ? 'good' : 'bad') : ''}` },
        h('strong', null, gain), interval, over,
        sure ? (i.mean > 0 ? 'better.' : 'worse.') : 'not statistically significant.'),
      h('div', { class: 'split' },
        h('div', null, h('h3', null, `${found.wins.length} won`), table('Won', head, found.wins.map(row), 'None.')),
        h('div', null, h('h3', null, `${found.losses.length} lost`), table('Lost', head, found.losses.map(row), 'None.'))),
      h('p', { class: 'quiet' }, `${count(found.ties)} unchanged.`));
    compared.scrollIntoView({ behavior: 'smooth', block: 'nearest' });
  };

  const showTuning = (/** @type {any} */ run) => {
    const t = run.tuning;
    const sure = t.gain.low > 0;
    const point = (/** @type {any} */ p) => {
      const label = `alpha ${p.alpha.toFixed(2)}: nDCG@10 ${p.ndcgAt10.toFixed(3)}`;
      return { x: p.alpha, y: p.ndcgAt10, label };
    };
    const tested = `On the held-out half (${counted(t.testedOn, 'query', 'queries')})`;
    const moved = `nDCG@10 ${t.before.ndcg_at_10.toFixed(3)} → ${t.after.ndcg_at_10.toFixed(3)}`;
    const gain = `gain ${t.gain.mean.toFixed(3)} (${t.gain.low.toFixed(3)} to ${t.gain.high.toFixed(3)})`;
    put(tuned, h('div', { class: 'card' }, h('h3', null, 'Best settings found ', ago(run.createdOn)),
      h('p', null, h('code', null, JSON.stringify(t.defaults)), t.applied ? ' – applied as dataset defaults.' : ' – not applied.'),
      h('p', null, `${tested}: ${moved}, ${gain}${sure ? '.' : '; not statistically significant.'}`),
      t.alphaCurve.length > 1 && line(t.alphaCurve.map(point), {
        title: `nDCG@10 by alpha, on the ${t.tunedOn} tuning queries`,
        x: 'alpha',
        y: 'nDCG@10',
        mark: t.defaults.hybridAlpha,
      }),
      h('div', { class: 'row' }, !t.applied && button('Apply', async () => {
        await call('PUT', `${base()}/search-defaults`, t.defaults);
        toast('Applied as dataset defaults.');
        t.applied = true;
        showTuning(run);
      }, { class: 'primary' }), button('Undo last change', async () => {
        const { defaults } = await post(`${base()}/search-defaults/undo`);
        toast(`Defaults restored: ${JSON.stringify(defaults)}`);
      }))));
  };

  const drawAll = latest(async (isLast) => {
    clearTimeout(timer);
    here();
    put(compared);
    put(tuned);
    try {
      await drawSets(isLast);
      if (!isLast()) return;
      here();
      await Promise.all([drawQueries(isLast), drawRuns(isLast)]);
    } catch (error) {
      if (isLast()) put(sets, failure(error));
    }
  });

  const name = h('input', { placeholder: 'defaults to the preset name' });
  const json = h('textarea', { rows: 2, spellcheck: 'false', 'aria-label': 'Settings as JSON' }, query.get('settings') ?? '{}');
  const presets = PRESETS.map(([label], i) => /** @type {[string, string]} */ ([String(i), label]));
  const preset = select(presets, '0', (at) => {
    json.value = JSON.stringify(PRESETS[Number(at)][1]);
  });
  await drawAll();
  return [
    h('div', { class: 'top' },
      h('h1', null, 'Evaluation'),
      h('label', { class: 'check' }, 'Dataset ', select(datasets.map((d) => [d.id, d.name]), dataset, (v) => {
        dataset = v;
        set = '';
        picked = [];
        drawAll().catch(complain);
      }))),
    h('h2', null, 'Query set'), sets, queries,
    h('h2', null, 'Run evaluation'),
    h('div', { class: 'fields' },
      field('Preset', preset),
      field('Settings (JSON)', json, 'search settings: {"hybridAlpha": 0.3}'),
      field('Name', name)),
    h('div', { class: 'row' }, button('Run', async () => {
      if (!set) throw new Error('Choose or create a query set first.');
      await post(`${base()}/query-sets/${set}/runs`, {
        name: name.value || PRESETS[Number(preset.value)][0],
        configuration: JSON.parse(json.value || '{}'),
        waitSeconds: 0,
      }, signal);
      await drawRuns();
    }, { class: 'primary' }), button('Tune settings', async () => {
      if (!set) throw new Error('Choose or create a query set first.');
      await post(`${base()}/query-sets/${set}/tune`, { apply: false, waitSeconds: 0 }, signal);
      await drawRuns();
    }, { title: 'Tunes on half of the labelled queries and evaluates on the other half' })),
    tuned, h('h2', null, 'Runs'), runs, compared,
  ];
}
