/** Numbers as people read them. */
import type { RunState, Task } from "./types";

const round = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const count = (n: number) => n.toLocaleString("en");
export const short = (n: number) =>
  n >= 999_500 ? `${round.format(n / 1e6)} M` : n >= 10_000 ? `${Math.round(n / 1000)} k` : count(Math.round(n));
export const number = (value: number) => (Number.isInteger(value) && Math.abs(value) < 1e6 ? count(value) : round.format(value));
export const plural = (n: number, one: string, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = seconds / 60;
  if (minutes < 90) return `${Math.round(minutes)} min`;
  const hours = minutes / 60;
  return hours < 36 ? `${round.format(hours)} h` : `${round.format(hours / 24)} days`;
}

export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 999_500 ? `${round.format(bytes / 1e3)} kB` : `${round.format(bytes / 1e6)} MB`;
}

export const STATES: Record<RunState, string> = {
  waiting: "waiting", running: "learning", paused: "paused", interrupted: "interrupted", done: "done", failed: "failed",
};

export const TASKS: Record<Task, string> = {
  generate: "draws new pictures", colorize: "colours gray photos", recolor: "colours negatives", upscale: "enlarges photos",
  translate: "turns pictures into others",
};

const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
/** Return a time in seconds since 1970 as people read it: of today the hour, else the day. */
export function moment(seconds: number): string {
  const date = new Date(1000 * seconds);
  return (date.toDateString() === new Date().toDateString() ? clock : day).format(date);
}

/** Return a text as one word of a shell. */
export const quote = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);

/** Return an option's name or value as text. */
export const label = (name: string) => name.replaceAll("_", " ");
export function text(value: unknown): string {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return number(value);
  if (Array.isArray(value)) return value.map(text).join(", ");
  if (typeof value === "object") return Object.entries(value).map(([key, part]) => `${key}: ${text(part)}`).join(", ");
  return String(value);
}
