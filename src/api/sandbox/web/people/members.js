// @ts-check
// Members: their roles in the workspace and in datasets, and whether they can sign in.

import { call, datasets as load, get, post } from '../lib/api.js';
import { button, field, form, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge } from '../lib/format.js';
import { complain, confirmed, dialog } from '../lib/messages.js';
import { shown } from '../lib/secret.js';

/** @type {[string, string][]} */
export const ROLES = [
  ['owner', 'Owner'],
  ['admin', 'Admin'],
  ['member', 'Member'],
  ['reviewer', 'Reviewer'],
];
/** @type {[string, string][]} */
const DATASET_ROLES = [
  ['', 'None'],
  ['reader', 'Reader'],
  ['editor', 'Editor'],
  ['owner', 'Owner'],
];

/**
 * Asks for the datasets that a member uses; resolves to whether they were saved.
 * @param {any} member
 * @param {any[]} datasets
 */
async function chooseDatasets(member, datasets) {
  const at = `/kb/v1/users/${member.id}/datasets`;
  const { datasets: now } = await get(at);
  const everything = h('input', { type: 'checkbox', checked: now === null });
  const roles = datasets.map((dataset) => {
    const granted = now?.find((/** @type {any} */ one) => one.datasetId === dataset.id);
    return /** @type {const} */ ([dataset, select(DATASET_ROLES, granted?.role ?? '')]);
  });
  const list = h(
    'div',
    null,
    roles.map(([dataset, role]) => field(dataset.name, role)),
  );
  const show = () => {
    list.hidden = everything.checked;
  };
  everything.addEventListener('change', show);
  show();
  return dialog(`Datasets of ${member.name}`, (close) =>
    form(
      async () => {
        const chosen = roles.filter(([, role]) => role.value).map(([dataset, role]) => ({ datasetId: dataset.id, role: role.value }));
        await call('PUT', at, { datasets: everything.checked ? null : chosen });
        close(true);
      },
      h(
        'p',
        { class: 'quiet' },
        'A dataset role cannot grant more access than the workspace role. Owners and admins can access all datasets.',
      ),
      h('p', null, h('label', { class: 'check' }, everything, 'All datasets')),
      list,
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Save')),
    ),
  );
}

/** Asks for a person, and adds it. */
async function add() {
  const name = h('input', { required: true, maxlength: 200 });
  const email = h('input', { type: 'email' });
  const role = select(ROLES, 'member');
  return dialog('Add a member', (close) =>
    form(
      async () => close(await post('/kb/v1/users', { name: name.value, email: email.value || undefined, role: role.value })),
      field('Name', name),
      field('Email', email, 'optional'),
      field('Role', role),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Add')),
    ),
  );
}

/** @param {any} member */
async function signInLink(member) {
  const { url } = await post(`/kb/v1/users/${member.id}/link`);
  await shown('Sign-in link', `Signs ${member.name} in once, within 12 hours. It will not be shown again.`, url);
}

/** @param {AbortSignal} signal */
export async function members(signal) {
  const out = h('div');
  const datasets = await load(signal);
  const draw = async () => {
    const { data } = await get('/kb/v1/users', signal);
    put(
      out,
      table(
        'Members',
        ['Name', 'Email', 'Role', 'State', 'Since', ''],
        data.map((/** @type {any} */ member) => {
          const at = `/kb/v1/users/${member.id}`;
          const change = async (/** @type {any} */ body) => {
            try {
              await call('PATCH', at, body);
            } finally {
              await draw();
            }
          };
          const role = select(ROLES, member.role, (value) => change({ role: value }).catch(complain));
          role.setAttribute('aria-label', `Role of ${member.name}`);
          const isActive = member.status === 'active';
          const remove = async () => {
            if (!(await confirmed(`${member.name} loses access, and the keys of ${member.name} are revoked.`, 'Remove'))) return;
            await call('DELETE', at);
            await draw();
          };
          const named = (/** @type {string} */ what) => ({ class: 'small', 'aria-label': `${what} ${member.name}` });
          return [
            member.name,
            member.email ?? '–',
            role,
            badge(member.status),
            ago(member.createdOn),
            h(
              'div',
              { class: 'actions' },
              !['owner', 'admin'].includes(member.role) && button('Datasets', () => chooseDatasets(member, datasets), named('Datasets of')),
              isActive && button('Sign-in link', () => signInLink(member), named('Sign-in link for')),
              isActive
                ? button('Deactivate', () => change({ status: 'inactive' }), named('Deactivate'))
                : button('Activate', () => change({ status: 'active' }), named('Activate')),
              button('Remove', remove, { ...named('Remove'), class: 'small danger' }),
            ),
          ];
        }),
        'No members yet. Only the server owner has access. Add or invite a member.',
      ),
    );
  };
  const added = async () => {
    const member = await add();
    if (!member) return;
    await draw();
    await signInLink(member);
  };
  await draw();
  return [h('p', { class: 'row end' }, button('Add a member', added, { class: 'primary' })), out];
}
