// @ts-check
// A lane: the settings of one search, as the API takes them, and the form that changes them.

import { all, get } from '../lib/api.js';
import { field, h, put, select, uid } from '../lib/dom.js';

/** @typedef {Record<string, any>} Settings */

/** The settings of a search that a form shows beside the sliders: name, label, and what the form holds. */
/** @type {{name: string, label: string, kind: 'number' | 'flag' | 'choice' | 'json' | 'words', hint?: string, min?: number, max?: number, step?: number, options?: [string, string][]}[]} */
const FIELDS = [
  { name: 'topK', label: 'Top K', kind: 'number', min: 1, max: 100, hint: 'default: 10' },
  { name: 'candidates', label: 'Candidates', kind: 'number', min: 1, max: 2000, hint: 'per index' },
  { name: 'fusion', label: 'Fusion', kind: 'choice', options: [['', 'blend (absolute scores)'], ['rrf', 'reciprocal rank fusion'], ['minmax', 'min-max']] },
  { name: 'rerank', label: 'Rerank', kind: 'flag', hint: 'uses the configured cross-encoder' },
  { name: 'mmr', label: 'Diversity (MMR)', kind: 'number', min: 0, max: 1, step: 0.05, hint: '1 = relevance only' },
  { name: 'perDocument', label: 'Max per document', kind: 'number', min: 1, max: 100 },
  { name: 'foldDuplicates', label: 'Fold near-duplicates', kind: 'flag' },
  { name: 'feedback', label: 'Pseudo-relevance feedback', kind: 'flag' },
  { name: 'syntax', label: 'Query syntax', kind: 'choice', options: [['', 'operators'], ['plain', 'plain text']] },
  { name: 'expand', label: 'Neighbours per side', kind: 'number', min: 0, max: 10 },
  { name: 'maxTokens', label: 'Token budget', kind: 'number', min: 1, max: 100000 },
  { name: 'facets', label: 'Facets', kind: 'words', hint: 'comma-separated fields: $source, year' },
  { name: 'filter', label: 'Filter (JSON)', kind: 'json', hint: '{"field": "year", "op": "gte", "value": 2020}' },
];

/** Starting points. */
/** @type {[string, Settings][]} */
export const PRESETS = [
  ['Dataset defaults', {}],
  ['Keyword only', { hybridAlpha: 0 }],
  ['Semantic only', { hybridAlpha: 1 }],
  ['Balanced', { hybridAlpha: 0.5 }],
  ['Rank fusion', { fusion: 'rrf' }],
  ['Strict', { minScore: 0.6 }],
  ['Diverse', { mmr: 0.5, perDocument: 2, foldDuplicates: true }],
  ['Reranked', { rerank: true }],
];

/** What a lane asks of the API. @param {Settings} settings @param {string} query */
export const request = (settings, query) => ({ query, ...settings, topK: settings.topK ?? 10 });

