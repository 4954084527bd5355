"""Model cards, as hubs read them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt

from export import card, signatures
from export import source as sources
from pggan_tf.config import load, resolve
from pggan_tf.errors import UserError
from pggan_tf.runs import folder as run

NAMES = ["<script>alert(1)</script>", "[x](http://y.example)", "a|b", "line\n\n---\n# head", "`code`", "![i](u)", "&lt;", "**bold**", "~x~", "<!--"]  # fmt: skip


def test_names_mean_nothing_but_their_characters_in_a_card(tmp_path):
    """Names of classes and folders come from outside. The card is read by a Markdown parser, as a hub does."""
    network = SimpleNamespace(
        task="generate",
        resolutions=(4,),
        aspect=(1, 1),
        shape_at=lambda resolution: (resolution, resolution),
        classes=tuple(NAMES),
        latent_size=8,
        channels=3,
        count_params=lambda: 3,
    )
    dataset = {"source": "/home/jane/[a](b)|<c>", "images": 12, "checksum": "0" * 64, "classes": NAMES}
    about = signatures.network_signatures(network)[0].inputs["label"].about + " ```\n<b>"
    interface = {"gen_4": {"inputs": {"label": {"shape": (1,), "type": "int32", "about": about}}, "image": "4x4 image"}}
    file = {"file": "generator.tflite", "bytes": 1, "quantize": "none", "interface": interface, "signatures": []}
    source = sources.Source("<b>run</b>\n---", network, tmp_path / "generator.keras", "0", None, {"dataset": dataset})
    text = card.make_card(source, 'cc "x"\n---\nevil: 1', [file], samples=False)
    assert "jane" not in text
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["license"] == 'cc "x"\n---\nevil: 1' and "evil" not in yaml.safe_load(head)
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    inline = [t for token in tokens for t in token.children or []]
    kinds = {t.type for t in tokens} | {t.type for t in inline}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "hr", "strong_open"}
    assert [t.content for t in tokens if t.type == "inline"][0] == r"&lt;b&gt;run&lt;/b&gt; ---"
    shown = "".join(t.content for t in inline if t.type.startswith("text"))
    for name in NAMES:
        assert " ".join(name.split()) in shown, name
    assert "[a](b)|<c>" in shown
    assert (
        sum(t.type == "fence" for t in tokens) == 4  # Python, Kotlin, Swift, C++
        and [t.tag for t in tokens if t.type == "heading_open"].count("h1") == 1
    )


@pytest.mark.parametrize("licence, shown", [("mit", "mit"), ("cc-by-4.0", "cc-by-4.0"), ("no", "no"), ("1.0", "1.0"), ("a: b", "a: b"), (None, "other")])  # fmt: skip
def test_the_licence_is_a_text_to_yaml(licence, shown, tmp_path):
    network = SimpleNamespace(
        task="generate",
        resolutions=(4,),
        aspect=(1, 1),
        shape_at=lambda r: (r, r),
        classes=(),
        latent_size=8,
        channels=3,
        count_params=lambda: 3,
    )
    text = card.make_card(sources.Source("a", network, tmp_path / "generator.keras", "0"), licence, [], samples=False)
    assert yaml.safe_load(text.split("---\n")[1])["license"] == shown


STATS = """{"images": 8, "seconds": 1, "loss_d": 1.0}
[1]
{"images": 64, "seconds": 2, "metrics": {"swd": 5.0}}
{"images": 72, "seconds": 3, "loss_d": null}
{"images": 80, "sec"""


@pytest.mark.parametrize("environment", ["{}", '{"dataset": null, "packages": {"keras": "3.1"}, "cpu": "a CPU"}'])
def test_a_card_is_written_whatever_a_run_s_files_hold(tmp_path, environment):
    """environment.json of other versions or people; of stats.jsonl the last line is half written."""
    network = SimpleNamespace(
        task="generate",
        resolutions=(4,),
        aspect=(1, 1),
        shape_at=lambda r: (r, r),
        classes=(),
        latent_size=8,
        channels=3,
        count_params=lambda: 3,
    )
    run.write_json(tmp_path / "config.json", resolve({}).to_json())
    (tmp_path / "environment.json").write_text(environment)
    (tmp_path / "stats.jsonl").write_text(STATS)
    held = run.read(tmp_path)[1]
    source = sources.Source("a", network, tmp_path / "generator.keras", "0", load(tmp_path / "config.json"), held)
    text = card.make_card(source, None, [], samples=False)
    assert "Unknown many images: of unknown origin; checksum `unknown`." in text
    assert "unknown precision on " + ("a CPU" if "CPU" in environment else "an unknown device") in text
    assert ("Keras 3.1," if "3.1" in environment else "Keras unknown,") in text
    assert "| swd | 5 | 64 |" in text and " 72 images seen," in text and source.describe_data() == "unknown many images"
    run.truncate_stats(tmp_path, 64)
    kept = (tmp_path / "stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["images"] for line in kept] == [8, 64]
    with pytest.raises(UserError, match="environment.json: does not say on which data"):
        run.check_data(tmp_path, None, held)


def test_an_environment_that_is_no_object_is_told(tmp_path):
    run.write_json(tmp_path / "config.json", {})
    (tmp_path / "environment.json").write_text("[]")
    with pytest.raises(UserError, match="environment.json: expected a JSON object"):
        run.read(tmp_path)


def test_code_in_cards_of_earlier_versions_runs(tmp_path):
    from pggan_tf import pixels, synthesis

    z = synthesis.latents(range(4), 8)
    pixels.grid(tmp_path / "grid.png", np.zeros((len(z), 4, 4, 3), np.uint8))
    assert (tmp_path / "grid.png").is_file()


def test_every_data_set_is_named(tmp_path):
    dataset = {"source": "/home/jane/cats, /home/jane/dogs", "images": 1200}
    source = sources.Source("run", None, tmp_path / "generator.keras", "0", None, {"dataset": dataset})
    assert source.describe_data() == "1,200 images of 'cats, dogs'"
