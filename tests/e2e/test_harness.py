"""The harness itself: the fake backend speaks SMTP that Python's smtplib understands, and misbehaves as it is told to."""

import smtplib
import unittest

import harness
from fake_backend import Backend, Delay, Drop, Flood, Reset
from smtp_client import Client, Closed, stuff, unstuff


def client_of(backend):
    host, port = backend.address.split(":")
    return Client((host, int(port)))


class FakeBackend(unittest.TestCase):
    def test_smtplib_delivers_and_the_octets_are_kept(self):
        with Backend() as backend:
            host, port = backend.address.split(":")
            with smtplib.SMTP(host, int(port)) as smtp:
                smtp.sendmail("a@example.net", ["b@example.com", "c@example.com"], b"Subject: x\r\n\r\n.dot\r\n..\r\n")
            message = backend.wait_messages(1)[0]
            self.assertEqual(message.data, b"Subject: x\r\n\r\n.dot\r\n..\r\n")
            self.assertEqual((message.sender, message.recipients), ("a@example.net", ["b@example.com", "c@example.com"]))

    def test_answers_by_address_in_order_and_by_function(self):
        with Backend({"RCPT": {"bad@x": "550 5.1.1 no\nsuch user", None: "250 2.1.5 yes"}, "END": ["451 4.3.0 later", "250 2.0.0 ok"],
                      "MAIL": lambda session, argument: "250 2.1.0 " + argument}) as backend:
            client = client_of(backend)
            client.ehlo()
            for expected in ("451 4.3.0", "250 2.0.0"):
                client.cmd("MAIL FROM:<a@b>", "250 2.1.0 a@b")
                self.assertEqual(client.cmd("RCPT TO:<bad@x>").raw, b"550-5.1.1 no\r\n550 such user\r\n")
                client.cmd("RCPT TO:<c@d>", "250 2.1.5 yes")
                client.cmd("DATA", "354")
                client.send(b"x\r\n.\r\n")
                client.expect(expected)
            self.assertEqual(len(backend.messages), 2)
            self.assertEqual(len(backend.delivered()), 1)

    def test_chunks_make_one_message(self):
        with Backend() as backend:
            client = client_of(backend)
            client.ehlo()
            client.lines("MAIL FROM:<a@b>", "RCPT TO:<c@d>")
            client.send(b"BDAT 5\r\n.\r\nabBDAT 2 LAST\r\ncd")
            for start in ("250 2.1.0", "250 2.1.5", "250 2.0.0 chunk", "250 2.0.0 taken"):
                client.expect(start)
            self.assertEqual(bytes(backend.messages[0].data), b".\r\nabcd")

    def test_lmtp_answers_once_per_recipient(self):
        with Backend({"END": {"a@x": "250 2.0.0 a", "b@x": "452 4.2.2 full"}}, lmtp=True) as backend:
            client = client_of(backend)
            client.cmd("LHLO me", "250")
            client.envelope("a@x", "b@x")
            client.cmd("DATA", "354")
            client.send(b"x\r\n.\r\n")
            client.expect("250 2.0.0 a")
            client.expect("452 4.2.2")

    def test_misbehaves_on_demand(self):
        for phase, action in (("greeting", Drop()), ("EHLO", Reset()), ("EHLO", Flood(100000)), ("greeting", Delay(0.01, b"garbage\r\n"))):
            with self.subTest(phase=phase, action=type(action).__name__), Backend({phase: action}) as backend:
                with self.assertRaises((Closed, AssertionError)):
                    client_of(backend).ehlo()

    def test_drops_inside_the_body(self):
        with Backend({"BODY": Drop(after=100)}) as backend:
            client = client_of(backend)
            client.ehlo()
            client.envelope("a@x")
            client.cmd("DATA", "354")
            client.send(b"x" * 200)
            with self.assertRaises(Closed):
                client.reply()
            self.assertFalse(backend.messages[0].complete)

    def test_stuffing_is_reversible(self):
        for body in (b"", b".", b".\r\n.\r\n", b"a\r\n.b\r\n..c\r\n", b"a\n.b\r\n"):
            self.assertEqual(unstuff(stuff(body)), body)
        self.assertEqual(stuff(b".\r\n.a\n.b"), b"..\r\n..a\n.b")


class Parts(unittest.TestCase):
    def test_ports_are_different(self):
        ports = {harness.free_port() for _ in range(20)}
        self.assertEqual(len(ports), 20)

    def test_metrics_are_parsed(self):
        text = '# TYPE a counter\na_total 3\nb{x="1",y="a\\"b"} 2.5\nb{x="2",y=""} 1e3\n'
        self.assertEqual(harness.parse_metrics(text), {("a_total", ()): 3.0, ("b", (("x", "1"), ("y", 'a"b'))): 2.5, ("b", (("x", "2"), ("y", ""))): 1000.0})
        with self.assertRaises(AssertionError):
            harness.parse_metrics("nonsense here and there\n")


if __name__ == "__main__":
    unittest.main()
