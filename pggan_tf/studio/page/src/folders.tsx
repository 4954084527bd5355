/** Ways to a folder: one on this machine, by a look around; or photos that are copied into the studio. */
import { useState } from "preact/hooks";
import { call, Refusal, withQuery } from "./api";
import { useLive } from "./live";
import type { Browse, Folder } from "./types";
import { Dialog, Field, Icon, Problem } from "./widgets";
import { plural } from "./words";

export function BrowseDialog({ open, close, problem }: { open: (path: string) => void; close: () => void; problem: string | null }) {
  const [path, setPath] = useState("");
  const [typed, setTyped] = useState<string | null>(null);
  const here = useLive<Browse>(withQuery("/api/browse", { path }), []);
  const at = typed ?? here.data?.path ?? path;
  const enter = (next: string) => (setPath(next), setTyped(null));
  return (
    <Dialog label="Open a folder of photos" close={close}>
      <form class="row path-row" onSubmit={(e) => (e.preventDefault(), open(at))}>
        <Field label="Folder on this machine"><input type="text" value={at} spellcheck={false} autocomplete="off" onInput={(e) => setTyped(e.currentTarget.value)} /></Field>
        <button type="submit" class="primary" disabled={!at}>Open</button>
      </form>
      <Problem text={problem ?? here.error} />
      {here.data && here.data.roots.length > 1 && (
        <div class="chips" role="group" aria-label="Where to look">
          {here.data.roots.map((root) => <button type="button" class="chip" aria-pressed={here.data!.path === root} title={root} onClick={() => enter(root)}><Icon name="folder" />{root.split("/").at(-1) || root}</button>)}
        </div>
      )}
      <ul class="browse" aria-label="Folders in it">
        {here.data?.parent && <li><button type="button" onClick={() => enter(here.data!.parent!)}><Icon name="up" />One up</button></li>}
        {here.data?.folders.map((f) => (
          <li>
            <button type="button" onClick={() => enter(f.path)}><Icon name="folder" /><span>{f.name}</span>{f.photos ? <small>{plural(f.photos, "photo")}</small> : null}</button>
            {f.photos ? <button type="button" class="small" aria-label={`Open ${f.name}`} onClick={() => open(f.path)}>Open</button> : null}
          </li>
        ))}
        {here.data && !here.data.folders.length && <li class="hint">No folder in here.</li>}
      </ul>
    </Dialog>
  );
}

export const NOTHING = "There is no photo in what was chosen. Choose a folder of photos, or drop several photos.";
export interface Upload { done: number; total: number; cancel: () => void }
/** What is read as a photo, as `decoders.EXTENSIONS` has it. */
const PHOTO = /\.(jpe?g|jpe|jfif|a?png|webp|bmp|gif|tiff?|avif|jp2|j2k|hei[cf]|hif)$/i;
/** Return whether a path is that of a photo, and not hidden as those that macOS keeps beside photos are. */
export const isPhoto = (path: string) => PHOTO.test(path) && !path.split("/").some((part) => part.startsWith("."));

/** Return the files of a drop, of folders at any depth, with their paths. */
export async function dropped(data: DataTransfer): Promise<{ files: { file: File; path: string }[]; name: string }> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter((entry): entry is FileSystemEntry => !!entry);
  const files: { file: File; path: string }[] = [];
  const visit = async (entry: FileSystemEntry): Promise<void> => {
    if (entry.isFile) {
      const file = await new Promise<File>((done, fail) => (entry as FileSystemFileEntry).file(done, fail));
      files.push({ file, path: entry.fullPath.replace(/^\//, "") });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) {
      // A reader gives a hundred at a time.
      const some = await new Promise<FileSystemEntry[]>((done, fail) => reader.readEntries(done, fail));
      if (!some.length) break;
      for (const child of some) await visit(child);
    }
  };
  for (const entry of entries) await visit(entry);
  if (!entries.length) for (const file of data.files) files.push({ file, path: file.name });
  const folder = entries.find((entry) => entry.isDirectory);
  return { files, name: folder?.name ?? "photos" };
}

/** Copy photos into a folder of the studio's own, three at a time; classes stay folders. What is refused is left out: its reasons are returned, and no folder if that is all. */
export async function upload(photos: { file: File; path: string }[], name: string, signal: AbortSignal, progress: (done: number) => void): Promise<{ folder: Folder | null; refused: string[] }> {
  const folder = await call<Folder>("POST", "/api/uploads", { name }, signal);
  // The chosen folder is the name of the upload, so it is no class.
  const top = `${photos[0]?.path.split("/")[0]}/`;
  const inside = photos.length > 0 && photos.every(({ path }) => path.startsWith(top));
  let done = 0;
  const refused: string[] = [];
  const queue = [...photos];
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const path = inside ? next.path.slice(top.length) : next.path;
      // A photo may lie three folders deep: the names of those below become part of its own.
      const parts = path.split("/");
      const placed = [...parts.slice(0, -1).slice(0, 3), parts.slice(Math.min(3, parts.length - 1)).join("-")].join("/");
      try {
        await call("PUT", withQuery(`/api/folders/${folder.id}/files`, { name: placed }), next.file, signal);
      } catch (error) {
        if (!(error instanceof Refusal) || ![400, 408, 413].includes(error.status)) {
          queue.length = 0; // the others stop, too
          throw error;
        }
        refused.push(error.status === 400 ? error.message : `${next.file.name}: ${error.message}`);
      }
      progress(++done);
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  if (done > refused.length) return { folder, refused };
  await call("DELETE", `/api/folders/${folder.id}`);
  return { folder: null, refused };
}
