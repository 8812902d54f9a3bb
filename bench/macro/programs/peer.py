"""What a peer is, and what it is once it runs."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Server:
    """A running peer. What it holds of its own (durable classes) is counted by `kept`, and taken
    away between runs by `emptied`, so that each run finds the same."""

    process: Any
    port: int
    kept: Any = None
    emptied: Any = None
    measured: Any = None  # by itself, given a load and a number of messages: no client can


class Peer:
    name = ""
    does = ""          # send, discard, forward or durable
    beside = ()        # classes that it is a yardstick of
    by_default = True
    audited = True     # passes content on as RFC 5321 has it

    def takes_part(self, does):
        return does == self.does or does in self.beside

    def absent(self, _stand):
        """Why it can't be measured here, None if it can."""
        return None

    def start(self, stand):
        raise NotImplementedError

    version = None     # or what gives (name of the package, its version)
