/** Photos: which folder, what of it is kept, and what is left out and why. */
import { useEffect, useRef, useState } from "preact/hooks";
import { call, say, withQuery } from "./api";
import { BrowseDialog, dropped, isPhoto, NOTHING, type Upload, upload } from "./folders";
import { changed, useJob, useLive, useTopic } from "./live";
import { PhotoDialog } from "./photo-dialog";
import { PhotoSheet } from "./photo-sheet";
import { addressOf, go, type Route, setQuery } from "./route";
import type { Folder, FolderDetail, Job, Look, LookParameters, Photo, PhotoPage, Studio } from "./types";
import { Ask, Empty, Icon, JobView, Problem, Progress, Segments, Slider, Switch, useLater } from "./widgets";
import { count, plural } from "./words";

// What is being copied into the studio, and what went wrong with it: copying goes on while another panel is shown.
let copying: { sending: Upload | null; problem: string | null } = { sending: null, problem: null };
const setCopying = (values: Partial<typeof copying>) => ((copying = { ...copying, ...values }), changed("copying"));
const setSending = (sending: Upload | null) => setCopying({ sending });
const setProblem = (problem: string | null) => setCopying({ problem });

export function Photos({ studio, route }: { studio: Studio; route: Route }) {
  const [browsing, setBrowsing] = useState(false);
  const { sending, problem } = useTopic("copying", () => copying);
  const [over, setOver] = useState(false);
  const folder = studio.folders.find((f) => f.id === route.name) ?? (route.name ? undefined : studio.folders.at(-1));

  const browse = () => (setProblem(null), setBrowsing(true));
  const opened = (one: Folder) => {
    setBrowsing(false);
    setProblem(null);
    changed("folders");
    go(addressOf("photos", one.id));
  };
  const open = async (path: string) => {
    try {
      opened(await call<Folder>("POST", "/api/folders", { path }));
    } catch (error) {
      setProblem(say(error));
    }
  };
  const send = async (files: { file: File; path: string }[], name: string) => {
    const photos = files.filter(({ path }) => isPhoto(path));
    if (!photos.length) return setProblem(NOTHING);
    const control = new AbortController();
    let ended = false; // copies that were begun may end later
    setProblem(null);
    try {
      const { folder: one, refused } = await upload(photos, name, control.signal, (done) => ended || setSending({ done, total: photos.length, cancel: () => control.abort() }));
      if (one && (location.hash === "" || location.hash.startsWith("#photos"))) opened(one);
      else changed("folders");
      if (refused.length) setProblem(`${plural(refused.length, "file")} left out. ${refused.slice(0, 3).join(" ")}${refused.length > 3 ? " …" : ""}`);
    } catch (error) {
      setProblem(say(error));
      changed("folders");
    }
    ended = true;
    setSending(null);
  };
  const chosen = (list: FileList | null) => {
    const files = [...(list ?? [])].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
    void send(files, files[0]?.path.includes("/") ? files[0].path.split("/")[0]! : "photos");
  };
  const drop = async (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    const { files, name } = await dropped(event.dataTransfer!);
    void send(files, name);
  };

  return (
    <section class={`photos ${over ? "over" : ""}`} onDragOver={(e) => (e.preventDefault(), setOver(true))} onDragLeave={(e) => e.currentTarget === e.target && setOver(false)} onDrop={drop}>
      <div class="bar">
        {studio.folders.length > 0 && (
          <nav class="chips" aria-label="Folders">
            {studio.folders.map((f) => (
              <a href={addressOf("photos", f.id)} class="chip" aria-current={f === folder ? "true" : undefined} title={f.path}>
                <Icon name="folder" />{f.name}{f.photos !== null && <small>{count(f.photos)}</small>}
              </a>
            ))}
          </nav>
        )}
        <div class="row">
          {studio.folders.length > 0 && <FileButton chosen={chosen} />}
          {studio.folders.length > 0 && <button type="button" onClick={browse}>Open a folder</button>}
        </div>
      </div>
      {!browsing && <Problem text={problem} />}
      {sending && (
        <div class="job">
          <div class="row between"><span role="status">Copying {count(sending.done)} of {plural(sending.total, "photo")}</span><button type="button" class="small" onClick={sending.cancel}>Cancel</button></div>
          <Progress label="Copying photos" value={sending.done / sending.total} />
        </div>
      )}
      {folder ? <OpenFolder key={folder.id} folder={folder} route={route} />
        : route.name && studio.folders.length ? <Problem text="This folder is not open any more. Choose one of those above, or open it again." />
          : (
            <Empty title="Drop a folder of photos here" picture={<Prints />}>
              <p>Portraits, pets, paintings: a few hundred of the same kind learn best. They stay on this machine, and no file of yours is changed.</p>
              <div class="row centre">
                <button type="button" class="primary" onClick={browse}>Open a folder</button>
                <FileButton chosen={chosen} />
              </div>
              <p class="hint">Only looking around? <a href={addressOf("grow", "", { data: "portraits" })}>Grow on drawn portraits</a>, which need no photo.</p>
            </Empty>
          )}
      {browsing && <BrowseDialog open={open} close={() => (setBrowsing(false), setProblem(null))} problem={problem} />}
    </section>
  );
}

