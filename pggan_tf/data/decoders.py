"""Decode image files from bytes.

A file holds one or several pictures: the frames of an animation or the pages of a TIFF. Both
`decode` (for training photos) and `photos` (for photos that are edited) use this module.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import warnings
from abc import ABC, abstractmethod

import numpy as np
from PIL import AvifImagePlugin, Image, Jpeg2KImagePlugin, UnidentifiedImageError, WebPImagePlugin  # noqa: F401  these register formats

from pggan_tf.data import captions, coded_colours, hdr, heif, icc, jpeg, orientation, png, resolution, tiff, xmp
from pggan_tf.data.captions import Captions
from pggan_tf.data.orientation import TURNS
from pggan_tf.errors import Unreadable

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "HEIF")
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".avif", ".jp2", ".j2k", ".heic", ".heif", ".hif"),
)
# The size in the header is checked before anything is decoded, so that a small file cannot fill the
# memory. Pillow's own limit is therefore switched off, and so are its warnings about slightly
# damaged photos.
MAX_PIXELS = 1 << 29
# Largest file in bytes: enough for the largest photo with four channels of 16 bits, not compressed.
MAX_BYTES = 8 * MAX_PIXELS + (64 << 20)
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module="PIL")
# Without a handler, Pillow's log messages would appear on the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_XMP = 700  # TIFF tag


@contextlib.contextmanager
def raise_unreadable():
    """Context manager that converts any exception raised in its block to Unreadable.

    Decoders raise many kinds of exceptions, and one bad image must not end a run.
    """
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        why = str(error).strip() or type(error).__name__
        # The messages of other exceptions say little without the name of their type.
        if not isinstance(error, OSError | ValueError | SyntaxError):
            why = f"{type(error).__name__}: {why}"
        raise Unreadable(why.splitlines()[0][:120]) from None


def check_size(width: int, height: int, least: int = 1, most: int = MAX_PIXELS) -> None:
    """Raise Unreadable if a picture is too large or too small.

    Args:
        width: width in pixels.
        height: height in pixels.
        least: smallest allowed side in pixels.
        most: largest allowed number of pixels, width times height.
    """
    if width * height > most:
        raise Unreadable(f"{width}x{height} pixels, more than {most // 10**6} million")
    if min(width, height) < least:
        raise Unreadable(f"{width}x{height} pixels, smaller than {least}x{least}", "too small")


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded picture, turned upright, with its metadata."""

    # With 8 bits, a Pillow image of mode L, LA, RGB or RGBA; with more, uint16 [H,W,1..4].
    pixels: Image.Image | np.ndarray
    # ICC profile of the file. Gray and CMYK pixels are already converted with it, RGB pixels are
    # not.
    profile: bytes | None
    exif: Image.Exif
    milliseconds: int = 0  # how long this frame of an animation is displayed
    xmp: bytes | None = None  # XMP packet of the file
    dpi: resolution.Resolution | None = None  # pixels per inch in print, across and down
    was: str | None = None  # 'HDR (PQ)' or another form whose pixels are converted to sRGB already
    captions: Captions = Captions()  # what the file says besides EXIF and XMP

    def planes(self) -> np.ndarray:
        """Return the pixels as an array, uint8 or uint16 [H,W,C].

        Channels are gray, gray and alpha, RGB, or RGBA.
        """
        if isinstance(self.pixels, np.ndarray):
            return self.pixels
        return np.asarray(self.pixels).reshape(self.pixels.height, self.pixels.width, -1)

    def image(self) -> Image.Image:
        """Return the picture as an sRGB image with 8 bits, of mode L, LA, RGB or RGBA."""
        image = self.pixels
        if isinstance(image, np.ndarray):
            image = _make_image(to_eight_bits(image))
        return icc.rgb_to_srgb(image, self.profile)


def to_eight_bits(planes: np.ndarray) -> np.ndarray:
    """Convert an array uint16 [H,W,C] to uint8 [H,W,C]: divide by 257 and round."""
    import cv2

    return cv2.convertScaleAbs(planes, alpha=1 / 257).reshape(planes.shape)


def _make_image(planes: np.ndarray) -> Image.Image:
    """Convert an array uint8 [H,W,C], C in 1..4, to a Pillow image of mode L, LA, RGB or RGBA."""
    return Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes)


class Pictures(ABC):
    """Base class for the pictures in an open file: frames of an animation or pages of a TIFF."""

    kind = "frames"  # name of the pictures: "frames" of an animation or "pages" of a TIFF
    format = ""  # Pillow's name of the file format
    loop = 1  # how often an animation is played; 0 for endlessly

    @abstractmethod
    def sizes(self) -> list[tuple[int, int]]:
        """Return (width, height) of every picture. For a GIF, this reads all frames."""

    @abstractmethod
    def first_size(self) -> tuple[int, int]:
        """Return (width, height) of the first picture, from the header."""

    @abstractmethod
    def has_more(self) -> bool:
        """Return whether the file holds several pictures, without reading all frames of a GIF."""

    def picture(self, number: int = 0, least: int = 1) -> Picture:
        """Decode the picture at index `number`.

        Raise Unreadable if it cannot be decoded or, before decoding, if a side is shorter than
        `least` pixels.
        """
        with raise_unreadable():
            check_size(*(self.sizes()[number] if number else self.first_size()), least)
            picture = self._picture(number)
            dpi, said = self._read_besides(number)
            return dataclasses.replace(picture, dpi=dpi, captions=said)

    @abstractmethod
    def _read_besides(self, number: int) -> tuple[resolution.Resolution | None, Captions]:
        """Return print resolution and captions of the picture at index `number`, once it is decoded."""
        ...

    @abstractmethod
    def _picture(self, number: int) -> Picture:
        """Decode the picture at index `number`, whose size has been checked."""
        ...


