// @ts-check
// Campaigns of mails: their states, the form that adds one, and the queue of each.

import { call, get, post } from '../lib/api.js';
import { button, field, form, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge, counted } from '../lib/format.js';
import { dialog, toast } from '../lib/messages.js';
import { API, leadAddress } from './forms.js';

const STEPS = 8;
const HINT = 'Variables: {{ firstName }}, {{ organizationName }}, {{ bookingLink }} … A link is tracked as {{ link("https://…") }}.';

/** The fields of a step. @param {number} number */
function step(number) {
  const delay = h('input', { type: 'number', min: 0, max: 365, value: number === 1 ? 0 : 3 });
  const subject = h('input', { type: 'text', required: true, maxlength: 300 });
  const body = h('textarea', { rows: 5, required: true });
  return {
    element: h(
      'fieldset',
      null,
      h('legend', null, `Step ${number}`),
      field('Days after previous step', delay),
      field('Subject', subject),
      field('Text', body, HINT),
    ),
    read: () => ({ delayDays: Number(delay.value || 0), subject: subject.value, body: body.value }),
  };
}

/** Asks for a new campaign. @param {string[]} triggers */
function newCampaign(triggers) {
  const name = h('input', { type: 'text', required: true });
  const trigger = select(
    triggers.map((t) => [t, t.replaceAll('_', ' ')]),
    'manual',
  );
  const ai = h('input', { type: 'checkbox' });
  const steps = [step(1)];
  const list = h(
    'div',
    null,
    steps.map((s) => s.element),
  );
  const more = button('Add a step', () => {
    const added = step(steps.length + 1);
    steps.push(added);
    list.append(added.element);
    more.hidden = steps.length >= STEPS;
  });
  return dialog('New campaign', (close) =>
    form(
      async () => {
        const answer = await post(`${API}/campaigns`, {
          name: name.value,
          trigger: trigger.value,
          ai_enabled: ai.checked,
          steps: steps.map((s) => s.read()),
        });
        toast(answer.warnings.length ? answer.warnings.join(' ') : 'Created.');
        close(true);
      },
      field('Name', name),
      field('Begins with', trigger),
      h('p', null, h('label', { class: 'check' }, ai, 'Let the language model write each email from its template')),
      list,
      h('p', { class: 'row end' }, more, h('button', { class: 'primary' }, 'Create campaign')),
    ),
  );
}

/** @param {Record<string, number>} counts */
const states = (counts) => Object.entries(counts).map(([state, n]) => [badge(`${n} ${state}`), ' ']);

/** @param {import('../app.js').Context} context */
export async function campaigns({ signal }) {
  const out = h('div');
  async function draw() {
    const { campaigns: list, triggers } = await get(`${API}/campaigns?limit=500`, signal);
    const rows = list.map((/** @type {any} */ c) => [
      h('a', { href: `/sandbox/crm/campaigns/${c.id}` }, c.name),
      badge(c.status),
      c.trigger.replaceAll('_', ' '),
      counted(c.steps.length, 'step'),
      states(c.counts.enrollments),
      states(c.counts.emails),
      button(
        c.status === 'active' ? 'Pause' : 'Activate',
        async () => {
          await call('PATCH', `${API}/campaigns/${c.id}`, { status: c.status === 'active' ? 'paused' : 'active' });
          await draw();
        },
        { class: 'small', 'aria-label': `${c.status === 'active' ? 'Pause' : 'Activate'} ${c.name}` },
      ),
    ]);
    put(
      out,
      h(
        'p',
        { class: 'row end' },
        button('New campaign', async () => (await newCampaign(triggers)) && draw(), { class: 'primary' }),
      ),
      table('Campaigns', ['Name', 'State', 'Starts when', 'Steps', 'Enrolments', 'Emails', ''], rows, 'No campaigns yet.'),
    );
  }
  await draw();
  return out;
}

/** @param {import('../app.js').Context} context @param {string} id */
export async function queue({ signal, title }, id) {
  const [{ campaigns: list }, { emails }] = await Promise.all([
    get(`${API}/campaigns?limit=500`, signal),
    get(`${API}/campaigns/${encodeURIComponent(id)}/emails`, signal),
  ]);
  const campaign = list.find((/** @type {any} */ c) => c.id === id) ?? { name: id, steps: [], status: '' };
  title(campaign.name);
  const rows = emails.map((/** @type {any} */ m) => [
    h('a', { href: leadAddress(m) }, m.to),
    `Step ${m.step}`,
    badge(m.status),
    m.sentAt ? `sent ${ago(m.sentAt)}` : `due ${ago(m.dueAt)}`,
    [m.detail, ...m.warnings].filter(Boolean).join('; '),
    m.body
      ? h(
          'details',
          null,
          h('summary', null, m.subject),
          h('pre', null, m.body),
          m.citations.map((/** @type {any} */ c) => h('p', { class: 'quiet' }, `${c.title}: `, h('code', null, c.citation))),
        )
      : '',
  ]);
  return [
    h('p', null, h('a', { href: '/sandbox/crm?tab=campaigns' }, '← Campaigns')),
    h('h1', null, campaign.name, ' ', campaign.status && badge(campaign.status)),
    table('Emails', ['To', 'Step', 'State', 'When', 'Detail', 'Text'], rows, 'No emails yet. Enrol a lead from its page.'),
  ];
}
