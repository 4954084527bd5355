/** Morphs, walks, the photos nearest to a face, and the face nearest to a photo. */
import { useState } from "preact/hooks";
import { call, runPath, withQuery } from "./api";
import { useJob } from "./live";
import { MadeList, useThings } from "./made";
import { usePicture } from "./picture";
import { PhotoDrop } from "./photo-drop";
import { lookQuery, LookControls, MOST_SEED, randomSeed, readLook, SeedField } from "./play-faces";
import { Sliders } from "./play-sliders";
import { setQuery } from "./route";
import type { GeneratorInfo, Job, Thing } from "./types";
import { Command, Field, JobView, Problem, Segments, Slider, Typed, useLater } from "./widgets";
import { quote } from "./words";

interface Props { name: string; place: string; info: GeneratorInfo; query: URLSearchParams }

export function Morph({ name, info, query }: Omit<Props, "place">) {
  const look = readLook(query, info);
  const { classes } = info;
  if (classes.length) look.label ??= classes[look.seed % classes.length]!; // the way from seed to seed stays in one class
  const to = Math.min(MOST_SEED, Number(query.get("to") ?? look.seed + 1));
  const mix = Number(query.get("mix") ?? 0.5);
  const face = (values: Record<string, number>) => withQuery(runPath(name, "/face.png"), { ...values, ...lookQuery(look, info) });
  const path = face({ seed: look.seed, to, mix });
  const [from, middle, end] = [usePicture(face({ seed: look.seed })), usePicture(useLater(path, 60)), usePicture(face({ seed: to }))];
  const pixels = look.stage < 48 ? "pixels" : "";
  return (
    <div class="split">
      <div class="stage">
        <Problem text={middle.error ?? from.error ?? end.error} />
        <div class="morph">
          <figure class="small">{from.url && <img class={pixels} src={from.url} alt={`Seed ${look.seed}`} />}<figcaption>{look.seed}</figcaption></figure>
          <figure class={middle.busy ? "busy" : ""} aria-busy={middle.of !== path && !middle.error}>{middle.url && <img class={pixels} src={middle.url} alt={middle.of === path ? `${Math.round(100 * mix)} % of the way from seed ${look.seed} to ${to}` : "Drawing …"} />}</figure>
          <figure class="small">{end.url && <img class={pixels} src={end.url} alt={`Seed ${to}`} />}<figcaption>{to}</figcaption></figure>
        </div>
      </div>
      <aside class="controls" aria-label="Controls">
        <div class="row seed-row"><SeedField label="From seed" value={look.seed} /><SeedField label="To seed" name="to" value={to} /></div>
        <div class="card">
          <Slider label="Between them" value={mix} minimum={0} maximum={1} step={0.01} shown={`${Math.round(100 * mix)} %`} onInput={(value) => setQuery({ mix: value })} />
          <LookControls look={look} info={info} />
        </div>
        <Sliders name={name} value={look.sliders} />
        <div class="row">
          <button type="button" onClick={() => setQuery({ seed: randomSeed(), to: randomSeed() })}>Two others</button>
          <a class="button" href={withQuery(runPath(name, "/face.png"), { seed: look.seed, to, mix, ...lookQuery(look, info), scale: 256, download: 1 })} download>Save as PNG</a>
        </div>
      </aside>
    </div>
  );
}

export function Walk({ name, place, info, query }: Props) {
  const seeds = query.get("seeds") ?? "0-5";
  const seconds = Number(query.get("seconds") ?? 8);
  const { stage } = readLook(query, info);
  const work = useJob<Thing>((job) => job.run === name && job.kind === "walk");
  const { things, chosen, error } = useThings(name, "walk", query, work);
  return (
    <div class="split">
      <div class="stage">
        <div class="easel">
          {chosen ? <video key={chosen.id} src={chosen.url} controls autoplay loop muted playsinline aria-label={`A walk through seeds ${chosen.seeds}`} /> : <p class="hint">A walk goes from seed to seed, and back to the first: a film without a cut.</p>}
        </div>
      </div>
      <aside class="controls" aria-label="Controls">
        <Field label="Seeds" hint="such as 0-5 or 3,14,159"><Typed live value={seeds} commit={(text) => setQuery({ seeds: text })} /></Field>
        <div class="card">
          <Slider label="Length" value={seconds} minimum={2} maximum={60} shown={`${seconds} s`} onInput={(value) => setQuery({ seconds: value })} />
          {info.stages.length > 1 && <Segments label="Grown to" value={stage} choices={info.stages.map((value) => ({ value, label: String(value) }))} onChange={(value) => setQuery({ stage: value })} />}
        </div>
        <button type="button" class="primary large" disabled={work.busy} onClick={() => work.start(() => call<Job<Thing>>("POST", runPath(name, "/walk"), { seeds, seconds, stage }))}>Make the film</button>
        <JobView job={work.job} error={work.error ?? error} cancel={work.cancel} />
        {chosen && <div class="row"><a class="button" href={withQuery(chosen.url, { download: 1 })} download>Save the film</a></div>}
        <Command text={`pggan interpolate ${place} --video walk.mp4 --seeds ${quote(seeds)} --seconds ${seconds} --stage ${stage} --loop`} />
        <MadeList name={name} title="Films" things={things} chosen={chosen} words={(walk) => `seeds ${walk.seeds}, ${walk.seconds} s, ${walk.stage} px`} />
      </aside>
    </div>
  );
}

