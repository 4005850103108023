// @ts-check
// Leads that are overdue, and the feedback of agents with its answers.

import { call, get } from '../lib/api.js';
import { button, field, form, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge, counted } from '../lib/format.js';
import { dialog, toast } from '../lib/messages.js';
import { API, leadAddress, logTouchpoint, nameOf } from './forms.js';

/** @param {import('../app.js').Context} context */
export async function stalled({ signal }) {
  const out = h('div');
  async function draw() {
    const { leads, total } = await get(`${API}/leads/stalled?limit=200`, signal);
    const rows = leads.map((/** @type {any} */ l) => [
      h('a', { href: leadAddress(l) }, nameOf(l)),
      badge(l.priority),
      `${l.daysSinceTouch} days`,
      l.stalledReason.replaceAll('_', ' '),
      l.suggestedAction.replaceAll('_', ' '),
      button('Log touchpoint', async () => (await logTouchpoint(l)) && draw(), {
        class: 'small',
        'aria-label': `Log touchpoint with ${nameOf(l)}`,
      }),
    ]);
    put(
      out,
      h('p', { class: 'quiet' }, `${counted(total, 'lead')} overdue for a contact.`),
      table('Overdue leads', ['Lead', 'Priority', 'Without contact', 'Reason', 'Suggested', ''], rows, 'No lead is overdue.'),
    );
  }
  await draw();
  return out;
}

/** Asks for an answer; true when it was sent. @param {any} item */
function answer(item) {
  const response = h('textarea', { rows: 6, required: true, value: item.fields.response ?? '' });
  const status = select(
    [
      ['resolved', 'Resolved'],
      ['in_progress', 'In progress'],
      ['declined', 'Declined'],
    ],
    'resolved',
  );
  const context = item.fields.context;
  return dialog(item.title, (close) =>
    form(
      async () => {
        await call('PATCH', `/kb/v1/feedback/${item.id}`, { response: response.value, status: status.value });
        toast('Answered. The agent sees it at the start of its next session.');
        close(true);
      },
      item.fields.description && h('p', null, item.fields.description),
      context && h('pre', null, JSON.stringify(context, null, 2)),
      field('Answer', response),
      field('State', status),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Send answer')),
    ),
  );
}

/** @param {import('../app.js').Context} context */
export async function feedback({ signal }) {
  const out = h('div');
  async function draw() {
    const { data } = await get('/kb/v1/feedback', signal);
    const rows = data.map((/** @type {any} */ f) => [
      f.title,
      badge(f.status),
      f.fields.priority,
      f.fields.type,
      f.fields.agent ?? '',
      ago(f.createdOn),
      button(f.fields.response ? 'Answer again' : 'Answer', async () => (await answer(f)) && draw(), {
        class: 'small',
        'aria-label': `Answer ${f.title}`,
      }),
    ]);
    put(out, table('Feedback', ['Title', 'State', 'Priority', 'Type', 'Agent', 'Sent', ''], rows, 'No feedback from agents.'));
  }
  await draw();
  return out;
}
