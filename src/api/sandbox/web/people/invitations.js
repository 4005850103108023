// @ts-check
// Invitations: links that make their readers members.

import { all, call, post } from '../lib/api.js';
import { button, field, form, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge } from '../lib/format.js';
import { dialog } from '../lib/messages.js';
import { ROLES } from './members.js';
import { shown } from '../lib/secret.js';

/** What has become of an invitation. @param {any} invite */
function state(invite) {
  if (invite.acceptedOn) return 'accepted';
  return new Date(invite.expiresOn) < new Date() ? 'expired' : 'pending';
}

/** Asks for a person, and invites it. */
async function invite() {
  const name = h('input', { required: true, maxlength: 200 });
  const email = h('input', { type: 'email' });
  const role = select(ROLES, 'member');
  return dialog('Invite a person', (close) =>
    form(
      async () => close(await post('/kb/v1/invites', { name: name.value, email: email.value || undefined, role: role.value })),
      field('Name', name),
      field('Email', email, 'optional; also allows sign-in with the identity provider'),
      field('Role', role),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Create invitation link')),
    ),
  );
}

/** @param {AbortSignal} signal */
export async function invitations(signal) {
  const out = h('div');
  const draw = async () => {
    const invites = await all('/kb/v1/invites', signal);
    invites.reverse();
    put(
      out,
      table(
        'Invitations',
        ['Name', 'Email', 'Role', 'State', 'Invited', 'Expires', ''],
        invites.map((one) => [
          one.name,
          one.email ?? '–',
          ROLES.find(([role]) => role === one.role)?.[1] ?? one.role,
          badge(state(one)),
          ago(one.createdOn),
          ago(one.expiresOn),
          state(one) === 'pending' &&
            button(
              'Withdraw',
              async () => {
                await call('DELETE', `/kb/v1/invites/${one.id}`);
                await draw();
              },
              { class: 'small danger', 'aria-label': `Withdraw the invitation for ${one.name}` },
            ),
        ]),
        'No invitations.',
      ),
    );
  };
  const created = async () => {
    const one = await invite();
    if (!one) return;
    await draw();
    const said = `Makes ${one.name} a member once, within 7 days. Send it to the person; it will not be shown again.`;
    await shown('Invitation', said, one.url);
  };
  await draw();
  return [h('p', { class: 'row end' }, button('Invite', created, { class: 'primary' })), out];
}
