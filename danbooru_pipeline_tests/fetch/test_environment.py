"""Proxies and certificates that the environment names: used as curl uses them, or refused in one line."""

import base64
import contextlib
import http.server
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.fetch.connections import TurnsTransport
from danbooru_pipeline.fetch.environment import http_client, proxy_for, trusted_certificates
from danbooru_pipeline_tests.support.certificate import certified

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these variables is set."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Host(http.server.BaseHTTPRequestHandler):
    """A host that answers everything with the same three bytes."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, str | None]]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer, and take note of the request."""
        self.seen.append((self.command, self.path, self.headers["Proxy-Authorization"]))
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"abc")


class Relay(Host):
    """A proxy: answers what is asked of it in full addresses as the host would, and passes tunnels on."""

    def do_CONNECT(self) -> None:
        """Pass bytes on both ways, or refuse."""
        self.seen.append((self.command, self.path, self.headers["Proxy-Authorization"]))
        self.close_connection = True
        if "refused" in (self.headers["Proxy-Authorization"] or ""):
            return self.send_error(407)
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as there:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pairs = {there: self.connection, self.connection: there}
            while ready := select.select(list(pairs), [], [], 5)[0]:
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return None
                    pairs[one].sendall(data)
        return None


@contextlib.contextmanager
def running(handler: type[Any], context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[Any]]]:
    """A server of such requests; yields its port, and what it was asked."""
    seen: list[Any] = []
    kind = type("Seen", (handler,), {"seen": seen})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.server_address[1], seen
        finally:
            server.shutdown()


@contextlib.contextmanager
def transport() -> Iterator[TurnsTransport]:
    """A transport that looks at the environment."""
    made = TurnsTransport(trust_env=True, timeout=httpx.Timeout(5))
    try:
        yield made
    finally:
        made.close()


def body_of(sender: TurnsTransport, url: str) -> bytes:
    """The body of an answer."""
    response = sender.get(httpx.URL(url), {})
    try:
        return response.read()
    finally:
        response.close()


def test_plain_requests_go_to_the_proxy_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its login, and on one kept connection; a host that NO_PROXY names is asked itself."""
    with running(Relay) as (proxy, relayed), running(Host) as (port, asked), transport() as sender:
        monkeypatch.setenv("HTTP_PROXY", f"http://bob:a%20b@127.0.0.1:{proxy}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert [body_of(sender, f"http://pictures.example/{n}?a=b") for n in range(2)] == [b"abc"] * 2
        assert body_of(sender, f"http://127.0.0.1:{port}/x") == b"abc"
    login = "Basic " + base64.b64encode(b"bob:a b").decode()
    assert relayed == [("GET", f"http://pictures.example/{n}?a=b", login) for n in range(2)]
    assert asked == [("GET", "/x", None)]


@pytest.mark.needs("openssl")
def test_encrypted_requests_go_through_a_tunnel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy sees a name and nothing else; a kept tunnel serves the next request; its refusal is named."""
    context = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with running(Relay) as (proxy, relayed), running(Host, context) as (port, asked):
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy}")
        with transport() as sender:
            assert [body_of(sender, f"https://127.0.0.1:{port}/{n}") for n in range(2)] == [b"abc"] * 2
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")  # no proxy, and no HTTP either
        with transport() as sender, pytest.raises(httpx.TransportError):
            body_of(sender, f"https://127.0.0.1:{port}/")
    assert relayed == [("CONNECT", f"127.0.0.1:{port}", None)]
    assert [path for _, path, _ in asked] == ["/0", "/1"]


@pytest.mark.needs("openssl")
def test_a_proxy_that_is_reached_by_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tunnel carries TLS inside TLS."""
    context = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with running(Relay, context) as (proxy, relayed), running(Host, context) as (port, asked), transport() as sender:
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{proxy}")
        monkeypatch.setenv("HTTP_PROXY", f"https://127.0.0.1:{proxy}")
        assert [body_of(sender, f"https://127.0.0.1:{port}/{n}") for n in range(2)] == [b"abc"] * 2
        assert body_of(sender, "http://pictures.example/") == b"abc"
    assert [command for command, _, _ in relayed] == ["CONNECT", "GET"]
    assert [path for _, path, _ in asked] == ["/0", "/1"]


def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its address and its answer."""
    with running(Host) as (proxy, _), transport() as sender:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy}")
        with pytest.raises(httpx.ProxyError, match=rf"the proxy 127.0.0.1:{proxy} answers HTTP 501"):
            body_of(sender, "https://pictures.example/")


@pytest.mark.parametrize("proxy", ["socks5h://127.0.0.1:1", "http://", "ftp://a"])
def test_a_proxy_that_cannot_be_used_is_a_setting(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the variable, from whoever wants to send something; other hosts are not concerned."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "fine.example")
    with pytest.raises(SettingsError, match=r"HTTPS_PROXY.*NO_PROXY"):
        proxy_for("https", "pictures.example")
    with pytest.raises(SettingsError, match=r"HTTP_PROXY.*NO_PROXY"):
        http_client("http://pictures.example/a")
    assert proxy_for("https", "fine.example") is None
    with contextlib.suppress(SettingsError):  # the library looks at all of them
        http_client("http://fine.example/").close()


def test_variables_of_other_schemes_concern_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy for FTP, or hosts without one, make no proxy."""
    monkeypatch.setenv("FTP_PROXY", "http://a:1")
    monkeypatch.setenv("NO_PROXY", "b")
    assert proxy_for("https", "pictures.example") is None


def test_certificates_that_cannot_be_read_are_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not there, and one without a certificate."""
    for name, content in (("absent", None), ("empty", b"nothing")):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        with pytest.raises(SettingsError, match=r"SSL_CERT_FILE.*unset it"):
            trusted_certificates(trust_env=True)
        trusted_certificates(trust_env=False)
