// @ts-check
// Keyboard shortcuts: `/` to the query, `j` and `k` along the hits, `2`, `1` and `0` to label.

import { h } from '../lib/dom.js';

/** @typedef {import('./state.js').Lane} Lane */

/**
 * Listens for the shortcuts until the page is left. Returns the box that turns them off.
 * @param {object} page
 * @param {HTMLElement} page.input the query
 * @param {HTMLElement} page.area the lanes
 * @param {Lane[]} page.lanes
 * @param {(lane: Lane, hit: import('./ranking.js').Hit, grade: number) => void} page.label
 * @param {AbortSignal} page.signal
 */
export function shortcuts({ input, area, lanes, label, signal }) {
  let enabled = localStorage.getItem('cairn.shortcuts') !== 'off';
  /** Focuses the next or the previous hit; the first one if none has the focus. @param {HTMLElement | null} now @param {number} step */
  const move = (now, step) => {
    const all = /** @type {HTMLElement[]} */ ([...area.querySelectorAll('.hit')]);
    const wanted = now ? all.indexOf(now) + step : 0;
    all[Math.max(0, Math.min(all.length - 1, wanted))]?.focus();
  };
  const pressed = (/** @type {KeyboardEvent} */ e) => {
    const at = /** @type {HTMLElement} */ (e.target);
    if (!enabled || e.ctrlKey || e.metaKey || e.altKey || at.closest('input, textarea, select, dialog')) return;
    const now = /** @type {HTMLElement | null} */ (at.closest('.hit'));
    if (e.key === '/') input.focus();
    else if (e.key === 'j') move(now, 1);
    else if (e.key === 'k') move(now, -1);
    else if (now && '012'.includes(e.key)) {
      const lane = lanes.find((l) => l.root.contains(now));
      const hit = lane?.hits.find((x) => x.chunkId === now.dataset.chunk);
      if (lane && hit) label(lane, hit, Number(e.key));
    } else return;
    e.preventDefault();
  };
  document.addEventListener('keydown', pressed);
  signal.addEventListener('abort', () => document.removeEventListener('keydown', pressed));

  const toggle = (/** @type {any} */ e) => {
    enabled = e.target.checked;
    localStorage.setItem('cairn.shortcuts', enabled ? 'on' : 'off');
  };
  const box = h('input', { type: 'checkbox', checked: enabled, onchange: toggle });
  return h('label', { class: 'check' }, box, 'Shortcuts: / query, j k hits, 2 1 0 label');
}
