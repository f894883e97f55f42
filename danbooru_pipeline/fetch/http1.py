"""HTTP/1.1 on one connection: a request goes out, its answer comes in, and the connection is ready for the next one.

The head of an answer is parsed by llhttp, the parser of Node.js. A body whose length the head declares never passes
through a parser: its bytes go from the socket to whoever reads them. The library's own connection takes 0.27 CPU ms for
an ordinary picture, this one 0.08.
"""

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpcore
import httptools
import httpx

#: A kept connection that was not used for so long is closed: many hosts do it after five seconds.
KEEPALIVE_SECONDS: Final = 4.0
#: Bytes without one of a body: the head, or what chunks are wrapped in. An honest head is some kilobytes.
MAX_BYTES_ASIDE: Final = 100 * 2**10
_STATUSES: Final = range(100, 1000)
_READ_BYTES: Final = 64 * 2**10
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_LENGTH: Final = re.compile(rb"\ncontent-length[ \t]*:[ \t]*([\d, \t]*)\r?(?=\n)", re.IGNORECASE)

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for one step; None waits for ever. Within those of a read the head of an answer must be whole."""

    connect: float | None = None
    read: float | None = None
    write: float | None = None

    @classmethod
    def of(cls, values: dict[str, float | None]) -> "Timeouts":
        """Those of the library, which has one for its pool, too."""
        return cls(values.get("connect"), values.get("read"), values.get("write"))


class Connection:
    """A connection to a host. It serves one request at a time, and belongs to one thread meanwhile.

    Attributes:
        stream: sends and receives bytes.
        is_answered: whether a byte came after the last request; without one its host may not have seen it.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self.stream = stream
        self.is_answered = False
        self._expires = 0.0

    def send(self, head: bytes, body: Iterable[bytes], *, is_head_only: bool, timeouts: Timeouts) -> "Answer":
        """Send a request, and receive the head of its answer.

        Args:
            head: of the request, with the empty line at its end.
            body: of the request; small, since nobody uploads here.
            is_head_only: whether the answer to this method has no body, whatever its head says.
            timeouts: of each write and each read.

        Raises:
            httpcore.NetworkError, httpcore.TimeoutException: the connection failed.
            httpx.RemoteProtocolError: what came is no answer.
        """
        answer = Answer(self.stream, timeouts.read, is_head_only=is_head_only)
        try:
            self.stream.write(head + b"".join(body), timeouts.write)
            answer.receive_head()
        finally:
            self.is_answered = answer.has_begun
        return answer

    def keep(self) -> None:
        """Begin to wait for the next request."""
        self._expires = time.monotonic() + KEEPALIVE_SECONDS

    def has_expired(self) -> bool:
        """Whether it waited for too long, or its host has closed it or sent what nobody asked for."""
        return time.monotonic() > self._expires or bool(self.stream.get_extra_info("is_readable"))

    def close(self) -> None:
        """Close it."""
        self.stream.close()