function FileButton({ chosen }: { chosen: (list: FileList | null) => void }) {
  return (
    <label class="button" title="The photos of a folder are copied into the studio; for a browser on another machine, say">
      Copy photos in
      <input type="file" class="unseen" multiple {...{ webkitdirectory: true }} onChange={(e) => (chosen(e.currentTarget.files), (e.currentTarget.value = ""))} />
    </label>
  );
}

const Prints = () => (
  <svg class="prints" viewBox="0 0 160 110" aria-hidden="true">
    <g class="print" transform="rotate(-8 50 60)"><rect x="20" y="22" width="60" height="70" rx="5" /><rect class="in" x="26" y="28" width="48" height="46" rx="2" /></g>
    <g class="print" transform="rotate(7 112 56)"><rect x="84" y="18" width="60" height="70" rx="5" /><rect class="in" x="90" y="24" width="48" height="46" rx="2" /></g>
    <g class="print"><rect x="50" y="28" width="60" height="70" rx="5" /><rect class="in" x="56" y="34" width="48" height="46" rx="2" /><circle cx="80" cy="52" r="9" /><path d="M62 80c2-13 34-13 36 0z" /></g>
  </svg>
);

const START: LookParameters = { size: 64, shape: "1:1", crop: "centre", faces: false, margin: 0.3, least: 32 };
const SHAPES = ["1:1", "3:4", "4:3", "2:3", "auto"];

function OpenFolder({ folder, route }: { folder: Folder; route: Route }) {
  const known = useLive<FolderDetail>(`/api/folders/${folder.id}`, ["folders"]);
  const [wish, setWish] = useState<LookParameters | null>(null);
  const [asking, setAsking] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const work = useJob<Look>();
  // The folder knows what was changed by hand since; the job does not.
  const look = known.data?.look ?? (work.job?.state === "done" ? work.job.result : null);
  const shown = wish ?? known.data?.look?.parameters ?? START;
  const late = useLater(wish, 500);
  const begin = (parameters: LookParameters) => work.start(() => call<Job<Look>>("POST", `/api/folders/${folder.id}/look`, parameters));

  useEffect(() => {
    if (late) void begin(late);
  }, [late]);
  useEffect(() => {
    if (known.data && !known.data.look && !wish && !work.job && !work.busy) void begin(START);
  }, [known.data]);
  const set = (values: Partial<LookParameters>) => setWish({ ...shown, ...values });

  const filter = route.query.get("filter") ?? "all";
  const page = Math.max(0, Math.round(Number(route.query.get("page")) || 0));
  const photos = useLive<PhotoPage>(look ? withQuery(`/api/folders/${folder.id}/photos`, { filter, page }) : null, ["folders"]);
  const pages = photos.data?.pages;
  useEffect(() => {
    if (pages && page >= pages) setQuery({ page: pages - 1 || null }); // such as in an address from before photos were removed
  }, [page, pages]);
  const open = route.query.get("photo");
  // A photo that was left out by hand may not pass the filter any more: it stays open until it is closed.
  const opened = useRef<Photo | null>(null);
  opened.current = photos.data?.photos.find((p) => String(p.index) === open) ?? (String(opened.current?.index) === open ? opened.current : null);
  const photo = opened.current;
  const step = (by: number) => {
    const list = photos.data?.photos ?? [];
    const at = list.findIndex((p) => String(p.index) === open);
    // A photo that was just left out may not be in the list any more: its neighbours are.
    const next = at >= 0 ? list[at + by] : by > 0 ? list.find((p) => p.index > Number(open)) : list.findLast((p) => p.index < Number(open));
    if (next) setQuery({ photo: next.index });
  };
  const forget = async () => {
    try {
      await call("DELETE", `/api/folders/${folder.id}`);
      changed("folders");
      go("#photos");
    } catch (error) {
      setProblem(say(error));
    }
  };

  const grow = (
    <a class="button primary large" href={addressOf("grow", "", { data: folder.id, faces: shown.faces ? 1 : null, target_res: shown.size, shape: shown.shape === "1:1" ? null : shown.shape, "o.crop": shown.faces || shown.crop === "centre" ? null : shown.crop })}>
      {look ? `Grow on ${shown.faces && look.faces !== null ? plural(look.kept, "picture") : plural(look.kept, "photo")}` : "Grow on these photos"}
    </a>
  );
  return (
    <div class="split">
      <div class="stage">
        <JobView job={work.job} error={work.error ?? known.error} cancel={work.cancel} />
        {!look && work.job?.state === "cancelled" && <div class="row centre"><button type="button" onClick={() => void begin(shown)}>Look at the photos</button></div>}
        {look && <Filters look={look} filter={filter} />}
        <Problem text={photos.error} />
        {look && photos.data && (photos.data.photos.length
          ? <PhotoSheet folder={folder.id} photos={photos.data.photos} pairs={filter === "duplicates"} faces={shown.faces} />
          : <p class="hint centred">{filter === "all" ? "There is no photo in this folder." : "None."}</p>)}
        {photos.data && photos.data.pages > 1 && <Pages page={page} pages={photos.data.pages} />}
      </div>
      <aside class="controls" aria-label="How photos are looked at">
        {grow}
        <div class="card">
          <Segments label="Size in pixels" value={shown.size} choices={[32, 64, 128, 256].map((value) => ({ value, label: String(value) }))} onChange={(size) => set({ size })} />
          <Segments label="Shape" value={shown.shape} choices={SHAPES.map((value) => ({ value, label: value }))} onChange={(shape) => set({ shape })} />
          <Segments label="The rest of a photo" value={shown.crop} onChange={(crop) => set({ crop })}
            choices={[{ value: "centre", label: "cut off", hint: "the largest part in its middle" }, { value: "fit", label: "mirrored", hint: "all of it, its mirror image around it" }, { value: "pad", label: "padded", hint: "all of it, a border around it" }]} />
          <Switch label="Find faces" hint="cuts out every face in place of the photo’s middle" value={shown.faces} onChange={(faces) => set({ faces })} />
          {shown.faces && <>
            <Slider label="Margin around a face" value={shown.margin} minimum={0} maximum={1} step={0.05} shown={`${Math.round(100 * shown.margin)} %`} onInput={(margin) => set({ margin })} />
            <Slider label="Least size of a face" value={shown.least ?? 16} minimum={16} maximum={256} step={8} shown={`${shown.least ?? 16} px`} onInput={(least) => set({ least })} />
          </>}
        </div>
        {look && <Facts look={look} />}
        <p class="hint path">{folder.path}</p>
        <button type="button" class="quiet" onClick={() => setAsking(true)}>Close this folder</button>
        <Problem text={problem} />
      </aside>
      <div class="go-bar">{grow}</div>
      {photo && <PhotoDialog folder={folder.id} photo={photo} shape={shown.shape} step={step} close={() => setQuery({ photo: null })} saved={() => changed("folders")} />}
      {asking && <Ask title={`Close ${folder.name}?`} text="The studio forgets what it knows of it. Photos on this machine stay as they are; photos that were copied into the studio are deleted." action="Close" close={() => setAsking(false)} go={forget} />}
    </div>
  );
}

