"""Mail through the gateway from and to programs that others wrote, each octet compared."""

import email
import os
import smtplib
import unittest

from harness import BIN, LONG, EndToEnd, Program, config, free_port, pool, run, wait_until
from peers import Dovecot, HaProxy, SmtpSink, program, smtp_source, started

LOAD = {"exempt": ["127.0.0.0/8"]}


def needs(*names):
    missing = [name for name in names if program(name) is None]
    return unittest.skipIf(missing, f"{', '.join(missing)} is not installed (tools/setup)")


def message_text(octets):
    """A message of about that size with LF line ends: dots, long lines, empty lines, 8-bit octets."""
    head = b"From: <source@example.net>\nTo: <user@example.com>\nSubject: size %d\n\n" % octets
    lines = [b".", b"..", b"", b".dot", b"x" * 900, "grün".encode(), b"plain text of an ordinary line", b"\ttab"]
    body, size, index = [head], len(head), 0
    while size < octets:
        body.append(lines[index % len(lines)] + b"\n")
        size += len(body[-1])
        index += 1
    return b"".join(body)


class PeerCase(EndToEnd):
    def keep(self, what):
        self.addCleanup(what.stop)
        return what

    def message_file(self, octets):
        path = self.folder / f"message.{octets}"
        path.write_bytes(message_text(octets))
        return path

    def sink(self, *options):
        """ringmx-sink that stores what it takes."""
        port = free_port()
        store = self.folder / f"store-{port}"
        store.mkdir()
        sink = self.keep(Program([BIN / "ringmx-sink", "--listen", f"127.0.0.1:{port}", "--store", store, *options], self.folder, "sink"))
        sink.port, sink.store = port, store
        return started(sink, port)

    def gateway_to(self, port, listener=None, workers=2, **settings):
        return self.gateway(config({"main": pool(f"127.0.0.1:{port}", max_connections=200, **settings)}, listener=listener, workers=workers, limits=LOAD))

    def stored(self, sink):
        """All that the sink took, once it has ended."""
        self.assertEqual(sink.stop(), 0, sink.log())
        return [path.read_bytes() for path in sink.store.glob("*.eml")]

    def behind_the_trace(self, data):
        """What follows the first field, which must be ours."""
        self.assertTrue(data.startswith(b"Received: "), data[:200])
        lines = data.split(b"\n")
        end = next(index for index in range(1, len(lines)) if not lines[index].startswith((b" ", b"\t")))
        return b"\n".join(lines[end:])


@needs("smtp-source", "smtp-sink")
class Postfix(PeerCase):
    def volume(self):
        return 4 if LONG else 1

    def test_smtp_source_to_ringmx_sink(self):
        for sessions, octets, messages in ((20, 4096, 400), (90, 4096, 450), (20, 1024 * 1024, 40), (90, 1024 * 1024, 90)):
            with self.subTest(sessions=sessions, octets=octets):
                sink = self.sink()
                gateway = self.gateway_to(sink.port)
                file = self.message_file(octets)
                smtp_source(gateway.ports[0], file, sessions, messages * self.volume())
                # smtp-source ends the message with an empty line of its own.
                expected = file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n"
                gateway.wait_metric("ringmx_messages_accepted_total", messages * self.volume())
                gateway.stop()
                stored = self.stored(sink)
                self.assertEqual(len(stored), messages * self.volume())
                self.assertTrue(all(self.behind_the_trace(data) == expected for data in stored), "the octets differ")

    def test_smtp_source_to_smtp_sink(self):
        for sessions, octets, messages in ((20, 4096, 300), (90, 4096, 300), (20, 1024 * 1024, 30)):
            with self.subTest(sessions=sessions, octets=octets):
                folder = self.folder / f"sink-{sessions}-{octets}"
                folder.mkdir()
                os.chmod(self.folder, 0o755)
                sink = self.keep(SmtpSink(folder))
                gateway = self.gateway_to(sink.port)
                file = self.message_file(octets)
                smtp_source(gateway.ports[0], file, sessions, messages)
                wait_until(lambda: len(list(sink.mail.iterdir())) >= messages, what="all messages in smtp-sink")
                sink.stop()
                expected = file.read_bytes()
                bodies = [self.behind_the_trace(data) for data in sink.messages()]
                self.assertEqual(len(bodies), messages)
                # smtp-source and smtp-sink each end it with an empty line of their own.
                self.assertTrue(all(body.rstrip(b"\n") == expected.rstrip(b"\n") for body in bodies), "the octets differ")

    def test_plain_smtp_source_with_several_recipients(self):
        backend = self.backend()
        gateway = self.gateway(config({"main": pool(backend, max_connections=100)}, limits=LOAD))
        smtp_source(gateway.ports[0], sessions=10, messages=50, length=20000, recipients=5)
        self.assertEqual(len(backend.wait_messages(50)), 50)
        self.assertEqual({len(message.recipients) for message in backend.delivered()}, {5})


