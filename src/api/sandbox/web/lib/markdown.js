// @ts-check
// Markdown as elements. Every piece of text keeps its place in the source, so that highlights and citations, which are ranges of the
// source, stay exact. Nothing becomes markup: what is not understood is shown as it is written.

import { h } from './dom.js';
import { coloured } from './code.js';

/** @typedef {import('./dom.js').Child} Child */
/** @typedef {{start: number, end: number}} Range in UTF-16 units when used here, in Unicode characters outside */
/** @typedef {{from: number, to: number}} Line without its end */

/**
 * What is shown in addition to the text.
 * @typedef {object} Extras
 * @property {Range[]} [marks] highlighted
 * @property {Range | null} [strong] emphasised
 * @property {(Range & {node: Node})[]} [nodes] shown instead of their ranges
 * @property {boolean} [code] whether the whole text is source code
 */

/** The place in a string of each Unicode character. @param {string} text */
function places(text) {
  const found = [];
  for (let at = 0; at < text.length; at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1) found.push(at);
  found.push(text.length);
  return found;
}

/** A text with its extras, whose ranges are places in the string. */
class Source {
  /** @param {string} text @param {Extras} extras */
  constructor(text, { marks = [], strong = null, nodes = [] }) {
    const at = places(text);
    const place = (/** @type {number} */ character) => at[Math.min(character, at.length - 1)];
    const moved = (/** @type {any} */ range) => ({ ...range, start: place(range.start), end: place(range.end) });
    this.text = text;
    /** @type {Range[]} */
    this.marks = marks.map(moved).sort((a, b) => a.start - b.start);
    /** @type {Range | null} */
    this.strong = strong && moved(strong);
    /** @type {(Range & {node: Node})[]} */
    this.nodes = nodes.map(moved).sort((a, b) => a.start - b.start);
    /** @type {Map<string, number>} for delimiters that do not close, the end of the text in which they do not */
    this.unclosed = new Map();
  }

  /** The text between two places with what is in it. @param {number} from @param {number} to @returns {Child[]} */
  piece(from, to) {
    /** @type {Child[]} */
    const parts = [];
    let at = from;
    for (const { start, end, node } of this.nodes) {
      if (start < at || end > to) continue;
      parts.push(this.plain(at, start), node);
      at = end;
    }
    parts.push(this.plain(at, to));
    return parts;
  }

  /** @param {number} from @param {number} to @returns {Child[]} */
  plain(from, to) {
    if (to <= from) return [];
    const inside = (/** @type {Range | null} */ range) => range && range.start < to && range.end > from;
    const edges = [...this.marks, this.strong].filter(inside).flatMap((r) => (r ? [r.start, r.end] : []));
    const cuts = [...new Set([from, ...edges.filter((e) => e > from && e < to), to])].sort((a, b) => a - b);
    return cuts.slice(0, -1).map((start, i) => {
      const end = cuts[i + 1];
      const holds = (/** @type {Range | null} */ r) => r && r.start <= start && r.end >= end;
      const text = this.text.slice(start, end);
      const marked = this.marks.some(holds) ? h('mark', null, text) : text;
      return holds(this.strong) ? h('strong', { class: 'best' }, marked) : marked;
    });
  }
}

/** Where a run of the same delimiter closes. @param {Source} source @param {string} delimiter @param {number} from @param {number} to */
function closing({ text, unclosed }, delimiter, from, to) {
  // What does not close from here on does not close from a later place either.
  if ((unclosed.get(delimiter) ?? 0) >= to) return -1;
  for (let at = text.indexOf(delimiter, from); at >= 0 && at + delimiter.length <= to; at = text.indexOf(delimiter, at + 1)) {
    const before = text[at - 1];
    const after = text[at + delimiter.length] ?? ' ';
    if (text[at - 1] === '\\' || /\s/.test(before) || (isSingle(delimiter) && WORD.test(after))) continue;
    // A longer run closes something else.
    if (after === delimiter[0] && delimiter.length === 1) {
      at += 1;
      continue;
    }
    return at;
  }
  unclosed.set(delimiter, to);
  return -1;
}

const WORD = /[\p{L}\p{N}]/u;

/** Whether a delimiter inside of a word is a character like others. @param {string} delimiter */
const isSingle = (delimiter) => delimiter.length === 1 || delimiter === '__';

