// @ts-check
// A button that copies a text.

import { button } from './controls.js';
import { toast } from './messages.js';

/** @param {string} text @param {Record<string, any>} [attributes] of the button */
export function copyButton(text, attributes) {
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    toast('Copied.');
  };
  return button('Copy', copy, attributes);
}
