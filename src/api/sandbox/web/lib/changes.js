// @ts-check
// The differences of two texts, as marked text.

import { diff } from './diff.js';
import { h } from './dom.js';

/** @param {string} before @param {string} after */
export const changes = (before, after) =>
  h(
    'div',
    { class: 'text changes', tabindex: '0', role: 'group', 'aria-label': 'Changes' },
    diff(before, after).map(({ kind, text }) => (kind === 'same' ? text : h(kind === 'new' ? 'ins' : 'del', null, text))),
  );
