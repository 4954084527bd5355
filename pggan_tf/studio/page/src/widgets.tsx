/** The few controls that all panels are made of. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Job } from "./types";
import { count } from "./words";

/** Say something to screen readers, once. */
export function announce(sentence: string): void {
  const place = document.getElementById("said");
  if (place && place.textContent !== sentence) place.textContent = sentence;
}

export function Problem({ text, children }: { text: string | null | undefined; children?: ComponentChildren }) {
  return text ? <div class="problem" role="alert"><p>{text}</p>{children}</div> : null;
}

export function Empty({ title, children, picture }: { title: string; children?: ComponentChildren; picture?: ComponentChildren }) {
  return (
    <div class="empty">
      {picture}
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function Field({ label, hint, children }: { label: string; hint?: string; children: ComponentChildren }) {
  return (
    <label class="field">
      <span class="name">{label}</span>
      {children}
      {hint && <span class="hint">{hint}</span>}
    </label>
  );
}

interface SliderProps {
  label: string; value: number; minimum: number; maximum: number; step?: number; shown?: string; onInput: (value: number) => void;
  onChange?: (value: number) => void; disabled?: boolean; marks?: string[];
}
export function Slider({ label, value, minimum, maximum, step = 1, shown, onInput, onChange, disabled, marks }: SliderProps) {
  const share = maximum > minimum ? (value - minimum) / (maximum - minimum) : 0;
  return (
    <label class="slider">
      <span class="name">{label}</span>
      <span class="value">{shown ?? value}</span>
      <input type="range" min={minimum} max={maximum} step={step} value={value} disabled={disabled} aria-valuetext={shown}
        style={{ "--share": share }} onInput={(e) => onInput(e.currentTarget.valueAsNumber)} onChange={(e) => onChange?.(e.currentTarget.valueAsNumber)} />
      {marks && <span class="ticks" aria-hidden="true">{marks.map((mark) => <i>{mark}</i>)}</span>}
    </label>
  );
}

interface TypedProps {
  value: string; placeholder?: string; commit: (text: string) => void; live?: boolean; number?: { minimum?: number; maximum?: number; whole?: boolean };
  class?: string; maxLength?: number; id?: string; [aria: `aria-${string}`]: string | undefined;
}
/** A field that keeps what is being typed, whatever else is drawn anew meanwhile. `live` tells every valid text, else Enter or leaving does. */
export function Typed({ value, commit, live, number, ...rest }: TypedProps) {
  const [draft, setDraft] = useState<string | null>(null);
  const settle = (target: HTMLInputElement) => {
    if (draft !== null && target.validity.valid && !(number?.whole && target.value === "") && target.value !== value) commit(target.value);
    setDraft(null);
  };
  const all = {
    ...rest, spellcheck: false, value: draft ?? value,
    onInput: ({ currentTarget: target }: { currentTarget: HTMLInputElement }) => {
      if (!target.validity.badInput) setDraft(target.value); // half a number
      if (live && target.validity.valid && target.value !== "") commit(target.value);
    },
    onBlur: (e: { currentTarget: HTMLInputElement }) => settle(e.currentTarget),
    onKeyDown: (e: KeyboardEvent & { currentTarget: HTMLInputElement }) => {
      if (e.key === "Enter") settle(e.currentTarget);
      if (e.key === "Escape" && draft !== null) e.stopPropagation(), setDraft(null);
    },
  };
  return number
    ? <input type="number" inputMode={number.whole ? "numeric" : "decimal"} step={number.whole ? 1 : "any"} min={number.minimum} max={number.maximum} {...all} />
    : <input {...all} />;
}

/** One of a few: a row of radio buttons that looks like one control. */
export function Segments<T extends string | number>({ label, value, choices, onChange, quiet }: {
  label: string; value: T; choices: { value: T; label: string; hint?: string }[]; onChange: (value: T) => void; quiet?: boolean;
}) {
  const name = useId();
  return (
    <fieldset class="segments">
      <legend class={quiet ? "unseen" : "name"}>{label}</legend>
      <div>
        {choices.map((choice) => (
          <label title={choice.hint}>
            <input type="radio" name={name} checked={choice.value === value} onChange={() => onChange(choice.value)} />
            <span>{choice.label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

export function Switch({ label, value, onChange, hint }: { label: string; value: boolean; onChange: (value: boolean) => void; hint?: string }) {
  return (
    <label class="switch">
      <input type="checkbox" role="switch" checked={value} onChange={(e) => onChange(e.currentTarget.checked)} />
      <span><span class="name">{label}</span>{hint && <span class="hint">{hint}</span>}</span>
    </label>
  );
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Where the page is not https, there is no clipboard but the old one.
      const area = Object.assign(document.createElement("textarea"), { value: text, className: "unseen" });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    setCopied(true);
    announce("Copied");
    setTimeout(() => setCopied(false), 1600);
  };
  return <button type="button" class="small" onClick={copy}>{copied ? "Copied" : label}</button>;
}

export function Command({ text, label }: { text: string; label?: string }) {
  return (
    <div class="command">
      <code tabIndex={0} role="group" aria-label={label ?? "The command that does the same"}>{text}</code>
      <Copy text={text} />
    </div>
  );
}

/** A job's progress and the button that ends it; its refusal; nothing when it is done. */
export function JobView({ job, error, cancel }: { job: Job | null; error?: string | null; cancel?: () => void }) {
  const running = job?.state === "running";
  useEffect(() => {
    if (job && job.state !== "running") announce(`${job.title}: ${job.state}`);
  }, [job?.state]);
  if (error) return <Problem text={error} />;
  if (job?.state === "cancelled") return <p class="hint" role="status">{job.title}: cancelled.</p>;
  if (!job || !running) return null;
  return (
    <div class="job">
      <div class="row between">
        <span role="status">{job.text || job.title}</span>
        {cancel && <button type="button" class="small" onClick={cancel}>Cancel</button>}
      </div>
      <Progress label={job.title} value={job.total ? job.done / job.total : null} />
      {job.total ? <span class="hint">{count(job.done)} of {count(job.total)}</span> : null}
    </div>
  );
}

export function Progress({ label, value }: { label: string; value: number | null }) {
  return (
    <div class={value === null ? "progress unknown" : "progress"} role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100}
      aria-valuenow={value === null ? undefined : Math.round(100 * value)}>
      <i style={{ "--share": value ?? 0.3 }} />
    </div>
  );
}

/** A modal dialog; Escape and the button close it. */
export function Dialog({ label, close, children, wide, press }: { label: string; close: () => void; children: ComponentChildren; wide?: boolean; press?: (event: KeyboardEvent) => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    dialog.current!.showModal();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog ref={dialog} class={wide ? "wide" : ""} aria-label={label} onCancel={(e) => (e.preventDefault(), close())} onKeyDown={press}
      onClick={(e) => e.target === dialog.current && close()}>
      <div class="sheet">
        <div class="row between head">
          <h2>{label}</h2>
          <button type="button" class="icon" aria-label="Close" onClick={close}><Icon name="close" /></button>
        </div>
        {children}
      </div>
    </dialog>
  );
}

/** Ask before something that cannot be taken back. */
export function Ask({ title, text, action, close, go }: { title: string; text: string; action: string; close: () => void; go: () => void }) {
  return (
    <Dialog label={title} close={close}>
      <p>{text}</p>
      <div class="row end">
        <button type="button" onClick={close}>Keep</button>
        <button type="button" class="danger" onClick={() => (close(), go())}>{action}</button>
      </div>
    </Dialog>
  );
}

const PATHS = {
  photos: "M4 6.5A2.5 2.5 0 0 1 6.5 4h11A2.5 2.5 0 0 1 20 6.5v11a2.5 2.5 0 0 1-2.5 2.5h-11A2.5 2.5 0 0 1 4 17.5zM4.5 17l4.5-5 3.5 3.5 2.5-2.5 4.5 4M15.6 8.4h.01",
  grow: "M4 20v-4h4v4zM10 20V11h4v9zM16 20V4h4v16z",
  watch: "M3.5 17.5l5-6 4 3.5 8-9M15.5 6h5v5",
  play: "M5 7h9M18 7h1M5 12h2M11 12h8M5 17h8M17 17h2M16 5.2v3.6M9 10.2v3.6M15 15.2v3.6",
  compare: "M4 5h6.5v14H4zM13.5 5H20v14h-6.5z",
  close: "M6 6l12 12M18 6L6 18",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  moon: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
  left: "M14.5 5.5L8 12l6.5 6.5",
  right: "M9.5 5.5L16 12l-6.5 6.5",
  up: "M5.5 14.5L12 8l6.5 6.5",
  down: "M5.5 9.5L12 16l6.5-6.5",
  folder: "M3.5 7A2 2 0 0 1 5.5 5h4l2.2 2.5h6.8a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2h-13a2 2 0 0 1-2-2z",
};
export type IconName = keyof typeof PATHS;
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="glyph" viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** Return a value that follows another one with a delay, for what must not be asked at every keystroke. */
export function useLater<T>(value: T, milliseconds: number): T {
  const [late, setLate] = useState(value);
  const key = JSON.stringify(value);
  useEffect(() => {
    const timer = setTimeout(() => setLate(value), milliseconds);
    return () => clearTimeout(timer);
  }, [key, milliseconds]);
  return late;
}
