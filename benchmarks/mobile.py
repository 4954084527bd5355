"""Measure the size and the time of exported generators.

They differ in resolution, quantisation, kind of convolution and number of threads.

python -m benchmarks.mobile            # 64, 128, 256 px, run by LiteRT on this CPU
python -m benchmarks.mobile --browser  # and in a headless Chromium, as the web app runs them
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.mobile:main"))

import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import click

from benchmarks import measure, page

THREADS = (1, 2)
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_FIRST = 2  # number of first calls that are not counted
# Draws `rounds` faces with every stage, using the page's own modules. Returns milliseconds by stage.
IN_PAGE = """async ([threads, rounds]) => {
  const { Model } = await import("./runtime.js");
  const { latents } = await import("./latents.js");
  Object.defineProperty(navigator, "hardwareConcurrency", { value: threads });
  const site = await (await fetch("site.json")).json();
  site.threads = threads > 1; // the page takes them for slow networks alone
  const model = await Model.open(site, site.models[0], () => {});
  const where = threads > 1 ? `WebAssembly, ${threads} threads` : "WebAssembly";
  if (model.where !== where) throw new Error(`the page runs it on ${model.where}, not on ${where}`);
  const out = {};
  for (const name of Object.keys(model.entry.signatures)) {
    const taken = [];
    for (let seed = 0; seed < rounds; seed++) {
      const values = { latents: latents(seed, model.entry.latent_size), truncation: new Float32Array([1]) };
      taken.push((await model.run(name, values)).ms);
    }
    out[name] = taken;
  }
  return out;
}"""


def generator(conv: str, resolution: int):
    """Return a generator with the widths of the default recipe, up to `resolution`.

    What it draws does not matter here, so its weights are random. The images have the contrast of
    photos, so that quantisation meets realistic ranges.
    """
    import keras

    from pggan_tf import networks, synthesis
    from pggan_tf.config import resolve

    keras.utils.set_random_seed(0)
    plan = resolve({"target_res": resolution, "conv": conv})
    network = networks.make_generator(plan.config.networks.network, plan.network_options(()))
    network.build()
    network = synthesis.finish(network, synthesis.calibration_latents(network.latent_size, 64))
    for r in network.resolutions:
        layer = getattr(network, f"to_image_{r}")
        layer.set_kernel(0.25 * layer.compute_kernel(), layer.bias)
    return network


def on_this_cpu(model: bytes, offered, threads: int, rounds: int) -> dict[str, float]:
    """Return {name of a signature: median milliseconds per image} of LiteRT on this CPU."""
    from export import litert

    run = litert.Runner(model, threads)
    taken: dict[str, list[float]] = {s.name: [] for s in offered}
    for s in offered:
        for seed in range(rounds):
            values = s.example(seed, None)
            begun = time.perf_counter()
            run(s.name, values)
            taken[s.name].append(1000 * (time.perf_counter() - begun))
    return medians(taken)


def medians(taken: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(ms[_FIRST:]) for name, ms in taken.items()}


def in_the_browser(network, how: str, rounds: int) -> dict[int, dict[str, float]]:
    """Measure the web app in a headless Chromium.

    Returns:
        {number of threads: {name of a signature: median milliseconds per image}}.
    """
    from playwright.sync_api import sync_playwright

    from export import serve, source, web

    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        raise click.ClickException(f"--browser: none of {', '.join(CHROMIUM)} is installed.")
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        web.build([source.Source("benchmark", network, Path(folder), "0")], Path(folder), how, None, lambda _: ())
        with serve.make_site_server(Path(folder), "127.0.0.1", 0) as server, sync_playwright() as playwright:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            chromium = playwright.chromium.launch(executable_path=executable)
            for threads in THREADS:
                page = chromium.new_context().new_page()
                page.goto(f"http://127.0.0.1:{server.server_port}/style.css")
                out[threads] = medians(page.evaluate(IN_PAGE, [threads, rounds]))
            chromium.close()
            server.shutdown()
    return out


@click.command()
@click.option("--resolutions", default="64,128,256", show_default=True, type=page.Numbers(4))
@click.option("--browser", is_flag=True, help="also measure in a headless Chromium")
@click.option(
    "--rounds",
    default=22,
    show_default=True,
    type=click.IntRange(_FIRST + 1),
    help=f"number of faces drawn for each result; the first {_FIRST} are not counted",
)
@page.out_option
def main(resolutions: list[int], browser: bool, rounds: int, out: Path | None) -> None:
    from export import build
    from pggan_tf import terminal

    measure.announce(2 * len(build.QUANTIZE) * (20 + 30 * browser))
    terminal.start_tensorflow()
    from export import litert, signatures

    question = (
        "How large are exported generators of the default widths, and how long do they take for an image? Medians."
    )
    written = page.Page(out, "Exported generators", question)
    sizes, rows = resolutions, []
    for conv in ("standard", "separable"):
        network = generator(conv, max(sizes))
        offered = [s for s in signatures.network_signatures(network) if int(s.name[4:]) in sizes]
        plain = litert.convert(network, signatures.network_signatures(network))
        for how in litert.QUANTIZATIONS:
            model = litert.quantize(plain, signatures.network_signatures(network), how)
            taken = [on_this_cpu(model, offered, threads, rounds) for threads in THREADS]
            taken += in_the_browser(network, how, rounds).values() if browser else ()
            head = (conv, f"{network.count_params():,}", how, f"{len(model) / 1e6:.2f}")
            rows += [(*head, r, *(f"{ms[f'gen_{r}']:.1f}" for ms in taken)) for r in sizes]
    where = ["LiteRT", *(["browser"] if browser else [])]
    columns = [f"ms {name}, {threads} thread{'s' * (threads > 1)}" for name in where for threads in THREADS]
    written.table(("convolutions", "parameters", "quantize", "MB", "px", *columns), rows)
    written.notes("Random weights with the contrast of photos: what is drawn does not matter for time and size.")
