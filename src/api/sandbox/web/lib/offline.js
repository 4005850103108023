// @ts-check
// A server that does not answer: a banner that goes away by itself, and work that is done when it does.

import { h } from './dom.js';

/** Milliseconds between two looks. */
const LOOK = 2000;

/** The error of a request without a response. */
export class Offline extends Error {
  /** @param {boolean} isRead whether the request changes nothing, so that the banner says enough */
  constructor(isRead = true) {
    super(
      isRead
        ? 'The server cannot be reached. Check that Cairn is running, then try again.'
        : 'The server did not respond, so the change may not have been saved. Check before you try again.',
    );
    this.isRead = isRead;
  }
}

/** @type {HTMLElement | null} */
let banner = null;
/** @type {Set<() => void>} */
const waiting = new Set();

async function look() {
  const isThere = await fetch('/healthz', { cache: 'no-store' }).then(
    (response) => response.ok,
    () => false,
  );
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
  banner = h('div', { class: 'offline', role: 'status' }, 'The server cannot be reached. This page resumes when it can.');
  document.body.prepend(/** @type {HTMLElement} */ (banner));
  setTimeout(look, LOOK / 4);
}
