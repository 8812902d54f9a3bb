"""Rows of the contract that need real sockets and several peers at once: the table of replies by octets, every pair of forms and
extensions, max_connections over workers, and a gateway that is short of descriptors or memory."""

import socket
import struct
import threading
import unittest

import harness
from fake_backend import Delay, Drop, Stall
from harness import EndToEnd, config, pool, wait_until
from smtp_client import Client, Closed, stuff

BASE = ("SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8")
MANY = {"errors_per_connection": 1000}


def run(test, client, *dialog):
    """(command, start of its reply) pairs; all that differ are told at once."""
    differing = []
    for command, start in dialog:
        reply = str(client.cmd(command))
        if not reply.startswith(start):
            differing.append((command[:60], start, reply))
    test.assertEqual(differing, [])


class Replies(EndToEnd):
    def test_before_a_transaction(self):
        gateway, _ = self.simple(limits=MANY)
        client = self.client(gateway, ehlo=False)
        self.assertEqual(str(client.greeting), f"220 {harness.HOSTNAME} ESMTP ringmx")
        run(self, client, ("MAIL FROM:<a@b.example>", "503 5.5.1"), ("RCPT TO:<a@b.example>", "503 5.5.1"), ("DATA", "503 5.5.1"),
            ("BDAT 0 LAST", "503 5.5.1"), ("NOOP", "250 2.0.0"), ("NOOP x", "250 2.0.0"), ("RSET", "250 2.0.0"), ("HELP", "214 2.0.0"),
            ("VRFY a", "252 2.5.0"), ("EXPN a", "502 5.5.1"), ("STARTTLS x", "501 5.5.4"), ("STARTTLS", "502 5.5.1"),
            ("EHLO", "501 5.5.4"), ("HELO", "501 5.5.4"), ("LHLO x", "500 5.5.2"), ("", "500 5.5.2"), ("EHLO x", "250"),
            ("DATA", "503 5.5.1"), ("RCPT TO:<a@b.example>", "503 5.5.1"), ("QUIT now", "501 5.5.4"), ("RSET now", "501 5.5.4"),
            ("x" * 2046, "500 5.5.2"), ("NOOP " + "x" * 2041, "250 2.0.0"), ("NOOP " + "x" * 2042, "500 5.5.2"),
            ("NOOP " + "x" * 20000, "500 5.5.2"), ("NO\nOP", "500 5.5.2"), ("NO\rOP", "500 5.5.2"), ("NOOP\n", "500 5.5.2"),
            ("BDAT x", "501 5.5.4"))
        client.expect_closed()

    def test_envelopes(self):
        gateway, _ = self.simple(limits={**MANY, "message_size": "100KiB"})
        client = self.client(gateway)
        run(self, client, ("MAIL", "501 5.5.4"), ("MAIL FROM:a@b.example", "501 5.1.7"), ("MAIL FROM:<a@b..example>", "501 5.1.7"),
            ("MAIL FROM:<a@b.example> X=1", "555 5.5.4"), ("MAIL FROM:<a@b.example> SIZE=x", "501 5.5.4"),
            ("MAIL FROM:<a@b.example> BODY=BINARYMIME", "501 5.5.4"), ("MAIL FROM:<a@b.example> SIZE=102401", "552 5.3.4"),
            ("MAIL FROM:<\u00fc@b.example>", "553 5.6.7"), ("MAIL FROM:<a@b.example> SIZE=102400", "250 2.1.0"),
            ("MAIL FROM:<a@b.example>", "503 5.5.1"), ("DATA", "554 5.5.1"), ("BDAT 0 LAST", "554 5.5.1"),
            ("RCPT TO:<a@b.example> X=1", "555 5.5.4"), ("RCPT TO:<\u00fc@b.example>", "553 5.6.7"), ("RCPT TO:<>", "501 5.1.3"),
            ("RCPT TO:a@b.example", "501 5.1.3"), ("RCPT TO:<a@b.example>", "250 2.1.5"), ("DATA now", "501 5.5.4"),
            ("EHLO again", "250"), ("RCPT TO:<a@b.example>", "503 5.5.1"), ("MAIL FROM:<a@b.example>", "250 2.1.0"),
            ("HELO again", f"250 {harness.HOSTNAME}"), ("RCPT TO:<a@b.example>", "503 5.5.1"))

    def test_what_is_smuggled_is_never_run(self):
        gateway, backend = self.simple(limits=MANY)
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n\n.\r\n", b"\r\r\n.\r\r\n"):
            with self.subTest(end=end):
                client = self.client(gateway)
                client.envelope("a@b.example")
                client.cmd("DATA", "354")
                client.send(b"x" + end + b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n\r\n.\r\nNOOP\r\n")
                client.expect("550 5.6.0")
                client.expect("250 2.0.0")
        for line in (b".\0", b"\0.", b".\0\0", b"\0.\0"):
            client = self.client(gateway)
            client.envelope("a@b.example")
            client.cmd("DATA", "354")
            client.send(b"x\r\n" + line + b"\r\n.\r\n")
            client.expect("550 5.6.0")
        self.assertEqual(backend.delivered(), [])

    def test_chunks(self):
        gateway, _ = self.simple(limits={**MANY, "message_size": 1000})
        client = self.client(gateway)
        client.send(b"BDAT 6\r\nNOOP\r\n")
        client.expect("503 5.5.1")
        client.cmd("MAIL FROM:<a@b.example>", "250")
        client.send(b"BDAT 6 LAST\r\nNOOP\r\n")
        client.expect("554 5.5.1")
        client.cmd("RCPT TO:<a@b.example>", "250")
        client.send(b"BDAT 6\r\nNOOP\r\n")
        client.expect("250 2.0.0")
        run(self, client, ("DATA", "503 5.5.1"), ("RCPT TO:<b@b.example>", "503 5.5.1"), ("MAIL FROM:<a@b.example>", "503 5.5.1"))
        for chunk in (b"BDAT 1001\r\n" + b"y" * 1001, b"BDAT 3\r\nyyy", b"BDAT 0 LAST\r\n"):
            client.send(chunk)
            client.expect("552 5.3.4")
        for start, body in (("250", b"y" * 998), ("552 5.3.4", b"y" * 999), ("250", b".." + b"y" * 997)):
            client.envelope("a@b.example")
            client.cmd("DATA", "354")
            client.send(body + b"\r\n.\r\n")
            client.expect(start)
        for rest, start in ((b"\ncd", "250"), (b"xcd", "550 5.6.0")):
            client.envelope("a@b.example")
            client.send(b"BDAT 3\r\nab\rBDAT 3 LAST\r\n" + rest)
            client.expect("250 2.0.0")
            client.expect(start)

    def test_an_unknown_recipient_too_many_over_transactions_and_by_route(self):
        backend = self.backend({"RCPT": {"no@b.example": "550 5.1.1 no", None: "250 2.1.5 ok"}})
        gateway = self.gateway(config({"main": pool(backend)}, routes=[{"recipients": ["b.example"], "pool": "main"}],
                                      limits={"unknown_recipients_per_connection": 3}))
        client = self.client(gateway)
        for recipient, start in (("no@b.example", "550 5.1.1"), ("no@far.example", "550 5.7.1"), ("no@b.example", "550 5.1.1")):
            client.cmd("MAIL FROM:<a@b.example>", "250")
            client.cmd(f"RCPT TO:<{recipient}>", start)
            client.cmd("RSET", "250")
        client.message("a@b.example")  # forgives errors, not these
        client.cmd("MAIL FROM:<a@b.example>", "250")
        client.cmd("RCPT TO:<no@b.example>", "421 4.7.0")
        client.expect_closed()


class Peers(EndToEnd):
    def test_every_pair_of_forms_and_extensions(self):
        bodies = (b"Subject: x\r\n\r\nhello\r\n", b".\r\n..\r\n.x\r\n", b"", b"\r\n", b"x" * 70000 + b"\r\n", (b"." * 60 + b"\r\n") * 12000)
        for protocol in ("smtp", "lmtp"):
            for offers in ((), ("PIPELINING",), ("CHUNKING",), ("PIPELINING", "CHUNKING")):
                with self.subTest(protocol=protocol, offers=offers):
                    backend = self.backend(lmtp=protocol == "lmtp", extensions=BASE + offers)
                    gateway = self.gateway(config({"main": pool(backend, protocol=protocol)}))
                    client = self.client(gateway)
                    expected = []
                    for body in bodies:
                        client.message("a@b.example", body=body)
                        client.envelope("a@b.example")
                        half = len(body) // 2
                        client.send(b"BDAT %d\r\n" % half + body[:half])
                        client.expect("250 2.0.0")
                        client.send(b"BDAT %d LAST\r\n" % (len(body) - half) + body[half:])
                        client.expect("250 2.0.0 taken")
                        client.lines("MAIL FROM:<a@b.example>", "RCPT TO:<a@b.example>", "DATA")
                        for start in ("250 2.1.0", "250 2.1.5", "354"):
                            client.expect(start)
                        client.send(stuff(body) + b".\r\n")
                        client.expect("250 2.0.0 taken")
                        expected += [body] * 3
                    arrived = [message.original for message in backend.wait_messages(len(expected))]
                    self.assertEqual([len(body) for body in arrived], [len(body) for body in expected])
                    self.assertTrue(arrived == expected)

    def test_parameters_that_a_backend_does_not_offer_stay_behind(self):
        backend = self.backend(extensions=("PIPELINING",))
        gateway = self.gateway(config({"main": pool(backend)}))
        client = self.client(gateway)
        client.cmd("MAIL FROM:<a@b.example> BODY=8BITMIME SIZE=10", "250")
        client.cmd("RCPT TO:<a@b.example>", "250")
        client.cmd("DATA", "354")
        client.send("\u00fc\r\n.\r\n")
        client.expect("250")
        self.assertEqual(backend.transactions()[0].mail_line, "MAIL FROM:<a@b.example>")
        self.assertTrue(backend.wait_messages(1)[0].original == "\u00fc\r\n".encode())
        wait_until(lambda: "SMTPUTF8" not in str(self.client(gateway, ehlo=False).ehlo()), what="SMTPUTF8 withdrawn")

    def test_report_parameters_go_to_backends_that_offer_dsn_and_to_no_others(self):
        plain, modern = self.backend(extensions=("PIPELINING",)), self.backend()
        gateway = self.gateway(config({"plain": pool(plain), "modern": pool(modern)},
                                      routes=[{"recipients": ["a.example"], "pool": "plain"}, {"recipients": ["b.example"], "pool": "modern"}]))
        client = self.client(gateway)
        for domain in ("a.example", "b.example"):
            run(self, client, ("MAIL FROM:<x@c.example> RET=hdrs ENVID=QQ+2B1", "250"),
                (f"RCPT TO:<x@{domain}> ORCPT=rfc822;Old+2B@{domain} NOTIFY=delay,success", "250"), (f"RCPT TO:<y@{domain}> NOTIFY=NEVER", "250"),
                (f"RCPT TO:<z@{domain}>", "250"), ("DATA", "354"), ("x\r\n.", "250"))
        self.assertEqual([command for command in plain.transactions()[0].commands if command.startswith(("MAIL", "RCPT"))],
                         ["MAIL FROM:<x@c.example>", "RCPT TO:<x@a.example>", "RCPT TO:<y@a.example>", "RCPT TO:<z@a.example>"])
        self.assertEqual([command for command in modern.transactions()[0].commands if command.startswith(("MAIL", "RCPT"))],
                         ["MAIL FROM:<x@c.example> RET=HDRS ENVID=QQ+2B1",
                          "RCPT TO:<x@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Old+2B@b.example",
                          "RCPT TO:<y@b.example> NOTIFY=NEVER", "RCPT TO:<z@b.example>"])

    def test_dsn_is_offered_while_some_backend_may_have_it(self):
        plain = self.backend(extensions=("PIPELINING",))
        gateway = self.gateway(config({"main": pool(plain)}))
        wait_until(lambda: "DSN" not in str(self.client(gateway, ehlo=False).ehlo()), what="DSN withdrawn")
        client = self.client(gateway)
        run(self, client, ("MAIL FROM:<x@c.example> RET=HDRS", "555 5.5.4"), ("MAIL FROM:<x@c.example>", "250"),
            ("RCPT TO:<x@a.example> NOTIFY=NEVER", "555 5.5.4"), ("RCPT TO:<x@a.example>", "250"))

    def test_the_longest_report_parameters_fit_in_the_line(self):
        gateway, backend = self.simple()
        client = self.client(gateway)
        address = "x" * 54 + "@" + ".".join(["y" * 49] * 4)
        lines = (f"MAIL FROM:<{address}> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID={'e' * 100}",
                 f"RCPT TO:<{address}> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{'o' * 493}")
        run(self, client, *((line, "250") for line in lines), ("DATA", "354"), ("x\r\n.", "250"))
        commands = backend.transactions()[0].commands
        self.assertEqual([command for command in commands if command.startswith("RCPT")], [lines[1]])

    def test_smtputf8_goes_by_the_recipients_pool(self):
        plain, modern = self.backend(extensions=("PIPELINING",)), self.backend()
        gateway = self.gateway(config({"plain": pool(plain), "modern": pool(modern)},
                                      routes=[{"recipients": ["a.example"], "pool": "plain"},
                                              {"recipients": ["b.example", "b\u00fc.example"], "pool": "modern"}]))
        client = self.client(gateway)
        run(self, client, ("MAIL FROM:<\u00fc@b.example> SMTPUTF8", "250"), ("RCPT TO:<x@a.example>", "550 5.6.7"), ("RSET", "250"),
            ("MAIL FROM:<x@b.example> SMTPUTF8", "250"), ("RCPT TO:<\u00fc@a.example>", "550 5.6.7"), ("RCPT TO:<x@a.example>", "250"),
            ("DATA", "354"), ("\u00fc: x\r\n.", "250"), ("MAIL FROM:<x@b.example> SMTPUTF8", "250"),
            ("RCPT TO:<\u00fc@B\u00dc.example>", "250"), ("DATA", "354"), ("x\r\n.", "250"))
        self.assertEqual(plain.transactions()[0].mail_line, "MAIL FROM:<x@b.example>")
        self.assertEqual(modern.transactions()[0].mail_line, "MAIL FROM:<x@b.example> SMTPUTF8")
        self.assertIn(b"with UTF8SMTP ", bytes(modern.wait_messages(1)[0].wire))

    def test_max_connections_hold_over_all_workers(self):
        gateway, backend = self.simple({"END": Delay(0.02, "250 2.0.0 ok")}, workers=4, limits={"exempt": ["127.0.0.0/8"]},
                                       pool_settings={"max_connections": 3}, timeouts={"backend_wait": "30s"})

        def send():
            for _ in range(5):
                client = self.client(gateway)
                client.message("a@b.example")
                client.cmd("QUIT", "221")

        self.in_threads(*[send] * 16)
        self.assertEqual(len(backend.delivered()), 80)
        # One is a probe's; one may be closed by us and not yet be noticed by this side.
        self.assertLessEqual(backend.open_most, 5)

    def test_a_backend_that_never_reads_costs_no_memory_and_ends_in_451(self):
        gateway, _ = self.simple({"BODY": Stall()}, timeouts={"backend_reply": "1s"}, backend_options={"receive_buffer": 4096})
        client = self.client(gateway)
        client.envelope("a@b.example")
        client.cmd("DATA", "354")

        def feed():
            try:
                for _ in range(40):
                    client.send((b"x" * 78 + b"\r\n") * 10000)
                client.send(b".\r\n")
            except OSError:
                pass

        threading.Thread(target=feed, daemon=True).start()
        client.expect("451 4.4.1")
        self.assertLess(gateway.metric("ringmx_memory_bytes_in_use"), 16 << 20)

    def test_trusted_peers_are_never_early_talkers(self):
        gateway, backend = self.simple(listener={"proxy_protocol": {"trusted": ["127.0.0.1/32"], "timeout": "5s"}},
                                       timeouts={"greeting_delay": "5s"})
        client = Client(gateway.smtp, greet=False)
        self.addCleanup(client.close)
        v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 12) + socket.inet_aton("192.0.2.1") + socket.inet_aton("192.0.2.2")
        client.send(v2 + struct.pack("!HH", 1, 25) + b"EHLO x\r\n")
        client.expect("220")
        client.expect("250")
        client.message("a@b.example")
        self.assertIn(b"([192.0.2.1])", bytes(backend.wait_messages(1)[0].wire))

    def test_traffic_takes_a_backend_out_and_one_connection_brings_it_back(self):
        backend = self.backend({"greeting": Drop()})
        gateway = self.gateway(config({"main": pool(backend, health={"interval": "1s", "failures": 3, "successes": 1})}),
                               ready_statuses=(200, 503))
        client = self.client(gateway)

        def asked():
            client.cmd("RSET", "250")
            client.cmd("MAIL FROM:<a@b.example>", "250")
            return client.cmd("RCPT TO:<a@b.example>").code

        for _ in range(3):
            self.assertEqual(asked(), 451)
        gateway.wait_metric("ringmx_backend_up", 0)
        backend.replies.pop("greeting")
        wait_until(lambda: asked() == 250, 30, "the backend's comeback")
        gateway.wait_metric("ringmx_backend_up", 1)


