"""`--runner beam`: the same chunks as an Apache Beam pipeline, on this machine, Dataflow, Flink or Spark.

Every chunk is read, worked on and written by whichever machine has it; putting them together is done here, as for the
local runner, so the shards are the same. pip install "pggan-tf[beam]"
"""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import tempfile
import uuid
from collections.abc import Callable, Iterator

import numpy as np

from pggan_tf.data.decode import Unreadable
from pggan_tf.errors import UserError
from preprocessing import storage
from preprocessing.job import Job, Made


def packed(made: list[Made]) -> bytes:
    """Results as the bytes of an `.npz`, without pickle."""
    rows, arrays = [], {}
    for i, m in enumerate(made):
        dropped = isinstance(m.image, Unreadable)
        rows.append([m.name, m.label, m.number, m.more, [str(m.image), m.image.kind] if dropped else None])
        if not dropped:
            arrays[f"image{i}"] = m.image
        if m.hash is not None:
            arrays[f"hash{i}"] = m.hash
    file = io.BytesIO()
    np.savez(file, rows=np.frombuffer(json.dumps(rows).encode(), np.uint8), **arrays)
    return file.getvalue()


def unpacked(data: bytes) -> list[Made]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        rows = json.loads(arrays["rows"].tobytes())
        return [
            Made(
                name,
                Unreadable(*why) if why else arrays[f"image{i}"],
                label,
                arrays.get(f"hash{i}"),
                number,
                more,
            )
            for i, (name, label, number, more, why) in enumerate(rows)
        ]


def _chunk_file(folder: str, chunk: int) -> str:
    return storage.join(folder, f"chunk-{chunk:08d}.npz")


def _do_chunk(chunk: int, job: Job, folder: str) -> int:
    first = chunk * job.chunk
    items = list(job.source.items(first, min(first + job.chunk, len(job.source))))
    storage.write(_chunk_file(folder, chunk), packed(job.do(items)))
    return chunk


def runner(options: str = "") -> Callable[[Job, int, int], Iterator[list[Made]]]:
    """options: as on Beam's command line. Chunks go through --temp_location, which every worker has to reach; where none
    is given, through a folder of this machine."""
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import (
            DirectOptions,
            GoogleCloudOptions,
            PipelineOptions,
            StandardOptions,
        )
    except ImportError:
        raise UserError('--runner beam: apache-beam is not installed. pip install "pggan-tf[beam]"') from None

    def run(job: Job, start: int, workers: int) -> Iterator[list[Made]]:
        given = PipelineOptions(shlex.split(options))
        if given.view_as(StandardOptions).runner is None:
            # Beam's own default would fetch another program from the network.
            given.view_as(StandardOptions).runner = "FnApiRunner"
            given.view_as(DirectOptions).direct_num_workers = workers
            given.view_as(DirectOptions).direct_running_mode = "multi_processing" if job.processes else "in_memory"
        shared = given.view_as(GoogleCloudOptions).temp_location
        # Of this job alone: others may go through the same place at the same time.
        folder = storage.join(shared or tempfile.gettempdir(), f"pggan-{uuid.uuid4().hex}")
        try:
            with beam.Pipeline(options=given) as pipeline:
                _ = (
                    pipeline
                    | beam.Create(range(start, job.chunks))
                    | beam.Reshuffle()
                    | beam.Map(_do_chunk, job, folder)
                )
            for chunk in range(start, job.chunks):
                yield unpacked(storage.read(_chunk_file(folder, chunk)))
        finally:
            with contextlib.suppress(UserError):  # what was made is whole all the same
                storage.remove_folder(folder)

    return run
