// @ts-check
// An activity: what the agent writes and which tools it calls, live; its output, versions, runs and comments.

import { get, post } from '../lib/api.js';
import { button, field, form, select, table } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { ago, ms } from '../lib/format.js';
import { complain, toast } from '../lib/messages.js';
import { changes, decides } from './approvals.js';
import { API, HEAD, address, cited, place, plain, row, state, usd } from './shared.js';

/** Characters of the result of a tool that are shown at once. */
const RESULT = 600;

/** Shows the work of an agent as it happens. @param {string} id @param {AbortSignal} signal @param {() => any} ended */
function live(id, signal, ended) {
  const out = h('div', { class: 'events', role: 'log', tabindex: '0', 'aria-label': 'Work of the agent' });
  /** @type {any} */
  let said = null;
  const add = (/** @type {any} */ element) => {
    out.append(element);
    out.scrollTop = out.scrollHeight;
  };
  const source = new EventSource(`${API}/activities/${id}/stream`);
  const on = (/** @type {string} */ name, /** @type {(data: any) => void} */ work) =>
    source.addEventListener(name, (/** @type {any} */ e) => !signal.aborted && e.data && work(JSON.parse(e.data)));
  on('text_delta', ({ delta }) => {
    if (!said) {
      said = h('p', null);
      add(said);
    }
    said.append(delta);
  });
  on('tool_call', ({ name, input }) => {
    said = null;
    add(h('div', null, h('strong', null, plain(name)), ' ', h('code', null, JSON.stringify(input).slice(0, RESULT))));
  });
  on('tool_result', ({ name, output }) => {
    const text = JSON.stringify(output);
    add(
      h(
        'details',
        null,
        h('summary', null, output.error ? `${plain(name)}: ${output.error}` : `Result of ${plain(name)}`),
        h('pre', { tabindex: '0', role: 'region', 'aria-label': `Result of ${plain(name)}` }, text.slice(0, 20 * RESULT)),
      ),
    );
  });
  on('completed', ({ status }) => {
    source.close();
    add(h('p', null, state(status)));
    ended();
  });
  // A broken connection is an event without data, and made again by the browser.
  on('error', ({ error }) => {
    source.close();
    add(h('p', { class: 'notice bad' }, plain(error)));
    ended();
  });
  signal.addEventListener('abort', () => source.close());
  return out;
}

/** @param {import('../app.js').Context} context @param {string} id */
export async function activity({ signal, session, title }, id) {
  const at = `${API}/activities/${id}`;
  const out = h('div');
  const said = h('div', { class: 'events', role: 'log', tabindex: '0', 'aria-label': 'Comments' });
  const work = h('div');
  let shown = '';

  async function draw() {
    const a = await get(at, signal);
    title(a.title);
    const run = a.runs.at(-1);
    const output = a.outputRef ? await get(`${at}/output`, signal) : null;
    const before = a.revisions.at(-1);
    put(
      out,
      h(
        'div',
        { class: 'top' },
        h('h1', null, a.title, ' ', state(a.status)),
        a.status === 'failed' &&
          decides(session) &&
          button(
            'Retry',
            async () => {
              await post(`${at}/retry`);
              toast('Retried.');
              await draw();
            },
            { class: 'primary' },
          ),
      ),
      a.blockedReason && h('p', { class: 'notice' }, plain(a.blockedReason)),
      a.error && h('p', { class: 'notice bad' }, plain(a.error)),
      h(
        'dl',
        { class: 'facts' },
        h('dt', null, 'Agent'),
        h('dd', null, a.assignee.name),
        a.campaign && [h('dt', null, 'Campaign'), h('dd', null, h('a', { href: address('campaigns', a.campaign.id) }, a.campaign.name))],
        a.approval && [
          h('dt', null, 'Approval'),
          h('dd', null, h('a', { href: '/sandbox/work?tab=approvals' }, plain(a.approval.type)), ' ', state(a.approval.status)),
        ],
        h('dt', null, 'Created'),
        h('dd', null, ago(a.createdOn)),
      ),
      h('details', null, h('summary', null, 'Task'), h('p', { class: 'pre' }, a.inputPrompt)),
      output && [
        h('h2', null, 'Output'),
        h('div', { class: 'text', tabindex: '0', role: 'region', 'aria-label': 'Output' }, cited(output.text)),
        a.sources.length > 0 &&
          h(
            'p',
            { class: 'quiet' },
            'Sources: ',
            a.sources.map((/** @type {string} */ s, /** @type {number} */ i) => [
              i > 0 && ', ',
              h('a', { href: place(s) ?? '#', title: s }, String(i + 1)),
            ]),
          ),
      ],
      before &&
        output &&
        h('details', null, h('summary', null, `Changes since version ${a.revisions.length}`), changes(before.output, output.text)),
      a.publications.length > 0 && [
        h('h2', null, 'Publications'),
        table(
          'Publications',
          ['Channel', 'Outcome', 'When'],
          a.publications.map((/** @type {any} */ p) => [
            p.channelName,
            [
              p.url ? h('a', { href: p.url, rel: 'noopener' }, plain(p.status)) : state(p.status),
              p.reason && h('div', { class: 'quiet' }, p.reason),
            ],
            ago(p.at),
          ]),
        ),
      ],
      a.subtasks.length > 0 && [h('h2', null, 'Subtasks'), table('Subtasks', HEAD, a.subtasks.map(row))],
      a.runs.length > 0 && [
        h('h2', null, 'Runs'),
        table(
          'Runs',
          ['Status', 'Model', 'Tokens', 'Cost', 'Time', 'Error'],
          a.runs.map((/** @type {any} */ r) => [
            state(r.status),
            r.model ?? '–',
            `${r.inputTokens} + ${r.outputTokens}`,
            usd(r.costUsd),
            r.completedAt ? ms(r.durationMs) : '–',
            r.error ? plain(r.error) : '',
          ]),
        ),
      ],
    );
    // A new run has a stream of its own.
    const key = `${run?.id}`;
    if (run && key !== shown) {
      shown = key;
      put(
        work,
        h('h2', null, 'Work of the agent'),
        live(id, signal, () => setTimeout(() => !signal.aborted && draw().catch(complain), 300)),
      );
    }
  }

  async function drawComments() {
    const { data } = await get(`${at}/comments`, signal);
    put(
      said,
      data.length === 0
        ? h('p', { class: 'quiet' }, 'No comments yet.')
        : data.map((/** @type {any} */ c) =>
            h(
              'p',
              null,
              h('strong', null, c.author.name),
              ' ',
              c.type === 'intervention_note' && state('intervention'),
              ' ',
              h('span', { class: 'quiet' }, ago(c.createdOn)),
              h('br'),
              c.text,
            ),
          ),
    );
  }

  const words = h('textarea', { rows: 3, required: true });
  const kind = select(
    [
      ['comment', 'Comment'],
      ['intervention_note', 'Note to the working agent'],
    ],
    'comment',
  );
  const write = form(
    async () => {
      await post(`${at}/comments`, { text: words.value, type: kind.value });
      words.value = '';
      await drawComments();
    },
    field('Comment', words, 'Use @agent:role or @human:id to mention someone.'),
    field('Kind', kind),
    h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Send')),
  );

  await Promise.all([draw(), drawComments()]);
  return [
    h('p', null, h('a', { href: '/sandbox/work?tab=activities' }, '← Activities')),
    out,
    work,
    h('h2', null, 'Comments'),
    said,
    write,
  ];
}
