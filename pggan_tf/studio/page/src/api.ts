/** Asking the server: one function for JSON, one for pictures; refusals are its sentences. */

export class Refusal extends Error {
  constructor(message: string, readonly status: number) {
    super(message);
  }
}

export const GONE = "The studio does not answer. Is “pggan studio” still running? This page goes on by itself when it is.";

async function ask(method: string, path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = method === "GET" ? {} : { "X-Studio": "1" };
  let payload: BodyInit | undefined;
  if (body instanceof Blob) payload = body;
  else if (method !== "GET" && method !== "DELETE") {
    headers["Content-Type"] = "application/json";
    payload = JSON.stringify(body ?? {});
  }
  let answer: Response;
  try {
    answer = await fetch(path, { method, headers, body: payload, signal, credentials: "same-origin" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal(GONE, 0);
  }
  if (!answer.ok) throw new Refusal(await sentence(answer), answer.status);
  return answer;
}

async function sentence(answer: Response): Promise<string> {
  if (answer.status === 401) return "This window's key is not known. Open the address that “pggan studio” printed.";
  try {
    const { error } = await answer.json();
    if (typeof error === "string") return error;
  } catch {
    // no JSON: said below
  }
  return `The studio answered ${answer.status} and did not say why. Its terminal may.`;
}

/** Return the JSON of an answer. Raises Refusal with a sentence to show. */
export async function call<T>(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const answer = await ask(method, path, body, signal);
  const text = await answer.text();
  return (text ? JSON.parse(text) : null) as T;
}

/** Return the bytes of an answer, such as a picture, and by which name it is kept, if it is. */
export async function take(method: "GET" | "POST", path: string, body?: Blob, signal?: AbortSignal): Promise<{ blob: Blob; made: string | null }> {
  const answer = await ask(method, path, body, signal);
  return { blob: await answer.blob(), made: answer.headers.get("X-Made") };
}

/** Return what to show of an error; null if the request was given up on purpose. */
export function say(error: unknown): string | null {
  if (error instanceof DOMException && error.name === "AbortError") return null;
  return error instanceof Error ? error.message : String(error);
}

/** Return a path with a query of those values that are neither null nor empty. */
export function withQuery(path: string, values: Record<string, string | number | boolean | null | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

export const runPath = (name: string, rest = "") => `/api/runs/${encodeURIComponent(name)}${rest}`;
