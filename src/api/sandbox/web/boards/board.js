// @ts-check
// A board: a column per status, a card per task, the pending approvals, the agents, and the chat. Changes are shown as they happen.

import { call, calmly, get, post, stream } from '../lib/api.js';
import { button, field, form, select } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { badge, counted } from '../lib/format.js';
import { complain, dialog, toast } from '../lib/messages.js';
import { API, STATUSES, address, agentsOf, approvalCard, when } from './shared.js';

/** Tasks of a column. */
const TASKS = 100;
/** Messages of the chat. */
const MESSAGES = 50;

/** Asks for a new task; true when it was added. @param {string} id @param {any[]} agents */
function newTask(id, agents) {
  const title = h('input', { type: 'text', required: true, maxlength: 300 });
  const description = h('textarea', { rows: 5 });
  const priority = select(
    [
      ['low', 'Low'],
      ['medium', 'Medium'],
      ['high', 'High'],
    ],
    'medium',
  );
  const assignee = select([['', 'Nobody'], ...agents.map((a) => /** @type {[string, string]} */ ([a.id, a.name]))], '');
  return dialog('New task', (close) =>
    form(
      async () => {
        await post(`${API}/boards/${id}/tasks`, {
          title: title.value,
          description: description.value || null,
          priority: priority.value,
          assigned_agent_id: assignee.value || null,
        });
        close(true);
      },
      field('Title', title),
      field('Description', description),
      field('Priority', priority),
      field('Assigned to', assignee),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Add task')),
    ),
  );
}

