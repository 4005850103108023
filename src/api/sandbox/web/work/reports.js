// @ts-check
// Performance reports: each opens as a page that can be printed.

import { get } from '../lib/api.js';
import { table } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { ago } from '../lib/format.js';
import { API, address, plain, state } from './shared.js';

/** @param {import('../app.js').Context} context */
export async function reports({ signal }) {
  const { data } = await get(`${API}/reports?limit=100`, signal);
  if (data.length === 0) return h('p', { class: 'quiet' }, 'No reports yet. The report writer agent creates them.');
  return table(
    'Reports',
    ['Report', 'Type', 'Status', 'Period', 'Campaign', 'Created', 'File'],
    data.map((/** @type {any} */ r) => [
      h('a', { href: `${API}/reports/${r.id}/page`, target: '_blank', rel: 'noopener' }, r.title),
      plain(r.type),
      state(r.status),
      `${r.periodStart} to ${r.periodEnd}`,
      r.campaignId ? h('a', { href: address('campaigns', r.campaignId) }, 'Campaign') : '–',
      ago(r.createdOn),
      h('a', { href: `${API}/reports/${r.id}/pdf`, target: '_blank', rel: 'noopener', 'aria-label': `${r.title} as PDF` }, 'PDF'),
    ]),
  );
}