class Clients(PeerCase):
    @needs("swaks")
    def test_swaks(self):
        gateway, backend = self.simple()
        path = self.folder / "swaks.txt"
        content = message_text(5000).replace(b"\n", b"\r\n")
        path.write_bytes(content)
        result = run("swaks", "--server", "127.0.0.1", "--port", gateway.ports[0], "--helo", "swaks.example", "--from", "a@example.net",
                     "--to", "b@example.com,c@example.com", "--data", f"@{path}", "--pipeline")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        message = backend.wait_messages(1)[0]
        self.assertEqual(message.recipients, ["b@example.com", "c@example.com"])
        self.assertEqual(message.original.rstrip(b"\r\n"), content.rstrip(b"\r\n"))
        self.assertIn("swaks.example", message.trace)

    def test_smtplib(self):
        gateway, backend = self.simple()
        content = message_text(300000).replace(b"\n", b"\r\n")
        with smtplib.SMTP(*gateway.smtp, timeout=20) as smtp:
            self.assertEqual(smtp.sendmail("a@example.net", ["b@example.com", "c@example.com"], content, mail_options=["BODY=8BITMIME"]), {})
            message = email.message_from_string("Subject: two\n\ntext\n")
            smtp.send_message(message, "a@example.net", ["d@example.com"])
            self.assertEqual(smtp.verify("b@example.com")[0], 252)
            self.assertEqual(smtp.noop()[0], 250)
        self.assertEqual(backend.wait_messages(2)[0].original, content)


@needs("dovecot")
class DovecotLmtp(PeerCase):
    def test_delivered_by_lmtp_and_read_back_over_imap(self):
        dovecot = self.keep(Dovecot(self.folder))
        gateway = self.gateway(config({"main": pool(f"127.0.0.1:{dovecot.lmtp_port}", protocol="lmtp")}, limits=LOAD))
        contents = [message_text(size).replace(b"\n", b"\r\n") for size in (300, 5000, 1024 * 1024)]
        with smtplib.SMTP(*gateway.smtp, timeout=20) as smtp:
            for content in contents:
                smtp.sendmail("a@example.net", ["reader@example.com"], content)
        mails = dovecot.mailbox("reader@example.com")
        self.assertEqual(len(mails), len(contents))
        for mail, content in zip(mails, contents):
            # Dovecot puts Return-Path, Delivered-To and its own trace field before ours.
            self.assertIn(b"with ESMTP id ", mail)
            self.assertTrue(mail.endswith(b"\r\n" + content), "the octets differ")

    def test_a_second_recipient_gets_452_from_smtplib(self):
        dovecot = self.keep(Dovecot(self.folder))
        gateway = self.gateway(config({"main": pool(f"127.0.0.1:{dovecot.lmtp_port}", protocol="lmtp")}, limits=LOAD))
        with smtplib.SMTP(*gateway.smtp, timeout=20) as smtp:
            refused = smtp.sendmail("a@example.net", ["one@example.com", "two@example.com"], "Subject: x\r\n\r\nx\r\n")
            self.assertEqual({address: code for address, (code, _) in refused.items()}, {"two@example.com": 452})
        self.assertEqual(len(dovecot.mailbox("one@example.com")), 1)


@needs("haproxy")
class HaProxyInFront(PeerCase):
    def test_both_versions_of_the_proxy_protocol(self):
        backend = self.backend()
        gateway = self.gateway(config({"main": pool(backend)}, listener={"proxy_protocol": {"trusted": ["127.0.0.1/32"], "timeout": "5s"}}))
        haproxy = self.keep(HaProxy(self.folder, gateway.ports[0]))
        content = message_text(100000).replace(b"\n", b"\r\n")
        for number, port in enumerate((haproxy.v1_port, haproxy.v2_port), 1):
            with smtplib.SMTP("127.0.0.1", port, source_address=(f"127.0.3.{number}", 0), timeout=20) as smtp:
                smtp.sendmail("a@example.net", ["b@example.com"], content)
            message = backend.wait_messages(number)[-1]
            self.assertIn(f"127.0.3.{number}", message.trace)
            self.assertEqual(message.original, content)


if __name__ == "__main__":
    unittest.main()
