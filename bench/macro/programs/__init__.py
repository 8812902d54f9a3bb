"""The programs that are measured, a module a kind. One more is one more entry in ALL."""

from programs import floors, generators, haraka, postfix, proxies, ringmx, sinks

ALL = (
    generators.RingmxLoad(), generators.SmtpSource(), generators.FloorLoad(),
    sinks.RingmxSink(), sinks.SmtpSink(), sinks.FloorSink(),
    ringmx.Ringmx("ringmx", "forward", "backend"),
    ringmx.Ringmx("other", "forward", "backend"),
    *(floors.FloorRelay(name, exchanges) for name, exchanges in floors.RELAYS),
    proxies.Nginx("nginx", False), proxies.Nginx("nginx-chunking", True), proxies.HaProxy(),
    ringmx.Ringmx("ringmx-relay", "forward", "spool"),
    postfix.Proxy(), postfix.Relay(), haraka.Forward(),
    ringmx.Ringmx("ringmx-spool", "durable", "spool"),
    floors.FloorLog(), postfix.Queue(), haraka.Queue(),
)
BY_NAME = {peer.name: peer for peer in ALL}


def of_class(does):
    """Those measured where no others are asked for."""
    return tuple(peer.name for peer in ALL if peer.takes_part(does) and peer.by_default)
