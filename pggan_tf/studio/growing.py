"""Addresses of the panel Grow: plan a wish, queue it, and go on with a run."""

# There is no `from __future__ import annotations` here: FastAPI evaluates annotations.

import json
import threading

import fastapi
from fastapi import Request

from pggan_tf.data.shards import is_shards
from pggan_tf.errors import UserError
from pggan_tf.runs import folder as folders
from pggan_tf.studio import wishes
from pggan_tf.studio.answers import Answer, read_json
from pggan_tf.studio.commands import join
from pggan_tf.studio.refusal import Refusal, check_names, take_choice, take_number, take_switch, take_text, take_whole
from pggan_tf.studio.routes import ask, call
from pggan_tf.studio.store import read_json as read_file
from pggan_tf.studio.store import write_json
from pggan_tf.studio.studio import Studio

CROPS = ("centre", "fit", "pad", "tiles")
# Images at the last resolution, for each pixel of a side, from which on something is to be seen: more
# than blurs, and drawn faces that can be recognised (see training.planning and api.sizing).
_BLURS, _FACES = 62, 94
_SIMILAR = 3.0  # factor of the minutes within which another run is an example
_MEASURED = (
    "Measured on one core without a GPU: photos of faces at 32 px come to a Fréchet distance of 253 after 5 minutes and of "
    "192 after 20, where other photos come to 59."
)


