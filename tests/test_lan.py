"""A site for the phones of a local network: its address, its key and its code."""

import contextlib
import http.client
import re
import socket
import threading
import time

import numpy as np
import pytest

from export import lan, serve
from pggan_tf.errors import UserError
from tests.conftest import pggan, start


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site.json").write_text("{}")
    (tmp_path / "index.html").write_text("<h1>faces</h1>")
    elsewhere = tmp_path.with_name(f"{tmp_path.name}-elsewhere")
    elsewhere.mkdir()
    (elsewhere / "b").write_text("private")
    (tmp_path / "link").symlink_to(elsewhere / "b")
    (tmp_path / "folder").symlink_to(elsewhere)
    server = serve.make_site_server(tmp_path, "127.0.0.1", 0, key="secret")
    server.address = "http://127.0.0.1/?key=secret"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def ask(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read().decode()


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/site.json", "/?key=wrong", "/?key=", "/?other=secret", "/nothing"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nothing_without_the_key(site, path, method):
    status, _, text = ask(site, path, method)
    assert status == 403 and "faces" not in text and "{}" not in text
    for cookie in ("pggan-key=wrong", "pggan-key=", "other=secret", "pggan-key", "\x01", "pggan-key=sécret".encode()):
        assert ask(site, path, method, Cookie=cookie)[0] == 403


def test_with_the_key_a_browser_gets_everything(site):
    status, headers, _ = ask(site, "/?key=secret")
    assert (status, headers["Location"]) == (303, "/")
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert ask(site, "/", Cookie=cookie.partition(";")[0])[2] == "<h1>faces</h1>"
    assert ask(site, "/site.json", Cookie=f"a=b; {cookie.partition(';')[0]}")[2] == "{}"
    for path in ("/qr", "/qr?key=secret"):  # the address that was printed, once more
        assert ask(site, path, Cookie=cookie.partition(";")[0])[0] == 200
    for path in ("/missing", "/%00", "/index.html%00", "/link", "/folder/b"):  # nor what lies elsewhere
        assert ask(site, path, Cookie=cookie.partition(";")[0])[0] == 404
    assert ask(site, "//elsewhere.example/?key=secret")[1]["Location"] == "/elsewhere.example/", (
        "never to another machine"
    )


def _is_closed(connection) -> bool:
    connection.settimeout(0.2)
    try:
        return not connection.recv(1)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_silent_connections_keep_nobody_out(site, monkeypatch):
    """Those of one address get their share of all connections, and only until their request is due."""
    monkeypatch.setattr(serve, "_OF_ONE_ADDRESS", 5)
    monkeypatch.setattr(serve, "_CONNECTIONS", 8)
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(socket.create_connection(("127.0.0.1", site))) for _ in range(20)]
        deadline = time.monotonic() + 30
        while sum(map(_is_closed, many)) != 12:  # all but 8: addresses of this machine may use all
            assert time.monotonic() < deadline
        monkeypatch.setattr(serve.hosts, "is_loopback", lambda host: False)
        for connection in many:
            connection.close()
        many = []
        while len(many) < 5:
            assert time.monotonic() < deadline
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", site)))
            many += [] if _is_closed(connection) else [connection]
        assert _is_closed(stack.enter_context(socket.create_connection(("127.0.0.1", site))))
        other = http.client.HTTPConnection("127.0.0.1", site, timeout=20, source_address=("127.0.0.2", 0))
        other.request("GET", "/?key=secret")
        assert other.getresponse().status == 303


@pytest.mark.parametrize("sent", [b"GET / HT", b"GET / HTTP/1.0\r\nX: "])
def test_a_request_that_does_not_come_to_its_end(site, monkeypatch, sent):
    monkeypatch.setattr(serve, "_SECONDS", 1)
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", site)) as connection:
        connection.sendall(sent)
        while not _is_closed(connection):
            assert time.monotonic() < begun + 25  # the limit of silence alone would take 30
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"x")
    assert ask(site, "/?key=secret")[0] == 303


def test_an_answer_may_take_longer_than_a_request(site, monkeypatch):
    monkeypatch.setattr(serve, "_SECONDS", 0.5)
    took = threading.Event()
    monkeypatch.setattr(serve._Handler, "do_GET", lambda self: (took.wait(3), self.send_error(418)))
    assert ask(site, "/?key=secret")[0] == 418


def test_the_code_is_the_address():
    lines = []
    lan.print_code("http://192.168.1.20:8000/?key=abcdefghijklmnop", lines.append)
    assert len({len(line) for line in lines}) == 1 and set("".join(lines)) == set("█▀▄ ")
    rows = []
    for line in lines:
        rows += [[c in "█▀" for c in line], [c in "█▄" for c in line]]
    picture = np.uint8(rows).repeat(8, 0).repeat(8, 1) * 255
    cv2 = pytest.importorskip("cv2")
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(picture)
    assert read == "http://192.168.1.20:8000/?key=abcdefghijklmnop"


def test_the_code_is_a_page_too():
    cv2 = pytest.importorskip("cv2")
    address = "http://192.168.1.20:8000/?key=abcdefghijklmnop"
    text = lan.draw_page(address).decode()
    side = int(re.search(r'viewBox="0 0 (\d+) ', text)[1])
    (path,) = re.findall(r'class="qrline"[^>]* d="([^"]+)"', text)
    picture, x, y = np.full((side, side), 255, np.uint8), 0.0, 0.0
    for kind, numbers in re.findall(r"([Mmh])([-\d. ]+)", path):  # lines of segno: move, then draw to the right
        values = [float(n) for n in re.findall(r"-?[\d.]+", numbers)]
        if kind == "M":
            x, y = values
        elif kind == "m":
            x, y = x + values[0], y + values[1]
        else:
            picture[int(y), int(x) : int(x + values[0])] = 0
            x += values[0]
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(picture.repeat(8, 0).repeat(8, 1))
    assert read == address


def test_the_command(tmp_path, monkeypatch):
    (tmp_path / "site.json").write_text("{}")
    (tmp_path / "index.html").write_text("<h1>faces</h1>")
    process = start("-m", "pggan_tf", "serve", tmp_path, "--lan", "--host", "127.0.0.1", "--port", "0")
    try:
        for line in process.stdout:
            if found := re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?key=(\S{16})\n", line):
                break
        port, key = found.groups()
        assert ask(int(port), "/qr")[0] == 403 and ask(int(port), f"/qr?key={key}")[0] == 303
        status, _, body = ask(int(port), "/qr", Cookie=f"{lan.COOKIE}={key}")
        assert (status, body) == (200, lan.draw_page(f"http://127.0.0.1:{port}/?key={key}").decode())
        assert ask(int(port), "/")[0] == 403 and ask(int(port), f"/?key={key}")[0] == 303
    finally:
        process.terminate()
        process.communicate()
    code, _, err = pggan("serve", tmp_path / "run", "--lan")
    assert code == 2 and "not here" in err
    (tmp_path / "run").mkdir()
    code, _, err = pggan("serve", tmp_path / "run", "--lan")
    assert code == 2 and "--lan: is for sites" in err
    monkeypatch.setattr(lan.socket, "socket", _Lost)
    with pytest.raises(UserError, match="this machine is in no network"):
        lan.find_address()


class _Lost:
    """A socket of a machine without a network."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def connect(self, _):
        raise OSError("Network is unreachable")
