// The panel of networks that convert photos: shows the original and the result side by side.

import { savePng } from "./faces.js";
import { drawHints, hintsSignature, offerHints } from "./hints.js";
import { Problem, toImageData } from "./runtime.js";
import { canShare } from "./device.js";

// Every phone's canvas can have 4096 pixels a side; devices that report little memory get fewer.
const LARGEST = (navigator.deviceMemory ?? 4) < 4 ? 2048 : 4096;

// How a photo is converted, by the name in site.json: its colours, from the reduced photo; all of it, in tiles; or its middle square.
const METHODS = { colours: recoloured, tiles: enlarged, square: translated };

/** Draw an image source on a canvas whose longer side is at most `longest` pixels. */
function canvasOf(source, longest, width = source.width, height = source.height) {
  const scale = Math.min(1, longest / Math.max(width, height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height); // transparent pixels become white
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

const pixelsOf = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);

/** Return the square of RGBA at (left, top) as float32 0..255 in the shape of the network's input, with 3 channels or luma.
 *  Beyond the picture its edge is repeated. */
function cut({ data, width, height }, left, top, [, side, , channels]) {
  const out = new Float32Array(channels * side * side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const from = 4 * (Math.min(top + y, height - 1) * width + Math.min(left + x, width - 1));
      if (channels === 1) out[y * side + x] = lumaAt(data, from);
      else for (let c = 0; c < 3; c++) out[3 * (y * side + x) + c] = data[from + c];
    }
  }
  return out;
}

/** Return the luma of BT.601, a whole number, of the RGBA at index i. */
const lumaAt = (data, i) => Math.round(0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]);

/** Return the luma of RGBA, float32 0..255. */
function luma({ data, width, height }) {
  return Float32Array.from({ length: width * height }, (_, i) => lumaAt(data, 4 * i));
}

const only = (model) => {
  const name = Object.keys(model.entry.signatures).find((each) => each !== hintsSignature(model));
  const [[input, shape]] = Object.entries(model.entry.signatures[name].inputs);
  return { name, input, shape, side: shape[1] };
};

/** Colour a photo. The network's square input holds the reduced photo in its own proportions, and its mirror image in the rest.
 *  The colour that the network adds, result minus gray, is smooth: it is enlarged and added to the photo, which stays sharp.
 *  hints: colours that are known at some places, see hints.js. */
async function recoloured(model, photo, report, hints) {
  const { name, input, side } = only(model);
  const { width, height } = photo;
  const full = luma(pixelsOf(photo));
  const gray = canvasFrom(grayImage(full, width, height));
  const [w, h] = [width, height].map((size) => Math.max(1, Math.round((size * side) / Math.max(width, height))));
  const square = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = square.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  const known = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const dots = known.getContext("2d", { willReadFrequently: true });
  for (let y = 0; y * h < side; y++) {
    for (let x = 0; x * w < side; x++) {
      for (const each of [context, dots]) each.setTransform(x % 2 ? -1 : 1, 0, 0, y % 2 ? -1 : 1, (x + (x % 2)) * w, (y + (y % 2)) * h);
      context.drawImage(gray, 0, 0, w, h);
      drawHints(dots, hints, w, h);
    }
  }
  const seen = luma(pixelsOf(square));
  const made = hints.length
    ? await model.run(hintsSignature(model), { [input]: seen, hints: Float32Array.from(pixelsOf(known).data) })
    : await model.run(name, { [input]: seen });
  const out = new ImageData(width, height);
  /** Return for each pixel the two of the `inner` pixels whose centres are next to its own, and the weight of the second. */
  const places = (size, inner) =>
    Array.from({ length: size }, (_, i) => {
      const at = Math.min(inner - 1, Math.max(0, ((i + 0.5) * inner) / size - 0.5));
      return [Math.floor(at), Math.min(inner - 1, Math.floor(at) + 1), at % 1];
    });
  const [columns, rows] = [places(width, w), places(height, h)];
  const added = (y, x, c) => made.data[3 * (y * side + x) + c] - seen[y * side + x];
  for (let y = 0; y < height; y++) {
    const [top, bottom, v] = rows[y];
    for (let x = 0; x < width; x++) {
      const [left, right, u] = columns[x];
      const i = y * width + x;
      for (let c = 0; c < 3; c++) {
        const upper = added(top, left, c) * (1 - u) + added(top, right, c) * u;
        const lower = added(bottom, left, c) * (1 - u) + added(bottom, right, c) * u;
        out.data[4 * i + c] = full[i] + upper * (1 - v) + lower * v;
      }
      out.data[4 * i + 3] = 255;
    }
  }
  return { before: gray, after: canvasFrom(out), ms: made.ms };
}

