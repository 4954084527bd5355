/** What waits to be grown, in order. */
import { useState } from "preact/hooks";
import { call, say } from "./api";
import { changed, useLive } from "./live";
import { addressOf } from "./route";
import type { Entry } from "./types";
import { Icon, Problem } from "./widgets";
import { addressOfWish } from "./wish";

export const useQueue = () => useLive<Entry[]>("/api/queue", ["queue", "runs"]);

/** The entries in their order; `without` leaves out those whose run is shown elsewhere. */
export function Queue({ withoutRuns }: { withoutRuns?: boolean }) {
  const queue = useQueue();
  const [problem, setProblem] = useState<string | null>(null);
  const entries = queue.data ?? [];
  const shown = entries.filter((entry) => !(withoutRuns && entry.run && entry.state === "running"));
  if (!shown.length) return null;
  const act = async (request: Promise<unknown>) => {
    try {
      await request;
      setProblem(null);
    } catch (error) {
      setProblem(say(error));
    }
    changed("queue");
  };
  return (
    <section class="queue" aria-labelledby="queue">
      <h2 id="queue">In order</h2>
      <ol>
        {shown.map((entry) => {
          const i = entries.indexOf(entry);
          return (
          <li key={entry.id} class={entry.state}>
            <span class="what">
              <b>{entry.run ? <a href={addressOf("watch", entry.run)}>{entry.title}</a> : entry.title}</b>
              <small>{entry.text || (entry.state === "running" ? "learning" : entry.state)}</small>
            </span>
            {entry.state === "waiting" && entries[i - 1]?.state === "waiting" && <button type="button" class="icon" aria-label={`Move ${entry.title} up`} onClick={() => act(call("POST", `/api/queue/${entry.id}/move`, { to: i - 1 }))}><Icon name="up" /></button>}
            {entry.state === "waiting" && i < entries.length - 1 && <button type="button" class="icon" aria-label={`Move ${entry.title} down`} onClick={() => act(call("POST", `/api/queue/${entry.id}/move`, { to: i + 1 }))}><Icon name="down" /></button>}
            {entry.state === "failed" && <button type="button" class="small" aria-label={`Train ${entry.title} again`} onClick={() => act(call("POST", `/api/queue/${entry.id}/again`))}>Again</button>}
            {entry.state === "failed" && entry.wish && typeof entry.wish.data !== "object" && <a class="button small" aria-label={`Change what ${entry.title} asks for`} href={addressOfWish(entry.wish)}>Change it</a>}
            {(entry.state !== "running" || !entry.run) && <button type="button" class="icon" aria-label={`Take ${entry.title} out`} onClick={() => act(call("DELETE", `/api/queue/${entry.id}`))}><Icon name="close" /></button>}
            <Problem text={entry.error} />
          </li>
          );
        })}
      </ol>
      <Problem text={problem ?? queue.error} />
    </section>
  );
}
