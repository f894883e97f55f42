"""A file server on loopback for the fetch benchmark: plain, limited, late, slow, or with faults. Standard library only.

``python fetch_server.py FOLDER MODE`` prints its port. ``/_stats`` returns the counts of its responses as JSON. Modes:

========== ====================================================================================================
plain      every file, without delay
limit      50 requests per second with a burst of 25; beyond that, 429 and ``Retry-After: 1``
late       every response starts 80 ms after its request
slow       300 KB per second on each connection
faults     by a hash of the name: 4 % gone, 6 % 503 twice, 4 % 429 once, 3 % cut off once, 3 % a web page, 3 % flipped
           bytes, 3 % reset once, 1 % stall for 25 s once
========== ====================================================================================================
"""

import asyncio
import hashlib
import json
import socket
import struct
import sys
import time
from collections import Counter
from pathlib import Path

SHARES = (
    ("gone", 4), ("busy", 6), ("limited", 4), ("cut", 3), ("page", 3), ("flipped", 3), ("reset", 3), ("stall", 1),
)  # fmt: skip
PAGE = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"


def fault_of(name: str) -> str:
    """What happens to a file in the mode ``faults``."""
    number = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 100
    for fault, share in SHARES:
        if number < share:
            return fault
        number -= share
    return "fine"


class Server:
    """Answers GET for the files of a folder."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.mode = mode
        self.asked: Counter[str] = Counter()
        self.answered: Counter[int] = Counter()
        self.level, self.leaked_at = 0.0, time.monotonic()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, with keep-alive."""
        try:
            while (line := await reader.readline()).strip():
                headers = {}
                while header := (await reader.readline()).decode("latin-1").strip():
                    key, _, value = header.partition(":")
                    headers[key.lower()] = value.strip()
                if not await self.answer(line.decode().split(" ")[1], headers, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, target: str, headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        """Answer one request. Returns whether the connection stays open."""
        if target == "/_stats":
            await self.send(writer, 200, json.dumps(self.answered).encode())
            return True
        name = target.rsplit("/", 1)[-1]
        data = self.files.get(name)
        if self.mode == "late":
            await asyncio.sleep(0.08)
        if self.mode == "limit" and self.is_over_limit():
            await self.send(writer, 429, b"slow down", "Retry-After: 1\r\n")
        elif data is None:
            await self.send(writer, 404, b"not found")
        elif self.mode == "faults":
            return await self.misbehave(name, data, headers, writer)
        else:
            await self.send_file(name, data, headers, writer)
        return True

    def is_over_limit(self) -> bool:
        """A leaky bucket of 25 that drains 50 per second."""
        now = time.monotonic()
        self.level, self.leaked_at = max(0.0, self.level - (now - self.leaked_at) * 50), now
        if self.level > 25:
            return True
        self.level += 1
        return False

    async def misbehave(self, name: str, data: bytes, headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        """Inject the fault that follows from a file's name."""
        self.asked[name] += 1
        turn, fault = self.asked[name], fault_of(name)
        if fault == "gone":
            await self.send(writer, 404, b"not found")
        elif fault == "busy" and turn <= 2:
            await self.send(writer, 503, b"busy")
        elif fault == "limited" and turn == 1:
            await self.send(writer, 429, b"slow down", "Retry-After: 1\r\n")
        elif fault == "page":
            await self.send(writer, 200, PAGE)
        elif fault == "flipped":
            middle = len(data) // 2
            flipped = bytes(byte ^ 1 for byte in data[middle : middle + 16])
            await self.send_file(name, data[:middle] + flipped + data[middle + 16 :], headers, writer)
        elif fault in {"cut", "reset", "stall"} and turn == 1:
            await self.break_off(fault, data, writer)
            return False
        else:
            await self.send_file(name, data, headers, writer)
        return True

    async def break_off(self, fault: str, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Declare the length of a file and stop before its end."""
        self.answered[200] += 1
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode())
        writer.write(b"" if fault == "reset" else data[: len(data) // 2])
        await writer.drain()
        if fault == "stall":
            await asyncio.sleep(25)
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async def send_file(self, name: str, data: bytes, headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        """Send a file, or the rest of it."""
        extra = f'ETag: "{name}"\r\nAccept-Ranges: bytes\r\n'
        start = headers.get("range", "").removeprefix("bytes=").partition("-")[0]
        if start.isdigit() and int(start) < len(data):
            extra += f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}\r\n"
            await self.send(writer, 206, data[int(start) :], extra)
        else:
            await self.send(writer, 200, data, extra)

    async def send(self, writer: asyncio.StreamWriter, status: int, body: bytes, extra: str = "") -> None:
        """Send a response, slowly if that is the mode."""
        self.answered[status] += 1
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode())
        step = 30_000 if self.mode == "slow" else len(body) or 1
        for position in range(0, len(body), step):
            writer.write(body[position : position + step])
            await writer.drain()
            if self.mode == "slow":
                await asyncio.sleep(0.1)


async def main() -> None:
    """Serve until killed."""
    server = Server(Path(sys.argv[1]), sys.argv[2])
    listener = await asyncio.start_server(server.talk, "127.0.0.1", 0, backlog=2048)
    print(listener.sockets[0].getsockname()[1], flush=True)
    async with listener:
        await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
