// Keeps the page for visits without a network, and gives it the headers that threads need where the host cannot.
// VERSION and FILES are filled in when the site is made: a new version is a new cache.

const VERSION = "@VERSION@";
const FILES = ["@FILES@"];

self.addEventListener("install", (event) => {
  // Not what the browser has kept of an earlier version.
  const fresh = ["./", ...FILES].map((file) => new Request(file, { cache: "reload" }));
  event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(fresh)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = async () => Promise.all((await caches.keys()).filter((key) => key !== VERSION).map((key) => caches.delete(key)));
  event.waitUntil(old().then(() => self.clients.claim()));
});

/** The page says what it has loaded so far: the large files of this browser's choice. They are stored here alone, once the page
 *  has found them whole and for as long as there is room; nothing waits for it. */
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
  const response = (await caches.match(request, { ignoreSearch: true })) ?? (await fetch(request));
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && event.request.url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});