function grayImage(values, width, height) {
  return toImageData({ data: values, width, height, channels: 1 });
}

function canvasFrom(image) {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(image, 0, 0);
  return canvas;
}

/** Convert a photo in overlapping tiles, until report() returns false. Of each tile the part `margin` pixels from its edges is
 *  used, and all of it at the photo's own edges. */
async function enlarged(model, photo, report) {
  const { name, input, shape, side } = only(model);
  const { scale } = model.entry;
  // Less than the network's context is enough: a trained network's tiles with a margin of 8 differ by 1 of 255 from the whole.
  const margin = Math.min(model.entry.context, 16, Math.floor(side / 4));
  const { width, height } = photo;
  const after = Object.assign(document.createElement("canvas"), { width: width * scale, height: height * scale });
  const pieces = (size) => {
    if (size <= side) return [{ from: 0, keep: 0, end: size }];
    const out = [];
    for (let keep = 0; keep < size; ) {
      const from = Math.min(Math.max(0, keep - margin), size - side);
      const end = from + side >= size ? size : from + side - margin;
      out.push({ from, keep, end });
      keep = end;
    }
    return out;
  };
  const [rows, columns, pixels] = [pieces(height), pieces(width), pixelsOf(photo)];
  let [ms, done] = [0, 0];
  for (const row of rows) {
    for (const column of columns) {
      const made = await model.run(name, { [input]: cut(pixels, column.from, row.from, shape) });
      ms += made.ms;
      const [x, y] = [scale * (column.keep - column.from), scale * (row.keep - row.from)];
      const size = [scale * (column.end - column.keep), scale * (row.end - row.keep)];
      after.getContext("2d").drawImage(canvasFrom(toImageData(made)), x, y, ...size, scale * column.keep, scale * row.keep, ...size);
      report(++done / (rows.length * columns.length));
      await new Promise((resolve) => setTimeout(resolve)); // lets the page handle a click on Stop
      if (!report(done / (rows.length * columns.length))) return;
    }
  }
  return { before: photo, after, ms };
}

async function translated(model, photo) {
  const { name, input, shape, side } = only(model);
  const edge = Math.min(photo.width, photo.height);
  const square = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = square.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, (photo.width - edge) / 2, (photo.height - edge) / 2, edge, edge, 0, 0, side, side);
  const made = await model.run(name, { [input]: cut(pixelsOf(square), 0, 0, shape) });
  return { before: square, after: canvasFrom(toImageData(made)), ms: made.ms };
}

