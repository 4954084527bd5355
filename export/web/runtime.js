// LiteRT in the browser: loads the runtime and models, with progress, and runs them on WebGPU or in WebAssembly.

import { loadAndCompile, loadLiteRt, supportsFeature, Tensor } from "./lib/litert.js";
import { latents } from "./latents.js";

/** A message for people. */
export class Problem extends Error {}

/** The bytes at a URL; report(bytes so far) as they come. */
async function download(url, report) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) throw new Problem(`${url} could not be loaded. Check the connection, then reload this page.`);
  const parts = [];
  let size = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
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

/** Which build of the runtime this browser can run. */
async function choose() {
  if (typeof WebAssembly !== "object") {
    throw new Problem("This browser has no WebAssembly, or it is turned off. Open the page in a recent Firefox, Chrome, Edge or Safari.");
  }
  if (!(await supportsFeature("relaxedSimd"))) return { file: "litert_wasm_compat_internal", threads: false };
  const threads = self.crossOriginIsolated && (await supportsFeature("threads"));
  return { file: threads ? "litert_wasm_threaded_internal" : "litert_wasm_internal", threads };
}

let runtime;

async function startRuntime(site, report) {
  const { file, threads } = await choose();
  const wasmBinary = await download(`lib/wasm/${file}.wasm`, (bytes) => report(bytes / site.runtime[file]));
  // What the runtime's loader starts from: it need not fetch the file again, and what it has to say is no error.
  self.Module = { wasmBinary, printErr: (line) => console.debug(line) };
  await loadLiteRt("lib/wasm/", { threads });
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
      download(entry.file, (size) => ((ofModel = Math.min(1, size / entry.bytes)), total())),
      runtime,
    ]);
    if (bytes.length !== entry.bytes || (self.crypto?.subtle && (await sha256(bytes)) !== entry.sha256)) {
      throw new Problem(`${entry.file} is damaged: it is not the file that this page was made with. Reload, or export the page again.`);
    }
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

  /** Whether a GPU makes what a CPU made of the same input when the site was built. Drivers can be wrong. */
  async agrees() {
    const { signature, pixels } = this.entry.probe;
    const { inputs } = this.entry.signatures[signature];
    const values = Object.fromEntries(
      Object.entries(inputs).map(([name, shape]) => {
        const size = shape.reduce((a, b) => a * b, 1);
        return [name, name === "latents" ? latents(0, size) : new Float32Array(size).fill(name === "truncation" ? 1 : 128)];
      }),
    );
    if ("label" in values) values.label = new Int32Array(1);
    const { data } = await this.run(signature, values);
    const step = Math.floor(data.length / pixels.length);
    return pixels.every((p, i) => Math.abs(p - data[i * step]) < 8);
  }

  /** values: typed arrays by the inputs' names -> { data: uint8 of height x width x channels, width, height, channels, ms }. */
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

/** Pixels of 1 or 3 channels -> ImageData. */
export function toImageData({ data, width, height, channels }) {
  const out = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) out.data[4 * i + c] = data[channels * i + (channels === 3 ? c : 0)];
    out.data[4 * i + 3] = 255;
  }
  return out;
}
