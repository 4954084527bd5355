/** Pictures that are computed when they are asked for: only the newest wish counts, and one is asked for at a time. */
import { useEffect, useRef, useState } from "preact/hooks";
import { say, take } from "./api";

/** `of` is the path that the picture was asked from: an older one while the next is on its way. */
export interface Picture { url: string | null; of: string | null; error: string | null; busy: boolean }

/** Return the picture at a path as an address of the browser's; null asks for nothing. `request` may send bytes. */
export function usePicture(path: string | null, request?: { body: Blob; key: string }): Picture {
  const [picture, setPicture] = useState<Picture>({ url: null, of: null, error: null, busy: false });
  const flying = useRef<AbortController | null>(null);
  const next = useRef<(() => void) | null>(null);
  const key = path === null ? null : `${path} ${request?.key ?? ""}`;
  useEffect(() => {
    if (path === null || key === null) return void setPicture({ url: null, of: null, error: null, busy: false });
    const load = async () => {
      const control = new AbortController();
      flying.current = control;
      setPicture((before) => ({ ...before, busy: true }));
      try {
        const blob = await take(request ? "POST" : "GET", path, request?.body, control.signal);
        const url = URL.createObjectURL(blob);
        setPicture((before) => {
          if (before.url) setTimeout(() => URL.revokeObjectURL(before.url!), 1000);
          return { url, of: path, error: null, busy: next.current !== null };
        });
      } catch (error) {
        const text = say(error);
        if (text && !next.current) setPicture((before) => ({ ...before, error: text, busy: false }));
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
