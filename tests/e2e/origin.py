"""An origin server for real clients, on the standard library's HTTP server: not our reading of HTTP/1.1.

python -m tests.e2e.origin PORT
GET  /fields             the request's field lines, as JSON
GET  /bytes/N[/FRAMING]  N bytes of ``blob``; FRAMING: length (default), chunked, close
any  /digest             reads the body; answers its size and SHA-256, as JSON
GET  /status/N           that status with a short body
GET  /slow/SECONDS       answers after a while
GET  /events/N           N server-sent events, one each 50 ms
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["blob"]

PART = 256 * 1024


def blob(size: int) -> Iterator[bytes]:
    """*size* bytes in parts, always the same ones, no part like another."""
    for number in range(0, size, PART):
        word = hashlib.sha256(b"%d" % number).digest()
        yield (word * (PART // len(word)))[: min(PART, size - number)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        what, _, rest = self.path.strip("/").partition("/")
        handler = getattr(self, f"answer_{what}", None)
        if handler is None:
            self.reply(404, b"nothing here\n")
        else:
            handler(rest)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def reply(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply_json(self, value: object) -> None:
        self.reply(200, json.dumps(value).encode(), "application/json")

    def answer_fields(self, _: str) -> None:
        self.reply_json([[name, value] for name, value in self.headers.items()])

    def answer_status(self, rest: str) -> None:
        self.reply(int(rest), b"" if rest in ("204", "304") else b"status\n")

    def answer_slow(self, rest: str) -> None:
        time.sleep(float(rest))
        self.reply(200, b"slow\n")

    def answer_digest(self, _: str) -> None:
        digest, size = hashlib.sha256(), 0
        for part in self.body():
            digest.update(part)
            size += len(part)
        self.reply_json({"size": size, "sha256": digest.hexdigest(), "method": self.command})

    def answer_bytes(self, rest: str) -> None:
        size, _, framing = rest.partition("/")
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        if framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif framing == "close":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", size)
        self.end_headers()
        if self.command == "HEAD":
            return
        for part in blob(int(size)):
            if framing == "chunked":
                part = b"%x\r\n%s\r\n" % (len(part), part)
            self.wfile.write(part)
        if framing == "chunked":
            self.wfile.write(b"0\r\n\r\n")

    def answer_events(self, rest: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(int(rest)):
            self.wfile.write(b"id: %d\ndata: event %d\n\n" % (number, number))
            self.wfile.flush()
            time.sleep(0.05)

    def body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            part = self.rfile.read(min(left, PART))
            if not part:
                raise ConnectionError("body cut short")
            left -= len(part)
            yield part


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
