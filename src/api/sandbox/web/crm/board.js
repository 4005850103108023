// @ts-check
// The pipeline as a board: a column per stage, a card per lead. Leads are dragged to a stage, or moved with the choice on their card.

import { call, get, post } from '../lib/api.js';
import { button, select } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { badge, counted } from '../lib/format.js';
import { complain, toast } from '../lib/messages.js';
import { API, leadAddress, nameOf, newLead, usualStages } from './forms.js';

/** Leads that a board shows. */
const LEADS = 500;
/** Where leads without a stage stand. */
const NONE = { id: '', name: 'No stage' };

const LABELS = { hot: 'good', warm: 'busy', cool: '', cold: '' };

/** @param {any} scored */
const heat = (scored) =>
  scored &&
  h(
    'span',
    {
      class: `badge ${LABELS[/** @type {'hot'} */ (scored.label)] ?? ''}`,
      title: `Score ${scored.score} of 100`,
    },
    `${scored.label} ${Math.round(scored.score)}`,
  );

/** @param {import('../app.js').Context} context */
export async function board({ signal, query, replace }) {
  const out = h('div');
  const words = h('input', { type: 'search', placeholder: 'Filter leads', 'aria-label': 'Filter leads', value: query.get('q') ?? '' });
  /** Announcement for screen readers after a move. */
  const told = h('p', { class: 'unseen', role: 'status' });

  async function draw() {
    const asked = new URLSearchParams({ limit: String(LEADS), ...(words.value && { q: words.value }) });
    const [{ stages }, { leads, total }, scores] = await Promise.all([
      get(`${API}/stages`, signal),
      get(`${API}/leads?${asked}`, signal),
      post(`${API}/leads/score`, { all: true }, signal),
    ]);
    const scored = new Map(scores.results.map((/** @type {any} */ r) => [r.leadId, r]));
    const known = new Set(stages.map((/** @type {any} */ s) => s.id));
    const stray = leads.some((/** @type {any} */ l) => !known.has(l.stageId));
    const columns = stray ? [NONE, ...stages] : stages;

    const move = async (/** @type {any} */ lead, /** @type {any} */ stage) => {
      if (!stage.id || lead.stageId === stage.id) return;
      await call('PATCH', `${API}/leads/${lead.id}`, { stageId: stage.id }, signal);
      await draw();
      put(told, `${nameOf(lead)} is in ${stage.name} now.`);
      toast(`${nameOf(lead)} is in ${stage.name} now.`);
      /** @type {HTMLElement | null} */ (out.querySelector(`[data-lead="${lead.id}"] select`))?.focus();
    };

    const card = (/** @type {any} */ lead) =>
      h(
        'article',
        {
          class: 'card lead',
          draggable: 'true',
          'data-lead': lead.id,
          ondragstart: (/** @type {DragEvent} */ e) => e.dataTransfer?.setData('text/plain', lead.id),
        },
        h('h3', null, h('a', { href: leadAddress(lead), draggable: 'false' }, nameOf(lead))),
        h('p', { class: 'quiet' }, lead.organizationName ?? lead.email),
        h('p', { class: 'row' }, heat(scored.get(lead.id)), lead.tier && badge(lead.tier), badge(lead.status)),
        h(
          'label',
          { class: 'check' },
          h('span', { class: 'unseen' }, `Stage of ${nameOf(lead)}`),
          select(
            columns.map((/** @type {any} */ s) => [s.id, s.name]),
            lead.stageId ?? '',
            (id) => {
              const stage = columns.find((/** @type {any} */ s) => s.id === id);
              move(lead, stage).catch(complain);
            },
          ),
        ),
      );

    const column = (/** @type {any} */ stage) => {
      const inside = leads.filter((/** @type {any} */ l) => (known.has(l.stageId) ? l.stageId : '') === stage.id);
      const heading = h('h2', null, stage.name, ' ', h('small', null, String(inside.length)));
      const element = h(
        'section',
        {
          class: 'column',
          'aria-label': `${stage.name}, ${counted(inside.length, 'lead')}`,
          ondragover: (/** @type {DragEvent} */ e) => {
            e.preventDefault();
            element.classList.add('over');
          },
          ondragleave: () => element.classList.remove('over'),
          ondrop: (/** @type {DragEvent} */ e) => {
            e.preventDefault();
            element.classList.remove('over');
            const lead = leads.find((/** @type {any} */ l) => l.id === e.dataTransfer?.getData('text/plain'));
            if (lead) move(lead, stage).catch(complain);
          },
        },
        heading,
        inside.length ? inside.map(card) : h('p', { class: 'quiet' }, 'No leads.'),
      );
      return element;
    };

    const add = button(
      'New lead',
      async () => {
        if (await newLead(stages)) await draw();
      },
      { class: 'primary' },
    );
    const filter = h(
      'form',
      {
        class: 'row',
        role: 'search',
        onsubmit: (/** @type {Event} */ e) => {
          e.preventDefault();
          replace(`/sandbox/crm${words.value ? `?${new URLSearchParams({ q: words.value })}` : ''}`);
          draw().catch(complain);
        },
      },
      words,
      h('button', null, 'Filter'),
    );
    put(
      out,
      h('div', { class: 'top' }, filter, h('div', { class: 'row' }, h('span', { class: 'quiet' }, counted(total, 'lead')), add)),
      total > LEADS && h('p', { class: 'notice' }, `The board shows the ${LEADS} newest of ${total} leads. Filter to see others.`),
      stages.length === 0 &&
        h(
          'div',
          { class: 'notice' },
          h('p', null, 'The pipeline has no stages yet.'),
          button(
            'Add the usual stages',
            async () => {
              await usualStages();
              await draw();
            },
            { class: 'primary' },
          ),
        ),
      columns.length > 0 && h('div', { class: 'board', tabindex: '0', role: 'region', 'aria-label': 'Pipeline' }, columns.map(column)),
    );
  }
  await draw();
  return [told, out];
}
