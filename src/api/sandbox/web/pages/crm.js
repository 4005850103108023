// @ts-check
// The CRM: the pipeline as a board, leads, campaigns of mails, overdue leads, feedback of agents.

import { board } from '../crm/board.js';
import { campaigns, queue } from '../crm/campaigns.js';
import { leadPage } from '../crm/lead.js';
import { feedback, stalled } from '../crm/lists.js';
import { h } from '../lib/dom.js';

/** @type {Record<string, {title: string, load: (context: import('../app.js').Context) => Promise<any>}>} */
const TABS = {
  pipeline: { title: 'Pipeline', load: board },
  campaigns: { title: 'Campaigns', load: campaigns },
  stalled: { title: 'Overdue', load: stalled },
  feedback: { title: 'Feedback', load: feedback },
};

/** @param {import('../app.js').Context} context */
export async function page(context) {
  const [what, id] = context.path;
  if (what === 'leads' && id) return leadPage(context, id);
  if (what === 'campaigns' && id) return queue(context, id);
  const asked = context.query.get('tab') ?? '';
  const tab = TABS[asked] ? asked : 'pipeline';
  return [
    h('h1', null, 'CRM'),
    h(
      'nav',
      { class: 'tabs', 'aria-label': 'CRM' },
      Object.entries(TABS).map(([name, t]) =>
        h(
          'a',
          { href: name === 'pipeline' ? '/sandbox/crm' : `/sandbox/crm?tab=${name}`, 'aria-current': name === tab ? 'page' : null },
          t.title,
        ),
      ),
    ),
    await TABS[tab].load(context),
  ];
}
