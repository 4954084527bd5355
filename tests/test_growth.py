import pytest

from pggan_tf import growth
from pggan_tf.errors import UserError

TABLES = {"batch": {4: 16, 8: 8}, "learning_rate": {4: 1e-3, 16: 2e-3}}


def by_kind(images):
    """What images_for says, as (fades, stable ones) by resolution."""
    return tuple({p.resolution: n for p, n in images.items() if p.fade == fade} for fade in (True, False))


def test_plan_alternates_fade_and_stable_and_leaves_no_gap():
    phases = growth.plan((4, 8, 16), {4: 0, 8: 100, 16: 50}, {4: 100, 8: 64, 16: 0}, **TABLES)
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
    assert growth.alpha(growth.Phase(0, 8, True, 300, 100, 4, 1e-3, 300), images) == weight
    assert growth.alpha(growth.Phase(0, 8, False, 300, 100, 4, 1e-3, 300), images) == 1.0


def test_phase_at_finds_the_phase_to_go_on_with():
    phases = growth.plan((4, 8), {8: 32}, {4: 32, 8: 32}, {4: 16}, {4: 1e-3})
    assert [growth.phase_at(phases, n).index for n in (0, 31, 32, 63, 64, 95)] == [0, 0, 1, 1, 2, 2]
    assert growth.phase_at(phases, 96) is None


def test_a_table_gives_the_entry_of_the_next_lower_resolution():
    assert [growth.at({8: "a", 32: "b"}, r) for r in (4, 8, 16, 32, 96)] == ["a", "a", "a", "b", "b"]


@pytest.mark.parametrize(
    "size, near",
    [(100, "64 and 128"), (3, "is 4"), (5, "4 and 8"), (2048, "is 1024"), (1000, "512 and 1024"), (0, "is 4")],
)
def test_a_target_that_is_no_power_of_two_names_the_nearest(size, near):
    with pytest.raises(UserError, match=near):
        growth.doubling(size)


def test_doubling():
    assert growth.doubling(4) == (4,)
    assert growth.doubling(64) == (4, 8, 16, 32, 64)


def test_resolutions_need_not_double():
    assert growth.check_resolutions((4, 8, 16, 32, 96)) == (4, 8, 16, 32, 96)
    for bad in ((4, 8, 12), (8, 4), (4, 4), ()):
        with pytest.raises(UserError, match="multiple|expected"):
            growth.check_resolutions(bad)


def test_images_for_fills_the_time():
    speeds = {
        growth.Part(4, False, True): 1000.0,
        growth.Part(8, True, True): 200.0,
        growth.Part(8, False, True): 250.0,
        growth.Part(16, True, True): 40.0,
        growth.Part(16, False, True): 50.0,
    }
    fade, stable = by_kind(growth.images_for(600, speeds, growth=2.0, fade_share=0.25))
    seconds = {
        r: (fade[r] / speeds[growth.Part(r, True, True)] if r in fade else 0)
        + stable[r] / speeds[growth.Part(r, False, True)]
        for r in (4, 8, 16)
    }
    assert sum(seconds.values()) == pytest.approx(600, rel=1e-3)
    assert seconds[8] / seconds[4] == pytest.approx(2, rel=1e-2) == seconds[16] / seconds[8]
    assert fade[16] / 40 == pytest.approx(seconds[16] / 4, rel=1e-2)
    assert 4 not in fade


def test_images_for_leaves_out_what_the_plan_has_not():
    """After --init-from the stages that were trained are gone."""
    speeds = {growth.Part(8, False, True): 10.0, growth.Part(16, True, True): 5.0, growth.Part(16, False, True): 5.0}
    fade, stable = by_kind(growth.images_for(100, speeds, growth=1.0, fade_share=0.5))
    assert (fade, stable) == ({16: 125}, {8: 500, 16: 125})


def test_a_generator_that_learns_alone_first_gets_its_share():
    alone, joined = growth.Part(32, False, False), growth.Part(32, False, True)
    assert growth.images_for(100, {alone: 8.0, joined: 4.0}, 1.0, 0.3, 0.25) == {alone: 200, joined: 300}
    assert growth.images_for(100, {alone: 8.0}, 1.0, 0.3, 0.25) == {alone: 800}


def test_the_pixel_loss_comes_first_and_the_rate_falls_at_the_ends():
    phases = growth.plan((32,), {4: 0}, {4: 100}, {4: 10}, {4: 1e-3}, 2, 50, decay_share=0.4)
    assert [(p.name, p.start, p.images, p.images_per_step) for p in phases] == [
        ("32px pixel loss", 0, 50, 10),
        ("32px stable", 50, 100, 20),
    ]
    assert [growth.rate(phases[1], n) for n in (0, 60, 80, 100)] == [1.0, 1.0, 0.5, 0.0]
    (alone,) = growth.plan((32,), {4: 0}, {4: 100}, {4: 10}, {4: 1e-3}, adversarial=False)
    assert not alone.adversarial and alone.decay_images == 0


def test_an_empty_schedule_is_refused():
    with pytest.raises(UserError, match="empty"):
        growth.plan((4, 8), {4: 0}, {4: 0}, **TABLES)


def test_a_short_run_keeps_its_first_stage_long_enough():
    """Time grows threefold from stage to stage, unless the first would then see fewer than 40,000 images."""
    speed = {
        growth.Part(4, False, True): 4000.0,
        growth.Part(8, False, True): 1200.0,
        growth.Part(16, False, True): 400.0,
        growth.Part(32, False, True): 100.0,
        growth.Part(64, False, True): 50.0,
    }
    assert growth.fitting_growth(2000, speed) == 3.0  # 121 parts of 16.5 s: 66,000 images
    short = growth.fitting_growth(330, speed)
    assert 1.9 < short < 2.1
    for g in (short, short + 0.05):
        images = 330 * growth.time_shares((4, 8, 16, 32, 64), g)[4] * 4000
        assert (images >= 40_000) == (g == short)
    assert growth.fitting_growth(1, speed) == 1.0
