// Seeds -> latents, number for number as pggan_tf.synthesis.latents draws them: the same seed is the same face everywhere.

/** The finaliser of MurmurHash3, uint32 -> uint32. */
function hash32(x) {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** N(0, 1) numbers of a seed, a whole number below 2^32: Box-Muller's of two hashes each. */
export function latents(seed, size) {
  const s = hash32((seed + 0x9e3779b9) | 0);
  const uniform = (i) => (hash32(s ^ hash32((Math.imul(i, 0x9e3779b1) + 1) | 0)) + 0.5) / 2 ** 32;
  return Float32Array.from({ length: size }, (_, i) => {
    const turn = 2 * Math.PI * uniform(size + i);
    return Math.sqrt(-2 * Math.log(uniform(i))) * Math.cos(turn);
  });
}

/** From a (t = 0) to b (t = 1) along the arc between their directions: what lies between is as long as they are, as N(0, 1) is. */
export function between(a, b, t) {
  if (t <= 0) return a;
  if (t >= 1) return b;
  const dot = (x, y) => x.reduce((sum, v, i) => sum + v * y[i], 0);
  const angle = Math.acos(Math.min(1, Math.max(-1, dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)))));
  if (angle < 1e-6) return a;
  const [from, to] = [Math.sin((1 - t) * angle), Math.sin(t * angle)].map((w) => w / Math.sin(angle));
  return a.map((v, i) => from * v + to * b[i]);
}
