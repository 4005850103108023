// @ts-check
// The work of a marketing team of people and agents: campaigns, activities with the agent at work, approvals, reports, chat.

import { h } from '../lib/dom.js';
import { activity } from '../work/activity.js';
import { approvals } from '../work/approvals.js';
import { activities, campaign, campaigns } from '../work/campaigns.js';
import { chat } from '../work/chat.js';
import { reports } from '../work/reports.js';

/** @type {Record<string, {title: string, load: (context: import('../app.js').Context) => Promise<any>}>} */
const TABS = {
  campaigns: { title: 'Campaigns', load: campaigns },
  activities: { title: 'Activities', load: activities },
  approvals: { title: 'Approvals', load: approvals },
  reports: { title: 'Reports', load: reports },
  chat: { title: 'Chat', load: chat },
};

/** @param {import('../app.js').Context} context */
export async function page(context) {
  const [kind, id] = context.path;
  if (kind === 'campaigns' && id) return campaign(context, id);
  if (kind === 'activities' && id) return activity(context, id);
  const asked = context.query.get('tab') ?? '';
  const tab = TABS[asked] ? asked : 'campaigns';
  return [
    h('h1', null, 'Work'),
    h(
      'nav',
      { class: 'tabs', 'aria-label': 'Work' },
      Object.entries(TABS).map(([name, t]) =>
        h(
          'a',
          { href: name === 'campaigns' ? '/sandbox/work' : `/sandbox/work?tab=${name}`, 'aria-current': name === tab ? 'page' : null },
          t.title,
        ),
      ),
    ),
    await TABS[tab].load(context),
  ];
}
