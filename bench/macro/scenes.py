"""What is measured: a class of work, a size, a number of connections, whether they are kept, a
client and a backend. The list of those measured by default carries the aims."""

import fnmatch
import itertools
from dataclasses import dataclass, field

import loads

KIB, MIB = 1024, 1024 * 1024
SIZES = {"1k": KIB, "4k": 4 * KIB, "64k": 64 * KIB, "1m": MIB}
CLASSES = ("send", "discard", "forward", "durable")
# What each class is measured for: its cost is divided by each peer's.
SUBJECTS = {"send": "ringmx-load", "discard": "ringmx-sink", "forward": "ringmx",
            "durable": "ringmx-spool"}
# smtp-source and ringmx-load, in lock-step; ringmx-load with the envelope in one send; and with
# the whole message in it.
CLIENTS = {"source": None, "lockstep": (), "pipelining": ("--pipelining",),
           "chunking": ("--pipelining", "--chunking")}
BACKENDS = ("smtp-sink", "chunking", "plain")
IN_WORDS = {
    "source": "smtp-source", "lockstep": "lock-step", "pipelining": "pipelining",
    "chunking": "pipelining BDAT", "smtp-sink": "smtp-sink", "plain": "no CHUNKING",
}


@dataclass(frozen=True)
class Scene:
    does: str
    size: str
    connections: int
    kept: bool
    client: str
    backend: str  # "none" where nothing is passed on
    bounds: dict = field(default_factory=dict, compare=False)  # {peer: the most of its cost}
    peers: tuple = field(default=(), compare=False)            # none: all of the class
    calls: float | None = field(default=None, compare=False)   # the most system calls a message

    @property
    def octets(self):
        return SIZES[self.size]

    @property
    def key(self):
        parts = [self.does, self.size, str(self.connections), "kept" if self.kept else "single",
                 self.client]
        return "/".join(parts + ([self.backend] if self.does == "forward" else []))

    @property
    def title(self):
        size = {"k": "KiB", "m": "MiB"}[self.size[-1]]
        text = (f"{self.size[:-1]} {size}, {self.connections:,} connections"
                f"{'' if self.kept else ', one a message'}, {IN_WORDS[self.client]}")
        if self.does == "forward":
            text += " to " + ("CHUNKING" if self.backend == "chunking" else
                              IN_WORDS[self.backend])
        return text

    def load(self, stand, records):
        options = CLIENTS[self.client]
        if options is None:
            return loads.SmtpSource(self.octets, self.connections, self.kept)
        return loads.RingmxLoad(stand.program("ringmx-load"), self.octets, self.connections,
                                self.kept, options, records)


FAST = ("ringmx", "floor", "nginx", "haproxy")  # what the scenes of many connections wait for


def forward(size, connections, kept, client, backend, bounds=None, peers=()):
    calls = 1.0 if connections == 100 and kept and size == "4k" else None
    return Scene("forward", size, connections, kept, client, backend,
                 {"floor": 1.3, **(bounds or {})}, peers, calls)


def send(size, connections, kept, bound=0.50):
    return Scene("send", size, connections, kept, "lockstep", "plain",
                 {"smtp-source": bound, "floor-load": 1.3})


def discard(size, connections, kept, client, bound=None):
    return Scene("discard", size, connections, kept, client, "none",
                 {"smtp-sink": bound} if bound else {})


def durable(size, connections, kept, client, bounds=None):
    return Scene("durable", size, connections, kept, client, "none", bounds or {})


DEFAULT = (
    send("4k", 20, True),
    send("4k", 20, False),
    discard("4k", 20, True, "source", 0.40),
    discard("1m", 20, True, "source", 0.10),
    discard("4k", 100, True, "pipelining"),
    discard("4k", 20, False, "source"),
    forward("4k", 20, True, "source", "smtp-sink", {"nginx": 0.60}),
    forward("64k", 20, True, "source", "smtp-sink", {"nginx": 0.70}),
    forward("1m", 20, True, "source", "smtp-sink", {"nginx": 0.85}),
    forward("4k", 20, False, "source", "smtp-sink", {"haproxy": 0.50}),
    forward("4k", 100, True, "lockstep", "plain", peers=FAST),
    forward("4k", 100, True, "pipelining", "plain", peers=FAST),
    forward("4k", 100, True, "pipelining", "chunking", {"nginx": 0.35}, FAST),
    forward("4k", 100, True, "chunking", "chunking", {"nginx": 0.35}, (*FAST, "nginx-chunking", "floor-2")),
    forward("64k", 100, True, "chunking", "chunking", peers=(*FAST, "nginx-chunking")),
    forward("4k", 1000, True, "lockstep", "plain", peers=FAST),
    forward("4k", 1000, False, "lockstep", "plain", peers=FAST),
    durable("4k", 20, True, "lockstep", {"postfix-queue": 0.04, "ringmx-sink": 1.35}),
    durable("1m", 20, True, "lockstep", {"postfix-queue": 0.05}),
    durable("4k", 100, False, "lockstep"),
)


def named(patterns):
    """The default scenes whose keys match; an unknown pattern is a ValueError."""
    found = []
    for pattern in patterns:
        matching = [scene for scene in DEFAULT if fnmatch.fnmatch(scene.key, pattern)]
        if not matching:
            raise ValueError(f"no scene is called {pattern}; --list shows them")
        found += [scene for scene in matching if scene not in found]
    return found


def product(classes, sizes, connections, kept, clients, backends):
    """Every combination, with the aims of the default scene that is the same, if there is one."""
    aims = {scene: scene for scene in DEFAULT}
    found = []
    for does, size, count, keep, client in itertools.product(classes, sizes, connections, kept,
                                                             clients):
        for backend in {"forward": backends, "send": ("plain",)}.get(does, ("none",)):
            scene = Scene(does, size, count, keep, client, backend)
            found.append(aims.get(scene, scene))
    return found
