// Keeps the page for visits without a network, and gives it the headers that threads need where the host cannot.
// VERSION and FILES are filled in when the site is made: a new version is a new cache.

const VERSION = "@VERSION@";
const FILES = ["@FILES@"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(["./", ...FILES])).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = async () => Promise.all((await caches.keys()).filter((key) => key !== VERSION).map((key) => caches.delete(key)));
  event.waitUntil(old().then(() => self.clients.claim()));
});

/** The page says what it has loaded so far: the large files of this browser's choice. */
self.addEventListener("message", (event) => {
  const ours = event.data.map((url) => url.split("#")[0]).filter((url) => url.startsWith(self.registration.scope));
  const keep = async () => {
    const cache = await caches.open(VERSION);
    for (const url of new Set(ours)) if (!(await cache.match(url))) await cache.add(new Request(url, { cache: "force-cache" })).catch(() => {});
    for (const client of await self.clients.matchAll()) client.postMessage("kept");
  };
  event.waitUntil(keep());
});

async function answer(request) {
  const held = await caches.match(request, { ignoreSearch: true });
  const response = held ?? (await fetch(request));
  if (!held && response.ok && new URL(request.url).origin === location.origin) {
    const cache = await caches.open(VERSION);
    await cache.put(request, response.clone());
  }
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && event.request.url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});
