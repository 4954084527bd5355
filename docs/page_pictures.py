"""Make the pictures of the exported page: `python -m docs.page_pictures FACES COLOURS LARGER`.

The three are runs of the tasks generate, colorize and upscale on drawn portraits, or their
generator.keras. page-desktop.png shows the page in a window, light and dark, page-phone.png on
phones. The photos in it are drawn portraits. Chromium, playwright and npm are needed.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
from pathlib import Path

import click
from PIL import Image

from docs.pictures import CHROMIUM, PHONE

DESKTOP = (960, 720)  # CSS pixels
GAP = 16  # pixels between two screenshots
COLOURS = 255  # of a picture: enough for a page, and a third of the size


def _make_photo(seed: int, size: int, gray: bool) -> bytes:
    """Return a drawn portrait as PNG."""
    from pggan_tf.data import portraits

    picture, out = Image.fromarray(portraits.draw(seed, size)), io.BytesIO()
    (picture.convert("L") if gray else picture).save(out, "PNG")
    return out.getvalue()


def _shoot(browser, address: str, size: tuple[int, int], scheme: str, state: str, photo: bytes | None = None):
    """Return a screenshot of the page as a Pillow image.

    Args:
        browser: browser of playwright.
        address: address of the site.
        size: (width, height) of the window in CSS pixels.
        scheme: light or dark.
        state: what follows # in the address, such as panel=upscale.
        photo: file of a photo that the panel is to convert; None: the panel draws faces.
    """
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page.goto(f"{address}#{state}")
    if photo is None:
        page.wait_for_function("() => document.querySelector('#panel-generate')?.dataset.grown", timeout=120_000)
    else:
        name = f"#panel-{state.partition('=')[2]}"
        given = {"name": "portrait.png", "mimeType": "image/png", "buffer": photo}
        page.locator(f"{name} [name=file]").set_input_files(given, timeout=120_000)
        page.locator(f"{name} .compare").wait_for(timeout=120_000)
    page.wait_for_timeout(1_000)  # the strip of stages, and what moves
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    page.close()
    return picture


def _save(path: Path, pictures: list) -> None:
    """Write screenshots side by side as one PNG of few colours."""
    width = sum(p.width for p in pictures) + GAP * (len(pictures) - 1)
    sheet, left = Image.new("RGB", (width, pictures[0].height), "#808080"), 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + GAP
    sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


@click.command()
@click.argument("runs", nargs=3, metavar="FACES COLOURS LARGER")
@click.option("--out", default="docs/pictures", show_default=True, type=click.Path(path_type=Path), help="folder")
def command(runs: tuple[str, str, str], out: Path):
    """Make page-desktop.png and page-phone.png."""
    from playwright import sync_api

    import pggan_tf as pg
    from export import serve

    out.mkdir(parents=True, exist_ok=True)
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    gray, small = _make_photo(21, 192, gray=True), _make_photo(8, 96, gray=False)
    with tempfile.TemporaryDirectory() as folder, sync_api.sync_playwright() as playwright:
        pg.export(list(runs), site := Path(folder, "site"), "web")
        browser = playwright.chromium.launch(executable_path=executable)
        with serve.make_site_server(site, "127.0.0.1", 0) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            at = f"http://127.0.0.1:{server.server_port}/"
            faces = "seed=3&count=4&truncation=0.8&target=5"
            desktop = [
                _shoot(browser, at, DESKTOP, "light", faces),
                _shoot(browser, at, DESKTOP, "dark", "panel=colorize", gray),
            ]
            phone = [
                _shoot(browser, at, PHONE, "light", faces),
                _shoot(browser, at, PHONE, "dark", "panel=colorize", gray),
                _shoot(browser, at, PHONE, "light", "panel=upscale", small),
            ]
            server.shutdown()
        browser.close()
    for name, pictures in (("page-desktop.png", desktop), ("page-phone.png", phone)):
        _save(out / name, pictures)
        click.echo(f"{out / name}: {(out / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    command()
