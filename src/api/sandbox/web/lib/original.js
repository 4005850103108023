// @ts-check
// The original file of a document, opened at a passage where the format allows it: the page of a PDF, the words on a web page.

import { h } from './dom.js';

/** Words as they stand in the text of a page: no marks of Markdown, and at least a few of them. */
const WORDS = /[\p{L}\p{N}][\p{L}\p{N} ,.;:'’()–-]{18,100}(?=[ .,;:!?\n]|$)/u;

/** The fragment that leads to a passage (https://wicg.github.io/scroll-to-text-fragment/). @param {string} text */
function textFragment(text) {
  const words = WORDS.exec(text)?.[0].trim();
  // A dash would begin a context.
  return words ? `#:~:text=${encodeURIComponent(words).replaceAll('-', '%2D')}` : '';
}

/**
 * Returns the fragment of a passage; `null` where the format has none.
 * @param {{fileName: string, page: number | null | undefined, text: string}} passage
 */
export function fragmentOf({ fileName, page, text }) {
  if (/\.pdf$/i.test(fileName)) return page ? `#page=${page}` : '';
  if (/\.(x?html?|txt)$/i.test(fileName)) return textFragment(text);
  return null;
}

/**
 * A link to the original at a passage, if its format leads there.
 * @param {string} base path of the document in the API
 * @param {{fileName: string, page: number | null | undefined, text: string}} passage
 * @param {string} label
 */
export function originalLink(base, passage, label) {
  const fragment = fragmentOf(passage);
  if (fragment === null) return null;
  return h('a', { href: `${base}/file${fragment}`, target: '_blank', rel: 'noopener', title: 'Original file at this passage' }, label);
}
