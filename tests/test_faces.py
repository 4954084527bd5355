"""Faces in photos. The photos: scikit-image's astronaut, who faces the camera, and pictures made of her."""

import dataclasses
import json
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from pggan_tf.data import shards
from pggan_tf.data.decode import Unreadable
from preprocessing import align, build, faces, output
from preprocessing.detect import Detector, Face, _list_scales
from preprocessing.faces import Faces
from preprocessing.job import Result
from preprocessing.options import OutputOptions, Selection
from tests.conftest import pggan, start
from tests.test_build import same

skimage_data = pytest.importorskip("skimage.data")
ASTRONAUT = skimage_data.astronaut()
EYES = np.array([(203, 101), (245, 102)])  # of the astronaut, by eye


@pytest.fixture(scope="module")
def detector():
    return Detector(20)


def test_the_astronaut_is_found(detector):
    (face,) = detector([ASTRONAUT])[0]
    assert face.confidence > 0.99
    np.testing.assert_allclose(face.landmarks[:2], EYES, atol=6)
    x, y, width, height = face.box
    assert x < EYES[0, 0] and x + width > EYES[1, 0] and y < EYES[0, 1] < y + height


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <_io.Buff:pytest.PytestUnraisableExceptionWarning"
)  # lz4, 3.13
def test_boxes_are_those_of_the_package(detector):
    from mtcnn import MTCNN

    (theirs,) = MTCNN().detect_faces(ASTRONAUT)
    (face,) = detector([ASTRONAUT])[0]
    np.testing.assert_allclose(face.box, theirs["box"], atol=0.03 * face.size)
    np.testing.assert_allclose(face.landmarks[2], theirs["keypoints"]["nose"], atol=0.03 * face.size)


def test_a_batch_of_all_sizes_gives_each_its_own(detector):
    """Photos without a face, of one pixel, and with a face, together: none costs another its faces."""
    small = cv2.resize(ASTRONAUT, (300, 300), interpolation=cv2.INTER_AREA)
    plain = np.full((300, 300, 3), 128, np.uint8)
    photos = [plain, small, np.zeros((1, 1, 3), np.uint8), np.zeros((8, 400, 3), np.uint8), ASTRONAUT, small]
    assert [len(f) for f in detector(photos)] == [0, 1, 0, 0, 1, 1]


def crowd(rows=5, columns=8):
    head = cv2.resize(ASTRONAUT[20:220, 120:320], (100, 100), interpolation=cv2.INTER_AREA)
    return np.tile(head, (rows, columns, 1))


def test_forty_faces(detector):
    assert len(detector([crowd()])[0]) == 40


def test_large_photos_are_searched_small_and_boxes_scaled_back():
    large = cv2.resize(ASTRONAUT, (2000, 2000), interpolation=cv2.INTER_CUBIC)
    (face,) = Detector(100)([large])[0]
    np.testing.assert_allclose(face.landmarks[:2], EYES * 2000 / 512, atol=30)


def test_sizes_below_the_smallest_are_not_searched():
    assert _list_scales(250, 20)[0] == 0.6 and len(_list_scales(250, 20)) > len(_list_scales(250, 40)) > 0
    # A face of 40 pixels lies within 12 and 17 pixels at the finest scale that is left.
    assert 12 <= 40 * _list_scales(250, 40)[0] <= 17


LANDMARKS = np.array([(40, 50), (60, 50), (50, 60), (43, 70), (57, 70)], float)


def face(box=(30, 30, 40, 50), landmarks=LANDMARKS):
    return Face(np.array(box, float), landmarks, 0.99)


def test_the_square_around_a_box():
    np.testing.assert_allclose(align.find_square_box(face(), 0.2), [(20, 25), (80, 25), (80, 85), (20, 85)])


def test_the_square_of_ffhq():
    """Level eyes, 20 apart, mouth 20 below: half a side is max(2 * 20, 1.8 * 20) = 40, the centre 2 below the eyes."""
    np.testing.assert_allclose(align.find_ffhq_box(LANDMARKS), [(10, 12), (90, 12), (90, 92), (10, 92)])
    turn = np.array([[0, -1], [1, 0]])  # by 90 degrees: the square turns with the face
    np.testing.assert_allclose(
        align.find_ffhq_box(LANDMARKS @ turn.T), align.find_ffhq_box(LANDMARKS) @ turn.T, atol=1e-9
    )


def test_cutting_out_whole_pixels_changes_none():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    corners = np.array([(5, 6), (21, 6), (21, 22), (5, 22)], float)
    np.testing.assert_array_equal(align.cut_out(image, corners, 16), image[6:22, 5:21])
    means = image[6:22, 5:21].reshape(8, 2, 8, 2, 3).mean((1, 3))
    np.testing.assert_allclose(align.cut_out(image, corners, 8), means, atol=0.51)