/** @param {import('../app.js').Context} context @param {string} id */
export async function board({ signal, title }, id) {
  const at = `${API}/boards/${id}`;
  const known = await get(at, signal);
  title(known.name);
  const columns = h('div', { class: 'board', tabindex: '0', role: 'region', 'aria-label': `Tasks of ${known.name}` });
  const waiting = h('section', { 'aria-label': 'Approvals' });
  const team = h('section', { class: 'card', 'aria-label': 'Agents' });
  const talk = h('div', { class: 'events', tabindex: '0', role: 'log', 'aria-label': 'Chat of the board' });
  /** What a screen reader hears after a move. */
  const told = h('p', { class: 'unseen', role: 'status' });
  /** @type {any[]} */
  let agents = [];

  const focus = (/** @type {string} */ taskId) =>
    /** @type {HTMLElement | null} */ (columns.querySelector(`[data-task="${taskId}"] select`))?.focus();

  async function drawTasks() {
    const lists = await Promise.all(STATUSES.map(([status]) => get(`${at}/tasks?status=${status}&limit=${TASKS}`, signal)));
    const names = new Map(agents.map((a) => [a.id, a.name]));
    const tasks = lists.flatMap((list) => list.items);

    const move = async (/** @type {any} */ task, /** @type {string} */ status) => {
      if (task.status === status) return;
      const moved = await call('PATCH', `${at}/tasks/${task.id}`, { status }, signal);
      const name = STATUSES.find(([s]) => s === moved.status)?.[1];
      await drawTasks();
      put(told, `${task.title} is in ${name} now.`);
      toast(moved.status === status ? `${task.title} is in ${name} now.` : `${task.title} waits for other tasks and is in ${name}.`);
      focus(task.id);
    };

    const card = (/** @type {any} */ task) =>
      h(
        'article',
        {
          class: 'card lead',
          draggable: 'true',
          'data-task': task.id,
          ondragstart: (/** @type {DragEvent} */ e) => e.dataTransfer?.setData('text/plain', task.id),
        },
        h('h3', null, h('a', { href: address(id, task.id), draggable: 'false' }, task.title)),
        h(
          'p',
          { class: 'row' },
          task.priority !== 'medium' && badge(task.priority),
          task.is_blocked && badge('blocked'),
          task.tags.map((/** @type {any} */ tag) => badge(tag.name)),
          task.assigned_agent_id && h('span', { class: 'quiet' }, names.get(task.assigned_agent_id) ?? 'an agent'),
        ),
        h(
          'label',
          { class: 'check' },
          h('span', { class: 'unseen' }, `Status of ${task.title}`),
          select(STATUSES, task.status, (status) =>
            move(task, status).catch((error) => {
              complain(error);
              drawTasks().catch(complain);
            }),
          ),
        ),
      );

    // What others do must not take the focus from the choice of a card.
    const focused = columns.contains(document.activeElement) && document.activeElement?.closest('[data-task]')?.getAttribute('data-task');
    put(
      columns,
      STATUSES.map(([status, name], at) => {
        const { items, total } = lists[at];
        const element = h(
          'section',
          {
            class: 'column',
            'aria-label': `${name}, ${counted(total, 'task')}`,
            ondragover: (/** @type {DragEvent} */ e) => {
              e.preventDefault();
              element.classList.add('over');
            },
            ondragleave: () => element.classList.remove('over'),
            ondrop: (/** @type {DragEvent} */ e) => {
              e.preventDefault();
              element.classList.remove('over');
              const task = tasks.find((t) => t.id === e.dataTransfer?.getData('text/plain'));
              if (task) move(task, status).catch(complain);
            },
          },
          h('h2', null, name, ' ', h('small', null, String(total))),
          items.length ? items.map(card) : h('p', { class: 'quiet' }, 'No tasks.'),
          total > items.length && h('p', { class: 'quiet' }, `The ${items.length} newest of ${total}.`),
        );
        return element;
      }),
    );
    if (focused) focus(focused);
  }

  async function drawApprovals() {
    const { items, total } = await get(`${at}/approvals?status=pending&limit=20`, signal);
    put(
      waiting,
      total > 0 && [
        h('h2', null, `Pending approvals `, h('small', null, String(total))),
        h(
          'div',
          { class: 'cards' },
          items.map((/** @type {any} */ a) => approvalCard(a, drawApprovals)),
        ),
      ],
    );
  }

  async function drawAgents() {
    agents = await agentsOf(signal, id);
    put(
      team,
      h('h2', null, 'Agents'),
      agents.length === 0
        ? h('p', { class: 'quiet' }, 'No agents yet.')
        : h(
            'dl',
            { class: 'facts' },
            agents.map((a) => [
              h('dt', null, a.name, a.is_board_lead && ' (lead)'),
              h('dd', null, badge(a.status), ' ', a.last_seen_at ? ['seen ', when(a.last_seen_at)] : 'never seen'),
            ]),
          ),
    );
  }

  async function drawChat() {
    const { items } = await get(`${at}/memory?is_chat=true&limit=${MESSAGES}`, signal);
    put(
      talk,
      items.length === 0
        ? h('p', { class: 'quiet' }, 'No messages yet.')
        : [...items]
            .reverse()
            .map((/** @type {any} */ m) =>
              h('p', null, h('strong', null, m.source), ' ', h('span', { class: 'quiet' }, when(m.created_at)), h('br'), m.content),
            ),
    );
    talk.scrollTop = talk.scrollHeight;
  }

  const words = h('input', {
    type: 'text',
    required: true,
    'aria-label': 'Message to the board',
    placeholder: 'Message; @name mentions an agent',
  });
  const say = form(
    async () => {
      await post(`${at}/memory`, { content: words.value, tags: ['chat'] });
      words.value = '';
      await drawChat();
    },
    h('div', { class: 'row' }, words, h('button', null, 'Send')),
  );

  await drawAgents();
  await Promise.all([drawTasks(), drawApprovals(), drawChat()]);
  for (const [path, name, draw] of /** @type {[string, string, () => Promise<void>][]} */ ([
    [`${at}/tasks/stream`, 'task', drawTasks],
    [`${at}/approvals/stream`, 'approval', drawApprovals],
    [`${at}/memory/stream?is_chat=true`, 'memory', drawChat],
  ]))
    stream(
      path,
      name,
      signal,
      calmly(() => draw().catch(complain), 250),
    );
  return [
    told,
    h('p', null, h('a', { href: '/sandbox/boards' }, '← Boards')),
    h(
      'div',
      { class: 'top' },
      h('h1', null, known.name),
      button('New task', async () => (await newTask(id, agents)) && drawTasks(), { class: 'primary' }),
    ),
    h('p', null, known.description),
    known.objective && h('p', null, h('strong', null, 'Goal: '), known.objective),
    waiting,
    columns,
    h('div', { class: 'split lead' }, team, h('section', { class: 'card', 'aria-label': 'Chat' }, h('h2', null, 'Chat'), talk, say)),
  ];
}
