// @ts-check
// The difference of two texts by words: the longest common subsequence, after equal beginnings and ends are set aside.

/** Words that are compared at most; longer texts are shown as replaced. */
const MOST = 4000;

/** Words with the white space after them. @param {string} text @returns {string[]} */
const words = (text) => text.match(/\S+\s*|\s+/g) ?? [];

/**
 * @param {string} before
 * @param {string} after
 * @returns {{kind: 'same' | 'gone' | 'new', text: string}[]}
 */
export function diff(before, after) {
  const [a, b] = [words(before), words(after)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  /** @type {{kind: 'same' | 'gone' | 'new', text: string}[]} */
  const parts = [];
  const add = (/** @type {'same' | 'gone' | 'new'} */ kind, /** @type {string} */ text) => {
    const last = parts.at(-1);
    if (last?.kind === kind) last.text += text;
    else if (text) parts.push({ kind, text });
  };
  add('same', a.slice(0, start).join(''));
  const [x, y] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  if (x.length > MOST || y.length > MOST) {
    add('gone', x.join(''));
    add('new', y.join(''));
  } else {
    for (const part of common(x, y)) add(part.kind, part.text);
  }
  add('same', a.slice(a.length - end).join(''));
  return parts;
}

/** @param {string[]} x @param {string[]} y @returns {{kind: 'same' | 'gone' | 'new', text: string}[]} */
function common(x, y) {
  const width = y.length + 1;
  const lengths = new Uint16Array((x.length + 1) * width);
  for (let i = x.length - 1; i >= 0; i -= 1) {
    for (let j = y.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] =
        x[i] === y[j] ? lengths[(i + 1) * width + j + 1] + 1 : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  /** @type {{kind: 'same' | 'gone' | 'new', text: string}[]} */
  const parts = [];
  let [i, j] = [0, 0];
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      parts.push({ kind: 'same', text: x[i] });
      i += 1;
      j += 1;
    } else if (j >= y.length || (i < x.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) {
      parts.push({ kind: 'gone', text: x[i] });
      i += 1;
    } else {
      parts.push({ kind: 'new', text: y[j] });
      j += 1;
    }
  }
  return parts;
}
