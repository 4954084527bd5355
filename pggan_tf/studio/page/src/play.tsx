/** Play: what a generator has learned, by seeds, morphs and sliders, on photos, and as files for elsewhere. */
import { runPath } from "./api";
import { Convert } from "./convert";
import { Exports } from "./exports";
import { useLive } from "./live";
import { Faces } from "./play-faces";
import { Morph, Nearest, Project, Walk } from "./play-more";
import { addressOf, go, type Route } from "./route";
import type { GeneratorInfo, Run, Studio } from "./types";
import { Empty, Problem } from "./widgets";

const PARTS = { faces: "Faces", morph: "Morph", walk: "Walk", nearest: "Nearest photos", project: "Find a photo", export: "Export" };
export type Part = keyof typeof PARTS;
const PHOTO_PARTS = { faces: "Photo", export: "Export" };

export function Play({ studio, route }: { studio: Studio; route: Route }) {
  const runs = useLive<Run[]>("/api/runs", ["runs"]);
  const able = (runs.data ?? []).filter((run) => run.images > 0 || run.pretrained);
  const name = route.name || able[0]?.name || null;
  const info = useLive<GeneratorInfo>(name ? runPath(name, "/generator") : null, name ? [`runs:${name}`] : []);
  if (runs.data && !able.length && !route.name) {
    return (
      <div class="narrow">
        <Empty title="No generator yet">
          <p>As soon as a run has drawn its first pictures, you can play with it here.</p>
          <div class="row centre"><a class="button primary" href="#grow">To Grow</a></div>
        </Empty>
      </div>
    );
  }
  const generates = info.data?.task === "generate";
  const parts: Record<string, string> = generates ? PARTS : PHOTO_PARTS;
  const part = route.query.get("part") ?? "faces";
  const shown = part in parts ? (part as Part) : "faces";
  const run = able.find((r) => r.name === name);
  const place = run?.place ?? name ?? "";
  return (
    <div class="play">
      <div class="bar">
        <label class="pick"><span class="unseen">Generator</span>
          <select value={name ?? ""} onChange={(e) => go(addressOf("play", e.currentTarget.value, { part: shown === "faces" ? null : shown }))}>
            {name && !run && <option value={name}>{name}</option>}
            {able.map((r) => <option value={r.name}>{r.title}</option>)}
          </select>
        </label>
        {info.data && (
          <nav class="chips" aria-label="What to do with it">
            {Object.entries(parts).map(([key, title]) => <a class="chip" href={addressOf("play", name!, { ...Object.fromEntries(route.query), part: key === "faces" ? null : key })} aria-current={key === shown ? "true" : undefined}>{title}</a>)}
          </nav>
        )}
      </div>
      <Problem text={runs.error ?? info.error} />
      {!info.data && !info.error && <p class="hint opening" role="status">Reading the generator …</p>}
      {info.data && name && (
        shown === "export" ? <Exports key={name} studio={studio} name={name} title={run?.title ?? name} />
          : !generates ? <Convert key={name} name={name} place={place} info={info.data} query={route.query} />
            : shown === "faces" ? <Faces key={name} name={name} place={place} info={info.data} query={route.query} />
              : shown === "morph" ? <Morph key={name} name={name} info={info.data} query={route.query} />
                : shown === "walk" ? <Walk key={name} name={name} place={place} info={info.data} query={route.query} />
                  : shown === "nearest" ? <Nearest key={name} name={name} place={place} query={route.query} info={info.data} />
                    : <Project key={name} name={name} place={place} query={route.query} />
      )}
    </div>
  );
}