class Want(EndToEnd):
    def starved(self, descriptors, **sections):
        folder = self.folder / "bin"
        folder.mkdir()
        (folder / "ringmx").write_text(f'#!/bin/sh\nulimit -n {descriptors}\nexec "{harness.BIN}/ringmx" "$@"\n')
        (folder / "ringmx").chmod(0o755)
        ordinary, harness.BIN = harness.BIN, folder
        try:
            return self.simple(**sections)
        finally:
            harness.BIN = ordinary

    def test_clients_can_not_take_the_last_descriptor(self):
        gateway, _ = self.starved(100, limits={"connections_per_client": 0})
        clients, greeted, shed = [], [], 0
        for _ in range(120):
            client = Client(gateway.smtp, greet=False)
            self.addCleanup(client.close)
            clients.append(client)
        for client in clients:
            try:
                reply = client.reply()
            except Closed:
                self.fail("closed without a word")
            if reply.code == 220:
                greeted.append(client)
            else:
                self.assertTrue(str(reply).startswith("421 4.3.2"), reply)
                shed += 1
        self.assertGreater(len(greeted), 10)
        self.assertGreater(shed, 10)
        greeted[-1].ehlo()
        greeted[-1].message("a@b.example")
        self.assertEqual(gateway.get("/readyz")[0], 200)
        gateway.wait_log("RLIMIT_NOFILE")
        self.assertEqual(gateway.metric("ringmx_backend_up"), 1)

    def test_memory_pressure_refuses_new_mail_and_passes(self):
        gateway, backend = self.simple({"RCPT": Stall()}, limits={"connections_per_client": 0, "memory": "4MiB", "exempt": ["127.0.0.0/8"]},
                                       pool_settings={"max_connections": 400})
        noop = b"NOOP " + b"x" * 1000 + b"\r\n"
        clients = [self.client(gateway) for _ in range(100)]
        late = self.client(gateway)
        for client in clients:  # no answer comes for RCPT, so that what follows waits
            client.cmd("MAIL FROM:<a@b.example>", "250")
            client.send(b"RCPT TO:<a@b.example>\r\n")
        for client in clients:
            client.send(noop * 60)

        def mail():
            reply = str(late.cmd("MAIL FROM:<a@b.example>"))
            if reply.startswith("250"):
                late.cmd("RSET", "250")
            return reply[:9]

        wait_until(lambda: mail() == "452 4.3.1", what="452 at MAIL")
        self.assertEqual(gateway.get("/readyz")[0], 200)
        backend.replies.pop("RCPT")
        backend.released.set()
        sent_away = 0
        for client in clients:
            reply = str(client.reply())  # that for RCPT: its backend went away, and was perhaps asked again
            if reply.startswith("421 4.3.1"):
                sent_away += 1
                continue
            self.assertIn(reply[:9], ("451 4.4.1", "250 2.1.5"))
            for _ in range(60):
                client.expect("250 2.0.0")
        self.assertLess(sent_away, 60, "more than the memory was too small for")
        wait_until(lambda: mail() == "250 2.1.0", what="room again")


if __name__ == "__main__":
    unittest.main()
