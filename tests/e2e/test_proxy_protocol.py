"""The PROXY protocol in front of a listener: versions 1 and 2, who may speak it, and what follows from the proxied address."""

import socket
import struct
import unittest

from harness import EndToEnd, config, pool
from smtp_client import Client, Closed

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXIED = {"proxy_protocol": {"trusted": ["127.0.0.1/32"], "timeout": "500ms"}}


def v2(source, destination=("127.0.0.1", 25), command=0x21, extra=b"", family=None):
    if ":" in source[0]:
        packed = socket.inet_pton(socket.AF_INET6, source[0]) + socket.inet_pton(socket.AF_INET6, "::1")
        family = family or 0x21
    else:
        packed = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
        family = family or 0x11
    body = packed + struct.pack("!HH", source[1], destination[1]) + extra
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


class ProxyProtocol(EndToEnd):
    def through(self, header, gateway=None, source=None):
        client = Client((gateway or self.gateway_under_test).smtp, greet=False, source=source)
        self.addCleanup(client.close)
        client.send(header)
        return client

    def setUp(self):
        super().setUp()
        self.gateway_under_test, self.backend_under_test = self.simple(listener=PROXIED, timeouts={"command": "5m"})

    def trace_through(self, header):
        client = self.through(header)
        client.expect("220")
        client.ehlo()
        count = len(self.backend_under_test.delivered())
        client.message("a@example.com")
        return self.backend_under_test.wait_messages(count + 1)[-1].trace

    def test_the_proxied_address_is_the_clients(self):
        for header, shown in ((b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n", "192.0.2.7"), (v2(("192.0.2.8", 4711)), "192.0.2.8"),
                              (b"PROXY TCP6 2001:db8::7 ::1 4711 25\r\n", "2001:db8::7"), (v2(("2001:db8::8", 4711)), "2001:db8::8"),
                              (v2(("192.0.2.9", 1), extra=b"\x04\x00\x05hello"), "192.0.2.9")):
            with self.subTest(header=header):
                self.assertIn(shown, self.trace_through(header))

    def test_unknown_and_local_keep_the_peers_own_address(self):
        for header in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff:f... 1 2\r\n", v2(("192.0.2.8", 4711), command=0x20), SIGNATURE + b"\x20\x00\x00\x00"):
            with self.subTest(header=header):
                trace = self.trace_through(header)
                self.assertIn("127.0.0.1", trace)
                self.assertNotIn("192.0.2.8", trace)

    def test_a_header_in_pieces_and_with_commands_behind_it(self):
        for header in (b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n", v2(("192.0.2.8", 4711))):
            client = Client(self.gateway_under_test.smtp, greet=False)
            self.addCleanup(client.close)
            for octet in header:
                client.send(bytes([octet]))
            client.expect("220")
            client.ehlo()
            client = self.through(header + b"EHLO x.example\r\nNOOP\r\n")
            client.expect("220")
            client.expect("250")
            client.expect("250 2.0.0")

    def test_bad_headers_are_dropped_without_a_word(self):
        for header in (b"PROXY TCP4 192.0.2.7 127.0.0.1 4711\r\n", b"PROXY TCP4 999.0.2.7 127.0.0.1 4711 25\r\n", b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
                       b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 65536\r\n", b"EHLO x.example\r\n", b"PROXY " + b"x" * 200 + b"\r\n",
                       SIGNATURE + b"\x31\x11\x00\x0c" + b"\0" * 12, SIGNATURE + b"\x21\x11\x00\x04abcd", b"\r\n\r\nX"):
            with self.subTest(header=header):
                self.assertEqual(self.through(header).end(), b"")

    def test_silence_is_dropped(self):
        self.assertEqual(self.through(b"").end(), b"")
        self.assertEqual(self.through(b"PROXY TCP4").end(), b"")

    def test_other_peers_are_refused(self):
        for header in (b"", b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n"):
            try:
                rest = self.through(header, source="127.0.0.2").end()
            except OSError:
                rest = b""
            self.assertNotIn(b"220", rest)

    def test_without_the_setting_a_header_is_a_bad_command(self):
        gateway, _ = self.simple()
        client = self.through(b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n", gateway)
        client.expect("220")
        client.expect("500 5.5.2")

    def test_limits_go_by_the_proxied_address_and_spare_the_proxy(self):
        gateway, _ = self.simple(listener=PROXIED, limits={"connections_per_client": 1})
        first = self.through(v2(("192.0.2.1", 1)), gateway)
        first.expect("220")
        self.through(v2(("192.0.2.2", 1)), gateway).expect("220")
        self.through(v2(("192.0.2.1", 2)), gateway).expect("421 4.7.0")
        for _ in range(3):
            self.through(b"PROXY UNKNOWN\r\n", gateway).expect("220")

    def test_hash_by_client_address_uses_the_proxied_one(self):
        backends = [self.backend() for _ in range(3)]
        gateway = self.gateway(config({"main": pool(*backends, hash="client_address")}, listener=PROXIED))
        for number in range(24):
            client = self.through(v2((f"192.0.2.{number}", 1)), gateway)
            client.expect("220")
            client.ehlo()
            client.message("a@example.com")
        self.assertTrue(all(backend.delivered() for backend in backends))
        self.assertEqual(sum(len(backend.delivered()) for backend in backends), 24)


if __name__ == "__main__":
    unittest.main()
