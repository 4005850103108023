// @ts-check
// Elements out of values. Text is always text: nothing here, and nothing that uses it, turns a string into markup.

const SVG = 'http://www.w3.org/2000/svg';

/** @typedef {Node | string | number | false | null | undefined | any[]} Child a list holds further ones */

/**
 * @param {Element} element
 * @param {Record<string, any> | null} attributes
 * @param {Child[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value' && 'value' in element) /** @type {any} */ (element).value = value;
    else if (name === 'checked' || name === 'selected' || name === 'indeterminate') /** @type {any} */ (element)[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  add(element, children);
  return element;
}

/**
 * Makes an HTML element: attributes by name, `onclick` and the like as listeners.
 * @param {string} tag
 * @param {Record<string, any> | null} [attributes]
 * @param {...Child} children
 * @returns {any}
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  fill(element, attributes ?? null, children);
  // A select takes its value when its options are there.
  if (tag === 'select' && attributes?.value !== undefined) /** @type {any} */ (element).value = attributes.value;
  return element;
}

/**
 * Makes an SVG element.
 * @param {string} tag
 * @param {Record<string, any> | null} [attributes]
 * @param {...Child} children
 * @returns {any}
 */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes ?? null, children);
}

/**
 * @param {Element | DocumentFragment} parent
 * @param {Child[]} children
 */
function add(parent, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(parent, child);
    else if (child instanceof Node) parent.append(child);
    else if (child !== false && child !== null && child !== undefined) parent.append(String(child));
  }
}

/**
 * Gives an element other children.
 * @param {Element} element
 * @param {...Child} children
 */
export function put(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

let made = 0;
/** A name for an element, for labels and descriptions. */
export const uid = () => `e${++made}`;
