/** What was made of a run before: found again in its files, opened, saved or removed. */
import { useEffect, useState } from "preact/hooks";
import { call, runPath, say, withQuery } from "./api";
import { changed, type Live, useLive, type Work } from "./live";
import { setQuery } from "./route";
import type { Made, Thing } from "./types";
import { Ask, Icon, Problem } from "./widgets";
import { moment, size } from "./words";

export const useMade = (name: string): Live<Made> => useLive<Made>(runPath(name, "/made"), [`made:${name}`, `runs:${name}`]);

/** The things of one kind, and the one that the address names; `work` makes further ones, and the address follows. */
export function useThings(name: string, kind: Thing["kind"], query: URLSearchParams, work?: Work<Thing>): { things: Thing[]; chosen: Thing | null; error: string | null } {
  const made = useMade(name);
  const things = (made.data?.things ?? []).filter((thing) => thing.kind === kind);
  const fresh = work?.job?.state === "done" ? work.job.result : null;
  useEffect(() => {
    if (fresh) setQuery({ made: fresh.id });
  }, [fresh?.id]);
  const asked = query.get("made");
  const chosen = things.find((thing) => thing.id === asked) ?? (fresh && fresh.id === asked ? fresh : null);
  return { things, chosen, error: made.error };
}

export function MadeList({ name, title, things, chosen, words, open = (thing) => setQuery({ made: thing.id }) }: {
  name: string; title: string; things: Thing[]; chosen: Thing | null; words: (thing: Thing) => string; open?: (thing: Thing) => void;
}) {
  const [removing, setRemoving] = useState<Thing | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const remove = async (thing: Thing) => {
    try {
      await call("DELETE", runPath(name, `/made/${thing.id}`));
      setProblem(null);
      if (thing.id === chosen?.id) setQuery({ made: null });
    } catch (error) {
      setProblem(say(error));
    }
    changed(`made:${name}`);
  };
  if (!things.length && !problem) return null;
  return (
    <section class="card made" aria-labelledby="made">
      <h2 id="made">{title}</h2>
      <Problem text={problem} />
      <ul>
        {things.map((thing) => (
          <li key={thing.id}>
            <button type="button" class="quiet" aria-current={thing.id === chosen?.id ? "true" : undefined} onClick={() => open(thing)}>
              <span>{words(thing)}</span><small>{moment(thing.at)}, {size(thing.bytes)}</small>
            </button>
            <a class="button small" href={withQuery(thing.url, { download: 1 })} download aria-label={`Save ${words(thing)}`}>Save</a>
            <button type="button" class="icon" aria-label={`Remove ${words(thing)}`} onClick={() => setRemoving(thing)}><Icon name="close" /></button>
          </li>
        ))}
      </ul>
      {removing && <Ask title="Remove it?" text={`${words(removing)}, with its files in the folder of the run. That cannot be taken back.`} action="Remove" close={() => setRemoving(null)} go={() => void remove(removing)} />}
    </section>
  );
}
