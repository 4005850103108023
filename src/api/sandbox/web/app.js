// @ts-check
// The shell: who is signed in, which page an address means, and what stands around it.

import { get, over, post, call } from './lib/api.js';
import { button, field } from './lib/controls.js';
import { h, put } from './lib/dom.js';
import { refreshTimes } from './lib/format.js';
import { icon } from './lib/icon.js';
import { complain, failure } from './lib/messages.js';
import { lost, Offline } from './lib/offline.js';
import { skeleton } from './lib/skeleton.js';

/**
 * Arguments of a page.
 * @typedef {object} Context
 * @property {any} session
 * @property {string[]} path the parts of the address after the name of the page
 * @property {URLSearchParams} query
 * @property {AbortSignal} signal aborted when the page is left
 * @property {boolean} inside whether the page was reached from another one of ours
 * @property {(address: string) => void} push adds an entry to the history, without loading the page again
 * @property {(address: string) => void} go opens another page
 * @property {(address: string) => void} replace changes the address in place
 * @property {(text: string) => void} title
 */

/**
 * A page; those without a group are not in the navigation.
 * @typedef {object} Page
 * @property {string} title
 * @property {() => Promise<{page: (context: Context) => Promise<any> | any}>} load
 * @property {string} [group]
 */

/** Pages by the first part of their address. @type {Record<string, Page>} */
const PAGES = {
  '': { title: 'Overview', group: 'Knowledge', load: () => import('./pages/overview.js') },
  search: { title: 'Search', group: 'Knowledge', load: () => import('./pages/search.js') },
  ask: { title: 'Ask', group: 'Knowledge', load: () => import('./pages/ask.js') },
  evaluate: { title: 'Evaluation', group: 'Knowledge', load: () => import('./pages/evaluate.js') },
  history: { title: 'History', group: 'Knowledge', load: () => import('./pages/history.js') },
  sources: { title: 'Sources', group: 'Knowledge', load: () => import('./pages/sources.js') },
  work: { title: 'Work', group: 'Records', load: () => import('./pages/work.js') },
  boards: { title: 'Boards', group: 'Records', load: () => import('./pages/boards.js') },
  crm: { title: 'CRM', group: 'Records', load: () => import('./pages/crm.js') },
  records: { title: 'Records', group: 'Records', load: () => import('./pages/records.js') },
  jobs: { title: 'Jobs', group: 'Administration', load: () => import('./pages/jobs.js') },
  webhooks: { title: 'Webhooks', group: 'Administration', load: () => import('./pages/webhooks.js') },
  keys: { title: 'Keys', group: 'Administration', load: () => import('./pages/keys.js') },
  people: { title: 'People', group: 'Administration', load: () => import('./pages/people.js') },
  styleguide: { title: 'Style guide', load: () => import('./pages/styleguide.js') },
  access: { title: 'Access log', load: () => import('./pages/access.js') },
  datasets: { title: 'Dataset', load: () => import('./pages/dataset.js') },
  documents: { title: 'Document', load: () => import('./pages/document.js') },
};

const main = /** @type {HTMLElement} */ (document.getElementById('main'));
const head = /** @type {HTMLElement} */ (document.getElementById('head'));
/** @type {any} */
let session = null;
let leaving = new AbortController();

/** Light, dark, or as the system has it. */
const theme = () => localStorage.getItem('cairn.theme') ?? 'auto';
function wear() {
  document.documentElement.dataset.theme = theme();
}
wear();

/** The page in the navigation to which another one belongs. @type {Record<string, string>} */
const BELONGS = { datasets: '', documents: '', access: 'people' };

function navigation() {
  const first = place()[0] ?? '';
  const at = BELONGS[first] ?? first;
  const link = (/** @type {string} */ name, /** @type {Page} */ { title }) => {
    const href = name ? `/sandbox/${name}` : '/sandbox';
    return h('a', { href, 'aria-current': name === first ? 'page' : name === at ? 'true' : null }, icon(name || 'overview'), title);
  };
  return h(
    'nav',
    { 'aria-label': 'Pages' },
    ['Knowledge', 'Records', 'Administration'].map((group) =>
      h(
        'div',
        { class: 'group' },
        h('span', null, group),
        Object.entries(PAGES)
          .filter(([, page]) => page.group === group)
          .map(([name, page]) => link(name, page)),
      ),
    ),
  );
}

async function signOut() {
  await call('DELETE', '/kb/v1/session').catch((error) => {
    // It was over already.
    if (error.status !== 401) throw error;
  });
  session = null;
  show();
}

function header() {
  const themes = ['auto', 'light', 'dark'];
  const next = themes[(themes.indexOf(theme()) + 1) % themes.length];
  const turn = () => {
    localStorage.setItem('cairn.theme', next);
    wear();
    header();
  };
  const label = `Theme: ${theme()}; switch to ${next}`;
  document.body.classList.toggle('inside', Boolean(session));
  put(
    head,
    h('a', { class: 'brand', href: '/sandbox' }, h('img', { src: '/sandbox/icon.svg', alt: '', width: 26, height: 26 }), 'Cairn'),
    session && navigation(),
    h(
      'div',
      { class: 'end' },
      session && h('a', { href: '/docs/guide' }, icon('guide'), 'Guide'),
      session && h('a', { href: '/docs' }, icon('api'), 'API'),
      h(
        'button',
        { type: 'button', class: 'plain', 'aria-label': label, title: label, onclick: turn },
        icon(theme()),
        h('span', { class: 'word' }, `Theme: ${theme()}`),
      ),
      session &&
        button([icon('sign-out'), h('span', { class: 'word' }, 'Sign out')], signOut, { class: 'plain', 'aria-label': 'Sign out' }),
    ),
  );
  head.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
}

