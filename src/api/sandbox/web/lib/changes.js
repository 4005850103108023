// @ts-check
// The differences of two texts, as marked text.

import { diff } from './diff.js';
import { h } from './dom.js';

/**
 * @param {string} before
 * @param {string} after
 * @param {string} [label]
 * @param {(text: string) => import('./dom.js').Child} [shown] a piece of text as it is shown
 */
export const changes = (before, after, label = 'Changes', shown = (text) => text) =>
  h(
    'div',
    { class: 'text changes', tabindex: '0', role: 'group', 'aria-label': label },
    diff(before, after).map(({ kind, text }) => (kind === 'same' ? shown(text) : h(kind === 'new' ? 'ins' : 'del', null, shown(text)))),
  );
