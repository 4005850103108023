// @ts-check
// A lead: its facts, its score with the factors, what enrichment found and where, its mails,
// and the timeline of notes, touchpoints and moves.

import { call, get, post } from '../lib/api.js';
import { button, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, badge } from '../lib/format.js';
import { complain, confirmed, toast } from '../lib/messages.js';
import { API, addNote, enrol, logTouchpoint, nameOf } from './forms.js';

const FACTS = [
  ['Email', 'email'],
  ['Phone', 'phone'],
  ['Organisation', 'organizationName'],
  ['Business', 'businessType'],
  ['Title', 'title'],
  ['Seniority', 'seniority'],
  ['Company', 'companyName'],
  ['Company size', 'companySize'],
  ['Revenue', 'companyRevenue'],
  ['LinkedIn', 'linkedinUrl'],
  ['Time zone', 'timeZone'],
  ['Tier', 'tier'],
  ['Source', 'source'],
  ['Notes', 'notes'],
];

/** A text, or a link if it is an address. @param {string} text */
const linked = (text) => (/^https?:\/\//.test(text) ? h('a', { href: text, rel: 'noreferrer' }, text) : text);
/** @param {any} value */
const shown = (value) => (value !== null && typeof value === 'object' ? JSON.stringify(value) : String(value));

/** @param {[string, any][]} pairs */
const facts = (pairs) =>
  h(
    'dl',
    { class: 'facts' },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== '')
      .map(([name, value]) => [h('dt', null, name), h('dd', null, linked(shown(value)))]),
  );

/** @param {any} scored */
function scoreCard(scored) {
  const rows = scored.factors.map((/** @type {any} */ f) => [
    f.factor.replaceAll('_', ' '),
    f.detail,
    h('meter', { min: 0, max: f.max, value: Math.abs(f.points), 'aria-label': `${f.factor}: ${f.points} of ${f.max}` }),
    `${f.points} of ${f.factor === 'staleness' ? -f.max : f.max}`,
  ]);
  return h(
    'section',
    { class: 'card' },
    h('h2', null, `Score ${scored.score} `, badge(scored.label)),
    h('p', null, `Suggested: ${scored.suggestedAction.replaceAll('_', ' ')}, because ${scored.reason}.`),
    table('Factors', ['Factor', 'Fact', '', 'Points'], rows),
  );
}

/** @param {any} lead @param {() => Promise<void>} draw */
function enrichmentCard(lead, draw) {
  const found = lead.enrichment;
  const fields = Object.entries(found?.fields ?? {});
  const rows = fields.map(([name, f]) => [name, f.value, f.provider, linked(f.source)]);
  return h(
    'section',
    { class: 'card' },
    h(
      'div',
      { class: 'top' },
      h('h2', null, 'Enrichment ', badge(lead.enrichmentStatus)),
      button(found ? 'Enrich again' : 'Enrich', async () => {
        const answer = await post(`${API}/enrich`, { leadId: lead.id, force: true });
        toast(answer.status === 'complete' ? 'Enriched.' : `Nothing was found: ${answer.reason}`);
        await draw();
      }),
    ),
    !found && h('p', { class: 'quiet' }, 'This lead has not been enriched yet.'),
    found?.reason && h('p', { class: 'notice' }, found.reason),
    fields.length > 0 && table('What was found', ['Field', 'Value', 'Provider', 'Source'], rows),
    (found?.discussionPoints ?? []).map((/** @type {any} */ p) =>
      h('p', null, h('strong', null, p.topic), ': ', p.detail, ' ', h('small', null, p.source)),
    ),
  );
}

/** @param {any[]} mails */
function mailsCard(mails) {
  const rows = mails.map((m) => [
    m.subject ?? `Step ${m.step}`,
    badge(m.status),
    m.sentAt ? ago(m.sentAt) : `due ${ago(m.dueAt)}`,
    [m.detail, ...m.warnings].filter(Boolean).join('; '),
    m.body ? h('details', null, h('summary', null, 'Text'), h('pre', null, m.body)) : '',
  ]);
  return h(
    'section',
    { class: 'card' },
    h('h2', null, 'Emails'),
    table('Emails', ['Subject', 'State', 'When', 'Detail', ''], rows, 'No emails yet.'),
  );
}

/** Why a lead moved. @param {any} reason */
function because(reason) {
  if (!reason) return '';
  if (reason.stage_deleted) return `the stage ${reason.stage_deleted} was deleted`;
  const conditions = (reason.conditions ?? []).map((/** @type {any} */ c) => `${c.condition} is ${shown(c.actual)}`);
  return `rule ${reason.name} on ${String(reason.trigger).replaceAll('_', ' ')}${conditions.length ? ` (${conditions.join(', ')})` : ''}`;
}

