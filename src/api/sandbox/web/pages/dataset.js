// @ts-check
// A dataset: its files, its websites, its configuration, its generations.

import { all, calmly, call, events, get, post, raw } from '../lib/api.js';
import { button, complain, confirmed, dialog, failure, field, h, put, select, table, tabs, toast } from '../lib/dom.js';
import { ago, badge, bytes, count, counted, duration } from '../lib/format.js';
import { grid } from '../lib/table.js';
import { sites } from './crawl.js';

/** How documents are cut, for forms. */
const PARSE = [['', 'dataset default'], ['NAIVE', 'naive: by size'], ['MARKDOWN', 'markdown: by headings'], ['MANUAL', 'manual: by delimiter']];
const ENGINES = [['NODE_NATIVE', 'built-in'], ['DOCLING', 'Docling']];

/** @param {import('../app.js').Context} context */
export async function page({ path, query, signal, go, replace, title }) {
  const id = encodeURIComponent(path[0]);
  const dataset = await get(`/dashboard/v1/knowledge-base/datasets/${id}`, signal);
  title(dataset.name);
  return [
    h('div', { class: 'top' },
      h('div', null, h('h1', null, dataset.name), h('p', { class: 'quiet' }, dataset.description, dataset.description && h('br'), `${dataset.embeddingModel} · chunk size ${dataset.chunkSize} tokens, overlap ${dataset.chunkOverlap}`)),
      h('div', { class: 'row' }, h('a', { class: 'button', href: `/sandbox/search?dataset=${id}` }, 'Search'), h('a', { class: 'button', href: `/sandbox/evaluate?dataset=${id}` }, 'Evaluate'), h('a', { class: 'button', href: `/sandbox/history?dataset=${id}` }, 'History'))),
    tabs('Dataset sections', [
      { name: 'files', title: 'Files', body: (own) => files(dataset, own) },
      { name: 'crawl', title: 'Websites', body: (own) => sites(id, own) },
      { name: 'configuration', title: 'Configuration', body: (own) => configuration(dataset, own, go) },
      { name: 'generations', title: 'Generations', body: (own) => generations(id, own) },
    ], query.get('tab') ?? 'files', signal, (name) => replace(`/sandbox/datasets/${id}?tab=${name}`)),
  ];
}

const atWork = (/** @type {any} */ d) => d.status === 'parsing' || d.status === 'embedding';

