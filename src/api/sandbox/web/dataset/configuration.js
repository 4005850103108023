// @ts-check
// The configuration of a dataset: parsing and chunking, search defaults, and deletion.

import { call, get, post } from '../lib/api.js';
import { button, field, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, counted } from '../lib/format.js';
import { confirmed, toast } from '../lib/messages.js';
import { PARSE } from './chunking.js';

/** @type {[string, string][]} */
const ENGINES = [
  ['NODE_NATIVE', 'built-in'],
  ['DOCLING', 'Docling'],
];

/** The search settings that a dataset can have defaults for. @type {[string, string][]} */
const DEFAULTS = [
  ['hybridAlpha', 'Semantic weight (alpha)'],
  ['minScore', 'Threshold (minScore)'],
  ['candidates', 'Candidates'],
  ['mmr', 'Diversity (MMR)'],
  ['confidentFrom', 'Confidence threshold'],
];

/** A text with its line breaks as `\n`. @param {string} text */
const escaped = (text) => JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"');
/** @param {string} text */
const unescaped = (text) => JSON.parse(`"${text.replaceAll('"', '\\"')}"`);

/** The inputs of the configuration, and a function that reads them. @param {any} dataset */
function configurationForm(dataset) {
  const inputs = {
    name: h('input', { value: dataset.name }),
    description: h('input', { value: dataset.description ?? '' }),
    chunkSize: h('input', { type: 'number', value: dataset.chunkSize }),
    chunkOverlap: h('input', { type: 'number', value: dataset.chunkOverlap }),
    parseType: select(PARSE.slice(1), dataset.parseType),
    parserEngine: select(ENGINES, dataset.parserEngine),
    delimiter: h('input', { value: escaped(dataset.delimiter), spellcheck: 'false' }),
    allowedAgentRoles: h('input', { value: dataset.allowedAgentRoles.join(', ') }),
  };
  const fields = () =>
    h(
      'div',
      { class: 'fields' },
      field('Name', inputs.name),
      field('Description', inputs.description),
      field('Chunk size (tokens)', inputs.chunkSize),
      field('Overlap (tokens)', inputs.chunkOverlap),
      field('Chunking', inputs.parseType),
      field('Parser', inputs.parserEngine),
      field('Delimiter', inputs.delimiter, '\\n is a line break'),
      field('Allowed agent roles', inputs.allowedAgentRoles, 'comma-separated; leave blank to allow all'),
    );
  /** @returns {Record<string, any>} */
  const read = () => ({
    name: inputs.name.value,
    description: inputs.description.value,
    chunkSize: Number(inputs.chunkSize.value),
    chunkOverlap: Number(inputs.chunkOverlap.value),
    parseType: inputs.parseType.value,
    parserEngine: inputs.parserEngine.value,
    delimiter: unescaped(inputs.delimiter.value),
    allowedAgentRoles: inputs.allowedAgentRoles.value
      .split(',')
      .map((/** @type {string} */ r) => r.trim())
      .filter(Boolean),
  });
  return { fields, read };
}

/** The search defaults of a dataset, with the previous ones. @param {string} dataset @param {AbortSignal} signal */
async function searchDefaults(dataset, signal) {
  const base = `/kb/v1/datasets/${dataset}/search-defaults`;
  const place = h('div');
  const draw = async () => {
    const { defaults: now, history } = await get(base, signal);
    const inputs = DEFAULTS.map(([name, label]) => {
      const input = h('input', { type: 'number', step: 'any', value: now[name] ?? '' });
      return { name, label, input };
    });
    const save = async () => {
      const body = { ...now };
      for (const { name, input } of inputs) {
        if (input.value === '') delete body[name];
        else body[name] = Number(input.value);
      }
      await call('PUT', base, body);
      toast('Saved.');
      await draw();
    };
    const undo = async () => {
      await post(`${base}/undo`);
      await draw();
    };
    const rows = history.map((/** @type {any} */ v) => {
      const defaults = h('code', null, JSON.stringify(v.defaults));
      return [ago(v.createdOn), v.reason, defaults];
    });
    put(
      place,
      h(
        'div',
        { class: 'fields' },
        inputs.map(({ label, input }) => field(label, input, 'leave blank for the default')),
      ),
      h(
        'div',
        { class: 'row' },
        button('Save defaults', save, { class: 'primary' }),
        history.length > 0 && button('Undo last change', undo),
      ),
      table('Previous defaults', ['When', 'Reason', 'Defaults'], rows, 'No changes yet.'),
    );
  };
  await draw();
  return place;
}

/** @param {any} dataset @param {AbortSignal} signal @param {(address: string) => void} go */
export async function configuration(dataset, signal, go) {
  const { fields, read } = configurationForm(dataset);
  const defaults = await searchDefaults(dataset.id, signal);
  const save = async () => {
    // Only what differs is changed.
    const differs = (/** @type {[string, any]} */ [name, value]) => JSON.stringify(value) !== JSON.stringify(dataset[name] ?? '');
    const changed = Object.fromEntries(Object.entries(read()).filter(differs));
    Object.assign(dataset, await call('PATCH', `/dashboard/v1/knowledge-base/datasets/${dataset.id}/config`, changed));
    toast('Saved.');
  };
  const remove = async () => {
    const content = counted(dataset.totalFiles, 'document');
    if (!(await confirmed(`Permanently delete “${dataset.name}” with ${content}?`, 'Delete dataset'))) return;
    await call('DELETE', `/kb/v1/datasets/${dataset.id}`);
    go('/sandbox');
  };
  const hint =
    'Changes apply to new files. Existing files keep their chunks until they are re-ingested. ' +
    'To re-chunk all files without affecting live searches, build a generation.';
  return [
    h('h2', null, 'Parsing and chunking'),
    h('p', { class: 'quiet' }, hint),
    fields(),
    button('Save', save, { class: 'primary' }),
    h('h2', null, 'Search defaults'),
    defaults,
    h('h2', null, 'Delete dataset'),
    button('Delete dataset', remove, { class: 'danger' }),
  ];
}