export async function photo(panel, model, say) {
  const { instruction, tags, method, scale = 1 } = model.entry;
  const longest = Math.min(model.entry.longest ?? LARGEST, LARGEST / scale); // pixels of the converted photo's longer side
  panel.append(document.getElementById("photo").content.cloneNode(true));
  const find = (selector) => panel.querySelector(selector);
  const [drop, viewfinder, waiting, compare, view] = [".drop", ".viewfinder", ".waiting", ".compare", ".view"].map(find);
  const [about, working, busy, video] = [".about", ".working", ".working progress", "video"].map(find);
  const [before, after, split, actual, save] = [".before", ".after", "[name=split]", "[name=actual]", "[name=save]"].map(find);
  const share = find("[name=share]");
  find(".does").textContent = instruction;
  find("[data-reduced]").textContent = `A photo with more than ${longest} pixels along a side is reduced to that first.`;
  [find(".left").textContent, find(".right").textContent] = tags;
  let described = `Learned from ${model.entry.about}. What it adds is a guess.`; // text below the picture
  let name; // of the photo whose result is shown
  let stream;
  let asking = 0; // counts requests: a camera that is allowed after a newer request is closed again
  let opening = 0; // counts requested photos: one that is decoded after a newer request is ignored
  let result = false; // whether there is a result to go back to
  let turn = 0; // counts conversions: an older one, or one that was stopped, ends early
  let shown; // the photo whose result is shown, to convert it again with other hints
  const offered =
    hintsSignature(model) &&
    offerHints(panel, {
      gray: (x, y) => before.getContext("2d").getImageData(Math.floor(x * before.width), Math.floor(y * before.height), 1, 1).data[0],
      changed: (hints) => change(shown.input, shown.called, shown.reduced, ++turn, hints),
    });

  const stage = (shown) => [drop, viewfinder, waiting, compare].forEach((part) => (part.hidden = part !== shown));

  /** Show that a photo is converted, or else the last result, unless the camera is open. */
  function rest(at_work = !working.hidden) {
    working.hidden = !at_work;
    save.disabled = share.disabled = at_work;
    about.textContent = at_work ? "" : described;
    if (!at_work) waiting.replaceChildren(); // it may be large
    if (!stream) stage(at_work ? waiting : result ? compare : drop);
  }
  /** Focus a control if the element that had the focus is hidden now. */
  function hold(control) {
    const focus = document.activeElement;
    if (!panel.hidden && !stream && (focus === document.body || (panel.contains(focus) && !focus.checkVisibility()))) control.focus();
  }

  let last = Promise.resolve(); // photos are converted one after the other
  const work = (source, called) => {
    const mine = ++turn;
    const input = canvasOf(source, longest);
    waiting.replaceChildren(input);
    waiting.style.setProperty("--width", `${input.width * scale}px`);
    busy.value = 0;
    say("Working …");
    rest(true);
    hold(find("[name=stop]"));
    return (last = last.then(() => mine === turn && change(input, called, Math.max(source.width, source.height) > longest, mine)));
  };

  async function change(input, called, reduced, mine, hints = []) {
    delete panel.dataset.done;
    await new Promise((resolve) => setTimeout(resolve, 30)); // lets the page show that it works
    try {
      const made = await METHODS[method](model, input, (share) => {
        busy.value = share;
        return mine === turn;
      }, hints);
      if (mine !== turn) return;
      shown = { input, called, reduced };
      if (!hints.length) offered?.reset();
      for (const [canvas, image, label] of [[before, made.before, tags[0]], [after, made.after, tags[1]]]) {
        [canvas.width, canvas.height] = [made.after.width, made.after.height];
        const context = canvas.getContext("2d");
        context.imageSmoothingEnabled = false;
        context.drawImage(image, 0, 0, canvas.width, canvas.height);
        canvas.setAttribute("aria-label", label);
      }
      result = true;
      name = called;
      find(".after-work").hidden = false;
      const [to, from] = [after, input].map(({ width, height }) => `${width} × ${height} pixels`);
      const size = !reduced ? to : to === from ? `The photo was reduced to ${to} first` : `${to}, from the photo reduced to ${from}`;
      described = `${size}. What the network adds is a guess.`;
      rest(false);
      fit();
      hold(panel.classList.contains("hinting") ? view : split);
      say(`${Math.round(made.ms)} ms, ${model.where}`);
      panel.dataset.done = "yes";
    } catch (error) {
      if (mine !== turn) return;
      say("");
      rest(false);
      about.textContent = `This photo could not be worked on (${error.message ?? error}).`;
    }
  }
  find("[name=stop]").onclick = () => {
    turn++;
    opening++;
    rest(false);
    say("Stopped.");
    find(result ? "[name=split]" : "[name=camera]").focus();
  };

  async function open(file) {
    if (!file) return;
    stop();
    const mine = ++opening;
    const image = await createImageBitmap(file).catch(() => null);
    if (mine !== opening) return image?.close();
    if (!image) {
      about.textContent = `${file.name}: not a picture that this browser can open. Try a JPEG, PNG or WebP.`;
      return;
    }
    await work(image, file.name.replace(/\.[^.]*$/, ""));
    image.close();
  }

  for (const input of panel.querySelectorAll("[type=file]")) {
    input.onchange = async () => {
      await open(input.files[0]);
      input.value = ""; // the same file may be chosen again
    };
  }
  panel.ondragover = (event) => (event.preventDefault(), drop.classList.add("over"));
  panel.ondragleave = () => drop.classList.remove("over");
  panel.ondrop = (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    open(event.dataTransfer.files[0]);
  };

  /** Close the camera and show what was there before. */
  function stop() {
    asking++;
    stream?.getTracks().forEach((track) => track.stop());
    stream = undefined;
    rest();
  }
  const camera = async () => {
    stop();
    const turn = asking;
    try {
      if (!navigator.mediaDevices) throw new Problem("it needs a page over https");
      const allowed = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1600 } } });
      if (turn !== asking) return allowed.getTracks().forEach((track) => track.stop());
      stream = allowed;
      video.srcObject = stream;
      await video.play();
      if (turn !== asking) return;
      stage(viewfinder);
      find("[name=shoot]").focus();
    } catch (error) {
      if (turn !== asking) return;
      stop();
      about.textContent = `The camera cannot be used (${error.message ?? error}). Open a photo instead.`;
    }
  };
  for (const button of panel.querySelectorAll("[name=camera]")) button.onclick = camera;
  panel.addEventListener("leave", stop);
  find("[name=cancel]").onclick = () => {
    stop();
    find(result ? "[name=split]" : "[name=camera]").focus();
  };
  find("[name=shoot]").onclick = async () => {
    const taken = canvasOf(video, 4096, video.videoWidth, video.videoHeight);
    stop();
    opening++;
    await work(taken, "camera");
  };

  /** The slider sets the part of the picture that shows the original. */
  split.oninput = () => {
    const large = actual.ariaPressed === "true";
    compare.style.setProperty("--split", large ? `${(split.value * view.clientWidth) / 100}px` : `${split.value}%`);
    compare.style.setProperty("--left", `${large ? view.scrollLeft - before.offsetLeft : 0}px`);
    split.setAttribute("aria-valuetext", `${split.value} % original`);
  };
  /** Show the picture as large as fits, small ones with visible pixels; or at actual size, its middle first. */
  function fit() {
    const large = actual.ariaPressed === "true";
    compare.classList.toggle("actual", large);
    compare.classList.toggle("pixels", after.width < 160);
    compare.style.setProperty("--width", `${after.width / (large ? devicePixelRatio : 1)}px`);
    view.tabIndex = large || panel.classList.contains("hinting") ? 0 : -1;
    view.scrollTo((view.scrollWidth - view.clientWidth) / 2, (view.scrollHeight - view.clientHeight) / 2);
    split.oninput();
  }
  actual.onclick = () => {
    actual.ariaPressed = actual.ariaPressed !== "true";
    fit();
  };
  view.onscroll = split.oninput;
  new ResizeObserver(split.oninput).observe(view);
  split.oninput();
  rest();
  const store = (how) => savePng(after, `${name}-${model.entry.task}.png`, model.entry.mark?.plain, how);
  save.onclick = () => store("save");
  share.hidden = !canShare;
  share.onclick = () => store("share");
}
