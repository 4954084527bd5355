"""What is said of a run by its figures, and runs that were made to fail."""

import dataclasses
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from benchmarks import illnesses
from export import source
from pggan_tf.config import load, resolve
from pggan_tf.errors import UserError
from pggan_tf.report import coach, tables
from pggan_tf.report import runs as report_runs
from pggan_tf.runs import records
from pggan_tf.training import metric_callback, planning
from pggan_tf.training.coaching import measure_variety
from tests.conftest import TINY, train

ROOT = Path(__file__).parents[1]
HEALTHY = {"loss_d": 1.23, "loss_g": 0.82, "logit_real": 0.22, "logit_fake": -0.21, "skipped": 0.0}
CHECK = {"variety": 0.95, "undecided": 1.386, "logit_seen": 0.25, "logit_unseen": 0.2, "logit_made": -0.2}
CHECK |= {"logit_error": 0.02}


def figures(tick=(), check=(), photos=4000, measured=(), checks=3, **options):
    plan = resolve({"target_res": 16, "stable_images": {4: 40_000}, "fade_images": {4: 0}, **options})
    ticks = [{"images": 10_000 * i, "learning_rate": 4e-3, **HEALTHY, **dict(tick)} for i in range(12)]
    return coach.Figures(plan, ticks, [CHECK | dict(check)] * checks, measured, photos)


def told(*args, **kwargs):
    return [advice.illness for advice in coach.advise(figures(*args, **kwargs))]


def test_a_healthy_run_gets_no_advice():
    assert told() == told(check={"variety": 1.3}) == told(photos=None) == []
    assert coach.advise(coach.Figures(resolve({"target_res": 16}), [], [], [], 4000)) == []


@pytest.mark.parametrize(
    "tick, check, illness",
    [  # the figures of docs/benchmarks/illnesses.md
        ({"logit_real": 4.1e6, "logit_fake": 4.5e6, "loss_d": 4.5e6}, {"variety": 0.0}, "learning rate too high"),
        ({"skipped": 0.5}, {}, "learning rate too high"),
        ({"logit_real": 34.75, "logit_fake": -16.76, "loss_d": 0.0}, {"variety": 0.2}, "discriminator wins"),
        ({"logit_real": 0.0, "logit_fake": 0.01, "loss_d": 1.39}, {"variety": 0.1}, "collapse"),
        (
            {"logit_real": 0.91, "logit_fake": -0.92, "loss_d": 0.77},
            {"logit_seen": 0.78, "logit_unseen": -1.12, "logit_made": -0.92},
            "photos known by heart",
        ),
    ],
)
def test_each_illness_has_its_sentence(tick, check, illness):
    (advice,) = coach.advise(figures(tick, check))
    assert advice.illness == illness and advice.text.endswith(".") and advice.commands
    assert "Try: " in str(advice) and "\n" not in str(advice)
    assert all(option.startswith("--") or not option.startswith("-") for option in advice.commands)


def test_only_what_the_run_may_have_is_advised():
    collapsed = {"logit_real": 0.0, "logit_fake": 0.01, "loss_d": 1.39}, {"variety": 0.1}
    (advice,) = coach.advise(figures(*collapsed, augment="ada"))
    assert not any("wgan-gp" in command for command in advice.commands) and advice.commands
    old = dataclasses.replace(figures(*collapsed, augment="ada").plan, asked={})  # of a config.json of version 2
    (advice,) = coach.advise(dataclasses.replace(figures(*collapsed), plan=old))
    assert not any("wgan-gp" in command for command in advice.commands) and advice.commands
    (advice,) = coach.advise(figures(*collapsed, batch={4: 7}, minibatch="discrimination"))
    assert not any("stddev" in command for command in advice.commands) and advice.commands
    known = {"logit_real": 0.91, "logit_fake": -0.92}, {"logit_seen": 0.78, "logit_unseen": -1.12, "logit_made": -0.92}
    (advice,) = coach.advise(figures(*known))
    assert advice.commands[2] == "--augment ada --augment-images 30000"  # a quarter of what the run sees
    (advice,) = coach.advise(figures(*known, total_images=4_000_000))
    assert advice.commands[2] == "--augment ada"
    (advice,) = coach.advise(figures(*known, loss="wgan-gp"))
    assert advice.commands == ("more photos", "--augment diff")


