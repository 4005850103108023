// @ts-check
// Campaigns with their progress and spending, and one campaign.

import { call, calmly, get, post, stream } from '../lib/api.js';
import { button, field, form, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { counted } from '../lib/format.js';
import { complain, confirmed, dialog, toast } from '../lib/messages.js';
import { decides } from './approvals.js';
import { API, HEAD, address, plain, row, state, usd } from './shared.js';

/** What a campaign can ask for. */
const DELIVERABLES = [
  'blog_post',
  'social_post',
  'gbp_post',
  'ad_copy',
  'email_newsletter',
  'backlink',
  'website_audit',
  'performance_report',
];
/** Events after which lists are drawn again. */
const EVENTS = ['activity_started', 'activity_completed', 'activity_failed', 'approval_created', 'budget_alert'];

/** Draws again when the team is told something. @param {AbortSignal} signal @param {() => Promise<any>} draw */
export function follow(signal, draw) {
  const again = calmly(() => draw().catch(complain), 300);
  const source = new EventSource(`${API}/events/stream`);
  for (const event of EVENTS) source.addEventListener(event, () => !signal.aborted && again());
  signal.addEventListener('abort', () => source.close());
}

/** A share, with its figures as text. @param {number} part @param {number} whole @param {string} label */
const share = (part, whole, label) =>
  h(
    'div',
    { class: 'row' },
    h('progress', { max: Math.max(whole, 1), value: Math.min(part, whole), 'aria-label': label }),
    h('span', { class: 'quiet' }, label),
  );

/** Asks for a new campaign; its id. */
function newCampaign() {
  const name = h('input', { type: 'text', required: true, maxlength: 200 });
  const brief = h('textarea', { rows: 7, required: true });
  const kind = select(
    DELIVERABLES.map((d) => [d, plain(d)]),
    'blog_post',
  );
  const quantity = h('input', { type: 'number', min: 1, max: 100, value: 1, required: true });
  const budget = h('input', { type: 'number', min: 0, step: '0.01', placeholder: 'no cap' });
  return dialog('New campaign', (close) =>
    form(
      async () => {
        const made = await post(`${API}/campaigns`, {
          name: name.value,
          brief: brief.value,
          deliverables: [{ type: kind.value, quantity: Number(quantity.value) }],
          budgetCapUsd: budget.value === '' ? null : Number(budget.value),
        });
        close(made.id);
      },
      field('Name', name),
      field('Brief', brief, 'Goals, audience and tone. Agents read this.'),
      h('div', { class: 'fields' }, field('Deliverable', kind), field('Per month', quantity), field('Budget in dollars', budget)),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Create')),
    ),
  );
}

/** @param {import('../app.js').Context} context */
export async function campaigns({ signal, session, go }) {
  const out = h('div', { class: 'cards' });
  async function draw() {
    const { data } = await get(`${API}/campaigns?limit=100`, signal);
    put(
      out,
      data.length === 0
        ? h('p', { class: 'quiet' }, 'No campaigns yet.')
        : data.map((/** @type {any} */ c) =>
            h(
              'article',
              { class: 'card' },
              h('h3', null, h('a', { href: address('campaigns', c.id) }, c.name), ' ', state(c.status)),
              share(
                c.activityCount.done,
                c.activityCount.total,
                `${c.activityCount.done} of ${counted(c.activityCount.total, 'activity', 'activities')} done`,
              ),
              c.budgetCapUsd === null
                ? h('p', { class: 'quiet' }, `${usd(c.spentUsd)} spent`)
                : share(c.spentUsd, c.budgetCapUsd, `${usd(c.spentUsd)} of ${usd(c.budgetCapUsd)}`),
              c.pendingApprovals > 0 &&
                h('p', null, h('a', { href: '/sandbox/work?tab=approvals' }, `${counted(c.pendingApprovals, 'approval')} pending`)),
            ),
          ),
    );
  }
  await draw();
  follow(signal, draw);
  return [
    decides(session) &&
      h(
        'p',
        { class: 'row' },
        button(
          'New campaign',
          async () => {
            const id = await newCampaign();
            if (id) go(address('campaigns', id));
          },
          { class: 'primary' },
        ),
      ),
    out,
  ];
}

/** @param {import('../app.js').Context} context @param {string} id */
export async function campaign({ signal, session, title, go }, id) {
  const at = `${API}/campaigns/${id}`;
  const out = h('div');
  async function draw() {
    const [c, { data }] = await Promise.all([get(at, signal), get(`${API}/activities?filter.campaignId=${id}&limit=100`, signal)]);
    title(c.name);
    const change = (/** @type {string} */ status) => async () => {
      await call('PATCH', at, { status });
      toast(`${c.name} is ${status}.`);
      await draw();
    };
    put(
      out,
      h(
        'div',
        { class: 'top' },
        h('h1', null, c.name, ' ', state(c.status)),
        decides(session) &&
          h(
            'div',
            { class: 'row' },
            c.status === 'active' && button('Pause', change('paused')),
            c.status === 'paused' && button('Resume', change('active'), { class: 'primary' }),
            c.status !== 'archived' &&
              button(
                'Archive',
                async () => {
                  if (!(await confirmed(`Archive ${c.name}? Its activities stop.`, 'Archive'))) return;
                  await call('DELETE', at);
                  go('/sandbox/work');
                },
                { class: 'danger' },
              ),
          ),
      ),
      h('p', { class: 'pre' }, c.brief),
      h(
        'dl',
        { class: 'facts' },
        h('dt', null, 'Spent'),
        h('dd', null, usd(c.spentUsd), c.budgetCapUsd !== null && ` of ${usd(c.budgetCapUsd)}`),
        h('dt', null, 'From'),
        h('dd', null, c.startDate, c.endDate && ` to ${c.endDate}`),
        h('dt', null, 'Created by'),
        h('dd', null, c.createdBy.name),
      ),
      h('h2', null, 'Deliverables'),
      h(
        'div',
        { class: 'cards' },
        c.deliverables.map((/** @type {any} */ d) =>
          h(
            'article',
            { class: 'card' },
            h('h3', null, plain(d.type)),
            d.currentPeriod
              ? [
                  share(
                    d.currentPeriod.completed,
                    d.currentPeriod.target,
                    `${d.currentPeriod.completed} of ${d.currentPeriod.target} done`,
                  ),
                  h('p', { class: 'quiet' }, state(d.currentPeriod.status), ` until ${d.currentPeriod.periodEnd}`),
                ]
              : h('p', { class: 'quiet' }, `${d.quantity} per month`),
            d.platforms.length > 0 && h('p', { class: 'quiet' }, d.platforms.map((/** @type {any} */ p) => p.name).join(', ')),
          ),
        ),
      ),
      h('h2', null, 'Activities'),
      table('Activities', HEAD, data.map(row), 'No activities yet.'),
      c.costByAgent.length > 0 && [
        h('h2', null, 'Costs'),
        table(
          'Costs by agent',
          ['Agent', 'Cost'],
          c.costByAgent.map((/** @type {any} */ a) => [a.agentRole, usd(a.costUsd)]),
        ),
      ],
    );
  }
  await draw();
  follow(signal, draw);
  return [h('p', null, h('a', { href: '/sandbox/work' }, '← Campaigns')), out];
}

/** All activities, the newest first. @param {import('../app.js').Context} context */
export async function activities({ signal, query, go }) {
  const out = h('div');
  const asked = query.get('status') ?? '';
  const choice = select(
    [
      ['', 'all'],
      ...['assigned', 'in_progress', 'awaiting_approval', 'blocked', 'done', 'failed'].map(
        (s) => /** @type {[string, string]} */ ([s, plain(s)]),
      ),
    ],
    asked,
    (status) => go(`/sandbox/work?tab=activities${status && `&status=${status}`}`),
  );
  async function draw() {
    const { data } = await get(`${API}/activities?limit=100${asked && `&filter.status=${asked}`}`, signal);
    put(out, table('Activities', HEAD, data.map(row), 'No activities.'));
  }
  await draw();
  follow(signal, draw);
  return [h('p', { class: 'row' }, h('label', { class: 'check' }, 'Status ', choice)), out];
}
