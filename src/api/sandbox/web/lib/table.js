// @ts-check
// A table of many rows: only those in view are elements, so ten thousand scroll as smoothly as ten.

import { h, put } from './dom.js';

const HEIGHT = 44;
const MORE = 12;

/**
 * @template T
 * @param {string} label
 * @param {{title: string, width: string, cell: (item: T) => any, sort?: (item: T) => string | number}[]} columns
 * @param {(item: T) => string} key
 */
export function grid(label, columns, key) {
  /** @type {T[]} */
  let items = [];
  /** @type {T[]} */
  let shown = [];
  /** @type {(item: T) => boolean} */
  let wanted = () => true;
  let by = -1;
  let down = false;
  const body = h('div', { class: 'grid-body', role: 'rowgroup' });
  const widths = columns.map((c) => c.width).join(' ');
  const heads = columns.map((column, at) =>
    h(
      'div',
      { role: 'columnheader', 'aria-sort': 'none' },
      column.sort
        ? h('button', { type: 'button', class: 'plain', onclick: () => order(at) }, column.title)
        : column.title || h('span', { class: 'unseen' }, 'Selection'),
    ),
  );
  const head = h('div', { role: 'rowgroup' }, h('div', { class: 'grid-row grid-head', role: 'row', 'aria-rowindex': 1 }, heads));
  const view = h('div', { class: 'grid', role: 'table', tabindex: '0', 'aria-label': label }, head, body);
  view.style.setProperty('--columns', widths);

  const order = (/** @type {number} */ at) => {
    down = by === at ? !down : false;
    by = at;
    heads.forEach((element, i) => element.setAttribute('aria-sort', i === by ? (down ? 'descending' : 'ascending') : 'none'));
    arrange();
  };
  const arrange = () => {
    shown = items.filter(wanted);
    const sort = columns[by]?.sort;
    if (sort) {
      const keyed = shown.map((item) => /** @type {const} */ ([sort(item), item]));
      keyed.sort(([a], [b]) => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b))));
      shown = keyed.map(([, item]) => item);
      if (down) shown.reverse();
    }
    view.setAttribute('aria-rowcount', String(shown.length + 1));
    draw();
  };
  /** @type {Map<string, {item: T, row: HTMLElement}>} */
  let drawn = new Map();
  const draw = () => {
    const first = Math.max(0, Math.floor(view.scrollTop / HEIGHT) - MORE);
    const last = Math.min(shown.length, Math.ceil((view.scrollTop + (view.clientHeight || 600)) / HEIGHT) + MORE);
    body.style.height = `${shown.length * HEIGHT}px`;
    /** @type {typeof drawn} */
    const next = new Map();
    for (let i = first; i < last; i += 1) {
      const item = shown[i];
      const known = drawn.get(key(item));
      // What has the focus stays the same element as long as nothing about it has changed.
      const row =
        known && known.item === item
          ? known.row
          : h(
              'div',
              { class: 'grid-row', role: 'row' },
              columns.map((c) => h('div', { role: 'cell' }, c.cell(item))),
            );
      row.style.top = `${i * HEIGHT}px`;
      row.setAttribute('aria-rowindex', String(i + 2));
      next.set(key(item), { item, row });
    }
    for (const [id, { row }] of drawn) if (next.get(id)?.row !== row) row.remove();
    body.querySelector(':scope > p')?.remove();
    // In the order in which they are seen; what stands right already is not moved, and keeps the focus.
    let at = body.firstElementChild;
    for (const { row } of next.values()) {
      if (row === at) at = at.nextElementSibling;
      else body.insertBefore(row, at);
    }
    drawn = next;
    if (shown.length === 0) {
      put(body, h('p', { class: 'quiet' }, items.length ? 'No results match the filter.' : 'Nothing here yet.'));
      drawn = new Map();
      body.style.height = 'auto';
    }
  };
  let waiting = false;
  view.addEventListener(
    'scroll',
    () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        draw();
      });
    },
    { passive: true },
  );
  new ResizeObserver(() => draw()).observe(view);
  return {
    view,
    /** @param {T[]} all */
    set(all) {
      items = all;
      arrange();
    },
    /** @param {(item: T) => boolean} filter */
    filter(filter) {
      wanted = filter;
      view.scrollTop = 0;
      arrange();
    },
    count: () => shown.length,
    /** @returns {T[]} */
    items: () => shown,
  };
}
