"""Jobs: work in a helper that takes longer than an answer may. Their progress goes to all pages."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pggan_tf.studio.events import Hub
from pggan_tf.studio.helpers import Helper
from pggan_tf.studio.refusal import Refusal, as_refusal, show
from pggan_tf.studio.store import make_id

MOST_JOBS = 8  # that are not done
_KEPT = 50  # jobs that are remembered
log = logging.getLogger("pggan_tf.studio")


class Jobs:
    """The jobs of a server, one of which is at work at a time.

    Args:
        hub: tells pages about them.
        helper: does them.
    """

    def __init__(self, hub: Hub, helper: Helper):
        self.hub, self.helper = hub, helper
        self._jobs: dict[str, dict] = {}
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def list_all(self) -> list[dict]:
        """Return all jobs, the newest first."""
        with self._lock:
            return [dict(job) for job in reversed(self._jobs.values())]

    def get(self, id: str) -> dict:
        """Return a job. Raise Refusal if there is none with this id."""
        with self._lock:
            if id not in self._jobs:
                raise Refusal(404, f"job {show(id)}: not known. It may be of an earlier server.")
            return dict(self._jobs[id])

    def check_idle(self, run: str) -> None:
        """Raise Refusal if a job of a run is at work, or waits."""
        for job in self.list_all():
            if job.get("run") == run and job["state"] == "running":
                raise Refusal(409, f"{run}: something is still made of it ({job['title']}). Wait for it, or cancel it.")

    def start(
        self,
        kind: str,
        title: str,
        verb: str,
        args: dict,
        finish: Callable = lambda result: result,
        clean: Callable[[], None] = lambda: None,
        **about: str,
    ) -> dict:
        """Begin a job and return it.

        Args:
            kind: what kind of work it is.
            title: what the page calls it.
            verb: verb of the helper.
            args: its arguments.
            finish: makes the job's result of the helper's.
            clean: called afterwards, however the job ends.
            **about: what pages know the job by, such as its run.
        """
        id = make_id()
        job: dict = {"id": id, "kind": kind, "title": title, "state": "running", "done": 0, "total": 0}
        job |= {"text": "waits", "result": None, "error": None, **about}
        with self._lock:
            running = [j for j in self._jobs.values() if j["state"] == "running"]
            if len(running) >= MOST_JOBS:
                raise Refusal(429, f"{len(running)} jobs are at work. Wait for one of them, or cancel it.")
            ended = [other for other, j in self._jobs.items() if j["state"] != "running"]
            for other in ended[: max(0, len(self._jobs) - _KEPT)]:
                del self._jobs[other]
            self._jobs[id] = job
        threading.Thread(target=self._work, args=(id, verb, args, finish, clean), daemon=True).start()
        return dict(job)

    def _change(self, id: str, **values) -> None:
        with self._lock:
            job = self._jobs.get(id)
            if job is None or job["state"] == "cancelled":
                return
            job |= values
            told = dict(job)
        self.hub.send("job", told)

    def _work(self, id: str, verb: str, args: dict, finish: Callable, clean: Callable[[], None]) -> None:
        try:
            with self._turn:
                self._do(id, verb, args, finish)
        finally:
            clean()

    def _do(self, id: str, verb: str, args: dict, finish: Callable) -> None:
        if self.get(id)["state"] != "running":
            return
        self._change(id, text="begins")

        def show(done: int, total: int, text: str = "") -> None:
            self._change(id, done=done, total=total, text=text)

        try:
            result = self.helper.call(verb, args, show)
            self._change(id, state="done", result=finish(result), text="")
        except Exception as error:
            refusal = as_refusal(error)
            if refusal is None:
                log.exception("job %s", verb)
            self._change(
                id, state="failed", error=str(refusal or f"this did not work ({type(error).__name__})."), text=""
            )

    def cancel(self, id: str) -> None:
        """Cancel a job; one that is done stays."""
        job = self.get(id)
        if job["state"] != "running":
            return
        self._change(id, state="cancelled", text="")
        if job["text"] != "waits":
            self.helper.stop()
