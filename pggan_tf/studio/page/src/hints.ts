/** Colours of places, in CIE Lab: what a person may say of a gray photo. */

export type Rgb = [number, number, number];
export interface Hint { x: number; y: number; rgb: Rgb } // x and y in 0..1

/** Return the sRGB colour 0..255 of CIE Lab (D65). */
export function rgbOf(l: number, a: number, b: number): Rgb {
  const back = (t: number) => (t > 0.2068966 ? t ** 3 : (t - 16 / 116) / 7.787);
  const fy = (l + 16) / 116;
  const [x, y, z] = [0.95047 * back(fy + a / 500), back(fy), 1.08883 * back(fy - b / 200)];
  const linear = [3.2404813 * x - 1.5371515 * y - 0.4985363 * z, -0.9692549 * x + 1.87599 * y + 0.0415559 * z, 0.0556466 * x - 0.2040413 * y + 1.0573111 * z];
  return linear.map((v) => Math.round(255 * Math.min(1, Math.max(0, v > 0.0031308 ? 1.055 * v ** (1 / 2.4) - 0.055 : 12.92 * v)))) as Rgb;
}

/** Return the lightness L, 0..100, of a gray value 0..255. */
export function lightnessOf(gray: number): number {
  const v = gray / 255;
  const y = v > 0.04045 ? ((v + 0.055) / 1.055) ** 2.4 : v / 12.92;
  return y > 0.008856 ? 116 * Math.cbrt(y) - 16 : 903.3 * y;
}

/** Colours that places often have: a and b of CIE Lab. They are offered at the place's own lightness. */
export const LIKELY: Record<string, [number, number]> = {
  gray: [0, 0], skin: [14, 18], red: [58, 38], orange: [35, 55], yellow: [0, 60], green: [-45, 40],
  teal: [-38, -5], "sky blue": [-12, -35], blue: [20, -60], violet: [45, -40], pink: [45, 0],
};

export const hex = (rgb: Rgb) => rgb.map((v) => v.toString(16).padStart(2, "0")).join("");

/** Return the hints that are written as `pggan colorize` takes them: X,Y=#RRGGBB. */
export const hintsOf = (texts: string[], width: number, height: number): Hint[] =>
  texts.flatMap((text) => {
    const [, x, y, digits] = /^(\d+),(\d+)=#([0-9a-f]{6})$/.exec(text) ?? [];
    return digits ? [{ x: (Number(x) + 0.5) / width, y: (Number(y) + 0.5) / height, rgb: [0, 2, 4].map((i) => parseInt(digits.slice(i, i + 2), 16)) as Rgb }] : [];
  });

/** Return hints as the server takes them, in pixels of a photo. */
export const hintText = (hints: Hint[], width: number, height: number) =>
  hints.map(({ x, y, rgb }) => `${Math.min(width - 1, Math.floor(x * width))},${Math.min(height - 1, Math.floor(y * height))}=${hex(rgb)}`).join(";");
