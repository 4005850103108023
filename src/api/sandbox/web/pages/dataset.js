// @ts-check
// A dataset: its files, its websites and other sources, its configuration, its generations. The sections are in `dataset/`.

import { configuration } from '../dataset/configuration.js';
import { files } from '../dataset/files.js';
import { generations } from '../dataset/generations.js';
import { sources } from '../dataset/sources.js';
import { sites } from '../dataset/websites.js';
import { get } from '../lib/api.js';
import { crumbs } from '../lib/crumbs.js';
import { h } from '../lib/dom.js';
import { tabs } from '../lib/controls.js';

/** @param {import('../app.js').Context} context */
export async function page({ path, query, signal, go, replace, title }) {
  const id = encodeURIComponent(path[0]);
  const dataset = await get(`/dashboard/v1/knowledge-base/datasets/${id}`, signal);
  title(dataset.name);
  const facts = `${dataset.embeddingModel} · chunk size ${dataset.chunkSize} tokens, overlap ${dataset.chunkOverlap}`;
  return [
    crumbs(),
    h(
      'div',
      { class: 'top' },
      h('div', null, h('h1', null, dataset.name), h('p', { class: 'quiet' }, dataset.description, dataset.description && h('br'), facts)),
      h(
        'div',
        { class: 'row' },
        h('a', { class: 'button', href: `/sandbox/search?dataset=${id}` }, 'Search'),
        h('a', { class: 'button', href: `/sandbox/evaluate?dataset=${id}` }, 'Evaluate'),
        h('a', { class: 'button', href: `/sandbox/history?dataset=${id}` }, 'History'),
      ),
    ),
    tabs(
      'Dataset sections',
      [
        { name: 'files', title: 'Files', body: (own) => files(dataset, own) },
        { name: 'crawl', title: 'Websites', body: (own) => sites(id, own) },
        { name: 'sources', title: 'Sources', body: (own) => sources(id, own) },
        { name: 'configuration', title: 'Configuration', body: (own) => configuration(dataset, own, go) },
        { name: 'generations', title: 'Generations', body: (own) => generations(id, own) },
      ],
      query.get('tab') ?? 'files',
      signal,
      (name) => replace(`/sandbox/datasets/${id}?tab=${name}`),
    ),
  ];
}
