// @ts-check
// A question, and an answer as it is made, each sentence with the passages that support it.

import { datasets as load, raw } from '../lib/api.js';
import { failure, h, put, select } from '../lib/dom.js';
import { counted, ms } from '../lib/format.js';

/** @param {import('../app.js').Context} context */
export async function page({ query, signal, replace, inside }) {
  const datasets = await load(signal);
  if (datasets.length === 0) return [h('h1', null, 'Ask'), h('p', { class: 'notice' }, 'There is no dataset yet.')];
  const input = h('input', { type: 'search', 'aria-label': 'Question', placeholder: 'Ask a question', value: query.get('q') ?? '', autofocus: true });
  const chosen = new Set(query.getAll('dataset'));
  if (chosen.size === 0) chosen.add(datasets.find((d) => d.id === localStorage.getItem('cairn.dataset'))?.id ?? datasets[0].id);
  const mode = select([['auto', 'whoever is configured'], ['generate', 'the language model'], ['extract', 'sentences of the passages']], 'auto');
  const said = h('div', { class: 'said', role: 'status', 'aria-live': 'polite' });
  const about = h('p', { class: 'quiet' });
  const sources = h('div');
  /** @type {AbortController | null} */
  let going = null;

  const ask = async () => {
    const question = input.value.trim();
    if (!question) return;
    going?.abort();
    going = new AbortController();
    const own = going;
    signal.addEventListener('abort', () => own.abort());
    replace(`/sandbox/ask?${new URLSearchParams([['q', question], ...[...chosen].map((id) => ['dataset', id])])}`);
    put(said);
    put(sources);
    put(about, 'Searching …');
    /** @type {any[]} */
    let passages = [];
    /** @type {any[]} */
    let citations = [];
    let text = '';
    const response = await raw('POST', '/kb/v1/answer', { question, datasetIds: [...chosen], mode: mode.value }, own.signal);
    for await (const event of streamed(response)) {
      if (event.type === 'passages') {
        passages = event.passages;
        put(about, `${counted(passages.length, 'passage')} found; answering …`);
        showSources(passages);
      } else if (event.type === 'text_delta') {
        text += event.text;
        put(said, text);
      } else if (event.type === 'citation') citations.push(event);
      else if (event.type === 'error') throw new Error(`${event.message} (${event.reason})`);
      else if (event.type === 'completed') {
        ({ passages, citations } = event);
        showAnswer(event);
        return;
      }
    }
    throw new Error('The answer broke off.');
  };

  const failed = (/** @type {any} */ error) => {
    if (error?.name !== 'AbortError') put(about, failure(error));
  };

  /** Where a citation leads. @param {any} cited @param {any[]} passages */
  const link = (cited, passages) => {
    const p = passages.find((x) => x.number === cited.number);
    // kb://dataset/document@version#chunk:start-end
    const range = /:(\d+-\d+)$/.exec(cited.citation)?.[1];
    return p && `/sandbox/documents/${encodeURIComponent(p.datasetId)}/${encodeURIComponent(p.documentId)}?${new URLSearchParams({ chunk: p.chunkId, ...(range && { at: range }) })}`;
  };

  /** @param {any} done */
  const showAnswer = (done) => {
    const letters = Array.from(done.answer);
    /** @type {any[]} */
    const parts = [];
    let at = 0;
    done.sentences.forEach((/** @type {any} */ sentence, /** @type {number} */ i) => {
      parts.push(letters.slice(at, sentence.start).join(''));
      // The numbers in brackets become links to the sentence that supports this one.
      const words = letters.slice(sentence.start, sentence.end).join('');
      for (const piece of words.split(/(\[\d+(?:\s*,\s*\d+)*\])/)) {
        const numbers = /^\[([\d,\s]+)\]$/.exec(piece)?.[1].split(',').map(Number);
        if (!numbers) parts.push(piece);
        else for (const number of numbers) {
          const cited = done.citations.find((/** @type {any} */ c) => c.sentence === i && c.number === number);
          const address = cited && link(cited, done.passages);
          parts.push(address ? h('a', { class: `cite ${cited.verdict}`, href: address, title: `${cited.verdict} (${Math.round(cited.support * 100)} % of the words)${cited.missingNumbers?.length ? `; not there: ${cited.missingNumbers.join(', ')}` : ''}\n“${cited.quote}”`, 'aria-label': `Source ${number}, ${cited.verdict}` }, number) : h('span', { class: 'cite unsupported', title: 'There is no such passage' }, number));
        }
      }
      at = sentence.end;
    });
    parts.push(letters.slice(at).join(''));
    put(said, done.kind === 'none' ? 'Nothing was found that answers this.' : parts);
    put(about, done.degraded && h('strong', null, `Not complete: ${done.degraded.join('; ')}. `), done.kind === 'none' ? 'Ask in other words, or choose other datasets. ' : done.kind === 'generated' ? `Written by ${done.model}` : done.kind === 'extractive' ? 'Sentences of the passages, word by word' : '', done.kind !== 'none' && ` · ${done.grounded ? 'every sentence is supported by the passage that it cites' : 'not every sentence is supported by what it cites'} · ${done.confident ? 'confident' : 'not confident'}`, ` · ${ms(done.totalMs)}`);
    showSources(done.passages, done.citations);
  };

  /** @param {any[]} passages @param {any[]} [citations] */
  const showSources = (passages, citations = []) => put(sources, passages.length > 0 && h('h2', null, 'Passages'), passages.map((p) => h('article', { class: 'card' },
    h('h3', null, `[${p.number}] `, h('a', { href: `/sandbox/documents/${p.datasetId}/${encodeURIComponent(p.documentId)}?chunk=${encodeURIComponent(p.chunkId)}` }, p.title), ' ', h('small', null, p.score.toFixed(3), citations.some((c) => c.number === p.number) ? ' · cited' : '')), p.headingPath.length > 0 && h('small', null, p.headingPath.join(' › ')), h('p', null, p.text))));

  // An address that comes from elsewhere asks nothing by itself: a language model may cost something.
  if (input.value && inside) ask().catch(failed);
  return [h('h1', null, 'Ask'),
    h('form', { class: 'query', role: 'search', onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); ask().catch(failed); } }, input, h('button', { class: 'primary' }, 'Ask')),
    h('div', { class: 'row' }, datasets.map((d) => h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: chosen.has(d.id), onchange: (/** @type {any} */ e) => { if (e.target.checked) chosen.add(d.id); else chosen.delete(d.id); } }), d.name)), h('label', { class: 'check' }, 'Answer by ', mode)),
    about, said, sources];
}

/** The events of an answer. @param {Response} response */
async function* streamed(response) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    text += decoder.decode(value, { stream: !done });
    const events = text.split('\n\n');
    text = events.pop() ?? '';
    for (const event of events) {
      const data = event.split('\n').filter((l) => l.startsWith('data:')).map((l) => l.slice(5).trimStart()).join('\n');
      if (data) yield JSON.parse(data);
    }
    if (done) return;
  }
}
