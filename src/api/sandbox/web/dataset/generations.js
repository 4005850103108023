// @ts-check
// The generations of a dataset: build, compare, switch and remove.

import { call, get, post } from '../lib/api.js';
import { button, field, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { badge, count, counted, duration } from '../lib/format.js';
import { complain, confirmed, failure, toast } from '../lib/messages.js';
import { PARSE } from './chunking.js';

const HEAD = ['Number', 'State', 'Model', 'Chunks', 'Chunking', 'Documents', ''];
const INTRODUCTION =
  'A generation is the dataset indexed with one model and one chunking configuration. ' +
  'A new generation is built alongside the live one. Searches use the live generation until you switch; ' +
  'switching is atomic and can be reverted. Manual edits and hidden chunks are carried over where a chunk has the ' +
  'same text. Other edits stay in the generation where they were made and are listed on the document page.';

const number = (/** @type {any} */ v) => (typeof v === 'number' ? v.toFixed(3) : JSON.stringify(v));

/** A labelled query as a comparison takes it. @param {any} q */
function labelled(q) {
  const positive = Object.entries(q.labels).filter(([, grade]) => Number(grade) > 0);
  return { query: q.text, documentIds: [...new Set(positive.map(([what]) => what.split('@')[0]))] };
}

/** Compares a generation with the live one on the first query set. @param {string} id @param {any} g @param {AbortSignal} signal */
async function comparison(id, g, signal) {
  const [set] = (await get(`/kb/v1/datasets/${id}/query-sets`, signal)).data;
  if (!set) throw new Error('No query set yet. Label some hits on the Search page, or create a query set on the Evaluation page.');
  const detail = await get(`/kb/v1/datasets/${id}/query-sets/${set.id}`, signal);
  const queries = detail.data.map(labelled).filter((/** @type {any} */ q) => q.documentIds.length);
  const found = await post(`/kb/v1/datasets/${id}/generations/${g.number}/compare`, { queries }, signal);
  const rows = Object.keys(found.live).map((m) => [m, number(found.live[m]), number(found.generation[m])]);
  return [
    h('h2', null, `Generation ${g.number} compared with live, on “${set.name}”`),
    table('Comparison', ['Metric', 'Live', `Generation ${g.number}`], rows),
  ];
}

/** Switches to a generation; asks first if documents would be lost. @param {string} base @param {any} g */
async function switchTo(base, g) {
  if (g.documentsFailed) {
    const failed = `${counted(g.documentsFailed, 'document')} failed to build in generation ${g.number}.`;
    const lost = `Searches will no longer find ${g.documentsFailed === 1 ? 'it' : 'them'}.`;
    if (!(await confirmed(`${failed} ${lost}`, 'Switch anyway'))) return false;
  }
  await post(`${base}/${g.number}/switch`);
  toast(`Generation ${g.number} is now live. The previous one is kept for rollback.`);
  return true;
}

/** @param {string} base @param {any} g */
async function remove(base, g) {
  if (!(await confirmed(`Permanently delete generation ${g.number} with its chunks and vectors? Searches are not affected.`, 'Delete')))
    return false;
  await call('DELETE', `${base}/${g.number}`);
  return true;
}

/** The cells of a generation. @param {any} g @param {any} actions */
function row(g, actions) {
  const building = g.status === 'building' && h('progress', { max: g.documentsTotal, value: g.documentsReady, 'aria-label': 'Building' });
  const failed = g.documentsFailed ? `, ${g.documentsFailed} failed` : '';
  return [
    g.number,
    [badge(g.status), building, g.etaSeconds ? ` ${duration(g.etaSeconds)}` : null],
    g.embeddingModel,
    count(g.chunks),
    `${g.chunkSize} tokens, overlap ${g.chunkOverlap}, ${g.parseType}`,
    `${count(g.documentsReady)} of ${count(g.documentsTotal)}${failed}`,
    actions,
  ];
}

/**
 * The form of a new generation.
 * @param {(body: Record<string, any>) => Promise<void>} create
 * @param {{model: string, reason: string} | undefined} suggested
 */
function newGeneration(create, suggested) {
  const inputs = {
    chunkSize: h('input', { type: 'number' }),
    chunkOverlap: h('input', { type: 'number' }),
    parseType: select(PARSE, ''),
    embeddingModel: h('input', { placeholder: 'current model' }),
  };
  const build = () => {
    /** @type {Record<string, any>} */
    const body = {};
    for (const [name, input] of Object.entries(inputs)) {
      if (input.value) body[name] = ['chunkSize', 'chunkOverlap'].includes(name) ? Number(input.value) : input.value;
    }
    return create(body);
  };
  return [
    h('h2', null, 'New generation'),
    suggested &&
      h(
        'p',
        { class: 'notice' },
        `${suggested.reason}. `,
        button(
          `Use ${suggested.model}`,
          () => {
            inputs.embeddingModel.value = suggested.model;
          },
          { class: 'small' },
        ),
      ),
    h(
      'div',
      { class: 'fields' },
      field('Chunk size (tokens)', inputs.chunkSize),
      field('Overlap (tokens)', inputs.chunkOverlap),
      field('Chunking', inputs.parseType),
      field('Embedding model', inputs.embeddingModel),
    ),
    button('Build', build, { class: 'primary' }),
  ];
}

/** @param {string} id @param {AbortSignal} signal */
export async function generations(id, signal) {
  const base = `/kb/v1/datasets/${id}/generations`;
  const out = h('div');
  const compared = h('div', { role: 'status' });
  /** @type {any} */
  let timer = null;
  const actions = (/** @type {any} */ g) =>
    h(
      'div',
      { class: 'row' },
      button('Compare', async () => put(compared, await comparison(id, g, signal)), { class: 'small' }),
      g.status !== 'building' && button('Switch', async () => (await switchTo(base, g)) && draw(), { class: 'small' }),
      button('Delete', async () => (await remove(base, g)) && draw(), { class: 'small danger' }),
    );
  /** @type {any} */
  let suggested;
  const draw = async () => {
    const found = await get(base, signal);
    const list = found.data;
    suggested = found.suggestedModel;
    const rows = list.map((/** @type {any} */ g) => row(g, g.status === 'live' ? null : actions(g)));
    put(out, table('Generations', HEAD, rows));
    clearTimeout(timer);
    if (list.some((/** @type {any} */ g) => g.status === 'building')) {
      timer = setTimeout(() => !signal.aborted && draw().catch(complain), 1500);
    }
  };
  try {
    await draw();
  } catch (error) {
    return failure(error);
  }
  const create = async (/** @type {Record<string, any>} */ body) => {
    await post(base, body);
    await draw();
  };
  return [h('p', { class: 'quiet' }, INTRODUCTION), out, compared, newGeneration(create, suggested)];
}
