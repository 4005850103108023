// @ts-check
// Tenants of the installation, for its operator: created with a key, limited by quotas.

import { all, call, get, post } from '../lib/api.js';
import { button, field, form, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago } from '../lib/format.js';
import { dialog } from '../lib/messages.js';
import { shown } from '../lib/secret.js';
import { KINDS, told } from './usage.js';

/** Asks for the quotas of a tenant; resolves to whether they were saved. @param {any} tenant */
async function limit(tenant) {
  const { usage, quotas } = await get(`/kb/v1/tenants/${tenant.id}`);
  const inputs = KINDS.map((kind) => {
    const most = quotas[kind.name];
    const value = most === null ? '' : String(Math.ceil(most / kind.size));
    const input = h('input', { type: 'number', min: kind.name === 'requests' ? 1 : 0, step: 1, value, placeholder: 'no limit' });
    return /** @type {const} */ ([kind, input]);
  });
  return dialog(`Quotas for ${tenant.name}`, (close) =>
    form(
      async () => {
        const limits = inputs.map(([kind, input]) => [kind.name, input.value === '' ? null : Number(input.value) * kind.size]);
        await call('PUT', `/kb/v1/tenants/${tenant.id}/quotas`, Object.fromEntries(limits));
        close(true);
      },
      inputs.map(([kind, input]) => {
        const title = kind.unit ? `${kind.title} (${kind.unit})` : kind.title;
        return field(title, input, usage[kind.name] === undefined ? undefined : `in use: ${told(kind, usage[kind.name])}`);
      }),
      h('p', { class: 'quiet' }, 'Leave a field blank for no limit. Lowering a quota does not delete existing data.'),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Save')),
    ),
  );
}

/** Asks for a name, and creates the tenant. */
async function create() {
  const name = h('input', { required: true, maxlength: 64, pattern: '[a-z0-9\\-]+' });
  return dialog('New tenant', (close) =>
    form(
      async () => close(await post('/kb/v1/tenants', { name: name.value })),
      field('Name', name, 'lower-case letters, digits and dashes'),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Create')),
    ),
  );
}

/** @param {AbortSignal} signal */
export async function tenants(signal) {
  const out = h('div');
  const draw = async () => {
    const found = await all('/kb/v1/tenants', signal);
    put(
      out,
      table(
        'Tenants',
        ['Name', 'Since', 'Quotas', ''],
        found.map((tenant) => {
          const limits = KINDS.filter(({ name }) => tenant.quotas[name] !== null);
          return [
            tenant.name,
            ago(tenant.createdOn),
            limits.map((kind) => `${kind.title}: ${told(kind, tenant.quotas[kind.name])}`).join(', ') || 'no limits',
            button(
              'Quotas',
              async () => {
                if (await limit(tenant)) await draw();
              },
              { class: 'small', 'aria-label': `Quotas for ${tenant.name}` },
            ),
          ];
        }),
      ),
    );
  };
  const created = async () => {
    const tenant = await create();
    if (!tenant) return;
    await draw();
    await shown('New tenant', `Admin key for ${tenant.name}. It will not be shown again.`, tenant.key);
  };
  await draw();
  return [h('p', { class: 'row end' }, button('New tenant', created, { class: 'primary' })), out];
}
