// @ts-check
// The way from the overview to a page.

import { h } from './dom.js';
import { icon } from './icon.js';

/** @param {...[string, string]} above title and address of each page above this one, outermost first */
export const crumbs = (...above) =>
  h(
    'nav',
    { class: 'crumbs', 'aria-label': 'Breadcrumb' },
    [['Overview', '/sandbox'], ...above].map(([title, href], at) => [at > 0 && icon('next'), h('a', { href }, title)]),
  );