def test_a_turned_square_comes_out_upright():
    image = np.zeros((60, 60, 3), np.uint8)
    image[20:40, 20:30] = 200
    corners = np.array([(40, 20), (40, 40), (20, 40), (20, 20)], float)  # turned by a quarter
    np.testing.assert_array_equal(align.cut_out(image, corners, 20)[:10], 0)
    assert (align.cut_out(image, corners, 20)[11:] == 200).all()


def test_beyond_the_border_is_a_reflection_never_black():
    image = np.full((50, 50, 3), 180, np.uint8)
    for far in (0, 45, 200):
        corners = np.array([(-30, -30), (30, -30), (30, 30), (-30, 30)], float) + far
        assert (align.cut_out(image, corners, 32) == 180).all()


def test_a_large_square_does_not_alias():
    checks = (np.indices((1200, 1200)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    out = align.cut_out(checks, np.array([(10, 10), (1190, 10), (1190, 1190), (10, 1190)], float), 32)
    assert np.abs(out.astype(int) - 127).max() < 6


def test_sharpness_falls_with_blur():
    blurred = cv2.GaussianBlur(ASTRONAUT, (0, 0), 4)
    assert align.measure_sharpness(blurred) < 50 < align.measure_sharpness(ASTRONAUT)


@pytest.fixture
def album(tmp_path):
    """Photos of all kinds: with one face, forty, none, a small one, a blurred one, and broken ones."""
    folder = tmp_path / "album"
    folder.mkdir()
    for i in range(40):
        shifted = np.roll(ASTRONAUT, 5 * i, axis=1)[:400, 100 : 400 + i]
        Image.fromarray(shifted).save(folder / f"one-{i:02d}.jpg", quality=95)
    Image.fromarray(crowd()).save(folder / "forty.png")
    Image.fromarray(np.full((300, 300, 3), 120, np.uint8)).save(folder / "none.png")
    tiny = np.full((400, 400, 3), 120, np.uint8)
    tiny[100:200, 100:200] = cv2.resize(ASTRONAUT[:300, 80:380], (100, 100), interpolation=cv2.INTER_AREA)
    Image.fromarray(tiny).save(folder / "small.png")
    Image.fromarray(cv2.GaussianBlur(ASTRONAUT, (0, 0), 3)).save(folder / "blurred.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no")
    return folder


def find(album, out, workers=None, **options):
    """workers: processes; without them in this one, whose networks are loaded already."""
    job = faces.make_job(Selection.of(str(album)), Faces(64, min_face=40.0, **options))
    return build.build(dataclasses.replace(job, processes=workers is not None), out, workers=workers)


def test_faces_front_door(album, tmp_path):
    out = tmp_path / "out"
    code, said, err = pggan("faces", album, out, "--size", "64", "--min-face", "40", "--min-sharpness", "150")
    assert code == 0, err
    assert said.startswith("45 images read, ") and said.strip().endswith(str(out))
    report = json.loads((out / output.REPORT).read_text())
    why = {line["name"]: line["why"] for line in report["dropped_images"]}
    assert why["none.png"] == "no face found" and "smaller than 40" in why["small.png"]
    assert "sharpness" in why["blurred.png"] and "known kind" in why["broken.jpg"]
    opened = shards.Shards(out)
    assert len(opened) == report["kept"] >= 35 and opened.manifest.resolutions == (4, 8, 16, 32, 64)


def test_all_the_faces_of_a_photo(album, tmp_path):
    for path in album.glob("one-*"):
        path.unlink()
    summary = find(album, tmp_path / "out", which="all")
    assert summary.images_kept == 41  # forty and the blurred one


def test_a_split_keeps_the_faces_of_a_photo_together(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for i in range(8):
        Image.new("RGB", (100, 100), (i, 0, 0)).save(tmp_path / "photos" / f"{i}.png")
    monkeypatch.setattr(faces, "load_detector", lambda min_face: lambda photos: [[face()] * 3 for _ in photos])
    job = faces.make_job(Selection.of(str(tmp_path / "photos")), Faces(32, which="all"), OutputOptions(split=0.5))
    build.build(dataclasses.replace(job, processes=False), tmp_path / "out")
    parts = [shards.Shards(tmp_path / "out" / name) for name in (output.TRAIN, output.VALIDATION)]
    photos = [set(part.read(32, np.arange(len(part)))[:, 16, 16, 0]) for part in parts]
    assert [len(part) for part in parts] == [12, 12] and not photos[0] & photos[1]


@pytest.mark.parametrize("alignment", faces.ALIGNMENTS)
def test_faces_stand_upright_in_the_middle(alignment, detector):
    """Whatever the cut, the detector finds one face in it, with level eyes."""
    work = Faces(128, alignment, 0.6, "largest", 0.9, 40, 0, 3)
    from preprocessing.sources import Item

    turned = cv2.warpAffine(
        ASTRONAUT[:350, 60:410], cv2.getRotationMatrix2D((165, 110), 20, 1), (350, 350), borderMode=cv2.BORDER_REFLECT
    )
    (made,) = work([Item("turned", turned)])
    (face,) = Detector(20)([made.image])[0]
    eyes = face.landmarks[:2]
    slope = np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1]))
    if alignment == "ffhq":
        assert abs(slope) < 4 and abs(eyes[:, 0].mean() - 64) < 6
    else:
        assert slope < -10
    if alignment == "square":
        assert np.abs(face.box[:2] + face.box[2:] / 2 - 64).max() < 10


