"""How the page starts: what it asks for, in which order, and what the first face does not wait for."""

import contextlib
import json

import pytest

from export import web
from pggan_tf.errors import UserError
from tests import image_networks
from tests.test_web import built, generator, read, serving, settled

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A small generator and an upscaler, whose file is what nothing shall wait for."""
    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))
    networks = {"generate": generator(), "upscale": image_networks.built("upscale")}
    return built(networks, tmp_path_factory.mktemp("site"))


@contextlib.contextmanager
def holding(browser, url, held, until):
    """Open the page and yield (page, names of files in the order of the requests); answers to some are held back.

    Args:
        browser: the browser.
        url: address of the site.
        held: name of the file whose answer is held back.
        until: function of the names so far: whether the answer may come.
    """
    context = browser.new_context(service_workers="block")  # requests by a worker could not be held
    page, asked, waiting = context.new_page(), [], []

    def answer(route):
        name = route.request.url.removeprefix(url).partition("#")[0]
        asked.append(name)
        if name == held:
            waiting.append(route)
        else:
            route.continue_()
        while waiting and until(asked):
            waiting.pop().continue_()

    page.route("**/*", answer)
    page.goto(url + "#seed=3", wait_until="commit")
    yield page, asked
    page.unroute_all(behavior="ignoreErrors")
    context.close()


def test_modules_and_the_list_of_networks_do_not_wait_for_each_other(browser, site):
    """app.js comes only when everything that its modules import was asked for."""
    modules = {p.relative_to(site).as_posix() for p in (*site.glob("*.js"), *site.glob("lib/*.js"))} - {"sw.js"}
    wanted = {*modules, "site.json", "style.css"}
    with serving(site) as url, holding(browser, url, "app.js", lambda asked: wanted <= {*asked}) as (page, asked):
        settled(page)
        assert len(modules) > 8 and [n for n in wanted if asked.count(n) != 1] == []


def test_the_runtime_s_loader_and_the_network_come_beside_the_runtime(browser, site):
    def until(asked):
        return {"models/generate.tflite", runtime.replace(".wasm", ".js")} <= {*asked}

    runtime = f"lib/wasm/{web.RUNTIMES[2 if needs_threads(site) else 1]}.wasm"
    with serving(site) as url, holding(browser, url, runtime, until) as (page, asked):
        settled(page)
        assert runtime in asked


def test_a_face_is_there_before_larger_networks_are(browser, site):
    with serving(site) as url, holding(browser, url, "models/upscale.tflite", lambda asked: False) as (page, asked):
        settled(page)
        assert read(page, ".faces canvas").std() > 5
        assert "models/upscale.tflite" not in asked


def needs_threads(site) -> bool:
    return json.loads((site / web.SITE).read_text())["threads"]


@pytest.mark.parametrize("slow", [0.0, 1e9])
def test_threads_are_started_for_slow_networks_alone(browser, site, tmp_path, monkeypatch, slow):
    monkeypatch.setattr(web, "_SLOW", slow)
    with serving(built({"generate": generator()}, tmp_path)) as url:
        assert needs_threads(tmp_path) == (slow == 0)
        with holding(browser, url, None, lambda asked: True) as (page, asked):
            settled(page)
            loaded = [name for name in asked if name.endswith(".wasm")]
            assert loaded == [f"lib/wasm/{web.RUNTIMES[2 if slow == 0 else 1]}.wasm"]


def test_a_host_that_does_not_know_wasm_will_do(browser, site):
    """A browser compiles while it downloads only what is served as application/wasm."""
    with serving(site) as url:
        context = browser.new_context(service_workers="block")
        page = context.new_page()

        def plain(route):
            answer = route.fetch()
            route.fulfill(response=answer, headers={**answer.headers, "content-type": "application/octet-stream"})

        page.route("**/*.wasm", plain)
        page.goto(url + "#seed=3")
        settled(page)
        assert read(page, ".faces canvas").std() > 5
        context.close()
