"""Find images that look alike among a million of them, by an index over their perceptual hashes."""

from __future__ import annotations

import numpy as np

BITS, WORDS = 256, 4  # of a hash: uint64 [4]
# Bits in which the hashes of one picture may differ: another size and JPEG at quality 70 change 0 to 14 of them, while the
# nearest two of 1,500 aligned faces differ in 40 and more.
SAME_BITS = 12
# Two hashes that differ in 12 bits or fewer differ in one bit or none in at least one of 7 parts (7 * 2 > 12): looking up each
# part and its neighbours at one bit finds all of them, and of others next to none.
_PARTS = SAME_BITS // 2 + 1
_WIDTH = -(-BITS // _PARTS)  # bits of a part: bits 0, 7, 14, ... are the first, so that related ones fall into several
_NEIGHBOURS = np.concatenate([[0], 1 << np.arange(_WIDTH, dtype=np.uint64)]).astype(np.uint64)


def _keys(hashes: np.ndarray) -> np.ndarray:
    """uint64 [N,4] -> the parts of each, uint64 [7,N]."""
    bits = np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8), axis=1)
    bits = np.pad(bits, ((0, 0), (0, _PARTS * _WIDTH - BITS))).reshape(len(hashes), _WIDTH, _PARTS).astype(np.uint64)
    return np.ascontiguousarray((bits << np.arange(_WIDTH, dtype=np.uint64)[:, None]).sum(axis=1).T)


class Index:
    """Hashes that were seen, with their numbers in order. The latest few are compared one by one, all others looked up.

    compared: how many pairs of hashes were compared so far.
    """

    def __init__(self, hashes: np.ndarray | None = None, latest: int = 4096):
        hashes = np.zeros((0, WORDS), np.uint64) if hashes is None else hashes
        self._latest, self._count, self._indexed, self.compared = latest, len(hashes), 0, 0
        self._room = hashes.copy()  # longer than what is in use, so that adding one copies none
        # Of each part: keys in order, numbers of the hashes.
        self._sorted = [(np.zeros(0, np.uint64), np.zeros(0, np.int32)) for _ in range(_PARTS)]
        self._index()

    @property
    def hashes(self) -> np.ndarray:
        """uint64 [N,4], as they were added."""
        return self._room[: self._count]

    def _index(self) -> None:
        new = self.hashes[self._indexed :]
        parts = np.concatenate([_keys(new[i : i + 4096]) for i in range(0, len(new), 4096)] or [_keys(new)], axis=1)
        for part, (keys, numbers) in enumerate(self._sorted):
            order = np.argsort(parts[part]).astype(np.int32)
            keys = np.concatenate([keys, parts[part][order]])
            numbers = np.concatenate([numbers, order + np.int32(self._indexed)])
            merged = np.argsort(keys, kind="stable")  # of two runs that are in order already
            self._sorted[part] = keys[merged], numbers[merged]
        self._indexed = self._count

    def seen(self, hash: np.ndarray) -> bool:
        """Say whether a hash is within SAME_BITS of one before it; keep it if not."""
        if self._is_near(hash, np.arange(self._indexed, self._count)) or self._is_near(hash, self._candidates(hash)):
            return True
        if self._count == len(self._room):
            self._room = np.concatenate([self._room, np.zeros((max(1024, self._count), WORDS), np.uint64)])
        self._room[self._count] = hash
        self._count += 1
        if self._count - self._indexed >= self._latest:
            self._index()
        return False

    def _is_near(self, hash: np.ndarray, numbers: np.ndarray) -> bool:
        self.compared += len(numbers)
        differing = np.bitwise_count(self._room[numbers] ^ hash).sum(axis=1)
        return len(numbers) > 0 and int(differing.min()) <= SAME_BITS

    def _candidates(self, hash: np.ndarray) -> np.ndarray:
        found = []
        for key, (keys, numbers) in zip(_keys(hash[None])[:, 0], self._sorted):
            near = key ^ _NEIGHBOURS
            starts, ends = np.searchsorted(keys, near), np.searchsorted(keys, near, "right")
            found += [numbers[start:end] for start, end in zip(starts, ends) if end > start]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int32)
