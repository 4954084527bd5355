"""Runs whose weights are ruined, and ends of memory: a good checkpoint stays, and one line says what to type."""

import dataclasses
import json
import re
import shlex
import types

import numpy as np
import pytest
import tensorflow as tf

from pggan_tf import errors, synthesis
from pggan_tf.config import parse, resolve
from pggan_tf.config.resolve import complete
from pggan_tf.data import pixels
from pggan_tf.errors import OutOfMemory, explain_out_of_memory
from pggan_tf.metrics import sets
from pggan_tf.runs import checkpoint
from pggan_tf.training import compiled, health, planning, step
from tests.conftest import TINY, pggan

SHORT = [*TINY, "--target-res", "8", "--fade-images", "16", "--stable-images", "16", "--batch", "8"]
NO_MEMORY = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("generator/conv/kernel", np.nan, "generator/conv/kernel became NaN or Inf"),
        ("ema/conv/kernel", -np.inf, "ema/conv/kernel became NaN or Inf"),
        ("discriminator/conv/kernel", -2e6, "discriminator/conv/kernel grew to 2e[+]06"),
        ("optimizer_generator/conv/kernel/v", np.inf, "optimizer_generator/conv/kernel/v became NaN or Inf"),
        ("augment_probability", np.nan, "augment_probability became NaN"),
    ],
)
def test_what_ruins_a_checkpoint(name, value, words):
    arrays = {"step": np.array(10**12), name: np.zeros((2, 3), np.float32)}
    assert checkpoint.describe_ruin(arrays) is None
    arrays[name] = np.copy(arrays[name])
    arrays[name].flat[-1] = value
    assert re.fullmatch(words + ".*", checkpoint.describe_ruin(arrays))


def test_an_optimiser_may_keep_large_numbers():
    assert checkpoint.describe_ruin({"optimizer_generator/conv/kernel/v": np.array([1e12], np.float32)}) is None


def gan(skipped=0, generator=0, discriminator=0, in_a_row=0):
    counts = {"skipped_generator": tf.Variable(generator), "skipped_discriminator": tf.Variable(discriminator)}
    return types.SimpleNamespace(
        skipped=tf.Variable(skipped),
        skipped_in_a_row=tf.Variable(in_a_row),
        skipped_by=counts,
        loss_scale=None,
        state=dict,
    )


@pytest.mark.parametrize(
    ("steps", "skipped", "last", "words"),
    [
        (20, (11, 11, 0), False, r"11 of the last 20 steps \(generator 11, discriminator 0\)"),
        (20, (10, 10, 10), False, None),
        (19, (19, 0, 19), False, None),  # too few to tell
        (6, (5, 5, 5), True, "5 of the last 6 steps"),
        (2, (2, 2, 2), True, None),
    ],
)
def test_networks_that_are_skipped_most_of_the_time(steps, skipped, last, words):
    model = gan(7, 7, 7)  # of another session
    watch = health.Health(model)
    watch.steps += steps
    for variable, count in zip((model.skipped, *model.skipped_by.values()), skipped):
        variable.assign_add(count)
    what = watch.judge_updates(last)
    assert re.search(words, what) if words else what is None
    watch.note_checkpoint()
    assert (watch.judge_updates(last) is None) == (steps >= 20 or not words), (
        "a checkpoint closes what was enough to judge"
    )


@pytest.mark.parametrize(
    ("steps", "skipped", "last", "judged"),
    [(19, 19, False, False), (20, 10, False, False), (20, 11, False, True), (3, 3, True, True), (2, 2, True, False), (6, 3, True, False)],
)  # fmt: skip
def test_when_skipped_steps_are_too_many(steps, skipped, last, judged):
    model = gan()
    watch = health.Health(model)
    watch.steps = steps
    model.skipped.assign(skipped)
    model.skipped_by["skipped_discriminator"].assign(skipped)
    by_network = f"(generator 0, discriminator {skipped})"
    what = f"the loss or a gradient was NaN or Inf in {skipped} of the last {steps} steps {by_network}"
    assert watch.judge_updates(last) == (what if judged else None)
    assert watch.count_skips() == {"skipped": skipped, "skipped_generator": 0, "skipped_discriminator": skipped}
    watch.restart()
    assert watch.judge_updates(True) is None, "what was judged counts no longer"


def test_steps_that_are_skipped_one_after_the_other():
    model = gan(skipped=30, generator=5, discriminator=25, in_a_row=19)
    watch = health.Health(model)
    assert watch.judge_steps() is None and watch.skipped_last_step()
    model.skipped_by["skipped_generator"].assign_add(20)
    model.skipped_in_a_row.assign(20)
    what = "the loss or a gradient was NaN or Inf 20 steps in a row (generator 20, discriminator 0)"
    assert watch.judge_steps() == what
    model.state = lambda: {"ema/kernel": tf.Variable([1.0, np.nan])}
    assert watch.judge_steps() == f"{what}, and ema/kernel became NaN or Inf,"
    np.testing.assert_array_equal(watch.read_arrays()["ema/kernel"], [1.0, np.nan])
    model.skipped_in_a_row.assign(1)
    assert watch.skipped_last_step()
    model.skipped_in_a_row.assign(0)
    assert not watch.skipped_last_step()


