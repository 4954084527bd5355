"""A model hub on loopback: what huggingface_hub asks of one to create a repository, commit to it, list it and download from it."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LICENCES = ("other", "mit", "cc-by-4.0", "cc0-1.0", "apache-2.0")
LARGE = (".keras", ".h5", ".tflite", ".png")


@dataclass
class Repository:
    private: bool = False
    revisions: dict[str, dict[str, bytes]] = field(default_factory=dict)  # sha -> its files
    names: dict[str, str] = field(default_factory=dict)  # branch or tag -> sha
    messages: list[str] = field(default_factory=list)
    claims: dict[str, int] = field(default_factory=dict)  # file -> a size that it has not

    def commit(self, files: dict[str, bytes], message="") -> str:
        content = repr((sorted(files.items()), len(self.revisions))).encode()
        sha = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        self.revisions[sha], self.names["main"] = files, sha
        self.messages.append(message)
        return sha

    @property
    def files(self) -> dict[str, bytes]:
        return self.revisions[self.names["main"]] if self.names else {}


class Hub:
    """The state of the hub. `tokens`: of users who may write under their own name."""

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.tokens = {"hf_jane": "jane", "hf_guest": "guest"}
        self.uploaded: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.failure: int | None = None  # status of every answer
        self.refused: dict[str, int] = {}  # first part of a path -> status of its answers
        self.address = ""

    def put(self, name: str, files: dict[str, bytes], **about) -> Repository:
        repository = self.repositories[name] = Repository(**about)
        repository.commit(files)
        return repository


class Refusal(Exception):
    def __init__(self, status, code="", message=""):
        super().__init__(message)
        self.status, self.headers = status, {"X-Error-Code": code, "X-Error-Message": message}


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status=200, body=b"", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        sent = {
            "Content-Length": str(len(data)),
            "Connection": "close",
            **{k.replace("_", "-"): v for k, v in headers.items() if v},
        }
        self.close_connection = True  # so that a hub that has ended is silent
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_request(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if status := self.hub.failure or self.hub.refused.get(path.split("/")[1]):
                raise Refusal(status)
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if token and token not in self.hub.tokens:
                raise Refusal(401, message="Invalid credentials in Authorization header")
            self.user = self.hub.tokens.get(token)
            for pattern, method in ROUTES:
                if found := re.fullmatch(pattern, path):
                    return method(self, *found.groups())
            raise Refusal(404)
        except Refusal as refusal:
            self.answer(refusal.status, {}, **refusal.headers)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def find(self, name, revision="main") -> tuple[Repository, str]:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self.user != name.partition("/")[0]):
            raise Refusal(404 if self.user else 401, "RepoNotFound")
        sha = repository.names.get(revision, revision)
        if sha not in repository.revisions and repository.names:
            raise Refusal(404, "RevisionNotFound")
        return repository, sha

    def need_owner(self, owner):
        if self.user is None:
            raise Refusal(401)
        if self.user != owner:
            raise Refusal(403, message=f"You don't have the rights to create a model under the namespace {owner!r}")

    def whoami(self):
        if not self.user:
            raise Refusal(401)
        self.answer(200, {"type": "user", "name": self.user, "orgs": []})

    def create(self):
        asked = json.loads(self.body)
        owner = asked["organization"] or self.user
        self.need_owner(owner)
        name = f"{owner}/{asked['name']}"
        known = name in self.hub.repositories
        self.hub.repositories.setdefault(name, Repository(private=asked.get("visibility") == "private"))
        self.answer(409 if known else 200, {"url": f"{self.hub.address}/{name}"})

    def model(self, name, revision=None):
        repository, sha = self.find(name, revision or "main")
        files = repository.revisions.get(sha, {})
        about = {"id": name, "sha": sha, "private": repository.private, "tags": []}
        self.answer(200, {**about, "siblings": [{"rfilename": path} for path in files]})

    def tree(self, name, revision):
        repository, sha = self.find(name, revision)
        entries = []
        for path, data in repository.revisions.get(sha, {}).items():
            size = repository.claims.get(path, len(data))
            entry = {
                "type": "file",
                "path": path,
                "size": size,
                "oid": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
            }
            if path.endswith(LARGE):
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 134}
            entries.append(entry)
        self.answer(200, entries)

    def validate(self):
        licence = re.search(r"^license: (.*)$", json.loads(self.body)["content"], re.MULTILINE)
        if licence is None or licence[1] not in LICENCES:
            return self.answer(400, {"errors": [{"message": '"license" must be one of [mit, ...]'}]})
        return self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, name, revision):
        self.need_owner(name.partition("/")[0])
        files = [f["path"] for f in json.loads(self.body)["files"]]
        modes = ["lfs" if path.endswith(LARGE) else "regular" for path in files]
        self.answer(200, {"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in zip(files, modes)]})

    def batch(self, name):
        wanted = json.loads(self.body)["objects"]
        actions = [{"upload": {"href": f"{self.hub.address}/upload/{o['oid']}"}} for o in wanted]
        self.answer(200, {"transfer": "basic", "objects": [{**o, "actions": a} for o, a in zip(wanted, actions)]})

    def upload(self, oid):
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.uploaded[oid] = self.body
        self.answer()

    def commit(self, name, revision):
        self.need_owner(name.partition("/")[0])
        repository, _ = self.find(name)
        files, message = dict(repository.files), ""
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploaded[value["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        sha = repository.commit(files, message)
        self.answer(200, {"commitUrl": f"{self.hub.address}/{name}/commit/{sha}", "commitOid": sha})

    def resolve(self, name, revision, path):
        repository, sha = self.find(name, revision)
        if path not in repository.revisions[sha]:
            raise Refusal(404, "EntryNotFound")
        data = repository.revisions[sha][path]
        size = str(repository.claims.get(path, len(data)))
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        self.answer(200, data, X_Repo_Commit=sha, ETag=tag, Content_Length=size)


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = (
    ("/api/whoami-v2", Handler.whoami),
    ("/api/repos/create", Handler.create),
    ("/api/validate-yaml", Handler.validate),
    (f"/api/models/{NAME}", Handler.model),
    (f"/api/models/{NAME}/revision/(.+)", Handler.model),
    (f"/api/models/{NAME}/tree/([^/]+)", Handler.tree),
    (f"/api/models/{NAME}/preupload/(.+)", Handler.preupload),
    (f"/api/models/{NAME}/commit/(.+)", Handler.commit),
    (r"/([\w.-]+/[\w.-]+?)\.git/info/lfs/objects/batch", Handler.batch),
    ("/upload/([0-9a-f]+)", Handler.upload),
    (f"/{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
)


@contextlib.contextmanager
def serve():
    """A running hub, whose address is `hub.address`."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
