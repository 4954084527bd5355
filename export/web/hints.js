// Colours that a person gives: a tap on the photo asks for the colour of that place, and the network carries it to where it belongs.

/** Return the sRGB colour 0..255 of CIE Lab (D65). */
function rgbOf(l, a, b) {
  const back = (t) => (t > 0.2068966 ? t ** 3 : (t - 16 / 116) / 7.787);
  const fy = (l + 16) / 116;
  const [x, y, z] = [0.95047 * back(fy + a / 500), back(fy), 1.08883 * back(fy - b / 200)];
  const linear = [3.2404813 * x - 1.5371515 * y - 0.4985363 * z, -0.9692549 * x + 1.87599 * y + 0.0415559 * z, 0.0556466 * x - 0.2040413 * y + 1.0573111 * z];
  return linear.map((v) => Math.round(255 * Math.min(1, Math.max(0, v > 0.0031308 ? 1.055 * v ** (1 / 2.4) - 0.055 : 12.92 * v))));
}

/** Return the lightness L, 0..100, of a gray value 0..255. */
function lightnessOf(gray) {
  const v = gray / 255;
  const y = v > 0.04045 ? ((v + 0.055) / 1.055) ** 2.4 : v / 12.92;
  return y > 0.008856 ? 116 * Math.cbrt(y) - 16 : 903.3 * y;
}

// Colours that places often have: a and b of CIE Lab. They are offered at the place's own lightness.
const LIKELY = {
  gray: [0, 0], skin: [14, 18], red: [58, 38], orange: [35, 55], yellow: [0, 60], green: [-45, 40],
  teal: [-38, -5], "sky blue": [-12, -35], blue: [20, -60], violet: [45, -40], pink: [45, 0],
};

const hex = (rgb) => `#${rgb.map((v) => v.toString(16).padStart(2, "0")).join("")}`;

/** Return the name of the model's signature that takes hints; undefined if it takes none. */
export const hintsSignature = (model) => Object.keys(model.entry.signatures).find((name) => "hints" in model.entry.signatures[name].inputs);

/** Draw hints, [{ x, y, rgb }] with x and y in 0..1, on a canvas context over a picture of width x height. */
export function drawHints(context, hints, width, height) {
  const size = Math.max(1, Math.round(Math.min(width, height) / 24));
  for (const { x, y, rgb } of hints) {
    context.fillStyle = hex(rgb);
    context.fillRect(Math.floor(x * width - size / 2 + 0.5), Math.floor(y * height - size / 2 + 0.5), size, size);
  }
}

/** Offer hints in a panel. gray(x, y): the photo's gray value at a place; changed: called when they have changed. */
export function offerHints(panel, { gray, changed }) {
  const find = (selector) => panel.querySelector(selector);
  const [mode, undo, palette, view, marks] = ["[name=hint]", "[name=undo]", ".palette", ".view", ".marks"].map(find);
  let hints = [];
  let place; // for which a colour is asked
  const other = find(".other");
  mode.hidden = false;

  function show() {
    const on = mode.ariaPressed === "true";
    panel.classList.toggle("hinting", on);
    palette.hidden = !on;
    undo.hidden = !hints.length;
    const dots = on && place ? [...hints, { ...place, rgb: undefined }] : hints;
    marks.replaceChildren(
      ...(on ? dots : []).map(({ x, y, rgb }) => {
        const mark = document.createElement("span");
        mark.style.setProperty("--x", `${100 * x}%`);
        mark.style.setProperty("--y", `${100 * y}%`);
        if (rgb) mark.style.background = hex(rgb);
        return mark;
      }),
    );
    find(".palette p").textContent = place ? "Which colour is it there?" : "Tap the photo where you know the colour.";
    find(".swatches").hidden = !place;
    if (place) offer(gray(place.x, place.y));
  }

  function offer(value) {
    const buttons = Object.entries(LIKELY).map(([name, ab]) => {
      const rgb = rgbOf(lightnessOf(value), ...ab);
      const button = Object.assign(document.createElement("button"), { title: name, onclick: () => choose(rgb) });
      button.setAttribute("aria-label", name);
      button.style.background = hex(rgb);
      return button;
    });
    find(".swatches").replaceChildren(...buttons, other);
  }
  other.querySelector("input").onchange = (event) => choose([1, 3, 5].map((i) => parseInt(event.target.value.slice(i, i + 2), 16)));

  function choose(rgb) {
    hints = [...hints, { ...place, rgb }];
    place = undefined;
    show();
    changed(hints);
  }

  view.addEventListener("click", (event) => {
    if (mode.ariaPressed !== "true") return;
    const box = view.querySelector(".after").getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (x < 0 || x >= 1 || y < 0 || y >= 1) return;
    place = { x, y };
    show();
  });
  // With a keyboard: arrows move the place, Enter asks for its colour.
  view.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (mode.ariaPressed !== "true" || (!step && event.key !== "Enter")) return;
    event.preventDefault();
    const { x, y } = place ?? { x: 0.5, y: 0.5 };
    const near = (v, d) => Math.min(0.99, Math.max(0, v + d / 40));
    place = step ? { x: near(x, step[0]), y: near(y, step[1]) } : { x, y };
    show();
    if (!step) find(".swatches button").focus();
  });
  mode.onclick = () => {
    mode.ariaPressed = mode.ariaPressed !== "true";
    place = undefined;
    show();
    if (mode.ariaPressed === "true") (view.tabIndex = 0), view.focus();
  };
  undo.onclick = () => {
    hints = hints.slice(0, -1);
    show();
    changed(hints);
    if (undo.hidden) mode.focus();
  };
  show();
  return {
    /** Forget all hints: another photo is shown. */
    reset() {
      hints = [];
      place = undefined;
      show();
    },
  };
}
