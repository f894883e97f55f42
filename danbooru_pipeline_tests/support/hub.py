"""A stand-in of the Hugging Face Hub on loopback, as its real client asks it: data sets, commits, large files."""

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_LARGE = (".tar", ".parquet", ".xz", ".roar")


@dataclass
class Hub:
    """What it has.

    Attributes:
        files: data set -> path -> content.
        history: data set -> all files of each commit, oldest first.
        uploads: how often each large file was sent, by its digest.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    history: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    uploads: Counter[str] = field(default_factory=Counter)
    address: str = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON or bytes, and headers of an answer."""
        if method == "PUT":
            digest = path.rpartition("/")[2]
            self.uploads[digest] += 1
            self.large[digest] = body
            assert hashlib.sha256(body).hexdigest() == digest
            return 200, b"", {}
        return self._answer(path, body)

    def _answer(self, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            known = name in self.files
            self.files.setdefault(name, {".gitattributes": b"*.tar filter=lfs\n"})
            return 409 if known else 200, {"url": f"{self.address}/datasets/{name}"}, {}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if match := re.fullmatch(r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return 200, self._batch(json.loads(body)), {}
        if match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self._file(self.files.get(match[1], {}), match[2])
        match = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/([a-z-]+)/[^/]+/?.*)?", path)
        if match is None or match[1] not in self.files:
            return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        return 200, self._api(match[1], match[2] or "revision", body), {}

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        objects = [
            {"oid": each["oid"], "size": each["size"]}
            | ({} if each["oid"] in self.large else {"actions": {"upload": {"href": f"{self.address}/{each['oid']}"}}})
            for each in asked["objects"]
        ]
        return {"transfer": "basic", "objects": objects}

    def _file(self, files: dict[str, bytes], path: str) -> tuple[int, Any, dict[str, str]]:
        if path not in files:
            return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"}
        data = files[path]
        return 200, data, {"X-Repo-Commit": "0" * 40, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}

    def _api(self, name: str, what: str, body: bytes) -> Any:
        files = self.files[name]
        if what == "revision":
            return {"id": name, "sha": "0" * 40, "siblings": [{"rfilename": path} for path in sorted(files)]}
        if what == "tree":
            return [self._entry(path, files[path]) for path in sorted(files)]
        if what == "paths-info":
            wanted = parse_qs(body.decode())["paths"]
            return [self._entry(path, files[path]) for path in wanted if path in files]
        if what == "preupload":
            modes = {True: "lfs", False: "regular"}
            asked = [each["path"] for each in json.loads(body)["files"]]
            return {
                "files": [
                    {"path": path, "uploadMode": modes[path.endswith(_LARGE)], "shouldIgnore": False} for path in asked
                ]
            }
        if what == "super-squash":
            self.history[name] = [dict(files)]
            return {}
        assert what == "commit", what
        for line in map(json.loads, body.splitlines()):
            self._change(files, line["key"], line["value"])
        self.history.setdefault(name, []).append(dict(files))
        return {"commitUrl": f"{self.address}/datasets/{name}/commit/{'0' * 40}", "commitOid": "0" * 40}

    def _change(self, files: dict[str, bytes], key: str, value: dict[str, Any]) -> None:
        if key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            files[value["path"]] = self.large[value["oid"]]
        elif key == "deletedFile":
            del files[value["path"]]

    def _entry(self, path: str, data: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
        if path.endswith(_LARGE):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return entry


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """A Hub for the length of a block."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self._body()
            status, said, headers = hub.answer(self.command, unquote(urlsplit(self.path).path), body)
            data = said if isinstance(said, bytes) else json.dumps(said).encode()
            if status == 200 and (wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))):
                first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
                headers = headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
                status, data = 206, data[first : last + 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = b""
            while size := int(self.rfile.readline().strip(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815 - names of the base

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
