"""Find out whose network made a picture: read its mark, make the picture again, compare pixels.

A mark (`data.marks`) alone proves nothing, since anybody can write one. What is proof is that the
network which the mark names makes the same pixels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pggan_tf import synthesis
from pggan_tf.api import arguments
from pggan_tf.api.generators import Generator
from pggan_tf.data import marks, transparency
from pggan_tf.data.pixels import PICTURES, VISIBLE, Sheet, encode, enlarge, find_enlarged_shape
from pggan_tf.errors import Unreadable, UserError
from pggan_tf.runs import pretrained

YES, ALIKE, NO = "yes", "alike", "no"
_ROUNDING = 1  # of 255: largest difference between two machines, whose sums are rounded differently
# A picture that was compressed is called alike if it is at least so near to the picture of its seeds
# (PSNR in dB), and by so much nearer than to the pictures of other seeds.
_NEAR, _NEARER = 20.0, 3.0
_OTHERS = 16  # number of other seeds that an image is compared with


@dataclass(frozen=True)
class Origin:
    """What is known about the origin of a picture. None: it is not known.

    All but `file`, `answer`, `reason` and the last three fields is what the mark says. It is proved
    only if `answer` is yes.
    """

    file: Path  # the picture
    answer: str  # yes: made again to the last bit; alike: nearly; no: not made again
    reason: str  # the answer in a sentence
    run: str | None = None  # name of the run
    seeds: str | None = None  # as --seeds takes them
    stage: int | None = None  # resolution in pixels
    truncation: float | None = None
    class_name: str | None = None
    network: Path | None = None  # the run's folder or .keras file that has made the picture again
    difference: int | None = None  # largest difference of a pixel's value, of 255
    psnr: float | None = None  # dB between both pictures; infinite if they are equal


@dataclass(frozen=True)
class _Picture:
    """A picture whose origin is asked for."""

    file: Path
    # uint8 [H, W, 3], or with transparency [H, W, 4], premultiplied; None: a network makes no such
    # pixels.
    pixels: np.ndarray | None
    format: str  # Pillow's name of the file's format
    lossless: bool  # whether the format keeps every pixel
    packet: bytes | None  # its XMP

    @classmethod
    def open(cls, place: str | Path) -> _Picture:
        """Read a picture. Raise UserError if the file is missing or no picture."""
        from pggan_tf.data import decoders, photos

        file = Path(arguments.expand(place))
        try:
            data = file.read_bytes()
            with decoders.open_pictures(data) as pictures:
                picture, format = pictures.picture(), pictures.format
            photo = photos.make_photo(picture, format)
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror or error}). Expected a picture.") from None
        except Unreadable as reason:
            raise UserError(f"{file}: {reason}. Expected a picture.") from None
        lossless = format in ("PNG", "TIFF", "BMP") or (format == "WEBP" and _is_lossless_webp(data))
        return cls(file, transparency.read_photo(photo), format, lossless, picture.xmp)


def _is_lossless_webp(data: bytes) -> bool:
    """Return whether the first picture of a WebP is stored without loss: in a chunk VP8L."""
    place = 12
    while place + 8 <= len(data):
        kind, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if kind in (b"VP8 ", b"VP8L", b"ANMF"):
            return kind == b"VP8L"
        place += 8 + size + size % 2
    return False


class Networks:
    """The networks below a folder, found by the SHA-256 of their weights.

    Every file is hashed at most once, and every network that is needed is loaded once.

    Args:
        folder: a folder of runs, one run or exported folder, or a .keras file; None: the folder `runs`,
            if there is one. Networks that come with pggan-tf are looked at in any case.
        report: called with messages about damaged checkpoints.

    Raises:
        UserError: if there is no such folder or file, or no network in it.
    """

    def __init__(self, folder: str | Path | None, report: Callable[[str], None] = print):
        from pggan_tf.runs import generators

        self.report = report
        self.folder = Path(pretrained.locate(arguments.expand("runs" if folder is None else folder)))
        if folder is not None and not self.folder.exists():
            raise UserError(f"--runs {self.folder}: no such folder. Expected the folder of your runs.")
        here = [(self.folder, self.folder)] if self.folder.is_file() else generators.list_weights(self.folder)
        self._files = list(here)
        if folder is not None and not self._files:
            raise UserError(f"--runs {self.folder}: holds no run with a generator. Expected the folder of your runs.")
        self._empty = not self._files
        for name in pretrained.list_names():  # those that come with the package, too
            self._files += generators.list_weights(pretrained.FOLDER / name)
        self._found: dict[str, Path] = {}  # SHA-256 -> path that the network can be loaded from
        self._opened: dict[Path, Generator] = {}

    def find(self, weights: str, run: str | None = None) -> Path | None:
        """Return where the network with these weights can be loaded from, or None.

        Args:
            weights: SHA-256 of the file of weights, in hexadecimal.
            run: name of its run. Files in a folder of this name are looked at first.
        """
        from pggan_tf.data.writer import hash_file

        self._files.sort(key=lambda pair: run not in pair[1].parts)
        while weights not in self._found and self._files:
            place, file = self._files.pop(0)
            with contextlib.suppress(OSError):  # such as a broken link
                self._found.setdefault(hash_file(file), place)
        if weights not in self._found and self._empty:
            raise _NoRuns(f"--runs: there is no run in {self.folder}. Give the folder of your runs.")
        return self._found.get(weights)

    def open(self, place: Path) -> Generator:
        """Return the network at a path that `find` has returned."""
        if place not in self._opened:
            self._opened[place] = Generator.open(place, self.report)
        return self._opened[place]


class _NoRuns(UserError):
    """Error: no network of one's own was there to look at."""


