// @ts-check
// Endpoints of webhooks, the events that they receive, and their deliveries.

import { call, get, post } from '../lib/api.js';
import { button, field, form, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge } from '../lib/format.js';
import { icon } from '../lib/icon.js';
import { complain, dialog, toast } from '../lib/messages.js';
import { shown } from '../lib/secret.js';

const WEBHOOKS = '/v1/webhooks';
/** Milliseconds between two looks at the deliveries of an open endpoint. */
const LOOK = 3000;

/** @type {[string, string][]} */
const STATUSES = [
  ['active', 'active'],
  ['paused', 'paused: deliveries wait'],
  ['disabled', 'disabled: nothing is delivered'],
];

/** Every item of a list of the workspace API. @param {string} path @param {AbortSignal} [signal] */
async function every(path, signal) {
  /** @type {any[]} */
  const items = [];
  let cursor = '';
  do {
    const page = await get(cursor ? `${path}?cursor=${encodeURIComponent(cursor)}` : path, signal);
    items.push(...page.data);
    cursor = page.next_cursor ?? '';
  } while (cursor);
  return items;
}

/**
 * Event types as checkboxes, by category; those about the knowledge base come first.
 * @param {any[]} types
 * @param {string[]} chosen
 */
function eventChoice(types, chosen) {
  const categories = [...new Set(types.map((type) => type.category))];
  categories.sort((a, b) => Number(b === 'knowledge_base') - Number(a === 'knowledge_base'));
  return categories.map((category) =>
    h(
      'details',
      { open: category === 'knowledge_base' || types.some((t) => t.category === category && chosen.includes(t.key)) },
      h('summary', null, category.replaceAll('_', ' ')),
      types
        .filter((type) => type.category === category)
        .map((type) =>
          h(
            'label',
            { class: 'choice' },
            h('input', { type: 'checkbox', value: type.key, checked: chosen.includes(type.key) }),
            h('span', null, h('code', null, type.key), h('br'), h('small', null, type.description)),
          ),
        ),
    ),
  );
}

/**
 * Adds an endpoint or changes one; resolves with it, or with nothing.
 * @param {any[]} types
 * @param {any} endpoint
 */
function edit(types, endpoint) {
  const name = h('input', { required: true, maxlength: 300, value: endpoint?.name ?? '' });
  const url = h('input', { type: 'url', required: true, placeholder: 'https://example.com/cairn', value: endpoint?.url ?? '' });
  const status = select(STATUSES, endpoint?.status ?? 'active');
  // Types that are no longer listed stay chosen.
  const hidden = (endpoint?.event_types ?? []).filter((/** @type {string} */ key) => !types.some((type) => type.key === key));
  const events = h('div', null, eventChoice(types, endpoint?.event_types ?? ['document.indexed', 'document.failed']));
  return dialog(endpoint ? 'Edit endpoint' : 'New endpoint', (close) =>
    form(
      async () => {
        const chosen = [...events.querySelectorAll('input:checked')].map((input) => input.value);
        const body = { name: name.value, url: url.value, event_types: [...hidden, ...chosen], status: status.value };
        const saved = endpoint ? await call('PATCH', `${WEBHOOKS}/${endpoint.id}`, body) : await post(WEBHOOKS, body);
        close(saved.data);
      },
      field('Name', name),
      field('URL', url, 'Receives a signed POST request for every event. To use a private address, add it to the setting outgoing_allow.'),
      endpoint && field('State', status),
      h('h3', null, 'Events'),
      events,
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, endpoint ? 'Save' : 'Create endpoint')),
    ),
  );
}

/**
 * Shows the deliveries of an endpoint while the page is open.
 * @param {HTMLElement} place
 * @param {any} endpoint
 * @param {AbortSignal} signal
 */
