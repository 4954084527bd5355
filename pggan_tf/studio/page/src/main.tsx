/** The window: header, the five panels, what is said of a lost connection, light or dark. */
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Compare } from "./compare";
import { Grow } from "./grow";
import { connect, useLive, useMachine, useOnline } from "./live";
import { Photos } from "./photos";
import { Play } from "./play";
import { addressOf, go, lastAddress, PANELS, type Panel, useRoute } from "./route";
import type { Machine, Studio } from "./types";
import { Watch } from "./watch";
import { Icon, Problem } from "./widgets";

const TITLES: Record<Panel, string> = { photos: "Photos", grow: "Grow", watch: "Watch", play: "Play", compare: "Compare" };

// Before anything is painted.
const stored = () => {
  try {
    return localStorage.getItem("studio-theme");
  } catch {
    return null;
  }
};
// A file that is dropped beside its place must not replace the page.
for (const event of ["dragover", "drop"] as const) addEventListener(event, (dropped) => dropped.dataTransfer?.types.includes("Files") && dropped.preventDefault());
const wished = stored();
if (wished) document.documentElement.dataset.theme = wished;

function ThemeSwitch() {
  const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const [dark, setDark] = useState(isDark);
  useEffect(() => {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => setDark(isDark());
    system.addEventListener("change", follow);
    return () => system.removeEventListener("change", follow);
  }, []);
  const turn = () => {
    const theme = dark ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("studio-theme", theme);
    } catch {
      // a browser that keeps nothing: it holds for this window
    }
    setDark(!dark);
  };
  return (
    <button type="button" class="icon" aria-label={dark ? "Light colours" : "Dark colours"} title={dark ? "Light colours" : "Dark colours"} onClick={turn}>
      <Icon name={dark ? "sun" : "moon"} />
    </button>
  );
}

function MachineChip({ fixed }: { fixed: Machine | undefined }) {
  const now = useMachine();
  if (!fixed) return null;
  const gpu = fixed.gpus.length > 0;
  const title = `${fixed.cores} cores, ${Math.round(fixed.memory_gb)} GB of memory, ${gpu ? fixed.gpus.join(", ") : "no GPU"}, ${fixed.precision}`;
  return (
    <p class="machine" title={title}>
      <span class="unseen">{title}. </span>
      {now ? <><Meter name="CPU" share={now.cpu} />{now.gpu !== null && now.gpu.use !== null && <Meter name="GPU" share={now.gpu.use} />}{fixed.memory_gb > 0 && <Meter name="RAM" share={now.memory / fixed.memory_gb} />}</>
        : <span>{fixed.cores} cores</span>}
    </p>
  );
}

function Meter({ name, share }: { name: string; share: number }) {
  return <span class="meter"><span>{name}</span><b>{Math.round(100 * share)} %</b><i style={{ "--share": Math.min(1, share) }} /></span>;
}

function App() {
  const route = useRoute();
  const online = useOnline();
  const studio = useLive<Studio>("/api/studio", ["folders"]);
  useEffect(connect, []);
  useEffect(() => {
    document.title = `${TITLES[route.panel]} · pggan studio`;
  }, [route.panel]);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const panel = PANELS[Number(event.key) - 1];
      if (event.altKey && panel) event.preventDefault(), go(lastAddress(panel));
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
  const Shown = { photos: Photos, grow: Grow, watch: Watch, play: Play, compare: Compare }[route.panel];
  return (
    <>
      <header class="top">
        <a class="skip" href="#main" onClick={(e) => (e.preventDefault(), document.getElementById("main")?.focus())}>Skip to the panel</a>
        <p class="mark" aria-label="pggan studio"><svg viewBox="0 0 24 24" aria-hidden="true"><rect x="2" y="15" width="6" height="7" rx="1.6" /><rect x="9" y="9" width="6" height="13" rx="1.6" opacity=".8" /><rect x="16" y="2" width="6" height="20" rx="1.6" opacity=".6" /></svg><span>studio</span></p>
        <nav class="panels" aria-label="Panels">
          {PANELS.map((panel) => (
            <a href={panel === route.panel ? addressOf(panel) : lastAddress(panel)} aria-current={panel === route.panel ? "page" : undefined}>
              <Icon name={panel} /><span>{TITLES[panel]}</span>
            </a>
          ))}
        </nav>
        <div class="side"><MachineChip fixed={studio.data?.machine} /><ThemeSwitch /></div>
      </header>
      <div class="banner" role="status">
        {!online && <p>The studio does not answer. Trainings go on without it. This page goes on by itself as soon as “pggan studio” runs again.</p>}
      </div>
      <main id="main" tabIndex={-1} class={`panel-${route.panel}`} aria-label={TITLES[route.panel]}>
        <h1 class="unseen">{TITLES[route.panel]}</h1>
        {studio.data ? <Shown studio={studio.data} route={route} /> : studio.error ? <Problem text={studio.error} /> : <p class="hint opening" role="status">Opening …</p>}
      </main>
      <p id="said" class="unseen" aria-live="polite" />
    </>
  );
}

document.addEventListener("DOMContentLoaded", () => render(<App />, document.getElementById("studio")!));
