// @ts-check
// The form that starts a run of settings over a query set, or a search for better ones.

import { post } from '../lib/api.js';
import { button, field, select } from '../lib/controls.js';
import { h } from '../lib/dom.js';
import { PRESETS, presetOf } from '../search/settings.js';
import { setPath } from './state.js';

/** What a run is called after its settings. @param {import('../search/settings.js').Settings} settings */
function named(settings) {
  const at = presetOf(settings);
  if (at >= 0) return PRESETS[at][0];
  return Object.entries(settings)
    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join(', ')
    .slice(0, 120);
}

/** Settings that were entered as JSON. @param {string} text */
function entered(text) {
  try {
    return JSON.parse(text || '{}');
  } catch {
    throw new Error('Settings must be valid JSON, such as {"hybridAlpha": 0.3}.');
  }
}

/**
 * @param {import('./state.js').State} state
 * @param {string} settings JSON to begin with
 * @param {() => Promise<any>} started called when there is another run
 * @param {AbortSignal} signal
 */
export function launchForm(state, settings, started, signal) {
  const name = h('input', { placeholder: 'named after the settings if blank' });
  const json = h('textarea', { rows: 2, spellcheck: 'false', 'aria-label': 'Settings as JSON' }, settings);
  const presets = PRESETS.map(([label], i) => /** @type {[string, string]} */ ([String(i), label]));
  const first = presetOf(entered(settings));
  const preset = select(first < 0 ? [['', 'Custom'], ...presets] : presets, first < 0 ? '' : String(first), (at) => {
    if (at !== '') json.value = JSON.stringify(PRESETS[Number(at)][1]);
  });
  const start = async (/** @type {'runs' | 'tune'} */ kind, /** @type {() => any} */ body) => {
    if (!state.set) throw new Error('Select or create a query set first.');
    await post(`${setPath(state)}/${kind}`, { ...body(), waitSeconds: 0 }, signal);
    await started();
  };
  const run = () =>
    start('runs', () => {
      const configuration = entered(json.value);
      return { name: name.value || named(configuration), configuration };
    });
  const tune = () => start('tune', () => ({ apply: false }));
  return [
    h(
      'div',
      { class: 'fields' },
      field('Preset', preset),
      field('Settings (JSON)', json, 'search settings: {"hybridAlpha": 0.3}'),
      field('Name', name),
    ),
    h(
      'div',
      { class: 'row' },
      button('Run', run, { class: 'primary' }),
      button('Tune settings', tune, { title: 'Tunes on half of the labelled queries and evaluates on the other half' }),
    ),
  ];
}