def test_a_rate_far_too_high_becomes_the_usual_one():
    (advice,) = coach.advise(figures({"logit_real": 4.1e6}, learning_rate={4: 100.0}))
    assert advice.commands[0] == "--learning-rate 0.008"


def test_skips_of_the_first_steps_say_nothing():
    """float16 looks for the scale of its losses then."""
    plan = resolve({"target_res": 8})
    steps = [{"images": 16 * i, "resolution": 8, **HEALTHY, "skipped": 0.8} for i in range(1, 12)]
    assert coach.advise(coach.Figures(plan, steps, [], [], 4000)) == []


def test_the_discriminator_wins_with_other_losses_beside_it():
    """A smoothed loss is never 0, and that of classes is in the one that is logged."""
    smooth = {"loss": "nonsaturating", "label_smoothing": 0.1}
    assert told({"loss_d": 0.34}, {"undecided": 1.38, "least": 0.325}, **smooth) == ["discriminator wins"]
    assert told({"loss_d": 0.6}, {"undecided": 1.38, "least": 0.325}, **smooth) == []
    classes = {"conditional": True}
    assert told({"loss_d": 4.6}, {"adversarial": 0.01, "least": 0.0}, **classes) == ["discriminator wins"]
    assert told({"loss_d": 4.6}, {"adversarial": 1.2, "least": 0.0}, **classes) == []


def test_a_stronger_penalty_is_stronger():
    """Three times what a run has where it is now, of the same kind; 1 if it has none."""
    for options, advised in (
        ({}, "r1 --penalty-weight 0.9"),
        ({"penalty_weight": {4: 0.3, 8: 13.0, 16: 52.0}}, "r1 --penalty-weight 156"),
        ({"penalty": "r1+r2", "penalty_weight": {4: 2.0}}, "r1+r2 --penalty-weight 6"),
        ({"loss": "wgan-gp"}, "r1 --penalty-weight 1"),
    ):
        (advice,) = coach.advise(figures({"loss_d": 0.0}, **options))
        assert advice.commands[0] == f"--penalty {advised}"


def test_what_a_run_has_already_is_not_advised():
    collapse, ruin = {"variety": 0.1}, {"skipped": 0.5}
    rate = {"learning_rate": {4: 4e-3}}
    (won,) = coach.advise(figures({"loss_d": 0.0}, discriminator_rate=0.5))
    assert won.commands[1] == "--discriminator-rate 0.25"
    (few,) = coach.advise(figures(photos=60, total_images=40_000, init_from="portraits"))
    assert few.commands == ("more photos", "--augment diff")
    for tick, check, options, advised in (
        ({}, collapse, rate, ("--loss wgan-gp --update two-stage", "--learning-rate 0.002")),
        (
            {},
            collapse,
            {"minibatch": "none"},
            ("--minibatch stddev --discriminator-rate 1", "--loss wgan-gp --update two-stage"),
        ),
        ({}, collapse, {"loss": "wgan-gp", "update": "two-stage"} | rate, ("--learning-rate 0.002",)),
        (
            {},
            collapse,
            {"network": "dcgan", "discriminator_rate": 2.0},
            ("--discriminator-rate 1", "--loss wgan-gp --update two-stage"),
        ),
        (ruin, {}, rate, ("--learning-rate 0.001", "--precision float32")),
        (ruin, {}, rate | {"precision": "float32"}, ("--learning-rate 0.001",)),
    ):
        (advice,) = coach.advise(figures(tick, check, **options))
        assert advice.commands == advised


def test_one_check_alone_is_not_believed():
    """The second one has to agree, and photos whose mean may be off by chance say nothing."""
    odd = {"logit_seen": 0.78, "logit_unseen": -1.12, "logit_made": -0.92}
    assert told(check=odd) == ["photos known by heart"]
    assert told(check=odd, checks=1) == told(check=odd | {"logit_error": 1.5}) == []
    assert told(check={"logit_unseen": None}) == []


def test_few_photos_are_named_before_they_are_known_by_heart():
    few = {"photos": 60, "total_images": 40_000}
    (advice,) = coach.advise(figures(**few))
    assert advice.illness == "too few photos" and "there are 60," in advice.text and "667 times" in advice.text
    assert told(**few, augment="diff") == told(photos=60, total_images=3_000) == told(photos=1_500) == []


