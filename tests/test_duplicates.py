"""Images that look alike are found among many, by their perceptual hashes."""

import numpy as np
import pytest

from preprocessing import duplicates


def hashes_with_near_ones(count):
    """uint64 [N,4]: every third is one before it with 0 to 17 of its bits turned, some of them within one word."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (count, 4), np.uint64)
    for i in range(1, count, 3):
        bits = np.unpackbits(hashes[rng.integers(i)].view(np.uint8))
        where = rng.choice(256 if i % 2 else 40, rng.integers(18), replace=False)
        bits[where] ^= 1
        hashes[i] = np.packbits(bits).view(np.uint64)
    return hashes


def test_the_index_of_duplicates_says_what_comparing_all_would():
    hashes = hashes_with_near_ones(2000)
    kept, expected = hashes[:0], []
    for hash in hashes:
        expected.append(bool((np.bitwise_count(kept ^ hash).sum(axis=1) <= duplicates.SAME_BITS).any()))
        kept = kept if expected[-1] else np.concatenate([kept, hash[None]])
    index = duplicates.Index(latest=50)
    found = [index.find_or_add(hash) for hash in hashes[:1000]]
    index = duplicates.Index(index.hashes, latest=50)  # as a job that goes on
    assert found + [index.find_or_add(hash) for hash in hashes[1000:]] == expected
    np.testing.assert_array_equal(index.hashes, kept)
    assert 400 < sum(expected) < 600


def test_the_index_of_duplicates_compares_few_of_many():
    hashes = np.random.default_rng(1).integers(0, 2**64, (60_000, 4), np.uint64)
    index = duplicates.Index(hashes, latest=100)
    assert not any(index.find_or_add(hash) for hash in ~hashes[:300]) and all(
        index.find_or_add(hash) for hash in hashes[:300]
    )
    assert index.compared < 600 * (100 + 10) and len(index.hashes) == 60_300


def turned(hash, bits):
    """A hash with these bits turned."""
    planes = np.unpackbits(hash.view(np.uint8))
    planes[list(bits)] ^= 1
    return np.packbits(planes).view(np.uint64)


def test_the_same_picture_in_another_colour_is_another():
    hash, red, blue = HASH, (200.0, 0.0), (0.0, 200.0)
    for latest in (1, 100):
        index = duplicates.Index(latest=latest)
        assert not index.find_or_add(hash, red) and not index.find_or_add(hash, blue)
        assert index.find_or_add(hash, (195.0, 5.0)) and index.find_or_add(hash, blue)
        again = duplicates.Index(index.hashes, index.colours, latest)
        assert again.find_or_add(hash, blue) and not again.find_or_add(hash, (0.0, 0.0))
    # Of work that an earlier version began, no colours are known.
    assert duplicates.Index(index.hashes).find_or_add(hash, (0.0, 0.0))


HASH = np.random.default_rng(3).integers(0, 2**64, 4, np.uint64)


@pytest.mark.parametrize("latest", [1, 100])
@pytest.mark.parametrize(
    "bits", [range(12), range(0, 252, 21), range(244, 256), (0, 1, 7, 8, 62, 63, 64, 65, 190, 192, 254, 255)]
)
def test_twelve_bits_are_the_same_picture_and_thirteen_are_not(latest, bits):
    """Wherever they lie, and whether it is among the latest or looked up."""
    index = duplicates.Index(latest=latest)
    assert not index.find_or_add(HASH) and index.find_or_add(HASH) and index.find_or_add(turned(HASH, bits))
    other = next(bit for bit in range(100, 256) if bit not in bits)
    assert len(index.hashes) == 1 and not index.find_or_add(turned(HASH, [*bits, other]))
    np.testing.assert_array_equal(index.hashes, [HASH, turned(HASH, [*bits, other])])


def test_parts_of_a_hash_are_every_seventh_bit():
    """Bit i of 256 is bit i // 7 of part i % 7, of 37."""
    for bit in (0, 1, 6, 7, 69, 200, 255):
        planes = np.zeros(256, np.uint8)
        planes[bit] = 1
        keys = duplicates._split(np.packbits(planes).view(np.uint64)[None])
        assert keys.shape == (7, 1) and keys.dtype == np.uint64
        assert keys[:, 0].tolist() == [1 << bit // 7 if part == bit % 7 else 0 for part in range(7)]
    assert sorted(duplicates._NEIGHBOURS.tolist()) == [0, *(1 << i for i in range(37))]


@pytest.mark.parametrize("count", [0, 1, 3, 10, 4096, 4097])
def test_an_index_of_hashes_that_were_kept_finds_each(count):
    hashes = np.random.default_rng(100 + count).integers(0, 2**64, (count, 4), np.uint64)
    before = hashes.copy()
    index = duplicates.Index(hashes)
    assert index._indexed == len(index.hashes) == count
    numbers = [number for number in (0, 1, count // 2, count - 1) if 0 <= number < count]
    for number in numbers:
        assert index._find_candidates(hashes[number]).tolist() == [number] and index.find_or_add(
            turned(hashes[number], [number % 256])
        )
    assert index.compared == len(numbers) and index._find_candidates(~HASH).tolist() == []
    assert not index.find_or_add(HASH) and len(index.hashes) == count + 1
    np.testing.assert_array_equal(hashes, before)  # those given stay as they are


def test_the_latest_are_compared_one_by_one_and_then_looked_up():
    hashes = np.random.default_rng(5).integers(0, 2**64, (7, 4), np.uint64)
    index, compared = duplicates.Index(latest=3), []
    for hash in hashes:
        assert not index.find_or_add(hash)
        compared.append(index.compared)
    assert compared == [0, 1, 3, 3, 4, 6, 6] and index._indexed == 6
    for keys, numbers in index._sorted:
        assert (keys[1:] >= keys[:-1]).all() and keys.dtype == np.uint64
        assert sorted(numbers) == list(range(6)) and numbers.dtype == np.int32


def test_of_several_that_are_near_each_is_compared_once():
    index = duplicates.Index(np.stack([HASH, turned(HASH, range(12)), ~HASH]))
    assert index._find_candidates(turned(HASH, range(5))).tolist() == [0, 1]
    assert index.find_or_add(turned(HASH, range(5))) and index.compared == 2


@pytest.mark.parametrize("count, room", [(0, 1024), (5, 1029), (1024, 2048), (1100, 2200)])
def test_room_is_made_for_many_at_once(count, room):
    """Adding one copies no others, most of the time: there is room for 1024 more, or as many as there are."""
    hashes = np.random.default_rng(6).integers(0, 2**64, (count + 2, 4), np.uint64)
    index = duplicates.Index(hashes[:count])
    for hash in hashes[count:]:
        assert not index.find_or_add(hash) and len(index._room) == room and index._room.dtype == np.uint64
    np.testing.assert_array_equal(index.hashes, hashes)
    index._count = room - 1
    for number, expected in ((7, room), (8, 2 * room)):  # full, and one more
        index.find_or_add(np.full(4, number * 0x123456789ABCDEF, np.uint64))
        assert len(index._room) == expected