/** @param {any} dataset @param {AbortSignal} signal */
async function files(dataset, signal) {
  const base = `/kb/v1/datasets/${dataset.id}/documents`;
  /** @type {Map<string, any>} */
  const known = new Map();
  const state = select([['', 'all states'], ['indexed', 'indexed'], ['pending', 'pending'], ['at work', 'processing'], ['error', 'failed'], ['disabled', 'disabled']], '', () => sift());
  const name = h('input', { type: 'search', placeholder: 'Filter by name', 'aria-label': 'Filter by name', oninput: () => sift() });
  const told = h('span', { role: 'status', class: 'quiet' });

  const change = (/** @type {any} */ d, /** @type {any} */ body, /** @type {string} */ said) => async () => {
    const changed = await call('PATCH', `${base}/${encodeURIComponent(d.id)}`, body);
    known.set(d.id, changed);
    refresh();
    toast(`${d.fileName}: ${said}.`);
  };
  const why = (/** @type {any} */ d) => async () => {
    const [reason, detail] = await Promise.all([get(`${base}/${encodeURIComponent(d.id)}/why`), get(`${base}/${encodeURIComponent(d.id)}`)]);
    const facts = { Searchable: `keyword: ${reason.byWords ? 'yes' : 'no'}, semantic: ${reason.byMeaning ? 'yes' : 'no'}`, Engine: detail.engine, Pages: detail.pages, Version: detail.version, Source: detail.source, URL: detail.url, Type: detail.mimeType, 'SHA-256': detail.sha256, Aliases: detail.aliases.join(', '), Warnings: detail.warnings.join('; '), Metadata: JSON.stringify(detail.metadata) };
    await dialog(d.fileName, () => [h('p', { class: 'notice' }, h('strong', null, reason.reason)), h('dl', { class: 'facts' }, Object.entries(facts).filter(([, v]) => v).map(([k, v]) => [h('dt', null, k), h('dd', null, String(v))]))]);
  };
  const remove = (/** @type {any} */ d) => async () => {
    if (!(await confirmed(`Permanently delete “${d.fileName}” with its chunks and vectors?`, 'Delete'))) return;
    await call('DELETE', `${base}/${encodeURIComponent(d.id)}`);
    known.delete(d.id);
    refresh();
  };

  const list = grid('Files', [
    { title: 'Name', width: 'minmax(14rem, 3fr)', sort: (d) => d.fileName.toLowerCase(), cell: (d) => h('a', { href: `/sandbox/documents/${dataset.id}/${encodeURIComponent(d.id)}`, title: d.fileName }, d.fileName) },
    { title: 'State', width: 'minmax(9rem, 1.2fr)', sort: (d) => d.status, cell: (d) => [badge(d.status), atWork(d) && [` ${d.progress}%`, d.etaSeconds !== null && d.etaSeconds !== undefined && ` · ${duration(d.etaSeconds)}`], d.errorMessage && h('small', { title: d.errorMessage }, ` ${d.errorMessage}`)] },
    { title: 'Chunks', width: '5rem', sort: (d) => d.chunksCount, cell: (d) => count(d.chunksCount) },
    { title: 'Size', width: '5.5rem', sort: (d) => d.fileSizeBytes, cell: (d) => bytes(d.fileSizeBytes) },
    { title: 'Added', width: '7.5rem', sort: (d) => d.createdOn, cell: (d) => ago(d.createdOn) },
    { title: 'Actions', width: '17rem', cell: (d) => [
      button('Info', why(d), { class: 'small plain', 'aria-label': `Info about ${d.fileName}` }),
      button(d.enabled ? 'Disable' : 'Enable', change(d, { enabled: !d.enabled }, d.enabled ? 'disabled' : 'enabled'), { class: 'small plain', 'aria-label': `${d.enabled ? 'Disable' : 'Enable'} ${d.fileName}` }),
      button('Re-ingest', change(d, { reIngest: true }, 'queued'), { class: 'small plain', 'aria-label': `Re-ingest ${d.fileName}` }),
      button('Delete', remove(d), { class: 'small plain danger', 'aria-label': `Delete ${d.fileName}` })] },
  ], (/** @type {any} */ d) => d.id);

  const sift = () => {
    const [s, n] = [state.value, name.value.trim().toLowerCase()];
    list.filter((d) => (!s || d.status === s || (s === 'at work' && atWork(d))) && (!n || d.fileName.toLowerCase().includes(n)));
    put(told, `${count(list.count())} of ${counted(known.size, 'file')}`);
  };
  const refresh = () => {
    list.set([...known.values()]);
    put(told, `${count(list.count())} of ${counted(known.size, 'file')}`);
  };
  /** Files that an event told of since the list was asked for: what it says of them is older. @type {Set<string>} */
  let touched = new Set();
  const load = () => {
    const since = new Set();
    touched = since;
    return all(base, signal, (_, fresh) => {
      for (const d of fresh) if (!since.has(d.id)) known.set(d.id, d);
      refresh();
    });
  };

  // What changes is asked for once, however often it is told.
  /** @type {Set<string>} */
  const stale = new Set();
  const again = calmly(async () => {
    const ids = [...stale];
    stale.clear();
    if (ids.length > 50) return load().catch(complain);
    for (const d of await Promise.all(ids.map((i) => get(`${base}/${encodeURIComponent(i)}`, signal).catch(() => null)))) if (d) known.set(d.id, d);
    refresh();
  }, 400);
  events({ topics: ['document_changed', 'document_deleted'], datasetId: dataset.id }, signal, (topic, event) => {
    touched.add(event.documentId);
    const d = known.get(event.documentId);
    if (topic === 'document_deleted') known.delete(event.documentId);
    else if (d) known.set(d.id, { ...d, status: event.status, progress: event.progress, chunksCount: event.chunksCount, errorMessage: event.errorMessage });
    else stale.add(event.documentId);
    if (['indexed', 'error', 'disabled'].includes(event.status)) stale.add(event.documentId);
    refresh();
    again();
  }, () => load().catch(complain));
  await load();

  return [upload(dataset, () => load().catch(complain)), h('div', { class: 'row' }, h('div', { class: 'grow' }, name), h('label', { class: 'check' }, h('span', { class: 'unseen' }, 'Filter by state'), state), told, button('Re-ingest all', async () => {
    if (!(await confirmed('Parse, chunk and index every file again with the current settings? Searches keep working meanwhile.', 'Re-ingest all'))) return;
    const queued = await post(`/dashboard/v1/knowledge-base/datasets/${dataset.id}/re-index`);
    toast(`${counted(queued.jobsQueued, 'file')} queued, about ${queued.estimatedMinutes} min.`);
  })), h('p'), list.view];
}

