"""Make the pictures of README and documentation: `python -m docs.pictures RUN --out docs/pictures`.

RUN is a run on drawn portraits, its generator.keras, or the word portraits, which made the picture
of now. hero.png shows, from left to right, drawn portraits, the faces of ten seeds at every stage, and the web page of the run on a phone. Nothing in
it is a photo. Chromium, playwright and npm are needed.
"""

from __future__ import annotations

import base64
import io
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
from PIL import Image

SEEDS = range(10)
PHONE = (390, 844)  # CSS pixels
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# Gray letters and a transparent background suit light and dark pages.
PAGE = """<!doctype html><meta charset="utf-8"><style>
* {{ box-sizing: border-box; margin: 0 }}
body {{ width: 1200px; height: 500px; display: flex; align-items: center; justify-content: space-between;
  padding: 0 14px; font: 15px "DejaVu Sans", sans-serif; color: #808080; background: transparent }}
figure {{ text-align: center }} figcaption {{ padding-top: 12px }}
.photos {{ position: relative; width: 236px; height: 330px }}
.photos img {{ position: absolute; width: 112px; padding: 6px; background: #fff; box-shadow: 0 1px 5px #0007 }}
table {{ border-spacing: 4px }} td {{ padding: 0; line-height: 0 }} th {{ font-weight: normal; text-align: right; padding-right: 6px }}
td img {{ width: 55px; height: 55px; image-rendering: pixelated; border-radius: 4px }}
.fine img {{ image-rendering: auto }}
.arrow {{ font-size: 34px }}
.phone img {{ display: block; width: 206px; border: 8px solid #35353d; border-radius: 26px; outline: 1px solid #999c }}
</style><figure><div class="photos">{photos}</div></figure><div class="arrow">➜</div>
<figure><table>{rows}</table></figure><div class="arrow">➜</div><figure class="phone">{phone}</figure>"""


def _tag(image: bytes | np.ndarray, style: str = "") -> str:
    """Return an HTML image. image: the bytes of a PNG, or pixels uint8 [H, W, 3]."""
    if isinstance(image, np.ndarray):
        Image.fromarray(image).save(out := io.BytesIO(), "PNG")
        image = out.getvalue()
    return f'<img style="{style}" src="data:image/png;base64,{base64.b64encode(image).decode()}">'


def _draw_photos() -> str:
    """Return drawn portraits as HTML, laid out like prints on a table."""
    from pggan_tf.data import portraits

    places = [(4, 0, -5), (118, 14, 4), (0, 108, 3), (112, 124, -4), (10, 214, -2), (120, 222, 6)]
    style = "left: {}px; top: {}px; transform: rotate({}deg)"
    return "".join(_tag(portraits.draw(i, 128, 5), style.format(*place)) for i, place in enumerate(places))


def _draw_growth(generator) -> str:
    """Return the images of SEEDS at every stage of a generator as the rows of an HTML table."""
    from pggan_tf import synthesis

    sampler, latents = synthesis.Sampler(generator), synthesis.latents(list(SEEDS), generator.latent_size)
    rows = []
    for stage in generator.resolutions:
        cells = (f"<td>{_tag(image)}</td>" for image in sampler.images(latents, stage, truncation=0.8))
        rows.append(f'<tr class="{"fine" if stage >= 64 else "coarse"}"><th>{stage} px</th>{"".join(cells)}')
    return "".join(rows)


@contextmanager
def _serve_page(generator) -> Iterator[str]:
    """Context manager: export the web page of a generator, serve it, and yield its address."""
    from export import serve
    from pggan_tf import entry
    from pggan_tf.commands import cli

    with tempfile.TemporaryDirectory() as folder:
        site, file = Path(folder, "site"), Path(folder, "generator.keras")
        generator.save(file)  # that of a run that has not ended, too
        if code := entry.main(cli.cli, ["export", str(file), "--to", "web", "--out", str(site)]):
            raise SystemExit(code)
        server = serve.make_site_server(site, "127.0.0.1", 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            server.server_close()


def draw_hero(run: str, out: Path) -> None:
    """Write hero.png, 1200x500 pixels, into the folder `out`."""
    from playwright import sync_api

    from pggan_tf.runs import generators

    generator = generators.load_from_latents(run)
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_api.sync_playwright() as playwright, _serve_page(generator) as address:
        browser = playwright.chromium.launch(executable_path=executable)
        phone = browser.new_page(viewport={"width": PHONE[0], "height": PHONE[1]})
        phone.goto(f"{address}#seed=3&count=4&truncation=0.8")
        phone.locator(".faces canvas, .faces img").first.wait_for(timeout=60_000)
        phone.wait_for_timeout(3_000)  # the other faces and the row of stages
        screenshot = phone.screenshot()
        page = browser.new_page(viewport={"width": 1200, "height": 500})
        page.set_content(PAGE.format(photos=_draw_photos(), rows=_draw_growth(generator), phone=_tag(screenshot)))
        picture = Image.open(io.BytesIO(page.screenshot(omit_background=True)))
        browser.close()
    pixels = np.array(picture)
    pixels[..., :3] &= 0xFC  # nobody sees the lowest two bits, and the file is a third smaller
    Image.fromarray(pixels).save(out / "hero.png", optimize=True)


@click.command()
@click.argument("run")
@click.option("--out", default="docs/pictures", show_default=True, type=click.Path(path_type=Path), help="folder")
def command(run: str, out: Path):
    """Make hero.png from RUN, a run on drawn portraits; also one that has not ended."""
    out.mkdir(parents=True, exist_ok=True)
    draw_hero(run, out)
    click.echo(out / "hero.png")


if __name__ == "__main__":
    command()
