/** One photo, large: its faces, the part of it that is used, drawn by hand with a pointer or the arrow keys. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { call, say } from "./api";
import { Boxes } from "./photo-sheet";
import type { Box, Photo } from "./types";
import { Dialog, Icon, Problem, Switch } from "./widgets";

/** Return width / height of a shape such as 3:4; null if any shape may be cut. */
export function ratioOf(shape: string): number | null {
  const [width, height] = shape.split(":").map(Number);
  return width && height ? width / height : null;
}

/** Return a box of the shape, as large as asked for as far as the photo allows, with whole numbers. */
export function fit(box: Box, width: number, height: number, ratio: number | null): Box {
  let [x, y, w, h] = box;
  w = Math.min(Math.max(w, 8), width);
  h = ratio ? w / ratio : Math.min(Math.max(h, 8), height);
  if (h > height) [w, h] = [ratio ? height * ratio : w, height];
  x = Math.min(Math.max(0, x), width - w);
  y = Math.min(Math.max(0, y), height - h);
  return [Math.round(x), Math.round(y), Math.floor(w), Math.floor(h)];
}

/** Return the largest box of a shape in the middle of a photo. */
export const middle = (width: number, height: number, ratio: number | null): Box => {
  const w = ratio ? Math.min(width, height * ratio) : width;
  const h = ratio ? w / ratio : height;
  return fit([(width - w) / 2, (height - h) / 2, w, h], width, height, ratio);
};

interface Props { folder: string; photo: Photo; shape: string; step: (by: number) => void; close: () => void; saved: () => void }

/** The dialog stays while its photo changes, so that the keyboard stays where it is, or goes to the next step if that is gone. */
export function PhotoDialog(props: Props) {
  const leave = useRef<(then: () => void) => void>((then) => then());
  const next = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => { // before another key is pressed
    if (document.activeElement === document.body) next.current?.focus();
  }, [props.photo.index]);
  const press = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    if (target instanceof HTMLInputElement || target.closest("dialog") !== event.currentTarget) return; // nor in a dialog above this one
    if (event.key === "ArrowLeft") leave.current(() => props.step(-1));
    if (event.key === "ArrowRight") leave.current(() => props.step(1));
  };
  return (
    <Dialog label={props.photo.name} close={() => leave.current(props.close)} press={press} wide>
      <OnePhoto key={props.photo.index} {...props} guard={leave} />
      <div class="row between steps">
        <button type="button" class="icon" aria-label="Photo before" onClick={() => leave.current(() => props.step(-1))}><Icon name="left" /></button>
        <button ref={next} type="button" class="icon" aria-label="Next photo" onClick={() => leave.current(() => props.step(1))}><Icon name="right" /></button>
      </div>
    </Dialog>
  );
}

