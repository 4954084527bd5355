"""Find images that look alike among a million of them, with an index of perceptual hashes.

A perceptual hash is 256 bits that are computed from an image's brightness; images that look alike differ in few
of them, and in their mean colour. To be found quickly, a hash is divided into 7 parts, and each part is looked up in a sorted
table.
"""

from __future__ import annotations

import numpy as np

BITS, WORDS = 256, 4  # bits and 64-bit words of a hash, uint64 [4]
# Hashes of the same picture may differ in this many bits. Another size and JPEG of quality 70
# change 0 to 14 bits, while any two of 1,500 aligned faces differ in 40 bits or more.
SAME_BITS = 12
# And their mean colours (red - green, blue - green; of 255) by so much at most. JPEG of quality 50 changes
# them by less than 2.
SAME_COLOUR = 12.0
# If two hashes differ in at most 12 bits, then one of their 7 parts differs in at most one bit, as
# 7 * 2 exceeds 12. Looking up each part, and all values that differ from it in one bit, therefore
# finds all such hashes, and hardly any others.
_PARTS = SAME_BITS // 2 + 1
# Bits of a part. Bits 0, 7, 14, ... form the first part, so that related bits are in different
# parts.
_WIDTH = -(-BITS // _PARTS)
_NEIGHBOURS = np.concatenate([[0], 1 << np.arange(_WIDTH, dtype=np.uint64)]).astype(np.uint64)


def _split(hashes: np.ndarray) -> np.ndarray:
    """Split hashes uint64 [N,4] into their parts, and return uint64 [7,N]: part p of hash n."""
    bits = np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8), axis=1)
    bits = np.pad(bits, ((0, 0), (0, _PARTS * _WIDTH - BITS))).reshape(len(hashes), _WIDTH, _PARTS).astype(np.uint64)
    return np.ascontiguousarray((bits << np.arange(_WIDTH, dtype=np.uint64)[:, None]).sum(axis=1).T)


class Index:
    """Index of hashes, in which similar hashes are found.

    The hashes that were added last are compared one by one, all others are looked up in sorted
    tables. Similar hashes differ in at most SAME_BITS bits.

    Args:
        hashes: hashes of an earlier index, uint64 [N,4]; None for an empty index.
        colours: mean colours of their images, float32 [N,2]; None: they are not known, so that all are alike.
        latest: number of hashes that are compared one by one before they move to the tables.
    """

    def __init__(self, hashes: np.ndarray | None = None, colours: np.ndarray | None = None, latest: int = 4096):
        hashes = np.zeros((0, WORDS), np.uint64) if hashes is None else hashes
        self._colours = np.full((len(hashes), 2), np.nan, np.float32) if colours is None else colours.copy()
        self._latest, self._count, self._indexed = latest, len(hashes), 0
        self.compared = 0  # pairs of hashes that were compared so far
        # Array with spare rows, so that adding a hash rarely copies all of them.
        self._room = hashes.copy()
        # For each part: its values in all hashes, sorted, and the indices of these hashes.
        self._sorted = [(np.zeros(0, np.uint64), np.zeros(0, np.int32)) for _ in range(_PARTS)]
        self._index()

    @property
    def hashes(self) -> np.ndarray:
        """All hashes in the order in which they were added, uint64 [N,4]."""
        return self._room[: self._count]

    @property
    def colours(self) -> np.ndarray:
        """Mean colours of the images of all hashes, float32 [N,2]."""
        return self._colours[: self._count]

    def _index(self) -> None:
        """Add the hashes that are not in the sorted tables to them."""
        new = self.hashes[self._indexed :]
        parts = np.concatenate([_split(new[i : i + 4096]) for i in range(0, len(new), 4096)] or [_split(new)], axis=1)
        for part, (keys, numbers) in enumerate(self._sorted):
            order = np.argsort(parts[part]).astype(np.int32)
            keys = np.concatenate([keys, parts[part][order]])
            numbers = np.concatenate([numbers, order + np.int32(self._indexed)])
            merged = np.argsort(keys, kind="stable")  # fast, because both halves are sorted already
            self._sorted[part] = keys[merged], numbers[merged]
        self._indexed = self._count

    def find_or_add(self, hash: np.ndarray, colour=np.nan) -> bool:
        """Return whether an image is similar to an earlier one; if it is not, add it to the index.

        Args:
            hash: its hash, uint64 [4].
            colour: its mean colour [2]; NaN: it is not known.
        """
        if self.find(hash, colour) is not None:
            return True
        if self._count == len(self._room):
            more = max(1024, self._count)
            self._room = np.concatenate([self._room, np.zeros((more, WORDS), np.uint64)])
            self._colours = np.concatenate([self._colours, np.zeros((more, 2), np.float32)])
        self._room[self._count], self._colours[self._count] = hash, colour
        self._count += 1
        if self._count - self._indexed >= self._latest:
            self._index()
        return False

    def find(self, hash: np.ndarray, colour=np.nan) -> int | None:
        """Return the index of a hash that is similar to this one, or None; see `find_or_add`."""
        found = self._find_near(hash, colour, np.arange(self._indexed, self._count))
        return self._find_near(hash, colour, self._find_candidates(hash)) if found is None else found

    def _find_near(self, hash: np.ndarray, colour, numbers: np.ndarray) -> int | None:
        """Return which of the hashes at the indices `numbers` is most similar; None if none is."""
        self.compared += len(numbers)
        if not len(numbers):
            return None
        differing = np.bitwise_count(self._room[numbers] ^ hash).sum(axis=1).astype(int)
        differing[(np.abs(self._colours[numbers] - colour) > SAME_COLOUR).any(axis=1)] = BITS
        nearest = int(differing.argmin())
        return int(numbers[nearest]) if differing[nearest] <= SAME_BITS else None

    def _find_candidates(self, hash: np.ndarray) -> np.ndarray:
        """Return the indices, int32 [K], of the hashes in the tables that may be similar."""
        found = []
        for key, (keys, numbers) in zip(_split(hash[None])[:, 0], self._sorted):
            near = key ^ _NEIGHBOURS
            starts, ends = np.searchsorted(keys, near), np.searchsorted(keys, near, "right")
            found += [numbers[start:end] for start, end in zip(starts, ends) if end > start]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int32)
