/** A sheet of seeds, and one of them large; stage, variety, class and sliders. */
import { runPath, withQuery } from "./api";
import { usePicture } from "./picture";
import { Sliders } from "./play-sliders";
import { setQuery } from "./route";
import type { GeneratorInfo } from "./types";
import { Command, Field, Problem, Segments, Slider, Typed, useLater } from "./widgets";
import { quote } from "./words";

const COUNTS = [1, 4, 16, 36];
export const MOST_SEED = 2 ** 32 - 1;

export interface Look { seed: number; count: number; stage: number; truncation: number; label: string | null; sliders: string }

export function readLook(query: URLSearchParams, info: GeneratorInfo): Look {
  const number = (name: string, fallback: number) => (query.get(name) !== null && Number.isFinite(Number(query.get(name))) ? Number(query.get(name)) : fallback);
  const stages = info.stages.length ? info.stages : [0];
  const stage = number("stage", stages.at(-1)!);
  const count = COUNTS.includes(number("count", 16)) ? number("count", 16) : 16;
  return {
    seed: Math.max(0, Math.min(MOST_SEED, Math.round(number("seed", 0)))), count,
    stage: stages.includes(stage) ? stage : stages.at(-1)!, truncation: number("truncation", 1), label: query.get("class"), sliders: query.get("sliders") ?? "",
  };
}

/** The part of a picture's address that all of Play have in common. */
export const lookQuery = (look: Look, info: GeneratorInfo) => ({
  stage: look.stage === info.stages.at(-1) ? null : look.stage, truncation: look.truncation === 1 ? null : look.truncation, class: look.label, sliders: look.sliders,
});

export const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0]! % 100_000;

export function SeedField({ label = "Seed", name = "seed", value }: { label?: string; name?: string; value: number }) {
  return <Field label={label}><Typed live number={{ minimum: 0, maximum: MOST_SEED, whole: true }} value={String(value)} commit={(text) => setQuery({ [name]: Number(text) })} /></Field>;
}

/** Stage, variety and class. */
export function LookControls({ look, info }: { look: Look; info: GeneratorInfo }) {
  return (
    <>
      {info.stages.length > 1 && <Segments label="Grown to" value={look.stage} choices={info.stages.map((value) => ({ value, label: String(value) }))} onChange={(stage) => setQuery({ stage: stage === info.stages.at(-1) ? null : stage })} />}
      <Slider label="Variety" value={look.truncation} minimum={0} maximum={1} step={0.05} shown={look.truncation.toFixed(2)} onInput={(truncation) => setQuery({ truncation: truncation === 1 ? null : truncation })} />
      {info.classes.length > 0 && <Field label="Class"><select value={look.label ?? ""} onChange={(e) => setQuery({ class: e.currentTarget.value || null })}><option value="">all in turn</option>{info.classes.map((c) => <option value={c}>{c}</option>)}</select></Field>}
    </>
  );
}

export function Faces({ name, place, info, query }: { name: string; place: string; info: GeneratorInfo; query: URLSearchParams }) {
  const look = readLook(query, info);
  look.seed = Math.min(look.seed, MOST_SEED + 1 - look.count); // the last of the sheet is a seed, too
  const columns = Math.round(Math.sqrt(look.count));
  const seeds = look.count === 1 ? String(look.seed) : `${look.seed}-${look.seed + look.count - 1}`;
  const path = look.count === 1
    ? withQuery(runPath(name, "/face.png"), { seed: look.seed, ...lookQuery(look, info) })
    : withQuery(runPath(name, "/faces.png"), { seeds, columns, ...lookQuery(look, info) });
  const picture = usePicture(useLater(path, 60));
  const download = withQuery(runPath(name, "/faces.png"), { seeds, columns, ...lookQuery(look, info), download: 1 });
  const options = [look.stage !== info.stages.at(-1) && `--stage ${look.stage}`, look.truncation !== 1 && `--truncation ${look.truncation}`, look.label && `--class ${quote(look.label)}`].filter(Boolean).join(" ");
  const sliders = look.sliders.split(",").filter(Boolean).map((part) => `--slider ${part.replace(":", "=")}`).join(" ");
  // The command that moves sliders draws one face.
  const edit = (seed: string) => `pggan edit ${place} --seed ${seed} ${sliders} ${options} --out face-${seed}.png`;
  const command = sliders
    ? look.count === 1 ? edit(seeds) : `for seed in $(seq ${look.seed} ${look.seed + look.count - 1}); do ${edit("$seed")}; done`
    : `pggan generate ${place} --seeds ${seeds} ${options} --grid faces.png`;
  return (
    <div class="split">
      <div class="stage">
        <Problem text={picture.error} />
        <div class={`easel ${picture.busy ? "busy" : ""}`} aria-busy={picture.of !== path && !picture.error}>
          {picture.url ? (
            <div class="faces">
              <img class={look.stage < 48 ? "pixels" : ""} src={picture.url} alt={picture.of !== path ? "Drawing …" : look.count === 1 ? `The face of seed ${look.seed}` : `The faces of seeds ${seeds}`} />
              {look.count > 1 && picture.of === path && <div class="cells" style={{ "--columns": columns }}>{Array.from({ length: look.count }, (_, i) => <button type="button" aria-label={`Seed ${look.seed + i} alone`} title={`seed ${look.seed + i}`} onClick={() => setQuery({ seed: look.seed + i, count: 1 })} />)}</div>}
            </div>
          ) : !picture.error && <p class="hint" role="status">Drawing …</p>}
        </div>
      </div>
      <aside class="controls" aria-label="Controls">
        <div class="row seed-row">
          <SeedField value={look.seed} />
          <button type="button" class="primary" onClick={() => setQuery({ seed: randomSeed() })}>{look.count === 1 ? "Another" : "Others"}</button>
        </div>
        <div class="card">
          <Segments label="How many" value={look.count} choices={COUNTS.map((value) => ({ value, label: String(value) }))} onChange={(count) => setQuery({ count: count === 16 ? null : count })} />
          <LookControls look={look} info={info} />
        </div>
        <Sliders name={name} value={look.sliders} />
        <div class="row"><a class="button" href={download} download>Save as PNG</a></div>
        <Command text={command.replace(/ +/g, " ")} />
      </aside>
    </div>
  );
}
