"""What a job says of itself."""

import collections
from types import SimpleNamespace

import numpy as np
import pytest

from pggan_tf.data.decode import Unreadable
from preprocessing.job import Job, Result, Summary
from preprocessing.options import OutputOptions
from preprocessing.sources import Item, SourceList

RAMP = np.linspace(0, 255, 32).astype(np.uint8)[None, :].repeat(32, 0)[..., None]


def job_of(count, **kwargs):
    source = type("Source", (), {"__len__": lambda self: count})()
    made = [Result("a", RAMP, 1), Result("b", Unreadable("no"), 2), Result("c", RAMP[:, ::-1].repeat(3, 2), number=3)]
    return Job(SourceList((source,)), lambda items: made[: len(items)], (4,), {}, **kwargs), made


@pytest.mark.parametrize("count, chunks", [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_a_job_has_as_many_chunks_as_hold_all_images(count, chunks):
    assert job_of(count, chunk=4)[0].chunks == chunks


def test_one_of_several_squares_of_a_photo_has_its_number():
    assert [made.title for made in job_of(3)[1]] == ["a", "b", "c#3"] and Result("a", RAMP, number=0).title == "a#0"


def test_images_have_a_hash_where_duplicates_are_looked_for():
    items = [Item("x", b"")] * 3
    job, made = job_of(3)
    assert job.do(items) is not made and job.do(items)[0] is made[0] and [m.hash for m in job.do(items)] == [None] * 3
    job, made = job_of(3, output=OutputOptions(dedupe=True))
    gray, bad, turned = job.do(items)
    assert bad is made[1] and (gray.name, gray.label, turned.number) == ("a", 1, 3) and turned.image is made[2].image
    for hashed in (gray, turned):
        assert hashed.hash.shape == (4,) and hashed.hash.dtype == np.uint64
    # The 16 frequencies along the ramp: those that are odd turn their sign when it is mirrored.
    assert [int(hashed.hash[0]) & 0xFFFF for hashed in (gray, turned)] == [0xAAAA, 0xFFFF]
    for depth in (3, 6):  # with six, of both pictures side by side
        image = np.concatenate([RAMP.repeat(3, 2), RAMP[:, ::-1].repeat(3, 2)], axis=-1)[..., :depth]
        job = Job(
            job.source, lambda items, image=image: [Result("d", image)], (4,), {}, output=OutputOptions(dedupe=True)
        )
        assert (job.do(items)[0].hash == gray.hash).all() == (depth == 3)


def test_transparency_counts_in_a_hash_only_where_it_shows():
    def hash_of(image):
        output = OutputOptions(dedupe=True)
        return (
            Job(job_of(1)[0].source, lambda items: [Result("d", image)], (4,), {}, output=output)
            .do([Item("x", b"")])[0]
            .hash
        )

    alpha = np.full_like(RAMP, 255)
    for colours in (1, 3):
        picture = RAMP.repeat(colours, 2)
        opaque = np.concatenate([picture, alpha], -1)
        assert (hash_of(opaque) == hash_of(picture)).all()
        opaque[: len(RAMP) // 2] = 0  # nothing is there
        assert (hash_of(opaque) != hash_of(picture)).any()


def test_a_summary_says_what_was_left_out_most_often_first():
    manifest = SimpleNamespace(resolutions=(4, 8), name_size=str)
    summary = Summary(
        "out", 12_345, 11_000, collections.Counter({"too small": 45, "unreadable": 1_300}), manifests=[manifest]
    )
    assert summary.describe() == "12,345 images read, 11,000 kept at 4, 8 px, dropped: 1,300 unreadable, 45 too small"
    assert Summary("out", 1, 1, manifests=[manifest]).describe() == "1 images read, 1 kept at 4, 8 px"
