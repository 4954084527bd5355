/** A chart of curves: drag to zoom, arrow keys to read values, plus and minus to zoom, 0 to see all. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { duration, number, short } from "./words";

export interface Curve { name: string; colour: number; xs: number[]; ys: (number | null)[] }
type Span = [number, number];
const LEFT = 46;
const BOTTOM = 22;
const TOP = 8;

/** Return about `most` round numbers within low..high. */
export function roundTicks(low: number, high: number, most: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) ticks.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  // A narrow curve would have its beginning alone.
  return ticks.length < 2 && most < 32 ? roundTicks(low, high, 2 * most) : ticks;
}

/** Return the moving average of values, which shows where a noisy curve goes. */
export function smooth(ys: (number | null)[], weight = 0.85): (number | null)[] {
  let mean = 0;
  let sum = 0;
  return ys.map((y) => {
    if (y === null || !Number.isFinite(y)) return null;
    mean = weight * mean + (1 - weight) * y;
    sum = weight * sum + (1 - weight);
    return mean / sum;
  });
}

function path(xs: number[], ys: (number | null)[], sx: (x: number) => number, sy: (y: number) => number): string {
  let text = "";
  let pen = false;
  xs.forEach((x, i) => {
    const y = ys[i];
    if (y === null || y === undefined || !Number.isFinite(y)) return void (pen = false);
    text += `${pen ? "L" : "M"}${sx(x).toFixed(1)} ${sy(y).toFixed(1)}`;
    pen = true;
  });
  return text;
}

function useWidth() {
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(600);
  useEffect(() => {
    const watcher = new ResizeObserver(([entry]) => setWidth(Math.max(200, Math.round(entry!.contentRect.width))));
    watcher.observe(place.current!);
    return () => watcher.disconnect();
  }, []);
  return [place, width] as const;
}

export interface ChartProps { title: string; curves: Curve[]; unit: "images" | "minutes"; noisy?: boolean; note?: string; height?: number; span: Span | null; onSpan: (span: Span | null) => void }

