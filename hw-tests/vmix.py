"""A vMix whose tally a test sets, so that it knows to the millisecond when that was said."""

import contextlib
import socket
import threading


class Vmix:
    """Answers as vMix does. `digits` is its tally, a digit for each of its two inputs."""

    def __init__(self) -> None:
        self.digits, self.silent = "00", False
        self._lines: set[socket.socket] = set()
        # An answer on its way must not say what a cut has just made untrue.
        self._turn = threading.Lock()
        self._listener = socket.create_server(("", 8099))
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._turn:
            for line in self._lines:
                line.shutdown(socket.SHUT_RDWR)

    def cut(self, digits: str) -> None:
        """Says at once what is new, as vMix does to whoever has subscribed."""
        with self._turn:
            self.digits = digits
            for line in self._lines:
                # One that was closed is dropped by whoever reads it.
                with contextlib.suppress(OSError):
                    line.sendall(f"TALLY OK {digits}\r\n".encode())

    def _listen(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line, line.makefile() as asked, contextlib.suppress(OSError):
            line.sendall(b"VERSION OK 29.0.0.49\r\n")
            for question in asked:
                if not self.silent:
                    with self._turn:
                        self._answer(line, question)
        with self._turn:
            self._lines.discard(line)

    def _answer(self, line: socket.socket, question: str) -> None:
        if question.startswith("TALLY"):
            line.sendall(f"TALLY OK {self.digits}\r\n".encode())
        elif question.startswith("SUBSCRIBE"):
            line.sendall(f"SUBSCRIBE OK TALLY\r\nTALLY OK {self.digits}\r\n".encode())
            self._lines.add(line)
        elif question.startswith("XML"):
            inputs = "".join(f'<input key="k{n}" number="{n}" type="Capture" title="CAM {n}">CAM {n}</input>' for n in (1, 2))
            xml = f"<vmix><version>29.0.0.49</version><inputs>{inputs}</inputs><preview>0</preview><active>0</active></vmix>"
            line.sendall(f"XML {len(xml) + 2}\r\n{xml}\r\n".encode())
