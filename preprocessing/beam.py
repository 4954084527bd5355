"""Run the chunks of a job with Apache Beam (`--runner beam`).

A chunk is some consecutive images of the job's source; a runner is a function that processes the
chunks (see `build.Runner`). Beam may run on this machine, Dataflow, Flink or Spark. Each of its
workers reads and processes whole chunks and writes the results to files. This machine assembles the
results into shards as with the local runner, so the shards are the same. Install it with:
pip install "pggan-tf[beam]"
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import shlex
import tempfile
import uuid
from collections.abc import Callable, Generator

import numpy as np

from pggan_tf.data.decode import Unreadable
from pggan_tf.errors import UserError
from preprocessing import storage
from preprocessing.job import Job, Result


def pack(results: list[Result]) -> bytes:
    """Return the bytes of an `.npz` file that holds the results, without pickle."""
    rows, arrays = [], {}
    for i, r in enumerate(results):
        dropped = isinstance(r.image, Unreadable)
        why = [str(r.image), r.image.kind] if dropped else None
        rows.append([r.name, r.label, r.number, r.more, why, r.clear, r.colour])
        if not dropped:
            arrays[f"image{i}"] = r.image
        if r.hash is not None:
            arrays[f"hash{i}"] = r.hash
    file = io.BytesIO()
    np.savez(file, rows=np.frombuffer(json.dumps(rows).encode(), np.uint8), **arrays)
    return file.getvalue()


def unpack(data: bytes) -> list[Result]:
    """Return the results that are stored in bytes returned by `pack`."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        rows = json.loads(arrays["rows"].tobytes())
        return [
            Result(
                name,
                Unreadable(*why) if why else arrays[f"image{i}"],
                label,
                arrays.get(f"hash{i}"),
                number,
                more,
                any(rest[:1]),  # earlier versions did not store it, nor the colour
                tuple(rest[1]) if len(rest) > 1 else (math.nan, math.nan),
            )
            for i, (name, label, number, more, why, *rest) in enumerate(rows)
        ]


def _name_file(folder: str, chunk: int) -> str:
    """Return the location of the file for the results of chunk number `chunk`."""
    return storage.join(folder, f"chunk-{chunk:08d}.npz")


def _do_chunk(chunk: int, job: Job, folder: str) -> int:
    """Process chunk number `chunk`, write the results into `folder`, and return the number.

    This runs on Beam's workers.
    """
    first = chunk * job.chunk
    items = list(job.source.items(first, min(first + job.chunk, len(job.source))))
    storage.write(_name_file(folder, chunk), pack(job.do(items)))
    return chunk


def make_runner(options: str = "") -> Callable[[Job, int, int], Generator[list[Result], None, None]]:
    """Return a function that runs jobs with Apache Beam, for the `runner` of `build.build`.

    Workers write their results to files in --temp_location, which all workers and this machine must
    reach, or to a temporary folder of this machine if that option is not given.

    Args:
        options: options of Beam's pipeline as on its command line, such as '--runner=DataflowRunner
            --temp_location=gs://bucket/folder'.

    Returns:
        The function, see `build.Runner`. If no runner is named in `options`, Beam runs on this
        machine.

    Raises:
        UserError: if apache-beam is not installed.
    """
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

    def run(job: Job, start: int, workers: int) -> Generator[list[Result], None, None]:
        beam_options = PipelineOptions(shlex.split(options))
        if beam_options.view_as(StandardOptions).runner is None:
            # Beam's default runner would download another program.
            beam_options.view_as(StandardOptions).runner = "FnApiRunner"
            direct = beam_options.view_as(DirectOptions)
            direct.direct_num_workers = workers
            direct.direct_running_mode = "multi_processing" if job.processes else "in_memory"
        shared = beam_options.view_as(GoogleCloudOptions).temp_location
        # A folder for this job only, because other jobs may use the same location at the same time.
        folder = storage.join(shared or tempfile.gettempdir(), f"pggan-{uuid.uuid4().hex}")
        try:
            with beam.Pipeline(options=beam_options) as pipeline:
                _ = (
                    pipeline
                    | beam.Create(range(start, job.chunks))
                    | beam.Reshuffle()
                    | beam.Map(_do_chunk, job, folder)
                )
            for chunk in range(start, job.chunks):
                yield unpack(storage.read(_name_file(folder, chunk)))
        finally:
            with contextlib.suppress(UserError):  # the results are complete even if this fails
                storage.remove_folder(folder)

    return run