def test_a_plateau_is_told_by_the_metrics():
    def measured(*values):
        start = resolve({"target_res": 16, "stable_images": {4: 40_000}, "fade_images": {4: 0}}).phases[-1].start
        lines = enumerate(values, 1)
        return [{"images": start + 5000 * i, "resolution": 16, "metrics": {"swd": v, "ms-ssim": 0.3}} for i, v in lines]

    assert told(measured=measured(9, 8, 7, 6, 5, 4, 3)) == told(measured=measured(3, 4, 5)) == []
    (advice,) = coach.advise(figures(measured=measured(9, 8, 7, 3, 5, 4, 3.5)))
    assert advice.illness == "nothing gained" and "for 38% of" in advice.text and "swd was 3 " in advice.text
    assert "--stop plateau" in advice.commands and "a larger --fmap-base" in advice.commands


def test_a_colorizer_that_gains_nothing_is_told_to_zoom():
    """It takes other options than a growing network; one that zooms already is not told to."""
    for zoom, told_so in ((0.0, True), (0.3, False)):
        plan = resolve({"recipe": "recolor", "target_res": 16, "zoom": zoom})
        lines = [
            {"images": 20_000 * i, "resolution": 16, "metrics": {"psnr": p}}
            for i, p in enumerate((20, 25, 24, 23, 22, 21), 1)
        ]
        (advice,) = coach.advise(coach.Figures(plan, figures().ticks, (), lines, 2000))
        assert "psnr was 25 before" in advice.text
        assert any("--zoom 0.3" in command for command in advice.commands) == told_so
        assert "a larger --width" in advice.commands and not any("--fmap-base" in c for c in advice.commands)


def test_variety_is_that_between_images():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (64, 8, 8, 3)).astype(np.uint8)
    assert measure_variety(images[:1].repeat(64, axis=0)) == 0
    # Means of 2 x 2 pixels, which are uniform in 0..255.
    assert measure_variety(images) == pytest.approx(255 / 12**0.5 / 2, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    "form, illness",
    [
        ("discriminator-wins", "The discriminator wins"),
        ("collapse", "has collapsed"),
        ("learning-rate", "learning rate is too high"),
        ("few-photos", "The photos are few: there are 60"),
        ("by-heart", "knows its photos by heart"),
    ],
)
def test_runs_that_were_made_to_fail(form, illness, tmp_path):
    forms = illnesses.FORMS | {"by-heart": {"--portraits": 600, "--held-out": 0.9}}
    *before, last = said_of(illnesses.SMALL | forms[form], tmp_path / "run")
    assert illness in last
    # Those that are known by heart are few, which is said before it is seen.
    assert [line for line in before if form != "by-heart" or "The photos are few: there are 60" not in line] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed", [{}, {"--loss": "wgan-gp"}, {"--loss": "lsgan"}, {"--seed": 1}, {"--update": "two-stage"}]
)
def test_runs_that_are_healthy(changed, tmp_path):
    assert said_of(illnesses.SMALL | {"--held-out": 0.1} | changed, tmp_path / "run") == []


def said_of(options, folder):
    """The lines of advice in the log of a run, which may end early."""
    words = [str(word) for option in options.items() for word in option]
    command = [sys.executable, "train.py", "--run", str(folder), "--no-report", *words]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    return [line for line in (folder / "log.txt").read_text().splitlines() if "Try: " in line]