class _Plain(Pictures):
    """Pictures in a file that Pillow can read.

    Args:
        data: bytes of the file.
        formats: allowed formats, some of FORMATS.
        stack: keeps the file open until the stack is closed.

    Raises:
        Unreadable: if the file has none of these formats.
    """

    def __init__(self, data: bytes, formats: tuple[str, ...], stack: contextlib.ExitStack):
        # ICC profile of a PNG that is too large for Pillow; below, of colours that are stated otherwise.
        self._data, self._profile = png.drop_unreadable(data) if data.startswith(png.SIGNATURE) else (data, None)
        known = [format for format in formats if format != "HEIF"]
        if heif.is_heic(data) and "HEIF" in formats:
            heif.register_reader()
            known = ["HEIF"]
        try:
            self._image = stack.enter_context(Image.open(io.BytesIO(self._data), formats=known))
        except UnidentifiedImageError:
            raise Unreadable(_explain_unknown(data, formats)) from None
        self.format = self._image.format
        self._coded = coded_colours.read(self._data)
        self._profile = self._profile or self._find_profile()
        self._animated = self.format in ("GIF", "WEBP", "PNG", "AVIF") and self._image.is_animated
        # The first picture of an animated PNG may be a still for programs that cannot show
        # animations. It is then not one of the frames.
        self._hidden = int(self._animated and getattr(self._image, "default_image", False))
        self.loop = self._image.info.get("loop", 0)
        self._packet = xmp.read_gif(data) if self.format == "GIF" else None  # Pillow does not read it
        if self.format == "GIF" and self._image.info.get("loop") != 0:
            # A GIF stores the number of repetitions; without it, the animation is played once.
            self.loop += 1

    def _find_profile(self) -> bytes | None:
        """Return an ICC profile of the colours that the file states by numbers, if it has none itself."""
        if self._coded is None or self._image.info.get("icc_profile"):
            return None
        primaries, _, gamma = self._coded
        return coded_colours.make_profile(primaries, gamma, self._image.mode.startswith(("L", "I", "1")))

    def first_size(self):
        return self._image.size

    def sizes(self):
        return [self._image.size] * ((self._image.n_frames if self._animated else 1) - self._hidden)

    def has_more(self):
        # n_frames would read all frames of a GIF.
        return self._animated and (not self._hidden or self._image.n_frames > 2)

    def _picture(self, number):
        picture = self._decode(number)
        if self._coded is None or not coded_colours.is_hdr(self._coded[1]):
            return picture
        planes = picture.planes()
        planes = planes if planes.shape[2] > 2 else np.dstack([planes[..., :1]] * 3 + [planes[..., 1:]])
        colours = hdr.to_srgb(planes[..., :3], self._coded[1], self._coded[0])
        alpha = np.ascontiguousarray(planes[..., 3:])
        alpha = to_eight_bits(alpha) if alpha.dtype == np.uint16 and alpha.size else alpha.astype(np.uint8)
        pixels, name = _make_image(np.dstack([colours, alpha])), hdr.describe_transfer(self._coded[1])
        return dataclasses.replace(picture, pixels=pixels, profile=None, was=name)

    def _decode(self, number: int) -> Picture:
        """Decode the picture at index `number`, with the colours that the file has."""
        if self._animated:
            self._image.seek(number + self._hidden)
        if self._profile:
            self._image.info["icc_profile"] = self._profile
        # Layout of the pixels in the file, which Pillow's mode does not tell.
        layout = str([tile.args for tile in self._image.tile])
        if self.format == "PNG" and ";16" in layout and self._image.mode != "I;16" and not self._animated:
            profile, exif = self._image.info.get("icc_profile"), self._image.getexif()
            if b"XML:com.adobe.xmp" in self._data and not self._image.info.get("xmp"):
                self._image.load()  # it may stand behind the pixels
            planes = TURNS.get(exif.get(orientation.TAG), np.asarray)(
                png.decode_sixteen_bits(self._data, "LA;16" in layout)
            )
            if planes.shape[2] == 2:
                planes = np.dstack([icc.gray_to_srgb(planes[..., :1], profile), planes[..., 1:]])
            return Picture(planes, profile, exif, xmp=_read_xmp(self._image))
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
        picture = _convert(self._image)
        return dataclasses.replace(picture, xmp=self._packet) if self._packet else picture

    def _read_besides(self, number):
        return resolution.read(self._image, self._image.getexif()), captions.read(self._image, self._data)


