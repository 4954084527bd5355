/** A photo through a network: before and after under one slider; colours of places that a person knows. */
import { useEffect, useRef, useState } from "preact/hooks";
import { runPath, say, take, withQuery } from "./api";
import { hex, type Hint, hintText, hintsOf, LIKELY, lightnessOf, rgbOf, type Rgb } from "./hints";
import { changed } from "./live";
import { MadeList, useThings } from "./made";
import { usePicture } from "./picture";
import { PhotoDrop } from "./photo-drop";
import { setQuery } from "./route";
import type { GeneratorInfo, Thing } from "./types";
import { Command, Problem, Slider, Switch, useLater } from "./widgets";
import { quote } from "./words";

const DOES = { colorize: "Give it a gray photo, and it paints the colours.", recolor: "Give it a negative, and it finds the colours.", upscale: "Give it a small photo, and it draws a larger one.", translate: "Give it a picture, and it makes the other one.", generate: "" };

interface Photo { file: File; url: string; width: number; height: number; gray: (x: number, y: number) => number }

async function openPhoto(file: File): Promise<Photo> {
  const url = URL.createObjectURL(file);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    throw new Error(`${file.name} cannot be read as a picture here. Choose a JPEG, PNG or WebP.`);
  }
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.min(width, 512), height: Math.round(height * (Math.min(width, 512) / width)) || 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const gray = (x: number, y: number) => {
    const [r, g, b] = context.getImageData(Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data;
    return 0.299 * r! + 0.587 * g! + 0.114 * b!;
  };
  return { file, url, width, height, gray };
}

export function Convert({ name, place, info, query }: { name: string; place: string; info: GeneratorInfo; query: URLSearchParams }) {
  const [photo, setPhoto] = useState<Photo | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [hints, setHints] = useState<Hint[]>([]);
  const [hinting, setHinting] = useState(false);
  const [saturation, setSaturation] = useState(1);
  const [split, setSplit] = useState(50);
  const colour = info.task === "colorize";
  const pathOf = (photo: Photo, hints: Hint[], saturation: number) => withQuery(runPath(name, "/convert"), { name: photo.file.name.slice(-200), saturation: colour && saturation !== 1 ? saturation : null, hints: hintText(hints, photo.width, photo.height) });
  const path = photo && pathOf(photo, hints, saturation);
  const [kept, setKept] = useState<{ of: string; url: string } | null>(null); // what was made before: it is shown until something else is asked for
  const wish = useLater(photo && { path, key: photo.url }, 150);
  const wanted = photo && wish?.key === photo.url && wish.path !== kept?.of ? wish.path : null;
  const asked = usePicture(wanted, photo ? { body: photo.file, key: photo.url } : undefined);
  const picture = kept && !asked.url ? { ...asked, ...kept } : asked;
  const busy = picture.busy || (picture.of !== path && !picture.error);
  const { things, chosen, error } = useThings(name, "convert", query);
  const current = useRef<string | null>(null); // what the address names, once it is shown
  const show = (opened: Photo, hints: Hint[], saturation: number, made: Blob | null) => (setPhoto(opened), setHints(hints), setSaturation(saturation), setHinting(false), setProblem(null),
    setKept(made && { of: pathOf(opened, hints, saturation), url: URL.createObjectURL(made) }));
  const choose = (file: File) => openPhoto(file).then((opened) => ((current.current = null), setQuery({ made: null }), show(opened, [], 1, null)), (error) => setProblem(error.message));
  const reopen = async (thing: Thing) => {
    const before = thing.files.find((file) => file.name.startsWith("before."));
    if (!before || current.current === thing.id) return;
    current.current = thing.id;
    try {
      const { blob } = await take("GET", before.url);
      const { blob: made } = await take("GET", thing.url);
      const opened = await openPhoto(new File([blob], thing.name ?? before.name, { type: blob.type }));
      if (current.current === thing.id) show(opened, hintsOf(thing.hints ?? [], opened.width, opened.height), thing.saturation ?? 1, made);
    } catch (error) {
      setProblem(say(error));
    }
  };
  useEffect(() => {
    if (chosen) void reopen(chosen);
  }, [chosen?.id]);
  useEffect(() => {
    if (photo && picture.made && picture.from === photo.url && picture.made !== current.current) (current.current = picture.made), setQuery({ made: picture.made });
    if (picture.made) setKept(null), changed(`made:${name}`);
  }, [picture.made, picture.url]);
  const command = `pggan ${info.task === "recolor" ? "colorize" : info.task} ${place} ${quote(photo?.file.name ?? "photo.jpg")} --out result.png${photo ? hintText(hints, photo.width, photo.height).split(";").filter(Boolean).map((hint) => ` --hint ${hint.replace("=", "=#")}`).join("") : ""}${colour && saturation !== 1 ? ` --saturation ${saturation}` : ""}`;
  return (
    <div class="split">
      <div class="stage">
        <Problem text={problem ?? picture.error ?? error} />
        {!photo ? <PhotoDrop does={DOES[info.task]} choose={choose} /> : (
          <div class={`compare-view ${hinting ? "hinting" : ""} ${busy ? "busy" : ""}`} aria-busy={busy} style={{ "--split": `${split}%`, "--ratio": photo.width / photo.height }}>
            {picture.url ? <img class="after" src={picture.url} alt="What the network made of it" /> : <img class="after dim" src={photo.url} alt="" />}
            {picture.url && !hinting && <img class={`before ${colour ? "gray" : ""}`} src={photo.url} alt="The photo before" />}
            {picture.url && !hinting && <input type="range" aria-label="Before and after" min={0} max={100} value={split} onInput={(e) => setSplit(e.currentTarget.valueAsNumber)} />}
            {picture.url && !hinting && <><span class="tag left">before</span><span class="tag right">after</span></>}
            {hinting && <Places photo={photo} hints={hints} change={setHints} />}
          </div>
        )}
      </div>
      <aside class="controls" aria-label="Controls">
        {photo && <>
          <p class="hint" role="status">{busy ? "Working …" : `${photo.file.name}, ${photo.width} × ${photo.height} pixels`}</p>
          {info.hints && <div class="card"><Switch label="Give colours" hint="tap a place and say which colour it has" value={hinting} onChange={setHinting} />
            {hints.length > 0 && <div class="row between"><span class="swatch-row">{hints.map((hint) => <Swatch rgb={hint.rgb} />)}</span><button type="button" class="small" onClick={() => setHints(hints.slice(0, -1))}>Take back</button></div>}</div>}
          {colour && <div class="card"><Slider label="Saturation" value={saturation} minimum={0} maximum={2} step={0.05} shown={saturation.toFixed(2)} onInput={setSaturation} /></div>}
          <div class="row">
            {picture.url && <a class="button primary" href={picture.url} download={`${photo.file.name.replace(/\.\w+$/, "")}-${info.task}.png`}>Save as PNG</a>}
            <button type="button" onClick={() => ((current.current = null), setPhoto(null), setQuery({ made: null }))}>Another photo</button>
          </div>
        </>}
        <Command text={command} />
        <MadeList name={name} title="Photos" things={things} chosen={chosen} words={(one) => one.name ?? "photo"} />
      </aside>
    </div>
  );
}