@pytest.mark.slow
def test_a_run_without_gain_ends_by_itself(tmp_path, monkeypatch):
    """Best at its third measurement of the last stage: it ends a third of the stage later, as that generator."""
    whole, values = metric_callback.MetricCallback.compute, iter((9.0, 8.0, 1.0, *range(2, 100)))

    def compute(self, *args, **kwargs):
        found = whole(self, *args, **kwargs)
        return {name: dataclasses.replace(figure, value=next(values)) for name, figure in found.items()}

    monkeypatch.setattr(metric_callback.MetricCallback, "compute", compute)
    schedule = ["--target-res", "8", "--stable-images", "4=80,8=4000", "--fade-images", "0", "--batch", "8"]
    schedule += ["--metrics-every", "80", "--metrics-images", "16", "--stop", "plateau"]
    code, out, err = train(*TINY, *schedule, "--run", tmp_path / "run")
    assert code == 0, err
    measured = [m["metrics"]["swd"] for m in records.read_history(tmp_path / "run/stats.jsonl").measured]
    assert measured == [9.0, 8.0, 1.0, *range(2, 19)], "swd is measured where nothing else is said"
    assert "--stop plateau: swd has been 1 at best, 34% of the last stage ago" in out, "1,360 of 4,000 images"
    assert (tmp_path / "run/generator.keras").read_bytes() == (tmp_path / "run/best.keras").read_bytes()
    shown = out.rpartition("newest grid before that: ")[2].split()[0]
    kept = records.read_best(tmp_path / "run")
    assert Path(shown).is_file() and int(Path(shown).stem.split("-")[-1]) <= kept, "not of what was not kept"
    summary = report_runs.read_run(tmp_path / "run")
    assert summary.kept == kept < summary.images
    assert ("swd, of generator.keras", "1") in tables.list_facts(summary), "not the last, which is of other weights"
    assert tables.compare_runs([summary, summary])["swd, lower is better"][0].startswith("1 ±")
    assert [row["state"] for row in tables.list_plan(summary)] == ["done", "done"]
    exported = source.open_source(tmp_path / "run")
    assert exported.read_metrics() == {"swd": (1.0, summary.kept)} and exported.count_images_seen() == summary.kept
    before = (tmp_path / "run/stats.jsonl").read_bytes()
    code, out, err = train("--resume", tmp_path / "run")
    assert code == 0 and (tmp_path / "run/stats.jsonl").read_bytes() == before, "it is done, and does not go on"


def test_a_plateau_is_looked_for_in_the_stage_that_the_minutes_have_planned(tmp_path):
    """The last stage of a short run begins long before that of the recipe."""
    asked = resolve({"target_res": 8, "minutes": 1.0, "metrics": ("swd",), "stop": "plateau"})
    planned = planning.plan_for_minutes(asked, {phase.part: 10.0 for phase in asked.phases}, 0.0)
    last = planned.phases[-1]
    assert last.end < asked.phases[-1].start
    ended = []
    run = types.SimpleNamespace(
        folder=tmp_path, plan=planned, config=planned.config, log=print, finish=lambda: ended.append(True)
    )
    watching = metric_callback.MetricCallback(asked, tmp_path, print)
    for share, ends in ((1 / 20, False), (1 / 14, True)):  # of the stage, from one of eight measurements to the next
        lines = [
            {
                "images": last.start + int(last.images * share * i),
                "seconds": 1.0,
                "resolution": 8,
                "metrics": {"swd": abs(i - 3.0)},
            }
            for i in range(1, 9)
        ]
        (tmp_path / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        watching._finish_at_plateau(run)
        assert bool(ended) == ends, "five measurements after the best are a third of the stage, or are not"


@pytest.mark.slow
@pytest.mark.parametrize("count", [9, 11, 14])
def test_photos_that_fill_no_group_are_judged(count, tmp_path):
    """Of 14 photos in groups of four, twelve: the rest would have a group of another size."""
    options = ["--target-res", "4", "--stable-images", "160", "--batch", "16", "--grid", "9"]
    options += ["--portraits", str(10 * count), "--held-out", "0.1"]
    tiny = [word for i, word in enumerate(TINY) if TINY[i - i % 2] not in ("--portraits", "--grid")]
    code, out, err = train(*tiny, *options, "--run", tmp_path / "run")
    assert code == 0, err
    checks = records.read_history(tmp_path / "run/stats.jsonl").checks
    assert checks and all({"variety", "logit_seen", "logit_unseen", "logit_made"} <= check.keys() for check in checks)


def test_few_photos_are_not_held_out_by_default(tmp_path):
    code, out, err = train(
        *TINY, "--target-res", "4", "--stable-images", "80", "--batch", "8", "--run", tmp_path / "run"
    )
    assert code == 0, err
    assert load(tmp_path / "run/config.json").config.images.held_out == 0, "8 of 120 would be more than 2 %"


def test_a_plateau_needs_a_metric_that_tells():
    with pytest.raises(UserError, match="--stop plateau: none of --metrics ms-ssim"):
        resolve({"stop": "plateau", "metrics": ("ms-ssim",)})
    with pytest.raises(UserError, match="--stop plateau"):
        resolve({"recipe": "srgan", "stop": "plateau"})
    assert resolve({"stop": "plateau"}).config.measuring.metrics == ("swd",)
