// LiteRT in the browser: loads the runtime and models, reports progress, and runs models on WebGPU or in WebAssembly.

import { loadAndCompile, loadLiteRt, supportsFeature, Tensor } from "./lib/litert.js";
import { latents } from "./latents.js";

// Most RMS difference, in levels of 255, of a GPU's result from the CPU's: more is a fault. Weights of 8 bits differ less (26 dB).
const FAR = 13;

/** A message for people. */
export class Problem extends Error {}

/** Return the bytes at a URL. report: called with the number of bytes so far. cache: as of fetch. */
async function download(url, report, cache = "default") {
  const lost = () => {
    throw new Problem(`${url} could not be loaded. Check the connection, then reload this page.`);
  };
  const response = await fetch(url, { cache }).catch(lost);
  if (!response.ok) lost();
  return collect(response, report, lost);
}

/** Return the bytes of a response. report: as of download. lost: called when the connection breaks. */
async function collect(response, report, lost) {
  const parts = [];
  let size = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read().catch(lost);
    if (done) break;
    parts.push(value);
    report((size += value.length));
  }
  const bytes = new Uint8Array(size);
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
}

async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/** Return the bytes of a model. A stored copy that is damaged is removed, and the model downloaded again. */
async function intact(entry, report) {
  for (const cache of ["default", "reload"]) {
    const bytes = await download(entry.file, report, cache);
    if (bytes.length === entry.bytes && (!self.crypto?.subtle || (await sha256(bytes)) === entry.sha256)) return bytes;
    const ours = `pggan ${new URL("./", location.href)} `; // as sw.js names its caches
    for (const key of (await self.caches?.keys()) ?? []) if (key.startsWith(ours)) await (await caches.open(key)).delete(entry.file);
  }
  throw new Problem(`${entry.file} is damaged: it is not the file that this page was made with. Reload, or export the page again.`);
}

/** Download and compile the runtime at a URL at the same time, and return it as a WebAssembly.Module. report: as of download. */
async function compileRuntime(url, report) {
  const lost = () => {
    throw new Problem(`${url} could not be loaded. Check the connection, then reload this page.`);
  };
  const response = await fetch(url).catch(lost);
  if (!response.ok) lost();
  const copy = response.clone();
  const streamed = WebAssembly.compileStreaming(response).catch(() => null); // such as from a host that does not know .wasm
  const bytes = await collect(copy, report, lost);
  return (await streamed) ?? WebAssembly.compile(bytes);
}

/** Return the builds of the runtime that this browser can run, the fastest first. */
async function builds(site) {
  const offered = Object.keys(site.runtime);
  if (typeof WebAssembly !== "object") {
    throw new Problem("This browser has no WebAssembly, or it is turned off. Open the page in a recent Firefox, Chrome, Edge or Safari.");
  }
  const compatible = "litert_wasm_compat_internal"; // the one that an app has
  if (!offered.includes("litert_wasm_internal") || !(await supportsFeature("relaxedSimd"))) return [{ file: compatible, threads: false }];
  const plain = { file: "litert_wasm_internal", threads: false };
  // Threads take longer to start than a small network to draw.
  const threads = site.threads && self.crossOriginIsolated && (await supportsFeature("threads"));
  return threads ? [{ file: "litert_wasm_threaded_internal", threads }, plain] : [plain];
}

/** Draw a picture with waves of every length, 0..255, as export/web.py does: an input to test a GPU with. */
function waves([, height, width, channels]) {
  return Float32Array.from({ length: height * width * channels }, (_, i) => {
    const [c, x, y] = [i % channels, Math.floor(i / channels) % width, Math.floor(i / channels / width)];
    return Math.abs(((x * y + 85 * c) % 511) - 255);
  });
}

let runtime;

async function startRuntime(site, report) {
  let compiled, threads, loader, failure;
  // Where the host does not send the headers that threads need, the first visit loads a build without threads. At later visits
  // the service worker adds the headers; without a network only the first build is stored, so it is tried too.
  for (const build of await builds(site)) {
    // What starts the runtime is fetched beside it.
    document.head.append(Object.assign(document.createElement("link"), { rel: "preload", as: "script", crossOrigin: "anonymous", href: `lib/wasm/${build.file}.js` }));
    try {
      compiled = await compileRuntime(`lib/wasm/${build.file}.wasm`, (bytes) => report(bytes / site.runtime[build.file]));
      threads = build.threads;
      loader = threads ? "lib/wasm/" : `lib/wasm/${build.file}.js`;
      break;
    } catch (error) {
      failure = error;
    }
  }
  if (!compiled) throw failure;
  await new Promise((resolve, reject) => {
    // The runtime's loader reads this: the file is neither fetched nor compiled again, and its messages are not errors.
    self.Module = {
      instantiateWasm(imports, done) {
        WebAssembly.instantiate(compiled, imports).then((instance) => done(instance, compiled), reject);
        return {};
      },
      printErr: (line) => console.debug(line),
    };
    loadLiteRt(loader, { threads }).then(resolve, reject);
  });
  return { threads };
}

