"""Other people's mail servers as backends: what they have delivered in the end is what the client sent, octet for octet."""

import json
import unittest

import mails
from harness import LONG, Program, config, free_port, pool
from peer_case import DEBIAN_PYTHON, LOAD, PeerCase, debian_python_lacks, message_text, needs
from peer_mtas import Exim, Postfix, why_no_exim, why_no_postfix
from peers import Dovecot, smtp_source, started
from test_mails import WAYS, send


def plain_mails(*left_out):
    """The mails that a server stores as they are: with a header, since some repair what has none, and without what it is known to change."""
    chosen = [mail for mail in mails.corpus() if mail.content.startswith(b"Date: ") and b"\r\n\r\n" in mail.content and not mail.smtputf8 and
              mail.content.endswith(b"\r\n") and not any(word in mail.name for word in left_out)]
    return chosen if LONG else chosen[::3]


class Stored(PeerCase):
    def deliver(self, gateway, chosen):
        """Sends them all over one connection, by each way in turn."""
        client = self.client(gateway)
        for index, mail in enumerate(chosen):
            replies, last = send(client, mail, WAYS[index % len(WAYS)])
            self.assertTrue(last is not None and last.code == 250, f"{mail.name}: {replies} {last}")
        client.close()

    def compare(self, chosen, arrived):
        """`arrived`: contents from our trace field on, in any order."""
        bodies = [self.behind_the_trace(data) for data in arrived]
        for mail in chosen:
            self.assertTrue(any(body == mail.content for body in bodies), f"{mail.name} did not arrive as it was sent")
        self.assertEqual(len(bodies), len(chosen))


class MailServers(Stored):
    @unittest.skipIf(why_no_postfix(), why_no_postfix())
    def test_postfix(self):
        server = self.keep(Postfix(self.folder, settings="hopcount_limit = 1000\nsmtputf8_enable = yes"))
        # Postfix drops Return-Path and Bcc of what arrives.
        chosen = [mail for mail in plain_mails() if len(mail.recipients) == 1]
        gateway = self.gateway_to(server.port)
        self.deliver(gateway, chosen)
        self.compare(chosen, server.wait_mail(len(chosen)))

    @unittest.skipIf(why_no_exim(), why_no_exim())
    def test_exim(self):
        for chunking in (True, False):
            with self.subTest(chunking=chunking):
                server = self.keep(Exim(self.folder, settings="received_headers_max = 1000", chunking=chunking))
                chosen = [mail for mail in plain_mails() if len(mail.recipients) == 1]
                gateway = self.gateway_to(server.port)
                self.deliver(gateway, chosen)
                self.compare(chosen, server.wait_mail(len(chosen)))

    @unittest.skipIf(why_no_postfix() or why_no_exim(), why_no_postfix() or why_no_exim())
    @needs("smtp-source")
    def test_from_postfix_to_exim(self):
        messages = 300 if LONG else 60
        server = self.keep(Exim(self.folder))
        gateway = self.gateway_to(server.port)
        sender = self.keep(Postfix(self.folder, relay=gateway.ports[0]))
        file = self.message_file(20000)
        smtp_source(sender.port, file, sessions=10, messages=messages)
        arrived = server.wait_mail(messages)
        self.assertEqual(len(arrived), messages)
        expected = file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n"
        self.assertTrue(all(data.endswith(expected) for data in arrived), "the octets differ")


@needs("dovecot")
class Mailboxes(Stored):
    def test_dovecot_by_lmtp_read_over_imap_and_pop3(self):
        dovecot = self.keep(Dovecot(self.folder))
        gateway = self.gateway(config({"main": pool(f"127.0.0.1:{dovecot.lmtp_port}", protocol="lmtp")}, limits=LOAD))
        # Dovecot stores NUL as another octet.
        chosen = plain_mails("NUL", "every octet")
        for mail in chosen:
            mail.recipients = ("reader@example.com",)
        self.deliver(gateway, chosen)
        for arrived in (dovecot.mailbox("reader@example.com"), dovecot.over_pop3("reader@example.com")):
            # Return-Path, Delivered-To and Dovecot's own trace field stand before ours.
            self.compare(chosen, [data[data.index(b"Received: from client.example"):] for data in arrived])


@unittest.skipIf(debian_python_lacks("aiosmtpd"), debian_python_lacks("aiosmtpd"))
class Aiosmtpd(Stored):
    def test_smtp_and_lmtp(self):
        for protocol in ("smtp", "lmtp"):
            with self.subTest(protocol=protocol):
                port, store = free_port(), self.folder / f"aiosmtpd-{protocol}"
                store.mkdir()
                server = self.keep(Program([DEBIAN_PYTHON, self.here / "aio_peer.py", "serve", port, store, protocol], self.folder, "aiosmtpd"))
                started(server, port)
                gateway = self.gateway_to(port, protocol=protocol)
                chosen = [mail for mail in plain_mails() if protocol == "smtp" or len(mail.recipients) == 1]
                self.deliver(gateway, chosen)
                self.compare(chosen, [path.read_bytes() for path in store.iterdir() if not path.suffix])
                recipients = sorted(json.loads(path.read_text())[1] for path in store.glob("*.json"))
                self.assertEqual(recipients, sorted(list(mail.recipients) for mail in chosen))


if __name__ == "__main__":
    unittest.main()