class _Tiff(Pictures):
    """Pages of a TIFF file. Pillow decodes pages with 8 bits, the module `tiff` all others.

    Args:
        data: bytes of the file.
        stack: keeps the file open until the stack is closed.
    """

    kind, format = "pages", "TIFF"

    def __init__(self, data: bytes, stack: contextlib.ExitStack):
        self._data, self._image = data, None
        self._pages = tiff.list_pages(stack.enter_context(tiff.open_file(data)))
        with contextlib.suppress(Exception):  # the module `tiff` reads more kinds of files
            self._image = stack.enter_context(Image.open(io.BytesIO(data), formats=("TIFF",)))

    def first_size(self):
        return self._pages[0].imagewidth, self._pages[0].imagelength

    def has_more(self):
        return len(self._pages) > 1

    def sizes(self):
        sizes = [(page.imagewidth, page.imagelength) for page in self._pages]
        turned = [page.tags.valueof(orientation.TAG) in orientation.ASIDE for page in self._pages]
        return [size[::-1] if aside else size for size, aside in zip(sizes, turned)]

    def _picture(self, number):
        page = self._pages[number]
        deep = tiff.is_deep(page)
        if self._image and not deep:
            self._image.seek(page.index)
            return _convert(self._image)
        planes, upright = tiff.read_planes(self._data, page)
        profile, exif = tiff.read_metadata(self._data, page)
        if not upright:
            planes = TURNS.get(exif.get(orientation.TAG), np.asarray)(planes)
        if not deep:
            planes = to_eight_bits(np.ascontiguousarray(planes))
        if planes.shape[2] < 3:
            planes = np.dstack([icc.gray_to_srgb(planes[..., :1], profile), planes[..., 1:]])
        packet = page.tags.valueof(_XMP)
        packet = bytes(packet) if isinstance(packet, bytes) else None
        return Picture(planes if deep else _make_image(planes), profile, exif, xmp=packet)

    def _read_besides(self, number):
        page = self._pages[number]
        return resolution.read_page(page), captions.read_page(page)


@contextlib.contextmanager
def open_pictures(data: bytes, formats: tuple[str, ...] = FORMATS):
    """Context manager that opens an image file and yields its Pictures.

    Only the header is read at once; pictures are decoded when `Pictures.picture` is called.

    Args:
        data: bytes of the file.
        formats: allowed formats, some of FORMATS.

    Raises:
        Unreadable: if the file has none of these formats or is damaged.
    """
    with contextlib.ExitStack() as stack:
        with raise_unreadable():
            pictures: Pictures | None = None
            if data[:4] in tiff.MAGIC and "TIFF" in formats:
                # Pillow may be able to read a file that tifffile cannot.
                with contextlib.suppress(Exception):
                    pictures = _Tiff(data, stack)
            pictures = pictures or _Plain(data, formats, stack)
        yield pictures


def _explain_unknown(data: bytes, formats: tuple[str, ...]) -> str:
    """Return the reason, for the user, why a file has none of the allowed formats."""
    if not data:
        return "an empty file"
    if heif.is_heic(data) and "HEIF" in formats:
        return "a damaged HEIC file"
    if data.startswith(png.SIGNATURE) and "PNG" in formats:
        return "a damaged PNG file"
    return f"not a file of a known kind ({', '.join(formats)})"


def _convert(image: Image.Image) -> Picture:
    """Convert an image opened with Pillow to a Picture."""
    image.load()  # some metadata is stored after the pixels
    profile, exif = image.info.get("icc_profile"), image.getexif()
    milliseconds, packet = round(image.info.get("duration") or 0), _read_xmp(image)
    if image.format == "BMP" and image.mode == "RGBA" and not image.getchannel("A").getbbox():
        image = image.convert("RGB")  # many programs leave the fourth byte 0 and mean an opaque picture
    pixels = _convert_pixels(orientation.turn_upright(image, exif), profile)
    return Picture(pixels, profile, exif, milliseconds, packet)


def _read_xmp(image: Image.Image) -> bytes | None:
    """Return the XMP packet of a file opened with Pillow, or None if there is none."""
    packet = image.tag_v2.get(_XMP) if hasattr(image, "tag_v2") else image.info.get("xmp")
    return packet if isinstance(packet, bytes) else None


def _convert_pixels(image: Image.Image, profile: bytes | None) -> Image.Image | np.ndarray:
    """Convert an image of any mode to `Picture.pixels`.

    Images with 16 bits of gray, or with float values, become uint16 [H,W,1] or, with alpha,
    [H,W,2]; all others become an image of mode L, LA, RGB or RGBA. Gray and CMYK are converted to
    sRGB with `profile`, an ICC profile or None.
    """
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image) * (65535 if image.mode == "F" else 1)
        values = np.clip(np.nan_to_num(values), 0, 65535).round().astype(np.uint16)[..., None]
        clear = image.info.get("transparency")  # the gray value that is transparent in a PNG
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