class Grower:
    """Plans wishes, and puts them into the queue.

    Args:
        studio: the studio.
    """

    def __init__(self, studio: Studio):
        self.studio = studio
        self.granter = wishes.Granter(studio.store, studio.photos, studio.runs)
        self._parameters: dict[str, dict | None] = {}
        self._lock = threading.Lock()

    def _ask_plan(self, wish: wishes.Wish) -> dict:
        """Return the plan of a wish by the helper."""
        if isinstance(wish.data, str) and wish.data != wishes.PORTRAITS:
            data = {"data": self.studio.folders.get(wish.data)["path"]}  # what was changed by hand changes no plan
        else:
            data = self.granter.find_data(wish, make=False)[0]
        file = self.studio.store.folder / "speed.json"
        known, name = read_file(file, {}), folders.processor()
        speed = known.get("speed") if known.get("processor") == name else None  # the best so far
        options = wishes.as_json(wish.options) | {n: list(v) if isinstance(v, tuple) else v for n, v in data.items()}
        found = self.studio.helper.call("plan", {"options": options, "speed": speed})
        if found["speed"] and found["speed"] > (speed or 0):
            write_json(file, {"processor": name, "speed": found["speed"]})
        return found

    def plan(self, body: dict) -> dict:
        """Return what the page shows before a wish is granted."""
        wish = wishes.parse(body, self.studio.runs)
        found = self._ask_plan(wish)
        data, photos = self.granter.find_data(wish, make=False)
        commands = self.granter.make_commands(wish, found["resolution"], make=False)
        shown = {
            name: found[name] for name in ("text", "resolution", "size", "images", "phases", "warnings", "estimated")
        }
        return shown | {
            "command": join(commands),
            "unwritten": self.granter.is_unwritten(data),
            "photos": photos,
            "parameters": self._find_parameters(found),
            "preview": self._preview(wish, found),
        }

    def _find_parameters(self, found: dict) -> dict | None:
        """Return the numbers of parameters, or None and have them counted."""
        left_out = ("minutes", "data", "seed", "init_from")
        options = {n: v for n, v in found["options"].items() if n not in left_out}
        key = json.dumps(options, sort_keys=True)
        with self._lock:
            if key in self._parameters:
                return self._parameters[key]
            if len(self._parameters) > 200:
                self._parameters.clear()
            self._parameters[key] = None

        def count():
            try:
                counted = self.studio.helper.call("count", {"options": options})
            except (Refusal, UserError):
                counted = None
            with self._lock:
                if counted is None:
                    self._parameters.pop(key, None)
                else:
                    self._parameters[key] = counted
            if counted:
                self.studio.hub.send("plan", {})

        threading.Thread(target=count, daemon=True).start()
        return None

    def _preview(self, wish: wishes.Wish, found: dict) -> dict:
        """Return what such a training has given before: {picture, sentence}."""
        minutes = wish.options.get("minutes")
        alike = [
            run
            for run in self.studio.runs.list_all()
            if run["picture"] and run["size"] == found["size"] and run["task"] == found["task"] and run["minutes"] > 0
        ]
        if minutes:
            alike = [r for r in alike if minutes / _SIMILAR <= r["minutes"] <= minutes * _SIMILAR]
            alike.sort(key=lambda r: abs(r["minutes"] - minutes))
        if alike:
            run = alike[0]
            text = f"{run['title']} saw {run['images']:,} images in {run['minutes']:.3g} minutes of training to {run['size']} px. This is what it drew."
            return {"picture": run["picture"], "sentence": text}
        if not found["estimated"]:
            return {
                "picture": None,
                "sentence": f"The plan is for {found['images']:,} images. No run here was like it.",
            }
        last = sum(p["images"] for p in found["phases"] if p["resolution"] == found["resolution"])
        size = found["resolution"]
        seen = f"About {last:,} images at {found['size']} px"
        if last < _BLURS * size:
            text = f"{seen}: too few for more than blurs. Give more minutes, or a smaller size."
        elif last < _FACES * size:
            text = f"{seen}: more than blurs, but not every face can be recognised."
        else:
            text = f"{seen}: enough for drawn faces that can all be recognised."
        return {"picture": None, "sentence": f"{text} {_MEASURED}"}

    def queue(self, body: dict) -> dict:
        """Put a wish into the queue. Its options are checked first."""
        wish = wishes.parse(body, self.studio.runs)
        found = self._ask_plan(wish)
        commands = self.granter.make_commands(wish, found["resolution"], make=True)
        data, _ = self.granter.find_data(wish, make=False)
        name = folders.make_name(found["recipe"], data.get("data"), found["size"])
        return self.studio.queue.add("train", wish.name or name, commands, join(commands), body, named=bool(wish.name))

    def go_on(self, name: str, minutes: float | None) -> dict:
        """Put a run into the queue: to its end, or, if it has ended, for some more minutes."""
        folder = self.studio.runs.find(name)
        short = self.studio.runs.summarize(name, folder, self.studio.runs.look_around())
        if short["pretrained"]:
            raise Refusal(409, f"{name}: comes with pggan-tf. To begin with its weights, give init_from {name}.")
        if short["state"] in ("running", "waiting"):
            raise Refusal(409, f"{short['title']}: is {short['state']} already.")
        if short["state"] != "done":
            if minutes is not None:
                raise Refusal(409, f"{short['title']}: goes on exactly as it was planned. Leave the minutes out.")
            commands = [["train", "--resume", str(folder)]]
            return self.studio.queue.add("go-on", short["title"], commands, join(commands), run=name)
        if minutes is None:
            raise Refusal(409, f"{short['title']}: has ended. Give minutes to train a new run from its weights.")
        asked = {"config": str(folder / folders.CONFIG), "init_from": str(folder)}
        words = ["--config", asked["config"], "--init-from", asked["init_from"], "--minutes", f"{minutes:g}"]
        commands = [["train", *words, "--runs", str(self.studio.store.runs)]]
        return self.studio.queue.add("train", f"{short['title']}, longer", commands, join(commands))

    def look(self, id: str, body: dict) -> dict:
        """Begin to look at the photos of a folder, and return the job."""
        check_names(body, ("size", "shape", "crop", "faces", "margin", "least"))
        folder = self.studio.folders.get(id)
        if is_shards(folder["path"]):
            raise Refusal(400, f"{folder['name']}: holds shards, not photos. They are trained on as they are.")
        parameters = {
            "size": take_whole(body, "size", 4, 1024, 64),
            "shape": take_text(body, "shape", None, longest=20),
            "crop": take_choice(body, "crop", CROPS, "centre"),
            "faces": take_switch(body, "faces"),
            "margin": take_number(body, "margin", 0, 5, wishes.MARGIN),
            "least": take_number(body, "least", 1, 1e4, None),
        }
        about = str(self.studio.store.about_folder(id))
        args = {"place": folder["path"], "about": about, "parameters": parameters}

        def finish(result):
            self.studio.hub.send("folders", {"id": id})
            return result

        return self.studio.jobs.start("look", folder["name"], "look", args, finish)


def add_growing(app: fastapi.FastAPI, studio: Studio) -> None:
    """Add the addresses of the panel Grow, and looking at photos."""
    grower = Grower(studio)

    @app.post("/api/folders/{id}/look")
    async def look(id: str, request: Request):
        return Answer(await call(grower.look, id, await read_json(request)))

    @app.post("/api/plan")
    async def plan(request: Request):
        return Answer(await ask(grower.plan, await read_json(request)))

    @app.post("/api/queue")
    async def queue(request: Request):
        return Answer(await ask(grower.queue, await read_json(request)))

    @app.post("/api/runs/{name}/go-on")
    async def go_on(name: str, request: Request):
        body = await read_json(request)
        check_names(body, ("minutes",))
        return Answer(await call(grower.go_on, name, take_number(body, "minutes", 0.05, 1e5, None)))
