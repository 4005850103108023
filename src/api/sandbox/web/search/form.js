// @ts-check
// The form that changes the settings of a lane.

import { get } from '../lib/api.js';
import { field, select } from '../lib/controls.js';
import { h, put, uid } from '../lib/dom.js';

/** @typedef {import('./settings.js').Settings} Settings */

/**
 * State that the parts of a form share.
 * @typedef {object} Part
 * @property {Settings} settings
 * @property {(name: string, value: any, slid?: boolean) => void} set changes a setting; an empty value removes it
 */

/**
 * A setting that the form shows below the sliders.
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {'number' | 'flag' | 'choice' | 'json' | 'words'} kind
 * @property {string} [hint]
 * @property {number} [min]
 * @property {number} [max]
 * @property {number} [step]
 * @property {[string, string][]} [options]
 */

/** @type {Field[]} */
const FIELDS = [
  { name: 'topK', label: 'Top K', kind: 'number', min: 1, max: 100, hint: 'default: 10' },
  { name: 'candidates', label: 'Candidates', kind: 'number', min: 1, max: 2000, hint: 'per index' },
  {
    name: 'fusion',
    label: 'Fusion',
    kind: 'choice',
    options: [
      ['', 'blend (absolute scores)'],
      ['rrf', 'reciprocal rank fusion'],
      ['minmax', 'min-max'],
    ],
  },
  { name: 'rerank', label: 'Rerank', kind: 'flag', hint: 'uses the configured cross-encoder' },
  { name: 'mmr', label: 'Diversity (MMR)', kind: 'number', min: 0, max: 1, step: 0.05, hint: '1 = relevance only' },
  { name: 'perDocument', label: 'Max hits per document', kind: 'number', min: 1, max: 100 },
  { name: 'foldDuplicates', label: 'Fold near-duplicates', kind: 'flag' },
  { name: 'feedback', label: 'Pseudo-relevance feedback', kind: 'flag' },
  {
    name: 'syntax',
    label: 'Query syntax',
    kind: 'choice',
    options: [
      ['', 'operators'],
      ['plain', 'plain text'],
    ],
  },
  { name: 'expand', label: 'Neighbouring chunks per side', kind: 'number', min: 0, max: 10 },
  { name: 'maxTokens', label: 'Token budget', kind: 'number', min: 1, max: 100000 },
  { name: 'facets', label: 'Facets', kind: 'words', hint: 'comma-separated fields: $source, year' },
  { name: 'filter', label: 'Filter (JSON)', kind: 'json', hint: '{"field": "year", "op": "gte", "value": 2020}' },
];

