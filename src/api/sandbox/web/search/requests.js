// @ts-check
// The requests of a search: for the hits as a program gets them, and for all candidates with their raw scores.

import { post } from '../lib/api.js';
import { request } from './settings.js';

/**
 * Searches with the settings of a lane, and stores answer or error there.
 * @param {import('./state.js').Lane} lane
 * @param {string} query
 * @param {() => boolean} isLast whether the result is still wanted
 * @param {AbortSignal} signal
 */
async function search(lane, query, isLast, signal) {
  if (lane.settings.datasetIds.length === 0) return;
  const body = request(structuredClone(lane.settings), query);
  lane.error = null;
  try {
    const [answer, pool] = await Promise.all([
      post('/kb/v1/search', { ...body, explain: true, cache: false }, signal),
      post('/kb/v1/candidates', body, signal),
    ]);
    if (isLast()) Object.assign(lane, { answer, pool, asked: query, slid: false });
  } catch (error) {
    if (isLast()) Object.assign(lane, { answer: null, pool: null, error });
  }
}

/**
 * Searches in all lanes. Only the last search counts: the returned function tells whether no newer one has begun and the page
 * is still open.
 * @param {import('./state.js').Lane[]} lanes
 * @param {AbortSignal} signal
 */
export function searching(lanes, signal) {
  let turn = 0;
  return async (/** @type {string} */ query) => {
    turn += 1;
    const own = turn;
    const isLast = () => own === turn && !signal.aborted;
    await Promise.all(lanes.map((lane) => search(lane, query, isLast, signal)));
    return isLast;
  };
}
