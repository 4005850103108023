// @ts-check
// Controls: fields, choices, buttons, forms, small tables and tabs.

import { h, put, uid } from './dom.js';
import { complain, failure } from './messages.js';
import { skeleton } from './skeleton.js';

/** @typedef {import('./dom.js').Child} Child */

/**
 * An input with its label.
 * @param {string} label
 * @param {any} input
 * @param {string} [hint]
 */
export function field(label, input, hint) {
  const id = input.id || uid();
  input.id = id;
  if (hint) input.setAttribute('aria-describedby', `${id}-hint`);
  return h('div', { class: 'field' }, h('label', { for: id }, label), input, hint && h('small', { id: `${id}-hint` }, hint));
}

/**
 * A choice of one.
 * @param {[string, string][]} options value and what is shown
 * @param {string} value
 * @param {(value: string) => void} [change]
 */
export function select(options, value, change) {
  const onchange = (/** @type {any} */ e) => change?.(e.target.value);
  return h(
    'select',
    { value, onchange },
    options.map(([v, shown]) => h('option', { value: v }, shown)),
  );
}

/**
 * A button that cannot be pressed twice while its work goes on; what fails is told.
 * @param {Child} label
 * @param {() => any} work
 * @param {Record<string, any>} [attributes]
 */
export function button(label, work, attributes) {
  const element = h('button', { type: 'button', ...attributes }, label);
  element.addEventListener('click', async () => {
    if (element.getAttribute('aria-busy') === 'true') return;
    element.setAttribute('aria-busy', 'true');
    try {
      await work();
    } catch (error) {
      complain(error);
    } finally {
      element.removeAttribute('aria-busy');
    }
  });
  return element;
}

/**
 * A form whose work is done once, however often it is sent.
 * @param {() => any} work
 * @param {...Child} children
 */
export function form(work, ...children) {
  let busy = false;
  return h(
    'form',
    {
      onsubmit: async (/** @type {Event} */ e) => {
        e.preventDefault();
        if (busy) return;
        busy = true;
        try {
          await work();
        } catch (error) {
          complain(error);
        } finally {
          busy = false;
        }
      },
    },
    ...children,
  );
}

/**
 * Lets only the last of several answers through: those that come after a newer question are dropped.
 * @template {any[]} A
 * @param {(isLast: () => boolean, ...rest: A) => Promise<any>} work
 */
export function latest(work) {
  let turn = 0;
  return async (/** @type {A} */ ...rest) => {
    turn += 1;
    const own = turn;
    try {
      return await work(() => own === turn, ...rest);
    } catch (error) {
      if (own === turn) throw error;
    }
  };
}

/**
 * A table of few rows.
 * @param {string} caption
 * @param {Child[]} head
 * @param {Child[][]} rows
 * @param {string} [empty] what stands there without rows
 */
export function table(caption, head, rows, empty) {
  if (rows.length === 0 && empty) return h('p', { class: 'quiet' }, empty);
  return h(
    'div',
    { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': caption },
    h(
      'table',
      null,
      h('caption', { class: 'unseen' }, caption),
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          head.map((cell) => h('th', { scope: 'col' }, cell || h('span', { class: 'unseen' }, 'Actions'))),
        ),
      ),
      h(
        'tbody',
        null,
        rows.map((row) =>
          h(
            'tr',
            null,
            row.map((cell, at) => h('td', { 'data-head': typeof head[at] === 'string' ? head[at] : null }, cell)),
          ),
        ),
      ),
    ),
  );
}

/**
 * Tabs: one panel at a time, by keyboard as usual. What a panel begins ends with its signal, when another one is opened.
 * @param {string} label
 * @param {{name: string, title: string, body: (signal: AbortSignal) => Child | Promise<Child>}[]} all
 * @param {string} first name of the one that is open
 * @param {AbortSignal} [page]
 * @param {(name: string) => void} [changed]
 */
export function tabs(label, all, first, page, changed) {
  const panel = h('div', { role: 'tabpanel', tabindex: '0', id: uid() });
  let leaving = new AbortController();
  page?.addEventListener('abort', () => leaving.abort());
  const open = async (/** @type {string} */ name, /** @type {boolean} */ focus) => {
    leaving.abort();
    leaving = new AbortController();
    const { signal } = leaving;
    for (const tab of list) {
      const isOpen = tab.dataset.name === name;
      tab.setAttribute('aria-selected', String(isOpen));
      tab.tabIndex = isOpen ? 0 : -1;
      if (isOpen) {
        panel.setAttribute('aria-labelledby', tab.id);
        tab.scrollIntoView({ block: 'nearest', inline: 'nearest' });
        if (focus) tab.focus();
      }
    }
    put(panel, skeleton());
    try {
      const body = await all.find((t) => t.name === name)?.body(signal);
      if (!signal.aborted) put(panel, body);
    } catch (error) {
      if (!signal.aborted) put(panel, failure(error));
    }
  };
  const list = all.map((tab) =>
    h(
      'button',
      {
        type: 'button',
        role: 'tab',
        id: uid(),
        'data-name': tab.name,
        'aria-controls': panel.id,
        onclick: () => {
          changed?.(tab.name);
          open(tab.name, false);
        },
      },
      tab.title,
    ),
  );
  const bar = h('div', { role: 'tablist', 'aria-label': label, class: 'tabs' }, list);
  bar.addEventListener('keydown', (/** @type {any} */ e) => {
    const at = list.findIndex((t) => t.getAttribute('aria-selected') === 'true');
    const step = { ArrowRight: 1, ArrowLeft: -1 }[/** @type {'ArrowRight'} */ (e.key)];
    if (!step) return;
    e.preventDefault();
    const next = all[(at + step + all.length) % all.length];
    changed?.(next.name);
    open(next.name, true);
  });
  open(all.some((t) => t.name === first) ? first : all[0].name, false);
  return h('div', null, bar, panel);
}