export function Chart({ title, curves, unit, noisy, note, height = 210, span, onSpan }: ChartProps) {
  const [place, width] = useWidth();
  const [at, setAt] = useState<number | null>(null);
  const [drag, setDrag] = useState<Span | null>(null);
  const shownCurves = curves.filter((curve) => curve.ys.some((y) => y !== null && Number.isFinite(y)));
  const drawn = useMemo(() => shownCurves.map((curve) => ({ ...curve, line: noisy && curve.ys.length > 24 ? smooth(curve.ys) : curve.ys })), [curves, noisy]);
  const allX = drawn.flatMap((curve) => [curve.xs[0] ?? 0, curve.xs.at(-1) ?? 0]);
  const whole: Span = [Math.min(0, ...allX), Math.max(1e-9, ...allX) * 1.015];
  const [x0, x1] = span && span[1] > whole[0] && span[0] < whole[1] ? span : whole;
  const seen = drawn.flatMap((curve) => {
    const rough = noisy && curve.line !== curve.ys;
    return curve.xs.flatMap((x, i) => (x >= x0 && x <= x1 ? [curve.line[i], rough ? null : curve.ys[i]] : [])).filter((y): y is number => typeof y === "number" && Number.isFinite(y));
  });
  let [y0, y1] = seen.length ? [Math.min(...seen), Math.max(...seen)] : [0, 1];
  const margin = (y1 - y0 || Math.abs(y1) || 1) * 0.08;
  [y0, y1] = [y0 - margin, y1 + margin];
  const sx = (x: number) => LEFT + ((x - x0) / (x1 - x0 || 1)) * (width - LEFT - 8);
  const sy = (y: number) => TOP + (1 - (y - y0) / (y1 - y0)) * (height - TOP - BOTTOM);
  const back = (pixel: number) => Math.min(x1, Math.max(x0, x0 + ((pixel - LEFT) / (width - LEFT - 8)) * (x1 - x0)));
  const sayX = (x: number) => (unit === "images" ? short(x) : duration(60 * x));

  const steps = [...new Set(drawn.flatMap((curve) => curve.xs))].filter((x) => x >= x0 && x <= x1).sort((a, b) => a - b);
  const near = (x: number) => steps.reduce((best, step) => (Math.abs(step - x) < Math.abs(best - x) ? step : best), steps[0] ?? 0);
  const zoom = (factor: number) => {
    const centre = at ?? (x0 + x1) / 2;
    const half = Math.max(((x1 - x0) * factor) / 2, (whole[1] - whole[0]) / 500);
    const next: Span = [Math.max(whole[0], centre - half), Math.min(whole[1], centre + half)];
    onSpan(next[0] <= whole[0] && next[1] >= whole[1] ? null : next);
  };
  const press = (event: KeyboardEvent) => {
    const index = at === null ? steps.length - 1 : steps.indexOf(near(at));
    const actions: Record<string, () => void> = {
      ArrowLeft: () => setAt(steps[Math.max(0, index - (event.shiftKey ? 10 : 1))] ?? null),
      ArrowRight: () => setAt(steps[Math.min(steps.length - 1, index + (event.shiftKey ? 10 : 1))] ?? null),
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => onSpan(null),
    };
    const action = actions[event.key];
    if (action && !event.ctrlKey && !event.metaKey && !event.altKey) event.preventDefault(), action();
  };
  const pixel = (event: PointerEvent) => event.clientX - place.current!.getBoundingClientRect().left;
  const values = at === null ? [] : drawn.map((curve) => {
    const i = curve.xs.reduce((best, x, j) => (Math.abs(x - at) < Math.abs(curve.xs[best]! - at) ? j : best), 0);
    return { curve, value: curve.ys[i], y: curve.line[i] };
  });
  const last = (curve: Curve) => curve.ys.findLast((y) => y !== null && Number.isFinite(y));
  const summary = `${title}: ${drawn.map((curve) => `${curve.name} ${number(last(curve) ?? 0)} at the end`).join(", ")}`;

  return (
    <figure class="chart">
      <figcaption>
        <b>{title}</b>
        <span class="legend">
          {drawn.map((curve) => {
            const now = values.find((value) => value.curve.name === curve.name)?.value ?? last(curve);
            return <span><i class={`swatch c${curve.colour % 8}`} />{drawn.length > 1 ? curve.name : ""} <b>{now === null || now === undefined ? "–" : number(now)}</b></span>;
          })}
          {at !== null && <span class="at">at {sayX(at)}</span>}
        </span>
        {span && <button type="button" class="small" onClick={() => onSpan(null)}>See all</button>}
      </figcaption>
      <div ref={place} class="plot" tabIndex={0} role="group" aria-label={`${summary}. Arrow keys read values, plus and minus zoom, 0 shows all.`}
        onKeyDown={press} onBlur={() => setAt(null)} onDblClick={() => onSpan(null)}
        onPointerDown={(e) => e.button === 0 && ((e.currentTarget as HTMLElement).setPointerCapture(e.pointerId), setDrag([back(pixel(e)), back(pixel(e))]))}
        onPointerMove={(e) => (setAt(near(back(pixel(e)))), drag && setDrag([drag[0], back(pixel(e))]))}
        onPointerUp={() => {
          if (drag && Math.abs(sx(drag[0]) - sx(drag[1])) > 12) onSpan([Math.min(...drag), Math.max(...drag)]);
          setDrag(null);
        }}
        onPointerCancel={() => setDrag(null)} onPointerLeave={() => !drag && setAt(null)}>
        <svg width={width} height={height} aria-hidden="true">
          <g class="axis">
            {roundTicks(y0, y1, 4).map((y) => <><line x1={LEFT} x2={width - 8} y1={sy(y)} y2={sy(y)} /><text x={LEFT - 8} y={sy(y) + 4} text-anchor="end">{number(+y.toPrecision(6))}</text></>)}
            {roundTicks(x0, x1, Math.max(2, Math.floor(width / 130))).map((x) => <text x={sx(x)} y={height - 5} text-anchor={sx(x) < LEFT + 14 ? "start" : sx(x) > width - 26 ? "end" : "middle"}>{unit === "images" ? short(x) : x === 0 ? "0" : duration(60 * x)}</text>)}
          </g>
          <svg x={LEFT} y={0} width={Math.max(0, width - LEFT - 8)} height={height - BOTTOM + 2} viewBox={`${LEFT} 0 ${Math.max(1, width - LEFT - 8)} ${height - BOTTOM + 2}`}>
            {drawn.map((curve) => (
              <g class={`curve c${curve.colour % 8}`}>
                {curve.line !== curve.ys && <path class="rough" d={path(curve.xs, curve.ys, sx, sy)} />}
                <path d={path(curve.xs, curve.line, sx, sy)} />
                {curve.xs.length < 24 && curve.xs.map((x, i) => typeof curve.ys[i] === "number" && <circle cx={sx(x)} cy={sy(curve.ys[i]!)} r="2.5" />)}
              </g>
            ))}
            {at !== null && <line class="cursor" x1={sx(at)} x2={sx(at)} y1={TOP} y2={height - BOTTOM} />}
            {values.map(({ curve, y }) => typeof y === "number" && <circle class={`dot c${curve.colour % 8}`} cx={sx(at!)} cy={sy(y)} r="4" />)}
            {drag && <rect class="drag" x={Math.min(sx(drag[0]), sx(drag[1]))} width={Math.abs(sx(drag[0]) - sx(drag[1]))} y={TOP} height={height - TOP - BOTTOM} />}
          </svg>
        </svg>
        <output class="unseen">{at !== null && `${sayX(at)} ${unit === "images" ? "images" : ""}: ${values.map(({ curve, value }) => `${curve.name} ${value === null || value === undefined ? "unknown" : number(value)}`).join(", ")}`}</output>
      </div>
      {note && <p class="hint">{note}</p>}
    </figure>
  );
}
