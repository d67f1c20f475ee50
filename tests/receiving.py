"""Who takes what the broker posts in a test? An HTTP server that can be told to refuse."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, bytes]


@dataclass
class Receiver:
    """What came in, and what is answered. `moved` is told of every request."""

    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list[tuple[dict[str, str], bytes]])
    answer: Callable[[bytes], Answer] = lambda _: (200, b"")
    moved: threading.Condition = field(default_factory=threading.Condition)

    @property
    def lines(self) -> list[bytes]:
        """All lines of all requests, in order."""
        return [line for _, body in self.requests for line in body.splitlines()]

    def wait_for(self, enough: Callable[[], bool]) -> None:
        """Until a condition on what came in holds."""
        with self.moved:
            assert self.moved.wait_for(enough, timeout=30), f"{len(self.requests)} requests came in"


@contextmanager
def receiving() -> Generator[Receiver]:
    """A server on this machine."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = receiver.answer(body)
            with receiver.moved:
                receiver.requests.append((dict(self.headers.items()), body))
                receiver.moved.notify_all()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
