// Stores the page for visits without a network, and adds the headers that threads need where the host does not send them.
// The export fills in VERSION, FILES and LARGE, hashes of files by their names. A new version has a new cache.

const VERSION = "@VERSION@";
const FILES = ["@FILES@"];
const LARGE = ["@LARGE@"];
// The host may have other pages: only caches of this address, and only these files, belong to this page.
const OURS = `pggan ${self.registration.scope} `;
const CACHE = OURS + VERSION;
const PAGE = new Set(["./", ...FILES, ...Object.keys(LARGE)].map((file) => new URL(file, self.registration.scope).href));

self.addEventListener("install", (event) => {
  // "reload": the browser's cache may hold an earlier version.
  const fresh = ["./", ...FILES].map((file) => new Request(file, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)).then(() => self.skipWaiting()));
});

async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/** Remove caches of earlier versions, after copying large files that have not changed. */
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

/** The page sends the addresses of the files that it has loaded, and of models for later. Only here are large files stored, one
 *  after the other, as long as there is room; nothing waits for it. */
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
