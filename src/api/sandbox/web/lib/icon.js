// @ts-check
// Icons by the names of their symbols, see `icons.rs`. An icon is decoration: what it stands beside, or a label, says it in words.

import { svg } from './dom.js';

/** @param {string} name */
export const icon = (name) => svg('svg', { class: 'icon', 'aria-hidden': 'true' }, svg('use', { href: `/sandbox/icons.svg#${name}` }));
