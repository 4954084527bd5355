"""The structure of the compiled steps: nothing in them waits for the device, and the host chooses what is computed."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from pggan_tf.data import shards
from pggan_tf.data.pipeline import TrainingImages, make_batches
from pggan_tf.training import compiled, execution
from tests.test_repeatable import IMAGES, SMALL, begun

BRANCHES = {"If", "StatelessIf", "Case", "StatelessCase", "Switch", "Cond"}
LAZY = {**SMALL, "target_res": 4, "penalty_every": 4}


CRITICS = {"update": "two-stage", "loss": "wgan-gp", "critic_steps": 2}


def prepared(settings, xla=False, separate=None):
    """(gan, compiled steps, batches, phase)."""
    gan, phase, pixels, labels = begun(settings)
    steps = compiled.CompiledSteps(gan, phase, tf.distribute.get_strategy(), xla)
    if separate is not None:
        steps.separate = separate
    return gan, steps, iter(tf.data.Dataset.from_tensors((pixels, labels)).repeat()), phase


def nodes(program):
    """{name of the function, '' for the program itself: its nodes}, of all functions that it calls."""
    graph = program.graph.as_graph_def()
    return {"": list(graph.node)} | {f.signature.name: list(f.node_def) for f in graph.library.function}


def loops(found):
    """(condition's nodes, types of the arguments) of every loop."""
    every = [node for part in found.values() for node in part if node.op in ("While", "StatelessWhile")]
    return [(found[node.attr["cond"].func.name], node.attr["T"].list.type) for node in every]


@pytest.mark.parametrize(
    "settings, separate",
    [
        (LAZY, False),
        pytest.param(LAZY, True, marks=pytest.mark.slow),
        pytest.param({**SMALL, **CRITICS, "optimizer": "rmsprop"}, None, marks=pytest.mark.slow),
        pytest.param({**SMALL, **IMAGES, "task": "colorize", "network": "unet"}, None, marks=pytest.mark.slow),
    ],
    ids=["one program", "two programs", "critics", "colorize"],
)
def test_no_step_has_a_branch_or_a_loop_that_waits(settings, separate):
    _, steps, batches, _ = prepared(settings, separate=separate)
    program = steps.trace(batches)
    found = nodes(program)
    assert not BRANCHES & {node.op for part in found.values() for node in part}
    conditions = loops(found)
    assert len(conditions) == (2 if separate is False else 1)  # the steps; the penalty, once or not at all
    for condition, _ in conditions:
        read = [
            n
            for n in condition
            if n.op in ("ReadVariableOp", "ResourceGather") or n.attr["dtype"].type == tf.resource.as_datatype_enum
        ]
        compared = [n for n in condition if n.op == "Less"]
        assert not read and len(compared) == 1 and compared[0].attr["T"].type == tf.int32.as_datatype_enum


def test_the_host_takes_each_kind_of_step_from_its_own_program():
    """Two programs only if the penalty is lazy; and the figures are those of one program."""
    found = {}
    for separate in (False, True):
        gan, steps, batches, _ = prepared(LAZY, separate=separate)
        sums = {}
        for n in (1, 6, 4):
            count, sums = steps(batches, n, sums)
            assert count == n
        found[separate] = sums, {name: v.numpy() for name, v in gan.state().items()}
        assert steps.programs == (2 if separate else 1) and steps.steps_to_build == (2 if separate else 1)
    assert found[False][0] == found[True][0] and found[True][0]["penalty"]
    for name, value in found[False][1].items():
        np.testing.assert_array_equal(found[True][1][name], value, err_msg=name)


@pytest.mark.parametrize(
    "every, critics, kinds",
    [
        (1, 1, [(True,)]),
        (4, 1, [(True,), (False,)]),
        (2, 2, [(True, False)]),
        (4, 2, [(True, False), (False, False)]),
        (3, 2, [(True, False), (False, True), (False, False)]),
    ],
)
def test_which_steps_have_the_penalty(every, critics, kinds):
    """As many programs as there are kinds of steps, and all are built by the steps that a run begins with."""
    settings = {**LAZY, **CRITICS, "critic_steps": critics, "penalty_every": every}
    _, steps, _, _ = prepared(settings, separate=every > 1)
    taken = [kind for _, kind, count in steps._calls(0, 12) for _ in range(count)]
    updates = [done for kind in taken for done in kind]
    assert updates == [i % every == 0 for i in range(12 * critics)]
    assert set(taken) == set(kinds) == set(taken[: steps.steps_to_build])
    later = [kind for _, kind, count in steps._calls(5 * critics, 7) for _ in range(count)]
    assert later == taken[5:]


def test_without_a_penalty_there_is_one_program(monkeypatch):
    """On GPUs and with XLA, which take the two kinds of steps apart."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [tf.config.LogicalDevice("/gpu:0", "GPU")])
    for settings, apart in ((LAZY, True), ({**LAZY, "penalty": "none"}, False), ({**LAZY, "penalty_every": 1}, False)):
        _, steps, _, _ = prepared(settings)
        assert steps.separate is apart and steps.steps_to_build == 1 + apart


@pytest.mark.slow
def test_a_call_waits_once(monkeypatch):
    """However many steps and programs share it: the sums stay tensors until its end."""
    gan, steps, batches, _ = prepared(LAZY, separate=True)
    steps(batches, 2)
    kind, waits = type(tf.constant(0.0)), []
    read = kind.numpy
    monkeypatch.setattr(kind, "numpy", lambda self: waits.append(self.shape) or read(self))
    made = compiled.Clock.of(steps.phase)
    monkeypatch.setattr(compiled.Clock, "of", classmethod(lambda cls, phase: made))
    steps(batches, 13)
    assert len(waits) == 3  # the images seen before and after, and the sums


def test_steps_after_too_many_skips_change_nothing():
    """So a run stops at the same step however many steps share a call."""
    gan, steps, batches, _ = prepared(LAZY)
    gan.skipped_in_a_row.assign(20)
    before = {name: v.numpy() for name, v in gan.state().items() if not name.startswith("ema/")}
    count, sums = steps(batches, 3)
    assert count == 0 and not any(sums.values())
    for name, value in before.items():
        np.testing.assert_array_equal(gan.state()[name].numpy(), value, err_msg=name)


def noise(folder, count=40, size=8):
    writer = shards.Writer(folder, (size,), source="noise")
    for image in np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8):
        writer.add(image)
    writer.close()
    return TrainingImages(shards.Shards(folder), size, 0)


def test_images_are_copied_to_the_gpu_ahead_of_the_step(tmp_path):
    """The dataset that GPUs are given, on a CPU: the same images, and a copy that is made ahead is the last it does."""
    images = noise(tmp_path)
    plain = make_batches(images, 0, 40, 8)
    ahead = execution.copy_ahead(plain, tf.config.list_logical_devices("CPU"))
    with tf.Graph().as_default() as graph:
        execution.copy_ahead(make_batches(images, 0, 40, 8), [tf.config.LogicalDevice("/cpu:0", "CPU")])
        ops = [op.type for op in graph.get_operations() if op.type.endswith("Dataset")]
    assert ops[-2:] == ["GeneratorDataset", "PrefetchDataset"]  # the generator copies
    assert execution.copy_ahead(plain, []) is plain
    for (a, _), (b, _) in zip(plain, ahead, strict=True):
        np.testing.assert_array_equal(a, b)


def test_readers_read_at_once(tmp_path, monkeypatch):
    """A reader that waits for another one to read as well would wait for ever if they took turns."""
    from pggan_tf.data import pipeline

    images, meeting = noise(tmp_path), threading.Barrier(3)
    expected = [pixels.numpy() for pixels, _ in make_batches(images, 0, 48, 8)]
    read = TrainingImages.read

    def together(self, numbers):
        meeting.wait(timeout=30)
        return read(self, numbers)

    monkeypatch.setattr(TrainingImages, "read", together)
    monkeypatch.setattr(pipeline, "count_cores", lambda: 3)
    monkeypatch.setattr(pipeline, "_GATHER_BYTES", 1)
    found = [pixels.numpy() for pixels, _ in make_batches(images, 0, 48, 8)]
    np.testing.assert_array_equal(found, expected)
