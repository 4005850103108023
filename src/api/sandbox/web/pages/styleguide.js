// @ts-check
// The inventory of what pages are made of: colours with their contrasts, type, controls, and states.

import { button, field, form, select, table, tabs } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { ago, badge, bytes, counted } from '../lib/format.js';
import { icon } from '../lib/icon.js';
import { confirmed, dialog, failure, toast } from '../lib/messages.js';
import { skeleton } from '../lib/skeleton.js';

/** Colours of text with the surfaces that they stand on. @type {[string, string[]][]} */
const TEXTS = [
  ['ink', ['paper', 'card', 'sunk']],
  ['quiet', ['paper', 'card', 'sunk']],
  ['accent', ['paper', 'card', 'accent-soft']],
  ['accent-ink', ['accent']],
  ['good', ['card', 'good-soft']],
  ['bad', ['card', 'bad-soft']],
  ['busy', ['card', 'busy-soft']],
  ['changed', ['card']],
  ['mark-ink', ['mark']],
];

/** The channels of a colour as the browser computes it, 0 to 255. @param {string} name @returns {number[]} */
function channels(name) {
  const probe = h('i');
  document.body.append(probe);
  probe.style.color = `var(--${name})`;
  const text = getComputedStyle(probe).color;
  probe.remove();
  return (text.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
}

/** The relative luminance of a colour, WCAG 2.2. @param {number[]} rgb */
function luminance(rgb) {
  const [r, g, b] = rgb.map((channel) => {
    const c = channel / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** The contrast of two colours, 1 to 21. @param {string} one @param {string} other */
function contrast(one, other) {
  const [low, high] = [luminance(channels(one)), luminance(channels(other))].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

/** A text in a colour on a surface, with their contrast. @param {string} text @param {string} surface */
function sample(text, surface) {
  const element = h('p', { class: 'swatch', 'data-contrast': contrast(text, surface).toFixed(2) }, `${text} on ${surface}: `);
  element.append(h('strong', null, contrast(text, surface).toFixed(1)));
  element.style.color = `var(--${text})`;
  element.style.background = `var(--${surface})`;
  return element;
}

/** @param {string} title @param {...import('../lib/dom.js').Child} content */
const part = (title, ...content) => h('section', { class: 'card' }, h('h2', null, title), content);

/** @param {import('../app.js').Context} context */
export function page({ signal }) {
  const ask = () => dialog('A dialog', (close) => form(async () => close(true), field('Name', h('input', { required: true })), send()));
  const send = () => h('p', { class: 'row end' }, h('button', { class: 'primary' }, 'Save'));
  const now = new Date().toISOString();
  return [
    h('h1', null, 'Style guide'),
    h(
      'p',
      { class: 'quiet' },
      'What the pages are made of, in the theme that is chosen. Text has a contrast of at least 4.5 to what it stands on.',
    ),
    h(
      'div',
      { class: 'inventory' },
      part('Colours', ...TEXTS.flatMap(([text, surfaces]) => surfaces.map((surface) => sample(text, surface)))),
      part(
        'Type',
        h('h1', null, 'Heading of a page'),
        h('h2', null, 'Heading of a section'),
        h('h3', null, 'Heading of a part'),
        h(
          'p',
          null,
          'Text with ',
          h('strong', null, 'weight'),
          ', ',
          h('code', null, 'code'),
          ', ',
          h('mark', null, 'a match'),
          ' and ',
          h('a', { href: '/sandbox/styleguide' }, 'a link'),
          '.',
        ),
        h('p', { class: 'quiet' }, 'Quiet text. ', h('small', null, 'Small text.')),
        h('pre', { tabindex: '0' }, 'cairn search "tides" --dataset sea'),
      ),
      part(
        'Icons',
        h(
          'p',
          { class: 'row' },
          ['search', 'sources', 'webhooks', 'add', 'edit', 'enable', 'disable', 'repeat', 'delete', 'website', 'folder', 'git'].map(icon),
        ),
      ),
      part('Loading', skeleton()),
      part(
        'Buttons',
        h(
          'p',
          { class: 'row' },
          button('Primary', () => toast('Done.'), { class: 'primary' }),
          button('Default', () => toast('Done.')),
          button('Small', () => toast('Done.'), { class: 'small' }),
          button('Plain', () => toast('Done.'), { class: 'plain' }),
          button('Danger', () => confirmed('Nothing will be deleted.', 'Delete'), { class: 'danger' }),
          h('button', { type: 'button', disabled: true }, 'Disabled'),
        ),
        h(
          'p',
          { class: 'row' },
          button('Dialog', ask),
          button('Error', () => toast('It did not work.', 'bad')),
        ),
      ),
      part(
        'Fields',
        field('Text', h('input', { value: 'tides' }), 'a hint below'),
        field(
          'Choice',
          select(
            [
              ['a', 'One'],
              ['b', 'Another'],
            ],
            'a',
          ),
        ),
        h('p', null, h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: true }), 'A flag')),
        h(
          'div',
          { class: 'field slider' },
          h('label', { for: 'styleguide-slider' }, 'Slider'),
          h('input', { id: 'styleguide-slider', type: 'range' }),
        ),
      ),
      part(
        'States',
        h(
          'p',
          { class: 'row' },
          ['indexed', 'running', 'failed', 'disabled'].map((state) => badge(state)),
        ),
        h('p', null, h('progress', { max: 100, value: 40, 'aria-label': 'Progress: 40 %' })),
        h('p', null, h('meter', { min: 0, max: 100, value: 60, 'aria-label': 'Share: 60 %' }), ' 60 %'),
        h('p', { class: 'notice good' }, 'A notice about success.'),
        h('p', { class: 'notice' }, 'A notice.'),
        failure(new Error('the request failed for a reason')),
      ),
      part(
        'Tables',
        table(
          'A table',
          ['Name', 'Size', 'Changed'],
          [
            ['tides.md', bytes(12_345), ago(now)],
            ['moon.pdf', bytes(1_234_567), ago(now)],
          ],
        ),
        table('An empty table', ['Name'], [], 'Nothing here yet.'),
        h('p', { class: 'quiet' }, counted(2, 'file')),
      ),
      part(
        'Tabs',
        tabs(
          'Sample',
          [
            { name: 'one', title: 'First', body: () => h('p', null, 'The first panel.') },
            { name: 'two', title: 'Second', body: () => h('p', null, 'The second panel.') },
          ],
          'one',
          signal,
        ),
      ),
    ),
  ];
}