async function showDeliveries(place, endpoint, signal) {
  const base = `${WEBHOOKS}/${endpoint.id}/deliveries`;
  const out = h('div');
  let drawn = '';
  const replay = (/** @type {any} */ delivery) => async () => {
    await post(`${base}/${delivery.id}/replay`);
    toast('Queued again.');
    await draw();
  };
  const payload = (/** @type {any} */ delivery) =>
    dialog(delivery.event_type, () => h('pre', null, JSON.stringify(delivery.payload, null, 2)));
  const draw = async () => {
    const { data } = await get(base, signal);
    // A button keeps the focus as long as nothing has changed.
    const now = JSON.stringify(data);
    if (now === drawn) return;
    drawn = now;
    put(
      out,
      table(
        `Deliveries to ${endpoint.name}`,
        ['Event', 'State', 'Attempts', 'Response', 'Created', ''],
        data.map((/** @type {any} */ d) => [
          h('code', null, d.event_type),
          [badge(d.status), d.status === 'retrying' && [h('br'), h('small', null, 'again ', ago(d.next_attempt_at))]],
          `${d.attempt_count} of ${d.max_attempts}`,
          d.last_error ?? d.last_status_code ?? '',
          ago(d.created_at),
          h(
            'div',
            { class: 'row' },
            button('Payload', () => payload(d), { class: 'small' }),
            ['succeeded', 'failed'].includes(d.status) && button('Send again', replay(d), { class: 'small' }),
          ),
        ]),
        'No deliveries yet.',
      ),
    );
  };
  put(place, h('h2', null, `Deliveries to “${endpoint.name}”`), out);
  await draw();
  place.scrollIntoView({ behavior: 'smooth', block: 'nearest' });
  const timer = setInterval(() => {
    if (out.isConnected) draw().catch(complain);
    else clearInterval(timer);
  }, LOOK);
  signal.addEventListener('abort', () => clearInterval(timer));
}

/** @param {import('../app.js').Context} context */
export async function page({ signal }) {
  const listed = await every('/v1/integrations/events', signal);
  const types = [{ key: '*', category: 'everything', description: 'Every event, also of types that are added later.' }, ...listed];
  const out = h('div');
  const deliveries = h('div');
  const draw = async () => {
    const list = await every(WEBHOOKS, signal);
    const change = (/** @type {any} */ endpoint) => async () => {
      if (await edit(types, endpoint)) await draw();
    };
    const test = (/** @type {any} */ endpoint) => async () => {
      await post(`${WEBHOOKS}/${endpoint.id}/test`);
      await showDeliveries(deliveries, endpoint, signal);
    };
    put(
      out,
      table(
        'Endpoints',
        ['Endpoint', 'State', 'Events', ''],
        list.map((endpoint) => [
          [h('strong', null, endpoint.name), h('br'), h('small', null, endpoint.url)],
          badge(endpoint.status),
          endpoint.event_types.map((/** @type {string} */ type) => [h('code', null, type), ' ']),
          h(
            'div',
            { class: 'row' },
            button('Deliveries', () => showDeliveries(deliveries, endpoint, signal), { class: 'small' }),
            button('Send a test', test(endpoint), { class: 'small' }),
            button('Edit', change(endpoint), { class: 'small' }),
          ),
        ]),
        'No endpoints yet. Create one to receive events.',
      ),
    );
  };
  const add = async () => {
    const made = await edit(types, null);
    if (!made) return;
    await shown('Signing secret', `Requests to “${made.name}” are signed with this secret. It is shown only once.`, made.signing_secret);
    await draw();
  };
  await draw();
  return [
    h('div', { class: 'top' }, h('h1', null, 'Webhooks'), button([icon('add'), 'New endpoint'], add, { class: 'primary' })),
    h(
      'p',
      { class: 'quiet' },
      'An endpoint receives a signed request when an event occurs: a document becomes searchable, a crawl ends, a lead is added. ',
      'Failed deliveries are retried with increasing delays.',
    ),
    out,
    deliveries,
  ];
}
