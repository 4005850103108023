// @ts-check
// The settings of one search, as the API takes them, and the presets.

/** @typedef {Record<string, any>} Settings */

/** Settings to start from: name and settings. */
/** @type {[string, Settings][]} */
export const PRESETS = [
  ['Dataset defaults', {}],
  ['Keyword only', { hybridAlpha: 0 }],
  ['Semantic only', { hybridAlpha: 1 }],
  ['Balanced', { hybridAlpha: 0.5 }],
  ['Rank fusion', { fusion: 'rrf' }],
  ['Strict', { minScore: 0.6 }],
  ['Diverse', { mmr: 0.5, perDocument: 2, foldDuplicates: true }],
  ['Reranked', { rerank: true }],
];

/** The preset whose settings these are, datasets and topK apart; -1 for none. @param {Settings} settings */
export function presetOf(settings) {
  const own = Object.entries(settings).filter(([name]) => name !== 'datasetIds' && name !== 'topK');
  const isOf = (/** @type {Settings} */ preset) =>
    own.length === Object.keys(preset).length && own.every(([name, value]) => preset[name] === value);
  return PRESETS.findIndex(([, preset]) => isOf(preset));
}

/** The request for a search. @param {Settings} settings @param {string} query */
export const request = (settings, query) => ({ query, ...settings, topK: settings.topK ?? 10 });
