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

/** Give a picture to the app. how: save or share. The app itself says what became of it. */
export function handOver(blob, name, how) {
  const all = async () => {
    app.begin(name);
    for (let at = 0; at < blob.size; at += PIECE) app.add(await base64(blob.slice(at, at + PIECE)));
    app[how]();
  };
  return (last = last.then(all).catch((error) => console.info("the picture was not handed over:", error)));
}
