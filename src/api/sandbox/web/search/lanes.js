// @ts-check
// The lanes as elements: their headers with presets and buttons, their forms, and what they have in common.

import { button, select } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { complain } from '../lib/messages.js';
import { showCode } from './export.js';
import { form } from './form.js';
import { hitsOf } from './ranking.js';
import { PRESETS, presetOf } from './settings.js';
import { MOST, nameOf, newLane } from './state.js';
import { whyNot } from './why_not.js';

/** @typedef {import('./state.js').Lane} Lane */

/**
 * Functions of the page that a lane calls.
 * @typedef {object} Page
 * @property {Lane[]} lanes changed in place when a lane is added or removed
 * @property {any[]} datasets
 * @property {AbortSignal} signal
 * @property {() => string} query the text of the query field
 * @property {(lane: Lane) => import('../lib/dom.js').Child} answer
 * @property {() => void} draw shows the hits of all lanes again
 * @property {() => void} rebuild makes the headers and forms of all lanes again, and draws
 * @property {() => void} remember stores the state in the URL
 * @property {() => Promise<void>} ask searches in all lanes
 * @property {() => Promise<void>} restart rebuilds and searches
 * @property {(address: string) => void} go opens another page
 */

/** The choice of a preset, which replaces all settings but datasets and topK. @param {Lane} lane @param {Page} page */
function presetChoice(lane, { lanes, restart }) {
  const options = PRESETS.map(([preset], i) => /** @type {[string, string]} */ ([String(i), preset]));
  const now = presetOf(lane.settings);
  const choice = select(now < 0 ? [['', 'Custom'], ...options] : options, now < 0 ? '' : String(now), (at) => {
    if (at === '') return;
    const { datasetIds, topK } = lane.settings;
    lane.settings = { datasetIds, topK, ...structuredClone(PRESETS[Number(at)][1]) };
    if (topK === undefined) delete lane.settings.topK;
    restart().catch(complain);
  });
  choice.setAttribute('aria-label', `Preset for lane ${nameOf(lanes, lane)}`);
  return choice;
}

/** Adds a lane with the settings and the answer of another one. @param {Lane} lane @param {Page} page */
function duplicate(lane, { lanes, rebuild, remember }) {
  const copy = newLane(structuredClone(lane.settings));
  Object.assign(copy, { answer: lane.answer, pool: lane.pool, asked: lane.asked, slid: lane.slid });
  lanes.push(copy);
  rebuild();
  remember();
  copy.root.scrollIntoView({ inline: 'end', block: 'nearest' });
}

/** @param {Lane} lane @param {Page} page */
function remove(lane, { lanes, rebuild, remember }) {
  lanes.splice(lanes.indexOf(lane), 1);
  rebuild();
  remember();
}

/** The address that evaluates the settings of a lane. @param {import('./settings.js').Settings} settings */
function evaluation(settings) {
  const own = JSON.stringify({ ...settings, datasetIds: undefined, topK: undefined });
  return `/sandbox/evaluate?${new URLSearchParams({ dataset: settings.datasetIds[0], settings: own })}`;
}

/** @param {Lane} lane @param {string} title @param {HTMLElement} preset @param {Page} page */
function header(lane, title, preset, page) {
  const { lanes, query, go } = page;
  const code = 'This search as curl, Python, TypeScript, Rust or MCP call';
  return h(
    'header',
    null,
    h('h2', null, title),
    h(
      'div',
      { class: 'row' },
      preset,
      lanes.length < MOST &&
        button('Duplicate', () => duplicate(lane, page), { class: 'small', title: 'Add a lane with the same settings' }),
      lane.settings.datasetIds.length === 1 &&
        button('Evaluate', () => go(evaluation(lane.settings)), { class: 'small', title: 'Evaluate these settings on labelled queries' }),
      button('Code', () => showCode(lane.settings, lane.asked || query()), { class: 'small', title: code }),
      lanes.length > 1 && button('×', () => remove(lane, page), { class: 'small', 'aria-label': `Remove lane ${nameOf(lanes, lane)}` }),
    ),
  );
}

