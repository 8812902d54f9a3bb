"""Mail through the gateway from and to programs that others wrote, each octet compared."""

import email
import os
import smtplib
import unittest

from harness import LONG, config, pool, run, wait_until
from peer_case import LOAD, PeerCase, message_text, needs
from peers import Dovecot, HaProxy, Nginx, SmtpSink, smtp_source

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


class InFront(PeerCase):
    """A balancer before the gateway: what it says of the client's address is what the trace field says."""

    def through(self, balancer, gateway_port):
        content = message_text(100000).replace(b"\n", b"\r\n")
        running = self.keep(balancer(self.folder, gateway_port))
        for number, port in enumerate(running.ports, 1):
            with self.subTest(balancer=balancer.__name__, port=number):
                count = len(self.proxied_backend.delivered())
                with smtplib.SMTP("127.0.0.1", port, source_address=(f"127.0.3.{number}", 0), timeout=20) as smtp:
                    smtp.sendmail("a@example.net", ["b@example.com"], content)
                message = self.proxied_backend.wait_messages(count + 1)[-1]
                self.assertIn(f"127.0.3.{number}", message.trace)
                self.assertEqual(message.original, content)
        return running

    def setUp(self):
        super().setUp()
        self.proxied_backend = self.backend()
        self.gateway_under_test = self.gateway(config({"main": pool(self.proxied_backend)},
                                                      listener={"proxy_protocol": {"trusted": ["127.0.0.1/32"], "timeout": "5s"}}))

    @needs("haproxy")
    def test_haproxy_with_send_proxy_and_send_proxy_v2(self):
        haproxy = self.through(HaProxy, self.gateway_under_test.ports[0])
        # Its checks go on by themselves: each is a connection, and one that failed would be told.
        before = self.gateway_under_test.metric("ringmx_connections_total")
        wait_until(lambda: self.gateway_under_test.metric("ringmx_connections_total") > before + 3, what="checks by HAProxy")
        self.assertNotIn("DOWN", haproxy.log())

    @needs("nginx")
    def test_nginx_stream_with_proxy_protocol(self):
        self.through(Nginx, self.gateway_under_test.ports[0])


if __name__ == "__main__":
    unittest.main()
