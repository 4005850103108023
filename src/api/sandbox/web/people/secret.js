// @ts-check
// A dialog with a text that is shown once.

import { button } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { dialog, toast } from '../lib/messages.js';

/** Shows a link or a key. @param {string} title @param {string} said @param {string} secret */
export function shown(title, said, secret) {
  const copy = async () => {
    await navigator.clipboard.writeText(secret);
    toast('Copied.');
  };
  return dialog(title, () => [
    h('p', null, said),
    h('pre', { tabindex: '0', class: 'wrap' }, secret),
    h('p', null, button('Copy', copy, { class: 'primary' })),
  ]);
}
