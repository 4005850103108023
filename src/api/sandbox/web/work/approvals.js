// @ts-check
// The queue of approvals: what is asked, the text in question with the difference to the version before, and the decision.

import { get, post, stream } from '../lib/api.js';
import { button, field, form, select } from '../lib/controls.js';
import { changes as differences } from '../lib/changes.js';
import { h, put } from '../lib/dom.js';
import { ago } from '../lib/format.js';
import { complain, dialog, toast } from '../lib/messages.js';
import { API, address, cited, plain, state } from './shared.js';

/** Asks for a note; the note, or nothing. @param {string} title @returns {Promise<string | undefined>} */
function noteFor(title) {
  const note = h('textarea', { rows: 5, required: true });
  return dialog(title, (close) =>
    form(
      async () => close(note.value),
      field('Note to the agent', note),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Send')),
    ),
  );
}

/** Two versions of a text, with the differences and with links of citations. @param {string} before @param {string} after */
export const changes = (before, after) => differences(before, after, 'Changes since the previous version', cited);

/** The text of an activity, as a difference where there is a version before. @param {any} activity @param {AbortSignal} signal */
async function textOf(activity, signal) {
  if (!activity.outputRef) return null;
  const [detail, output] = await Promise.all([
    get(`${API}/activities/${activity.id}`, signal),
    get(`${API}/activities/${activity.id}/output`, signal),
  ]);
  const before = detail.revisions.at(-1);
  return [
    h(
      'h4',
      null,
      h('a', { href: address('activities', activity.id) }, activity.title),
      before && h('small', null, ` version ${detail.revisions.length + 1}, with changes`),
    ),
    before
      ? changes(before.output, output.text)
      : h('div', { class: 'text', tabindex: '0', role: 'region', 'aria-label': `Text of ${activity.title}` }, cited(output.text)),
  ];
}

/** @param {any} approval @param {AbortSignal} signal @param {boolean} isAdmin @param {() => any} decided */
export async function approvalCard(approval, signal, isAdmin, decided) {
  const detail = await get(`${API}/approvals/${approval.id}`, signal);
  const texts = await Promise.all(detail.linkedActivities.map((/** @type {any} */ a) => textOf(a, signal)));
  const choice =
    detail.options &&
    select(
      detail.options.map((/** @type {string} */ o) => [o, o]),
      detail.options[0],
    );
  const decide = (/** @type {string} */ resolution) => async () => {
    const note = resolution === 'approved' ? undefined : await noteFor(resolution === 'rejected' ? 'Reject' : 'Ask for a revision');
    if (resolution !== 'approved' && !note) return;
    await post(`${API}/approvals/${approval.id}/resolve`, {
      resolution,
      note,
      selectedOption: resolution === 'approved' ? choice?.value : undefined,
    });
    toast(`${approval.title}: ${plain(resolution)}.`);
    await decided();
  };
  return h(
    'article',
    { class: 'card', 'aria-label': approval.title },
    h('h3', null, approval.title),
    h(
      'p',
      { class: 'row quiet' },
      state(approval.status),
      h(
        'span',
        null,
        [plain(approval.type), `${approval.riskLevel} risk`, `by ${approval.createdBy.name}`].join(' · '),
        ' · expires ',
        ago(approval.expiresAt),
      ),
    ),
    !texts.some(Boolean) && approval.description && h('p', { class: 'pre' }, approval.description),
    texts,
    approval.status === 'pending' && !isAdmin && h('p', { class: 'quiet' }, 'Waiting for an admin to decide.'),
    approval.status === 'pending' &&
      isAdmin &&
      h(
        'p',
        { class: 'row' },
        choice && h('label', { class: 'check' }, 'Choice ', choice),
        button('Approve', decide('approved'), { class: 'primary', 'aria-label': `Approve ${approval.title}` }),
        button('Ask for a revision', decide('revision_requested'), { 'aria-label': `Ask for a revision of ${approval.title}` }),
        button('Reject', decide('rejected'), { 'aria-label': `Reject ${approval.title}` }),
      ),
  );
}

/** Whether the reader decides. @param {any} session */
export const decides = (session) => session.scopes.some((/** @type {string} */ s) => s === '*' || s === 'keys:manage');

/** @param {import('../app.js').Context} context */
export async function approvals({ signal, session }) {
  const out = h('div', { class: 'stack' });
  async function draw() {
    const { data } = await get(`${API}/approvals?limit=50`, signal);
    const cards = await Promise.all(data.map((/** @type {any} */ a) => approvalCard(a, signal, decides(session), draw)));
    put(out, cards.length === 0 ? h('p', { class: 'quiet' }, 'No pending approvals.') : cards);
  }
  await draw();
  stream(`${API}/events/stream`, 'approval_created', signal, () => draw().catch(complain));
  return out;
}