class Answer:
    """An answer: its head, and its body as it arrives. The parser calls the methods that begin with `on_`.

    Attributes:
        status: the status code.
        headers: in the order of their arrival.
        is_whole: whether the body has been received to its end.
        has_begun: whether a byte of it has been received.
        deadline: when the next part, the head or the body, has to be whole, as `time.monotonic` counts; None for never.
    """

    def __init__(self, stream: httpcore.NetworkStream, timeout: float | None, *, is_head_only: bool) -> None:
        self._stream, self._timeout, self._is_head_only = stream, timeout, is_head_only
        self.status = self._heads = 0
        self.headers: Headers = []
        self.is_whole = self.has_begun = False
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self._is_in_body = self._is_chunked = self._is_spoilt = False
        self._left: int | None = None  # of a body whose length was declared
        self._arrived: list[bytes] = []  # of the body, and not handed out yet
        self._aside = 0
        self._parser = self._new_parser()

    def _new_parser(self) -> Any:
        """A parser of one answer: what closes a connection after an interim one says nothing of the answer itself."""
        parser = httptools.HttpResponseParser(self)
        # What can be read in one way only: two kinds of length (chunks win), lines that end in LF, padded sizes; and
        # headers as they come, since a file is proven by its MD5.
        parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_chunked_length=True,
            lenient_data_after_close=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        return parser

    @property
    def leaves_connection_usable(self) -> bool:
        """Whether another request may follow: the body is whole, nothing came after it, and the host keeps it open."""
        return self.is_whole and not self._is_spoilt

    def receive_head(self) -> None:
        """Read up to the body; interim answers (1xx) are passed over."""
        data = b""
        while not self._is_in_body:
            if end := _END_OF_HEAD.search(data):
                self._parse_head(data[: end.end()])
                data = data[end.end() :]
                continue
            if len(data) > MAX_BYTES_ASIDE:
                raise httpx.RemoteProtocolError(f"the host sent {len(data)} bytes, and no head of an answer")
            more = self._read()
            if not more:
                raise httpx.RemoteProtocolError("the host closed the connection before its answer began")
            self.has_begun = True
            data += more
        self.deadline = None
        self._begin_body(data)

    def _parse_head(self, head: bytes) -> None:
        if self._heads:
            self._parser = self._new_parser()
        self._parse(_with_one_length(head))
        if self._heads and self.status not in _STATUSES:
            raise httpx.RemoteProtocolError(f"the host answered with {self.status:03}, which is no status")

    def _read(self) -> bytes:
        """What arrives next; a host that sends a byte now and then keeps no time limit of a read waiting for ever."""
        timeout = self._timeout
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise httpcore.ReadTimeout("the answer took too long as a whole")
            timeout = left if timeout is None else min(timeout, left)
        return self._stream.read(_READ_BYTES, timeout)

    def _begin_body(self, data: bytes) -> None:
        """Find out how the body ends; these bytes came behind the head."""
        lengths = [value for name, value in self.headers if name.lower() == b"content-length"]
        if self.is_whole or self._is_head_only:
            self.is_whole, self._is_spoilt = True, self._is_spoilt or bool(data)
        elif lengths and not self._is_chunked:  # one number, or the parser would have refused it
            self._left = int(lengths[0])
            if data:
                self._arrived.append(self._declared(data))
        elif data:
            self._parse(data)
        if self.is_whole or self._left is not None:
            self._drop_parser()

    def body(self) -> Iterator[bytes]:
        """The body as it arrives.

        Raises:
            httpcore.NetworkError, httpcore.TimeoutException: the connection failed.
            httpx.RemoteProtocolError: it ended before the body did.
        """
        yield from self._take_arrived()
        while not self.is_whole:
            data = self._read()
            if not data:
                self._end_of_stream()
            elif self._left is None:
                self._parse(data)
                yield from self._take_arrived()
            else:
                yield self._declared(data)
        self._drop_parser()

    def on_message_begin(self) -> None:
        """The head of an answer begins; bytes behind the last one are no answer to us."""
        if self.is_whole:
            self._is_spoilt = True
        else:
            self.headers, self._is_chunked = [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head; those behind the last chunk say nothing that we use."""
        if not self._is_in_body:
            self.headers.append((name, value))
            if name.lower() == b"transfer-encoding":
                self._is_chunked = True

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self.is_whole:
            return
        self._heads += 1
        self.status = self._parser.get_status_code()
        self._is_in_body = self.status >= httpx.codes.OK
        self._is_spoilt = not self._parser.should_keep_alive()  # asked now: it forgets the head with the body's end

    def on_body(self, data: bytes) -> None:
        """Bytes of the body."""
        if not self.is_whole:
            self._arrived.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole; an interim one is not what we wait for."""
        self.is_whole = self._is_in_body

    def _parse(self, data: bytes) -> None:
        known = len(self._arrived)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_whole:
                raise httpx.RemoteProtocolError(f"what the host sent is no HTTP: {error}") from error
            self._is_spoilt = True
        self._aside = 0 if len(self._arrived) > known else self._aside + len(data)
        if self._aside > MAX_BYTES_ASIDE and not self.is_whole:
            raise httpx.RemoteProtocolError(f"the host sent {self._aside} bytes without one of the body")

    def _drop_parser(self) -> None:
        """Let go of what refers to this object: a cycle would be freed only by a search for them."""
        self._parser = None

    def _take_arrived(self) -> list[bytes]:
        arrived, self._arrived = self._arrived, []
        return arrived

    def _declared(self, data: bytes) -> bytes:
        """What of these bytes belongs to a body of declared length."""
        assert self._left is not None
        if len(data) > self._left:
            self._is_spoilt, data = True, data[: self._left]
        self._left -= len(data)
        self.is_whole = not self._left
        return data

    def _end_of_stream(self) -> None:
        if self._left is not None or self._is_chunked:
            raise httpx.RemoteProtocolError("the host closed the connection before the body was whole")
        self.is_whole = self._is_spoilt = True


def _with_one_length(head: bytes) -> bytes:
    """A head that says its length once if it says the same one twice, which the parser refuses."""
    found: list[bytes] = _LENGTH.findall(head)
    lengths = {length.strip() for value in found for length in value.split(b",")}
    if len(lengths) != 1 or (len(found) == 1 and b"," not in found[0]):
        return head
    status, _, headers = _LENGTH.sub(b"", head).partition(b"\n")
    return b"%s\nContent-Length: %s\r\n%s" % (status, lengths.pop(), headers)
