"""A scripted SMTP or LMTP backend: says what it is told to, misbehaves where it is told to, and keeps every octet that it was sent.

    Backend(replies={"RCPT": {"bad@example.com": "550 5.1.1 no"}, "END": ["451 4.3.0 later", "250 2.0.0 ok"]})

Phases: connect (before the greeting), greeting, EHLO (also HELO and LHLO), MAIL, RCPT, DATA, BODY (while message data comes), BDAT
(a chunk but the last), END (after the final dot, or after the last chunk; in LMTP once per recipient), RSET, QUIT, and any other verb.
What a phase says:
    "250 ok"           that reply; several lines are separated by "\\n" and each carries its code already, or only text follows the first
    bytes              exactly these octets
    an action          Drop, Reset, Stall, Delay, Flood below
    a dict             (RCPT and MAIL) by address, None is the default
    a list             one after the other, over all connections; the last one stays
    a function         called with (session, argument), gives one of the above
"""

import re
import socket
import struct
import threading
import time

from smtp_client import unstuff

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "SMTPUTF8", "DSN")


class Drop:
    """Closes the connection; in BODY after that many octets of message data. `say`: a reply before it."""

    def __init__(self, after=0, say=None):
        self.after, self.say = after, say


class Reset(Drop):
    """The same by RST."""


class Stall:
    """Neither reads nor writes until the backend is stopped or released; in BODY after that many octets."""

    def __init__(self, after=0):
        self.after = after


class Delay:
    """That reply, later."""

    def __init__(self, seconds, reply):
        self.seconds, self.reply = seconds, reply


class Flood:
    """That many octets of reply line, then a drop."""

    def __init__(self, octets, line=b"250-flood\r\n"):
        self.octets, self.line = octets, line


class Message:
    def __init__(self, sender, recipients, session):
        self.sender, self.recipients, self.session = sender, list(recipients), session
        self.mail_line = session.mail_line
        self.wire = bytearray()  # as it came; by DATA with stuffing and the final dot
        self.complete = False    # the final dot, or the last chunk, has come
        self.chunked = False
        self.chunks = []
        self.answer = None

    @property
    def data(self):
        """The content after unstuffing, as sent: the gateway's trace field included."""
        if self.chunked:
            return bytes(self.wire)
        return unstuff(bytes(self.wire[:-3] if self.complete else self.wire))

    @property
    def trace(self):
        """The Received field that the gateway put before the message."""
        match = re.match(rb"Received:.*?\r\n(?![ \t])", self.data, re.S)
        return match.group(0).decode() if match else ""

    @property
    def original(self):
        """What the client sent: everything behind the trace field."""
        return self.data[len(self.trace.encode()):]


class Gone(Exception):
    pass


