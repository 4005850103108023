// @ts-check
// API keys: made with the rights they need, shown once, ended at once.

import { all, call, datasets as load, post } from '../lib/api.js';
import { button, field, form, table } from '../lib/controls.js';
import { copyButton } from '../lib/copy.js';
import { h, put } from '../lib/dom.js';
import { ago, badge } from '../lib/format.js';
import { dialog } from '../lib/messages.js';

const SCOPES = [
  ['kb:search', 'search'],
  ['kb:read', 'search and read documents'],
  ['kb:write', 'upload, change, delete'],
  ['knowledge:*', 'create and read findings'],
  ['data:*', 'folders and rows'],
  ['projects:*', 'projects and tasks'],
  ['sales:*', 'campaigns and leads'],
  ['crm:*', 'contacts, deals, invoices'],
  ['support:*', 'tickets'],
  ['cms:*', 'content'],
  ['system:read', 'metrics'],
  ['keys:manage', 'create and revoke keys'],
  ['admin', 'full access'],
];

/** @param {any} key */
const isOver = (key) => key.revokedOn || (key.expiresOn && new Date(key.expiresOn) < new Date());

/**
 * The keys that a key made, and those that these made.
 * @param {any[]} keys
 * @param {string} id
 * @returns {any[]}
 */
const madeBy = (keys, id) => keys.filter((k) => k.createdBy === id).flatMap((k) => [k, ...madeBy(keys, k.id)]);

/**
 * What to enter where, with the key in the environment or typed in, never in arguments.
 * @param {string} url
 * @returns {[said: string, place: string, text: string][]}
 */
function uses(url) {
  const json = (/** @type {any} */ value) => JSON.stringify(value, null, 2);
  const http = (/** @type {string} */ secret) => ({ type: 'http', url: `${url}/mcp`, headers: { Authorization: `Bearer ${secret}` } });
  const desktop = { command: 'cairn', args: ['mcp'], env: { CAIRN_URL: url, CAIRN_KEY: 'cairn_…' } };
  const input = { type: 'promptString', id: 'cairn-key', description: 'Cairn API key', password: true };
  return [
    ['curl', 'In a shell, with the key in CAIRN_KEY:', `curl ${url}/kb/v1/datasets -H "Authorization: Bearer $CAIRN_KEY"`],
    [
      'OpenAI client (Python)',
      'With the key in OPENAI_API_KEY:',
      `from openai import OpenAI\nclient = OpenAI(base_url="${url}/openai/v1")`,
    ],
    ['Claude Code', '.mcp.json in the project, with the key in CAIRN_KEY:', json({ mcpServers: { cairn: http('${CAIRN_KEY}') } })],
    ['Claude Desktop', 'claude_desktop_config.json, with the key in env:', json({ mcpServers: { cairn: desktop } })],
    ['Cursor', '.cursor/mcp.json, with the key in CAIRN_KEY:', json({ mcpServers: { cairn: http('${env:CAIRN_KEY}') } })],
    ['VS Code', '.vscode/mcp.json; VS Code asks for the key:', json({ inputs: [input], servers: { cairn: http('${input:cairn-key}') } })],
  ];
}