@pytest.mark.slow  # five processes that load TensorFlow
def test_workers_and_stops_do_not_matter(album, tmp_path, monkeypatch):
    for path in sorted(album.glob("one-*"))[12:]:
        path.unlink()
    (album / "forty.png").unlink()
    monkeypatch.setattr(faces, "CHUNK", 5)  # of sixteen photos
    find(album, tmp_path / "one", workers=1)
    monkeypatch.setattr(build, "_SAVE_SECONDS", 0.0)

    def stop(done, total):
        if done >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.build(
            faces.make_job(Selection.of(str(album)), Faces(64, min_face=40.0)),
            tmp_path / "two",
            workers=2,
            progress=stop,
        )
    find(album, tmp_path / "two", workers=2)
    assert same(tmp_path / "one", tmp_path / "two")


def test_what_goes_through_beam_comes_back_whole():
    from preprocessing import beam

    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    made = [
        Result("a.png", image, 1, np.arange(4, dtype=np.uint64)),
        Result("b.png", image + 1, 2, number=0, more=1),
        Result("b.png", Unreadable("sharpness 3, below 50", "blurred"), 2, number=1),
    ]
    back = beam.unpack(beam.pack(made))
    assert [m.title for m in back] == ["a.png", "b.png#0", "b.png#1"] and [m.label for m in back] == [1, 2, 2]
    assert [m.more for m in back] == [0, 1, 0]
    assert (back[0].image == image).all() and (back[0].hash == made[0].hash).all()
    assert str(back[2].image) == str(made[2].image) and back[2].image.kind == "blurred"


def test_jobs_through_beam_share_a_place_and_leave_nothing_there(tmp_path):
    pytest.importorskip("apache_beam", reason='needs the extra "beam"')
    arguments = ("prepare", "portraits", "--size", "16", "--count", "200")
    assert pggan(*arguments, tmp_path / "local")[0] == 0
    theirs = tmp_path / "temp" / "chunk-00000000.npz"  # of another job
    theirs.parent.mkdir()
    theirs.write_bytes(b"theirs")
    through = ("--runner", "beam", "--beam-options", f"--temp_location={theirs.parent}")
    code, _, err = pggan(*arguments, tmp_path / "beam", *through)
    assert code == 0, err
    assert same(tmp_path / "local", tmp_path / "beam")
    assert list(theirs.parent.iterdir()) == [theirs] and theirs.read_bytes() == b"theirs"


@pytest.mark.slow
def test_beam_makes_the_same_shards(album, tmp_path):
    pytest.importorskip("apache_beam", reason='needs the extra "beam"')
    # In processes of their own: TensorFlow, once started, keeps its threads, and with others faces differ in the last bits.
    for runner in ("local", "beam"):
        arguments = ("--size", "64", "--min-face", "40", "--runner", runner)
        process = start("-m", "pggan_tf", "faces", album, tmp_path / runner, *arguments)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert same(tmp_path / "local", tmp_path / "beam")


@pytest.mark.slow
def test_ten_kills_in_a_row(album, tmp_path):
    """SIGKILL at ten random moments; then the end, byte for byte that of the undisturbed job."""
    import random
    import signal
    import time

    for i in range(5000):
        os.link(album / f"one-{i % 40:02d}.jpg", album / f"more-{i:04d}.jpg")
    arguments = ("faces", album, "--size", "64", "--min-face", "40", "--resume")
    chance, began, usual = random.Random(1), [], None
    for _ in range(10):
        process, since = start("-m", "pggan_tf", *arguments, tmp_path / "killed"), time.monotonic()
        if usual is None:  # as long as this machine takes to its first save
            while not (tmp_path / "killed" / output.UNFINISHED / "state.npz").is_file() and process.poll() is None:
                time.sleep(0.1)
            usual = time.monotonic() - since
        else:
            time.sleep(chance.uniform(0.5, 1.5) * usual)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate()
        began.append(err)
    print(began)
    assert sum("going on with" in err for err in began) >= 3  # the kills came in the middle of the work
    for out in ("killed", "whole"):
        code, _, err = pggan(*arguments, tmp_path / out)
        assert code == 0, err
    assert same(tmp_path / "killed", tmp_path / "whole")
