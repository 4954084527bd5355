/** The newest grid, large; all of them under a slider; real photos beside them. */
import { useEffect, useState } from "preact/hooks";
import type { RunDetail } from "./types";
import { setQuery, useRoute } from "./route";
import { Slider, Switch } from "./widgets";
import { count } from "./words";

export function RunGrids({ run }: { run: RunDetail }) {
  const { query } = useRoute();
  const asked = query.get("grid");
  const [beside, setBeside] = useState(query.get("reals") === "1");
  const last = run.grids.length - 1;
  const index = asked === null ? last : Math.min(last, Math.max(0, Math.round(Number(asked)) || 0));
  const grid = run.grids[index];
  const [shown, setShown] = useState<string | null>(null);
  useEffect(() => {
    if (!grid) return;
    // The next grid is shown when it is there: no white gap in between.
    const image = new Image();
    image.onload = () => setShown(grid.url);
    image.src = grid.url;
    return () => void (image.onload = null);
  }, [grid?.url]);
  const reals = run.reals.find((r) => r.resolution === grid?.resolution) ?? run.reals.at(-1);
  if (!grid) {
    return (
      <div class="hero">
        <div class="canvas empty-canvas"><p class="hint">{run.state === "running" || run.state === "waiting" ? "The first pictures come with the first snapshot." : "This run has drawn no pictures."}</p></div>
      </div>
    );
  }
  const choose = (next: number) => setQuery({ grid: next === last ? null : next });
  return (
    <div class="hero">
      <div class={beside && reals ? "canvas two" : "canvas"}>
        <figure>
          <img class={grid.resolution < 64 ? "pixels" : ""} src={shown ?? grid.url} alt={`Pictures made after ${count(grid.images)} images, at ${grid.resolution} pixels`} />
          {beside && reals && <figcaption>made</figcaption>}
        </figure>
        {beside && reals && <figure><img class={reals.resolution < 64 ? "pixels" : ""} src={reals.url} alt={`Photos of the data at ${reals.resolution} pixels`} /><figcaption>real</figcaption></figure>}
      </div>
      <div class="under">
        {last > 0 && <Slider label="Snapshot" value={index} minimum={0} maximum={last} shown={`after ${count(grid.images)} images, ${grid.resolution} px`} onInput={choose} />}
        {reals && <Switch label="Real photos beside" value={beside} onChange={(value) => (setBeside(value), setQuery({ reals: value ? 1 : null }))} />}
      </div>
    </div>
  );
}
