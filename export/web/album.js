// The album: faces that the user marked with a heart. What is kept, on this device alone, is what they are drawn from, not pixels.

const MOST = 100; // faces in an album
const LONGEST = 4096; // pixels of a side of the sheet: some phones draw no larger canvas
const HEART = "M12 21C7 17 2.5 13 2.5 8.5A5 5 0 0 1 12 6a5 5 0 0 1 9.5 2.5C21.5 13 17 17 12 21z";

/** Return the drawing of a heart, which style.css fills where the face is in the album. */
function drawHeart() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", HEART);
  svg.append(path);
  return svg;
}

/** Connect the hearts and the album of a panel.
 *  key: what the network's weights are called; other weights have an album of their own. valid: whether a kept face can be drawn.
 *  open: shows a kept face. draw: paints it on a canvas. save: saves a canvas under a name. Returns { drawHearts(count, recipe) }. */
export function openAlbum(panel, { key, subject, stages, say, save, valid, open, draw }) {
  // The host may have other pages, which share this store.
  const store = `pggan album ${new URL("./", location.href)} ${key}`;
  const dialog = panel.querySelector("dialog.album");
  const list = dialog.querySelector(".kept");
  const about = dialog.querySelector(".about");
  const hearts = panel.querySelector(".hearts");
  const show = panel.querySelector("[name=album]");
  const sheet = dialog.querySelector("[name=sheet]");
  const name = (face) => `${subject} of seed ${face.seed}`;
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const has = (faces, face) => faces.some((other) => same(other, face));
  const unsaved = { added: [], removed: [] }; // faces, since the browser could not keep the album
  let redraw = () => {};

  /** Return the faces in the album. It is read again each time: another tab may have changed it. */
  function read() {
    try {
      const faces = JSON.parse(localStorage.getItem(store) ?? "[]");
      return merge(faces.filter(({ seed, label, truncation, morph, target, sliders }) => [seed, label, truncation, morph, target, ...sliders].every(Number.isFinite) && valid({ label, sliders })));
    } catch {
      return merge([]);
    }
  }

  /** Return what the browser keeps, with the changes that it could not. */
  function merge(faces) {
    const { added, removed } = unsaved;
    return [...faces.filter((face) => !has(removed, face) && !has(added, face)), ...added];
  }

  /** Keep a face in the album, or take it out. */
  function keep(face, kept) {
    const others = (faces) => faces.filter((other) => !same(other, face));
    const [added, removed] = [others(unsaved.added), others(unsaved.removed)];
    Object.assign(unsaved, kept ? { added: [...added, face], removed } : { added, removed: [...removed, face] });
    try {
      localStorage.setItem(store, JSON.stringify(read()));
      Object.assign(unsaved, { added: [], removed: [] });
    } catch {
      say("This browser keeps nothing, or is full: what is new in the album is lost when the page is closed.");
    }
    update();
  }

  function update() {
    show.textContent = `Album (${read().length})`;
    redraw();
  }

  function toggle(face) {
    const faces = read();
    if (has(faces, face)) keep(face, false);
    else if (faces.length < MOST) keep(face, true);
    else say(`The album has ${MOST} ${subject}s, which is all that fit. Remove one first.`);
  }

  /** Draw the album anew. focus: number of the face whose button gets the keyboard. */
  async function fill(focus) {
    const faces = read();
    delete list.dataset.drawn;
    about.textContent = faces.length ? `${faces.length} ${subject}${faces.length > 1 ? "s" : ""}, kept on this device.` : `Nothing here yet: tap the heart on a ${subject}.`;
    sheet.hidden = !faces.length;
    const cells = faces.map((face) => {
      const cell = Object.assign(document.createElement("div"), { className: "cell" });
      const look = document.createElement("button");
      look.append(document.createElement("canvas"));
      look.setAttribute("aria-label", `Look at the ${name(face)}`);
      look.onclick = () => {
        dialog.close();
        open(face);
      };
      const remove = Object.assign(document.createElement("button"), { textContent: "Remove", className: "remove" });
      remove.setAttribute("aria-label", `Remove the ${name(face)}`);
      remove.onclick = () => {
        keep(face, false);
        fill(cells.indexOf(cell));
      };
      cell.append(look, remove);
      return cell;
    });
    list.replaceChildren(...cells);
    if (focus !== undefined) (cells[Math.min(focus, cells.length - 1)]?.lastChild ?? dialog.querySelector("[name=close]")).focus();
    for (const [i, cell] of cells.entries()) {
      if (!cell.isConnected || !dialog.open) return;
      await draw(cell.querySelector("canvas"), faces[i], stages.at(-1));
    }
    list.dataset.drawn = faces.length;
  }

  show.onclick = () => {
    dialog.showModal();
    fill();
  };
  dialog.querySelector("[name=close]").onclick = () => dialog.close();
  dialog.onclick = ({ target }) => target === dialog && dialog.close(); // beside it
  panel.addEventListener("leave", () => dialog.close());
  addEventListener("storage", ({ key: changed }) => {
    if (changed !== store && changed !== null) return;
    update();
    if (dialog.open) fill();
  });

  sheet.onclick = async () => {
    const faces = read();
    const columns = Math.ceil(Math.sqrt(faces.length));
    const stage = stages.filter((each) => columns * each <= LONGEST).at(-1) ?? stages[0];
    const [all, one] = [document.createElement("canvas"), document.createElement("canvas")];
    for (const [i, face] of faces.entries()) {
      await draw(one, face, stage);
      if (!i) Object.assign(all, { width: columns * one.width, height: Math.ceil(faces.length / columns) * one.height });
      all.getContext("2d").drawImage(one, (i % columns) * one.width, Math.floor(i / columns) * one.height);
    }
    save(all, `album-${faces.length}-${stage}px.png`);
  };

  return {
    /** Put a heart on each face of the grid. recipe: returns what face i is drawn from. */
    drawHearts(count, recipe) {
      while (hearts.children.length > count) hearts.lastChild.remove();
      while (hearts.children.length < count) {
        const i = hearts.children.length;
        const button = document.createElement("button");
        button.append(drawHeart());
        button.onclick = () => toggle(recipe(i));
        hearts.append(button);
      }
      hearts.style.gridTemplateColumns = `repeat(${Math.sqrt(count)}, 1fr)`;
      redraw = () => {
        const faces = read();
        [...hearts.children].forEach((button, i) => {
          const face = recipe(i);
          button.setAttribute("aria-pressed", has(faces, face));
          button.setAttribute("aria-label", `Keep the ${name(face)} in the album`);
        });
      };
      update();
    },
  };
}
