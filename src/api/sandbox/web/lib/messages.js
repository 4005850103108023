// @ts-check
// Messages to the reader: toasts, errors, dialogs and questions.

import { h, uid } from './dom.js';
import { Offline } from './offline.js';

/** @typedef {import('./dom.js').Child} Child */

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

/** What failed, as a sentence. @param {any} error */
function sentence(error) {
  const text = String(error?.message ?? error).trim();
  // Names in code keep their first letter.
  const isWord = /^\p{Ll}+[\s,;:'’]/u.test(text);
  const begun = isWord ? text[0].toUpperCase() + text.slice(1) : text;
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/**
 * Tells what failed.
 * @param {any} error
 */
export function complain(error) {
  // The banner says it already.
  if (error?.name === 'AbortError' || (error instanceof Offline && error.isRead)) return;
  console.error(error);
  toast(sentence(error), 'bad');
}

/**
 * What failed, where it was to be shown.
 * @param {any} error
 */
export function failure(error) {
  if (error?.name !== 'AbortError') console.error(error);
  return h(
    'div',
    { class: 'notice bad', role: 'alert' },
    h('strong', null, sentence(error)),
    error?.requestId && h('small', null, ` Request ID: ${error.requestId}`),
  );
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
    element.append(
      h(
        'header',
        null,
        h('h2', { id }, title),
        h('button', { type: 'button', class: 'plain', 'aria-label': 'Close', onclick: () => close() }, '×'),
      ),
    );
    element.append(h('div', { class: 'told', role: 'alert' }), h('div', { class: 'content' }, content(close)));
    element.addEventListener('close', () => {
      element.remove();
      resolve(result);
    });
    document.body.append(element);
    element.showModal();
    const first = '.content :is(input:not([type=checkbox], [tabindex="-1"]), textarea, select)';
    /** @type {HTMLElement | null} */ (element.querySelector(first))?.focus();
  });
}

/**
 * Asks before something that cannot be undone.
 * @param {string} question
 * @param {string} yes what the button says
 * @returns {Promise<boolean>}
 */
export async function confirmed(question, yes) {
  return Boolean(
    await dialog('Are you sure?', (close) => [
      h('p', null, question),
      h(
        'p',
        { class: 'row end' },
        h('button', { type: 'button', onclick: () => close(false) }, 'Cancel'),
        h('button', { type: 'button', class: 'danger', onclick: () => close(true) }, yes),
      ),
    ]),
  );
}
