// @ts-check
// The public API, as any program uses it; the browser adds the cookie of the session.

import { lost, Offline } from './offline.js';

/** What an error of the boards says: a sentence, or what is wrong in the body. @param {any} detail */
const told = (detail) => (typeof detail === 'string' ? detail : (detail?.message ?? detail?.[0]?.msg));

/** An error that the API told. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {any} body
   */
  constructor(status, body) {
    super(
      body?.error?.message ??
        told(body?.detail) ??
        `The server returned HTTP ${status}. Try again; if it keeps failing, look into the server log.`,
    );
    this.status = status;
    /** @type {string} */
    this.reason = body?.error?.reason ?? '';
    /** @type {string} */
    this.requestId = body?.error?.requestId ?? body?.request_id ?? '';
  }
}

/** Called when the session is over. */
export const over = { handler: () => {} };

/**
 * @param {string} method
 * @param {string} path
 * @param {any} [body] JSON, or a form
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>}
 */
export async function raw(method, path, body, signal) {
  /** @type {Record<string, string>} */
  const headers = { 'x-cairn-sandbox': '1' };
  const isForm = body instanceof FormData;
  if (body !== undefined && !isForm) headers['content-type'] = 'application/json';
  const content = body === undefined || isForm ? body : JSON.stringify(body);
  const response = await fetch(path, { method, headers, signal, body: content }).catch((error) => {
    // Browsers tell no more of a request that did not arrive.
    if (!(error instanceof TypeError)) throw error;
    lost();
    throw new Offline(method === 'GET');
  });
  if (!response.ok) {
    const told = await response.json().catch(() => null);
    const refusal = new Refusal(response.status, told);
    if (response.status === 401 && path !== '/kb/v1/session') over.handler();
    throw refusal;
  }
  return response;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, signal) {
  const response = await raw(method, path, body, signal);
  return response.status === 204 ? null : response.json();
}

/** @param {string} path @param {AbortSignal} [signal] */
export const get = (path, signal) => call('GET', path, undefined, signal);
/** @param {string} path @param {any} [body] @param {AbortSignal} [signal] */
export const post = (path, body, signal) => call('POST', path, body ?? {}, signal);

/**
 * Every page of a list; `each` sees them as they come.
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @param {(items: any[], fresh: any[]) => void} [each]
 * @returns {Promise<any[]>}
 */
export async function all(path, signal, each) {
  /** @type {any[]} */
  const items = [];
  let cursor = '';
  do {
    const separator = path.includes('?') ? '&' : '?';
    const page = await get(`${path}${separator}limit=500${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, signal);
    items.push(...page.data);
    each?.(items, page.data);
    cursor = page.pagination?.nextCursor ?? '';
  } while (cursor);
  return items;
}

/**
 * Events as they happen, until the signal. A connection that breaks is made again, and `again` is called, since something may
 * have been missed.
 * @param {{topics: string[], datasetId?: string}} wanted
 * @param {AbortSignal} signal
 * @param {(topic: string, event: any) => void} on
 * @param {() => void} [again]
 */
export function events(wanted, signal, on, again) {
  const query = new URLSearchParams({ topics: wanted.topics.join(',') });
  if (wanted.datasetId) query.set('datasetId', wanted.datasetId);
  /** @type {EventSource | null} */
  let source = null;
  let pause = 1000;
  const open = () => {
    if (signal.aborted) return;
    source = new EventSource(`/kb/v1/events?${query}`);
    for (const topic of wanted.topics) {
      source.addEventListener(topic, (/** @type {any} */ e) => !signal.aborted && on(topic, JSON.parse(e.data)));
    }
    source.addEventListener('open', () => {
      pause = 1000;
    });
    source.addEventListener('error', () => {
      // After an answer that is an error the browser gives up; after a broken connection it does not.
      if (source?.readyState !== EventSource.CLOSED) return;
      setTimeout(() => {
        open();
        if (!signal.aborted) again?.();
      }, pause);
      pause = Math.min(pause * 2, 30000);
    });
  };
  open();
  signal.addEventListener('abort', () => source?.close());
}

/**
 * Events of one stream as they happen, until the signal. The browser connects again by itself, and goes on where it was.
 * @param {string} path
 * @param {string} name of the events
 * @param {AbortSignal} signal
 * @param {(event: any) => void} on
 */
export function stream(path, name, signal, on) {
  if (signal.aborted) return;
  const source = new EventSource(path);
  source.addEventListener(name, (/** @type {any} */ e) => !signal.aborted && on(JSON.parse(e.data)));
  signal.addEventListener('abort', () => source.close());
}

/**
 * At most once in a while, and once more at the end.
 * @param {() => any} work
 * @param {number} ms
 */
export function calmly(work, ms) {
  /** @type {any} */
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      work();
    }, ms);
  };
}

/** Datasets by name; with what goes on in them when that is wanted. */
export const datasets = async (/** @type {AbortSignal} */ signal, activity = false) => {
  const list = await all(`/kb/v1/datasets${activity ? '?activity=true' : ''}`, signal);
  // What agents and services have written comes after what people have.
  const kept = (/** @type {any} */ d) => Number(d.id.includes('~'));
  return list.sort((a, b) => kept(a) - kept(b) || a.name.localeCompare(b.name));
};

/**
 * The events of a response, as they come.
 * @param {Response} response
 * @returns {AsyncGenerator<{name: string, data: any}>}
 */
export async function* streamed(response) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    text += decoder.decode(value, { stream: !done });
    const events = text.split('\n\n');
    text = events.pop() ?? '';
    for (const event of events) {
      const lines = event.split('\n');
      const data = lines
        .filter((l) => l.startsWith('data:'))
        .map((l) => l.slice(5).trimStart())
        .join('\n');
      const name =
        lines
          .find((l) => l.startsWith('event:'))
          ?.slice(6)
          .trim() ?? 'message';
      if (data) yield { name, data: JSON.parse(data) };
    }
    if (done) return;
  }
}