def test_what_is_told_of_a_ruined_run(tmp_path):
    plan = resolve({"target_res": 8})
    first, last = (plan.phases[i] for i in (0, -1))
    typed = f"--config {tmp_path / 'config.json'} --learning-rate"
    told = health.explain_ruin("it grew", tmp_path, plan, last, 12345, False)
    assert (told.code, str(told)) == (
        1,
        f"it grew at {last.name}, after 12,345 images. The training is stopped, and these weights are not kept. "
        f"Start again with: {typed} {last.learning_rate / 4:g} (--resume would come to the same end.)",
    )
    slow = dataclasses.replace(last, learning_rate=1.0)
    assert (
        health.suggest_smaller_steps(plan, slow, True) == f"--learning-rate {last.learning_rate:g} --precision float32"
    )
    assert health.suggest_smaller_steps(plan.replace(recipe="none"), first, False).startswith("--learning-rate ")
    begun, later = (checkpoint.path_for(tmp_path, n) for n in (0, 16))
    checkpoint.write(begun, {}, {})
    of_the_beginning = f"The last good checkpoint is {begun}, of the beginning. Start again with: --config {tmp_path / 'config.json'} --x"
    assert health.suggest_restart(tmp_path, "--x") == of_the_beginning
    checkpoint.write(later, {}, {})
    assert health.suggest_restart(tmp_path, "--x") == (
        f"The last good checkpoint is {later}. Start from it with: --config {tmp_path / 'config.json'} --init-from {tmp_path} --x"
    )
    # Weights whose logits had grown without bound by then are not begun with, those from before it are.
    for images, logits, lost in ((12, [6e14], True), (20, [6e14], False), (12, [1200.0, *[0.5] * 10], False)):
        ticks = [{"images": images, "seconds": 1.0, "loss_d": 1.0, "logit_real": logit} for logit in logits]
        (tmp_path / "stats.jsonl").write_text("".join(f"{json.dumps(tick)}\n" for tick in ticks))
        text = health.suggest_restart(tmp_path, "--x")
        assert ("--init-from" not in text) == lost and ("no checkpoint is worth going on with" in text) == lost


def test_a_batch_that_fits_is_a_batch_that_the_networks_take():
    plan = resolve({"target_res": 32, "batch": {4: 24, 32: 16}})
    assert plan.suggest_less_memory(8) == "--batch 4=24,8=12"
    assert plan.suggest_less_memory(32) == "--batch 4=24,32=8"
    assert plan.suggest_less_memory(32, devices=3) == "--batch 4=24,32=3"
    smaller = complete(plan.config.replace(batch=parse("batch", "4=24,8=12")))
    assert smaller.optimization.batch[32] == 12
    one = resolve({"batch": {4: 1}})
    assert one.suggest_less_memory(64) == "--fmap-max 64"


def test_what_is_an_end_of_memory():
    for error in (MemoryError(), np.exceptions.AxisError(0), OSError(12, "Cannot allocate memory"), NO_MEMORY):
        assert errors.is_out_of_memory(error) == (not isinstance(error, np.exceptions.AxisError))
    assert errors.is_out_of_memory(tf.errors.InternalError(None, None, "RESOURCE_EXHAUSTED: Out of memory"))
    assert not errors.is_out_of_memory(tf.errors.ResourceExhaustedError(None, None, "No space left on device"))
    assert not errors.is_out_of_memory(OSError(28, "No space left on device"))
    with (
        pytest.raises(OutOfMemory, match="^out of memory while b. d$"),
        explain_out_of_memory("b", "d"),
        explain_out_of_memory("a", "c"),
    ):
        raise MemoryError


def exhausted(*_args, **_kwargs):
    raise NO_MEMORY


def test_weights_that_grew_absurd_stop_the_run_and_what_it_says_can_be_typed(tmp_path):
    code, out, err = pggan("train", *SHORT, "--learning-rate", "1e30", "--run", tmp_path / "run")
    assert code == 1 and re.search("grew to 1e[+]30 at 8px fade, after 16 images. The training is stopped", err), err
    assert not (tmp_path / "run" / "generator.keras").exists()
    (kept,) = checkpoint.list_checkpoints(tmp_path / "run")
    assert str(kept) in err and checkpoint.describe_ruin(checkpoint.read(kept)[0]) is None
    typed = shlex.split(re.search(r"Start again with: (.*) \(", err)[1])
    code, out, _ = pggan("train", *typed, "--dry-run")
    assert code == 0 and json.JSONDecoder().raw_decode(out)[0]["optimization"]["learning_rate"] == {
        "4": 0.008,
        "8": 0.008,
    }


