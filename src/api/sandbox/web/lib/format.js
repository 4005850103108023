// @ts-check
// Numbers and times as people read them.

import { h } from './dom.js';

const whole = new Intl.NumberFormat('en');
/** @param {number} n */
export const count = (n) => whole.format(n);
/** @param {number} n @param {string} one @param {string} [many] */
export const counted = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
/** @param {number | null | undefined} n */
export const score = (n) => (n === null || n === undefined ? '–' : n.toFixed(3));
/** @param {number} n */
export const ms = (n) => (n >= 1000 ? `${(n / 1000).toFixed(2)} s` : n >= 10 ? `${n.toFixed(0)} ms` : `${n.toFixed(1)} ms`);

/** @param {number} n */
export function bytes(n) {
  const units = ['B', 'KB', 'MB', 'GB'];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) {
    n /= 1024;
    at += 1;
  }
  return `${at === 0 ? n : n.toFixed(1)} ${units[at]}`;
}

/**
 * A text whose middle gives way when it is too long, such as an address: its end tells more than its middle.
 * @param {string} text
 */
export function cutInTheMiddle(text) {
  const tail = text.length > 24 ? text.slice(-16) : '';
  const head = text.slice(0, text.length - tail.length);
  return h('span', { class: 'middle', title: text }, h('span', null, head), tail && h('span', null, tail));
}

/** Items of a sync or pages of a crawl by their results, in words; empty without any. @param {any} run */
export function itemCounts(run) {
  const parts = ['new', 'changed', 'unchanged', 'skipped', 'failed', 'removed'].map((result) => {
    const number = run[`items${result[0].toUpperCase()}${result.slice(1)}`];
    return number > 0 && `${count(number)} ${result}`;
  });
  return parts.filter(Boolean).join(', ');
}

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
/** @type {[number, Intl.RelativeTimeFormatUnit][]} */
const STEPS = [
  [60, 'second'],
  [3600, 'minute'],
  [86400, 'hour'],
  [2592000, 'day'],
  [31536000, 'month'],
  [Infinity, 'year'],
];

/** How long ago a time is, in words. @param {Date} then */
function distance(then) {
  const seconds = (then.getTime() - Date.now()) / 1000;
  const at = STEPS.findIndex(([limit]) => Math.abs(seconds) < limit);
  const unit = at > 0 ? STEPS[at - 1][0] : 1;
  return relative.format(Math.round(seconds / unit), STEPS[at][1]);
}

/**
 * How long ago, with the exact time as title.
 * @param {string | null | undefined} time
 */
export function ago(time) {
  if (!time) return '–';
  const then = new Date(time);
  if (Number.isNaN(then.getTime())) return time;
  return h('time', { class: 'ago', datetime: time, title: then.toLocaleString() }, distance(then));
}

/** Tells anew how long ago the times on the page are. */
export function refreshTimes() {
  for (const element of document.querySelectorAll('time.ago')) {
    const now = distance(new Date(/** @type {HTMLTimeElement} */ (element).dateTime));
    if (element.textContent !== now) element.textContent = now;
  }
}

/** @type {Record<string, string>} */
const KINDS = {
  indexed: 'good',
  completed: 'good',
  succeeded: 'good',
  done: 'good',
  live: 'good',
  active: 'good',
  delivered: 'good',
  failed: 'bad',
  error: 'bad',
  refused: 'bad',
  dead: 'bad',
  parsing: 'busy',
  embedding: 'busy',
  running: 'busy',
  building: 'busy',
  queued: 'busy',
  pending: 'busy',
  waiting: 'busy',
  retrying: 'busy',
};
/** @param {string} state */
export const badge = (state) => h('span', { class: `badge ${KINDS[state] ?? ''}` }, state);
