/** What is shown, kept in the address behind #: back, forward, reload and a copied address show it again. */
import { useEffect, useState } from "preact/hooks";

export const PANELS = ["photos", "grow", "watch", "play", "compare"] as const;
export type Panel = (typeof PANELS)[number];
export interface Route { panel: Panel; name: string; query: URLSearchParams }

/** Read an address such as #watch/00003-pggan-photos?grid=12. */
export function readRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?", 2);
  const [panel = "", ...rest] = path.split("/");
  let name = rest.join("/");
  try {
    name = decodeURIComponent(name);
  } catch {
    // an address typed by hand may be none
  }
  return { panel: (PANELS as readonly string[]).includes(panel) ? (panel as Panel) : "photos", name, query: new URLSearchParams(query) };
}

export function addressOf(panel: Panel, name = "", query?: Record<string, string | number | null | undefined>): string {
  const values = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {})) if (value !== null && value !== undefined && value !== "") values.set(key, String(value));
  return `#${panel}${name ? `/${encodeURIComponent(name)}` : ""}${values.size ? `?${values}` : ""}`;
}

// The last address of each panel: going back to a panel finds it as it was left.
const left = new Map<Panel, string>();
export const lastAddress = (panel: Panel) => left.get(panel) ?? `#${panel}`;

export function go(address: string): void {
  location.hash = address;
}

/** Change the values behind ? without a new step of the history; null removes one. */
export function setQuery(values: Record<string, string | number | null>): void {
  const { panel, name, query } = readRoute(location.hash);
  for (const [key, value] of Object.entries(values)) value === null || value === "" ? query.delete(key) : query.set(key, String(value));
  const address = `#${panel}${name ? `/${encodeURIComponent(name)}` : ""}${query.size ? `?${query}` : ""}`;
  if (address === location.hash) return;
  history.replaceState(null, "", address);
  window.dispatchEvent(new Event("studio-route"));
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => readRoute(location.hash));
  useEffect(() => {
    const read = () => {
      const next = readRoute(location.hash);
      left.set(next.panel, location.hash || "#photos");
      setRoute(next);
    };
    read();
    window.addEventListener("hashchange", read);
    window.addEventListener("studio-route", read);
    return () => (window.removeEventListener("hashchange", read), window.removeEventListener("studio-route", read));
  }, []);
  return route;
}
