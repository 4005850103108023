// @ts-check
// The dialog of a source: what it is, and where.

import { call, post } from '../lib/api.js';
import { field, form, select } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { dialog } from '../lib/messages.js';

/**
 * @typedef {object} Setting
 * @property {string} name
 * @property {string} label
 * @property {'text' | 'list' | 'flag' | 'secret' | 'number' | 'choice'} kind
 * @property {string} [hint]
 * @property {boolean} [required]
 * @property {boolean} [on] whether a flag is set at first
 * @property {[string, string][]} [options] values of a choice with their names, the default first
 */

/** @type {Record<string, {title: string, settings: Setting[]}>} */
const KINDS = {
  folder: {
    title: 'Folder on the server',
    settings: [
      { name: 'path', label: 'Folder', kind: 'text', hint: 'inside a folder that the setting source_folders lists', required: true },
      { name: 'include', label: 'Include', kind: 'list', hint: 'comma-separated patterns: **/*.md' },
      { name: 'exclude', label: 'Exclude', kind: 'list', hint: 'comma-separated patterns' },
      { name: 'watch', label: 'Sync when a file changes', kind: 'flag', on: true },
    ],
  },
  s3: {
    title: 'Bucket (S3)',
    settings: [
      { name: 'bucket', label: 'Bucket', kind: 'text', required: true },
      { name: 'prefix', label: 'Prefix', kind: 'text', hint: 'leave blank for the whole bucket' },
      { name: 'region', label: 'Region', kind: 'text', hint: 'us-east-1 if blank' },
      { name: 'endpoint', label: 'Endpoint', kind: 'text', hint: 'of a compatible store; AWS if blank' },
      { name: 'accessKeyId', label: 'Access key ID', kind: 'text', hint: 'blank for a public bucket' },
      { name: 'secret', label: 'Secret access key', kind: 'secret', hint: 'stored encrypted, never shown again' },
    ],
  },
  feed: {
    title: 'RSS, Atom or JSON feed',
    settings: [
      { name: 'url', label: 'Feed URL', kind: 'text', hint: 'https://blog.example.com/feed.xml', required: true },
      { name: 'articles', label: 'Fetch the linked articles', kind: 'flag', on: true },
    ],
  },
  git: {
    title: 'Git repository',
    settings: [
      { name: 'url', label: 'Repository URL', kind: 'text', hint: 'https://github.com/owner/name', required: true },
      { name: 'branch', label: 'Branch', kind: 'text', hint: 'the default branch if blank' },
      { name: 'include', label: 'Include', kind: 'list', hint: 'comma-separated patterns: docs/**/*.md' },
      { name: 'exclude', label: 'Exclude', kind: 'list', hint: 'comma-separated patterns' },
      { name: 'user', label: 'User', kind: 'text', hint: 'of a private repository; git if blank' },
      { name: 'secret', label: 'Access token', kind: 'secret', hint: 'stored encrypted, never shown again' },
      {
        name: 'pageUrl',
        label: 'File page URL',
        kind: 'text',
        hint: 'https://git.example.com/docs/{path}; known for GitHub, GitLab and Bitbucket',
      },
    ],
  },
  imap: {
    title: 'Mailbox (IMAP)',
    settings: [
      { name: 'host', label: 'Server', kind: 'text', hint: 'imap.example.com', required: true },
      { name: 'port', label: 'Port', kind: 'number', hint: '993 if blank; 143 without TLS' },
      {
        name: 'encryption',
        label: 'Encryption',
        kind: 'choice',
        options: [
          ['tls', 'TLS'],
          ['starttls', 'STARTTLS'],
          ['none', 'None'],
        ],
      },
      { name: 'user', label: 'User', kind: 'text', required: true },
      { name: 'secret', label: 'Password', kind: 'secret', hint: 'stored encrypted, never shown again' },
      { name: 'folder', label: 'Folder', kind: 'text', hint: 'INBOX if blank' },
      { name: 'days', label: 'Max age (days)', kind: 'number', hint: 'older email is skipped; leave blank for all' },
    ],
  },
};

/** The input of a setting. @param {Setting} setting @param {any} value */
function inputOf(setting, value) {
  if (setting.kind === 'flag') return h('input', { name: setting.name, type: 'checkbox', checked: value ?? setting.on });
  if (setting.options) {
    const input = select(setting.options, value ?? setting.options[0][0], () => {});
    input.name = setting.name;
    return input;
  }
  const type = { secret: 'password', number: 'number' }[String(setting.kind)] ?? 'text';
  const text = setting.kind === 'list' ? (value ?? []).join(', ') : (value ?? '');
  return h('input', { name: setting.name, type, value: text, required: setting.required, autocomplete: 'off' });
}

/** What an input holds. @param {Setting} setting @param {HTMLInputElement | HTMLSelectElement} input */
function valueOf(setting, input) {
  if (input instanceof HTMLInputElement && setting.kind === 'flag') return input.checked;
  if (setting.kind === 'number') return input.value ? Number(input.value) : undefined;
  if (setting.kind === 'list')
    return input.value
      .split(',')
      .map((part) => part.trim())
      .filter(Boolean);
  return input.value.trim() || undefined;
}

/**
 * Asks for a source, stores it, and syncs a new one; resolves to the source, or to nothing if the dialog is closed.
 * @param {string} base path of the sources in the API
 * @param {any} source null to add one
 */
export function editSource(base, source) {
  const now = source?.settings ?? {};
  const name = h('input', { name: 'name', value: source?.name ?? '', required: true, readonly: Boolean(source), placeholder: 'handbook' });
  const fields = h('div');
  /** @type {Record<string, HTMLInputElement | HTMLSelectElement>} */
  let inputs = {};
  const show = (/** @type {string} */ kind) => {
    const { settings } = KINDS[kind];
    inputs = Object.fromEntries(settings.map((s) => [s.name, inputOf(s, now[s.name])]));
    put(
      fields,
      settings.map((s) =>
        s.kind === 'flag' ? h('p', null, h('label', { class: 'check' }, inputs[s.name], s.label)) : field(s.label, inputs[s.name], s.hint),
      ),
    );
  };
  const options = Object.entries(KINDS).map(([kind, { title }]) => /** @type {[string, string]} */ ([kind, title]));
  const kind = select(options, now.kind ?? 'folder', show);
  kind.disabled = Boolean(source);
  show(kind.value);
  const save = async () => {
    /** @type {Record<string, any>} */
    const settings = { kind: kind.value };
    for (const setting of KINDS[kind.value].settings) {
      if (setting.kind !== 'secret') settings[setting.name] = valueOf(setting, inputs[setting.name]);
    }
    const secret = inputs.secret?.value || undefined;
    const saved = await call('PUT', base, { name: name.value, settings, secret });
    if (!source) await post(`${base}/${saved.id}/syncs`);
    return saved;
  };
  return dialog(source ? 'Source settings' : 'Add a source', (close) =>
    form(
      async () => close(await save()),
      field('Name', name),
      field('Kind', kind),
      fields,
      h('p', { class: 'row end' }, h('button', { class: 'primary' }, source ? 'Save' : 'Save and sync')),
    ),
  );
}
