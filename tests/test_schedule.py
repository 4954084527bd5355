import pytest

from pggan_tf import schedule
from pggan_tf.errors import UserError
from pggan_tf.schedule import Budget

TABLES = {"batch": {4: 16, 8: 8}, "learning_rate": {4: 1e-3, 16: 2e-3}}


def by_kind(images):
    """What images_for says, as (fades, stable ones) by resolution."""
    return tuple({p.resolution: n for p, n in images.items() if p.fade == fade} for fade in (True, False))


def test_plan_alternates_fade_and_stable_and_leaves_no_gap():
    phases = schedule.plan((4, 8, 16), Budget({4: 0, 8: 100, 16: 50}, {4: 100, 8: 64, 16: 0}), **TABLES)
    table = [
        (p.index, p.resolution, p.fade, p.start, p.images, p.batch, p.learning_rate, p.stage_start) for p in phases
    ]
    assert table == [
        (0, 4, False, 0, 112, 16, 1e-3, 0),
        (1, 8, True, 112, 104, 8, 1e-3, 112),
        (2, 8, False, 216, 64, 8, 1e-3, 112),
        (3, 16, True, 280, 56, 8, 2e-3, 280),
    ]


@pytest.mark.parametrize("images, weight", [(0, 0.0), (25, 0.25), (50, 0.5), (100, 1.0), (101, 1.0)])
def test_alpha_rises_in_a_straight_line(images, weight):
    assert schedule.Phase(0, 8, True, 300, 100, 4, 1e-3, 300).alpha(300 + images) == weight
    assert schedule.Phase(0, 8, False, 300, 100, 4, 1e-3, 300).alpha(300 + images) == 1.0


def test_phase_at_finds_the_phase_to_go_on_with():
    phases = schedule.plan((4, 8), Budget({8: 32}, {4: 32, 8: 32}), {4: 16}, {4: 1e-3})
    assert [schedule.phase_at(phases, n).index for n in (0, 31, 32, 63, 64, 95)] == [0, 0, 1, 1, 2, 2]
    assert schedule.phase_at(phases, 96) is None


def test_a_table_gives_the_entry_of_the_next_lower_resolution():
    assert [schedule.lookup({8: "a", 32: "b"}, r) for r in (4, 8, 16, 32, 96)] == ["a", "a", "a", "b", "b"]


@pytest.mark.parametrize(
    "size, near",
    [(100, "64 and 128"), (3, "is 4"), (5, "4 and 8"), (2048, "is 1024"), (1000, "512 and 1024"), (0, "is 4")],
)
def test_a_target_that_is_no_power_of_two_names_the_nearest(size, near):
    with pytest.raises(UserError, match=near):
        schedule.doubling(size)


def test_doubling():
    assert schedule.doubling(4) == (4,)
    assert schedule.doubling(64) == (4, 8, 16, 32, 64)


def test_resolutions_need_not_double():
    assert schedule.check_resolutions((4, 8, 16, 32, 96)) == (4, 8, 16, 32, 96)
    for bad in ((4, 8, 12), (8, 4), (4, 4), ()):
        with pytest.raises(UserError, match="multiple|expected"):
            schedule.check_resolutions(bad)


def test_images_for_fills_the_time():
    speeds = {
        schedule.Part(4, False, True): 1000.0,
        schedule.Part(8, True, True): 200.0,
        schedule.Part(8, False, True): 250.0,
        schedule.Part(16, True, True): 40.0,
        schedule.Part(16, False, True): 50.0,
    }
    fade, stable = by_kind(schedule.images_for(600, speeds, growth=2.0, fade_share=0.25))
    seconds = {
        r: (fade[r] / speeds[schedule.Part(r, True, True)] if r in fade else 0)
        + stable[r] / speeds[schedule.Part(r, False, True)]
        for r in (4, 8, 16)
    }
    assert sum(seconds.values()) == pytest.approx(600, rel=1e-3)
    assert seconds[8] / seconds[4] == pytest.approx(2, rel=1e-2) == seconds[16] / seconds[8]
    assert fade[16] / 40 == pytest.approx(seconds[16] / 4, rel=1e-2)
    assert 4 not in fade


def test_images_for_leaves_out_what_the_plan_has_not():
    """After --init-from the stages that were trained are gone."""
    speeds = {
        schedule.Part(8, False, True): 10.0,
        schedule.Part(16, True, True): 5.0,
        schedule.Part(16, False, True): 5.0,
    }
    fade, stable = by_kind(schedule.images_for(100, speeds, growth=1.0, fade_share=0.5))
    assert (fade, stable) == ({16: 125}, {8: 500, 16: 125})


def test_a_generator_that_learns_alone_first_gets_its_share():
    alone, joined = schedule.Part(32, False, False), schedule.Part(32, False, True)
    assert schedule.images_for(100, {alone: 8.0, joined: 4.0}, 1.0, 0.3, 0.25) == {alone: 200, joined: 300}
    assert schedule.images_for(100, {alone: 8.0}, 1.0, 0.3, 0.25) == {alone: 800}


def test_the_pixel_loss_comes_first_and_the_rate_falls_at_the_ends():
    phases = schedule.plan((32,), Budget({4: 0}, {4: 100}, 50), {4: 10}, {4: 1e-3}, 2, decay_share=0.4)
    assert [(p.name, p.start, p.images, p.images_per_step) for p in phases] == [
        ("32px pixel loss", 0, 50, 10),
        ("32px stable", 50, 100, 20),
    ]
    assert [phases[1].rate(phases[1].start + n) for n in (0, 60, 80, 100)] == [1.0, 1.0, 0.5, 0.0]
    (alone,) = schedule.plan((32,), Budget({4: 0}, {4: 100}), {4: 10}, {4: 1e-3}, adversarial=False)
    assert not alone.adversarial and alone.decay_images == 0


