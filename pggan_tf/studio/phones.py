"""Show exported pages to phones in the same network, as `pggan serve --lan` does.

What is shown is in the file `phones.json`, so that the next studio goes on with it.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
from pathlib import Path

from pggan_tf.errors import UserError
from pggan_tf.studio.refusal import Refusal
from pggan_tf.studio.runs import Runs
from pggan_tf.studio.store import Store, read_json, write_private


class Phones:
    """The pages that are shown to phones, each by a server of its own.

    Args:
        store: the store.
        runs: its runs.
    """

    def __init__(self, store: Store, runs: Runs):
        self.store, self.runs = store, runs
        self._file = store.folder / "phones.json"
        self._lock = threading.Lock()
        self._served: dict[str, tuple] = {}  # run -> server, address

    def resume(self) -> None:
        """Show again what the studio has shown before it was closed or killed."""
        for name, about in read_json(self._file, {}).items():
            with contextlib.suppress(Refusal, UserError, OSError, TypeError, AttributeError):
                self.show(name, about.get("key"), about.get("port", 0))

    def find(self, name: str) -> dict:
        """Return {address, qr} of the page of a run; None for both if it is not shown."""
        import segno

        with self._lock:
            _, address = self._served.get(name, (None, None))
        if address is None:
            return {"address": None, "qr": None}
        out = io.BytesIO()
        segno.make(address, error="m").save(out, kind="svg", scale=4, border=4, xmldecl=False, svgns=True)
        return {"address": address, "qr": out.getvalue().decode()}

    def show(self, name: str, key: str | None = None, port: int = 0) -> dict:
        """Show the exported page of a run in the local network.

        Args:
            name: the run.
            key: key of its address; None: a new one.
            port: port to listen on, if it is free; 0: any.

        Returns:
            The same as `find`.

        Raises:
            Refusal: if there is no page yet.
        """
        from export import hosts, lan, serve

        site = self._find_site(name)
        with self._lock:
            if name not in self._served:
                host, key = lan.find_address(), key or lan.make_key()
                try:
                    server = serve.make_site_server(site, host, port, key)
                except OSError:
                    if not port:
                        raise
                    server = serve.make_site_server(site, host, 0, key)
                address = f"{hosts.format_address(host, server.server_port)}?key={key}"
                try:
                    self._write({**self._read(), name: {"key": key, "port": server.server_port}})
                except OSError:  # such as a full disk: then nothing is shown
                    server.server_close()
                    raise
                threading.Thread(target=server.serve_forever, daemon=True).start()
                self._served[name] = server, address
        return self.find(name)

    def stop(self, name: str) -> dict:
        """Show the page of a run to no phone any more, and return what `find` does."""
        with self._lock:
            server, _ = self._served.pop(name, (None, None))
            if server:
                server.shutdown()
                server.server_close()
            about = self._read()
            if about.pop(name, None):
                self._write(about)
        return self.find(name)

    def close(self) -> None:
        """End all servers; the next studio begins them again."""
        with self._lock:
            for server, _ in self._served.values():
                server.shutdown()
                server.server_close()
            self._served.clear()

    def _find_site(self, name: str) -> Path:
        site = self.runs.place_within(name, self.runs.find(name), "export", "web")
        if not (site / "site.json").is_file():
            raise Refusal(409, f"{name}: has no page yet. Export it to web first.")
        return site

    def _read(self) -> dict:
        return read_json(self._file, {})

    def _write(self, about: dict) -> None:
        write_private(self._file, json.dumps(about))  # it has keys
