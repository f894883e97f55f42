"""A stand-in of the Hugging Face Hub on loopback, as its real client asks it: data sets, commits, large files."""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from danbooru_pipeline_tests.support.web import serving

_LARGE = (".tar", ".parquet", ".xz", ".roar")
_STORE = "/large/"

#: Status, JSON or bytes, and headers.
Answer = tuple[int, Any, dict[str, str]]


@dataclass
class Hub:
    """What it has.

    Attributes:
        files: data set -> path -> content.
        history: data set -> all files of each commit, oldest first.
        uploads: how often each large file was sent, by its digest.
        requests: method and path of each request.
        address, store: of the Hub itself, and of the host that it sends those to who want a large file.
        token: without which nothing is shown; empty shows everything to everybody.
        expired: the addresses of large files are refused, as late ones are.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    history: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    uploads: Counter[str] = field(default_factory=Counter)
    requests: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""
    store: str = ""
    token: str = ""
    expired: bool = False

    def refusal(self, path: str, shown: str | None) -> Answer | None:
        """What somebody gets who shows a token where none belongs, or not the one that is asked for."""
        if path.startswith(_STORE) and self.expired:
            return 403, b"AccessDenied", {}
        if path.startswith(_STORE):  # its addresses are signed already
            return None if shown is None else (400, {"error": "Only one auth mechanism allowed"}, {})
        return None if self.token in (shown or "") else (401, {"error": "Invalid username or password."}, {})

    def answer(self, method: str, path: str, body: bytes, query: str = "") -> Answer:
        """Status, JSON or bytes, and headers of an answer."""
        self.requests.append((method, path))
        if method == "PUT":
            digest = path.rpartition("/")[2]
            self.uploads[digest] += 1
            self.large[digest] = body
            assert hashlib.sha256(body).hexdigest() == digest
            return 200, b"", {}
        if path.startswith(_STORE):
            return 200, self.large[path.removeprefix(_STORE)], {}
        return self._answer(path, body, parse_qs(query))

    def _answer(self, path: str, body: bytes, query: dict[str, list[str]]) -> Answer:
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
        if match := re.fullmatch(r"(?:/api)?/datasets/([^/]+/[^/]+)(?:/([a-z-]+)/([^/]+)/?(.*))?", path):
            return self._of(match[1], match[2] or "revision", (match[3] or "main", match[4] or ""), (body, query))
        return _not_found("Repo")

    def _of(self, name: str, what: str, where: tuple[str, str], asked: tuple[bytes, dict[str, list[str]]]) -> Answer:
        revision, path = where
        if name not in self.files:
            return _not_found("Repo")
        files = self._at(name, revision)
        if files is None:
            return _not_found("Revision")
        if what == "resolve":
            return self._file(files, path)
        if what == "tree":
            found = _tree(files, path, recursive=asked[1].get("recursive") == ["true"])
            return (200, found, {}) if found else _not_found("Entry")
        return 200, self._api(name, what, asked[0]), {}

    def _at(self, name: str, revision: str) -> dict[str, bytes] | None:
        """The files of a revision: the branch, or a commit that is still in the history."""
        commits = [self.files[name], *self.history.get(name, [])]
        return commits[0] if revision == "main" else next((e for e in commits if _commit_of(e) == revision), None)

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        objects = [
            {"oid": each["oid"], "size": each["size"]}
            | ({} if each["oid"] in self.large else {"actions": {"upload": {"href": f"{self.address}/{each['oid']}"}}})
            for each in asked["objects"]
        ]
        return {"transfer": "basic", "objects": objects}

    def _file(self, files: dict[str, bytes], path: str) -> Answer:
        """A small file; of a large one, where it is."""
        commit = {"X-Repo-Commit": _commit_of(files)}
        if path not in files:
            missing = _not_found("Entry")
            return missing[0], missing[1], missing[2] | commit
        entry = _entry(path, files[path])
        if "lfs" not in entry:
            return 200, files[path], commit | {"ETag": f'"{entry["oid"]}"'}
        digest = entry["lfs"]["oid"]
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(entry["size"])}
        return 302, b"", commit | linked | {"Location": f"{self.store}{_STORE}{digest}?X-Amz-Signature=5e14ed"}

    def _api(self, name: str, what: str, body: bytes) -> Any:
        files = self.files[name]
        if what == "revision":
            return {"id": name, "sha": _commit_of(files), "siblings": [{"rfilename": path} for path in sorted(files)]}
        if what == "paths-info":
            wanted = parse_qs(body.decode())["paths"]
            return [_entry(path, files[path]) for path in wanted if path in files]
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
        commit = _commit_of(files)
        return {"commitUrl": f"{self.address}/datasets/{name}/commit/{commit}", "commitOid": commit}

    def _change(self, files: dict[str, bytes], key: str, value: dict[str, Any]) -> None:
        if key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            files[value["path"]] = self.large[value["oid"]]
        elif key == "deletedFile":
            del files[value["path"]]


def _not_found(what: str) -> Answer:
    return 404, {"error": f"{what} not found"}, {"X-Error-Code": f"{what}NotFound"}


def _commit_of(files: dict[str, bytes]) -> str:
    """Named after its content, as git does."""
    return hashlib.sha1(repr([(path, hash(files[path])) for path in sorted(files)]).encode()).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, Any]:
    stored = data
    large = {}
    if path.endswith(_LARGE):
        digest = hashlib.sha256(data).hexdigest()
        stored = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n".encode()
        large = {"lfs": {"oid": digest, "size": len(data), "pointerSize": len(stored)}}
    blob = hashlib.sha1(b"blob %d\0%s" % (len(stored), stored)).hexdigest()
    return {"type": "file", "path": path, "size": len(data), "oid": blob, **large}


def _tree(files: dict[str, bytes], folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """Folders and files below a folder, those of its folders too if asked for."""
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    below = [path for path in sorted(files) if path.startswith(prefix)]
    rests = [path[len(prefix) :].split("/")[:-1] for path in below]
    depth = None if recursive else 1
    folders = {"/".join(rest[:end]) for rest in rests for end in range(1, len(rest[:depth]) + 1)}
    found = [path for path in below if recursive or "/" not in path[len(prefix) :]]
    listed = [{"type": "directory", "path": f"{prefix}{each}", "size": 0, "oid": "0" * 40} for each in sorted(folders)]
    return [*listed, *(_entry(path, files[path]) for path in found)]


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """A Hub for the length of a block."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self._body()
            url = urlsplit(self.path)
            refused = hub.refusal(url.path, self.headers.get("Authorization"))
            status, said, headers = refused or hub.answer(self.command, unquote(url.path), body, url.query)
            data = said if isinstance(said, bytes) else json.dumps(said).encode()
            if status == 200 and (wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))):
                first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
                headers = headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
                status, data = (206, data[first : last + 1]) if first < len(data) else (416, b"")
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

    with serving(Handler) as hub.address, serving(Handler) as hub.store:
        yield hub


def hub_layout(release: Path, target: Path) -> Path:
    """A release with a tar a bucket, as it lies on the Hub."""
    from danbooru_pipeline.publish.hub import HubPlace  # noqa: PLC0415 - an extra

    for group in HubPlace("example").groups(release):
        for piece in group.pieces():
            with piece.files() as files:
                for path, file in files.items():
                    (target / path).parent.mkdir(parents=True, exist_ok=True)
                    (target / path).write_bytes(file.read_bytes())
    return target