const place = () =>
  location.pathname
    .replace(/^\/sandbox\/?/, '')
    .split('/')
    .filter(Boolean)
    .map(decodeURIComponent);

/** Whether the page was reached from another one of ours, not by an address from elsewhere. */
let inside = false;
/** @type {string | null} */
let later = null;
/** @type {any} */
let timer = null;

/** Browsers allow few changes of the address in a short time: the last one of a while is made. */
function settle() {
  clearTimeout(timer);
  timer = null;
  if (later !== null) history.replaceState(null, '', later);
  later = null;
}

/** @param {string} address */
function go(address) {
  settle();
  history.pushState(null, '', address);
  inside = true;
  show();
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  clearTimeout(timer);
  [timer, later] = [null, null];
  for (const open of document.querySelectorAll('dialog[open]')) /** @type {HTMLDialogElement} */ (open).close();
  const { signal } = leaving;
  header();
  if (!session) return put(main, signIn());
  const [first = '', ...path] = place();
  const page = PAGES[first];
  if (!page) return put(main, h('h1', null, 'Page not found'), h('p', null, h('a', { href: '/sandbox' }, 'Back to overview')));
  document.title = `${page.title} · Cairn`;
  const context = {
    session,
    path,
    query: new URLSearchParams(location.search),
    signal,
    go,
    inside,
    push: (/** @type {string} */ address) => {
      settle();
      history.pushState(null, '', address);
    },
    replace: (/** @type {string} */ address) => {
      if (signal.aborted) return;
      later = address;
      timer ??= setTimeout(settle, 150);
    },
    title: (/** @type {string} */ text) => {
      document.title = `${text} · Cairn`;
    },
  };
  put(main, skeleton());
  try {
    const loaded = await page.load().catch((error) => {
      // A part of the page that was not loaded may be asked for again only by the page as a whole.
      if (!(error instanceof TypeError)) throw error;
      lost(() => location.reload());
      throw new Offline();
    });
    const made = await loaded.page(context);
    if (!signal.aborted) put(main, made);
  } catch (error) {
    if (error instanceof Offline)
      lost(() => {
        if (!signal.aborted) show();
      });
    if (!signal.aborted) put(main, h('h1', null, page.title), failure(error));
  }
  if (!signal.aborted) performance.mark('cairn-shown');
}

function signIn() {
  document.title = 'Sign in · Cairn';
  const key = h('input', { type: 'password', autocomplete: 'off', spellcheck: 'false', required: true, placeholder: 'cairn_…' });
  const said = h('div', { role: 'alert' });
  const other = h('div');
  const submit = h('button', { class: 'primary' }, 'Sign in');
  const form = h(
    'form',
    {
      class: 'card narrow',
      onsubmit: async (/** @type {Event} */ e) => {
        e.preventDefault();
        try {
          session = await post('/kb/v1/session', { key: key.value });
          show();
        } catch (error) {
          put(said, failure(error));
        }
      },
    },
    h('h1', null, 'Sign in'),
    other,
    field('API key', key, 'The key is exchanged for a session cookie, and not stored in the browser.'),
    said,
    h('p', { class: 'row' }, submit),
    h(
      'p',
      { class: 'quiet' },
      'No key? Run ',
      h('code', null, 'cairn sandbox'),
      ' on the server to get a one-time sign-in link. ',
      h('code', null, 'cairn serve'),
      ' also prints one at startup.',
    ),
  );
  offerProvider(other, submit).catch(complain);
  return form;
}

/** Offers the identity provider, where there is one, before the key. @param {HTMLElement} place @param {HTMLElement} submit */
async function offerProvider(place, submit) {
  const { name } = await get('/auth/oidc');
  if (!name || !place.isConnected) return;
  const next = encodeURIComponent(location.pathname + location.search);
  put(
    place,
    h('p', null, h('a', { class: 'button primary', href: `/auth/oidc/login?next=${next}` }, `Sign in with ${name}`)),
    h('p', { class: 'quiet' }, 'Or with an API key:'),
  );
  submit.classList.remove('primary');
}

async function start() {
  over.handler = () => {
    if (!session) return;
    session = null;
    show();
  };
  const link = new URLSearchParams(location.hash.slice(1)).get('enter');
  if (link) {
    history.replaceState(null, '', location.pathname + location.search);
    try {
      session = await post('/kb/v1/session', { link });
    } catch (error) {
      complain(error);
    }
  }
  session ??= await get('/kb/v1/session').catch((error) => {
    if (error.status !== 401) complain(error);
    return null;
  });
  await show();
}

// Links of this page change its content; everything else is left to the browser.
document.addEventListener('click', (event) => {
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  if (!link || event.defaultPrevented || event.button !== 0 || link.target || link.hasAttribute('download')) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || !/^\/sandbox(\/|$)/.test(url.pathname) || url.hash) return;
  event.preventDefault();
  go(url.pathname + url.search);
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
// A page that the browser keeps for the way back would keep its streams, of the few connections that a browser opens to one server.
addEventListener('pagehide', () => leaving.abort());
addEventListener('pageshow', (event) => event.persisted && show());
addEventListener('popstate', () => {
  inside = true;
  show();
});
start();

/** Milliseconds after which the times on a page are told anew. */
const REFRESH = 20000;
setInterval(refreshTimes, REFRESH);
