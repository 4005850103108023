// @ts-check
// The sandbox: one query, up to four lanes of settings side by side, with every score explained.
//
// A lane requests its hits and all candidates with their raw scores. Moving a slider blends the candidates again in the page, without a
// request; the next search uses the new values. The parts of the page are in `search/`.

import { datasets as load } from '../lib/api.js';
import { button } from '../lib/controls.js';
import { h, put } from '../lib/dom.js';
import { counted } from '../lib/format.js';
import { complain } from '../lib/messages.js';
import { answerOf } from '../search/answer.js';
import { download } from '../search/export.js';
import { labelling } from '../search/labels.js';
import { build, drawLanes, overlaps } from '../search/lanes.js';
import { searching } from '../search/requests.js';
import { shortcuts } from '../search/shortcuts.js';
import { readAddress, writeAddress } from '../search/state.js';

/** @param {string} text */
function queryInput(text) {
  const input = h('input', {
    type: 'search',
    placeholder: 'Enter a query',
    'aria-label': 'Query',
    value: text,
    autofocus: true,
    onkeydown: (/** @type {KeyboardEvent} */ e) => {
      if (e.key !== 'Escape') return;
      e.preventDefault();
      input.blur();
    },
  });
  return input;
}

/** What the colours of the bars mean. */
function legend() {
  const colours = [
    ['vector', 'semantic'],
    ['keyword', 'keyword'],
    ['i-final', 'score'],
    ['i-least', 'threshold'],
  ];
  return colours.map(([name, meaning]) => h('span', null, h('i', { class: name }), meaning));
}

/** Options of the page. @param {boolean} grouped @param {(wanted: boolean) => void} group @param {HTMLElement} setInput */
function options(grouped, group, setInput) {
  const change = (/** @type {any} */ e) => group(e.target.checked);
  const box = h('input', { type: 'checkbox', checked: grouped, onchange: change });
  return h(
    'div',
    { class: 'row options' },
    h('label', { class: 'check' }, box, 'Group by document'),
    h('label', { class: 'check' }, 'Save labels to ', setInput),
    h('a', { class: 'button', href: '/sandbox/evaluate' }, 'Evaluation'),
  );
}

/** What was wrong with the URL. @param {number} unreadable lanes that were left out */
function complaint(unreadable) {
  if (unreadable === 0) return null;
  const text = `${counted(unreadable, 'lane')} in the URL could not be read and ${unreadable === 1 ? 'was' : 'were'} ignored.`;
  return h('p', { class: 'notice bad', role: 'alert' }, text);
}

/** @param {import('../app.js').Context} context */
export async function page({ query, signal, replace, push, go }) {
  const datasets = await load(signal);
  const { text, lanes, unreadable, ...start } = readAddress(query, datasets);
  let { grouped } = start;
  const input = queryInput(text);
  const area = h('div', { class: 'lanes' });
  const overlap = h('div', { role: 'status', class: 'quiet' });
  const address = () => writeAddress(input.value, grouped, lanes);
  const remember = () => replace(address());

  const draw = () => {
    drawLanes(lanes);
    put(overlap, overlaps(lanes));
  };
  const { setInput, clear, gradeOf, label, load: loadLabels } = labelling(signal, draw);

  const searchAll = searching(lanes, signal);
  const ask = async () => {
    const words = input.value.trim();
    if (!words) {
      input.focus();
      return;
    }
    // Another query is a new entry in the browser's history.
    if (lanes.some((l) => l.asked) && lanes[0].asked !== words) push(address());
    else remember();
    document.title = `${words} · Cairn`;
    localStorage.setItem('cairn.dataset', lanes[0]?.settings.datasetIds[0] ?? '');
    const isLast = await searchAll(words);
    if (!isLast()) return;
    clear();
    draw();
    loadLabels(
      words,
      lanes.flatMap((lane) => lane.hits),
      isLast,
    ).catch(complain);
  };
  const askFor = (/** @type {string} */ words) => {
    input.value = words;
    return ask();
  };
  const rebuild = () => {
    for (const lane of lanes) build(lane, parts);
    put(
      area,
      lanes.map((l) => l.root),
    );
    area.classList.toggle('one', lanes.length === 1);
    draw();
  };
  const restart = () => {
    rebuild();
    return ask();
  };
  const answer = (/** @type {import('../search/state.js').Lane} */ lane) =>
    answerOf(lane, { lanes, grouped, signal, ask, askFor, restart, gradeOf, label });
  const parts = { lanes, datasets, signal, query: () => input.value, answer, draw, rebuild, remember, ask, restart, go };
  const shortcutBox = shortcuts({ input, area, lanes, label, signal });

  rebuild();
  if (input.value) ask().catch(complain);
  if (datasets.length === 0) {
    const create = h('a', { href: '/sandbox' }, 'Create one and add files.');
    return [h('h1', null, 'Search'), h('p', { class: 'notice' }, 'No datasets yet. ', create)];
  }
  const toFirstHit = () => area.querySelector('.hit')?.focus({ preventScroll: true });
  const send = (/** @type {Event} */ e) => {
    e.preventDefault();
    ask().then(toFirstHit).catch(complain);
  };
  const group = (/** @type {boolean} */ wanted) => {
    grouped = wanted;
    remember();
    draw();
  };
  const save = () => download(input.value, lanes);
  return [
    h('h1', { class: 'unseen' }, 'Search'),
    h(
      'form',
      { class: 'query', role: 'search', onsubmit: send },
      input,
      h('button', { class: 'primary' }, 'Search'),
      button('Export', save, { title: 'Download settings, results and candidates as JSON' }),
    ),
    h('div', { class: 'top' }, h('div', { class: 'key' }, legend(), shortcutBox), options(grouped, group, setInput)),
    complaint(unreadable),
    overlap,
    area,
  ];
}