function Filters({ look, filter }: { look: Look; filter: string }) {
  const left = look.total - look.kept;
  const tabs = [["all", "All", look.total], ["kept", "Kept", look.kept], ["left_out", "Left out", left], ["duplicates", "Duplicates", look.duplicates], ["doubtful", "Worth a look", look.doubtful]] as const;
  return (
    <div class="filters">
      <div class="chips" role="group" aria-label="Which photos are shown">
        {tabs.map(([key, text, n]) => (
          <button type="button" class="chip" aria-pressed={filter === key} onClick={() => setQuery({ filter: key === "all" ? null : key, page: null, photo: null })}>{text}<small>{count(n)}</small></button>
        ))}
      </div>
      {left > 0 && (filter === "left_out" || filter === "all") && (
        <ul class="reasons">{look.left_out.filter((r) => r.count).map((r) => <li><b>{count(r.count)}</b> {r.sentence}</li>)}</ul>
      )}
    </div>
  );
}

function Facts({ look }: { look: Look }) {
  return (
    <dl class="facts">
      <div><dt>Shapes</dt><dd>{look.shapes}</dd></div>
      <div><dt>Largest possible size</dt><dd>{look.largest} px</dd></div>
      {look.faces !== null && <div><dt>Faces</dt><dd>{count(look.faces)}</dd></div>}
      {look.classes.length > 0 && <div><dt>Classes</dt><dd>{look.classes.map((c) => `${c.name} (${count(c.count)})`).join(", ")}</dd></div>}
    </dl>
  );
}

function Pages({ page, pages }: { page: number; pages: number }) {
  const to = (next: number) => setQuery({ page: next || null, photo: null });
  return (
    <nav class="row centre" aria-label="Pages of photos">
      <button type="button" class="icon" aria-label="Page before" disabled={page <= 0} onClick={() => to(page - 1)}><Icon name="left" /></button>
      <span>{page + 1} of {pages}</span>
      <button type="button" class="icon" aria-label="Next page" disabled={page >= pages - 1} onClick={() => to(page + 1)}><Icon name="right" /></button>
    </nav>
  );
}
