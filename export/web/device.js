// The app that shows this page (export/apk), if one does. It saves and shares pictures: in a WebView a page can do neither.

const app = self.pgganApp; // export/apk/app/Bridge.smali
const PIECE = 3 << 18; // bytes of a message; a multiple of 3, so that each piece is whole in base64
let last = Promise.resolve(); // the app takes one picture at a time

export const inApp = Boolean(app);

const base64 = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });

const sample = () => new File([], "a.png", { type: "image/png" });
/** Whether pictures can be handed to other apps: by the app, or by the share sheet of the browser. */
export const canShare = inApp || Boolean(navigator.canShare?.({ files: [sample()] }));

/** Open the browser's share sheet with a picture. Returns whether it was there; a person who closes it has seen it. */
export async function openSheet(blob, name) {
  try {
    await navigator.share({ files: [new File([blob], name, { type: blob.type })], title: name });
    return true;
  } catch (error) {
    return error.name === "AbortError";
  }
}

/** Give a picture to the app. how: save or share. The app itself says what became of it. */
export function handOver(blob, name, how) {
  const all = async () => {
    app.begin(name);
    for (let at = 0; at < blob.size; at += PIECE) app.add(await base64(blob.slice(at, at + PIECE)));
    app[how]();
  };
  return (last = last.then(all).catch((error) => console.info("the picture was not handed over:", error)));
}