const same = (/** @type {any} */ a, /** @type {any} */ b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

/**
 * The form of a lane.
 * @param {{settings: Settings, first: () => Settings, datasets: any[], signal: AbortSignal, changed: (slid: boolean) => void, suited: () => number | undefined}} lane
 */
export function form({ settings, first, datasets, signal, changed, suited }) {
  const root = h('div', { class: 'settings' });
  /** @type {(() => void)[]} */
  const marks = [];
  const watch = (/** @type {HTMLElement} */ element, /** @type {string} */ name) => marks.push(() => element.classList.toggle('changed', settings !== first() && !same(settings[name], first()[name])));
  const set = (/** @type {string} */ name, /** @type {any} */ value, slid = false) => {
    if (value === undefined || value === null || value === '') delete settings[name];
    else settings[name] = value;
    changed(slid);
  };

  const chosen = h('summary', null);
  const names = () => put(chosen, settings.datasetIds.length === 0 ? 'Select datasets' : datasets.filter((d) => settings.datasetIds.includes(d.id)).map((d) => d.name).join(', ') || 'Deleted datasets');
  const sets = h('details', { class: 'field' }, chosen, h('div', { role: 'group', 'aria-label': 'Datasets' }, datasets.map((d) => h('p', null, h('label', { class: 'check' },
    h('input', { type: 'checkbox', checked: settings.datasetIds.includes(d.id), onchange: (/** @type {any} */ e) => {
      const ids = new Set(settings.datasetIds);
      if (e.target.checked) ids.add(d.id);
      else ids.delete(d.id);
      set('datasetIds', [...ids]);
      names();
      generations();
    } }), d.name)))));
  names();
  watch(sets, 'datasetIds');

  const slider = (/** @type {string} */ name, /** @type {string} */ label, /** @type {() => number | undefined} */ usual, /** @type {string} */ free, /** @type {string} */ ends) => {
    const id = uid();
    const input = h('input', { type: 'range', id, min: 0, max: 1, step: 0.01, value: settings[name] ?? usual() ?? 0 });
    const said = h('output', { for: id });
    const reset = h('button', { type: 'button', class: 'small plain', 'aria-label': `${label}: ${free}` }, free);
    const show = () => {
      if (settings[name] === undefined) input.value = String(usual() ?? 0);
      put(said, settings[name] === undefined ? `${free}${usual() === undefined ? '' : ` (${Number(usual()).toFixed(2)})`}` : settings[name].toFixed(2));
      reset.hidden = settings[name] === undefined;
    };
    input.addEventListener('input', () => {
      set(name, Number(input.value), true);
      show();
    });
    reset.addEventListener('click', () => {
      set(name, undefined, true);
      show();
    });
    show();
    const element = h('div', { class: 'field slider' }, h('label', { for: id }, label), h('div', { class: 'line' }, h('small', null, ends), h('span', null, said, ' ', reset)), input);
    watch(element, name);
    marks.push(show);
    return element;
  };

  const more = FIELDS.map((about) => {
    const value = settings[about.name];
    /** @type {any} */
    let input;
    if (about.kind === 'flag') input = select([['', 'dataset default'], ['true', 'yes'], ['false', 'no']], value === undefined ? '' : String(value), (v) => set(about.name, v === '' ? undefined : v === 'true'));
    else if (about.kind === 'choice') input = select(about.options ?? [], value ?? '', (v) => set(about.name, v));
    else if (about.kind === 'number') input = h('input', { type: 'number', min: about.min, max: about.max, step: about.step ?? 1, value: value ?? '', onchange: (/** @type {any} */ e) => set(about.name, e.target.value === '' ? undefined : Number(e.target.value)) });
    else if (about.kind === 'words') input = h('input', { value: (value ?? []).join(', '), onchange: (/** @type {any} */ e) => { const words = e.target.value.split(',').map((/** @type {string} */ w) => w.trim()).filter(Boolean); set(about.name, words.length ? words : undefined); } });
    else input = h('textarea', { rows: 2, spellcheck: 'false', onchange: (/** @type {any} */ e) => {
      try {
        set(about.name, e.target.value.trim() ? JSON.parse(e.target.value) : undefined);
        e.target.setCustomValidity('');
      } catch {
        e.target.setCustomValidity('Invalid JSON.');
      }
      e.target.reportValidity();
    } }, value ? JSON.stringify(value) : '');
    const element = field(about.label, input, about.hint);
    watch(element, about.name);
    return element;
  });

  const generation = h('div', { class: 'field' });
  watch(generation, 'generation');
  const generations = async () => {
    put(generation);
    if (settings.datasetIds.length !== 1) return;
    const list = (await get(`/kb/v1/datasets/${settings.datasetIds[0]}/generations`, signal).catch(() => ({ data: [] }))).data;
    if (list.length < 2) return;
    const input = select([['', 'live'], ...list.map((/** @type {any} */ g) => [String(g.number), `${g.number}: ${g.embeddingModel}, ${g.chunkSize} (${g.status})`])], String(settings.generation ?? ''), (v) => set('generation', v === '' ? undefined : Number(v)));
    put(generation, field('Generation', input));
  };
  generations();

  root.append(sets, slider('hybridAlpha', 'Semantic weight (alpha)', suited, 'auto', '0 keyword … 1 semantic'), slider('minScore', 'Threshold (minScore)', () => undefined, 'dataset default', '0 all … 1'),
    h('details', null, h('summary', null, 'More settings'), h('div', { class: 'fields' }, more), generation));
  const mark = () => marks.forEach((m) => m());
  mark();
  return { root, mark };
}

/** Documents by name, for those who look for one. @param {string[]} ids @param {AbortSignal} signal */
export async function documents(ids, signal) {
  const lists = await Promise.all(ids.map((id) => all(`/kb/v1/datasets/${id}/documents`, signal)));
  return lists.flat();
}
