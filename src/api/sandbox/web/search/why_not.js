// @ts-check
// "Why not?": the form that asks why an expected document is missing from the hits of a lane.

import { all, post } from '../lib/api.js';
import { button } from '../lib/controls.js';
import { h, put, uid } from '../lib/dom.js';
import { complain } from '../lib/messages.js';
import { request } from './settings.js';

/** The documents of datasets. @param {string[]} ids @param {AbortSignal} signal */
async function documents(ids, signal) {
  const lists = await Promise.all(ids.map((id) => all(`/kb/v1/datasets/${id}/documents`, signal)));
  return lists.flat();
}

/**
 * The document that a text names by ID, name or title, or by a part that only one of them has. Without one, those that have the part.
 * @param {any[]} known
 * @param {string} text
 */
function named(known, text) {
  const part = text.toLowerCase();
  const alike = known.filter((d) => [d.fileName, d.title ?? ''].some((n) => n.toLowerCase().includes(part)));
  const exact = known.find((d) => d.id === text || d.fileName === text || d.title === text);
  return { document: exact ?? (alike.length === 1 ? alike[0] : undefined), alike };
}

/** The answer of `/kb/v1/why-not`. @param {any} why */
function verdict(why) {
  const has = (/** @type {any} */ value) => value !== null && value !== undefined;
  const numbers = [
    why.rank && `rank ${why.rank}`,
    has(why.score) && `score ${why.score.toFixed(3)}`,
    has(why.lastScore) && `last hit ${why.lastScore.toFixed(3)}`,
    why.vectorRank && `semantic rank ${why.vectorRank}`,
    why.keywordRank && `keyword rank ${why.keywordRank}`,
  ].filter(Boolean);
  return h(
    'div',
    { class: `notice ${why.cause === 'found' ? 'good' : ''}` },
    h('strong', null, why.sentence),
    why.remedy && h('p', null, why.remedy),
    numbers.length > 0 && h('p', null, h('small', null, numbers.join(' · '))),
  );
}

/**
 * The form of a lane, and `rename`, which is told the letter of the lane: that changes when another lane is removed.
 * @param {{settings: import('./settings.js').Settings, asked: string}} lane read when the form is sent
 * @param {AbortSignal} signal
 */
export function whyNot(lane, signal) {
  const said = h('div', { role: 'status' });
  const list = h('datalist', { id: uid() });
  const wanted = h('input', { list: list.id, placeholder: 'Document name or ID' });
  const state = () => JSON.stringify([lane.settings, lane.asked]);
  let answered = '';
  const rename = (/** @type {string} */ letter) => {
    wanted.setAttribute('aria-label', `Expected document in lane ${letter}`);
    // An answer about another search would mislead.
    if (answered !== state()) put(said);
  };
  /** The documents of the datasets of the lane, loaded once. @type {{ids: string, documents: Promise<any[]>} | null} */
  let loaded = null;
  const known = () => {
    const ids = lane.settings.datasetIds.join();
    if (loaded && loaded.ids === ids) return loaded.documents;
    const own = { ids, documents: documents(lane.settings.datasetIds, signal) };
    own.documents.catch(() => {
      if (loaded === own) loaded = null;
    });
    loaded = own;
    return own.documents;
  };
  wanted.addEventListener('focus', () => {
    known()
      .then((all) =>
        put(
          list,
          all.slice(0, 2000).map((d) => h('option', { value: d.fileName })),
        ),
      )
      .catch(complain);
  });
  const choice = (/** @type {any} */ document) =>
    button(
      document.fileName,
      () => {
        wanted.value = document.fileName;
        return work();
      },
      { class: 'small' },
    );
  const work = async () => {
    const text = wanted.value.trim();
    if (!text) {
      wanted.focus();
      return;
    }
    const asked = state();
    const { document, alike } = named(await known(), text);
    if (!document && alike.length > 1) {
      put(said, h('p', null, 'Several documents match: ', alike.slice(0, 12).map(choice)));
      answered = asked;
      return;
    }
    // Ids of chunks and documents have no spaces and are long; anything else is a name.
    if (!document && !/^[\w~:-]{20,}$/.test(text)) {
      put(said, h('p', { class: 'notice' }, `No document in these datasets is named “${text}”.`));
      answered = asked;
      return;
    }
    const expected = document ? { documentId: document.id } : { chunkId: text };
    const body = { ...request(lane.settings, lane.asked), ...expected };
    put(said, verdict(await post('/kb/v1/why-not', body, signal)));
    answered = asked;
  };
  const send = (/** @type {Event} */ e) => {
    e.preventDefault();
    work().catch(complain);
  };
  const element = h(
    'details',
    { class: 'why-not' },
    h('summary', null, 'Missing a result?'),
    h('form', { class: 'row', onsubmit: send }, h('div', { class: 'grow' }, wanted), list, h('button', null, 'Why not?')),
    said,
  );
  return { element, rename };
}
