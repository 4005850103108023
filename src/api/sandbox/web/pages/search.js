// @ts-check
// The sandbox: one query, up to four lanes of settings side by side, every score taken apart.
//
// Each lane asks twice: for the hits as a program gets them, and for all candidates with their raw scores. The sliders blend the latter anew in the page, so dragging
// costs no request; the next search asks with the values that they have.

import { datasets as load, get, post } from '../lib/api.js';
import { blend } from '../lib/blend.js';
import { timeline } from '../lib/chart.js';
import { button, complain, dialog, failure, h, put, select, table, tabs, toast } from '../lib/dom.js';
import { count, counted, ms } from '../lib/format.js';
import { fromBlend, fromResult, show } from '../search/hit.js';
import { PRESETS, documents, form, request } from '../search/settings.js';
import { snippets } from '../search/snippets.js';

const MOST = 4;
const NAMES = 'ABCD';

/** @typedef {{settings: any, answer: any, pool: any, error: any, asked: string, slid: boolean, whyNot: any, hits: import('../search/hit.js').Hit[], root: HTMLElement, mark: () => void, refresh: () => void}} Lane */

/** @param {import('../app.js').Context} context */
export async function page({ query, signal, replace, push, go }) {
  const datasets = await load(signal);
  /** @type {Lane[]} */
  const lanes = [];
  const input = h('input', { type: 'search', placeholder: 'Enter a query', 'aria-label': 'Query', value: query.get('q') ?? '', autofocus: true, onkeydown: (/** @type {KeyboardEvent} */ e) => {
    if (e.key !== 'Escape') return;
    e.preventDefault();
    input.blur();
  } });
  const area = h('div', { class: 'lanes' });
  const overlap = h('div', { role: 'status', class: 'quiet' });
  /** @type {Map<string, number>} */
  const labels = new Map();
  let set = localStorage.getItem('cairn.labels') || 'sandbox';
  let grouped = query.get('group') === '1';
  let shortcuts = localStorage.getItem('cairn.shortcuts') !== 'off';

  const start = query.getAll('lane').flatMap((text) => {
    try {
      return [JSON.parse(text)];
    } catch {
      return [];
    }
  });
  if (start.length === 0) {
    const wanted = query.get('dataset');
    const last = datasets.find((d) => d.id === localStorage.getItem('cairn.dataset'));
    start.push({ datasetIds: wanted ? [wanted] : datasets.length ? [(last ?? datasets[0]).id] : [] });
  }

  const address = () => {
    const state = new URLSearchParams();
    if (input.value) state.set('q', input.value);
    if (grouped) state.set('group', '1');
    for (const lane of lanes) state.append('lane', JSON.stringify(lane.settings));
    return `/sandbox/search?${state}`;
  };

  /** @param {Lane} lane */
  const name = (lane) => NAMES[lanes.indexOf(lane)];

  /** What a lane shows: the answer, or what the sliders make of its candidates. @param {Lane} lane */
  const arrange = (lane) => {
    if (!lane.answer) {
      lane.hits = [];
      return;
    }
    const usual = new Map(lane.pool.datasets.map((/** @type {any} */ d) => [d.datasetId, d.usualMinScore]));
    if (!lane.slid) {
      lane.hits = lane.answer.results.map((/** @type {any} */ r) => fromResult(r, lane.settings.minScore ?? usual.get(r.datasetId) ?? 0));
      return;
    }
    const known = new Map(lane.answer.results.map((/** @type {any} */ r) => [r.chunkId, r]));
    const bounds = new Map(lane.pool.datasets.map((/** @type {any} */ d) => [d.datasetId, d.bm25Bound]));
    const s = lane.settings;
    const blended = blend(lane.pool, { alpha: s.hybridAlpha ?? null, minScore: s.minScore ?? null, fusion: s.fusion ?? 'blend', perDocument: s.perDocument });
    lane.hits = blended.slice(0, s.topK ?? 10).map((b) => fromBlend(b, bounds.get(b.candidate.datasetId) ?? 0, known.get(b.candidate.chunkId)));
  };

  /** @param {Lane} lane */
  const body = (lane) => {
    const { answer } = lane;
    if (lane.error) return failure(lane.error);
    if (!answer) return h('p', { class: 'quiet' }, lane.settings.datasetIds.length === 0 ? 'Select a dataset.' : 'No search yet.');
    const t = answer.timings;
    const stages = t ? [{ name: 'embed', ms: t.embedMs }, { name: 'retrieve', ms: t.retrieveMs }, { name: 'rerank', ms: t.rerankMs }, { name: 'assemble', ms: t.assembleMs }] : [];
    const first = lanes[0];
    const ranks = new Map(first.hits.map((hit, i) => [hit.chunkId, i + 1]));
    const c = answer.confidence;
    const best = lane.hits[0]?.score ?? 0;
    const items = lane.hits.map((hit, i) => ({ hit, element: show(hit, {
      rank: i + 1, before: ranks.get(hit.chunkId) ?? null, compares: lane !== first, signal, reranked: !lane.slid, grade: labels.get(`${hit.fileId}@${hit.chunkId}`),
      label: (grade) => label(lane, hit, grade),
    }) }));
    /** @type {any} */
    let listed = h('ol', { class: 'hits', 'aria-label': `Hits of lane ${name(lane)}` }, items.map((i) => i.element));
    if (grouped) {
      /** @type {Map<string, typeof items>} */
      const groups = new Map();
      for (const item of items) groups.set(item.hit.fileId, [...(groups.get(item.hit.fileId) ?? []), item]);
      listed = [...groups.values()].map((group) => h('section', null, h('h3', null, `${group[0].hit.title || group[0].hit.fileName} · ${counted(group.length, 'hit')}`), h('ol', { class: 'hits' }, group.map((i) => i.element))));
    }
    const terms = answer.results[0]?.explain?.terms ?? [];
    return [
      lane.slid && h('p', { class: 'notice' }, 'Preview: scores were recalculated in the browser. Reranking, diversity and folding apply on the next search. ', button('Search', ask, { class: 'small' })),
      answer.didYouMean && h('p', null, 'Did you mean ', button(answer.didYouMean, () => { input.value = answer.didYouMean; return ask(); }, { class: 'plain' }), '?'),
      answer.degraded && h('p', { class: 'notice bad' }, `Incomplete results: ${answer.degraded.map((/** @type {string} */ d) => (d === 'vectors' ? 'vector search is unavailable, keyword results only' : d)).join('; ')}. Scores and order will change.`),
      answer.readAsPlain && h('p', { class: 'notice' }, 'No results without the excluded terms. The query was searched as plain text instead.'),
      !answer.degraded && trust(lane, c, best),
      stages.length > 0 && !answer.cached && timeline(stages),
      h('p', { class: 'quiet' }, h('small', null, answer.cached ? `Cached, ${ms(answer.searchMs)}` : stages.map((s) => `${s.name} ${ms(s.ms)}`).join(' · '), ` · ${counted(answer.candidates, 'candidate')}, ${count(answer.totals.matching)} above the threshold in ${counted(answer.totals.documents, 'document')}`,
        answer.reranking && ` · ${answer.reranking.outcome === 'reranked' ? `reranked ${answer.reranking.candidates} with ${answer.reranking.model}` : `reranking: ${answer.reranking.outcome}`}`)),
      lane.pool && h('p', { class: 'quiet' }, h('small', null, 'Alpha ', lane.slid ? (lane.settings.hybridAlpha ?? lane.pool.datasets[0].usualAlpha).toFixed(2) : [...new Set(lane.pool.datasets.map((/** @type {any} */ d) => d.alphaReason))].join('; '), lane.pool.truncated && ' · candidate list truncated')),
      (answer.facets ?? []).map((/** @type {any} */ facet) => h('div', { class: 'chips', role: 'group', 'aria-label': `Facet ${facet.field}` }, h('small', null, facet.field), facet.values.slice(0, 12).map((/** @type {any} */ v) => button(`${v.value ?? 'none'} (${v.chunks})`, () => narrow(lane, facet.field, v.value), { class: 'small' })))),
      lane.hits.length === 0 ? h('p', null, 'No hits.') : listed,
      terms.length > 0 && h('details', null, h('summary', null, 'Query terms'), table('Query terms', ['Term', 'Chunks (df)', 'IDF', 'Variants'], terms.map((/** @type {any} */ term) => [term.term, count(term.df), term.idf.toFixed(2), term.forms.map((/** @type {any} */ f) => `${f.term.split(':').pop()} (${f.kind}, ${count(f.df)})`).join(', ')]))),
      lane.whyNot ??= whyNot(lane),
    ];
  };

  /** How far the best hit can be trusted. @param {Lane} lane @param {any} c @param {number} best */
  const trust = (lane, c, best) => {
    const { fusion, hybridAlpha } = lane.settings;
    if (fusion) return h('p', { class: 'notice' }, 'With this fusion, scores are relative to the query and do not indicate confidence.');
    if (lane.hits.length === 0) return h('p', { class: 'notice bad' }, 'Not confident: no hit reaches the threshold.');
    const isConfident = best >= c.threshold;
    // The general line was measured with both sides in the blend.
    const isOneSided = !c.calibrated && hybridAlpha !== undefined && (hybridAlpha > 0.9 || hybridAlpha < 0.1);
    return h('p', { class: `notice ${isOneSided ? '' : isConfident ? 'good' : 'bad'}` }, isOneSided ? 'Best score ' : isConfident ? 'Confident: best score ' : 'Not confident: best score ', `${best.toFixed(3)}; confidence threshold ${c.threshold.toFixed(2)}${c.calibrated ? '' : ' (general default)'}`, isOneSided ? '. Not meaningful with nearly all weight on one side.' : '.');
  };

  /** @param {Lane} lane @param {string} name @param {any} value */
  const narrow = (lane, name, value) => {
    const own = value === null ? { field: name, op: 'exists', value: false } : { field: name, op: 'eq', value };
    lane.settings.filter = lane.settings.filter ? { and: [lane.settings.filter, own] } : own;
    rebuild();
    return ask();
  };

  /** @param {Lane} lane */
  const whyNot = (lane) => {
    const said = h('div', { role: 'status' });
    const list = h('datalist', { id: `docs-${name(lane)}` });
    const wanted = h('input', { list: list.id, placeholder: 'Document name or ID', 'aria-label': `Expected document in lane ${name(lane)}` });
    /** @type {any[] | null} */
    let known = null;
    wanted.addEventListener('focus', async () => {
      if (known) return;
      known = [];
      known = await documents(lane.settings.datasetIds, signal).catch(() => []);
      put(list, known.slice(0, 2000).map((d) => h('option', { value: d.fileName })));
    });
    const work = async () => {
      const text = wanted.value.trim();
      if (!text) {
        wanted.focus();
        return;
      }
      known ??= await documents(lane.settings.datasetIds, signal);
      const part = text.toLowerCase();
      const alike = known.filter((d) => [d.fileName, d.title ?? ''].some((n) => n.toLowerCase().includes(part)));
      const document = known.find((d) => d.id === text || d.fileName === text || d.title === text) ?? (alike.length === 1 ? alike[0] : undefined);
      if (!document && alike.length > 1) {
        put(said, h('p', null, 'Several documents match: ', alike.slice(0, 12).map((d) => button(d.fileName, () => { wanted.value = d.fileName; return work(); }, { class: 'small' }))));
        return;
      }
      const expected = document ? { documentId: document.id } : { chunkId: text };
      const why = await post('/kb/v1/why-not', { ...request(lane.settings, lane.asked), ...expected }, signal);
      const numbers = [why.rank && `rank ${why.rank}`, why.score !== null && why.score !== undefined && `score ${why.score.toFixed(3)}`, why.lastScore !== null && why.lastScore !== undefined && `last hit ${why.lastScore.toFixed(3)}`, why.vectorRank && `semantic rank ${why.vectorRank}`, why.keywordRank && `keyword rank ${why.keywordRank}`].filter(Boolean);
      put(said, h('div', { class: `notice ${why.cause === 'found' ? 'good' : ''}` }, h('strong', null, why.sentence), why.remedy && h('p', null, why.remedy), numbers.length > 0 && h('p', null, h('small', null, numbers.join(' · ')))));
    };
    return h('details', { class: 'why-not' }, h('summary', null, 'Missing a result?'), h('form', { class: 'row', onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); work().catch(complain); } }, h('div', { class: 'grow' }, wanted), list, h('button', null, 'Why not?')), said);
  };

  const draw = () => {
    lanes.forEach(arrange);
    for (const lane of lanes) {
      // What was opened stays open, and what had the focus has it again.
      const opened = [...lane.root.querySelectorAll('.hit details[open]')].map((d) => [d.closest('.hit')?.getAttribute('data-chunk'), d.querySelector('summary')?.textContent]);
      const focus = lane.root.contains(document.activeElement) ? document.activeElement?.closest('.hit')?.getAttribute('data-chunk') : null;
      lane.refresh();
      lane.mark();
      // The best sentence is what is seen first of a long text.
      for (const best of lane.root.querySelectorAll('.hit .text > strong')) {
        const box = /** @type {HTMLElement} */ (best.parentElement);
        box.scrollTop = Math.max(0, /** @type {HTMLElement} */ (best).offsetTop - box.offsetTop - 24);
      }
      for (const [chunk, name] of opened) for (const d of lane.root.querySelectorAll(`.hit[data-chunk="${CSS.escape(chunk ?? '')}"] details`)) if (d.querySelector('summary')?.textContent === name) /** @type {any} */ (d).open = true;
      if (focus && !lane.root.contains(document.activeElement)) /** @type {HTMLElement | null} */ (lane.root.querySelector(`.hit[data-chunk="${CSS.escape(focus)}"]`))?.focus();
    }
    const first = lanes[0];
    const top = new Set(first?.hits.slice(0, 10).map((hit) => hit.chunkId));
    put(overlap, lanes.length > 1 && lanes.some((l) => l.answer) && lanes.slice(1).map((lane) => {
      const both = lane.hits.slice(0, 10).filter((hit) => top.has(hit.chunkId)).length;
      return `Overlap@10 of ${name(lane)} with A: ${both} of ${Math.min(10, Math.max(lane.hits.length, top.size))}. `;
    }));
  };

  /** @param {any} settings */
  const add = (settings) => {
    /** @type {Lane} */
    const lane = { settings, answer: null, pool: null, error: null, asked: '', slid: false, whyNot: null, hits: [], root: h('section', { class: 'lane' }), mark: () => {}, refresh: () => {} };
    lanes.push(lane);
    return lane;
  };

  /** Lanes with their forms, anew. */
  const rebuild = () => {
    for (const lane of lanes) {
      const answer = h('div', { class: 'answer' });
      const title = `Lane ${name(lane)}`;
      lane.root.setAttribute('aria-label', title);
      const made = form({ settings: lane.settings, first: () => lanes[0].settings, datasets, signal, suited: () => lane.pool?.datasets[0]?.usualAlpha, changed: (slid) => {
        if (slid && lane.pool && lane.answer) {
          lane.slid = true;
          draw();
          replace(address());
        } else {
          replace(address());
          lanes.forEach((l) => l.mark());
          // Hits of other settings would be misread.
          if (lane.asked) ask().catch(complain);
        }
      } });
      lane.mark = made.mark;
      lane.refresh = () => put(answer, body(lane));
      put(lane.root,
        h('header', null, h('h2', null, title), h('div', { class: 'row' },
          select([['', 'Presets…'], ...PRESETS.map(([preset], i) => /** @type {[string, string]} */ ([String(i), preset]))], '', (at) => {
            if (at === '') return;
            lane.settings = { datasetIds: lane.settings.datasetIds, topK: lane.settings.topK, ...structuredClone(PRESETS[Number(at)][1]) };
            if (lane.settings.topK === undefined) delete lane.settings.topK;
            rebuild();
            ask().catch(complain);
          }),
          lanes.length < MOST && button('Duplicate', () => {
            const copy = add(structuredClone(lane.settings));
            Object.assign(copy, { answer: lane.answer, pool: lane.pool, asked: lane.asked, slid: lane.slid });
            rebuild();
            replace(address());
            copy.root.scrollIntoView({ inline: 'end', block: 'nearest' });
          }, { class: 'small', title: 'Add a lane with the same settings' }),
          lane.settings.datasetIds.length === 1 && button('Evaluate', () => go(`/sandbox/evaluate?${new URLSearchParams({ dataset: lane.settings.datasetIds[0], settings: JSON.stringify({ ...lane.settings, datasetIds: undefined, topK: undefined }) })}`), { class: 'small', title: 'Evaluate these settings on labelled queries' }),
          button('Code', () => code(lane), { class: 'small', title: 'This search as curl, Python, TypeScript, Rust or MCP call' }),
          lanes.length > 1 && button('×', () => {
            lanes.splice(lanes.indexOf(lane), 1);
            rebuild();
            replace(address());
          }, { class: 'small', 'aria-label': `Remove lane ${name(lane)}` }))),
        made.root, answer);
      // A preset sits beside a name in the header; it needs one of its own.
      lane.root.querySelector('select')?.setAttribute('aria-label', `Preset for lane ${name(lane)}`);
    }
    put(area, lanes.map((l) => l.root));
    area.classList.toggle('one', lanes.length === 1);
    draw();
  };

  let turn = 0;
  const ask = async () => {
    const words = input.value.trim();
    if (!words) {
      input.focus();
      return;
    }
    turn += 1;
    const own = turn;
    // Another question is another page to go back to.
    if (lanes.some((l) => l.asked) && lanes[0].asked !== words) push(address());
    else replace(address());
    document.title = `${words} · Cairn`;
    localStorage.setItem('cairn.dataset', lanes[0]?.settings.datasetIds[0] ?? '');
    await Promise.all(lanes.map(async (lane) => {
      if (lane.settings.datasetIds.length === 0) return;
      const body = request(structuredClone(lane.settings), words);
      lane.error = null;
      try {
        const [answer, pool] = await Promise.all([post('/kb/v1/search', { ...body, explain: true, cache: false }, signal), post('/kb/v1/candidates', body, signal)]);
        if (own === turn) Object.assign(lane, { answer, pool, asked: words, slid: false });
      } catch (error) {
        if (signal.aborted || own !== turn) return;
        Object.assign(lane, { answer: null, pool: null, error });
      }
    }));
    if (signal.aborted || own !== turn) return;
    labels.clear();
    draw();
    known(words, () => own === turn).catch(complain);
  };

  /** Labels that the set has for a query already. @param {string} words @param {() => boolean} isLast */
  const known = async (words, isLast) => {
    const all = lanes.flatMap((lane) => lane.hits);
    for (const dataset of new Set(all.map((hit) => hit.datasetId))) {
      const sets = (await get(`/kb/v1/datasets/${dataset}/query-sets`, signal)).data;
      const own = sets.find((/** @type {any} */ s) => s.name === set);
      if (!own) continue;
      const detail = await get(`/kb/v1/datasets/${dataset}/query-sets/${own.id}`, signal);
      const query = detail.data.find((/** @type {any} */ q) => q.text === words);
      for (const [what, grade] of Object.entries(query?.labels ?? {})) {
        const [file, span] = what.split('@');
        const [from, to] = (span ?? '').split('-').map(Number);
        for (const hit of all) if (hit.fileId === file && (!span || (hit.start >= from && hit.start < to))) labels.set(`${hit.fileId}@${hit.chunkId}`, Number(grade));
      }
    }
    if (isLast() && !signal.aborted && labels.size) draw();
  };

  /** Labels are given one after the other, to the query that was answered. */
  let giving = Promise.resolve();
  /** @param {Lane} lane @param {import('../search/hit.js').Hit} hit @param {number} grade */
  const label = (lane, hit, grade) => {
    const words = lane.asked;
    giving = giving.then(async () => {
      const base = `/kb/v1/datasets/${hit.datasetId}/query-sets`;
      const sets = (await get(base, signal)).data;
      const own = sets.find((/** @type {any} */ s) => s.name === set) ?? (await post(base, { name: set }, signal));
      await post(`${base}/${own.id}/queries`, { queries: [{ text: words, labels: { [hit.chunkId]: grade } }] }, signal);
      if (lane.asked !== words) return;
      labels.set(`${hit.fileId}@${hit.chunkId}`, grade);
      draw();
      toast(`Labelled ${grade} in query set “${set}”.`);
    }).catch(complain);
  };

  /** @param {Lane} lane */
  const code = (lane) => dialog('Search as code', () => tabs('Languages', snippets({ ...request(lane.settings, lane.asked || input.value), explain: undefined }, location.origin).map(([language, text]) => ({
    name: language, title: language, body: () => [h('pre', { tabindex: '0' }, text), button('Copy', async () => { await navigator.clipboard.writeText(text); toast('Copied.'); })],
  })), 'curl'));

  const save = () => {
    const run = { query: input.value, on: new Date().toISOString(), lanes: lanes.map((l) => ({ settings: l.settings, answer: l.answer, candidates: l.pool })) };
    const url = URL.createObjectURL(new Blob([JSON.stringify(run, null, 2)], { type: 'application/json' }));
    h('a', { href: url, download: 'sandbox-run.json' }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };

  // Keys: / to the query, j and k along the hits, 2, 1, 0 to label.
  const keys = (/** @type {KeyboardEvent} */ e) => {
    const at = /** @type {HTMLElement} */ (e.target);
    if (!shortcuts || e.ctrlKey || e.metaKey || e.altKey || at.closest('input, textarea, select, dialog')) return;
    const all = /** @type {HTMLElement[]} */ ([...area.querySelectorAll('.hit')]);
    const now = /** @type {HTMLElement | null} */ (at.closest('.hit'));
    if (e.key === '/') input.focus();
    else if (e.key === 'j' || e.key === 'k') all[Math.max(0, Math.min(all.length - 1, now ? all.indexOf(now) + (e.key === 'j' ? 1 : -1) : 0))]?.focus();
    else if (now && '012'.includes(e.key)) {
      const lane = lanes.find((l) => l.root.contains(now));
      const hit = lane?.hits.find((x) => x.chunkId === now.dataset.chunk);
      if (lane && hit) label(lane, hit, Number(e.key));
    } else return;
    e.preventDefault();
  };
  document.addEventListener('keydown', keys);
  signal.addEventListener('abort', () => document.removeEventListener('keydown', keys));

  start.slice(0, MOST).forEach((settings) => add({ ...settings, datasetIds: settings.datasetIds ?? [] }));
  rebuild();
  if (input.value) ask().catch(complain);
  const into = h('input', { value: set, 'aria-label': 'Query set for labels', size: 14, onchange: (/** @type {any} */ e) => { set = e.target.value.trim() || 'sandbox'; localStorage.setItem('cairn.labels', set); } });
  if (datasets.length === 0) return [h('h1', null, 'Sandbox'), h('p', { class: 'notice' }, 'No datasets yet. ', h('a', { href: '/sandbox' }, 'Create one and add files.'))];
  return [
    h('h1', { class: 'unseen' }, 'Sandbox'),
    h('form', { class: 'query', role: 'search', onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); ask().then(() => /** @type {HTMLElement | null} */ (area.querySelector('.hit'))?.focus({ preventScroll: true })).catch(complain); } }, input, h('button', { class: 'primary' }, 'Search'), button('Export', save, { title: 'Download settings, results and candidates as JSON' })),
    h('div', { class: 'top' },
      h('div', { class: 'key' }, h('span', null, h('i', { class: 'vector' }), 'semantic'), h('span', null, h('i', { class: 'keyword' }), 'keyword'), h('span', null, h('i', { class: 'i-final' }), 'score'), h('span', null, h('i', { class: 'i-least' }), 'threshold'), h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: shortcuts, onchange: (/** @type {any} */ e) => { shortcuts = e.target.checked; localStorage.setItem('cairn.shortcuts', shortcuts ? 'on' : 'off'); } }), 'Shortcuts: / query, j k hits, 2 1 0 label')),
      h('div', { class: 'row' }, h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: grouped, onchange: (/** @type {any} */ e) => { grouped = e.target.checked; replace(address()); draw(); } }), 'Group by document'), h('label', { class: 'check' }, 'Save labels to ', into), h('a', { class: 'button', href: '/sandbox/evaluate' }, 'Evaluation'))),
    overlap, area,
  ];
}
