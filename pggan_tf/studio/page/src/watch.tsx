/** Watch: the runs, and of one of them everything while it learns. */
import { useEffect, useState } from "preact/hooks";
import { call, runPath, say } from "./api";
import { changed, useLive, useMachine } from "./live";
import { Queue, useQueue } from "./queue";
import { addressOf, go, type Route } from "./route";
import { RunCurves } from "./run-curves";
import { RunGrids } from "./run-grids";
import type { Entry, Machine, Run, RunDetail, Studio } from "./types";
import { announce, Ask, Command, Empty, Problem, Progress, Typed } from "./widgets";
import { duration, number, plural, short, STATES, TASKS, text } from "./words";

export function Watch({ studio, route }: { studio: Studio; route: Route }) {
  const runs = useLive<Run[]>("/api/runs", ["runs", "queue"]);
  const own = (runs.data ?? []).filter((run) => !run.pretrained);
  const queue = useQueue();
  // What is prepared has no run yet.
  const preparing = route.name || own.some((run) => run.state === "running") ? undefined : queue.data?.find((entry) => entry.state === "running" && !entry.run);
  const chosen = route.name || own.find((run) => run.state === "running")?.name || own[0]?.name || null;
  if (runs.data && !own.length && !route.name && !preparing) {
    if (!queue.data && !queue.error) return <p class="hint opening" role="status">Opening …</p>;
    return (
      <div class="narrow">
        {queue.data?.length ? <p class="hint">A run is shown here as soon as it begins.</p> : <Empty title="Nothing has been grown yet" picture={<Sprout />}>
          <p>Choose photos and a recipe, and watch here how the pictures come.</p>
          <div class="row centre"><a class="button primary" href="#grow">To Grow</a></div>
        </Empty>}
        <Queue />
      </div>
    );
  }
  if (!runs.data) return runs.error ? <Problem text={runs.error} /> : <p class="hint opening" role="status">Opening …</p>;
  return (
    <div class="watch">
      <nav class="runs" aria-label="Runs">
        <Problem text={runs.error} />
        {own.length > 0 && <ul>{own.map((run) => <RunRow key={run.name} run={run} current={!preparing && run.name === chosen} />)}</ul>}
        <Queue withoutRuns />
      </nav>
      {preparing ? <Preparing entry={preparing} /> : chosen && <OneRun key={chosen} name={chosen} machine={studio.machine} />}
    </div>
  );
}

const Sprout = () => (
  <svg class="sprout" viewBox="0 0 120 90" aria-hidden="true">
    {[8, 14, 22, 34].map((side, i) => <rect x={[6, 22, 44, 76][i]} y={80 - side} width={side} height={side} rx={3} opacity={0.35 + 0.2 * i} />)}
  </svg>
);

function Preparing({ entry }: { entry: Entry }) {
  return (
    <article class="run" aria-label={entry.title}>
      <div class="run-top">
        <div class="hero"><div class="canvas empty-canvas"><div class="narrow"><Sprout /><p class="hint" role="status">{entry.text || "Beginning …"}</p><Progress label="Preparing" value={null} /></div></div></div>
        <div class="controls"><h2 class="run-title">{entry.title}</h2><p class="state"><i class="dot running" />Preparing what it learns from.</p><Command text={entry.command} /></div>
      </div>
    </article>
  );
}

function RunRow({ run, current }: { run: Run; current: boolean }) {
  return (
    <li>
      <a href={addressOf("watch", run.name)} aria-current={current ? "true" : undefined}>
        {run.picture ? <img src={run.picture} alt="" loading="lazy" /> : <i class="blank" />}
        <span>
          <b>{run.title}</b>
          <small><i class={`dot ${run.state}`} />{STATES[run.state]}{run.state === "running" && run.of ? `, ${Math.floor((100 * run.images) / run.of)} %` : run.resolution ? `, ${run.resolution} px` : ""}</small>
        </span>
      </a>
    </li>
  );
}