class _No(Exception):
    """Exception that ends the search for an origin; its message is the reason."""


def whose(photos: str | Path | Iterable[str | Path], runs: str | Path | None = None) -> list[Origin]:
    """Tell whose networks made pictures: read their marks, make them again and compare pixels.

    Args:
        photos: path of a picture, or several.
        runs: folder below which the runs are searched, by the SHA-256 of their weights; or one run,
            exported folder or .keras file (default: the folder runs, if there is one). What comes with
            pggan-tf is searched, too.

    Returns:
        An Origin for each picture, with `answer` yes (the same pixels to the last bit), alike
        (compressed, or made by an exported page: near, which is no proof) or no.

    Raises:
        UserError: if a file is missing or no picture, or there are no runs in `runs`.
    """
    return list(find_origins(arguments.list_paths("photos", photos), runs))


def find_origins(
    files: Iterable[str | Path], runs: str | Path | None, report: Callable[[str], None] = print
) -> Iterator[Origin]:
    """Yield the Origin of each picture. All files are read before the first is compared.

    Args:
        files: paths of the pictures.
        runs: see `whose`.
        report: called with messages about damaged checkpoints.

    Raises:
        UserError: if a file is missing or no picture, or there are no runs in `runs`.
    """
    pictures, networks = [_Picture.open(file) for file in files], Networks(runs, report)
    for picture in pictures:
        origin = Origin(picture.file, NO, "")
        try:
            mark = marks.read(picture.packet)
            if mark is None:
                raise _No("it has no mark of pggan-tf, so nothing says what made it")
            said = {name: getattr(mark, name) for name in ("run", "seeds", "stage", "truncation", "class_name")}
            origin = dataclasses.replace(origin, **said)
            yield _compare(origin, picture, mark, networks)
        except _NoRuns:
            raise
        except (_No, Unreadable, UserError) as reason:  # what one mark says must not end the others
            yield dataclasses.replace(origin, reason=str(reason))


def _compare(origin: Origin, picture: _Picture, mark: marks.Mark, networks: Networks) -> Origin:
    """Return the origin of a picture with a mark. Raise _No if its mark does not make a picture.

    Args:
        origin: what is known from the mark, with the answer no.
        picture: the picture.
        mark: its mark.
        networks: the networks that are searched.
    """
    if mark.weights is None:
        raise _No("its mark names no network")
    place = networks.find(mark.weights, mark.run)
    if place is None:
        raise _No(f"no network below {networks.folder} has the weights {mark.weights[:12]}... that its mark names")
    making = _Making(networks.open(place), mark, networks)
    height, width = making.size
    if picture.pixels is None:
        raise _No(f"it has 16 bits, which no picture by {place} has")
    seen = picture.pixels.shape
    if seen[-1] == 4 and not transparency.has_alpha(making.generator.network.channels):
        raise _No(f"it has transparency, which no picture by {place} has")
    if seen[:2] != (height, width):
        raise _No(f"it has {seen[1]} x {seen[0]} pixels; the picture that its mark names has {width} x {height}")
    origin = dataclasses.replace(origin, network=place)
    return _judge(origin, picture, mark.layout == marks.PAGE, making)


