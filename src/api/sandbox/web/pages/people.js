// @ts-check
// People of the workspace, its quotas, and the tenants of the installation.

import { get } from '../lib/api.js';
import { tabs } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { invitations } from '../people/invitations.js';
import { members } from '../people/members.js';
import { tenants } from '../people/tenants.js';
import { usage } from '../people/usage.js';

/** Whether the signed-in caller manages the tenants of the installation. @param {AbortSignal} signal */
async function isOperator(signal) {
  try {
    await get('/kb/v1/tenants?limit=1', signal);
    return true;
  } catch (error) {
    if (/** @type {any} */ (error).status === 403) return false;
    throw error;
  }
}

/** @param {import('../app.js').Context} context */
export async function page({ path, signal, replace }) {
  const all = [
    { name: 'members', title: 'Members', body: members },
    { name: 'invitations', title: 'Invitations', body: invitations },
    { name: 'usage', title: 'Usage', body: usage },
    ...((await isOperator(signal)) ? [{ name: 'tenants', title: 'Tenants', body: tenants }] : []),
  ];
  const open = (/** @type {string} */ name) => replace(`/sandbox/people/${name}`);
  return [
    h('div', { class: 'top' }, h('h1', null, 'People'), h('a', { class: 'button', href: '/sandbox/access' }, 'Access log')),
    tabs('People', all, path[0] ?? 'members', signal, open),
  ];
}
