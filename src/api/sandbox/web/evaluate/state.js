// @ts-check
// The state of the evaluation page: which dataset and which query set, the URL that holds them, and the paths of both in the API.

/**
 * Changed in place when another dataset or query set is chosen.
 * @typedef {object} State
 * @property {string} dataset
 * @property {string} set the ID of the query set; empty if the dataset has none
 */

/**
 * The state that a URL holds; without a dataset the last one used, or the first.
 * @param {URLSearchParams} query
 * @param {any[]} datasets
 * @returns {State}
 */
export function readAddress(query, datasets) {
  const wanted = query.get('dataset') ?? localStorage.getItem('cairn.dataset');
  const known = datasets.find((d) => d.id === wanted) ?? datasets[0];
  return { dataset: known.id, set: query.get('set') ?? '' };
}

/** The URL that holds a state. @param {State} state */
export const writeAddress = ({ dataset, set }) => `/sandbox/evaluate?${new URLSearchParams({ dataset, ...(set && { set }) })}`;

/** @param {string} dataset */
export const datasetPath = (dataset) => `/kb/v1/datasets/${dataset}`;

/** @param {State} state */
export const setPath = ({ dataset, set }) => `${datasetPath(dataset)}/query-sets/${set}`;

/**
 * The address that opens a query in lanes, one for each of the settings.
 * @param {string} dataset
 * @param {string} text
 * @param {any[]} settings
 */
export function lanesAddress(dataset, text, settings) {
  const address = new URLSearchParams({ q: text });
  for (const own of settings) address.append('lane', JSON.stringify({ ...own, datasetIds: [dataset] }));
  return `/sandbox/search?${address}`;
}