function Swatch({ rgb }: { rgb: Rgb }) {
  return <i class="swatch-dot" style={{ background: `#${hex(rgb)}` }} />;
}

/** The places of a photo that have a colour; a tap, or arrow keys and Enter, asks for another one. */
function Places({ photo, hints, change }: { photo: Photo; hints: Hint[]; change: (hints: Hint[]) => void }) {
  const [place, setPlace] = useState<{ x: number; y: number } | null>(null);
  const [asking, setAsking] = useState(false);
  const view = useRef<HTMLDivElement>(null);
  const palette = useRef<HTMLDivElement>(null);
  useEffect(() => view.current?.focus(), []);
  useEffect(() => {
    if (asking) palette.current?.querySelector("button")?.focus();
  }, [asking]);
  const tap = (event: MouseEvent) => {
    const box = view.current!.getBoundingClientRect();
    setPlace({ x: Math.min(0.999, Math.max(0, (event.clientX - box.left) / box.width)), y: Math.min(0.999, Math.max(0, (event.clientY - box.top) / box.height)) });
    setAsking(true);
  };
  const press = (event: KeyboardEvent) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!by && event.key !== "Enter") return;
    event.preventDefault();
    const { x, y } = place ?? { x: 0.5, y: 0.5 };
    const near = (v: number, d: number) => Math.min(0.99, Math.max(0, v + d / 40));
    setPlace(by ? { x: near(x, by[0]!), y: near(y, by[1]!) } : { x, y });
    if (!by) setAsking(true);
  };
  const choose = (rgb: Rgb) => {
    change([...hints, { ...place!, rgb }]);
    setPlace(null);
    setAsking(false);
    view.current?.focus();
  };
  const lightness = place ? lightnessOf(photo.gray(place.x, place.y)) : 50;
  return (
    <>
      <div ref={view} class="places" tabIndex={0} role="group" aria-label="The photo. Arrow keys move a place, Enter asks for its colour." onClick={tap} onKeyDown={press}>
        {hints.map((hint) => <i style={{ left: `${100 * hint.x}%`, top: `${100 * hint.y}%`, background: `#${hex(hint.rgb)}` }} />)}
        {place && <i class="open" style={{ left: `${100 * place.x}%`, top: `${100 * place.y}%` }} />}
      </div>
      {asking && place && (
        <div ref={palette} class="palette" role="group" aria-label="Which colour is it there?" onKeyDown={(e) => e.key === "Escape" && (setAsking(false), view.current?.focus())}>
          {Object.entries(LIKELY).map(([title, [a, b]]) => {
            const rgb = rgbOf(lightness, a, b);
            return <button type="button" aria-label={title} title={title} style={{ background: `#${hex(rgb)}` }} onClick={() => choose(rgb)} />;
          })}
          <label class="button small other">Other<input type="color" class="unseen" aria-label="Another colour" onChange={(e) => choose([1, 3, 5].map((i) => parseInt(e.currentTarget.value.slice(i, i + 2), 16)) as Rgb)} /></label>
        </div>
      )}
    </>
  );
}