/** @param {any} lead @param {any[]} notes @param {any[]} touchpoints */
function timeline(lead, notes, touchpoints) {
  const entries = [
    ...notes.map((n) => ({ at: n.createdAt, what: n.pinned ? 'Pinned note' : 'Note', text: n.content, more: '' })),
    ...touchpoints.map((t) => ({
      at: t.occurredAt ?? t.createdAt,
      what: t.type.replaceAll('_', ' '),
      text: t.summary,
      more: t.notes ?? '',
    })),
    ...lead.stageHistory.map((/** @type {any} */ m) => ({
      at: m.at,
      what: 'Moved',
      text: `${m.from?.name ?? 'no stage'} → ${m.to?.name ?? 'no stage'}`,
      more: because(m.reason),
    })),
    { at: lead.createdAt, what: 'Added', text: `by ${lead.source ?? 'api'}`, more: '' },
  ].sort((a, b) => String(b.at).localeCompare(String(a.at)));
  return h(
    'section',
    { class: 'card' },
    h('h2', null, 'Timeline'),
    h(
      'ol',
      { class: 'events' },
      entries.map((e) =>
        h(
          'li',
          null,
          h('div', { class: 'row' }, h('strong', null, e.what), h('small', null, ago(e.at))),
          h('p', null, e.text),
          e.more && h('p', { class: 'quiet' }, e.more),
        ),
      ),
    ),
  );
}

/** @param {import('../app.js').Context} context @param {string} id */
export async function leadPage({ signal, title, go }, id) {
  const out = h('div');
  async function draw() {
    const q = `leadId=${encodeURIComponent(id)}&limit=200`;
    const [{ lead }, { stages }, { notes }, { touchpoints }, { campaigns }] = await Promise.all([
      get(`${API}/leads/${encodeURIComponent(id)}`, signal),
      get(`${API}/stages`, signal),
      get(`${API}/notes?${q}`, signal),
      get(`${API}/touchpoints?${q}`, signal),
      get(`${API}/campaigns?limit=500`, signal),
    ]);
    const busy = campaigns.filter((/** @type {any} */ c) => Object.keys(c.counts.enrollments).length > 0);
    const queues = await Promise.all(
      busy.map((/** @type {any} */ c) => get(`${API}/campaigns/${c.id}/emails?leadId=${encodeURIComponent(id)}`, signal)),
    );
    const mails = queues.flatMap((/** @type {any} */ queue) => queue.emails);
    title(nameOf(lead));
    const stage = select(
      [['', 'No stage'], ...stages.map((/** @type {any} */ s) => [s.id, s.name])],
      lead.stageId ?? '',
      async (chosen) => {
        try {
          await call('PATCH', `${API}/leads/${id}`, { stageId: chosen }, signal);
          await draw();
        } catch (error) {
          complain(error);
        }
      },
    );
    const custom = Object.entries({ ...lead.customFields, ...lead.crmData });
    put(
      out,
      h('p', null, h('a', { href: '/sandbox/crm' }, '← Pipeline')),
      h(
        'div',
        { class: 'top' },
        h('h1', null, nameOf(lead), ' ', badge(lead.status)),
        h(
          'div',
          { class: 'row' },
          h('label', { class: 'check' }, 'Stage', stage),
          button('Log touchpoint', async () => (await logTouchpoint(lead)) && draw(), { class: 'primary' }),
          button('Add note', async () => (await addNote(lead)) && draw()),
          button('Enrol in campaign', async () => (await enrol(lead, signal)) && draw()),
          button(
            'Delete',
            async () => {
              if (!(await confirmed(`Delete ${nameOf(lead)}? The lead can be restored.`, 'Delete'))) return;
              await call('DELETE', `${API}/leads/${id}`);
              toast('Deleted. PATCH the lead with restore: true to restore it.');
              go('/sandbox/crm');
            },
            { class: 'danger' },
          ),
        ),
      ),
      h(
        'div',
        { class: 'split lead' },
        h(
          'div',
          { class: 'stack' },
          h(
            'section',
            { class: 'card' },
            h('h2', null, 'Facts'),
            facts(/** @type {[string, any][]} */ (FACTS.map(([label, name]) => [label, lead[name]]))),
            custom.length > 0 && [h('h3', null, 'Custom fields'), facts(custom)],
          ),
          scoreCard(lead.score),
          enrichmentCard(lead, draw),
        ),
        h('div', { class: 'stack' }, timeline(lead, notes, touchpoints), mailsCard(mails)),
      ),
    );
  }
  await draw();
  return out;
}
