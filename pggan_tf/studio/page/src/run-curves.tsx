/** Losses, metrics and what else the run records, over images or minutes. */
import { useState } from "preact/hooks";
import { Chart, type Curve } from "./chart";
import type { RunDetail } from "./types";
import { Segments } from "./widgets";

const GROUPS: { title: string; names: Record<string, string>; noisy?: boolean }[] = [
  { title: "Losses", names: { loss_d: "discriminator", loss_g: "generator" }, noisy: true },
  { title: "Discriminator’s answers", names: { logit_real: "photos", logit_fake: "made" }, noisy: true },
  { title: "Images a second", names: { images_per_second: "images a second" } },
  { title: "Augmentation", names: { augment_probability: "probability" } },
  { title: "Penalty", names: { penalty: "penalty" }, noisy: true },
  { title: "Learning rate", names: { learning_rate: "learning rate" } },
];
const TITLES: Record<string, string> = { fid: "FID", kid: "KID", swd: "SWD", psnr: "PSNR", ssim: "SSIM", "ms-ssim": "MS-SSIM", is: "Inception score" };
export const metricTitle = (name: string) => TITLES[name] ?? name.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase());

export function RunCurves({ run }: { run: RunDetail }) {
  const [unit, setUnit] = useState<"images" | "minutes">("images");
  const [span, setSpan] = useState<[number, number] | null>(null);
  const [all, setAll] = useState(false);
  const xs = (run.ticks[unit] ?? []).map((x) => x ?? 0);
  const charts: { title: string; curves: Curve[]; noisy?: boolean; note?: string }[] = [];
  for (const [name, values] of Object.entries(run.metrics)) {
    if (!values.length) continue;
    charts.push({ title: metricTitle(name), curves: [{ name: metricTitle(name), colour: 2, xs: values.map((v) => v[unit]), ys: values.map((v) => v.value) }], note: run.caveats.filter((caveat) => caveat.metric === name).map((caveat) => caveat.sentence).join(" ") || undefined });
  }
  const varies = (ys: (number | null)[] | undefined) => !!ys && new Set(ys.filter((y) => y !== null)).size > 1;
  const ticks = GROUPS.map(({ title, names, noisy }) => ({
    title, noisy, curves: Object.entries(names).filter(([name]) => varies(run.ticks[name])).map(([name, label], i) => ({ name: label, colour: i, xs, ys: run.ticks[name]! })),
  })).filter((chart) => chart.curves.length);
  charts.unshift(...ticks.slice(0, 1));
  const rest = ticks.slice(1);
  if (!charts.length && !rest.length) return null;
  return (
    <section class="curves" aria-label="Curves">
      <div class="row between">
        <h2>Curves</h2>
        <Segments label="Over" quiet value={unit} choices={[{ value: "images", label: "images" }, { value: "minutes", label: "minutes" }]} onChange={(value) => (setUnit(value), setSpan(null))} />
      </div>
      <div class="charts">{[...charts, ...(all ? rest : [])].map((chart) => <Chart key={chart.title} {...chart} unit={unit} span={span} onSpan={setSpan} />)}</div>
      {rest.length > 0 && <button type="button" class="quiet" aria-expanded={all} onClick={() => setAll(!all)}>{all ? "Fewer curves" : `${rest.length} more`}</button>}
    </section>
  );
}
