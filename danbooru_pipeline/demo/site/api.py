"""The demo's API port: posts, tables and events as JSON, and the demo's own controls below ``/demo/``."""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from danbooru_pipeline.demo.site.faults import EDITS_KEY, POSTS_KEY
from danbooru_pipeline.demo.site.history import ChangeKind
from danbooru_pipeline.demo.site.http import BooruHandler, Reply, make_page, spoil_body
from danbooru_pipeline.demo.site.queries import (
    OTHERS_MAX,
    POSTS_DEFAULT,
    POSTS_MAX,
    QueryError,
    keep_only,
    parse_only,
    parse_page,
    parse_tags,
    record_not_found,
    take_events,
    take_page,
)

LOGIN, API_KEY = "demo", "demo-key"
_JSON = "application/json; charset=utf-8"


def _make_json(data: object, status: int = 200) -> Reply:
    return Reply(status, msgspec.json.encode(data), _JSON)


def _make_error(error: QueryError) -> Reply:
    body = {"success": False, "error": error.name, "message": str(error), "backtrace": []}
    return _make_json(body, error.status)


class ApiHandler(BooruHandler):
    """One connection to the API."""

    def do_GET(self) -> None:  # noqa: N802 - the base class looks for this name
        """Answer a query."""
        parts = urlsplit(self.path)
        params = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path.startswith("/demo/"):
            self._answer_control(parts.path, params)
            return
        if self.refuse_agent():
            return
        limiter = self.booru.limiter
        if limiter and not limiter.take():
            self.booru.log.count("throttled")
            self.send(make_page(429))
            return
        effect = None
        try:
            self._check_request(params)
            name = self._name_request(parts.path)
            self.booru.log.count(name)
            if name == "posts":
                effect = self.booru.faults.strike(POSTS_KEY)
            reply = self._answer(name, parts.path, params=params)
        except QueryError as error:
            reply = _make_error(error)
        body = spoil_body(reply.body, effect)
        self.send_with_fault(Reply(reply.status, body, reply.content_type, reply.headers), effect)

    def do_HEAD(self) -> None:  # noqa: N802 - the base class looks for this name
        """Send the headers of a GET."""
        self.do_GET()

    def error_reply(self, status: int) -> Reply:
        """Errors of the site itself are JSON, errors of its front end are web pages."""
        if status != 500:
            return make_page(status)
        return _make_error(QueryError(500, "ActiveRecord::QueryCanceled", "The database timed out running your query."))

    def _check_request(self, params: Mapping[str, str]) -> None:
        if int(self.headers.get("Content-Length") or 0) > 0:
            self.close_connection = True
            raise QueryError(400, "ActionController::BadRequest", "GET requests may not have a body.")
        login, key = self._account() or (params.get("login"), params.get("api_key"))
        if (login or key) and (login, key) != (LOGIN, API_KEY):
            self.booru.log.count("unauthorized")
            raise QueryError(401, "SessionLoader::AuthenticationFailure", "Invalid API key")

    def _account(self) -> tuple[str, str] | None:
        """Login and key of the Authorization header; None without one."""
        header = self.headers.get("Authorization", "")
        if not header.startswith("Basic "):
            return None
        try:
            login, _, key = base64.b64decode(header[6:], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "unreadable", ""
        return login, key

    @staticmethod
    def _name_request(path: str) -> str:
        if re.fullmatch(r"/posts/\d+\.json", path):
            return "post"
        name = path.removeprefix("/").removesuffix(".json")
        if name in {"posts", "tags", "pools", "post_events", "post_replacements"} and path.endswith(".json"):
            return name
        return "counts" if path == "/counts/posts.json" else "other"

    def _answer(self, name: str, path: str, *, params: Mapping[str, str]) -> Reply:
        site, only = self.booru.now, parse_only(params.get("only", ""))
        if name == "posts":
            return self._answer_posts(params)
        if name == "post":
            record = site.records.get(int(path.removeprefix("/posts/").removesuffix(".json")))
            if record is None:
                raise record_not_found()
            return _make_json(keep_only([record], only)[0])
        if name == "counts":
            condition = parse_tags(params.get("tags", ""))
            return _make_json({"counts": {"posts": sum(map(condition, site.records.values()))}})
        page = parse_page(params, default=POSTS_DEFAULT, max_limit=OTHERS_MAX)
        if name == "post_events":
            return _make_json(keep_only(take_events(site.events, params, page), only))
        lists = {"tags": site.tags.values, "pools": site.pools.values, "post_replacements": site.replacements.copy}
        if name in lists:
            return _make_json(keep_only(take_page(list(lists[name]()), page), only))
        raise QueryError(404, "ActionController::RoutingError", "That page was not found.")

    def _answer_posts(self, params: Mapping[str, str]) -> Reply:
        records, only = self.booru.now.records.values(), parse_only(params.get("only", ""))
        if "md5" in params:
            found = [record for record in records if record.get("md5") == params["md5"].lower()]
            if not found:
                raise record_not_found()
            return _make_json(keep_only(found, only)[0])
        page = parse_page(_with_limit_tag(params), default=POSTS_DEFAULT, max_limit=POSTS_MAX)
        condition = parse_tags(params.get("tags", ""))
        return _make_json(keep_only(take_page(list(filter(condition, records)), page), only))

    def _answer_control(self, path: str, params: Mapping[str, str]) -> None:
        year = int(params.get("year") or self.booru.now.year)
        answers: dict[str, Any] = {
            "/demo/year": lambda: self.booru.now.year,
            "/demo/clock": self.booru.now.moment.isoformat,
            "/demo/truth": lambda: self.booru.truth(year, expunged=params.get("expunged") == "1"),
            "/demo/kinds": lambda: self.booru.kinds(year),
            "/demo/requests": lambda: {"counts": self.booru.log.counts(), "files": self.booru.log.files()},
        }
        answer = answers.get(path)
        self.send(_make_json(answer()) if answer else make_page(404))

    def do_PUT(self) -> None:  # noqa: N802 - the base class looks for this name
        """Apply a control, or a user's edit of a post."""
        if match := re.fullmatch(r"/posts/(\d+)\.json", self.path):
            self._edit(int(match[1]))
            return
        body = msgspec.json.decode(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        try:
            if self.path == "/demo/year":
                self.booru.set_year(int(body["year"]))
            elif self.path == "/demo/clock":
                self.booru.set_clock(datetime.fromisoformat(body["time"]).astimezone(UTC))
            elif self.path == "/demo/date":
                self.booru.seconds_ahead = float(body["ahead"])
            elif self.path == "/demo/change":
                self.booru.change(int(body["id"]), ChangeKind(body["kind"]), revision=body.get("revision"))
            elif self.path == "/demo/fault":
                self.booru.faults.set(body["key"], body["fault"])
            else:
                self.send(make_page(404))
                return
        except (KeyError, ValueError) as error:
            self.send(_make_json({"message": str(error)}, 400))
            return
        self.send(_make_json({}))

    def _edit(self, post_id: int) -> None:
        """Edit a post's tags. Only a tag script with an empty old string is understood: that is what merges."""
        form = dict(parse_qsl(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(), True))  # noqa: FBT003
        if self.refuse_agent():
            return
        self.booru.log.count("edits")
        effect = self.booru.faults.strike(EDITS_KEY)
        try:
            self.booru.edit(post_id, self._script_of(form))
            reply = _make_json(self.booru.now.records[post_id])
        except KeyError:
            reply = _make_error(record_not_found())
        except ValueError as error:
            reply = _make_error(QueryError(422, "ActiveRecord::RecordInvalid", str(error)))
        except QueryError as error:
            reply = _make_error(error)
        self.send_with_fault(reply, effect)

    def _script_of(self, form: Mapping[str, str]) -> str:
        if self._account() != (LOGIN, API_KEY):
            raise QueryError(403, "User::PrivilegeError", "Access denied")
        if set(form) != {"post[tag_string]", "post[old_tag_string]"} or form["post[old_tag_string]"]:
            raise QueryError(400, "ActionController::BadRequest", "Only tag scripts are understood here.")
        return form["post[tag_string]"]

    def do_DELETE(self) -> None:  # noqa: N802 - the base class looks for this name
        """Undo controls."""
        undo = {
            "/demo/requests": self.booru.log.reset,
            "/demo/fault": self.booru.faults.clear,
            "/demo/change": self.booru.forget_changes,
        }.get(self.path)
        if undo:
            undo()
        self.send(_make_json({}) if undo else make_page(404))


def _with_limit_tag(params: Mapping[str, str]) -> Mapping[str, str]:
    """``limit:N`` among the tags applies if there is no ``limit`` parameter."""
    match = re.search(r"(?:^|\s)limit:(\d+)", params.get("tags", ""))
    return {"limit": match[1], **params} if match else params
