/** Compare: runs side by side, by their curves, the faces of the same seeds, and what differs in their options. */
import { useState } from "preact/hooks";
import { withQuery } from "./api";
import { Chart } from "./chart";
import { useLive } from "./live";
import { type Route, setQuery } from "./route";
import { metricTitle } from "./run-curves";
import type { Compared, Run, Studio } from "./types";
import { Command, Empty, Problem, Segments } from "./widgets";
import { label, STATES, text } from "./words";

const NAMES: Record<string, string> = { loss_d: "Loss of the discriminator", loss_g: "Loss of the generator", images_per_second: "Images a second" };

export function Compare({ route }: { studio: Studio; route: Route }) {
  const list = useLive<Run[]>("/api/runs", ["runs"]);
  const runs = (list.data ?? []).filter((run) => !run.pretrained);
  const asked = (route.query.get("runs") ?? "").split(",").filter(Boolean);
  // Those that were deleted since are left out.
  const there = asked.filter((name) => !list.data || runs.some((run) => run.name === name));
  const chosen = route.query.get("runs") !== null ? there : runs.slice(0, 2).map((run) => run.name);
  const [unit, setUnit] = useState<"images" | "minutes">("images");
  const [span, setSpan] = useState<[number, number] | null>(null);
  const result = useLive<Compared>(chosen.length > 1 ? withQuery("/api/compare", { runs: chosen.join(",") }) : null, chosen.map((name) => `runs:${name}`));
  if (list.data && !runs.length) {
    return <div class="narrow"><Empty title="Nothing to compare yet"><p>Two runs or more can be laid side by side here: the same recipe with another loss, say.</p><div class="row centre"><a class="button primary" href="#grow">To Grow</a></div></Empty></div>;
  }
  const toggle = (name: string) => setQuery({ runs: (chosen.includes(name) ? chosen.filter((n) => n !== name) : [...chosen, name]).join(",") || "-" });
  const title = (name: string) => runs.find((run) => run.name === name)?.title ?? name;
  // Runs of one title are told apart by their folders.
  const unique = (name: string) => (chosen.filter((other) => title(other) === title(name)).length > 1 ? `${title(name)} (${name.split("-")[0]})` : title(name));
  const data = result.data;
  return (
    <div class="comparing">
      <div class="chips" role="group" aria-label="Runs to compare">
        {runs.map((run) => {
          const at = chosen.indexOf(run.name);
          return <button type="button" class="chip" aria-pressed={at >= 0} title={run.name} onClick={() => toggle(run.name)}>{at >= 0 && <i class={`swatch c${at % 8}`} />}{unique(run.name)}<small>{STATES[run.state]}</small></button>;
        })}
      </div>
      <Problem text={list.error ?? result.error} />
      {there.length < asked.length && asked[0] !== "-" && <p class="hint">Not there any more: {asked.filter((name) => !there.includes(name)).join(", ")}.</p>}
      {chosen.length === 1 && runs.length > 1 && <p class="hint">Choose another one to lay beside it.</p>}
      {runs.length === 1 && <p class="hint">There is one run so far. Grow another, and it can be laid beside it.</p>}
      {result.busy && !data && <p class="hint" role="status">Looking at the runs …</p>}
      {data && (
        <>
          <div class="sheets">{data.sheets.map((url, i) => <figure>{url ? <img class={(runs.find((run) => run.name === chosen[i])?.resolution ?? 64) < 48 ? "pixels" : ""} src={url} alt={`Faces of ${unique(chosen[i]!)}, the same seeds for each run`} /> : <div class="canvas empty-canvas"><p class="hint">draws no faces</p></div>}<figcaption><i class={`swatch c${i % 8}`} />{unique(chosen[i]!)}</figcaption></figure>)}</div>
          <Curves data={data} chosen={chosen} unique={unique} unit={unit} setUnit={(value) => (setUnit(value), setSpan(null))} span={span} setSpan={setSpan} />
          {chosen.length > 1 && <Differences data={data} heads={chosen.map(unique)} />}
          <Command text={`pggan compare ${chosen.map((name) => runs.find((run) => run.name === name)?.place ?? name).join(" ")} --out compare.html`} />
        </>
      )}
    </div>
  );
}

interface CurvesProps {
  data: Compared; chosen: string[]; unique: (name: string) => string; unit: "images" | "minutes"; setUnit: (unit: "images" | "minutes") => void;
  span: [number, number] | null; setSpan: (span: [number, number] | null) => void;
}
function Curves({ data, chosen, unique, unit, setUnit, span, setSpan }: CurvesProps) {
  const charts = Object.entries(data.series).filter(([, series]) => series.some((one) => one.values.length));
  if (!charts.length) return null;
  return (
    <section class="curves" aria-label="Curves">
      <div class="row between"><h2>Curves</h2><Segments label="Over" quiet value={unit} choices={[{ value: "images", label: "images" }, { value: "minutes", label: "minutes" }]} onChange={setUnit} /></div>
      <div class="charts">
        {charts.map(([name, series]) => (
          <Chart key={name} title={NAMES[name] ?? metricTitle(name)} noisy={name.startsWith("loss")} unit={unit} span={span} onSpan={setSpan}
            curves={series.map((one) => ({ name: unique(one.run), colour: Math.max(0, chosen.indexOf(one.run)), xs: one[unit], ys: one.values }))} />
        ))}
      </div>
    </section>
  );
}

/** Figures and options as `pggan compare` prints them; the best of a row stands out. */
function Differences({ data, heads }: { data: Compared; heads: string[] }) {
  const same = (values: unknown[]) => new Set(values.map(text)).size <= 1;
  const rows = data.table.filter((row) => row.best.length || !same(row.values));
  return (
    <div class="differences">
      <h2 id="differences">What differs</h2>
      <div class="table" tabIndex={0} role="region" aria-labelledby="differences">
        <table>
          <thead><tr><th scope="col"><span class="unseen">Figure or option</span></th>{heads.map((head, i) => <th scope="col"><i class={`swatch c${i % 8}`} />{head}</th>)}</tr></thead>
          <tbody>
            {rows.map((row) => <tr><th scope="row">{label(row.name)}</th>{row.values.map((value, i) => <td class={row.best.includes(i) ? "best" : ""}>{text(value)}{row.best.includes(i) && <span class="unseen"> (best)</span>}</td>)}</tr>)}
            {data.differences.map((row) => <tr><th scope="row"><code>{row.option}</code></th>{row.values.map((value) => <td>{text(value)}</td>)}</tr>)}
          </tbody>
        </table>
      </div>
      {!data.differences.length && <p class="hint">Their options are the same.</p>}
      {data.notes.map((note) => <p class="warning">{note}</p>)}
    </div>
  );
}
