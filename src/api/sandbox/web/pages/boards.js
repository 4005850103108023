// @ts-check
// Boards of people and agents: the boards, one board with its columns, a task, the queue of approvals, agents with their state.

import { agents } from '../boards/agents.js';
import { approvals } from '../boards/approvals.js';
import { board } from '../boards/board.js';
import { boards } from '../boards/list.js';
import { taskPage } from '../boards/task.js';
import { h } from '../lib/dom.js';

/** @type {Record<string, {title: string, load: (context: import('../app.js').Context) => Promise<any>}>} */
const TABS = {
  boards: { title: 'Boards', load: boards },
  approvals: { title: 'Approvals', load: approvals },
  agents: { title: 'Agents', load: agents },
};

/** @param {import('../app.js').Context} context */
export async function page(context) {
  const [id, what, task] = context.path;
  if (id && what === 'tasks' && task) return taskPage(context, id, task);
  if (id) return board(context, id);
  const asked = context.query.get('tab') ?? '';
  const tab = TABS[asked] ? asked : 'boards';
  return [
    h('h1', null, 'Boards'),
    h(
      'nav',
      { class: 'tabs', 'aria-label': 'Boards' },
      Object.entries(TABS).map(([name, t]) =>
        h(
          'a',
          { href: name === 'boards' ? '/sandbox/boards' : `/sandbox/boards?tab=${name}`, 'aria-current': name === tab ? 'page' : null },
          t.title,
        ),
      ),
    ),
    await TABS[tab].load(context),
  ];
}
