// @ts-check
// Elements out of values. Text is always text: nothing here, and nothing that uses it, turns a string into markup.

const SVG = 'http://www.w3.org/2000/svg';

/** @typedef {Node | string | number | false | null | undefined | Child[]} Child */

/**
 * @param {Element} element
 * @param {Record<string, any> | null} attributes
 * @param {Child[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value' && 'value' in element) /** @type {any} */ (element).value = value;
    else if (name === 'checked' || name === 'selected' || name === 'indeterminate') /** @type {any} */ (element)[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  add(element, children);
  return element;
}

/**
 * Makes an HTML element: attributes by name, `onclick` and the like as listeners.
 * @param {string} tag
 * @param {Record<string, any> | null} [attributes]
 * @param {...Child} children
 * @returns {any}
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  fill(element, attributes ?? null, children);
  // A select takes its value when its options are there.
  if (tag === 'select' && attributes?.value !== undefined) /** @type {any} */ (element).value = attributes.value;
  return element;
}

/**
 * Makes an SVG element.
 * @param {string} tag
 * @param {Record<string, any> | null} [attributes]
 * @param {...Child} children
 * @returns {any}
 */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes ?? null, children);
}

/**
 * @param {Element | DocumentFragment} parent
 * @param {Child[]} children
 */
function add(parent, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(parent, child);
    else if (child instanceof Node) parent.append(child);
    else if (child !== false && child !== null && child !== undefined) parent.append(String(child));
  }
}

/**
 * Gives an element other children.
 * @param {Element} element
 * @param {...Child} children
 */
export function put(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

let made = 0;
/** A name for an element, for labels and descriptions. */
export const uid = () => `e${++made}`;

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
  return h('select', { value, onchange: (/** @type {any} */ e) => change?.(e.target.value) }, options.map(([v, shown]) => h('option', { value: v }, shown)));
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
 * A table of few rows.
 * @param {string} caption
 * @param {Child[]} head
 * @param {Child[][]} rows
 * @param {string} [empty] what stands there without rows
 */
export function table(caption, head, rows, empty) {
  if (rows.length === 0 && empty) return h('p', { class: 'quiet' }, empty);
  return h('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': caption },
    h('table', null, h('caption', { class: 'unseen' }, caption),
      h('thead', null, h('tr', null, head.map((cell) => h('th', { scope: 'col' }, cell || h('span', { class: 'unseen' }, 'Actions'))))),
      h('tbody', null, rows.map((row) => h('tr', null, row.map((cell) => h('td', null, cell)))))));
}

/**
 * Says something at the edge of the page, for a while.
 * @param {Child} message
 * @param {'good' | 'bad'} [kind]
 */
export function toast(message, kind = 'good') {
  const element = h('div', { class: `toast ${kind}` }, message);
  const close = h('button', { type: 'button', class: 'plain', 'aria-label': 'Dismiss', onclick: () => element.remove() }, '×');
  element.append(close);
  // Behind an open dialog nothing is seen or heard.
  (document.querySelector('dialog[open] .told') ?? document.getElementById('toasts'))?.append(element);
  setTimeout(() => element.remove(), kind === 'bad' ? 12000 : 5000);
}

/**
 * Tells what failed.
 * @param {any} error
 */
export function complain(error) {
  if (error?.name === 'AbortError') return;
  console.error(error);
  toast(error?.message ?? String(error), 'bad');
}

/**
 * Opens a dialog; resolves when it closes, with what `close` was given.
 * @param {string} title
 * @param {(close: (value?: any) => void) => Child} content
 * @returns {Promise<any>}
 */
export function dialog(title, content) {
  return new Promise((resolve) => {
    /** @type {any} */
    let result;
    const id = uid();
    const element = h('dialog', { 'aria-labelledby': id });
    const close = (/** @type {any} */ value = undefined) => {
      result = value;
      element.close();
    };
    element.append(h('header', null, h('h2', { id }, title), h('button', { type: 'button', class: 'plain', 'aria-label': 'Close', onclick: () => close() }, '×')));
    element.append(h('div', { class: 'told', role: 'alert' }), h('div', { class: 'content' }, content(close)));
    element.addEventListener('close', () => {
      element.remove();
      resolve(result);
    });
    document.body.append(element);
    element.showModal();
    /** @type {HTMLElement | null} */ (element.querySelector('.content :is(input:not([type=checkbox], [tabindex="-1"]), textarea, select)'))?.focus();
  });
}

/**
 * A form whose work is done once, however often it is sent.
 * @param {() => any} work
 * @param {...Child} children
 */
export function form(work, ...children) {
  let busy = false;
  return h('form', { onsubmit: async (/** @type {Event} */ e) => {
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
  } }, ...children);
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
 * Asks before something that cannot be undone.
 * @param {string} question
 * @param {string} yes what the button says
 * @returns {Promise<boolean>}
 */
export async function confirmed(question, yes) {
  return Boolean(await dialog('Are you sure?', (close) => [h('p', null, question),
    h('p', { class: 'row end' }, h('button', { type: 'button', onclick: () => close(false) }, 'Cancel'), h('button', { type: 'button', class: 'danger', onclick: () => close(true) }, yes))]));
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
        if (focus) tab.focus();
      }
    }
    put(panel, h('p', { class: 'quiet' }, 'Loading…'));
    try {
      const body = await all.find((t) => t.name === name)?.body(signal);
      if (!signal.aborted) put(panel, body);
    } catch (error) {
      if (!signal.aborted) put(panel, failure(error));
    }
  };
  const list = all.map((tab) => h('button', { type: 'button', role: 'tab', id: uid(), 'data-name': tab.name, 'aria-controls': panel.id, onclick: () => { changed?.(tab.name); open(tab.name, false); } }, tab.title));
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

/**
 * What failed, where it was to be shown.
 * @param {any} error
 */
export function failure(error) {
  if (error?.name !== 'AbortError') console.error(error);
  return h('div', { class: 'notice bad', role: 'alert' }, h('strong', null, error?.message ?? String(error)),
    error?.requestId && h('small', null, ` Request ID: ${error.requestId}`));
}

/**
 * Text with parts marked; ranges count Unicode characters.
 * @param {string} text
 * @param {{start: number, end: number}[]} ranges
 */
export function marked(text, ranges) {
  const letters = Array.from(text);
  /** @type {Child[]} */
  const parts = [];
  let at = 0;
  for (const { start, end } of [...ranges].sort((a, b) => a.start - b.start)) {
    if (start < at) continue;
    parts.push(letters.slice(at, start).join(''), h('mark', null, letters.slice(start, end).join('')));
    at = end;
  }
  parts.push(letters.slice(at).join(''));
  return parts;
}
