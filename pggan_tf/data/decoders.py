"""Decode the bytes of an image file.

Photos to learn from and photos to change are decoded by the same code.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from PIL import AvifImagePlugin, Image, ImageOps, Jpeg2KImagePlugin, UnidentifiedImageError, WebPImagePlugin  # noqa: F401  these register formats

from pggan_tf.data import icc, jpeg, tiff
from pggan_tf.errors import Unreadable

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "HEIF")
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".avif", ".jp2", ".j2k", ".heic", ".heif", ".hif"),
)
# The size in the header is checked before anything is decoded, so that a small file cannot fill the
# memory. Pillow's own limit is therefore switched off, and so are its warnings about photos that
# are slightly damaged.
MAX_PIXELS = 1 << 29
# Bytes of a file: room for the largest photo with four channels of 16 bits, not compressed.
MAX_BYTES = 8 * MAX_PIXELS + (64 << 20)
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module="PIL")
# Without a handler, messages go to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_ORIENTATION = 274  # EXIF's tag
# EXIF's orientation -> the function that turns pixels upright.
TURNS = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}
# Brands, ISO/IEC 23008-12.
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF = {b"avif", b"avis"}


@contextlib.contextmanager
def raise_unreadable():
    """Raise any error of the block as Unreadable.

    Decoders raise many kinds of errors, and one bad image must not end a run.
    """
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        why = str(error).strip() or type(error).__name__
        # The messages of others say little alone.
        if not isinstance(error, OSError | ValueError | SyntaxError):
            why = f"{type(error).__name__}: {why}"
        raise Unreadable(why.splitlines()[0][:120]) from None


def check_size(width: int, height: int, least: int = 1, most: int = MAX_PIXELS) -> None:
    """Raise Unreadable for more than `most` pixels, or a side below `least`."""
    if width * height > most:
        raise Unreadable(f"{width}x{height} pixels, more than {most // 10**6} million")
    if min(width, height) < least:
        raise Unreadable(f"{width}x{height} pixels, smaller than {least}x{least}", "too small")


@dataclass(frozen=True)
class Picture:
    """One decoded picture, upright."""

    # With 8 bits a Pillow image of mode L, LA, RGB or RGBA; with more, uint16 [H,W,1..4].
    pixels: Image.Image | np.ndarray
    # ICC profile of the file. Gray and CMYK pixels are converted by it already, RGB pixels are not.
    profile: bytes | None
    exif: Image.Exif
    milliseconds: int = 0  # how long this frame of an animation is displayed

    def planes(self) -> np.ndarray:
        """Return the pixels as uint8 or uint16 [H,W,1..4]."""
        if isinstance(self.pixels, np.ndarray):
            return self.pixels
        return np.asarray(self.pixels).reshape(self.pixels.height, self.pixels.width, -1)

    def image(self) -> Image.Image:
        """Return the picture in sRGB with 8 bits, of mode L, LA, RGB or RGBA."""
        image = self.pixels
        if isinstance(image, np.ndarray):
            image = _make_image(to_eight_bits(image))
        return icc.rgb_to_srgb(image, self.profile)


def to_eight_bits(planes: np.ndarray) -> np.ndarray:
    """Convert uint16 [H,W,C] to uint8, by x / 257, rounded."""
    import cv2

    return cv2.convertScaleAbs(planes, alpha=1 / 257).reshape(planes.shape)


def _make_image(planes: np.ndarray) -> Image.Image:
    """Return uint8 [H,W,1..4] as an image of mode L, LA, RGB or RGBA."""
    return Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes)


class Pictures(ABC):
    """The pictures of an opened file."""

    kind = "frames"  # of an animation; or "pages" of a TIFF
    format = ""  # Pillow's name for it
    loop = 1  # how often an animation is played; 0: without end

    @abstractmethod
    def sizes(self) -> list[tuple[int, int]]:
        """Return (width, height) of every picture. This reads all frames of a GIF."""

    @abstractmethod
    def first_size(self) -> tuple[int, int]:
        """Return (width, height) of the first picture, from the header."""

    @abstractmethod
    def has_more(self) -> bool:
        """Tell whether there is a picture behind the first, without reading all frames of a GIF."""

    def picture(self, number: int = 0, least: int = 1) -> Picture:
        """Decode a picture.

        Raises Unreadable, and before decoding where a side is below `least` pixels.
        """
        with raise_unreadable():
            check_size(*(self.sizes()[number] if number else self.first_size()), least)
            return self._picture(number)

    @abstractmethod
    def _picture(self, number: int) -> Picture: ...


class _Plain(Pictures):
    """A file that Pillow reads."""

    def __init__(self, data: bytes, formats: tuple[str, ...], stack: contextlib.ExitStack):
        self._data = data
        known = [format for format in formats if format != "HEIF"]
        if _is_heic(data) and "HEIF" in formats:
            _register_heic()
            known = ["HEIF"]
        try:
            self._image = stack.enter_context(Image.open(io.BytesIO(data), formats=known))
        except UnidentifiedImageError:
            raise Unreadable(_explain_unknown(data, formats)) from None
        self.format = self._image.format
        self._animated = self.format in ("GIF", "WEBP", "PNG", "AVIF") and self._image.is_animated
        # A PNG's first picture may be meant for programs without animation, and is then no frame of
        # it.
        self._hidden = int(self._animated and getattr(self._image, "default_image", False))
        self.loop = self._image.info.get("loop", 0)
        if self.format == "GIF" and self._image.info.get("loop") != 0:
            # A GIF counts how often it is repeated; one without a count is not repeated.
            self.loop += 1

    def first_size(self):
        return self._image.size

    def sizes(self):
        return [self._image.size] * ((self._image.n_frames if self._animated else 1) - self._hidden)

    def has_more(self):
        # n_frames would read all frames of a GIF.
        return self._animated and (not self._hidden or self._image.n_frames > 2)

    def _picture(self, number):
        # The layout of the pixels in the file, which Pillow's mode does not tell.
        layout = str([tile.args for tile in self._image.tile])
        if self.format == "PNG" and ";16" in layout and self._image.mode != "I;16" and not self._animated:
            profile, exif = self._image.info.get("icc_profile"), self._image.getexif()
            planes = TURNS.get(exif.get(_ORIENTATION), np.asarray)(_decode_sixteen_bits(self._data, "LA;16" in layout))
            return Picture(planes, profile, exif)
        if self._animated:
            self._image.seek(number + self._hidden)
        try:
            self._image.load()
        except OSError:
            complete = None
            if self.format == "JPEG":
                with contextlib.suppress(Exception):
                    complete = jpeg.decode_cut(self._data)
            if complete is None:
                raise
            return _convert(complete)
        return _convert(self._image)


class _Tiff(Pictures):
    """A TIFF. Pages with 8 bits are decoded by Pillow, others by `tiff`."""

    kind, format = "pages", "TIFF"

    def __init__(self, data: bytes, stack: contextlib.ExitStack):
        self._data, self._image = data, None
        self._pages = tiff.list_pages(stack.enter_context(tiff.open_file(data)))
        with contextlib.suppress(Exception):  # `tiff` reads more kinds
            self._image = stack.enter_context(Image.open(io.BytesIO(data), formats=("TIFF",)))

    def first_size(self):
        return self._pages[0].imagewidth, self._pages[0].imagelength

    def has_more(self):
        return len(self._pages) > 1

    def sizes(self):
        return [(page.imagewidth, page.imagelength) for page in self._pages]

    def _picture(self, number):
        page = self._pages[number]
        deep = tiff.is_deep(page)
        if self._image and not deep:
            self._image.seek(page.index)
            return _convert(self._image)
        planes, upright = tiff.read_planes(self._data, page)
        profile, exif = tiff.read_metadata(self._data, page)
        if not upright:
            planes = TURNS.get(exif.get(_ORIENTATION), np.asarray)(planes)
        if not deep:
            planes = to_eight_bits(np.ascontiguousarray(planes))
        if planes.shape[2] < 3:
            planes = np.dstack([icc.gray_to_srgb(planes[..., :1], profile), planes[..., 1:]])
        return Picture(planes if deep else _make_image(planes), profile, exif)


@contextlib.contextmanager
def open_pictures(data: bytes, formats: tuple[str, ...] = FORMATS):
    """Open the bytes of a file, and read its header: yields its Pictures. Raises Unreadable."""
    with contextlib.ExitStack() as stack:
        with raise_unreadable():
            pictures: Pictures | None = None
            if data[:4] in tiff.MAGIC and "TIFF" in formats:
                # Pillow may still read a page of a file that tifffile refuses.
                with contextlib.suppress(Exception):
                    pictures = _Tiff(data, stack)
            pictures = pictures or _Plain(data, formats, stack)
        yield pictures


def _explain_unknown(data: bytes, formats: tuple[str, ...]) -> str:
    if not data:
        return "an empty file"
    if _is_heic(data) and "HEIF" in formats:
        return "a damaged HEIC file"
    return f"not a file of a known kind ({', '.join(formats)})"


def _is_heic(data: bytes) -> bool:
    """Tell a HEIC file by the brands in its first box (ISO/IEC 14496-12, section 4.3)."""
    brands = {data[at : at + 4] for at in range(8, min(int.from_bytes(data[:4]), 256), 4)}
    return data[4:8] == b"ftyp" and not brands.isdisjoint(_HEIC) and brands.isdisjoint(_AVIF)


def _register_heic() -> None:
    try:
        import pillow_heif
    except ImportError:
        why = 'HEIC, which needs one package more: pip install pillow-heif, or -e ".[heic]"'
        raise Unreadable(why, "HEIC without pillow-heif") from None
    pillow_heif.register_heif_opener()


def _convert(image: Image.Image) -> Picture:
    """Convert an image that Pillow has opened."""
    image.load()  # some of the metadata stands behind the pixels
    profile, exif = image.info.get("icc_profile"), image.getexif()
    milliseconds = round(image.info.get("duration") or 0)
    return Picture(_convert_pixels(ImageOps.exif_transpose(image), profile), profile, exif, milliseconds)


def _convert_pixels(image: Image.Image, profile: bytes | None) -> Image.Image | np.ndarray:
    """Convert any mode to L, LA, RGB or RGBA; gray with 16 bits to uint16 [H,W,1..2]."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image) * (65535 if image.mode == "F" else 1)
        values = np.clip(np.nan_to_num(values), 0, 65535).round().astype(np.uint16)[..., None]
        clear = image.info.get("transparency")  # the one value of gray that is transparent in a PNG
        alpha = [] if clear is None else [np.where(values == clear, 0, 65535).astype(np.uint16)]
        return np.dstack([icc.gray_to_srgb(values, profile), *alpha])
    if image.mode == "CMYK":
        return icc.cmyk_to_srgb(image, profile)
    gray, clear = image.mode in ("1", "L", "LA"), image.has_transparency_data
    image = image.convert(("LA" if clear else "L") if gray else ("RGBA" if clear else "RGB"))
    if gray and icc.read_colour_space(profile) == b"GRAY":
        bands = image.split()
        lightness = Image.fromarray(icc.gray_to_srgb(np.asarray(bands[0]), profile))
        image = Image.merge("LA", (lightness, bands[1])) if clear else lightness
    return image


def _decode_sixteen_bits(data: bytes, gray: bool) -> np.ndarray:
    """Decode a PNG with 16 bits, in colour or gray with alpha -> uint16 [H,W,2..4].

    Pillow would reduce it to 8 bits.
    """
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise Unreadable("damaged")
    cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA, dst=image)
    return image[..., [0, 3]] if gray else image
