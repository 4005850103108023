// @ts-check
// The state of the search page: the query, up to four lanes, and how both are kept in the URL.

import { h } from '../lib/dom.js';

/**
 * A lane: the settings of one search, its answer, and the elements that show it.
 * @typedef {object} Lane
 * @property {import('./settings.js').Settings} settings
 * @property {any} answer from `/kb/v1/search`; null before the first search and after an error
 * @property {any} pool all candidates with their raw scores, from `/kb/v1/candidates`
 * @property {any} error why the last search failed
 * @property {string} asked the query that was answered
 * @property {boolean} slid whether a slider was moved since the answer, so that the hits are blended in the page
 * @property {import('./ranking.js').Hit[]} hits what the lane lists
 * @property {{element: HTMLElement, rename: (letter: string) => void} | null} whyNot the "why not?" form, which keeps its content
 *   between searches
 * @property {boolean | null} open whether its settings are shown; null as long as nobody has chosen
 * @property {boolean} timed whether the times of its search are shown
 * @property {HTMLElement} root
 * @property {() => void} mark marks the settings that differ from lane A
 * @property {() => void} refresh renders the answer again
 */

/** The most lanes that the page shows. */
export const MOST = 4;
const NAMES = 'ABCD';

/** The letter of a lane. @param {Lane[]} lanes @param {Lane} lane */
export const nameOf = (lanes, lane) => NAMES[lanes.indexOf(lane)];

/** A lane without an answer. @param {import('./settings.js').Settings} settings @returns {Lane} */
export const newLane = (settings) => ({
  settings,
  answer: null,
  pool: null,
  error: null,
  asked: '',
  slid: false,
  whyNot: null,
  hits: [],
  open: null,
  timed: false,
  root: h('section', { class: 'lane' }),
  mark: () => {},
  refresh: () => {},
});

/**
 * The datasets of the first lane: the one that the URL names, the last one used, or the first.
 * @param {string | null} wanted
 * @param {any[]} datasets
 */
function usualDatasets(wanted, datasets) {
  if (wanted) return [wanted];
  if (datasets.length === 0) return [];
  const last = datasets.find((d) => d.id === localStorage.getItem('cairn.dataset'));
  return [(last ?? datasets[0]).id];
}

const isList = (/** @type {any} */ value) => Array.isArray(value) && value.every((v) => typeof v === 'string');
const isNumber = (/** @type {any} */ value) => typeof value === 'number';

/** What the settings must be that the page reads; the others are left to the service. @type {[string, (value: any) => boolean][]} */
const SHAPES = [
  ['datasetIds', isList],
  ['facets', isList],
  ['hybridAlpha', isNumber],
  ['minScore', isNumber],
  ['topK', isNumber],
];

/**
 * The settings of a lane in the URL; null if they cannot be read.
 * @param {string} text
 * @returns {import('./settings.js').Settings | null}
 */
function parsed(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const settings = Object.fromEntries(Object.entries(value).filter(([, own]) => own !== null));
  return SHAPES.every(([name, fits]) => settings[name] === undefined || fits(settings[name])) ? settings : null;
}

/**
 * The state that a URL holds. Lanes that cannot be read are left out and counted; without others there is the usual one.
 * @param {URLSearchParams} query
 * @param {any[]} datasets
 */
export function readAddress(query, datasets) {
  const found = query.getAll('lane').map(parsed);
  const settings = found.filter((own) => own !== null);
  const unreadable = found.length - settings.length;
  if (settings.length === 0) settings.push({ datasetIds: usualDatasets(query.get('dataset'), datasets) });
  return {
    text: query.get('q') ?? '',
    grouped: query.get('group') === '1',
    unreadable,
    lanes: settings.slice(0, MOST).map((own) => newLane({ ...own, datasetIds: own.datasetIds ?? [] })),
  };
}

/**
 * The URL that holds a state.
 * @param {string} text
 * @param {boolean} grouped
 * @param {Lane[]} lanes
 */
export function writeAddress(text, grouped, lanes) {
  const state = new URLSearchParams();
  if (text) state.set('q', text);
  if (grouped) state.set('group', '1');
  for (const lane of lanes) state.append('lane', JSON.stringify(lane.settings));
  return `/sandbox/search?${state}`;
}