def _judge(origin: Origin, picture: _Picture, page: bool, making: _Making) -> Origin:
    """Return the origin of a picture with the answer that its pixels give.

    Args:
        origin: what is known without the pixels.
        picture: the picture, of the same size as those made again.
        page: whether the mark says that the page of an exported network made it.
        making: makes the picture again.
    """
    pixels, place = picture.pixels, origin.network
    assert pixels is not None
    as_seen = functools.partial(transparency.match, channels=pixels.shape[-1])
    straight = making.make()
    made = list(map(as_seen, straight))
    psnrs = [_compute_psnr(candidate, pixels) for candidate in made]
    psnr = max(psnrs)
    off = np.abs(made[psnrs.index(psnr)].astype(int) - pixels)
    origin = dataclasses.replace(origin, difference=int(off.max()), psnr=psnr)
    if psnr == math.inf:
        return dataclasses.replace(origin, answer=YES, reason=f"{place} makes the same pixels")
    if any(np.array_equal(x, pixels) for x in _compress_all(straight, picture.format)):
        reason = f"{place} makes the same pixels, once compressed to {picture.format}"
        return dataclasses.replace(origin, answer=YES, reason=reason)
    count = f"{np.count_nonzero(off.max(axis=-1)):,} of {pixels.shape[0] * pixels.shape[1]:,} pixels differ"
    how = f"{count} from what {place} makes: by {off.max()} of 255 at most, PSNR {psnr:.1f} dB"
    if picture.lossless and not page:
        if off.max() > _ROUNDING:
            return dataclasses.replace(origin, reason=how)
        return dataclasses.replace(
            origin, answer=ALIKE, reason=f"{how}, as if rounded by another machine, or after a change as small"
        )
    others = max(_compute_psnr(as_seen(candidate), pixels) for candidate in making.make_others())
    how += f"; of other seeds at most {others:.1f} dB"
    if psnr < max(_NEAR, others + _NEARER):
        return dataclasses.replace(origin, reason=f"{how}: too far to tell it from theirs")
    by = "the exported page makes no more of it equal" if page else f"{picture.format} keeps no more of it"
    return dataclasses.replace(origin, answer=ALIKE, reason=f"{how}. Near, but {by}")


