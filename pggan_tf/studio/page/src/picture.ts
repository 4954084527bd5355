/** Pictures that are computed when they are asked for: only the newest wish counts, and one is asked for at a time. */
import { useEffect, useRef, useState } from "preact/hooks";
import { say, take } from "./api";

/** `of` is the path that the picture was asked from, `from` the key of what was sent: older ones while the next is on its way. `made` is by which name it is kept. */
export interface Picture { url: string | null; of: string | null; from: string | null; made: string | null; error: string | null; busy: boolean }
const NONE: Picture = { url: null, of: null, from: null, made: null, error: null, busy: false };

/** Return the picture at a path as an address of the browser's; null asks for nothing. `request` may send bytes. */
export function usePicture(path: string | null, request?: { body: Blob; key: string }): Picture {
  const [picture, setPicture] = useState<Picture>(NONE);
  const flying = useRef<AbortController | null>(null);
  const next = useRef<(() => void) | null>(null);
  const wanted = useRef<string | null>(null);
  const key = path === null ? null : `${path} ${request?.key ?? ""}`;
  useEffect(() => {
    wanted.current = key;
    if (path === null || key === null) return void setPicture(NONE);
    const load = async () => {
      const control = new AbortController();
      flying.current = control;
      setPicture((before) => ({ ...before, busy: true }));
      try {
        const { blob, made } = await take(request ? "POST" : "GET", path, request?.body, control.signal);
        const url = URL.createObjectURL(blob);
        if (wanted.current === null) URL.revokeObjectURL(url); // it is not asked for any more
        else setPicture((before) => {
          if (before.url) setTimeout(() => URL.revokeObjectURL(before.url!), 1000);
          return { url, of: path, from: request?.key ?? null, made, error: null, busy: next.current !== null };
        });
      } catch (error) {
        const text = say(error);
        if (text && !next.current && wanted.current !== null) setPicture((before) => ({ ...before, error: text, busy: false }));
      }
      flying.current = null;
      const waiting = next.current;
      next.current = null;
      waiting?.();
    };
    if (flying.current) next.current = () => void load();
    else void load();
  }, [key]);
  useEffect(() => () => ((next.current = null), flying.current?.abort()), []);
  return picture;
}