function OneRun({ name, machine }: { name: string; machine: Machine }) {
  const live = useLive<RunDetail>(runPath(name), [`runs:${name}`]);
  const run = live.data;
  useEffect(() => {
    if (run) announce(`${run.title}: ${STATES[run.state]}`);
  }, [run?.state]);
  if (!run) return live.error ? <div class="run"><Problem text={live.error} /></div> : <div class="run"><p class="hint" role="status">Opening …</p></div>;
  return (
    <article class="run" aria-label={run.title}>
      <Problem text={live.error} />
      <div class="run-top">
        <RunGrids run={run} />
        <div class="controls">
          <Status run={run} />
          {run.state === "running" && <MachineView machine={machine} />}
          <Problem text={run.error} />
          <Coach run={run} />
        </div>
      </div>
      <RunCurves run={run} />
      <div class="folds">
        <details><summary>Options that were asked for</summary><dl class="facts">{Object.entries(run.asked).map(([key, value]) => <div><dt>{key.replaceAll("_", " ")}</dt><dd>{text(value)}</dd></div>)}</dl><Command text={run.command} /></details>
        <details><summary>Log</summary><pre tabIndex={0} class="log">{run.log.join("\n") || "Nothing was printed yet."}</pre></details>
      </div>
    </article>
  );
}

function Status({ run }: { run: RunDetail }) {
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const [more, setMore] = useState(false);
  const act = async (rest: string, body: unknown = {}) => {
    setBusy(true);
    try {
      await call("POST", runPath(run.name, rest), body);
      setProblem(null);
    } catch (error) {
      setProblem(say(error));
    }
    setBusy(false);
    changed("runs");
    changed(`runs:${run.name}`);
    changed("queue");
  };
  const remove = async () => {
    try {
      await call("DELETE", runPath(run.name));
      changed("runs");
      go("#watch");
    } catch (error) {
      setProblem(say(error));
    }
  };
  const share = run.of ? Math.min(1, run.images / run.of) : 0;
  const goesOn = run.state === "paused" || run.state === "interrupted" || run.state === "failed" || run.state === "done";
  return (
    <section class="status" aria-label="State">
      <Title run={run} />
      <p class="state"><i class={`dot ${run.state}`} />{sentence(run)}</p>
      <Progress label="Images shown" value={share} />
      <dl class="figures">
        <div><dt>images</dt><dd>{short(run.images)}<small> of {short(run.of)}</small></dd></div>
        {run.phase && <div><dt>stage</dt><dd>{run.phase.resolution} px</dd></div>}
        {run.phase && <div><dt>alpha</dt><dd>{run.phase.fade ? run.phase.alpha.toFixed(2) : "1"}{run.phase.fade && <small> fading in</small>}</dd></div>}
        <div><dt>time</dt><dd>{duration(60 * run.minutes)}</dd></div>
        {run.seconds_left !== null && run.state === "running" && <div><dt>left</dt><dd>{duration(run.seconds_left)}</dd></div>}
      </dl>
      {run.stages.length > 1 && (
        <ol class="stages" aria-label="Stages">{run.stages.map((stage) => <li class={run.phase && stage === run.phase.resolution ? "now" : run.phase && stage < run.phase.resolution ? "past" : ""} aria-current={run.phase && stage === run.phase.resolution ? "step" : undefined}>{stage}</li>)}</ol>
      )}
      <div class="row">
        {run.state === "running" && <button type="button" disabled={busy || run.stopping} onClick={() => act("/pause")}>{busy || run.stopping ? "Saving …" : "Pause"}</button>}
        {goesOn && run.state !== "done" && <button type="button" class="primary" disabled={busy} onClick={() => act("/go-on", { minutes: null })}>Go on</button>}
        {run.state === "done" && <button type="button" disabled={busy} aria-expanded={more} onClick={() => setMore(!more)}>Learn longer</button>}
        {run.images > 0 && <a class={`button ${run.state === "done" ? "primary" : ""}`} href={addressOf("play", run.name)}>Play</a>}
        {run.state !== "running" && run.state !== "waiting" && <button type="button" class="quiet" onClick={() => setAsking(true)}>Delete</button>}
      </div>
      {more && <div class="row" role="group" aria-label="How much longer">{[10, 30, 60, 240].map((minutes) => <button type="button" onClick={() => (setMore(false), act("/go-on", { minutes }))}>{duration(60 * minutes)} more</button>)}</div>}
      <Problem text={problem} />
      {asking && <Ask title={`Delete ${run.title}?`} text={`The folder ${run.name} with ${plural(run.grids.length, "grid")}, its checkpoints, its generator and what was made of it (films, projections, exports) is deleted. That cannot be taken back.`} action="Delete" close={() => setAsking(false)} go={remove} />}
    </section>
  );
}

