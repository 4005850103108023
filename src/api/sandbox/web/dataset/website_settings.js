// @ts-check
// The dialogs of a website: what is crawled, and when.

import { call, post } from '../lib/api.js';
import { button, field, form, select } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { counted } from '../lib/format.js';
import { complain, dialog, failure } from '../lib/messages.js';

/** Settings that a form shows; the others keep what they have. */
/** @type {[string, string, 'number' | 'list' | 'flag' | 'text', string?][]} */
const FIELDS = [
  ['maxPages', 'Max pages', 'number'],
  ['maxDepth', 'Max depth', 'number'],
  ['requestsPerSecond', 'Requests per second', 'number'],
  ['urlPathFilter', 'Path prefix', 'text', 'leave blank for the whole site'],
  ['include', 'Include', 'list', 'comma-separated patterns: /docs/**'],
  ['exclude', 'Exclude', 'list', 'comma-separated patterns'],
  ['files', 'Index PDF and Office files', 'flag'],
  ['sitemaps', 'Use sitemaps', 'flag'],
  ['removeVanished', 'Delete documents of missing pages', 'flag'],
  ['render', 'Render with a browser', 'flag'],
];

const SCHEDULES = ['manual', 'weekly', 'monthly', 'cron'];

/** The input of a setting. @param {string} kind @param {string} name @param {any} value */
function inputOf(kind, name, value) {
  if (kind === 'flag') {
    return h('input', { type: 'checkbox', checked: value ?? ['sitemaps', 'removeVanished'].includes(name) });
  }
  const text = kind === 'list' ? (value ?? []).join(', ') : (value ?? '');
  return h('input', { type: kind === 'number' ? 'number' : 'text', step: 'any', value: text });
}

/**
 * The settings that the inputs hold.
 * @param {Record<string, HTMLInputElement>} inputs by setting
 * @param {any} now the present settings, which keep what has no input
 */
function settingsOf(inputs, now) {
  const settings = { ...now };
  for (const [name, , kind] of FIELDS) {
    const input = inputs[name];
    if (kind === 'flag') settings[name] = input.checked;
    else if (kind === 'list')
      settings[name] = input.value
        .split(',')
        .map((p) => p.trim())
        .filter(Boolean);
    else if (input.value !== '') settings[name] = kind === 'number' ? Number(input.value) : input.value;
    else delete settings[name];
  }
  return settings;
}

/**
 * Fills the path prefix with the folder of the start URL: whoever names https://example.com/docs/ means the documentation. Stops
 * when the prefix is written by hand.
 * @param {HTMLInputElement} start
 * @param {HTMLInputElement} prefix
 */
function suggestPrefix(start, prefix) {
  let own = false;
  prefix.addEventListener('input', () => {
    own = true;
  });
  start.addEventListener('input', () => {
    if (own) return;
    const path = URL.canParse(start.value) ? new URL(start.value).pathname : '/';
    const folder = path.slice(0, path.lastIndexOf('/') + 1);
    prefix.value = folder === '/' ? '' : folder;
  });
}

/**
 * What a crawl would find with the present settings, with buttons that include the folders that are left out.
 * @param {any} found
 * @param {(folder: string) => void} include
 */
function scopeOf(found, include) {
  const without = found.isPartial
    ? 'linked from its start page; its sitemaps could not all be read in time'
    : 'linked from its start page; it has no sitemap, so there may be many more';
  const where = found.hasSitemap ? 'in its sitemap and on its start page' : without;
  const number = counted(found.inside, 'address', 'addresses');
  return h(
    'div',
    { class: 'notice good' },
    h('p', null, h('strong', null, `${found.isPartial ? 'At least' : 'About'} ${number}`), ` to crawl, ${where}.`),
    (found.outside.length > 0 || found.excluded > 0) && h('p', null, 'Excluded:'),
    found.outside.map((/** @type {any} */ { folder, addresses }) =>
      h(
        'p',
        { class: 'row' },
        h('span', null, `${counted(addresses, 'address', 'addresses')} under `, h('code', null, folder)),
        // The pattern of the root would be the whole site.
        folder !== '/' &&
          h('button', { type: 'button', class: 'small', 'aria-label': `Include ${folder}`, onclick: () => include(folder) }, 'Include'),
      ),
    ),
    found.excluded > 0 && h('p', null, `${counted(found.excluded, 'address', 'addresses')} by the exclude patterns`),
  );
}

