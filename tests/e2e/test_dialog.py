"""The replies of the contract's section 4, one by one, over real sockets."""

import unittest

from harness import HOSTNAME, EndToEnd, config, pool
from smtp_client import Client, stuff


class Dialog(EndToEnd):
    """All of it against one gateway, a connection per test."""

    def setUp(self):
        super().setUp()
        self.gateway_under_test, self.backend_under_test = self.simple(limits={"message_size": "64KiB", "recipients": 3, "errors_per_connection": 50})

    def talk(self, ehlo=True):
        return self.client(self.gateway_under_test, ehlo=ehlo)

    def script(self, *steps, ehlo=True):
        """Steps are (command, expected start of the reply)."""
        client = self.talk(ehlo)
        for command, start in steps:
            client.cmd(command, start)
        return client

    def test_greeting_and_hello(self):
        client = self.talk(ehlo=False)
        self.assertEqual(client.greeting.raw.decode(), f"220 {HOSTNAME} ESMTP ringmx\r\n")
        self.assertEqual(client.cmd("HELO me.example", "250").lines[0].split()[0:2], ["250", HOSTNAME])
        reply = client.cmd("EHLO me.example", "250")
        self.assertEqual(reply.lines[0][:4 + len(HOSTNAME)], f"250-{HOSTNAME}")
        offered = {line.split()[0]: line for line in reply.text.split("\n")[1:]}
        for keyword in ("SIZE", "PIPELINING", "CHUNKING", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8"):
            self.assertIn(keyword, offered)
        self.assertEqual(offered["SIZE"], "SIZE 65536")
        for keyword in ("STARTTLS", "BINARYMIME", "AUTH", "XCLIENT"):
            self.assertNotIn(keyword, offered)

    def test_unknown_command_and_bad_syntax(self):
        self.script(("FROB", "500 5.5.2"), ("", "500 5.5.2"), ("EHLO", "501 5.5.4"), ("HELO", "501 5.5.4"), ("MAIL", "501 5.5.4"),
                    ("MAIL FROM:", "501 5."), ("MAIL FROM:<a@@b>", "501 5.1.7"), ("MAIL FROM:<a b@c.example>", "501 5.1.7"),
                    ("MAIL FROM:<a@example.net>", "250 2.1.0"), ("RCPT TO:", "501 5."), ("RCPT TO:<@>", "501 5.1.3"),
                    ("RCPT TO:<a@b..c>", "501 5.1.3"), ("RCPT TO:<>", "501 5.1.3"), ("RCPT FROM:<a@example.com>", "501 5.5.4"),
                    ("QUIT", "221 2.0.0")).expect_closed()

    def test_verbs_in_any_case_and_trailing_blanks(self):
        self.script(("mAiL fRoM:<a@example.net>", "250 2.1.0"), ("rcpt to:<b@example.com>", "250 2.1.5"), ("rset ", "250 2.0.0"), ("noop", "250 2.0.0"))

    def test_order(self):
        client = self.script(("MAIL FROM:<a@example.net>", "503 5.5.1"), ("RCPT TO:<a@example.com>", "503 5.5.1"), ("DATA", "503 5.5.1"), ehlo=False)
        client.ehlo()
        for command, start in (("RCPT TO:<a@example.com>", "503 5.5.1"), ("DATA", "503 5.5.1"), ("MAIL FROM:<a@example.net>", "250 2.1.0"),
                               ("MAIL FROM:<a@example.net>", "503 5.5.1"), ("DATA", "554 5.5.1"), ("RCPT TO:<a@example.com>", "250 2.1.5")):
            client.cmd(command, start)
        client.send(b"BDAT 3\r\nx\r\n")
        client.expect("250")
        client.cmd("DATA", "503 5.5.1")

    def test_parameters(self):
        self.script(("MAIL FROM:<a@example.net> FROB=1", "555 5.5.4"), ("MAIL FROM:<a@example.net> SIZE=abc", "501 5.5.4"),
                    ("MAIL FROM:<a@example.net> BODY=9BIT", "501 5.5.4"), ("MAIL FROM:<a@example.net> BODY=BINARYMIME", "5"),
                    ("MAIL FROM:<a@example.net> SIZE=100 BODY=7BIT", "250 2.1.0"), ("RCPT TO:<b@example.com> FROB", "555 5.5.4"),
                    ("RCPT TO:<b@example.com>", "250 2.1.5"), ("DATA now", "501 5.5.4"), ("RSET now", "501 5.5.4"), ("QUIT now", "501 5.5.4"),
                    ("RSET", "250 2.0.0"), ("MAIL FROM:<a@example.net> SIZE=65537", "552 5.3.4"), ("MAIL FROM:<a@example.net> SIZE=65536", "250 2.1.0"))

    def test_other_verbs(self):
        self.script(("VRFY someone", "252 2.5.0"), ("EXPN list", "502 5.5.1"), ("HELP", "214 2.0.0"), ("NOOP", "250 2.0.0"), ("NOOP text", "250 2.0.0"),
                    ("RSET", "250 2.0.0"), ("STARTTLS", "502 5.5.1"), ("STARTTLS now", "50"), ("AUTH PLAIN", "50"), ("QUIT", "221 2.0.0"))

    def test_smtputf8(self):
        self.script(("MAIL FROM:<é@example.net>", "553 5.6.7"), ("MAIL FROM:<a@example.net>", "250 2.1.0"), ("RCPT TO:<ü@example.com>", "553 5.6.7"),
                    ("RSET", "250"), ("MAIL FROM:<é@example.net> SMTPUTF8", "250 2.1.0"), ("RCPT TO:<ü@example.com>", "250 2.1.5"))
        self.assertIn("SMTPUTF8", self.backend_under_test.transactions()[-1].mail_line)

    def test_line_length(self):
        longest = "NOOP " + "x" * (2048 - 7)
        client = self.script((longest, "250 2.0.0"), (longest + "x", "500 5.5.2"), ("NOOP", "250 2.0.0"))
        client.send("NOOP " + "x" * 100000)
        self.assertTrue(client.silent())
        client.send("\r\nNOOP\r\n")
        client.expect("500 5.5.2")
        client.expect("250 2.0.0")

    def test_bare_newlines_in_commands(self):
        client = self.talk()
        for line in (b"NOOP\nNOOP", b"NOOP\rNOOP", b"NOOP\n", b"\nNOOP", b"NOOP\r"):
            client.cmd(line, "500 5.5.2")
            client.cmd("NOOP", "250 2.0.0")
        client.send(b"NOOP\n")
        self.assertTrue(client.silent())

    def test_bare_newlines_in_data(self):
        smuggled = b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nevil\r\n"
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\r\n.\n"):
            with self.subTest(end=end):
                client = self.talk()
                client.envelope("a@example.com")
                client.cmd("DATA", "354")
                client.send(b"Subject: x\r\n\r\nfirst" + end + smuggled + b".\r\n")
                client.expect("550 5.6.0")
                client.cmd("NOOP", "250 2.0.0")
        self.assertEqual(self.backend_under_test.delivered(), [])
        self.assertFalse(any(b"evil" in bytes(message.wire) and message.complete for message in self.backend_under_test.messages))

    def test_bare_newlines_in_chunks(self):
        for chunks in ((b"a\nb\r\n",), (b"a\rb\r\n",), (b"a\r", b"x\r\n"), (b"a\r",)):
            client = self.talk()
            client.envelope("a@example.com")
            for index, chunk in enumerate(chunks):
                last = index + 1 == len(chunks)
                client.send(f"BDAT {len(chunk)}{' LAST' if last else ''}\r\n".encode() + chunk)
                reply = client.reply()
            self.assertTrue(str(reply).startswith("550 5.6.0"), reply)
            client.cmd("NOOP", "250 2.0.0")
        client.envelope("a@example.com")
        client.send(b"BDAT 2\r\na\r")
        client.expect("250")
        client.send(b"BDAT 2 LAST\r\n\nb")
        client.expect("250 2.0.0 taken")

    def test_nul_passes_but_not_as_a_dot_line(self):
        client = self.talk()
        client.message("a@example.com", body=b"Subject: \0\r\n\r\n\0\r\n")
        self.assertEqual(self.backend_under_test.wait_messages(1)[0].original, b"Subject: \0\r\n\r\n\0\r\n")
        for line in (b"\0.\r\n", b".\0\r\n", b"\0.\0\0\r\n"):
            client.envelope("a@example.com")
            client.cmd("DATA", "354")
            client.send(b"x\r\n" + line + b"y\r\n.\r\n")
            client.expect("550 5.6.0")

    def test_size_limits(self):
        client = self.talk()
        exact = b"x" * 65534 + b"\r\n"
        client.message("a@example.com", body=exact)
        client.message("a@example.com", body=b"x" + exact, start="552 5.3.4")
        dots = b".\r\n" * 20000  # 60,000 octets, 80,000 on the wire
        client.message("a@example.com", body=dots)
        self.assertEqual(self.backend_under_test.wait_messages(2)[1].original, dots)
        client.envelope("a@example.com")
        client.send(b"BDAT 65537 LAST\r\n" + b"x" * 65537)
        client.expect("552 5.3.4")
        client.cmd("NOOP", "250 2.0.0")

    def test_chunks_out_of_place(self):
        client = self.talk()
        client.send(b"BDAT 6 LAST\r\nQUIT\r\n")
        client.expect("503 5.5.1")
        client.cmd("MAIL FROM:<a@example.net>", "250 2.1.0")
        client.send(b"BDAT 6 LAST\r\nQUIT\r\n")
        client.expect("554 5.5.1")
        client.cmd("NOOP", "250 2.0.0")
        for line in ("BDAT x", "BDAT", "BDAT -1", "BDAT 99999999999999999999999 LAST"):
            with self.subTest(line=line):
                client = self.talk()
                client.envelope("a@example.com")
                client.cmd(line, "501 5.5.4")
                client.expect_closed()

    def test_recipient_limit(self):
        client = self.talk()
        client.envelope("a@example.com", "b@example.com", "c@example.com")
        client.cmd("RCPT TO:<d@example.com>", "452 4.5.3")
        client.cmd("DATA", "354")
        client.send(b"x\r\n.\r\n")
        client.expect("250")
        self.assertEqual(len(self.backend_under_test.wait_messages(1)[0].recipients), 3)

    def test_received_fields(self):
        client = self.talk()
        client.message("a@example.com", body=b"Received: by x\r\n" * 100 + b"\r\nReceived: in the body\r\n")
        client.message("a@example.com", body=b"Received: by x\r\n" * 101 + b"\r\n", start="554 5.4.6")

    def test_null_sender(self):
        client = self.talk()
        client.message("a@example.com", sender="")
        self.assertEqual(self.backend_under_test.wait_messages(1)[0].sender, "")

    def test_quoted_local_parts_and_literals(self):
        client = self.talk()
        client.message('"a b"@example.com', sender="x@[127.0.0.1]")
        self.assertEqual(self.backend_under_test.wait_messages(1)[0].recipients, ['"a b"@example.com'])

    def test_commands_cut_at_every_octet(self):
        client = self.talk()
        wire = b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
        for octet in wire:
            client.send(bytes([octet]))
        for start in ("250 2.1.0", "250 2.1.5", "354"):
            client.expect(start)
        body = b"Subject: x\r\n\r\n.dot\r\nx\r\n"
        for octet in stuff(body) + b".\r\n":
            client.send(bytes([octet]))
        client.expect("250")
        self.assertEqual(self.backend_under_test.wait_messages(1)[0].original, body)


class Normalise(EndToEnd):
    def test_bare_newlines_become_crlf_and_never_end_the_data(self):
        gateway, backend = self.simple(smtp={"bare_newline": "normalize"})
        client = self.client(gateway)
        client.envelope("a@example.com")
        client.cmd("DATA", "354")
        client.send(b"Subject: x\r\n\r\none\ntwo\rthree\n.\nMAIL FROM:<evil@example.net>\r\n.\r\n")
        client.expect("250")
        client.cmd("NOOP", "250 2.0.0")
        self.assertEqual(backend.wait_messages(1)[0].original,
                         b"Subject: x\r\n\r\none\r\ntwo\r\nthree\r\n.\r\nMAIL FROM:<evil@example.net>\r\n")

    def test_exempt_networks_are_normalised_while_others_are_rejected(self):
        gateway, backend = self.simple(smtp={"bare_newline": "reject", "bare_newline_exempt": ["127.0.0.2/32"]})
        for source, start in (("127.0.0.2", "250"), ("127.0.0.1", "550 5.6.0")):
            client = self.client(gateway, source=source)
            client.envelope("a@example.com")
            client.cmd("DATA", "354")
            client.send(b"a\nb\r\n.\r\n")
            client.expect(start)
        self.assertEqual(backend.wait_messages(1)[0].original, b"a\r\nb\r\n")


class SeveralListeners(EndToEnd):
    def test_ipv4_ipv6_and_several_workers(self):
        backend = self.backend()
        settings = config({"main": pool(backend)}, workers=2)
        settings["listeners"].append({"address": "[::1]:0", "tls": "none", "acknowledge": "backend"})
        gateway = self.gateway(settings)
        for address in (("127.0.0.1", gateway.ports[0]), ("::1", gateway.ports[1])):
            for _ in range(6):
                client = Client(address)
                self.addCleanup(client.close)
                client.ehlo()
                client.message("a@example.com")
        traces = [message.trace for message in backend.wait_messages(12)]
        self.assertEqual(sum("IPv6:::1" in trace for trace in traces), 6)


if __name__ == "__main__":
    unittest.main()