@pytest.mark.slow
def test_no_good_checkpoint_makes_room_for_trouble(tmp_path, monkeypatch):
    """From 80 images on the discriminator is skipped at every step, and the generator moves alone."""
    batch = step.TrainingStep._draw_batch

    def poisoned(self, *args):
        whole = batch(self, *args)
        return dataclasses.replace(whole, reals=whole.reals * tf.where(self.gan.images_seen < 80, 1.0, np.nan))

    monkeypatch.setattr(step.TrainingStep, "_draw_batch", poisoned)
    often = ("--checkpoint-minutes", "0", "--keep-checkpoints", "1")
    plan = ("--target-res", "4", "--stable-images", "800", "--batch", "8")
    code, out, err = pggan("train", *TINY, *plan, *often, "--run", tmp_path / "run")
    assert code == 1 and "20 steps in a row (generator 0, discriminator 20) at 4px stable, after 240 images" in err
    assert [p.name for p in checkpoint.list_checkpoints(tmp_path / "run")] == ["checkpoint-000000000080.npz"]
    assert re.search(r"npz. Start from it with: --config \S+ --init-from \S+run --learning-rate 0.002 ", err), err


def test_out_of_memory_while_speed_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "_seconds", exhausted)
    code, _, err = pggan("train", *SHORT[:-6], "--batch", "8", "--minutes", "1", "--runs", tmp_path)
    assert code == 2 and err.splitlines()[-1] == (
        "error: out of memory while the speed at 4 px is measured in batches of 8. Give less: --batch 4=4"
    )


def test_out_of_memory_in_training(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled.CompiledSteps, "__call__", exhausted)
    code, _, err = pggan("train", *SHORT, "--run", tmp_path / "run")
    words = r"out of memory at 4px stable in batches of 8. .* --config \S*config.json --batch 4=4"
    assert code == 1 and re.fullmatch(words, err.splitlines()[-1]), err


@pytest.mark.slow
def test_out_of_memory_beside_the_training_does_not_end_it(tmp_path, monkeypatch):
    """In grids and metrics; a generator that cannot be finished is one that --resume can finish elsewhere."""
    monkeypatch.setattr(synthesis.FromLatents, "images", exhausted)
    monkeypatch.setattr(sets, "collect_statistics", exhausted)
    monkeypatch.setattr(synthesis, "finish", exhausted)
    code, out, err = pggan("train", *SHORT, "--metrics", "swd", "--run", tmp_path / "run")
    assert (
        "no grid at 48 images: out of memory while a grid is drawn. A new run takes less with a smaller --grid" in out
    )
    assert "no metrics at 48 images: out of memory while metrics are measured" in out and "--metrics-images" in out
    assert code == 1 and re.search("out of memory while generator.keras is made. .* --resume .*run makes it", err), err
    assert checkpoint.read(checkpoint.list_checkpoints(tmp_path / "run")[0])[1]["images_seen"] == 48


def test_out_of_memory_in_what_looks_at_a_run(tmp_path, monkeypatch):
    from pggan_tf.networks.progressive import Generator

    generator = Generator((4, 8), channels=3, fmap_base=64, fmap_max=8, latent_size=8)
    generator.build()
    generator.save(tmp_path / "generator.keras")
    file = tmp_path / "generator.keras"
    monkeypatch.setattr(synthesis.Sampler, "images", exhausted)
    code, _, err = pggan("generate", file, "--count", "4", "--grid", tmp_path / "x.png")
    assert code == 2 and err.startswith("error: out of memory while images are made. Give a smaller --stage"), err
    code, _, err = pggan("evaluate", "portraits", file, "--metrics", "swd", "--images", "8", "--cache", tmp_path)
    assert code == 2 and err.splitlines()[-1].startswith("error: out of memory while images are measured."), err
    code, _, err = pggan("grid", file, "--stages", "--out", tmp_path / "y.png")
    assert code == 2 and err.startswith("error: out of memory."), err
    monkeypatch.undo()
    monkeypatch.setattr(pixels, "save_grid", exhausted)  # of the samples beside the exported files
    code, _, err = pggan("export", file, "--to", "keras", "--out", tmp_path / "out")
    assert code == 2 and err.splitlines()[-1].startswith("error: out of memory while the network is exported."), err
    assert not (tmp_path / "out").exists()


def test_commands_to_type_hold_folders_with_spaces(tmp_path):
    folder = tmp_path / "my runs"
    (folder / checkpoint.FOLDER).mkdir(parents=True)
    (checkpoint.path_for(folder, 8)).touch()
    config, init, *more = shlex.split(health.suggest_restart(folder, "--batch 4").split(" with: ")[1])[1::2]
    assert (config, init, more) == (str(folder / "config.json"), str(folder), ["4"])
