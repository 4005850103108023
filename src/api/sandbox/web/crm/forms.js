// @ts-check
// Addresses of the CRM, and the forms that add leads, notes and touchpoints.

import { get, post } from '../lib/api.js';
import { button, field, form, select } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { dialog, toast } from '../lib/messages.js';

/** Where the operations are. */
export const API = '/api/openclaw';

/** @param {any} lead */
export const leadAddress = (lead) => `/sandbox/crm/leads/${encodeURIComponent(lead.id ?? lead.leadId)}`;
/** @param {any} lead */
export const nameOf = (lead) => lead.name || [lead.firstName, lead.lastName].filter(Boolean).join(' ') || lead.email || 'Unnamed lead';

/** Events that touchpoints count, and contacts that they do not. */
const TOUCHPOINTS = [
  ['call', 'Call'],
  ['email', 'Email'],
  ['meeting', 'Meeting'],
  ['meeting_booked', 'Meeting booked'],
  ['proposal_viewed', 'Proposal viewed'],
  ['cta_clicked', 'Link clicked'],
  ['quiz_completed', 'Quiz completed'],
  ['video_watched', 'Video watched'],
];

/** Asks for a new lead; gives it when it was added. @param {any[]} stages @returns {Promise<any>} */
export function newLead(stages) {
  const text = (/** @type {string} */ name, /** @type {string} */ type = 'text', required = false) =>
    h('input', { name, type, required, autocomplete: 'off' });
  const first = text('firstName', 'text', true);
  const last = text('lastName');
  const email = text('email', 'email', true);
  const company = text('organizationName');
  const tier = text('tier');
  const stage = select(
    stages.map((s) => [s.id, s.name]),
    stages.find((s) => s.isDefault)?.id ?? stages[0]?.id ?? '',
  );
  return dialog('New lead', (close) =>
    form(
      async () => {
        const answer = await post(`${API}/leads`, {
          firstName: first.value,
          lastName: last.value || undefined,
          email: email.value,
          organizationName: company.value || undefined,
          tier: tier.value || undefined,
          stageId: stage.value || undefined,
        });
        toast(`Added ${nameOf(answer.lead)}.`);
        close(answer.lead);
      },
      h(
        'div',
        { class: 'fields' },
        field('First name', first),
        field('Last name', last),
        field('Email', email),
        field('Organisation', company),
        field('Tier', tier, 'Any value. Only high, medium and low affect the score.'),
        stages.length > 0 && field('Stage', stage),
      ),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Add lead')),
    ),
  );
}

/** Asks for a touchpoint of a lead; true when it was logged. @param {any} lead */
export function logTouchpoint(lead) {
  const type = select(/** @type {[string, string][]} */ (TOUCHPOINTS), 'call');
  const summary = h('input', { type: 'text', maxlength: 1000 });
  const notes = h('textarea', { rows: 4 });
  const value = h('input', { type: 'number', min: 0, max: 100 });
  return dialog(`Log a touchpoint with ${nameOf(lead)}`, (close) =>
    form(
      async () => {
        const answer = await post(`${API}/touchpoints`, {
          leadId: lead.id,
          type: type.value,
          summary: summary.value || undefined,
          notes: notes.value || undefined,
          value: value.value ? Number(value.value) : undefined,
        });
        const moved = answer.automation?.movedTo?.name;
        toast(moved ? `Logged. A rule moved the lead to ${moved}.` : 'Logged.');
        close(true);
      },
      field('What happened', type),
      field('Summary', summary),
      field('Notes', notes),
      field('Value', value, 'Quiz score, or percentage of the video watched.'),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Log touchpoint')),
    ),
  );
}

/** Asks for a note about a lead; true when it was added. @param {any} lead */
export function addNote(lead) {
  const content = h('textarea', { rows: 6, required: true });
  return dialog(`Note about ${nameOf(lead)}`, (close) =>
    form(
      async () => {
        await post(`${API}/notes`, { leadId: lead.id, content: content.value });
        close(true);
      },
      field('Note', content),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Add note')),
    ),
  );
}

/** Lets a lead be enrolled in a campaign; true when it was. @param {any} lead @param {AbortSignal} signal */
export async function enrol(lead, signal) {
  const { campaigns } = await get(`${API}/campaigns?status=active&limit=500`, signal);
  if (campaigns.length === 0) {
    toast('No active campaigns. Create or activate one on the Campaigns tab.');
    return false;
  }
  const choice = select(
    campaigns.map((/** @type {any} */ c) => [c.id, c.name]),
    campaigns[0].id,
  );
  return dialog(`Enrol ${nameOf(lead)}`, (close) => [
    field('Campaign', choice),
    h(
      'p',
      { class: 'row end' },
      button(
        'Enrol',
        async () => {
          await post(`${API}/campaigns/${choice.value}/enroll`, { leadId: lead.id });
          toast('Enrolled.');
          close(true);
        },
        { class: 'primary' },
      ),
    ),
  ]);
}

/** Gives an empty pipeline the usual stages. */
export async function usualStages() {
  const { example } = await get(`${API}/setup`);
  await post(`${API}/setup`, { stages: example.stages });
}
