"""A raw SMTP client: sends exactly the octets it is told to, and says exactly what came back."""

import re
import socket
import struct


class Reply:
    """One reply, all its lines: code, text (without codes, joined by newlines) and the octets as they came."""

    def __init__(self, raw):
        self.raw = raw
        self.lines = raw.decode("utf-8", "replace").split("\r\n")[:-1]
        self.code = int(self.lines[-1][:3])
        self.text = "\n".join(line[4:] for line in self.lines)

    def __str__(self):
        return self.raw.decode("utf-8", "replace").rstrip("\r\n")

    __repr__ = __str__


class Closed(Exception):
    """The other side closed the connection, or reset it, where a reply was expected."""


class Client:
    """Connects at once; every read has a time limit, so that a hang is a failure and not a wait."""

    def __init__(self, address, timeout=20, source=None, greet=True, receive_buffer=None):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        self.input = b""
        self.greeting = self.expect("220") if greet else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, octets):
        self.socket.sendall(octets.encode() if isinstance(octets, str) else octets)

    def lines(self, *lines):
        """Several commands in one write: pipelining."""
        self.send("".join(line + "\r\n" for line in lines))

    def line(self):
        while b"\r\n" not in self.input:
            try:
                more = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError) as error:
                raise Closed(f"reset; unread: {self.input!r}") from error
            if not more:
                raise Closed(f"closed; unread: {self.input!r}")
            self.input += more
        line, self.input = self.input.split(b"\r\n", 1)
        return line + b"\r\n"

    def reply(self):
        raw = b""
        while True:
            line = self.line()
            if not re.match(rb"[2-5][0-9][0-9][ -]|[2-5][0-9][0-9]\r\n", line):
                raise AssertionError(f"not a reply line: {line!r}")
            raw += line
            if line[3:4] != b"-":
                return Reply(raw)

    def expect(self, start):
        """Reads one reply, whose last line must start with `start` ("250 2.1.0")."""
        reply = self.reply()
        if not reply.lines[-1].startswith(start):
            raise AssertionError(f"expected '{start}…', got: {reply}")
        return reply

    def cmd(self, line, start=None):
        """Sends one command line and reads its reply, which must start with `start` when that is given."""
        self.send((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        return self.expect(start) if start else self.reply()

    def ehlo(self, name="client.example"):
        return self.cmd(f"EHLO {name}", "250")

    def envelope(self, *recipients, sender="sender@example.net", mail_parameters=""):
        self.cmd(f"MAIL FROM:<{sender}>{mail_parameters}", "250 2.1.0")
        for recipient in recipients:
            self.cmd(f"RCPT TO:<{recipient}>", "250 2.1.5")

    def message(self, *recipients, body=b"Subject: x\r\n\r\nhello\r\n", sender="sender@example.net", start="250"):
        """A whole transaction, lock-step, by DATA; `body` is stuffed here and ends with CRLF. Gives the final reply."""
        self.envelope(*recipients, sender=sender)
        self.cmd("DATA", "354")
        self.send(stuff(body) + b".\r\n")
        return self.expect(start)

    def end(self):
        """Reads to the end of the stream; gives what was still in it. A reset counts as an end."""
        try:
            while True:
                more = self.socket.recv(65536)
                if not more:
                    break
                self.input += more
        except ConnectionResetError:
            pass
        rest, self.input = self.input, b""
        return rest

    def expect_closed(self):
        rest = self.end()
        if rest:
            raise AssertionError(f"expected the end of the connection, got {rest!r}")

    def silent(self, seconds=0.2):
        """Whether nothing arrives for that long."""
        if self.input:
            return False
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            self.input += self.socket.recv(65536)
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(before)

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Leaves with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()


def stuff(body):
    """The dot-stuffed form of a message: only CRLF ends a line."""
    return re.sub(rb"(\A|\r\n)\.", rb"\1..", body)


def unstuff(wire):
    return re.sub(rb"(\A|\r\n)\.", rb"\1", wire)
