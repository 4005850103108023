// @ts-check
// A server that does not answer: a banner that goes away by itself, and work that is done when it does.

import { h } from './dom.js';

/** Milliseconds between two looks. */
const LOOK = 2000;

/** The error of a request that did not reach the server. */
export class Offline extends Error {
  constructor() {
    super('The server does not answer.');
  }
}

/** @type {HTMLElement | null} */
let banner = null;
/** @type {Set<() => void>} */
const waiting = new Set();

async function look() {
  const isThere = await fetch('/healthz', { cache: 'no-store' }).then((response) => response.ok, () => false);
  if (!isThere) {
    setTimeout(look, LOOK);
    return;
  }
  banner?.remove();
  banner = null;
  const work = [...waiting];
  waiting.clear();
  work.forEach((each) => each());
}

/**
 * Shows the banner until the server answers.
 * @param {() => void} [then] what is done when it does
 */
export function lost(then) {
  if (then) waiting.add(then);
  if (banner) return;
  banner = h('div', { class: 'offline', role: 'status' }, 'The server does not answer. This page goes on as soon as it does.');
  document.body.prepend(/** @type {HTMLElement} */ (banner));
  setTimeout(look, LOOK / 4);
}
