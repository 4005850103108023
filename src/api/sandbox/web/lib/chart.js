// @ts-check
// Small charts as inline SVG; every one says in words what it shows.

import { svg } from './dom.js';

/**
 * A line over points.
 * @param {{x: number, y: number, label: string}[]} points
 * @param {{title: string, x: string, y: string, mark?: number}} about
 */
export function line(points, about) {
  const [width, height, left, bottom] = [520, 220, 44, 32];
  const xs = points.map((p) => p.x);
  const ys = points.map((p) => p.y);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const pad = Math.max((Math.max(...ys) - Math.min(...ys)) * 0.15, 0.005);
  const [y0, y1] = [Math.min(...ys) - pad, Math.max(...ys) + pad];
  const px = (/** @type {number} */ x) => left + ((x - x0) / (x1 - x0 || 1)) * (width - left - 12);
  const py = (/** @type {number} */ y) => 10 + (1 - (y - y0) / (y1 - y0 || 1)) * (height - bottom - 10);
  const mark = about.mark ?? 0;
  const nearer = (/** @type {{x: number}} */ a, /** @type {{x: number}} */ b) => Math.abs(b.x - mark) < Math.abs(a.x - mark);
  const near = about.mark === undefined ? null : points.reduce((a, b) => (nearer(a, b) ? b : a), points[0]);
  const best = near ?? points.reduce((a, b) => (b.y > a.y ? b : a), points[0]);
  const grid = [0, 0.25, 0.5, 0.75, 1].map((t) => y0 + t * (y1 - y0));
  const title = `${about.title}. Selected: ${best.label}.`;
  return svg(
    'svg',
    { class: 'chart', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': title },
    grid.map((y) => [
      svg('line', { class: 'rule', x1: left, x2: width - 12, y1: py(y), y2: py(y) }),
      svg('text', { x: left - 6, y: py(y) + 4, 'text-anchor': 'end' }, y.toFixed(2)),
    ]),
    points
      .filter((_, i) => i % Math.ceil(points.length / 11) === 0)
      .map((p) => svg('text', { x: px(p.x), y: height - 14, 'text-anchor': 'middle' }, p.x.toFixed(1))),
    svg('text', { x: width - 12, y: height - 1, 'text-anchor': 'end' }, about.x),
    about.mark !== undefined && svg('line', { class: 'now', x1: px(about.mark), x2: px(about.mark), y1: 10, y2: height - bottom }),
    svg('polyline', { class: 'curve', points: points.map((p) => `${px(p.x)},${py(p.y)}`).join(' ') }),
    points.map((p) => {
      const [name, r] = p === best ? ['dot best', 5] : ['dot', 3];
      return svg('circle', { class: name, cx: px(p.x), cy: py(p.y), r }, svg('title', null, p.label));
    }),
  );
}

/**
 * A score as what it is made of, with the threshold.
 * @param {{vector: number, keyword: number, final: number, minScore: number, text: string}} parts vector and keyword are weighted
 */
export function waterfall(parts) {
  const width = 300;
  const x = (/** @type {number} */ v) => Math.max(0, Math.min(1, v)) * width;
  return svg(
    'svg',
    { class: 'waterfall', viewBox: `0 0 ${width} 14`, preserveAspectRatio: 'none', role: 'img', 'aria-label': parts.text },
    svg('rect', { class: 'all', x: 0, y: 3, width, height: 8 }),
    svg('rect', { class: 'vector', x: 0, y: 3, width: x(parts.vector), height: 8 }),
    svg('rect', { class: 'keyword', x: x(parts.vector), y: 3, width: x(parts.keyword), height: 8 }),
    svg('line', { class: 'final', x1: x(parts.final), x2: x(parts.final), y1: 0, y2: 14 }),
    parts.minScore > 0 && svg('line', { class: 'least', x1: x(parts.minScore), x2: x(parts.minScore), y1: 0, y2: 14 }),
  );
}

/**
 * Stages one after the other.
 * @param {{name: string, ms: number}[]} stages
 */
export function timeline(stages) {
  const total = stages.reduce((sum, s) => sum + s.ms, 0) || 1;
  let at = 0;
  const title = stages.map((s) => `${s.name} ${s.ms.toFixed(1)} ms`).join(', ');
  return svg(
    'svg',
    { class: 'timeline', viewBox: '0 0 300 10', preserveAspectRatio: 'none', role: 'img', 'aria-label': title },
    stages.map((stage, i) => {
      const [x, width] = [(at / total) * 300, (stage.ms / total) * 300];
      const said = svg('title', null, `${stage.name} ${stage.ms.toFixed(1)} ms`);
      const bar = svg('rect', { class: `stage s${i}`, x, y: 0, width, height: 10 }, said);
      at += stage.ms;
      return bar;
    }),
  );
}
