"""Limits per client, per connection and in all."""

import unittest

from harness import EndToEnd, wait_until
from smtp_client import Client


class Limits(EndToEnd):
    def test_too_many_connections_per_client(self):
        gateway, _ = self.simple(limits={"connections_per_client": 2})
        first, second = self.client(gateway), self.client(gateway)
        third = Client(gateway.smtp, greet=False)
        self.addCleanup(third.close)
        third.expect("421 4.7.0")
        third.expect_closed()
        self.client(gateway, source="127.0.0.2").cmd("NOOP", "250")
        first.cmd("QUIT", "221")

        def admitted():
            with Client(gateway.smtp, greet=False) as again:
                return again.reply().code == 220

        wait_until(admitted, what="room again")
        second.cmd("NOOP", "250")

    def test_too_many_connections_in_all(self):
        gateway, _ = self.simple(limits={"connections": 2})
        kept = [self.client(gateway, source=f"127.0.0.{number}") for number in (1, 2)]
        third = Client(gateway.smtp, greet=False, source="127.0.0.3")
        self.addCleanup(third.close)
        third.expect("421 4.3.2")
        third.expect_closed()
        for client in kept:
            client.cmd("NOOP", "250")

    def test_connection_rate(self):
        gateway, _ = self.simple(limits={"connection_rate_per_client": "5/5m"})
        codes = []
        for _ in range(12):
            with Client(gateway.smtp, greet=False) as client:
                reply = client.reply()
                codes.append(reply.code)
                if reply.code != 220:
                    self.assertTrue(str(reply).startswith("421 4.7.0"), reply)
        self.assertIn(220, codes)
        self.assertEqual(codes[-1], 421)
        self.client(gateway, source="127.0.0.9")

    def test_message_and_recipient_rates(self):
        gateway, backend = self.simple(limits={"message_rate_per_client": "3/5m"})
        client = self.client(gateway)
        replies = [str(client.cmd("MAIL FROM:<a@example.net>")) for _ in range(12) if client.cmd("RSET", "250")]
        self.assertTrue(replies[0].startswith("250"))
        self.assertTrue(replies[-1].startswith("450 4.7.1"), replies)
        gateway, backend = self.simple(limits={"recipient_rate_per_client": "3/5m"})
        client = self.client(gateway)
        client.cmd("MAIL FROM:<a@example.net>", "250")
        replies = [str(client.cmd(f"RCPT TO:<a{number}@example.com>")) for number in range(12)]
        self.assertTrue(replies[0].startswith("250"))
        self.assertTrue(replies[-1].startswith("450 4.7.1"), replies)

    def test_exempt_networks_are_under_no_limit(self):
        gateway, _ = self.simple(limits={"connections_per_client": 1, "connection_rate_per_client": "1/5m", "message_rate_per_client": "1/5m",
                                         "exempt": ["127.0.0.1/32"]})
        clients = [self.client(gateway) for _ in range(5)]
        for client in clients:
            client.message("a@example.com")
        self.client(gateway, source="127.0.0.2")
        with Client(gateway.smtp, greet=False, source="127.0.0.2") as client:
            client.expect("421 4.7.0")

    def test_prefixes_make_one_client(self):
        gateway, _ = self.simple(limits={"connections_per_client": 1, "client_prefix_v4": 24})
        self.client(gateway, source="127.0.0.5")
        with Client(gateway.smtp, greet=False, source="127.0.0.6") as client:
            client.expect("421 4.7.0")
        self.client(gateway, source="127.0.1.5")

    def test_errors_end_a_connection(self):
        gateway, _ = self.simple({"RCPT": {"no@example.com": "550 5.1.1 no", None: "250 2.1.5 ok"}}, limits={"errors_per_connection": 3})
        client = self.client(gateway)
        for _ in range(3):
            client.cmd("FROB", "500 5.5.2")
        client.cmd("FROB", "421 4.7.0")
        client.expect_closed()
        client = self.client(gateway)
        for _ in range(3):
            client.cmd("FROB", "500 5.5.2")
        client.cmd("MAIL FROM:<a@example.net>", "250")
        for _ in range(5):
            client.cmd("RCPT TO:<no@example.com>", "550 5.1.1")  # a backend's reply never counts
        client.cmd("RCPT TO:<a@example.com>", "250")
        client.cmd("DATA", "354")
        client.send(b"x\ny\r\n.\r\n")
        client.expect("550 5.6.0")  # refused message data doesn't either
        client.message("a@example.com")  # and an accepted message sets the count to 0
        for _ in range(3):
            client.cmd("FROB", "500 5.5.2")
        client.cmd("FROB", "421 4.7.0")

    def test_unknown_recipients_end_a_connection(self):
        gateway, _ = self.simple({"RCPT": {"no@example.com": "550 5.1.1 no", None: "250 2.1.5 ok"}}, limits={"unknown_recipients_per_connection": 2})
        client = self.client(gateway)
        client.cmd("MAIL FROM:<a@example.net>", "250")
        client.cmd("RCPT TO:<no@example.com>", "550 5.1.1")
        client.cmd("RCPT TO:<yes@example.com>", "250")
        client.cmd("RCPT TO:<no@example.com>", "550 5.1.1")
        client.cmd("RCPT TO:<no@example.com>", "421 4.7.0")
        client.expect_closed()

    def test_pipelined_errors_stop_at_the_limit(self):
        gateway, _ = self.simple(limits={"errors_per_connection": 3})
        client = self.client(gateway)
        client.lines(*["FROB"] * 50)
        rest = client.end()
        self.assertEqual(rest.count(b"500 5.5.2"), 3)
        self.assertEqual(rest.count(b"421 4.7.0"), 1)

    def test_one_client_holds_a_quarter_of_a_pools_connections(self):
        gateway, backend = self.simple(pool_settings={"max_connections": 8}, timeouts={"backend_wait": "200ms", "backend_hold": "5m"})
        clients = [self.client(gateway) for _ in range(3)]
        replies = []
        for client in clients:
            client.cmd("MAIL FROM:<a@example.net>", "250")
            replies.append(str(client.cmd("RCPT TO:<a@example.com>")))
        self.assertTrue(replies[0].startswith("250") and replies[1].startswith("250"), replies)
        self.assertTrue(replies[2].startswith("451 4.4.1"), replies)
        gateway.wait_log("pool main: no connection was free within backend_wait")
        other = self.client(gateway, source="127.0.0.7")
        other.message("b@example.com")


if __name__ == "__main__":
    unittest.main()