/** The "why not?" form of a lane that was searched, under its present letter. @param {Lane} lane @param {Page} page */
function missing(lane, { lanes, signal }) {
  if (!lane.answer) return null;
  lane.whyNot ??= whyNot(lane, signal);
  lane.whyNot.rename(nameOf(lanes, lane));
  return lane.whyNot.element;
}

/** Makes the header, the form and the place for the answer of a lane. @param {Lane} lane @param {Page} page */
export function build(lane, page) {
  const { lanes, datasets, signal, draw, remember, ask } = page;
  const title = `Lane ${nameOf(lanes, lane)}`;
  const place = h('div', { class: 'answer' });
  const preset = h('span', null, presetChoice(lane, page));
  const changed = (/** @type {boolean} */ slid) => {
    if (slid && lane.pool && lane.answer) {
      lane.slid = true;
      draw();
      remember();
      return;
    }
    remember();
    lanes.forEach((l) => l.mark());
    // Hits of other settings would be misread.
    if (lane.asked) ask().catch(complain);
  };
  const made = form({
    settings: lane.settings,
    first: () => lanes[0].settings,
    datasets,
    signal,
    suited: () => lane.pool?.datasets[0]?.usualAlpha,
    changed,
    open: lane.open ?? (lanes.length === 1 && matchMedia('(min-width: 900px)').matches),
    toggled: (open) => {
      lane.open = open;
    },
  });
  let named = presetOf(lane.settings);
  lane.mark = () => {
    made.mark();
    if (named === presetOf(lane.settings)) return;
    named = presetOf(lane.settings);
    put(preset, presetChoice(lane, page));
  };
  // Beside the hits, where there is one lane.
  const expected = h('div', { class: 'expected' });
  lane.refresh = () => {
    put(place, page.answer(lane));
    put(expected, missing(lane, page));
  };
  lane.root.setAttribute('aria-label', title);
  put(lane.root, header(lane, title, preset, page), h('div', { class: 'side' }, made.root, expected), place);
}

/** Selects the hit of a chunk. @param {string} chunk */
const hitSelector = (chunk) => `.hit[data-chunk="${CSS.escape(chunk)}"]`;

/** Renders the answer of a lane again. Details that were open stay open, and the focused hit stays focused. @param {Lane} lane */
function drawLane({ root, refresh, mark }) {
  const chunkOf = (/** @type {Element | null} */ element) => element?.closest('.hit')?.getAttribute('data-chunk');
  const summaryOf = (/** @type {Element} */ details) => details.querySelector('summary')?.textContent;
  const opened = [...root.querySelectorAll('.hit details[open]')].map((d) => ({ chunk: chunkOf(d), summary: summaryOf(d) }));
  const focused = root.contains(document.activeElement) ? chunkOf(document.activeElement) : null;
  refresh();
  mark();
  for (const { chunk, summary } of opened) {
    for (const details of root.querySelectorAll(`${hitSelector(chunk ?? '')} details`)) {
      if (summaryOf(details) === summary) /** @type {HTMLDetailsElement} */ (details).open = true;
    }
  }
  if (focused && !root.contains(document.activeElement)) {
    /** @type {HTMLElement | null} */ (root.querySelector(hitSelector(focused)))?.focus();
  }
}

/** Shows the hits of all lanes. @param {Lane[]} lanes */
export function drawLanes(lanes) {
  // Lanes show how their hits moved against lane A, so all are ranked first.
  for (const lane of lanes) lane.hits = hitsOf(lane);
  lanes.forEach(drawLane);
}

/** How many of the first ten hits the other lanes share with lane A. @param {Lane[]} lanes */
export function overlaps(lanes) {
  const [first, ...others] = lanes;
  if (others.length === 0 || !lanes.some((l) => l.answer)) return null;
  const top = new Set(first.hits.slice(0, 10).map((hit) => hit.chunkId));
  return others.map((lane) => {
    const both = lane.hits.slice(0, 10).filter((hit) => top.has(hit.chunkId)).length;
    const most = Math.min(10, Math.max(lane.hits.length, top.size));
    return `Overlap@10 of ${nameOf(lanes, lane)} with A: ${both} of ${most}. `;
  });
}
