"""What tests with other people's programs share: mail to send, a sink to send it to, and a way to say that a program is missing."""

import functools
import os
import pathlib
import unittest

from harness import BIN, EndToEnd, Program, config, free_port, pool, run
from peers import program, started

LOAD = {"exempt": ["127.0.0.0/8"]}


def needs(*names):
    missing = [name for name in names if program(name) is None]
    return unittest.skipIf(missing, f"{', '.join(missing)} is not installed (tools/setup)")


# The one that Debian's python3-* packages are for.
DEBIAN_PYTHON = "/usr/bin/python3"


@functools.cache
def debian_python_lacks(module):
    """Why tests that need it are skipped; empty when it is there."""
    there = os.path.exists(DEBIAN_PYTHON) and run(DEBIAN_PYTHON, "-c", f"import {module}").returncode == 0
    return "" if there else f"python3-{module} is not installed (tools/setup)"


def message_text(octets):
    """A message of about that size with LF line ends: dots, long lines, empty lines, 8-bit octets."""
    head = b"From: <source@example.net>\nTo: <user@example.com>\nSubject: size %d\n\n" % octets
    lines = [b".", b"..", b"", b".dot", b"x" * 900, "grün".encode(), b"plain text of an ordinary line", b"\ttab"]
    body, size, index = [head], len(head), 0
    while size < octets:
        body.append(lines[index % len(lines)] + b"\n")
        size += len(body[-1])
        index += 1
    return b"".join(body)


class PeerCase(EndToEnd):
    here = pathlib.Path(__file__).resolve().parent

    def keep(self, what):
        self.addCleanup(what.stop)
        return what

    def message_file(self, octets):
        path = self.folder / f"message.{octets}"
        path.write_bytes(message_text(octets))
        return path

    def sink(self, *options):
        """ringmx-sink that stores what it takes."""
        port = free_port()
        store = self.folder / f"store-{port}"
        store.mkdir()
        sink = self.keep(Program([BIN / "ringmx-sink", "--listen", f"127.0.0.1:{port}", "--store", store, *options], self.folder, "sink"))
        sink.port, sink.store = port, store
        return started(sink, port)

    def gateway_to(self, port, listener=None, workers=2, **settings):
        return self.gateway(config({"main": pool(f"127.0.0.1:{port}", max_connections=200, **settings)}, listener=listener, workers=workers, limits=LOAD))

    def stored(self, sink):
        """All that the sink took, once it has ended."""
        self.assertEqual(sink.stop(), 0, sink.log())
        return [path.read_bytes() for path in sink.store.glob("*.eml")]

    def behind_the_trace(self, data):
        """What follows the first field, which must be ours."""
        self.assertTrue(data.startswith(b"Received: "), data[:200])
        lines = data.split(b"\n")
        end = next(index for index in range(1, len(lines)) if not lines[index].startswith((b" ", b"\t")))
        return b"\n".join(lines[end:])
