// @ts-check
// A dialog with a text that is shown once.

import { copyButton } from './copy.js';
import { h } from './dom.js';
import { dialog } from './messages.js';

/** Shows a link or a key. @param {string} title @param {string} said @param {string} secret */
export function shown(title, said, secret) {
  return dialog(title, () => [
    h('p', null, said),
    h('pre', { tabindex: '0', class: 'wrap' }, secret),
    h('p', null, copyButton(secret, { class: 'primary' })),
  ]);
}
