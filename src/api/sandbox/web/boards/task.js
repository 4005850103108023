// @ts-check
// A task: its fields, what it waits for, its approvals, and the comments of people and agents.

import { call, calmly, get, post, stream } from '../lib/api.js';
import { button, field, form, select } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { badge } from '../lib/format.js';
import { complain, confirmed, toast } from '../lib/messages.js';
import { API, STATUSES, address, agentsOf, approvalCard, when } from './shared.js';

/** @param {import('../app.js').Context} context @param {string} id @param {string} taskId */
export async function taskPage({ signal, title, go }, id, taskId) {
  const at = `${API}/boards/${id}`;
  const out = h('div');
  const said = h('div', { class: 'events', role: 'log', tabindex: '0', 'aria-label': 'Comments' });
  const [board, agents] = await Promise.all([get(at, signal), agentsOf(signal, id)]);
  const names = new Map(agents.map((/** @type {any} */ a) => [a.id, a.name]));

  async function drawComments() {
    const { items } = await get(`${at}/tasks/${taskId}/comments`, signal);
    put(
      said,
      items.length === 0
        ? h('p', { class: 'quiet' }, 'No comments yet.')
        : items.map((/** @type {any} */ c) =>
            h(
              'p',
              null,
              h('strong', null, c.agent_id ? (names.get(c.agent_id) ?? 'An agent') : 'A person'),
              ' ',
              h('span', { class: 'quiet' }, when(c.created_at)),
              h('br'),
              c.message,
            ),
          ),
    );
  }

  async function draw() {
    const [{ tasks }, { items }] = await Promise.all([get(`${at}/snapshot`, signal), get(`${at}/approvals`, signal)]);
    const task = tasks.find((/** @type {any} */ t) => t.id === taskId);
    if (!task) return put(out, h('h1', null, 'Task not found'), h('p', null, h('a', { href: address(id) }, 'Back to the board')));
    title(task.title);
    const titles = new Map(tasks.map((/** @type {any} */ t) => [t.id, t.title]));
    const own = items.filter((/** @type {any} */ a) => a.task_ids.includes(taskId));
    const change = (/** @type {any} */ patch) => async () => {
      await call('PATCH', `${at}/tasks/${taskId}`, patch());
      toast('Saved.');
      await draw();
    };
    const status = select(STATUSES, task.status, () =>
      change(() => ({ status: status.value }))().catch((error) => {
        complain(error);
        status.value = task.status;
      }),
    );
    const assignee = select(
      [['', 'Nobody'], ...agents.map((/** @type {any} */ a) => /** @type {[string, string]} */ ([a.id, a.name]))],
      task.assigned_agent_id ?? '',
      () => change(() => ({ assigned_agent_id: assignee.value || null }))().catch(complain),
    );
    const fields = [
      ['Priority', task.priority],
      ['Due', task.due_at && when(task.due_at)],
      ['Started', task.in_progress_at && when(task.in_progress_at)],
      ['Changed', when(task.updated_at)],
      ['Tags', task.tags.length > 0 && task.tags.map((/** @type {any} */ t) => [badge(t.name), ' '])],
      [
        'Waits for',
        task.blocked_by_task_ids.length > 0 &&
          task.blocked_by_task_ids.map((/** @type {string} */ other) =>
            h('div', null, h('a', { href: address(id, other) }, titles.get(other) ?? 'another task')),
          ),
      ],
    ].filter(([, value]) => value);
    return put(
      out,
      h(
        'div',
        { class: 'top' },
        h('h1', null, task.title, ' ', task.is_blocked && badge('blocked')),
        button(
          'Delete',
          async () => {
            if (!(await confirmed(`Delete ${task.title} with its comments?`, 'Delete task'))) return;
            await call('DELETE', `${at}/tasks/${taskId}`);
            go(address(id));
          },
          { class: 'danger' },
        ),
      ),
      task.description && h('p', { class: 'pre' }, task.description),
      h('div', { class: 'fields' }, field('Status', status), field('Assigned to', assignee)),
      h(
        'dl',
        { class: 'facts' },
        fields.map(([name, value]) => [h('dt', null, name), h('dd', null, value)]),
      ),
      own.length > 0 && [
        h('h2', null, 'Approvals'),
        h(
          'div',
          { class: 'cards' },
          own.map((/** @type {any} */ a) => approvalCard(a, draw)),
        ),
      ],
    );
  }

  const words = h('textarea', { rows: 3, required: true });
  const write = form(
    async () => {
      await post(`${at}/tasks/${taskId}/comments`, { message: words.value });
      words.value = '';
      await drawComments();
    },
    field('Comment', words, 'Use @name to mention an agent, or @lead for the lead agent of the board.'),
    h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Comment')),
  );

  await Promise.all([draw(), drawComments()]);
  const again = calmly(() => Promise.all([draw(), drawComments()]).catch(complain), 250);
  stream(`${at}/tasks/stream`, 'task', signal, (event) => {
    if ((event.task?.id ?? event.comment?.task_id) === taskId) again();
  });
  stream(`${at}/approvals/stream`, 'approval', signal, again);
  return [h('p', null, h('a', { href: address(id) }, `← ${board.name}`)), out, h('h2', null, 'Comments'), said, write];
}