def test_an_empty_schedule_is_refused():
    with pytest.raises(UserError, match="empty"):
        schedule.plan((4, 8), Budget({4: 0}, {4: 0}), **TABLES)


def test_a_short_run_keeps_its_first_stage_long_enough():
    """Time grows threefold from stage to stage, unless the first would then see fewer than 40,000 images."""
    speed = {
        schedule.Part(4, False, True): 4000.0,
        schedule.Part(8, False, True): 1200.0,
        schedule.Part(16, False, True): 400.0,
        schedule.Part(32, False, True): 100.0,
        schedule.Part(64, False, True): 50.0,
    }
    assert schedule.fitting_growth(2000, speed) == 3.0  # 121 parts of 16.5 s: 66,000 images
    short = schedule.fitting_growth(330, speed)
    assert 1.9 < short < 2.1
    for g in (short, short + 0.05):
        images = 330 * schedule.time_shares((4, 8, 16, 32, 64), g)[4] * 4000
        assert (images >= 40_000) == (g == short)
    assert schedule.fitting_growth(1, speed) == 1.0


def message(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


OTHERS = "Other sizes go by --resolutions, such as 4,8,16,32,96."


@pytest.mark.parametrize(
    "size, near",
    [
        (48, "The nearest are 32 and 64."),
        (3, "The nearest is 4."),
        (5, "The nearest are 4 and 8."),
        (1023, "The nearest are 512 and 1024."),
        (1025, "The nearest is 1024."),
    ],
)
def test_what_a_wrong_target_is_told(size, near):
    expected = f"--target-res {size}: not a power of two from 4 to 1024. {near} {OTHERS}"
    assert message(schedule.doubling, size) == expected


def test_what_wrong_resolutions_are_told():
    assert message(schedule.check_resolutions, (4, 6)) == (
        "--resolutions 4,6: 6 is not a larger multiple of 4. Each resolution has to be a whole multiple of the one before, such as "
        "4,8,16,32,96."
    )
    sizes = "expected sizes from 2 to 1024, such as 4,8,16,32,96."
    assert message(schedule.check_resolutions, (4, 2048)) == f"--resolutions 4,2048: {sizes}"
    for edge in ((2,), (2, 1024), (4, 1024)):
        assert schedule.check_resolutions(edge) == edge
    for bad in ((1, 4), (1,), (2, 2048), (1, 2048)):
        assert message(schedule.check_resolutions, bad).endswith(sizes)


def test_what_an_empty_schedule_is_told():
    assert message(lambda: schedule.plan((4, 8), Budget({4: 0}, {4: 0}), **TABLES)) == (
        "the schedule is empty: every fade and stable phase has 0 images. Give --stable-images or --fade-images more than 0."
    )


def test_the_rate_falls_in_the_last_phase_alone():
    phases = schedule.plan((4, 8, 16), Budget({4: 16}, {4: 16}, 8), {4: 8}, {4: 1e-3}, decay_share=0.5)
    assert [(p.name, p.decay_images) for p in phases] == [
        ("4px pixel loss", 4),  # once, before all else
        ("4px stable", 0),
        ("8px fade", 0),
        ("8px stable", 0),
        ("16px fade", 0),
        ("16px stable", 8),
    ]
    assert [phases[1].rate(phases[1].start + n) for n in (0, 15, 16)] == [1.0, 1.0, 1.0]
    assert [p.adversarial for p in phases] == [False, True, True, True, True, True]


def test_a_generator_alone_gets_half_of_the_time_by_default():
    alone, joined = schedule.Part(32, False, False), schedule.Part(32, False, True)
    assert schedule.images_for(100, {alone: 8.0, joined: 4.0}, 1.0, 0.3) == {alone: 400, joined: 200}
    # A share of nothing is no image, where there is no time to share either.
    assert schedule.images_for(0, {joined: 4.0}, 1.0, 0.3) == {joined: 0}
    assert schedule.images_for(100, {schedule.Part(8, True, True): 4.0}, 1.0, 0.0) == {schedule.Part(8, True, True): 0}


def test_the_first_stage_may_just_reach_its_images():
    """40,000 images are enough: growth is not made less for nothing."""
    speed = {schedule.Part(4, False, True): 4_000.0, schedule.Part(8, False, True): 100.0}
    assert schedule.fitting_growth(40, speed) == 3.0  # a quarter of 40 s at 4,000 images a second
    assert schedule.fitting_growth(39.9, speed) == 2.95
    assert schedule.fitting_growth(30, speed) == 2.0


def test_what_a_plan_costs():
    """Images by speed, a few per cent over."""
    phases = schedule.plan((4, 8), Budget({4: 0, 8: 80}, {4: 160, 8: 0}), {4: 16, 8: 8}, {4: 1e-3})
    speeds = {phases[0].part: 16.0, phases[1].part: 0.5}
    assert schedule.expected_seconds(phases[0], speeds) == pytest.approx(10 * 1.03)
    assert schedule.expected_seconds(phases[1], speeds) == pytest.approx(160 * 1.03)
    phases = schedule.plan((4, 8), Budget({4: 0, 8: 80_000}, {4: 1600, 8: 0}), {4: 16, 8: 8}, {4: 1e-3})
    assert schedule.as_table(phases, speeds).splitlines() == [
        "phase       images  batch  images/s  minutes",
        "4px stable   1,600     16        16      1.7",
        "8px fade    80,000      8         0   2746.7",
        "in all      81,600                    2748.4",
    ]
    assert [line.rstrip() for line in schedule.as_table(phases).splitlines()] == [
        "phase       images  batch  images/s  minutes",
        "4px stable   1,600     16",
        "8px fade    80,000      8",
        "in all      81,600",
    ]
