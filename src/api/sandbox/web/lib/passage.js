// @ts-check
// A passage: rendered or as it is written, one click apart, and cut off after some lines until it is asked for.

import { h, put, uid } from './dom.js';
import { rendered, written } from './markdown.js';

const CHOICE = 'cairn.passages';

/** Whether passages are shown as they are written. */
const isWritten = () => localStorage.getItem(CHOICE) === 'written';

/** Passages on the page, to be drawn again when the choice changes. @type {Set<WeakRef<{draw: () => void}>>} */
const shown = new Set();

/** Draws every passage that is still there. */
function drawAll() {
  for (const reference of shown) {
    const passage = reference.deref();
    if (passage) passage.draw();
    else shown.delete(reference);
  }
}

/** Moves a text that is cut off to its best sentence, if that would not be seen. @param {HTMLElement} body @param {boolean} isCut */
function showBest(body, isCut) {
  const best = /** @type {HTMLElement | null} */ (body.querySelector('.best'));
  const isHidden = isCut && best && best.offsetTop + best.offsetHeight > body.clientHeight;
  body.scrollTop = isHidden ? best.offsetTop - body.clientHeight / 4 : 0;
  body.classList.toggle('begun', Boolean(isHidden));
}

/**
 * @param {string} text
 * @param {import('./markdown.js').Extras} extras
 * @param {string} label what the passage is, for those who do not see it
 */
export function passage(text, extras, label) {
  const id = uid();
  const body = h('div', { id, class: 'text', role: 'group', 'aria-label': label });
  const more = h('button', { type: 'button', class: 'plain small', 'aria-controls': id, 'aria-expanded': 'false', hidden: true });
  const form = h('button', { type: 'button', class: 'plain small' });
  const element = h('div', { class: 'passage' }, body, h('div', { class: 'row' }, more, form));
  let isOpen = false;
  const measure = () => {
    body.classList.toggle('clamped', !isOpen);
    const isCut = body.scrollHeight > body.clientHeight + 1;
    body.classList.toggle('cut', !isOpen && isCut);
    showBest(body, !isOpen && isCut);
    more.hidden = !isOpen && !isCut;
    put(more, isOpen ? 'Show less' : 'Show more');
    more.setAttribute('aria-expanded', String(isOpen));
  };
  const draw = () => {
    body.classList.toggle('rendered', !isWritten());
    put(body, isWritten() ? written(text, extras) : rendered(text, extras));
    put(form, isWritten() ? 'Rendered' : 'Raw text');
    measure();
  };
  more.addEventListener('click', () => {
    isOpen = !isOpen;
    measure();
  });
  form.addEventListener('click', () => {
    localStorage.setItem(CHOICE, isWritten() ? 'rendered' : 'written');
    drawAll();
  });
  // Its height is known when it is on the page, and changes with the page's width.
  new ResizeObserver(measure).observe(body);
  /** @type {any} */ (element).passage = { draw };
  shown.add(new WeakRef(/** @type {any} */ (element).passage));
  draw();
  return element;
}
