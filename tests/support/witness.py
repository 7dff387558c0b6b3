"""A witness of C2SP tlog-witness that shares no code with ours: standard library, PyNaCl, and metamorphic-log."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from tests.support import judges


class OtherWitness:
    """Takes checkpoints of the logs whose keys it knows. `down`: answers 503; `seen`: what it was sent."""

    def __init__(self, name: str, logs: dict[str, bytes]) -> None:
        self.name, self.logs, self.key = name, logs, SigningKey(sha256(name.encode()).digest())
        self.known: dict[str, tuple[int, bytes]] = {}
        self.seen: list[tuple[int, int]] = []
        self.down = False

    @property
    def public(self) -> bytes:
        """The public key."""
        return bytes(self.key.verify_key)

    @property
    def vkey(self) -> str:
        """As policies take it."""
        material = base64.b64encode(b"\x04" + self.public).decode()
        return f"{self.name}+{self._id().hex()}+{material}"

    def _id(self) -> bytes:
        return sha256(self.name.encode() + b"\n\x04" + self.public).digest()[:4]

    def answer(self, body: str) -> tuple[int, str, str]:
        """Status, kind and body."""
        if self.down:
            return 503, "text/plain", "later\n"
        head, _, note = body.partition("\n\n")
        first, *proof = head.split("\n")
        old = int(first.split(" ")[1])
        text, _, lines = note.rpartition("\n\n")
        text += "\n"
        origin, size_line, root_line = text.split("\n")[:3]
        size, root = int(size_line), base64.b64decode(root_line)
        if origin not in self.logs:
            return 404, "text/plain", "unknown log\n"
        blob = base64.b64decode(lines.split("\n")[0].rpartition(" ")[2])[4:]
        try:
            VerifyKey(self.logs[origin]).verify(text.encode(), blob)
        except BadSignatureError:
            return 403, "text/plain", "unknown key\n"
        self.seen.append((old, size))
        known, known_root = self.known.get(origin, (0, b""))
        if old != known:
            return 409, "text/x.tlog.size", f"{known}\n"
        try:
            if 0 < known < size:
                judges.consistent(known, size, [base64.b64decode(one) for one in proof], known_root, root)
            elif known == size and known_root != root:
                return 409, "text/plain", "another root\n"
        except judges.REFUSES:
            return 422, "text/plain", "no proof\n"
        self.known[origin] = (size, root)
        now = int(time.time())
        signed = self.key.sign(f"cosignature/v1\ntime {now}\n{text}".encode()).signature
        line = base64.b64encode(self._id() + now.to_bytes(8, "big") + signed).decode()
        return 200, "text/plain", f"\u2014 {self.name} {line}\n"

    @contextmanager
    def served(self) -> Iterator[str]:
        """Its URL, while the body lasts."""
        witness = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, kind, text = witness.answer(body) if self.path == "/w/add-checkpoint" else (404, "", "")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/w/"
        finally:
            server.shutdown()
            serving.join()
            server.server_close()