/** @typedef {{file: File, name: string}} Named a file, and its name with its folders */

/** Files of a dropped entry, which may be a folder. @param {any} entry @returns {Promise<Named[]>} */
async function within(entry) {
  if (entry.isFile) return [{ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), name: entry.fullPath.replace(/^\//, '') }];
  const reader = entry.createReader();
  /** @type {Named[]} */
  const found = [];
  for (;;) {
    /** @type {any[]} */
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (part.length === 0) return found;
    for (const child of part) found.push(...(await within(child)));
  }
}
/** @param {File} file @returns {Named} */
const alone = (file) => ({ file, name: file.name });

/** @param {any} dataset @param {() => void} done */
function upload(dataset, done) {
  const size = h('input', { type: 'number', min: 16, max: 4096, placeholder: String(dataset.chunkSize) });
  const overlap = h('input', { type: 'number', min: 0, max: 2048, placeholder: String(dataset.chunkOverlap) });
  const parse = select(/** @type {any} */ (PARSE), '');
  const metadata = h('textarea', { rows: 2, spellcheck: 'false', placeholder: '{"year": 2026}' });
  const double = select([['skip', 'skip'], ['link', 'skip, add the name as an alias'], ['replace', 'replace'], ['keep', 'keep both']], 'skip');
  const said = h('div', { role: 'status' });
  const pick = h('input', { type: 'file', multiple: true, class: 'unseen', tabindex: '-1', 'aria-label': 'Choose files', onchange: () => send([...pick.files].map(alone)).catch(complain) });

  const options = () => {
    const form = new FormData();
    if (size.value) form.set('chunkSize', size.value);
    if (overlap.value) form.set('chunkOverlap', overlap.value);
    if (parse.value) form.set('parseType', parse.value);
    if (metadata.value.trim()) form.set('metadata', metadata.value);
    if (double.value) form.set('onDuplicate', double.value);
    return form;
  };
  /** Twenty at a time, as the API takes them. @param {Named[]} chosen */
  const send = async (chosen) => {
    /** @type {any[]} */
    const results = [];
    const bar = h('progress', { max: chosen.length, value: 0, 'aria-label': 'Uploading' });
    put(said, h('p', null, `Uploading ${counted(chosen.length, 'file')}…`), bar);
    for (let at = 0; at < chosen.length;) {
      let [end, weight] = [at, 0];
      while (end < chosen.length && end - at < 20 && (end === at || weight + chosen[end].file.size < 150e6)) weight += chosen[end++].file.size;
      const form = options();
      for (const { file, name } of chosen.slice(at, end)) form.append('files', file, name);
      try {
        const answer = await (await raw('POST', `/dashboard/v1/knowledge-base/datasets/${dataset.id}/files/upload`, form)).json();
        results.push(...answer.uploadedFiles);
      } catch (error) {
        // One by one, so that a file that is refused does not hold back the others.
        if (end - at === 1) results.push({ fileName: chosen[at].name, outcome: 'refused', errorMessage: /** @type {any} */ (error).message });
        else for (const { file, name } of chosen.slice(at, end)) {
          const single = options();
          single.append('files', file, name);
          try {
            results.push(...(await (await raw('POST', `/dashboard/v1/knowledge-base/datasets/${dataset.id}/files/upload`, single)).json()).uploadedFiles);
          } catch (reason) {
            results.push({ fileName: name, outcome: 'refused', errorMessage: /** @type {any} */ (reason).message });
          }
        }
      }
      at = end;
      bar.value = at;
    }
    pick.value = '';
    const other = results.filter((r) => r.outcome !== 'created');
    const fresh = results.length - other.length;
    put(said, h('p', { class: `notice ${other.some((r) => r.outcome === 'refused') ? 'bad' : 'good'}` }, `${counted(fresh, 'file')} uploaded. The list below shows their progress.`),
      other.length > 0 && table('Other files', ['File', 'Outcome', 'Message'], other.map((r) => [r.fileName, badge(r.outcome), r.errorMessage ?? ''])));
    done();
  };
  const zone = h('div', { class: 'drop',
    ondragover: (/** @type {DragEvent} */ e) => { e.preventDefault(); zone.classList.add('over'); },
    ondragleave: () => zone.classList.remove('over'),
    ondrop: async (/** @type {DragEvent} */ e) => {
      e.preventDefault();
      zone.classList.remove('over');
      // Entries have to be taken before anything is waited for.
      const entries = [...(e.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry()).filter(Boolean);
      const plain = [...(e.dataTransfer?.files ?? [])].map(alone);
      const found = entries.length ? (await Promise.all(entries.map(within))).flat() : plain;
      if (found.length) send(found).catch(complain);
    } },
    h('p', null, 'Drop files or folders here, or ', h('button', { type: 'button', onclick: () => pick.click() }, 'choose files'), pick),
    h('details', null, h('summary', null, 'Upload settings'), h('div', { class: 'fields' }, field('Chunk size (tokens)', size), field('Overlap (tokens)', overlap), field('Chunking', parse), field('Duplicates', double), field('Metadata (JSON)', metadata)),
      button('Preview chunks', () => preview(dataset, options()))));
  return h('section', { 'aria-label': 'Upload' }, zone, said);
}

/** @param {any} dataset @param {FormData} form */
async function preview(dataset, form) {
  const input = h('input', { type: 'file', 'aria-label': 'File to preview' });
  const out = h('div');
  await dialog('Preview chunks', () => [h('p', null, 'Nothing is stored.'), h('p', null, input), button('Preview', async () => {
    if (!input.files?.length) return;
    const body = new FormData();
    for (const name of ['chunkSize', 'chunkOverlap', 'parseType']) if (form.get(name)) body.set(name, /** @type {string} */ (form.get(name)));
    body.set('file', input.files[0]);
    const found = await (await raw('POST', `/kb/v1/datasets/${dataset.id}/preview/upload`, body)).json();
    put(out, previewed(found));
  }, { class: 'primary' }), out]);
}

/** @param {any} found */
export const previewed = (found) => [h('p', null, `${counted(found.totalChunks, 'chunk')}, parsed by ${found.engine}. `, found.warnings.join('; ')),
  found.chunks.slice(0, 100).map((/** @type {any} */ c) => h('div', { class: `card chunk c${c.ordinal % 4}` }, h('small', null, `${counted(c.tokens, 'token')} · characters ${c.start}–${c.end}`, c.headingPath.length > 0 && ` · ${c.headingPath.join(' › ')}`), h('p', null, c.content)))];

/** A text whose line breaks can be seen in a line. @param {string} text */
const escaped = (text) => JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"');

/** @param {any} dataset @param {AbortSignal} signal @param {(address: string) => void} go */
async function configuration(dataset, signal, go) {
  const inputs = {
    name: h('input', { value: dataset.name }), description: h('input', { value: dataset.description ?? '' }),
    chunkSize: h('input', { type: 'number', value: dataset.chunkSize }), chunkOverlap: h('input', { type: 'number', value: dataset.chunkOverlap }),
    parseType: select(/** @type {any} */ (PARSE.slice(1)), dataset.parseType), parserEngine: select(/** @type {any} */ (ENGINES), dataset.parserEngine), delimiter: h('input', { value: escaped(dataset.delimiter), spellcheck: 'false' }),
    allowedAgentRoles: h('input', { value: dataset.allowedAgentRoles.join(', ') }),
  };
  const defaults = h('div');
  const base = `/kb/v1/datasets/${dataset.id}/search-defaults`;
  const names = /** @type {const} */ ([['hybridAlpha', 'Semantic weight (alpha)'], ['minScore', 'Threshold (minScore)'], ['candidates', 'Candidates'], ['mmr', 'Diversity (MMR)'], ['confidentFrom', 'Confidence threshold']]);
  const draw = async () => {
    const { defaults: now, history } = await get(base, signal);
    const own = Object.fromEntries(names.map(([name]) => [name, h('input', { type: 'number', step: 'any', value: now[name] ?? '' })]));
    put(defaults, h('div', { class: 'fields' }, names.map(([name, label]) => field(label, own[name], 'leave blank for the default'))),
      h('div', { class: 'row' }, button('Save defaults', async () => {
        const body = { ...now };
        for (const [name] of names) {
          if (own[name].value === '') delete body[name];
          else body[name] = Number(own[name].value);
        }
        await call('PUT', base, body);
        toast('Saved.');
        await draw();
      }, { class: 'primary' }), history.length > 0 && button('Undo last change', async () => {
        await post(`${base}/undo`);
        await draw();
      })),
      table('Previous defaults', ['When', 'Reason', 'Defaults'], history.map((/** @type {any} */ v) => [ago(v.createdOn), v.reason, h('code', null, JSON.stringify(v.defaults))]), 'No changes yet.'));
  };
  await draw();
  return [
    h('h2', null, 'Parsing and chunking'),
    h('p', { class: 'quiet' }, 'Changes apply to new files. Existing files keep their chunks until they are re-ingested. To re-chunk all files without affecting live searches, build a generation.'),
    h('div', { class: 'fields' }, field('Name', inputs.name), field('Description', inputs.description), field('Chunk size (tokens)', inputs.chunkSize), field('Overlap (tokens)', inputs.chunkOverlap), field('Chunking', inputs.parseType), field('Parser', inputs.parserEngine), field('Delimiter', inputs.delimiter, '\\n is a line break'), field('Allowed agent roles', inputs.allowedAgentRoles, 'comma-separated; leave blank to allow all')),
    button('Save', async () => {
      /** @type {Record<string, any>} */
      const now = {
        name: inputs.name.value, description: inputs.description.value, chunkSize: Number(inputs.chunkSize.value), chunkOverlap: Number(inputs.chunkOverlap.value), parseType: inputs.parseType.value,
        parserEngine: inputs.parserEngine.value, delimiter: JSON.parse(`"${inputs.delimiter.value.replaceAll('"', '\\"')}"`), allowedAgentRoles: inputs.allowedAgentRoles.value.split(',').map((/** @type {string} */ r) => r.trim()).filter(Boolean),
      };
      // Only what differs is changed.
      const changed = Object.fromEntries(Object.entries(now).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(dataset[name] ?? '')));
      Object.assign(dataset, await call('PATCH', `/dashboard/v1/knowledge-base/datasets/${dataset.id}/config`, changed));
      toast('Saved.');
    }, { class: 'primary' }),
    h('h2', null, 'Search defaults'), defaults,
    h('h2', null, 'Delete dataset'),
    button('Delete dataset', async () => {
      if (!(await confirmed(`Permanently delete “${dataset.name}” with ${counted(dataset.totalFiles, 'document')}?`, 'Delete dataset'))) return;
      await call('DELETE', `/kb/v1/datasets/${dataset.id}`);
      go('/sandbox');
    }, { class: 'danger' }),
  ];
}

/** @param {string} id @param {AbortSignal} signal */
async function generations(id, signal) {
  const base = `/kb/v1/datasets/${id}/generations`;
  const out = h('div');
  const compared = h('div', { role: 'status' });
  /** @type {any} */
  let timer = null;
  const draw = async () => {
    const list = (await get(base, signal)).data;
    put(out, table('Generations', ['Number', 'State', 'Model', 'Chunks', 'Chunking', 'Documents', ''], list.map((/** @type {any} */ g) => [
      g.number, [badge(g.status), g.status === 'building' && h('progress', { max: g.documentsTotal, value: g.documentsReady, 'aria-label': 'Building' }), g.etaSeconds ? ` ${duration(g.etaSeconds)}` : null], g.embeddingModel, count(g.chunks), `${g.chunkSize} tokens, overlap ${g.chunkOverlap}, ${g.parseType}`,
      `${count(g.documentsReady)} of ${count(g.documentsTotal)}${g.documentsFailed ? `, ${g.documentsFailed} failed` : ''}`,
      g.status === 'live' ? null : h('div', { class: 'row' },
        button('Compare', async () => {
          const sets = (await get(`/kb/v1/datasets/${id}/query-sets`, signal)).data;
          if (sets.length === 0) throw new Error('No labelled queries yet. Label some hits in the sandbox first.');
          const detail = await get(`/kb/v1/datasets/${id}/query-sets/${sets[0].id}`, signal);
          const queries = detail.data.map((/** @type {any} */ q) => ({ query: q.text, documentIds: [...new Set(Object.entries(q.labels).filter(([, grade]) => Number(grade) > 0).map(([what]) => what.split('@')[0]))] })).filter((/** @type {any} */ q) => q.documentIds.length);
          const found = await post(`${base}/${g.number}/compare`, { queries }, signal);
          const measures = Object.keys(found.live);
          put(compared, h('h2', null, `Generation ${g.number} compared with live, on “${sets[0].name}”`), table('Comparison', ['Metric', 'Live', `Generation ${g.number}`], measures.map((m) => [m, number(found.live[m]), number(found.generation[m])])));
        }, { class: 'small' }),
        g.status !== 'building' && button('Switch', async () => {
          if (g.documentsFailed && !(await confirmed(`${counted(g.documentsFailed, 'document')} failed to build in generation ${g.number}. Searches will no longer find ${g.documentsFailed === 1 ? 'it' : 'them'}.`, 'Switch anyway'))) return;
          await post(`${base}/${g.number}/switch`);
          toast(`Generation ${g.number} is now live. The previous one is kept for rollback.`);
          await draw();
        }, { class: 'small' }),
        button('Remove', async () => {
          if (!(await confirmed(`Remove generation ${g.number}?`, 'Remove'))) return;
          await call('DELETE', `${base}/${g.number}`);
          await draw();
        }, { class: 'small danger' })),
    ])));
    clearTimeout(timer);
    if (list.some((/** @type {any} */ g) => g.status === 'building')) timer = setTimeout(() => !signal.aborted && draw().catch(complain), 1500);
  };
  const number = (/** @type {any} */ v) => (typeof v === 'number' ? v.toFixed(3) : JSON.stringify(v));
  try {
    await draw();
  } catch (error) {
    return failure(error);
  }
  const inputs = { chunkSize: h('input', { type: 'number' }), chunkOverlap: h('input', { type: 'number' }), parseType: select(/** @type {any} */ (PARSE), ''), embeddingModel: h('input', { placeholder: 'current model' }) };
  return [h('p', { class: 'quiet' }, 'A generation is the dataset indexed with one model and one chunking configuration. A new generation is built alongside the live one. Searches use the live generation until you switch; switching is atomic and can be reverted. Manual edits and hidden chunks are carried over where a chunk has the same text. Other edits stay in the generation where they were made and are listed on the document page.'), out, compared,
    h('h2', null, 'New generation'), h('div', { class: 'fields' }, field('Chunk size (tokens)', inputs.chunkSize), field('Overlap (tokens)', inputs.chunkOverlap), field('Chunking', inputs.parseType), field('Embedding model', inputs.embeddingModel)),
    button('Build', async () => {
      /** @type {Record<string, any>} */
      const body = {};
      for (const [name, input] of Object.entries(inputs)) if (input.value) body[name] = ['chunkSize', 'chunkOverlap'].includes(name) ? Number(input.value) : input.value;
      await post(base, body);
      await draw();
    }, { class: 'primary' })];
}
