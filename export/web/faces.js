// The panel of a generator: the image of a seed at every stage, morphs between two seeds, grids of several seeds.

import { openAlbum } from "./album.js";
import { latents, move, slerp } from "./latents.js";
import { filled, withPacket } from "./mark.js";
import { hasAlpha, toImageData } from "./runtime.js";
import { addSliders, readSliders } from "./sliders.js";
import { canShare, handOver, inApp, openSheet } from "./device.js";

const COUNTS = [1, 4, 9, 16, 25];
const SMOOTH = 64; // pixels; smaller pictures are enlarged with visible pixels, others smoothly
/** Return the size of a stage as text: 64, or 48x64 where images are not square. */
const nameSize = (stage, [w, h]) => (w === h ? `${stage}` : `${(stage * w) / Math.max(w, h)}x${(stage * h) / Math.max(w, h)}`);
const upper = (word) => word[0].toUpperCase() + word.slice(1);
const anySeed = () => Math.floor(Math.random() * 1e6);

function paint(canvas, image) {
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.classList.toggle("pixels", image.width < SMOOTH);
  canvas.classList.toggle("transparent", hasAlpha(image));
  canvas.getContext("2d").putImageData(toImageData(image), 0, 0);
}

/** Return the state that the address holds after #; values that are missing or wrong get defaults. */
function remembered(stages, classes, sliders) {
  const given = new URLSearchParams(location.hash.slice(1));
  const number = (name, low, high, otherwise) => {
    const value = given.has(name) ? Number(given.get(name)) : NaN;
    return value >= low && value <= high ? value : otherwise;
  };
  const stage = number("stage", 1, 4096, stages.at(-1));
  return {
    seed: Math.floor(number("seed", 0, 2 ** 32 - 1, anySeed())),
    stage: stages.includes(stage) ? stage : stages.at(-1),
    count: COUNTS.includes(number("count", 1, 25, 1)) ? number("count", 1, 25, 1) : 1,
    truncation: number("truncation", 0, 1, 1),
    target: Math.floor(number("target", 0, 2 ** 32 - 1, anySeed())),
    morph: number("morph", 0, 1, 0),
    label: Math.floor(number("label", 0, classes - 1, 0)),
    sliders: readSliders(given.get("sliders"), sliders.length),
  };
}

