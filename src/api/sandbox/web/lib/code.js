// @ts-check
// Colours for source code of any language: what looks like a comment, a string, a number or a common keyword.

/** @typedef {{start: number, end: number, kind: string | null}} Token */

const KEYWORDS = `
  abstract and as assert async await begin break case catch class const continue def default defer del do elif
  else end enum except export extends extern false final finally fn for from func function go goto if impl
  implements import in interface is lambda let loop match mod module mut namespace new nil none not null or
  override package pass private protected pub public raise ref return self select static struct super switch
  template then this throw trait true try type typedef union unsafe use using val var virtual void when where
  while with yield
`;
const WORDS = new Set(KEYWORDS.trim().split(/\s+/));

const PATTERN = new RegExp(
  [
    String.raw`(?<comment>\/\*[\s\S]*?(?:\*\/|$)|\/\/[^\n]*|(?<=^|\s)#(?![[!])[^\n]*|(?<=^|\s)--\s[^\n]*|<!--[\s\S]*?(?:-->|$))`,
    String.raw`(?<string>"(?:\\.|[^"\\\n]){0,2000}"|'(?:\\.|[^'\\\n]){0,400}'|` + '`(?:\\\\.|[^`\\\\]){0,5000}`)',
    String.raw`(?<number>\b\d[\w.]*\b)`,
    String.raw`(?<word>[A-Za-z_]\w*)`,
  ].join('|'),
  'g',
);

/**
 * The tokens of a text, which together are the text.
 * @param {string} text
 * @returns {Token[]}
 */
export function coloured(text) {
  /** @type {Token[]} */
  const tokens = [];
  let at = 0;
  for (const found of text.matchAll(PATTERN)) {
    const { groups = {}, index } = found;
    const kind =
      ['comment', 'string', 'number'].find((name) => groups[name] !== undefined) ?? (WORDS.has(found[0].toLowerCase()) ? 'keyword' : null);
    if (!kind) continue;
    if (index > at) tokens.push({ start: at, end: index, kind: null });
    tokens.push({ start: index, end: index + found[0].length, kind });
    at = index + found[0].length;
  }
  if (at < text.length) tokens.push({ start: at, end: text.length, kind: null });
  return tokens;
}