const same = (/** @type {any} */ a, /** @type {any} */ b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

/** The datasets to search. @param {Part} part @param {any[]} datasets @param {() => void} chose called after each change */
function datasetChoice({ settings, set }, datasets, chose) {
  const chosen = h('summary', null);
  const show = () => {
    const names = datasets.filter((d) => settings.datasetIds.includes(d.id)).map((d) => d.name);
    put(chosen, settings.datasetIds.length === 0 ? 'Select datasets' : names.join(', ') || 'Deleted datasets');
  };
  const choose = (/** @type {string} */ id, /** @type {boolean} */ wanted) => {
    const ids = new Set(settings.datasetIds);
    if (wanted) ids.add(id);
    else ids.delete(id);
    set('datasetIds', [...ids]);
    show();
    chose();
  };
  show();
  const boxes = datasets.map((d) => {
    const change = (/** @type {any} */ e) => choose(d.id, e.target.checked);
    const box = h('input', { type: 'checkbox', checked: settings.datasetIds.includes(d.id), onchange: change });
    return h('p', null, h('label', { class: 'check' }, box, d.name));
  });
  return h('details', { class: 'field' }, chosen, h('div', { role: 'group', 'aria-label': 'Datasets' }, boxes));
}

/**
 * A slider from 0 to 1, with a button that returns to the default.
 * @param {Part} part
 * @param {object} about
 * @param {string} about.name
 * @param {string} about.label
 * @param {() => number | undefined} about.usual the value of the default, if it is known
 * @param {string} about.free name of the default
 * @param {string} about.ends what 0 and 1 mean
 */
function slider({ settings, set }, { name, label, usual, free, ends }) {
  const id = uid();
  const input = h('input', { type: 'range', id, min: 0, max: 1, step: 0.01, value: settings[name] ?? usual() ?? 0 });
  const said = h('output', { for: id });
  const reset = h('button', { type: 'button', class: 'small plain', 'aria-label': `${label}: ${free}` }, free);
  const show = () => {
    const isFree = settings[name] === undefined;
    if (isFree) input.value = String(usual() ?? 0);
    const byDefault = usual() === undefined ? free : `${free} (${Number(usual()).toFixed(2)})`;
    put(said, isFree ? byDefault : settings[name].toFixed(2));
    reset.hidden = isFree;
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
  const line = h('div', { class: 'line' }, h('small', null, ends), h('span', null, said, ' ', reset));
  return { element: h('div', { class: 'field slider' }, h('label', { for: id }, label), line, input), show };
}

/** An input for JSON that reports what cannot be read. @param {any} value @param {(value: any) => void} set */
function jsonInput(value, set) {
  const onchange = (/** @type {any} */ e) => {
    try {
      set(e.target.value.trim() ? JSON.parse(e.target.value) : undefined);
      e.target.setCustomValidity('');
    } catch {
      e.target.setCustomValidity('Enter valid JSON.');
    }
    e.target.reportValidity();
  };
  return h('textarea', { rows: 2, spellcheck: 'false', onchange }, value ? JSON.stringify(value) : '');
}

/** The input of a field. @param {Field} about @param {any} value @param {(value: any) => void} set */
function inputOf(about, value, set) {
  switch (about.kind) {
    case 'flag': {
      /** @type {[string, string][]} */
      const options = [
        ['', 'dataset default'],
        ['true', 'yes'],
        ['false', 'no'],
      ];
      return select(options, value === undefined ? '' : String(value), (v) => set(v === '' ? undefined : v === 'true'));
    }
    case 'choice':
      return select(about.options ?? [], value ?? '', set);
    case 'number': {
      const onchange = (/** @type {any} */ e) => set(e.target.value === '' ? undefined : Number(e.target.value));
      const { min, max, step = 1 } = about;
      return h('input', { type: 'number', min, max, step, value: value ?? '', onchange });
    }
    case 'words': {
      const onchange = (/** @type {any} */ e) => {
        const words = e.target.value
          .split(',')
          .map((/** @type {string} */ w) => w.trim())
          .filter(Boolean);
        set(words.length ? words : undefined);
      };
      return h('input', { value: (value ?? []).join(', '), onchange });
    }
    case 'json':
      return jsonInput(value, set);
  }
}

/** The generation to search, if the dataset has several. @param {Part} part @param {AbortSignal} signal */
function generationChoice({ settings, set }, signal) {
  const element = h('div', { class: 'field' });
  const load = async () => {
    put(element);
    if (settings.datasetIds.length !== 1) return;
    const answer = get(`/kb/v1/datasets/${settings.datasetIds[0]}/generations`, signal);
    const list = (await answer.catch(() => ({ data: [] }))).data;
    if (list.length < 2) return;
    const options = list.map((/** @type {any} */ g) => {
      const text = `${g.number}: ${g.embeddingModel}, ${g.chunkSize} (${g.status})`;
      return [String(g.number), text];
    });
    const choose = (/** @type {string} */ v) => set('generation', v === '' ? undefined : Number(v));
    put(element, field('Generation', select([['', 'live'], ...options], String(settings.generation ?? ''), choose)));
  };
  return { element, load };
}

/**
 * Settings in one line: the datasets, the weight, and what is set.
 * @param {Settings} settings
 * @param {any[]} datasets
 * @param {number | undefined} suited the alpha that the service chose
 */
function inWords(settings, datasets, suited) {
  const { datasetIds, hybridAlpha, minScore, generation } = settings;
  const names = datasets.filter((d) => datasetIds.includes(d.id)).map((d) => d.name);
  const auto = suited === undefined ? 'auto' : `auto (${suited.toFixed(2)})`;
  const set = FIELDS.filter(({ name }) => settings[name] !== undefined).map(({ name, label, kind }) => {
    const value = settings[name];
    if (kind === 'flag') return `${label}: ${value ? 'yes' : 'no'}`;
    return kind === 'json' ? 'filtered' : `${label}: ${[value].flat().join(', ')}`;
  });
  return [
    names.join(', ') || 'no dataset',
    `alpha ${hybridAlpha === undefined ? auto : hybridAlpha.toFixed(2)}`,
    minScore !== undefined && `threshold ${minScore.toFixed(2)}`,
    generation !== undefined && `generation ${generation}`,
    ...set,
  ]
    .filter(Boolean)
    .join(' · ');
}

/**
 * The form of a lane.
 * @param {object} lane
 * @param {Settings} lane.settings changed in place
 * @param {() => Settings} lane.first the settings of lane A, which the others are compared with
 * @param {any[]} lane.datasets
 * @param {AbortSignal} lane.signal
 * @param {(slid: boolean) => void} lane.changed called after each change, with whether a slider was moved
 * @param {() => number | undefined} lane.suited the alpha that the service chose
 * @param {boolean} lane.open whether the settings are shown at first, instead of their summary
 * @param {(open: boolean) => void} lane.toggled called when somebody shows or hides them
 */
export function form({ settings, first, datasets, signal, changed, suited, open, toggled }) {
  /** @type {(() => void)[]} */
  const marks = [];
  const watch = (/** @type {HTMLElement} */ element, /** @type {string} */ name) => {
    const differs = () => settings !== first() && !same(settings[name], first()[name]);
    marks.push(() => element.classList.toggle('changed', differs()));
  };
  const set = (/** @type {string} */ name, /** @type {any} */ value, slid = false) => {
    if (value === undefined || value === null || value === '') delete settings[name];
    else settings[name] = value;
    changed(slid);
  };
  const part = { settings, set };

  const sets = datasetChoice(part, datasets, () => generation.load());
  watch(sets, 'datasetIds');
  const more = FIELDS.map((about) => {
    const input = inputOf(about, settings[about.name], (value) => set(about.name, value));
    const element = field(about.label, input, about.hint);
    watch(element, about.name);
    return element;
  });
  const generation = generationChoice(part, signal);
  watch(generation.element, 'generation');
  generation.load();

  const sliders = [
    { name: 'hybridAlpha', label: 'Semantic weight (alpha)', usual: suited, free: 'auto', ends: '0 keyword … 1 semantic' },
    { name: 'minScore', label: 'Threshold (minScore)', usual: () => undefined, free: 'dataset default', ends: '0 all … 1' },
  ].map((about) => {
    const { element, show } = slider(part, about);
    watch(element, about.name);
    marks.push(show);
    return element;
  });
  const said = h('span', { class: 'quiet' });
  marks.push(() => put(said, inWords(settings, datasets, suited())));
  const root = h(
    'details',
    { class: 'settings', open },
    h('summary', { onclick: () => toggled(!root.open) }, 'Settings ', said),
    sets,
    sliders,
    h('details', null, h('summary', null, 'More settings'), h('div', { class: 'fields' }, more), generation.element),
  );
  const mark = () => marks.forEach((m) => m());
  mark();
  return { root, mark };
}
