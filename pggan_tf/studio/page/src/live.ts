/** Staying in step with the server: its events say what has changed, and whoever shows that fetches it again. */
import { useEffect, useRef, useState } from "preact/hooks";
import { call, say } from "./api";
import type { Job, MachineNow } from "./types";

type Listener = () => void;
const listeners = new Map<string, Set<Listener>>();

/** Call `listener` whenever a topic changes; returns how to end that. */
export function listen(topic: string, listener: Listener): () => void {
  const set = listeners.get(topic) ?? new Set();
  listeners.set(topic, set.add(listener));
  return () => set.delete(listener);
}

export function changed(topic: string): void {
  for (const listener of [...(listeners.get(topic) ?? [])]) listener();
}

const changedAll = () => [...listeners.keys()].filter((topic) => topic !== "machine" && topic !== "online").forEach(changed);

/** Jobs by id, as the server last told. */
export const jobs = new Map<string, Job>();
export let machine: MachineNow | null = null;
export let online = true;

function setOnline(value: boolean): void {
  if (online === value) return;
  online = value;
  changed("online");
}

export function noteJob(job: Job): void {
  jobs.set(job.id, job);
  changed("jobs");
  if (job.run && job.state === "done") changed(`made:${job.run}`);
}

let source: EventSource | null = null;
let timer = 0;
let waiting = 0;
let first = true;
let missing = 0;

/** Listen to the server's events, and connect again whenever the connection is lost. */
export function connect(): void {
  source?.close();
  clearTimeout(timer);
  source = new EventSource("/api/events");
  const data = (event: Event) => JSON.parse((event as MessageEvent).data || "{}");
  source.onopen = () => {
    waiting = 0;
    clearTimeout(missing);
    missing = 0;
    setOnline(true);
    if (!first) changedAll();
    void refreshJobs(); // such as one that was begun before this window was opened
    first = false;
  };
  source.addEventListener("runs", (event) => {
    changed("runs");
    changed(`runs:${data(event).name}`);
  });
  source.addEventListener("all", changedAll);
  source.addEventListener("queue", () => changed("queue"));
  source.addEventListener("folders", () => changed("folders"));
  source.addEventListener("plan", () => changed("plan"));
  source.addEventListener("job", (event) => noteJob(data(event)));
  source.addEventListener("machine", (event) => {
    machine = data(event);
    changed("machine");
  });
  source.onerror = () => {
    source?.close();
    // A short gap, as when the machine wakes up, is not worth a word.
    if (!missing && online) missing = window.setTimeout(() => setOnline(false), 1200);
    waiting = Math.min(4000, waiting + 600);
    timer = window.setTimeout(connect, waiting);
  };
}

async function refreshJobs(): Promise<void> {
  try {
    const before = [...jobs.values()].filter((job) => job.state === "running");
    const now = await call<Job[]>("GET", "/api/jobs");
    for (const job of now) jobs.set(job.id, job);
    for (const job of before) {
      if (now.some((other) => other.id === job.id)) continue;
      jobs.set(job.id, { ...job, state: "failed", error: `${job.title}: the studio was closed meanwhile. Start it again.` });
    }
    changed("jobs");
  } catch {
    // the next connection asks again
  }
}

// A window that nobody sees asks for nothing: training keeps its cores.
let asleep = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(asleep);
  if (document.hidden) asleep = window.setTimeout(() => (source?.close(), clearTimeout(timer), (source = null)), 30_000);
  else if (!source) connect();
});

/** Return a value that is read anew whenever a topic changes. */
export function useTopic<T>(topic: string, read: () => T): T {
  const [, setCount] = useState(0);
  useEffect(() => listen(topic, () => setCount((n) => n + 1)), [topic]);
  return read();
}

export const useOnline = () => useTopic("online", () => online);
export const useMachine = () => useTopic("machine", () => machine);

export interface Live<T> { data: T | null; error: string | null; busy: boolean; again: () => void }

/** Return what the server answers at a path, fetched again when one of the topics changes. A path of null asks nothing. */
export function useLive<T>(path: string | null, topics: string[]): Live<T> {
  const [state, setState] = useState<{ path: string | null; data: T | null; error: string | null; busy: boolean }>({ path: null, data: null, error: null, busy: false });
  const again = useRef<() => void>(() => {});
  useEffect(() => {
    if (path === null) return;
    let given = false;
    let flying = false;
    let dirty = false;
    const control = new AbortController();
    const load = async () => {
      if (flying) return void (dirty = true);
      flying = true;
      setState((before) => ({ ...before, data: before.path === path ? before.data : null, path, busy: true }));
      try {
        const data = await call<T>("GET", path, undefined, control.signal);
        if (!given) setState({ path, data, error: null, busy: false });
      } catch (error) {
        const text = say(error);
        if (!given && text) setState((before) => ({ ...before, path, error: text, busy: false }));
      }
      flying = false;
      if (dirty && !given) (dirty = false), void load();
    };
    again.current = () => void load();
    void load();
    const ends = topics.map((topic) => listen(topic, () => void load()));
    return () => {
      given = true;
      control.abort();
      ends.forEach((end) => end());
    };
  }, [path, topics.join(" ")]);
  const mine = state.path === path;
  return { data: mine ? state.data : null, error: mine ? state.error : null, busy: path !== null && (!mine || state.busy), again: () => again.current() };
}

export interface Work<R> {
  job: Job<R> | null; error: string | null; busy: boolean;
  start: (request: () => Promise<Job<R>>) => Promise<void>; cancel: () => void; clear: () => void;
}

/**
 * Start long work on the server and follow it. Starting anew cancels what runs. `mine` tells which work goes on when this is
 * shown no more, and is followed again when it is: what is kept in files.
 */
export function useJob<R>(mine?: (job: Job) => boolean): Work<R> {
  const [id, setId] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [asking, setAsking] = useState(false);
  const latest = useRef(0);
  const current = useRef<string | null>(null);
  const job = useTopic("jobs", () => (id ? ((jobs.get(id) as Job<R>) ?? null) : null));
  const found = useTopic("jobs", () => (id || !mine ? null : ([...jobs.values()].find((other) => other.state === "running" && mine(other))?.id ?? null)));
  useEffect(() => {
    if (found && !id && !asking) (current.current = found), setId(found);
  }, [found]);
  const drop = () => {
    const running = current.current && jobs.get(current.current);
    current.current = null;
    if (running && running.state === "running") void call("DELETE", `/api/jobs/${running.id}`).catch(() => {});
  };
  useEffect(() => (mine ? undefined : drop), []);
  return {
    job, error: error ?? (job?.state === "failed" ? job.error : null), busy: asking || job?.state === "running",
    async start(request) {
      const turn = ++latest.current;
      drop();
      setError(null);
      setAsking(true);
      try {
        const started = await request();
        if (turn !== latest.current) return void call("DELETE", `/api/jobs/${started.id}`).catch(() => {});
        // An event may have told that it has ended, well or not, before this answer came.
        if ((jobs.get(started.id)?.state ?? "running") === "running") jobs.set(started.id, started);
        current.current = started.id;
        setId(started.id);
        changed("jobs");
      } catch (problem) {
        if (turn === latest.current) setError(say(problem)), setId(null);
      }
      if (turn === latest.current) setAsking(false);
    },
    cancel: () => {
      const running = id && jobs.get(id);
      if (running) void call("DELETE", `/api/jobs/${running.id}`).then(() => noteJob({ ...running, state: "cancelled" }), (problem) => setError(say(problem)));
    },
    clear: () => (drop(), setId(null), setError(null)),
  };
}