class Session:
    def __init__(self, backend, connection, number):
        self.backend, self.socket, self.number = backend, connection, number
        self.received = bytearray()  # every octet that came
        self.commands = []    # every command line, without CRLF
        self.input = b""
        self.hello = self.sender = None
        self.mail_line = ""
        self.recipients = []
        self.message = None   # the one under way
        self.proxy_header = None
        self.closed = None    # "closed", "reset", or "dropped" by us

    def cut(self):
        """Ends the connection from outside of its thread, if it is still there."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def read(self):
        try:
            more = self.socket.recv(262144)
        except TimeoutError:
            raise Gone("idle") from None
        except OSError:
            raise Gone("reset") from None
        if not more:
            raise Gone("closed")
        self.received += more
        self.input += more

    def line(self):
        while b"\r\n" not in self.input:
            self.read()
        line, self.input = self.input.split(b"\r\n", 1)
        return line.decode("utf-8", "surrogateescape")

    def octets(self, count):
        while len(self.input) < count:
            self.read()
        taken, self.input = self.input[:count], self.input[count:]
        return taken

    def write(self, octets):
        try:
            self.socket.sendall(octets)
        except OSError:
            raise Gone("reset") from None

    def say(self, phase, argument, default):
        """Answers a phase; gives the reply's code, 0 when it had none."""
        what = self.backend.next_answer(phase, argument, self)
        if what is None:
            what = default
        return self.act(what)

    def act(self, what):
        if isinstance(what, Delay):
            self.backend.stopping.wait(what.seconds)
            return self.act(what.reply)
        if isinstance(what, Stall):
            self.backend.released.wait()
            raise Gone("dropped")
        if isinstance(what, Flood):
            for _ in range(what.octets // len(what.line)):
                self.write(what.line)
            raise Gone("dropped")
        if isinstance(what, Drop):
            if what.say:
                self.act(what.say)
            if isinstance(what, Reset):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise Gone("dropped")
        raw = what if isinstance(what, bytes) else wire_reply(what)
        code = int(raw[:3]) if raw[:3].isdigit() else 0
        if self.message is not None and self.message.complete:
            self.message.answer = code
        self.write(raw)
        return code

    def run(self):
        if self.backend.expects_proxy:
            self.proxy_header = self.read_proxy_header()
        if self.backend.next_answer("connect", None, self, peek=True) is not None:
            self.say("connect", None, b"")
        self.say("greeting", None, "220 backend.example ESMTP fake")
        while True:
            line = self.line()
            self.commands.append(line)
            verb, _, rest = line.partition(" ")
            if not self.command(verb.upper(), rest):
                return

    def read_proxy_header(self):
        head = self.octets(16)
        if not head.startswith(b"\r\n\r\n\0\r\nQUIT\n"):
            raise Gone("no PROXY v2 header")
        return head + self.octets(struct.unpack("!H", head[14:16])[0])

    def command(self, verb, rest):
        if verb in ("EHLO", "HELO", "LHLO"):
            self.hello = rest
            lines = ["backend.example", *(self.backend.extensions if verb != "HELO" else ())]
            self.say("EHLO", verb, "\n".join(("250-" if index + 1 < len(lines) else "250 ") + text for index, text in enumerate(lines)))
            self.begin()
        elif verb == "MAIL":
            self.mail_line = f"MAIL {rest}"
            address = re.search(r"<(.*?)>", rest)
            if self.say("MAIL", address and address.group(1), "250 2.1.0 ok") // 100 == 2:
                self.sender = address.group(1) if address else rest
        elif verb == "RCPT":
            address = re.search(r"<(.*?)>", rest)
            if self.say("RCPT", address and address.group(1), "250 2.1.5 ok" if self.sender is not None else "503 5.5.1 MAIL first") // 100 == 2:
                self.recipients.append(address.group(1) if address else rest)
        elif verb == "DATA":
            ok = "354 go on" if self.recipients else "554 5.5.1 no valid recipients"
            if self.say("DATA", None, ok) // 100 == 3:
                self.data()
        elif verb == "BDAT":
            self.chunk(rest)
        elif verb == "RSET":
            self.begin()
            self.say("RSET", None, "250 2.0.0 ok")
        elif verb == "QUIT":
            self.say("QUIT", None, "221 2.0.0 bye")
            return False
        else:
            self.say(verb, rest, "250 2.0.0 ok" if verb == "NOOP" else "502 5.5.1 unknown")
        return True

    def begin(self):
        self.sender, self.recipients, self.message = None, [], None

    def open_message(self):
        if self.message is None:
            self.message = Message(self.sender, self.recipients, self)
            self.backend.add(self.message)
        return self.message

    def body_action(self, octets_so_far):
        action = self.backend.next_answer("BODY", None, self, peek=True)
        if action is not None and octets_so_far >= getattr(action, "after", 0):
            self.act(self.backend.next_answer("BODY", None, self))

    def data(self):
        message = self.open_message()
        wire = message.wire
        while True:
            self.body_action(len(wire) + len(self.input))
            search_from = max(0, len(wire) - 4)
            wire += self.input
            self.input = b""
            found = 0 if wire.startswith(b".\r\n") else wire.find(b"\r\n.\r\n", search_from)
            if found >= 0:
                end = 3 if wire.startswith(b".\r\n") else found + 5
                self.input = bytes(wire[end:])
                del wire[end:]
                break
            self.read()
        self.finish(message)

    def chunk(self, rest):
        parts = rest.upper().split()
        size, last = int(parts[0]), parts[1:] == ["LAST"]
        if not self.recipients:
            self.octets(size)
            self.say("BDAT", rest, "503 5.5.1 no valid recipients")
            return
        message = self.open_message()
        message.chunked = True
        message.chunks.append(size)
        taken = 0
        while taken < size:
            self.body_action(len(message.wire) + len(self.input))
            if not self.input:
                self.read()
            piece, self.input = self.input[:size - taken], self.input[size - taken:]
            message.wire += piece
            taken += len(piece)
        if last:
            self.finish(message)
        elif self.say("BDAT", rest, "250 2.0.0 chunk") // 100 != 2:
            self.begin()

    def finish(self, message):
        message.complete = True
        self.backend.changed()
        for recipient in (self.recipients if self.backend.lmtp else [None]):
            self.say("END", recipient, "250 2.0.0 taken by backend")
        self.begin()
        self.backend.changed()


def wire_reply(text):
    lines = text.split("\n")
    code = lines[0][:3]
    full = [line if re.match(rf"{code}[ -]", line) else f"{code}-{line}" for line in lines]
    full = [line[:3] + ("-" if index + 1 < len(full) else " ") + line[4:] for index, line in enumerate(full)]
    return ("\r\n".join(full) + "\r\n").encode("utf-8", "surrogateescape")


class Backend:
    def __init__(self, replies=None, lmtp=False, extensions=EXTENSIONS, address=None, expects_proxy=False, idle_timeout=60, receive_buffer=None):
        self.replies = dict(replies or {})
        self.lmtp, self.extensions, self.expects_proxy, self.idle_timeout = lmtp, tuple(extensions), expects_proxy, idle_timeout
        self.lock = threading.Lock()
        self.condition = threading.Condition(self.lock)
        self.stopping, self.released = threading.Event(), threading.Event()
        self.sessions, self.messages = [], []
        self.open_now = self.open_most = 0
        if isinstance(address, str):
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(address)
            self.address = f"unix:{address}"
        else:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if receive_buffer:
                self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.listener.bind(address or ("127.0.0.1", 0))
            self.address = "%s:%d" % self.listener.getsockname()
        self.listener.listen(512)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _accept(self):
        while not self.stopping.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(self.idle_timeout)
            if connection.family == socket.AF_INET:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                session = Session(self, connection, len(self.sessions))
                self.sessions.append(session)
                self.open_now += 1
                self.open_most = max(self.open_most, self.open_now)
            threading.Thread(target=self._serve, args=(session,), daemon=True).start()

    def _serve(self, session):
        try:
            session.run()
            session.closed = "dropped"
        except Gone as why:
            session.closed = str(why)
        except (ValueError, IndexError) as error:
            session.closed = f"confused: {error}"
        finally:
            session.socket.close()
            with self.condition:
                self.open_now -= 1
                self.condition.notify_all()

    def next_answer(self, phase, argument, session, peek=False):
        with self.lock:
            what = self.replies.get(phase)
            if isinstance(what, list):
                what = what[0] if len(what) == 1 or peek else what.pop(0)
        if callable(what):
            what = what(session, argument)
        if isinstance(what, dict):
            what = what.get(argument, what.get(None))
        return what

    def add(self, message):
        with self.condition:
            self.messages.append(message)
            self.condition.notify_all()

    def changed(self):
        with self.condition:
            self.condition.notify_all()

    def delivered(self):
        """The messages that came whole and were answered 2xx."""
        return [message for message in self.messages if message.complete and (message.answer or 0) // 100 == 2]

    def transactions(self):
        """The sessions that went past EHLO: probes don't."""
        return [session for session in self.sessions if any(line.upper().startswith("MAIL") for line in session.commands)]

    def wait(self, predicate, timeout=20, what="the backend's state"):
        with self.condition:
            limit = time.monotonic() + timeout
            while not predicate():
                left = limit - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{what} did not come in {timeout} s; commands: {[session.commands for session in self.sessions]}")
                self.condition.wait(min(left, 0.05))

    def wait_messages(self, count):
        self.wait(lambda: len(self.delivered()) >= count, what=f"message {count}")
        return self.delivered()

    def stop(self):
        self.stopping.set()
        self.released.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for session in list(self.sessions):
            session.cut()