/** What the training takes of this machine, with all others on it. */
function MachineView({ machine }: { machine: Machine }) {
  const now = useMachine();
  if (!now) return null;
  const part = (used: number, all: number) => <>{number(used)}<small> of {number(all)} GB</small></>;
  return (
    <section class="card" aria-label="This machine">
      <dl class="figures">
        <div><dt>CPU</dt><dd>{Math.round(100 * now.cpu)} %<small> of {plural(machine.cores, "core")}</small></dd></div>
        {machine.memory_gb > 0 && <div><dt>memory</dt><dd>{part(now.memory, machine.memory_gb)}</dd></div>}
        {now.gpu && now.gpu.use !== null && <div><dt>GPU</dt><dd>{Math.round(100 * now.gpu.use)} %</dd></div>}
        {now.gpu && now.gpu.memory !== null && now.gpu.total !== null && <div><dt>GPU memory</dt><dd>{part(now.gpu.memory, now.gpu.total)}</dd></div>}
      </dl>
    </section>
  );
}

function sentence(run: RunDetail): string {
  const does = `${run.recipe}, ${TASKS[run.task] ?? run.task}`;
  switch (run.state) {
    case "running": return run.stopping ? "Saving everything, then it pauses." : `Learning: ${does}.`;
    case "waiting": return `Waiting for its turn: ${does}.`;
    case "paused": return "Paused. Everything is saved; it goes on exactly where it was.";
    case "interrupted": return run.saved === false ? "Interrupted before its first checkpoint. To go on, it begins anew." : "Interrupted. It goes on from its newest checkpoint.";
    case "failed": return "Stopped by an error.";
    case "done": return `Done: ${does}.`;
  }
}

function Title({ run }: { run: RunDetail }) {
  const [problem, setProblem] = useState<string | null>(null);
  const save = async (title: string) => {
    if (!title.trim()) return;
    try {
      await call("POST", runPath(run.name, "/name"), { title: title.trim() });
      setProblem(null);
      changed("runs");
      changed(`runs:${run.name}`);
    } catch (error) {
      setProblem(say(error));
    }
  };
  return (
    <>
      <h2 class="run-title"><Typed aria-label="Name of the run" value={run.title} maxLength={80} commit={save} /></h2>
      {run.title !== run.name && <p class="hint path">{run.name}</p>}
      <Problem text={problem} />
    </>
  );
}

function Coach({ run }: { run: RunDetail }) {
  if (!run.coach.length) return null;
  return (
    <section class="coach" aria-label="Coach">
      {run.coach.map((advice) => (
        <div class={`advice ${advice.state}`}>
          <p>{advice.sentence}</p>
          {advice.options.map((option) => <Command key={option} text={option} label="What to type" />)}
          {advice.others.length > 0 && <p class="hint">{advice.options.length ? "Or" : "Try"}: {advice.others.join("; or ")}.</p>}
        </div>
      ))}
    </section>
  );
}

