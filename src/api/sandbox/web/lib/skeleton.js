// @ts-check
// What stands in the place of something that is being loaded; it appears when that takes longer than a moment.

import { h } from './dom.js';

/** Lines in the place of text. */
const LINES = 4;

export const skeleton = () =>
  h(
    'div',
    { class: 'skeleton', role: 'status', 'aria-label': 'Loading' },
    Array.from({ length: LINES }, () => h('span')),
  );