/**
 * A button that shows what a crawl would find, and where it is shown.
 * @param {string} sites path of the websites in the API
 * @param {Record<string, HTMLInputElement>} inputs by setting
 * @param {HTMLInputElement} start
 * @param {any} now the present settings
 */
function scopePreview(sites, inputs, start, now) {
  const out = h('div', { 'aria-live': 'polite' });
  const include = (/** @type {string} */ folder) => {
    const { urlPathFilter: prefix, include: patterns } = inputs;
    const given = patterns.value.trim();
    // Where there are patterns, they are below the prefix.
    const before = given || (prefix.value && `${prefix.value.replace(/\/?$/, '/')}**`);
    const all = [before, `${folder}**`];
    patterns.value = all.filter(Boolean).join(', ');
    prefix.value = '';
    show().catch(complain);
  };
  const show = async () => {
    if (!start.reportValidity()) return;
    put(out, h('p', { class: 'quiet' }, 'Reading the start page and sitemaps…'));
    try {
      const found = await post(`${sites}/scope`, settingsOf(inputs, { ...now, startUrl: start.value }));
      put(out, scopeOf(found, include));
    } catch (error) {
      put(out, failure(error));
    }
  };
  return [h('p', null, button('Preview scope', show)), out];
}

/**
 * Asks for the settings of a website and stores them; resolves to the website, or to nothing if the dialog is closed.
 * @param {string} sites path of the websites in the API
 * @param {any} site null to add one
 */
export function editWebsite(sites, site) {
  const now = site?.settings ?? {};
  const start = h('input', {
    type: 'url',
    required: true,
    value: now.startUrl ?? '',
    placeholder: 'https://example.com/docs/',
    readonly: Boolean(site),
  });
  const inputs = Object.fromEntries(FIELDS.map(([name, , kind]) => [name, inputOf(kind, name, now[name])]));
  if (!site) suggestPrefix(start, inputs.urlPathFilter);
  const save = () => call('PUT', sites, settingsOf(inputs, { ...now, startUrl: start.value }));
  return dialog(site ? 'Website settings' : 'Add a website', (close) =>
    form(
      async () => close(await save()),
      field('Start URL', start),
      h(
        'div',
        { class: 'fields' },
        FIELDS.map(([name, label, kind, hint]) =>
          kind === 'flag' ? h('p', null, h('label', { class: 'check' }, inputs[name], label)) : field(label, inputs[name], hint),
        ),
      ),
      scopePreview(sites, inputs, start, now),
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Save')),
    ),
  );
}

/**
 * Asks for the schedule of a website and stores it; resolves to whether it was stored.
 * @param {string} sites path of the websites in the API
 * @param {any} site
 */
export async function scheduleWebsite(sites, site) {
  const kind = select(
    SCHEDULES.map((s) => [s, s]),
    site.schedule,
  );
  const cron = h('input', { value: site.cron ?? '', placeholder: '30 4 * * 1' });
  const read = () => ({ schedule: kind.value, cron: kind.value === 'cron' ? cron.value : undefined });
  const wanted = await dialog('Schedule', (close) => [
    field('Frequency', kind),
    field('Cron expression (UTC)', cron, 'used only when Frequency is “cron”: minute hour day month weekday'),
    h('p', { class: 'row end' }, h('button', { type: 'button', class: 'primary', onclick: () => close(read()) }, 'Save')),
  ]);
  if (!wanted) return false;
  if (wanted.schedule === 'manual') await call('DELETE', `${sites}/${site.id}/schedule`);
  else await call('PUT', `${sites}/${site.id}/schedule`, wanted);
  return true;
}
