"""What a run of so many minutes is planned to be, by speeds that are given."""

import json
import types

import pytest

from pggan_tf.config import load, parsing, resolve
from pggan_tf.config.resolve import Base
from pggan_tf.training import distribution, planning, precision


def short_run(minutes=3.0, **options):
    """The plan of a run of a few minutes on a machine that shows 4000 / pixels images a second."""
    size = {} if "resolutions" in options else {"target_res": 64}
    plan = planning.leave_out_phases(resolve({**size, "minutes": minutes, **options}))
    return planning.plan_for_minutes(plan, {p.part: 4000 / p.resolution for p in plan.phases}, 10.0)


@pytest.mark.parametrize(
    "minutes, expected",
    [
        (1.0, "8px stable, 64px stable"),
        (6.0, "8px stable, 16px stable, 32px stable, 64px stable"),
        (10.0, "4px stable, 8px stable, 16px stable, 32px stable, 64px stable"),
    ],
)
def test_short_runs_leave_out_phases(minutes, expected):
    assert ", ".join(p.name for p in short_run(minutes).phases) == expected
    assert len(short_run(60.0).phases) == 9 and len(short_run(3.0, fade_share=0.2).phases) == 9
    named = short_run(3.0, resolutions=(4, 8, 16))
    assert [p.resolution for p in named.phases] == [4, 8, 8, 16, 16]


def test_a_run_too_short_for_its_resolution_is_told():
    (line,) = short_run(1.0).describe_blurs(1.0)
    assert line.endswith("images at 64 px are too few for more than blurs. Give about 3 minutes, or --target-res 32.")
    assert short_run(60.0).describe_blurs(60.0) == []
    # The choice of --target-res auto is a guess, so the advice is another size, or none.
    for size, advice in (("32", "or --target-res 16."), ("16", "minutes."), ("24x32", "or --target-res 12x16.")):
        (line,) = resolve(parsing.split_size({"target_res": size, "total_images": 400})).describe_blurs(1.0)
        assert line.endswith(advice), line


def test_other_minutes_are_planned_anew(tmp_path):
    """A config.json of a short run, which lacks phases and has few snapshots, does not shape a long one."""
    short, file = short_run(), tmp_path / "config.json"
    assert len(short.phases) == 2 and short.config.running.snapshot_images
    file.write_text(json.dumps(short.to_json()))
    again = Base.of_file(file)
    assert again.plan({}).config == short.config and load(file).phases == short.phases
    assert again.plan({"loss": "hinge"}).phases == short.phases
    for options in ({"minutes": 600.0}, {"total_images": 5_000_000}):
        longer = again.plan(options)
        assert len(longer.phases) == 9 and longer.config.running.snapshot_images is None
        assert longer.config.schedule.minutes == options.get("minutes")
    assert again.plan({"target_res": 32}).config.schedule.minutes == 3, "in the same time"


def test_minutes_take_the_place_of_the_total_images_of_a_config(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(resolve({"target_res": 8, "total_images": 600}).to_json()))
    plan = Base.of_file(file).plan({"minutes": 10.0})
    planned = planning.plan_for_minutes(plan, {phase.part: 100.0 for phase in plan.phases}, 0.0)
    assert 40_000 < planned.phases[-1].end < 60_000


def test_several_devices_get_larger_batches():
    """Unless somebody has chosen them."""
    one, two = (types.SimpleNamespace(num_replicas_in_sync=n) for n in (1, 2))
    plan = resolve({"target_res": 64})
    assert distribution.fit_batch(plan, one) is plan
    assert distribution.fit_batch(plan, two).config.optimization.batch == {4: 64, 8: 64, 16: 32, 32: 16, 64: 16}
    for options in ({"batch": {4: 8}}, {"recipe": "pggan-paper"}, {"size": "small"}):
        chosen = resolve({"target_res": 64, **options})
        assert distribution.fit_batch(chosen, two) is chosen


def test_a_repeated_run_has_its_batches_on_any_device(tmp_path):
    """Those of its config.json, unless others are typed; a size brings its own."""
    (tmp_path / "config.json").write_text(json.dumps(resolve({"target_res": 16}).to_json()))
    again = Base.of_file(tmp_path / "config.json")
    two, large = types.SimpleNamespace(num_replicas_in_sync=2), {4: 64, 8: 64, 16: 32}
    for options, batch in (
        ({}, {4: 16, 8: 16, 16: 8}),
        ({"loss": "hinge", "minutes": 3.0}, {4: 16, 8: 16, 16: 8}),
        ({"batch": {4: 12}}, dict.fromkeys((4, 8, 16), 12)),
        ({"size": "small"}, dict.fromkeys((4, 8, 16), 128)),
    ):
        plan = again.plan(options).rescheduled(stable_images={4: 100, 8: 100, 16: 100})
        assert distribution.fit_batch(plan, two).config.optimization.batch == batch, options
    for devices in range(3, 9):  # that cannot share them
        fitted = distribution.fit_batch(again.plan({}), types.SimpleNamespace(num_replicas_in_sync=devices))
        distribution.check_devices(fitted, devices, precision.Arithmetic(), print)
    assert distribution.fit_batch(resolve({"target_res": 16}), two).config.optimization.batch == large
