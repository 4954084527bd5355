/** The sheet of photos: small pictures with faces as boxes, and what is left out with its reason. */
import { setQuery } from "./route";
import type { Box, Photo } from "./types";

const style = (box: Box, photo: Photo) => ({
  left: `${(100 * box[0]) / photo.width!}%`, top: `${(100 * box[1]) / photo.height!}%`, width: `${(100 * box[2]) / photo.width!}%`, height: `${(100 * box[3]) / photo.height!}%`,
});

/** Boxes over a photo: the faces that were found, and the part that is used. */
export function Boxes({ photo, faces, crop }: { photo: Photo; faces: boolean; crop: Box | null }) {
  if (!photo.width || !photo.height) return null;
  return (
    <span class="boxes" aria-hidden="true">
      {crop && <i class="crop" style={style(crop, photo)} />}
      {faces && photo.faces.map((face) => <i class={face.used ? "face" : "face unused"} style={style(face.box, photo)} />)}
    </span>
  );
}

function describe(photo: Photo): string {
  const faces = photo.faces.length ? `, ${photo.faces.filter((f) => f.used).length} of ${photo.faces.length} faces used` : "";
  return `${photo.name}, ${photo.state === "kept" ? "kept" : `left out: ${photo.reason ?? "by hand"}`}${faces}${photo.by_hand ? ", changed by hand" : ""}`;
}

function Cell({ folder, photo, faces }: { folder: string; photo: Photo; faces: boolean }) {
  const ratio = photo.width && photo.height ? photo.width / photo.height : 1;
  // Very wide and very high photos lie in a frame that is less so.
  const wide = Math.min(2.2, Math.max(0.6, ratio));
  return (
    <li class={photo.state === "kept" ? "" : "left-out"} style={{ "--wide": wide }} title={describe(photo)}>
      <button type="button" class="print" aria-label={describe(photo)} onClick={() => setQuery({ photo: photo.index })}>
        <span class="frame" style={{ "--ratio": ratio, width: ratio < wide ? `${(100 * ratio) / wide}%` : undefined }}>
          {photo.width ? <img src={`/api/folders/${folder}/photos/${photo.index}.jpg?side=256`} alt="" loading="lazy" decoding="async" /> : <span class="unreadable">no picture</span>}
          <Boxes photo={photo} faces={faces} crop={photo.cropped ? photo.crop : null} />
        </span>
      </button>
      {(photo.state !== "kept" || photo.by_hand || photo.doubt) && <span class="tag">{photo.state !== "kept" ? (photo.reason ?? "left out") : photo.by_hand ? "by hand" : photo.doubt}</span>}
    </li>
  );
}

export function PhotoSheet({ folder, photos, pairs, faces }: { folder: string; photos: Photo[]; pairs: boolean; faces: boolean }) {
  if (!pairs) return <ul class="prints-sheet">{photos.map((photo) => <Cell key={photo.index} folder={folder} photo={photo} faces={faces} />)}</ul>;
  // Those that are the same lie side by side.
  const groups = new Map<number, Photo[]>();
  for (const photo of photos) {
    const key = Math.min(photo.index, ...photo.same_as);
    groups.set(key, [...(groups.get(key) ?? []), photo]);
  }
  return (
    <div class="groups">
      {[...groups.values()].map((group) => (
        <ul class="prints-sheet group" aria-label={`The same picture, ${group.length} times`}>{group.map((photo) => <Cell key={photo.index} folder={folder} photo={photo} faces={false} />)}</ul>
      ))}
    </div>
  );
}