export async function faces(panel, model, say) {
  const { latent_size: size, classes, subject, task, sliders, weights, aspect } = model.entry;
  const stages = Object.keys(model.entry.signatures).map((name) => Number(name.split("_")[1]));
  const state = remembered(stages, Math.max(1, classes.length), sliders);
  panel.append(document.getElementById("faces").content.cloneNode(true));
  panel.style.setProperty("--aspect", aspect.join("/"));
  const grid = panel.querySelector(".faces");
  const control = (name) => panel.querySelector(`[name=${name}]`);
  const small = new Map(); // stage -> its canvas in the strip
  const directions = sliders.map(({ direction }) => direction);

  const choices = (place, name, values, draw) => {
    for (const value of values) {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name, value, className: "unseen" });
      input.checked = value === state[name];
      input.onchange = () => change({ [name]: value });
      label.append(input, ...draw(value));
      place.append(label);
    }
  };
  choices(panel.querySelector(".growth .row"), "stage", stages, (stage) => {
    small.set(stage, document.createElement("canvas"));
    return [small.get(stage), `${nameSize(stage, aspect)} px`];
  });
  choices(panel.querySelector("[data-counts]"), "count", COUNTS, (count) => [`${count}`]);
  panel.querySelector("[data-classes]").hidden = !classes.length;
  const built = !("truncation" in model.entry.signatures[`gen_${stages[0]}`].inputs); // into the network
  control("truncation").parentElement.hidden = built;
  control("label").append(...classes.map((name, i) => new Option(name, i)));

  /** Return image i of the grid as the album keeps it: all that it is drawn from. */
  const recipe = (i) => {
    const { truncation, morph, target, label, sliders } = state;
    return { seed: (state.seed + i) % 2 ** 32, label, truncation, morph, target: morph ? target : 0, sliders };
  };

  /** Draw what a recipe says: its seed's latents, moved towards the target's by the morph, then along the sliders. */
  function image({ seed, label, truncation, morph, target, sliders }, stage) {
    const own = latents(seed, size);
    const z = move(morph ? slerp(own, latents(target, size), morph) : own, directions, sliders);
    return model.run(`gen_${stage}`, { latents: z, truncation: new Float32Array([truncation]), ...(classes.length ? { label: new Int32Array([label]) } : {}) });
  }

  function buttons() {
    while (grid.children.length > state.count) grid.lastChild.remove();
    while (grid.children.length < state.count) {
      const button = document.createElement("button");
      const i = grid.children.length;
      button.onclick = () => (state.count === 1 ? fresh() : change({ seed: (state.seed + i) % 2 ** 32, count: 1 }));
      button.append(document.createElement("canvas"));
      grid.append(button);
    }
    grid.style.gridTemplateColumns = `repeat(${Math.sqrt(state.count)}, 1fr)`;
    [...grid.children].forEach((button, i) => {
      const what = `${upper(subject)} of seed ${(state.seed + i) % 2 ** 32}, ${nameSize(state.stage, aspect)} pixels`;
      button.setAttribute("aria-label", `${what}. ${state.count === 1 ? "Another one" : "Look at it alone"}`);
    });
    album.drawHearts(state.count, recipe);
  }

  function controls() {
    for (const name of ["seed", "target", "truncation", "morph", "label"]) {
      if (Number(control(name).value) !== state[name] || control(name).value === "") control(name).value = state[name];
      control(name).removeAttribute("aria-invalid");
    }
    for (const name of ["truncation", "morph"]) {
      const percent = `${Math.round(100 * state[name])} %`;
      control(name).parentElement.querySelector(".value").textContent = percent;
      control(name).setAttribute("aria-valuetext", percent);
    }
    directed.show(state.sliders);
    for (const radio of panel.querySelectorAll("[type=radio]")) radio.checked = Number(radio.value) === state[radio.name];
    control("new").textContent = `New ${subject}${state.count === 1 ? "" : "s"}`;
  }

  let wanted = 0; // number of the newest change; drawing for an older one stops
  let drawing = Promise.resolve();

  async function draw(turn) {
    const pause = () => new Promise((resolve) => setTimeout(resolve));
    let ms = 0;
    if (turn !== wanted) return;
    for (let i = 0; i < state.count; i++) {
      const made = await image(recipe(i), state.stage);
      ms += made.ms / state.count;
      if (i && turn !== wanted) return;
      paint(grid.children[i].firstChild, made); // always the first, so that the page reacts while a slider is dragged
      await pause();
      if (turn !== wanted) return;
    }
    say(`${nameSize(state.stage, aspect)} px in ${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms, ${model.where}`);
    // Only now, not at every step of a slider: browsers refuse to change the address too often.
    if (!panel.hidden) history.replaceState(null, "", panel.dataset.address);
    for (const stage of stages) {
      if (turn !== wanted) return;
      paint(small.get(stage), await image(recipe(0), stage));
      await pause();
    }
    panel.dataset.grown = turn;
  }

  function change(what) {
    Object.assign(state, what, built ? { truncation: 1 } : {});
    buttons();
    controls();
    const { sliders, ...others } = state;
    panel.dataset.address = `#${new URLSearchParams({ panel: task, ...others, ...(sliders.some(Boolean) ? { sliders } : {}) })}`;
    const turn = ++wanted;
    panel.dataset.wanted = turn;
    drawing = drawing.then(() => draw(turn)).catch((error) => say(`It could not be drawn (${error.message ?? error}).`));
    return drawing;
  }

  const directed = addSliders(panel, sliders, (amounts) => change({ sliders: amounts }));
  const album = openAlbum(panel, {
    key: weights,
    subject,
    stages,
    say,
    save: (canvas, name) => savePng(canvas, name, model.entry.mark?.plain),
    valid: (kept) => kept.sliders.length === sliders.length && kept.label < Math.max(1, classes.length),
    open: (kept) => change({ ...kept, target: kept.morph ? kept.target : state.target, count: 1 }),
    // One image after the other: the network draws no two at the same time.
    draw: (canvas, kept, stage) => {
      const drawn = drawing.then(() => image(kept, stage)).then((made) => paint(canvas, made));
      drawing = drawn.catch(() => {});
      return drawn;
    },
  });
  const fresh = () => change({ seed: anySeed(), morph: 0 });
  control("new").onclick = fresh;
  control("label").onchange = () => change({ label: Number(control("label").value) });
  for (const name of ["seed", "target"]) {
    control(name).oninput = () => {
      const valid = control(name).value !== "" && control(name).validity.valid;
      control(name).setAttribute("aria-invalid", !valid);
      if (valid) change({ [name]: Number(control(name).value) });
      else say("A seed is a whole number from 0 to 4294967295.");
    };
  }
  for (const name of ["truncation", "morph"]) control(name).oninput = () => change({ [name]: Number(control(name).value) });

  const save = async (how) => {
    // What is saved is one state: a change meanwhile is drawn first.
    for (let turn = -1; turn !== wanted; await drawing) turn = wanted;
    const side = Math.sqrt(state.count);
    const { width, height } = grid.firstChild.firstChild;
    const sheet = Object.assign(document.createElement("canvas"), { width: side * width, height: side * height });
    [...grid.children].forEach((button, i) =>
      sheet.getContext("2d").drawImage(button.firstChild, (i % side) * width, Math.floor(i / side) * height),
    );
    const { seed, count, stage, truncation, morph, target } = state;
    const parts = [count > 1 ? `${subject}s-${seed}-${count}` : `${subject}-${seed}`, `${nameSize(stage, aspect)}px`];
    if (truncation < 1) parts.push(`variety-${truncation}`);
    if (morph) parts.push(`morph-${morph}-${target}`);
    state.sliders.forEach((amount, k) => amount && parts.push(`slider-${sliders[k].number}-${amount}`));
    const { mark } = model.entry;
    const seeds = Array.from({ length: count }, (_, i) => (seed + i) % 2 ** 32).join(",");
    const values = { seeds, stage, truncation, class: classes[state.label] ?? "" };
    const moved = morph || state.sliders.some((amount) => amount); // no seed alone makes it again
    const packet = mark && (moved ? mark.plain : filled(mark.seeds, values));
    savePng(sheet, `${parts.join("-").replaceAll(" ", "-")}.png`, packet, how);
  };
  control("save").onclick = () => save("save");
  control("share").hidden = !canShare;
  control("share").onclick = () => save("share");
  control("link").hidden = inApp; // the address of an app's page leads nowhere
  control("link").onclick = async () => {
    try {
      await navigator.clipboard.writeText(new URL(panel.dataset.address, location.href).href);
      say(`The link is copied: whoever opens it sees ${state.count > 1 ? `these ${subject}s` : `this ${subject}`}.`);
    } catch {
      say("Copy the address of this page: it holds the seed.");
    }
  };
  // A link to another state was opened in this page.
  addEventListener("hashchange", () => {
    const panel = new URLSearchParams(location.hash.slice(1)).get("panel");
    if (!panel || panel === task) change(remembered(stages, Math.max(1, classes.length), sliders));
  });
  await change({});
}

/** Save a canvas as a PNG. packet: XMP that it holds; undefined: none. how: save, or share where that is possible. */
export function savePng(canvas, name, packet, how = "save") {
  canvas.toBlob(async (blob) => {
    const png = packet ? withPacket(blob, packet) : blob;
    if (inApp) return handOver(png, name, how);
    if (how === "share" && (await openSheet(png, name))) return;
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(png), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, "image/png");
}
