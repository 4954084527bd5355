/** A place for one photo: chosen or dropped. */
import { useState } from "preact/hooks";

export function PhotoDrop({ does, choose }: { does: string; choose: (file: File) => void }) {
  const [over, setOver] = useState(false);
  const take = (files: FileList | null | undefined) => files?.[0] && choose(files[0]);
  return (
    <div class={`drop ${over ? "over" : ""}`} onDragOver={(e) => (e.preventDefault(), setOver(true))} onDragLeave={() => setOver(false)} onDrop={(e) => (e.preventDefault(), setOver(false), take(e.dataTransfer?.files))}>
      <p class="does">{does}</p>
      <label class="button primary">Open a photo<input type="file" accept="image/*" class="unseen" onChange={(e) => (take(e.currentTarget.files), (e.currentTarget.value = ""))} /></label>
      <p class="hint">or drop one here. It stays on this machine.</p>
    </div>
  );
}