/** One network of the site. entry: its object in site.json. */
export class Model {
  static async open(site, entry, report) {
    let [ofRuntime, ofModel] = [runtime ? 1 : 0, 0];
    const total = () => report((ofRuntime * 9 + ofModel * (entry.bytes / 1e6)) / (9 + entry.bytes / 1e6));
    runtime ??= startRuntime(site, (share) => ((ofRuntime = share), total())).catch((error) => {
      runtime = undefined;
      throw error;
    });
    const [bytes, { threads }] = await Promise.all([
      intact(entry, (size) => ((ofModel = Math.min(1, size / entry.bytes)), total())),
      runtime,
    ]);
    const model = new Model();
    model.entry = entry;
    try {
      await model.compile(bytes, threads);
    } catch (error) {
      throw new Problem(`${entry.file} cannot be run in this browser (${error.message ?? error}).`);
    }
    return model;
  }

  async compile(bytes, threads) {
    if (await navigator.gpu?.requestAdapter().catch(() => null)) {
      try {
        this.compiled = await loadAndCompile(bytes, { accelerator: "webgpu" });
        this.where = "WebGPU";
        if (this.compiled.isFullyAccelerated && (await this.agrees())) return;
        this.compiled.delete();
      } catch (error) {
        console.info("WebGPU is left aside:", error);
      }
    }
    const numThreads = threads ? Math.min(4, navigator.hardwareConcurrency) : 1;
    this.compiled = await loadAndCompile(bytes, { accelerator: "wasm", cpuOptions: { numThreads } });
    this.where = numThreads > 1 ? `WebAssembly, ${numThreads} threads` : "WebAssembly";
  }

  /** Return whether the GPU's result is near the CPU's when the site was built: drivers can have faults. */
  async agrees() {
    const { signature, step, pixels } = this.entry.probe;
    const { inputs } = this.entry.signatures[signature];
    const usual = { latents: ([, size]) => latents(0, size), truncation: () => Float32Array.of(1), label: () => new Int32Array(1) };
    const values = Object.fromEntries(Object.entries(inputs).map(([name, shape]) => [name, (usual[name] ?? waves)(shape)]));
    const data = premultiply(await this.run(signature, values));
    const squares = pixels.reduce((sum, p, i) => sum + (p - data[i * step]) ** 2, 0);
    return Math.sqrt(squares / pixels.length) < FAR;
  }

  /** Run a signature. values: typed arrays by the inputs' names.
   *  Returns { data: uint8 of height x width x channels, width, height, channels, ms }. */
  async run(signature, values) {
    const begun = performance.now();
    const { inputs } = this.entry.signatures[signature];
    const tensors = {};
    for (const [name, shape] of Object.entries(inputs)) tensors[name] = new Tensor(values[name], shape);
    let image;
    try {
      ({ image } = await this.compiled.run(signature, tensors));
    } finally {
      Object.values(tensors).forEach((tensor) => tensor.delete());
    }
    const [, height, width, channels] = image.type.layout.dimensions;
    const data = Uint8ClampedArray.from(await image.data(), (v) => v * 127.5 + 127.5); // rounds half to even, clips
    image.delete();
    return { data, width, height, channels, ms: performance.now() - begun };
  }
}

/** Return whether the last channel of an image is alpha. */
export const hasAlpha = ({ channels }) => channels === 2 || channels === 4;

/** Return the values of an image, with its colours multiplied with its alpha if it has one. */
function premultiply(image) {
  const { data, channels } = image;
  if (!hasAlpha(image)) return data;
  const last = channels - 1;
  return data.map((value, i) => (i % channels === last ? value : (value * data[i - (i % channels) + last]) / 255));
}

/** Return pixels as ImageData. They have 1 or 3 channels, and straight alpha after them if there are 2 or 4. */
export function toImageData(image) {
  const { data, width, height, channels } = image;
  const out = new ImageData(width, height);
  const colours = hasAlpha(image) ? channels - 1 : channels;
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) out.data[4 * i + c] = data[channels * i + (colours === 3 ? c : 0)];
    out.data[4 * i + 3] = hasAlpha(image) ? data[channels * i + colours] : 255;
  }
  return out;
}