function OnePhoto({ folder, photo, shape, saved, guard }: Props & { guard: { current: (then: () => void) => void } }) {
  const [width, height] = [photo.width ?? 1, photo.height ?? 1];
  const ratio = ratioOf(shape);
  const [crop, setCrop] = useState<Box | null>(photo.cropped ? photo.crop : null);
  const [kept, setKept] = useState(crop); // what the studio knows of it
  const [leaving, setLeaving] = useState<(() => void) | null>(null);
  const [said, setSaid] = useState("");
  const [leftOut, setLeftOut] = useState(photo.state === "left_out");
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const view = useRef<HTMLDivElement>(null);
  const rectangle = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (crop && !photo.cropped) rectangle.current?.focus();
  }, [crop !== null]);

  const save = async (next: { crop: Box | null; left_out: boolean }) => {
    setBusy(true);
    try {
      await call("PUT", `/api/folders/${folder}/photos/${photo.index}`, { ...next, name: photo.name });
      setProblem(null);
      setKept(next.crop);
      saved();
      return true;
    } catch (error) {
      setProblem(say(error));
      return false;
    } finally {
      setBusy(false);
    }
  };
  const use = async () => {
    const done = await save({ crop, left_out: leftOut });
    setSaid(done ? "Kept" : "");
    return done;
  };
  useEffect(() => {
    const timer = setTimeout(() => setSaid(""), 2000);
    return () => clearTimeout(timer);
  }, [said]);
  // A frame that was drawn and not kept is asked for before the photo goes out of sight.
  guard.current = (then) => (crop && String(crop) !== String(kept) ? setLeaving(() => then) : then());
  const drag = (event: PointerEvent, corner: [number, number] | null) => {
    if (!crop) return;
    event.preventDefault();
    event.stopPropagation();
    const scale = width / view.current!.getBoundingClientRect().width;
    const [x0, y0, start] = [event.clientX, event.clientY, crop];
    const target = event.currentTarget as HTMLElement;
    target.setPointerCapture(event.pointerId);
    const move = (e: PointerEvent) => {
      const [dx, dy] = [(e.clientX - x0) * scale, (e.clientY - y0) * scale];
      if (!corner) return setCrop(fit([start[0] + dx, start[1] + dy, start[2], start[3]], width, height, ratio));
      // The opposite corner stays where it is.
      const [right, bottom] = corner;
      let w = Math.max(8, start[2] + (right ? dx : -dx));
      let h = Math.max(8, start[3] + (bottom ? dy : -dy));
      if (ratio) w = Math.max(w, h * ratio), (h = w / ratio);
      const room = [right ? width - start[0] : start[0] + start[2], bottom ? height - start[1] : start[1] + start[3]];
      const shrink = Math.min(1, room[0]! / w, room[1]! / h);
      [w, h] = ratio ? [w * shrink, h * shrink] : [Math.min(w, room[0]!), Math.min(h, room[1]!)];
      setCrop(fit([right ? start[0] : start[0] + start[2] - w, bottom ? start[1] : start[1] + start[3] - h, w, h], width, height, ratio));
    };
    const end = () => (target.removeEventListener("pointermove", move), target.removeEventListener("pointerup", end), target.removeEventListener("pointercancel", end));
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", end);
    target.addEventListener("pointercancel", end);
  };
  const press = (event: KeyboardEvent) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const unit = Math.max(1, Math.round(Math.max(width, height) / (event.shiftKey ? 20 : 100)));
    if (crop && by) setCrop(fit([crop[0] + by[0]! * unit, crop[1] + by[1]! * unit, crop[2], crop[3]], width, height, ratio));
    else if (crop && "+=-".includes(event.key)) {
      const grow = event.key === "-" ? -unit : unit;
      setCrop(fit([crop[0] - grow / 2, crop[1] - grow / 2, crop[2] + grow, crop[3] + grow], width, height, ratio));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <>
      <div class="one-photo">
        <div class="easel" style={{ "--ratio": width / height }}>
          <div ref={view} class="view">
            {photo.width ? <img src={`/api/folders/${folder}/photos/${photo.index}.jpg?side=1024`} alt={`The photo ${photo.name}`} /> : <span class="unreadable">This file cannot be read as a picture.</span>}
            <Boxes photo={photo} faces={!crop} crop={null} />
            {crop && (
              <div ref={rectangle} class="cutter" tabIndex={0} role="group" onKeyDown={press} onPointerDown={(e) => drag(e, null)}
                aria-label={`Cut-out: ${crop[2]} by ${crop[3]} pixels at ${crop[0]}, ${crop[1]}. Arrow keys move it, plus and minus change its size.`}
                style={{ left: `${(100 * crop[0]) / width}%`, top: `${(100 * crop[1]) / height}%`, width: `${(100 * crop[2]) / width}%`, height: `${(100 * crop[3]) / height}%` }}>
                {([[0, 0], [1, 0], [0, 1], [1, 1]] as [number, number][]).map((corner) => <i class={`corner x${corner[0]} y${corner[1]}`} onPointerDown={(e) => drag(e, corner)} />)}
              </div>
            )}
          </div>
        </div>
        <div class="controls">
          <p class="hint">{photo.width ? `${photo.width} × ${photo.height} pixels` : ""}{photo.class ? `, ${photo.class}` : ""}{photo.faces.length ? `, ${photo.faces.length} ${photo.faces.length === 1 ? "face" : "faces"}` : ""}</p>
          {photo.reason && photo.state === "left_out" && <p>Left out: {photo.reason}.</p>}
          {photo.doubt && <p>{photo.doubt}</p>}
          <Switch label="Leave it out" value={leftOut} onChange={async (value) => (setLeftOut(value), (await save({ crop: kept, left_out: value })) || setLeftOut(!value))} />
          {crop ? (
            <>
              <p class="hint">Drag the frame or its corners; arrow keys move it, + and − change its size.</p>
              <div class="row">
                <button type="button" class="primary" disabled={busy} onClick={use}>Use this part</button>
                <button type="button" onClick={() => (setCrop(null), void save({ crop: null, left_out: leftOut }))}>As found</button>
              </div>
            </>
          ) : <button type="button" disabled={!photo.width} onClick={() => setCrop(photo.crop ?? middle(width, height, ratio))}>Crop by hand</button>}
          <p class="hint" role="status">{said}</p>
          <Problem text={problem} />
        </div>
      </div>
      {leaving && (
        <Dialog label="Use this part?" close={() => setLeaving(null)}>
          <p>The frame that you drew is not kept yet.</p>
          <div class="row end">
            <button type="button" onClick={() => (setLeaving(null), leaving())}>Without it</button>
            <button type="button" class="primary" disabled={busy} onClick={async () => (setLeaving(null), (await use()) && leaving())}>Use this part</button>
          </div>
        </Dialog>
      )}
    </>
  );
}