const DELIMITERS = /** @type {[string, string][]} */ ([
  ['**', 'strong'],
  ['__', 'strong'],
  ['~~', 'del'],
  ['*', 'em'],
  ['_', 'em'],
]);

/** An address that leads to a page. @param {string} text */
const isAddress = (text) => /^https?:\/\/[^\s]+$/i.test(text);

/** @param {string} href @param {Child} content */
const link = (href, content) => h('a', { href, rel: 'noopener noreferrer nofollow', target: '_blank' }, content);

/**
 * What begins at a place: its elements and where it ends; nothing for plain text.
 * @param {Source} source
 * @param {number} at
 * @param {number} to
 * @returns {[Child, number] | null}
 */
function special(source, at, to) {
  const { text } = source;
  const c = text[at];
  if (c === '\\' && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? '') && at + 1 < to) return [source.piece(at + 1, at + 2), at + 2];
  if (c === '`') {
    const run = /^`+/.exec(text.slice(at, to))?.[0] ?? '`';
    const end = text.indexOf(run, at + run.length);
    if (end < 0 || end + run.length > to || text[end + run.length] === '`') return [source.piece(at, at + run.length), at + run.length];
    return [h('code', null, source.piece(at + run.length, end)), end + run.length];
  }
  if (c === '<') {
    const address = /^<(https?:\/\/[^\s<>]+)>/i.exec(text.slice(at, to));
    if (address) return [link(address[1], source.piece(at + 1, at + 1 + address[1].length)), at + address[0].length];
  }
  if (c === '[' || (c === '!' && text[at + 1] === '[')) {
    const start = at + (c === '!' ? 2 : 1);
    const found = /^([^[\]]*)\]\(\s*<?([^()\s<>]*(?:\([^()\s]*\)[^()\s<>]*)*)>?(?:\s+"[^"]*")?\s*\)/.exec(
      text.slice(start, Math.min(to, start + LINK)),
    );
    if (found) {
      const inner = inline(source, start, start + found[1].length);
      const shown = c === '!' ? h('span', { class: 'quiet' }, inner) : isAddress(found[2]) ? link(found[2], inner) : inner;
      return [shown, start + found[0].length];
    }
  }
  for (const [delimiter, tag] of DELIMITERS) {
    if (!text.startsWith(delimiter, at)) continue;
    const start = at + delimiter.length;
    const isInWord = isSingle(delimiter) && WORD.test(text[at - 1] ?? ' ');
    if (start >= to || isInWord || /\s/.test(text[start])) continue;
    const end = closing(source, delimiter, start + 1, to);
    if (end > start) return [h(tag, null, inline(source, start, end)), end + delimiter.length];
  }
  return null;
}

/** @param {Source} source @param {number} from @param {number} to @returns {Child[]} */
function inline(source, from, to) {
  /** @type {Child[]} */
  const parts = [];
  let [plain, at] = [from, from];
  while (at < to) {
    const node = source.nodes.find((n) => n.start === at && n.end <= to);
    const found = node ? null : special(source, at, to);
    if (node) at = node.end;
    else if (found) {
      parts.push(source.piece(plain, at), found[0]);
      at = found[1];
      plain = at;
    } else at += 1;
  }
  parts.push(source.piece(plain, to));
  return parts;
}

/** The lines of a text. @param {string} text @returns {Line[]} */
function linesOf(text) {
  const lines = [];
  let from = 0;
  for (const line of text.split('\n')) {
    lines.push({ from, to: from + line.length });
    from += line.length + 1;
  }
  return lines;
}

