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
 * @property {HTMLElement | null} whyNot the "why not?" form, which keeps its content between searches
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

/** The settings of a lane in the URL; unreadable ones are left out. @param {string} text */
function parsed(text) {
  try {
    return [JSON.parse(text)];
  } catch {
    return [];
  }
}

/**
 * The state that a URL holds.
 * @param {URLSearchParams} query
 * @param {any[]} datasets
 */
export function readAddress(query, datasets) {
  const settings = query.getAll('lane').flatMap(parsed);
  if (settings.length === 0) settings.push({ datasetIds: usualDatasets(query.get('dataset'), datasets) });
  return {
    text: query.get('q') ?? '',
    grouped: query.get('group') === '1',
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