export function Nearest({ name, place, info, query }: Props) {
  const look = readLook(query, info);
  const face = usePicture(withQuery(runPath(name, "/face.png"), { seed: look.seed }));
  const work = useJob<Thing>((job) => job.run === name && job.kind === "nearest");
  const { things, chosen, error } = useThings(name, "nearest", query, work);
  const found = chosen?.seed === look.seed ? chosen : null;
  return (
    <div class="split">
      <div class="stage">
        <Problem text={face.error} />
        {found ? <div class="easel"><img class="pixels" src={found.url} alt={`The face of seed ${look.seed} and the training photos nearest to it, nearest first`} /></div>
          : <div class={`easel ${work.busy ? "busy" : ""}`}>{face.url && <img class="pixels single" src={face.url} alt={`The face of seed ${look.seed}`} />}</div>}
      </div>
      <aside class="controls" aria-label="Controls">
        <p>Has it learned photos by heart? The photos that it was shown, nearest first. A copy would be the same picture.</p>
        <div class="row seed-row"><SeedField value={look.seed} /><button type="button" onClick={() => setQuery({ seed: randomSeed() })}>Another</button></div>
        <button type="button" class="primary large" disabled={work.busy} onClick={() => work.start(() => call<Job<Thing>>("POST", runPath(name, "/nearest"), { seed: look.seed }))}>Find the nearest photos</button>
        <JobView job={work.job} error={work.error ?? error} cancel={work.cancel} />
        {found && <p role="status">{found.text}</p>}
        <Command text={`pggan neighbours ${place} --seeds ${look.seed}`} />
        <MadeList name={name} title="Looked for before" things={things} chosen={found} words={(one) => `seed ${one.seed}`} open={(one) => setQuery({ made: one.id, seed: one.seed! })} />
      </aside>
    </div>
  );
}

const decibels = (value: number | null | undefined) => (value === null || value === undefined ? "the same pixels" : `${value.toFixed(1)} dB`);

export function Project({ name, place, query }: Omit<Props, "info">) {
  const [photo, setPhoto] = useState<{ file: File; url: string } | null>(null);
  const work = useJob<Thing>((job) => job.run === name && job.kind === "project");
  const { things, chosen, error } = useThings(name, "project", query, work);
  const result = work.busy ? null : chosen;
  const choose = (file: File) => {
    setPhoto({ file, url: URL.createObjectURL(file) });
    setQuery({ made: null });
    void work.start(() => call<Job<Thing>>("POST", withQuery(runPath(name, "/project"), { name: file.name.slice(-200) }), file));
  };
  return (
    <div class="split">
      <div class="stage">
        {result ? <div class="easel"><img class="pixels" src={result.url} alt="The photo, where the search began, and the nearest face" /></div>
          : photo ? <div class="easel"><img class="dim" src={photo.url} alt="Your photo" /></div>
            : work.busy ? <div class="easel"><p class="hint">The search that was begun goes on.</p></div>
              : <PhotoDrop does="Which face of this generator is nearest to a photo?" choose={choose} />}
      </div>
      <aside class="controls" aria-label="Controls">
        <p>The search moves through all that the generator can draw, towards your photo. It must look like the photos it learned from.</p>
        <JobView job={work.job} error={work.error ?? error} cancel={work.cancel} />
        {result && <p role="status">PSNR {decibels(result.psnr)}, was {decibels(result.psnr_before)} where the search began. From left to right: the photo, the beginning, the nearest face.</p>}
        {(photo || result) && <div class="row"><button type="button" onClick={() => (work.clear(), setPhoto(null), setQuery({ made: null }))}>Another photo</button>{result && <a class="button" href={withQuery(result.url, { download: 1 })} download>Save as PNG</a>}</div>}
        <Command text={`pggan project ${place} ${quote(result?.name ?? photo?.file.name ?? "photo.jpg")}`} />
        <MadeList name={name} title="Photos" things={things} chosen={result} words={(one) => `${one.name}, ${decibels(one.psnr)}`} open={(one) => (setPhoto(null), setQuery({ made: one.id }))} />
      </aside>
    </div>
  );
}
