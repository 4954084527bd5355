// Keeps the page for visits without a network, and gives it the headers that threads need where the host cannot.
// VERSION, FILES and LARGE, hashes of files by their names, are filled in when the site is made: a new version is a new cache.

const VERSION = "@VERSION@";
const FILES = ["@FILES@"];
const LARGE = ["@LARGE@"];
// Other pages may live on the same host: only caches of this address are this page's own, and only these files.
const OURS = `pggan ${self.registration.scope} `;
const CACHE = OURS + VERSION;
const PAGE = new Set(["./", ...FILES, ...Object.keys(LARGE)].map((file) => new URL(file, self.registration.scope).href));

self.addEventListener("install", (event) => {
  // Not what the browser has kept of an earlier version.
  const fresh = ["./", ...FILES].map((file) => new Request(file, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)).then(() => self.skipWaiting()));
});

async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/** What an earlier version kept goes, but for large files that are still the same. */
async function takeOver() {
  const cache = await caches.open(CACHE);
  for (const key of (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== CACHE)) {
    const before = await caches.open(key);
    for (const [file, hash] of Object.entries(LARGE)) {
      const kept = await before.match(file);
      if (kept && (await sha256(await kept.clone().arrayBuffer())) === hash) await cache.put(file, kept);
    }
    await caches.delete(key);
  }
}

self.addEventListener("activate", (event) => event.waitUntil(takeOver().then(() => self.clients.claim())));

/** The page says what it has loaded so far, the large files of this browser's choice, and then which models it may want later.
 *  They are stored here alone, one after the other, for as long as there is room; nothing waits for it. */
self.addEventListener("message", (event) => {
  const ours = event.data.map((url) => url.split("#")[0]).filter((url) => url.startsWith(self.registration.scope));
  const keep = async () => {
    const cache = await caches.open(CACHE);
    for (const url of new Set(ours)) if (!(await cache.match(url))) await cache.add(new Request(url, { cache: "force-cache" })).catch(() => {});
  };
  event.waitUntil(keep());
});

async function answer(request) {
  const response = (await (await caches.open(CACHE)).match(request, { ignoreSearch: true })) ?? (await fetch(request));
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && PAGE.has(event.request.url.split(/[?#]/)[0])) event.respondWith(answer(event.request));
});
