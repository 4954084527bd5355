/** What a wish would come to: the stages and their time, what such a time gave before, and the command. */
import type { ComponentChildren } from "preact";
import type { Plan } from "./types";
import { Command, Problem } from "./widgets";
import { count, duration, plural, short } from "./words";

export function PlanView({ plan, error, busy, children }: { plan: Plan | null; error: string | null; busy: boolean; children: ComponentChildren }) {
  if (error) return <div class="card plan"><Problem text={error} />{children}</div>;
  if (!plan) return <div class="card plan waiting" aria-busy="true"><p class="hint" role="status">Working out what that comes to …</p>{children}</div>;
  return (
    <div class={`card plan ${busy ? "stale" : ""}`} aria-busy={busy}>
      <h2>What comes of it</h2>
      <Headline plan={plan} />
      <Phases plan={plan} />
      {children}
      {plan.preview.picture && <img class="preview" src={plan.preview.picture} alt="Pictures that such a training made" />}
      {plan.preview.sentence && <p>{plan.preview.sentence}</p>}
      <dl class="facts">
        <div><dt>Images shown</dt><dd>{short(plan.images)}</dd></div>
        {plan.photos !== null && <div><dt>Photos</dt><dd>{count(plan.photos)}</dd></div>}
        {plan.parameters && <div><dt>Parameters</dt><dd>{short(plan.parameters.generator)} + {short(plan.parameters.discriminator)}</dd></div>}
      </dl>
      {plan.warnings.map((warning) => <p class="warning">{warning}</p>)}
      <Command text={plan.command} />
      {plan.unwritten && <p class="hint">You changed photos by hand: the folder that the command names is written as soon as you press Grow.</p>}
      {plan.text && <details><summary>The whole plan</summary><pre tabIndex={0}>{plan.text}</pre></details>}
    </div>
  );
}

/** How large, and in what time. */
export function Headline({ plan }: { plan: Plan }) {
  const minutes = plan.phases.reduce((sum, phase) => sum + (phase.minutes ?? 0), 0);
  return <p class="headline" role="status"><b>{plan.size ?? plan.resolution}</b> pixels{minutes > 0 && <> in about <b>{duration(60 * minutes)}</b></>}</p>;
}

/** A bar of all stages, as wide as their time. */
function Phases({ plan }: { plan: Plan }) {
  const stages = new Map<number, { images: number; minutes: number; fade: number }>();
  for (const phase of plan.phases) {
    const stage = stages.get(phase.resolution) ?? { images: 0, minutes: 0, fade: 0 };
    stage.images += phase.images;
    stage.minutes += phase.minutes ?? 0;
    if (phase.fade) stage.fade += phase.images;
    stages.set(phase.resolution, stage);
  }
  const weight = (stage: { images: number; minutes: number }) => stage.minutes || stage.images;
  const total = [...stages.values()].reduce((sum, stage) => sum + weight(stage), 0) || 1;
  return (
    <ol class="phases" aria-label="Stages">
      {[...stages].map(([resolution, stage]) => (
        <li style={{ "--weight": Math.max(0.07, weight(stage) / total), "--fade": stage.images ? stage.fade / stage.images : 0 }}
          title={`${resolution} px: ${plural(stage.images, "image")}${stage.minutes ? `, ${duration(60 * stage.minutes)}` : ""}`}>
          <i />
          <b>{resolution}</b>
          {stage.minutes > 0 && weight(stage) / total > 0.13 && <span>{duration(60 * stage.minutes)}</span>}
        </li>
      ))}
    </ol>
  );
}
