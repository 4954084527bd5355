"""Make the pictures of the studio: `python -m docs.make_studio_pictures ADDRESS --out docs/pictures`.

ADDRESS is what `pggan studio` printed, of a studio with a folder of photos and two runs. Every panel
is opened on a desktop and on a phone, in light and in dark: studio-PANEL-light.webp shows the light
desktop and the dark phone, studio-PANEL-dark.webp the other way round. `--tasks FILE` draws the small
pictures of the recipes too, from drawn portraits. Chromium and playwright are needed.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

SIDE = 120  # of a small picture, pixels
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PANELS = {
    "photos": "photos",
    "grow": "grow",
    "watch": "watch",
    "play": "play?count=36",
    "compare": "compare",
}
DESKTOP, PHONE = (1280, 800), (390, 844)
HEIGHT = 640  # of the pictures, pixels
GAP, CORNER = 24, 14
WAIT = 40_000  # ms until a panel shows what it should


def _shrink(image: Image.Image, side: int) -> Image.Image:
    """Return an image as it looks at fewer pixels."""
    return image.resize((side, side), Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)


def draw_tasks() -> Image.Image:
    """Return a row of four small pictures for each task: what goes in, what comes out."""
    from pggan_tf.data import portraits

    faces = [Image.fromarray(portraits.draw(i, SIDE, 5)) for i in (0, 7, 2, 9, 4, 11)]
    gray = [ImageOps.grayscale(face).convert("RGB") for face in faces]
    outlines = [ImageOps.invert(g.convert("L").filter(ImageFilter.FIND_EDGES)) for g in gray]
    lines = [
        ImageOps.autocontrast(o.crop((2, 2, SIDE - 2, SIDE - 2)).resize((SIDE, SIDE))).convert("RGB") for o in outlines
    ]
    rows = [
        [_shrink(faces[0], 4), _shrink(faces[0], 10), _shrink(faces[0], 30), faces[0]],
        [gray[1], faces[1], gray[2], faces[2]],
        [ImageOps.invert(gray[3]), faces[3], ImageOps.invert(gray[5]), faces[5]],
        [_shrink(faces[2], 15), faces[2], _shrink(faces[4], 15), faces[4]],
        [lines[4], faces[4], lines[1], faces[1]],
        [_shrink(face, 30) for face in (faces[5], faces[3], faces[4], faces[1])],
    ]
    return Image.fromarray(np.concatenate([np.concatenate([np.asarray(p) for p in row], 1) for row in rows]))


def _photograph(browser, address: str, panel: str, size: tuple[int, int], scheme: str) -> Image.Image:
    """Return a panel as a browser shows it when nothing is on its way any more."""
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(address)
    page.goto(f"{address.partition('?')[0]}#{panel}")
    page.get_by_role("main").wait_for()
    page.wait_for_timeout(1500)
    page.wait_for_function(
        "() => !document.querySelector('[aria-busy=true], .opening, .job') && "
        "[...document.images].every(image => image.complete || image.loading === 'lazy')"
    )
    page.wait_for_timeout(1000)
    taken = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    context.close()
    return taken


def _lay_beside(desktop: Image.Image, phone: Image.Image) -> Image.Image:
    """Return a desktop and a phone beside each other, equally high, with round corners."""
    parts = []
    for image in (desktop, phone):
        part = image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.LANCZOS).convert(
            "RGBA"
        )
        mask = Image.new("L", part.size, 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, part.width - 1, HEIGHT - 1), CORNER, fill=255)
        part.putalpha(mask)
        parts.append(part)
    sheet = Image.new("RGBA", (sum(p.width for p in parts) + GAP, HEIGHT), (0, 0, 0, 0))
    sheet.paste(parts[0], (0, 0))
    sheet.paste(parts[1], (parts[0].width + GAP, 0))
    return sheet


@click.command()
@click.argument("address", required=False)
@click.option("--out", default="docs/pictures", show_default=True, help="folder of the pictures")
@click.option("--panel", "panels", multiple=True, type=click.Choice(list(PANELS)), help="only these panels")
@click.option("--tasks", help="also draw the pictures of the recipes into this file")
def main(address, out, panels, tasks):
    """Photograph every panel of the studio at ADDRESS."""
    if tasks:
        draw_tasks().save(tasks, quality=80, method=6)
    if not address:
        return
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable)
        for name in panels or PANELS:
            for scheme, other in (("light", "dark"), ("dark", "light")):
                desktop = _photograph(browser, address, PANELS[name], DESKTOP, scheme)
                phone = _photograph(browser, address, PANELS[name], PHONE, other)
                file = Path(out, f"studio-{name}-{scheme}.webp")
                _lay_beside(desktop, phone).save(file, quality=70, method=6, alpha_quality=60)
                click.echo(f"{file} {file.stat().st_size / 1e3:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