/** @param {import('../app.js').Context} context */
export async function page({ signal }) {
  const out = h('div');
  const datasets = await load(signal);
  const draw = async () => {
    const keys = await all('/kb/v1/keys', signal);
    keys.reverse();
    put(
      out,
      table(
        'Keys',
        ['Name', 'Prefix', 'Scopes', 'Datasets', 'Last used', 'Expires', 'State', ''],
        keys.map((key) => {
          const over = isOver(key);
          const nameOf = (/** @type {string} */ id) => datasets.find((d) => d.id === id)?.name ?? id;
          return [
            key.name,
            h('code', null, `${key.hint}…`),
            key.scopes.join(', '),
            key.datasetIds ? key.datasetIds.map(nameOf).join(', ') : 'all',
            ago(key.lastUsedOn),
            ago(key.expiresOn),
            badge(key.revokedOn ? 'revoked' : over ? 'expired' : 'active'),
            !over &&
              button(
                'Revoke',
                async () => {
                  const children = madeBy(keys, key.id).filter((k) => !isOver(k));
                  const too = h('input', { type: 'checkbox', checked: true });
                  const sure = await dialog('Revoke key', (close) =>
                    form(
                      async () => close(true),
                      h('p', null, `Requests with “${key.name}” will be rejected immediately.`),
                      children.length > 0 &&
                        h(
                          'p',
                          null,
                          h(
                            'label',
                            { class: 'check' },
                            too,
                            ` Also revoke the keys it created: ${children.map((k) => k.name).join(', ')}`,
                          ),
                        ),
                      h(
                        'p',
                        { class: 'row end' },
                        button('Cancel', () => close(false)),
                        h('button', { class: 'danger' }, 'Revoke'),
                      ),
                    ),
                  );
                  if (!sure) return;
                  await call('DELETE', `/kb/v1/keys/${key.id}${children.length > 0 && too.checked ? '?children=true' : ''}`);
                  await draw();
                },
                { class: 'small danger', 'aria-label': `Revoke ${key.name}` },
              ),
          ];
        }),
        'No keys.',
      ),
    );
  };
  const create = async () => {
    const name = h('input', { required: true, maxlength: 200 });
    const scopes = SCOPES.map(([scope, said]) => {
      const box = h('input', { type: 'checkbox', value: scope, checked: scope === 'kb:read' });
      return /** @type {const} */ ([scope, box, said]);
    });
    const sets = datasets.map((d) => /** @type {const} */ ([d, h('input', { type: 'checkbox', value: d.id })]));
    const expires = h('input', { type: 'date' });
    const rate = h('input', { type: 'number', min: 1, placeholder: 'server default' });
    const made = await dialog('New key', (close) =>
      form(
        async () => {
          const own = sets.filter(([, box]) => box.checked).map(([d]) => d.id);
          close(
            await post('/kb/v1/keys', {
              name: name.value,
              scopes: scopes.filter(([, box]) => box.checked).map(([scope]) => scope),
              datasetIds: own.length ? own : undefined,
              expiresOn: expires.value ? `${expires.value}T00:00:00Z` : undefined,
              ratePerMinute: rate.value ? Number(rate.value) : undefined,
            }),
          );
        },
        field('Name', name, 'for example, the client that uses the key'),
        h(
          'fieldset',
          null,
          h('legend', null, 'Scopes'),
          scopes.map(([scope, box, said]) => h('p', null, h('label', { class: 'check' }, box, h('code', null, scope), ` ${said}`))),
        ),
        h(
          'details',
          null,
          h('summary', null, 'Restrict to datasets'),
          sets.map(([d, box]) => h('p', null, h('label', { class: 'check' }, box, d.name))),
        ),
        field('Expires on', expires),
        field('Requests per minute', rate),
        h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Create')),
      ),
    );
    if (!made) return;
    const clients = uses(location.origin);
    const client = h(
      'select',
      null,
      clients.map(([said]) => h('option', null, said)),
    );
    const text = h('pre', { tabindex: '0' });
    const where = h('p', { class: 'quiet' });
    const show = () => {
      const [, place, config] = clients[client.selectedIndex];
      put(where, place);
      put(text, config);
    };
    client.addEventListener('change', show);
    show();
    await dialog('New API key', () => [
      h('p', null, 'Copy the key and store it securely. It will not be shown again.'),
      h('pre', { tabindex: '0' }, made.key),
      h('p', null, copyButton(made.key, { class: 'primary' })),
      field('Use it in', client),
      where,
      text,
    ]);
    await draw();
  };
  await draw();
  const log = h('a', { class: 'button', href: '/sandbox/access' }, 'Access log');
  return [
    h('div', { class: 'top' }, h('h1', null, 'Keys'), h('div', { class: 'row' }, log, button('New key', create, { class: 'primary' }))),
    out,
  ];
}
