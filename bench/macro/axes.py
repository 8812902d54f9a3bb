"""What bench/macro/scaling varies, an axis each: connections, idle connections, message size,
routes, backends. An axis sets up its stand with every point's server up at once, so that a round
takes all points in turn."""

import json
import subprocess
import sys

import backends
import loads
import processes
from failed import Failed
from programs import ringmx
from programs.peer import Server
from surroundings import ROOT

KIB, MIB = 1024, 1024 * 1024
CONNECTIONS = 20
OCTETS = 4 * KIB
# Each kept connection brings so many messages and ends: the share that its set-up has in a
# message's cost is then the same at each point.
MESSAGES_PER_CONNECTION = 5


class Axis:
    """`points` by default, at each a server by name in stand.servers and a load for it."""

    key = x_label = ""
    points = ()
    connections_max = CONNECTIONS
    bounds = {}        # {point: the most of the first point's cost}
    log_y = False      # where the cost is meant to grow

    def start(self, stand, points):
        """Starts what the points need."""
        for point in points:
            start_ringmx(stand, str(point))

    def server(self, point):
        return str(point)

    def load(self, stand, _point):
        return load(stand)

    def step_at(self, _point):
        return 1


def start_ringmx(stand, name, alter=None, ports=None):
    """ringmx as it is measured elsewhere, its configuration altered by `alter`."""
    port = processes.free_port()
    config = ringmx.configuration(port, ports or [stand.backend.port], processes.free_port(),
                                  stand.workers)
    if alter:
        alter(config)
    path = stand.write(f"{name}/ringmx.json", json.dumps(config))
    process = stand.launch([stand.program("ringmx"), "serve", "--config", path], port)
    stand.servers[name] = Server(process, port)


def load(stand, octets=OCTETS, connections=CONNECTIONS, options=(), **others):
    return loads.RingmxLoad(stand.program("ringmx-load"), octets, connections, True,
                            ("--pipelining", *options), records=True, **others)


class Connections(Axis):
    key, x_label = "connections", "connections that send, five messages each"
    points = (10, 100, 1000, 10000, 18000)
    connections_max = 18000

    def start(self, stand, points):
        start_ringmx(stand, "all")

    def server(self, point):
        return "all"

    def load(self, stand, point):
        # A port is free again only a minute after its connection: one address has too few.
        return load(stand, connections=point, options=(
            "--messages-per-connection", str(MESSAGES_PER_CONNECTION),
            "--source", "127.16.0.0/16"))

    def step_at(self, point):
        return point * MESSAGES_PER_CONNECTION


class Idle(Axis):
    key, x_label = "idle", "idle connections beside 20 that send"
    points = (10, 1000, 10000, 18000)
    bounds = {18000: 1.20}

    def start(self, stand, points):
        for point in points:
            start_ringmx(stand, str(point))
            hold(stand, stand.servers[str(point)].port, point)


def hold(stand, port, count):
    """Keeps idle connections until the stand ends."""
    process = subprocess.Popen([sys.executable, f"{ROOT}/bench/macro/holding.py", str(port),
                                str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               start_new_session=True)
    stand.started.append(process)
    if process.stdout.readline() != b"held\n":
        raise Failed(f"{count} idle connections could not be opened")


class Size(Axis):
    key, x_label = "size", "octets a message"
    points = (KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 50 * MIB)
    log_y = True

    def start(self, stand, points):
        start_ringmx(stand, "all")

    def server(self, point):
        return "all"

    def load(self, stand, point):
        return load(stand, octets=point)


class Routes(Axis):
    key, x_label = "routes", "routes, a domain each"
    points = (10, 1000, 100_000, 1_000_000)

    def start(self, stand, points):
        for point in points:
            entries = "".join(f"d{number}-0.example\n" for number in range(point))
            path = stand.write(f"{point}/routes.txt", entries)
            start_ringmx(stand, str(point), lambda config, path=path: config["routes"].append(
                {"recipients_file": path, "pool": "sink"}))

    def load(self, stand, _point):
        # The generator's numbers are N-0; those past the last domain take the route "*".
        return load(stand, recipient="user@d%.example")


class Backends(Axis):
    key, x_label = "backends", "backends of the pool, chosen by recipient"
    points = (2, 10, 50, 100, 250, 500)

    def start(self, stand, points):
        sink = stand.backend = backends.RingmxSink(stand, backends=max(points))
        for point in points:
            start_ringmx(stand, str(point),
                         lambda config: config["pools"]["sink"].update(hash="recipient"),
                         sink.ports[:point])


ALL = {axis.key: axis for axis in (Connections(), Idle(), Size(), Routes(), Backends())}
