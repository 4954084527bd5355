/** Sliders: directions along which the pictures change, with the names that the user gives them. */
import { useState } from "preact/hooks";
import { call, runPath, say } from "./api";
import { changed, useLive } from "./live";
import { setQuery } from "./route";
import type { SliderInfo } from "./types";
import { Problem, Typed } from "./widgets";

const FIRST = 6;

/** Read "2:3,5:-1" as values by number. */
export function readSliders(text: string): Map<number, number> {
  const pairs = text.split(",").filter(Boolean).map((part) => part.split(":").map(Number) as [number, number]);
  return new Map(pairs.filter(([index, value]) => Number.isInteger(index) && Number.isFinite(value)));
}

export function Sliders({ name, value }: { name: string; value: string }) {
  const list = useLive<SliderInfo[]>(runPath(name, "/sliders"), [`runs:${name}`]);
  const [all, setAll] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const values = readSliders(value);
  const set = (index: number, to: number) => {
    const next = new Map(values);
    to === 0 ? next.delete(index) : next.set(index, to);
    setQuery({ sliders: [...next].map(([key, v]) => `${key}:${v}`).join(",") });
  };
  const rename = async (slider: SliderInfo, to: string) => {
    if (to.trim() === (slider.name ?? "")) return;
    try {
      await call("PUT", runPath(name, `/sliders/${slider.index}`), { name: to.trim() });
      setProblem(null);
    } catch (error) {
      setProblem(say(error));
    }
    changed(`runs:${name}`);
  };
  if (list.error) return <Problem text={list.error} />;
  if (!list.data?.length) return null;
  const shown = list.data.slice(0, all ? undefined : FIRST);
  return (
    <fieldset class="directions card">
      <legend class="unseen">Sliders</legend>
      <div class="row between"><h2>Sliders</h2>{values.size > 0 && <button type="button" class="small" onClick={() => setQuery({ sliders: null })}>All to 0</button>}</div>
      {shown.map((slider) => {
        const title = slider.name || `Slider ${slider.index}`;
        const at = values.get(slider.index) ?? 0;
        return (
          <div class="direction">
            <Typed class="rename" aria-label={`Name of slider ${slider.index}`} value={slider.name ?? ""} placeholder={`Slider ${slider.index}`} maxLength={40} commit={(text) => rename(slider, text)} />
            <span class="value">{at > 0 ? "+" : ""}{at}</span>
            <input type="range" aria-label={title} min={-6} max={6} step={0.5} value={at} class="from-middle" style={{ "--from": Math.min(0.5, (at + 6) / 12), "--to": Math.max(0.5, (at + 6) / 12) }} onInput={(e) => set(slider.index, e.currentTarget.valueAsNumber)} />
          </div>
        );
      })}
      {list.data.length > FIRST && <button type="button" class="quiet" aria-expanded={all} onClick={() => setAll(!all)}>{all ? "Fewer" : `${list.data.length - FIRST} more`}</button>}
      {shown.some((s) => s.strip) && <details><summary>What each one changes</summary><ul class="strips">{shown.map((s) => s.strip && <li><span>{s.name || `Slider ${s.index}`}</span><img src={s.strip} alt={`The same face from −4 to +4 along ${s.name || `slider ${s.index}`}`} loading="lazy" /></li>)}</ul></details>}
      <Problem text={problem} />
    </fieldset>
  );
}
