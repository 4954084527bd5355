// Marks: what a saved picture says about itself in its metadata. Their text comes from Python, by pggan_tf/data/marks.py.

/** Return a packet with values in place of @name@. */
export function filled(packet, values) {
  const escaped = (text) => text.replace(/[<>&]/g, (c) => `&#${c.charCodeAt(0)};`);
  return packet.replace(/@(\w+)@/g, (all, name) => (name in values ? escaped(`${values[name]}`) : all));
}

/** Return the CRC-32 of bytes, by which PNG ends a chunk. */
function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** Return a PNG with an XMP packet: as a chunk iTXt behind its first 33 bytes, which are its signature and its header. */
export function withPacket(png, packet) {
  const body = new TextEncoder().encode(`iTXtXML:com.adobe.xmp${"\0".repeat(5)}${packet}`);
  const number = (value) => new Uint8Array([24, 16, 8, 0].map((shift) => value >>> shift));
  return new Blob([png.slice(0, 33), number(body.length - 4), body, number(crc32(body)), png.slice(33)], { type: png.type });
}
