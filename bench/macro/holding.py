#!/usr/bin/env python3
"""Idle clients: connections that take their greeting and an EHLO reply and then stay silent.

    holding.py PORT COUNT     opens them, says "held", and keeps them until its input ends

From twenty addresses of 127.0.0.0/8, so that ports suffice. As a program of its own it has a limit
of descriptors of its own.
"""

import resource
import socket
import sys

SOURCES = 20
BATCH = 100
BIND_ADDRESS_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT of linux/in.h: the port is chosen at connect


def reply(link):
    """Reads one whole reply."""
    text = b""
    while not (text.endswith(b"\r\n") and text[text.rfind(b"\n", 0, -1) + 1:][3:4] == b" "):
        data = link.recv(4096)
        if not data:
            raise SystemExit(f"closed by the server: {text.decode(errors='replace').strip()}")
        text += data
    if not text.startswith(b"2"):
        raise SystemExit(f"refused: {text.decode(errors='replace').strip()}")


def open_links(links, count, port):
    """Opens more until there are `count`."""
    while len(links) < count:
        batch = []
        for _ in range(min(BATCH, count - len(links))):
            link = socket.socket()
            link.settimeout(60)
            source = 2 + (len(links) + len(batch)) % SOURCES
            link.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
            link.bind((f"127.0.0.{source}", 0))
            link.connect(("127.0.0.1", port))
            batch.append(link)
        for link in batch:
            reply(link)
            link.sendall(b"EHLO client.example\r\n")
        for link in batch:
            reply(link)
        links += batch


def main():
    port, count = (int(word) for word in sys.argv[1:])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    links = []
    open_links(links, count, port)
    print("held", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