def _compute_psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the PSNR in dB between two pictures [H, W, C]; infinite if they are equal."""
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def _compress_all(images: Iterable[np.ndarray], format: str) -> Iterator[np.ndarray]:
    """Yield pictures [H, W, C] after they were written as pggan-tf does, as `_Picture.pixels`.

    Yield nothing if the format loses nothing, or pggan-tf writes no pictures in it.
    """
    from pggan_tf.data import photos

    if format == "PNG" or format not in PICTURES.values():
        return
    for image in images:
        file = io.BytesIO()
        encode(file, image, format)
        if (pixels := transparency.read_photo(photos.read(file.getvalue()))) is not None:
            yield pixels


class _Making:
    """Makes the picture that a mark describes.

    Args:
        generator: the network that the mark names.
        mark: the mark.
        networks: where the networks of further steps are found.

    Raises:
        _No: if the network does not make what the mark says.
    """

    def __init__(self, generator: Generator, mark: marks.Mark, networks: Networks):
        self.generator, self.mark = generator, mark
        self._steps = [step if step == marks.NEGATIVE else self._open_step(step, networks) for step in mark.steps]
        if mark.seeds is None or mark.stage is None or mark.truncation is None or mark.layout is None:
            raise _No(f"its mark names {generator.name}, but no seeds: a picture of this kind is not made again")
        try:
            generator.require_latents()
            generator.choose_stage(mark.stage)
            self.numbers = synthesis.parse_seeds(mark.seeds)
            self._choose_labels(self.numbers)
        except UserError:
            raise _No(f"{generator.name} does not make what its mark says") from None
        if mark.layout == marks.IMAGE and len(self.numbers) > 1:
            raise _No("its mark names several seeds for one image")

    def _open_step(self, weights: str, networks: Networks) -> Generator:
        """Return the network of a step. weights: SHA-256 of its weights."""
        place = networks.find(weights)
        if place is None:
            raise _No(f"no network below {networks.folder} has the weights {weights[:12]}... that changed it")
        step = networks.open(place)
        if step.latent_size is not None:
            raise _No(f"its mark names {place} for a step, which converts no pictures")
        return step

    def _choose_labels(self, numbers: list[int]) -> np.ndarray:
        return synthesis.choose_labels(self.generator.network, self.generator.name, self.mark.class_name, numbers)

    @property
    def _sheet(self) -> Sheet:
        """An empty sheet with room for the images."""
        return Sheet(len(self.numbers), edge=1 if self.mark.layout == marks.GRID else 0)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture in pixels."""
        scale = math.prod(s.scale for s in self._steps if isinstance(s, Generator))
        height, width = (scale * side for side in self.generator.network.shape_at(self.mark.stage))
        if self.mark.layout == marks.GRID:
            height, width = find_enlarged_shape((height, width), VISIBLE)
        return self._sheet.size(height, width)

    def _change(self, images: np.ndarray) -> np.ndarray:
        """Return images uint8 [N, H, W, C] after the steps of the mark."""
        for step in self._steps:
            images = step.convert(images) if isinstance(step, Generator) else transparency.invert(images)
        return np.asarray(images)

    @functools.cached_property
    def _samplers(self) -> list[synthesis.Sampler]:
        """The samplers of the command line and of `pggan serve`, which makes one image at a time."""
        return [synthesis.Sampler(self.generator.network), synthesis.Sampler(self.generator.network, 1)]

    def make(self) -> list[np.ndarray]:
        """Return the picture, uint8 [H, W, C], in all roundings that this machine makes of it.

        The last bits of an image depend on the size of its batch and on its place in it, which the
        mark of a single image does not tell; therefore an image is made at every place of a batch.
        """
        if len(self.numbers) > 1 or self.mark.layout == marks.GRID:
            return [self._make_sheet(self.numbers)]
        images = []
        for sampler in self._samplers:
            images += list(self._make_images(sampler, self.numbers * sampler.batch))
        return [self._change(x[None])[0] for x in {image.tobytes(): image for image in images}.values()]

    def make_others(self) -> list[np.ndarray]:
        """Return pictures of other seeds, uint8 [H, W, C], for comparison."""
        count = len(self.numbers)
        if count > 1 or self.mark.layout == marks.GRID:
            return [self._make_sheet([(number + count) % 2**32 for number in self.numbers])]
        others = [(self.numbers[0] + shift) % 2**32 for shift in range(1, _OTHERS + 1)]
        return list(self._change(self._make_images(self._samplers[0], others)))

    def _make_images(self, sampler: synthesis.Sampler, numbers: list[int]) -> np.ndarray:
        """Return the images of seeds, uint8 [N, H, W, C], in the batches of a sampler."""
        z = synthesis.latents(numbers, self.generator.network.latent_size)
        stage, labels = self.generator.choose_stage(self.mark.stage), self._choose_labels(numbers)
        return sampler.images(z, stage, truncation=self.mark.truncation or 0.0, labels=labels)

    def _make_sheet(self, numbers: list[int]) -> np.ndarray:
        """Return the images of seeds in rows, uint8 [H, W, C], as the mark's layout has them."""
        sheet, batch = self._sheet, self._samplers[0].batch
        for i in range(0, len(numbers), batch):
            images = self._change(self._make_images(self._samplers[0], numbers[i : i + batch]))
            sheet.add(enlarge(images, VISIBLE) if self.mark.layout == marks.GRID else images)
        assert sheet.picture is not None
        return sheet.picture
