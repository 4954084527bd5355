// Seeds to latents, with the same numbers as pggan_tf.networks.latents.latents: a seed gives the same image everywhere.

/** Return the finaliser of MurmurHash3, uint32 to uint32. */
function hash32(x) {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Draw from N(0, 1) for a seed, a whole number below 2^32: Box-Muller transforms of two hashes. */
export function latents(seed, size) {
  const s = hash32((seed + 0x9e3779b9) | 0);
  const uniform = (i) => (hash32(s ^ hash32((Math.imul(i, 0x9e3779b1) + 1) | 0)) + 0.5) / 2 ** 32;
  return Float32Array.from({ length: size }, (_, i) => {
    const turn = 2 * Math.PI * uniform(size + i);
    return Math.sqrt(-2 * Math.log(uniform(i))) * Math.cos(turn);
  });
}

/** Return the latents at t, from a (0) to b (1) on the arc between them, as pggan_tf.synthesis.slerp. */
export function slerp(a, b, t) {
  const [p, q] = [a, b].map((z) => Math.hypot(...z));
  const cosine = a.reduce((sum, v, i) => sum + (v / p) * (b[i] / q), 0);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  const [from, to] = sine > 1e-6 ? [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine] : [1 - t, t]; // parallel: no arc between them
  const length = (1 - t) * p + t * q;
  return a.map((v, i) => length * ((from * v) / p + (to * b[i]) / q));
}

/** Return latents moved along directions, as pggan_tf.explore.sliders.move. amounts: units along each of the directions. */
export function move(z, directions, amounts) {
  const length = Math.hypot(...z);
  const unit = length / Math.sqrt(z.length);
  const moved = Array.from(z, (v, i) => v + unit * directions.reduce((sum, direction, k) => sum + amounts[k] * direction[i], 0));
  const factor = length / Math.hypot(...moved);
  return Float32Array.from(moved, (v) => v * factor);
}