/** Characters from which a line of a paragraph is taken for wrapped text. */
const WRAPPED = 60;
const HEADING = /^ {0,3}(#{1,6})\s+(\S.*)$/;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const RULE = /^ {0,3}([-*_])\s*(?:\1\s*){2,}$/;
const QUOTE = /^ {0,3}>\s?/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+/;
const TABLE = /^\s*\|.*\|\s*$/;
/** Blocks inside of blocks that are understood; deeper ones are shown as they are written. */
const DEEPEST = 20;
/** Characters of a link with its address. */
const LINK = 2000;

/** Whether a row separates the head of a table from its body. @param {string} text */
const isDelimiterRow = (text) =>
  text
    .trim()
    .replace(/^\|/, '')
    .replace(/\|$/, '')
    .split('|')
    .every((cell) => /^:?-+:?$/.test(cell.trim()));

/** The text of a heading without the signs that may close it. @param {string} text */
function headingText(text) {
  let end = text.length;
  while (end > 0 && text[end - 1] === '#') end -= 1;
  return end < text.length && (end === 0 || text[end - 1] === ' ') ? text.slice(0, end).trimEnd() : text;
}

/** The cells of a row. @param {Source} source @param {Line} line @returns {Line[]} */
function cells(source, { from, to }) {
  const found = [];
  const end = from + source.text.slice(from, to).trimEnd().length;
  let start = source.text.indexOf('|', from) + 1;
  for (let at = start; at < end; at += 1) {
    if (source.text[at] !== '|' || source.text[at - 1] === '\\') continue;
    found.push({ from: start, to: at });
    start = at + 1;
  }
  return found.map((cell) => trimmed(source, cell));
}

/** @param {Source} source @param {Line} line @returns {Line} */
function trimmed(source, { from, to }) {
  const text = source.text.slice(from, to);
  const start = from + (text.length - text.trimStart().length);
  return { from: Math.min(start, to), to: Math.max(start, from + text.trimEnd().length) };
}

/** @param {Source} source @param {Line[]} lines */
function tableOf(source, lines) {
  const read = (/** @type {Line} */ line) => source.text.slice(line.from, line.to);
  const hasHead = lines.length > 1 && isDelimiterRow(read(lines[1]));
  const row = (/** @type {Line} */ line, /** @type {string} */ tag) =>
    h(
      'tr',
      null,
      cells(source, line).map(({ from, to }) => h(tag, { dir: 'auto' }, inline(source, from, to))),
    );
  const body = lines.slice(hasHead ? 2 : 0).filter((line) => !isDelimiterRow(read(line)));
  return h(
    'div',
    { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Table' },
    h(
      'table',
      null,
      hasHead && h('thead', null, row(lines[0], 'th')),
      h(
        'tbody',
        null,
        body.map((line) => row(line, 'td')),
      ),
    ),
  );
}

/**
 * The list that begins at a line, and the number of its lines.
 * @param {Source} source
 * @param {Line[]} lines
 * @param {number} nesting
 * @returns {[Child, number]}
 */
function listOf(source, lines, nesting) {
  const read = (/** @type {Line} */ line) => source.text.slice(line.from, line.to);
  const first = ITEM.exec(read(lines[0]));
  const depth = first?.[1].length ?? 0;
  const isOrdered = /\d/.test(first?.[2] ?? '');
  const items = [];
  let at = 0;
  while (at < lines.length) {
    const item = ITEM.exec(read(lines[at]));
    if (!item || item[1].length !== depth || /\d/.test(item[2]) !== isOrdered) break;
    const width = item[0].length;
    const own = [{ from: lines[at].from + width, to: lines[at].to }];
    at += 1;
    for (; at < lines.length; at += 1) {
      const text = read(lines[at]);
      const indent = text.length - text.trimStart().length;
      const next = lines[at + 1] && read(lines[at + 1]);
      const goesOn = text.trim() === '' ? Boolean(next && /^\s+\S/.test(next) && next.search(/\S/) > depth) : indent > depth;
      if (!goesOn) break;
      own.push({ from: lines[at].from + Math.min(indent, width), to: lines[at].to });
    }
    items.push(h('li', { dir: 'auto' }, blocks(source, own, nesting + 1, true)));
  }
  const start = isOrdered ? Number.parseInt(first?.[2] ?? '1', 10) : null;
  return [h(isOrdered ? 'ol' : 'ul', { start: start === 1 ? null : start }, items), Math.max(at, 1)];
}

/**
 * @param {Source} source
 * @param {Line[]} lines
 * @param {number} nesting how many blocks it is in
 * @param {boolean} [tight] whether a single paragraph needs no element
 * @returns {Child[]}
 */
function blocks(source, lines, nesting, tight = false) {
  if (nesting > DEEPEST) return [source.piece(lines[0].from, lines[lines.length - 1].to)];
  const read = (/** @type {Line} */ line) => source.text.slice(line.from, line.to);
  const run = (/** @type {number} */ from, /** @type {(text: string) => boolean} */ belongs) => {
    let end = from;
    while (end < lines.length && belongs(read(lines[end]))) end += 1;
    return lines.slice(from, end);
  };
  const begins = (/** @type {string} */ text) => [HEADING, FENCE, RULE, QUOTE, ITEM, TABLE].some((pattern) => pattern.test(text));
  /** @type {Child[]} */
  const found = [];
  let at = 0;
  while (at < lines.length) {
    const text = read(lines[at]);
    const heading = HEADING.exec(text.trimEnd());
    const fence = FENCE.exec(text);
    if (text.trim() === '') at += 1;
    else if (heading) {
      const from = lines[at].from + heading[0].length - heading[2].length;
      const to = from + headingText(heading[2]).length;
      found.push(h('p', { class: `heading h${heading[1].length}`, dir: 'auto' }, inline(source, from, to)));
      at += 1;
    } else if (fence) {
      const isEnd = (/** @type {string} */ line) => line.trim().startsWith(fence[1]) && /^[`~]+$/.test(line.trim());
      const inside = run(at + 1, (line) => !isEnd(line));
      const [from, to] = inside.length > 0 ? [inside[0].from, inside.at(-1)?.to ?? 0] : [lines[at].to, lines[at].to];
      found.push(code(source, from, to, fence[2]));
      at += inside.length + 2;
    } else if (RULE.test(text)) {
      found.push(h('hr'));
      at += 1;
    } else if (QUOTE.test(text)) {
      const inside = run(at, (line) => QUOTE.test(line));
      const own = inside.map(({ from, to }) => ({ from: from + (QUOTE.exec(source.text.slice(from, to))?.[0].length ?? 0), to }));
      found.push(h('blockquote', { dir: 'auto' }, blocks(source, own, nesting + 1)));
      at += inside.length;
    } else if (TABLE.test(text)) {
      const inside = run(at, (line) => TABLE.test(line));
      found.push(tableOf(source, inside));
      at += inside.length;
    } else if (ITEM.test(text)) {
      const [list, length] = listOf(source, lines.slice(at), nesting);
      found.push(list);
      at += length;
    } else {
      const inside = [lines[at], ...run(at + 1, (line) => line.trim() !== '' && !begins(line))];
      // Long lines are wrapped text, short ones are meant to be lines.
      const end = (/** @type {number} */ i) => (inside[i].to - inside[i].from >= WRAPPED ? ' ' : '\n');
      const content = inside.map((line, i) => [i > 0 && end(i - 1), inline(source, line.from, line.to)]);
      const isOnly = tight && at === 0;
      found.push(isOnly ? content : h('p', { dir: 'auto' }, content));
      at += inside.length;
    }
  }
  return found;
}

/** Source code with its language. @param {Source} source @param {number} from @param {number} to @param {string} [language] */
function code(source, from, to, language) {
  const parts = coloured(source.text.slice(from, to)).map(({ start, end, kind }) => {
    const piece = source.piece(from + start, from + end);
    return kind ? h('span', { class: `code-${kind}` }, piece) : piece;
  });
  const label = language ? `Code, ${language}` : 'Code';
  return h('pre', { tabindex: '0', role: 'group', 'aria-label': label, dir: 'ltr' }, h('code', null, parts));
}

/**
 * The number of lines of source code at the beginning of a part of a document that begins inside of a fence; 0 for others. The end of a
 * fence is told from a beginning by what it lacks: a language, and a blank line or the end of a sentence before it.
 * @param {Source} source
 * @param {Line[]} lines
 */
function codeLines(source, lines) {
  const texts = lines.map(({ from, to }) => source.text.slice(from, to));
  const fences = texts.flatMap((text, at) => (FENCE.test(text) ? [at] : []));
  const first = fences[0] ?? 0;
  const before = (texts[first - 1] ?? '').trim();
  const isEnd = fences.length % 2 === 1 && /^\s*[`~]+\s*$/.test(texts[first]) && before !== '' && !/[.:!?]$/.test(before);
  return isEnd ? first : 0;
}

/**
 * A text as elements. Ranges count Unicode characters.
 * @param {string} text
 * @param {Extras} [extras]
 * @returns {Child[]}
 */
export function rendered(text, extras = {}) {
  const source = new Source(text, extras);
  if (extras.code) return [code(source, 0, text.length)];
  const lines = linesOf(text);
  const fence = codeLines(source, lines);
  if (fence === 0) return blocks(source, lines, 0);
  return [code(source, 0, lines[fence - 1].to), ...blocks(source, lines.slice(fence + 1), 0)];
}

/**
 * A text as it is written, with the same extras.
 * @param {string} text
 * @param {Extras} [extras]
 * @returns {Child[]}
 */
export function written(text, extras = {}) {
  return new Source(text, extras).piece(0, text.length);
}
