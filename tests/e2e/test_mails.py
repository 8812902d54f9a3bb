"""Every mail of the corpus (mails.py) through the gateway: by DATA and by BDAT, to backends with and without each extension; each octet compared."""

import json
import re
import threading
import unittest

import mails
from fake_backend import EXTENSIONS
from harness import BIN, LONG, EndToEnd, Program, accepts_connections, config, free_port, pool, wait_until
from smtp_client import stuff

LOAD = {"exempt": ["127.0.0.0/8"], "message_size": "60MiB"}
OPTIONAL = ("PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8")
WAYS = ("lock-step DATA", "pipelined DATA", "one chunk", "small chunks")


def without(*names):
    return tuple(name for name in EXTENSIONS if name not in names)


def parameters(mail):
    return (f" SIZE={len(mail.content)}" + (" BODY=8BITMIME" if mail.eight_bit else "") + (" SMTPUTF8" if mail.smtputf8 else ""))


def chunks_of(content, way):
    """Sizes that cut inside CRLF, dots and characters; enough of them to be many, few enough to be quick."""
    if way == "one chunk":
        return [content]
    size = max(7, len(content) // 23)
    return [content[at:at + size] for at in range(0, len(content), size)] + [b""]


def send(client, mail, way):
    """One transaction; gives the replies to the recipients, and the last reply."""
    envelope = [f"MAIL FROM:<{mail.sender}>{parameters(mail)}"] + [f"RCPT TO:<{recipient}>" for recipient in mail.recipients]
    if way == "lock-step DATA":
        replies = [client.cmd(line) for line in envelope]
    else:
        client.lines(*envelope)
        replies = [client.reply() for _ in envelope]
    if not any(reply.code == 250 for reply in replies[1:]):
        client.cmd("RSET", "250")
        return replies[1:], None
    if way.endswith("DATA"):
        client.cmd("DATA", "354")
        client.send(stuff(mail.by_data) + b".\r\n")
        return replies[1:], client.reply()
    pieces = chunks_of(mail.content, way)
    for number, piece in enumerate(pieces, 1):
        client.send(b"BDAT %d%s\r\n" % (len(piece), b" LAST" if number == len(pieces) else b"") + piece)
    return replies[1:], [client.reply() for _ in pieces][-1]


def expected(mail, way, backend_has_chunking):
    """What must arrive: DATA on either side ends the last line."""
    return mail.by_data if way.endswith("DATA") or not backend_has_chunking else mail.content


def behind_the_trace(mail, data):
    """The message behind our field, and behind the empty line that keeps a message which begins with a blank out of it."""
    trace = re.match(rb"Received: from .*?\r\n(?![ \t])", data, re.S)
    if not trace:
        raise AssertionError(f"{mail.name}: no trace field: {data[:200]}")
    rest = data[trace.end():]
    return rest[2:] if mail.content[:1] in (b" ", b"\t") and rest.startswith(b"\r\n") else rest


class Corpus(EndToEnd):
    def compare(self, mail, way, data, has_chunking):
        wanted, found = expected(mail, way, has_chunking), behind_the_trace(mail, data)
        if found != wanted:
            at = next((index for index, (one, other) in enumerate(zip(found, wanted)) if one != other), min(len(found), len(wanted)))
            self.fail(f"{mail.name} by {way}: {len(found)} octets for {len(wanted)}, different from octet {at}: {found[at:at + 40]!r} for {wanted[at:at + 40]!r}")

    def through(self, extensions, selected):
        """Sends what is selected each way on a connection of its own, all ways side by side."""
        backend = self.backend(extensions=extensions)
        gateway = self.gateway(config({"main": pool(backend, hash="none")}, limits=LOAD))
        # What the backend lacks is known once the first probe has asked, which it ends with QUIT.
        wait_until(lambda: any("QUIT" in session.commands for session in backend.sessions), what="a first probe")
        arrived, lock = {}, threading.Lock()

        def one_way(way):
            client = gateway.client()
            try:
                self.assertEqual("SMTPUTF8" in client.ehlo().text, "SMTPUTF8" in extensions)
                for mail in selected(way):
                    if mail.smtputf8 and "SMTPUTF8" not in extensions:
                        continue
                    replies, last = send(client, mail, way)
                    self.assertTrue(last is not None and last.code == 250, f"{mail.name} by {way}: {replies} {last}")
                    with lock:
                        arrived[mail.sender, mail.recipients, way] = mail
            finally:
                client.close()

        self.in_threads(*(lambda way=way: one_way(way) for way in WAYS))
        found = {}
        for message in backend.wait_messages(len(arrived)):
            found.setdefault((message.sender, tuple(message.recipients)), []).append(message)
        self.assertEqual(sum(len(messages) for messages in found.values()), len(arrived))
        for (sender, recipients, way), mail in arrived.items():
            # The same mail came each way; which of the copies is which does not show but in a last line without end.
            copies = found[sender, recipients]
            wanted = expected(mail, way, "CHUNKING" in extensions)
            match = next((copy for copy in copies if behind_the_trace(mail, copy.data) == wanted), None)
            if match is None:
                self.compare(mail, way, copies[0].data, "CHUNKING" in extensions)
            copies.remove(match)
            self.assertEqual("BODY=8BITMIME" in match.mail_line, mail.eight_bit and "8BITMIME" in extensions, f"{mail.name} by {way}: {match.mail_line}")
            self.assertEqual("SMTPUTF8" in match.mail_line, mail.smtputf8, f"{mail.name} by {way}: {match.mail_line}")

    def test_there_are_enough_of_them(self):
        corpus = mails.corpus()
        self.assertGreaterEqual(len(corpus), 100)
        self.assertEqual(len({mail.name for mail in corpus}), len(corpus))
        self.assertEqual(len({mail.recipients for mail in corpus}), len(corpus))
        self.assertEqual([mail.content for mail in corpus], [mail.content for mail in mails.corpus()])

    def test_to_backends_with_and_without_each_extension(self):
        corpus = mails.corpus()
        kinds = [EXTENSIONS, *(without(name) for name in OPTIONAL), without("PIPELINING", "CHUNKING"), without(*OPTIONAL), ()]
        for number, extensions in enumerate(kinds):
            with self.subTest(extensions=extensions):
                # In a quick run each mail still goes each way to some backends, and most of them by some way to each.
                share = 1 if LONG else 2 if number == 0 else 4
                self.through(extensions, lambda way: [mail for index, mail in enumerate(corpus) if (index + number + WAYS.index(way)) % share == 0])


class Large(EndToEnd):
    def test_20_mib_arrive_as_they_are(self):
        mail = mails.large()
        for extensions, quick_way in ((EXTENSIONS, "one chunk"), (without("CHUNKING"), "lock-step DATA")):
            backend = self.backend(extensions=extensions)
            gateway = self.gateway(config({"main": pool(backend)}, limits=LOAD))
            for number, way in enumerate(WAYS if LONG else (quick_way,), 1):
                with self.subTest(extensions=extensions, way=way):
                    self.assertEqual(send(self.client(gateway), mail, way)[1].code, 250)
                    message = backend.wait_messages(number)[-1]
                    self.assertTrue(behind_the_trace(mail, message.data) == mail.content, "the octets differ")


class ManyAtOnce(EndToEnd):
    def test_a_newsletter_to_500_recipients_is_one_message(self):
        mail = mails.newsletter()
        for extensions in (EXTENSIONS, without("PIPELINING", "CHUNKING")):
            for way in WAYS[:3]:
                with self.subTest(extensions=extensions, way=way):
                    gateway, backend = self.simple(backend_options={"extensions": extensions}, limits=LOAD)
                    replies, last = send(self.client(gateway), mail, way)
                    self.assertEqual(({reply.code for reply in replies}, last.code), ({250}, 250))
                    message = backend.wait_messages(1)[0]
                    self.assertEqual(tuple(message.recipients), mail.recipients)
                    self.assertTrue(behind_the_trace(mail, message.data) == mail.content, "the octets differ")

    def test_sign_up_confirmations_in_a_burst_go_each_to_its_own(self):
        count = 2000 if LONG else 300
        signups = mails.signups(count)
        backends = [self.backend() for _ in range(3)]
        gateway = self.gateway(config({"main": pool(*backends)}, workers=2, limits=LOAD))
        gate = threading.Barrier(20)

        def shop(index):
            gate.wait()
            # A connection for each mail, as a web shop's library makes it.
            for mail in signups[index::20]:
                with gateway.client() as client:
                    client.ehlo()
                    self.assertEqual(send(client, mail, "lock-step DATA")[1].code, 250)
                    client.cmd("QUIT", "221")

        self.in_threads(*(lambda index=index: shop(index) for index in range(20)))
        arrived = {message.recipients[0]: message for backend in backends for message in backend.delivered()}
        self.assertEqual(len(arrived), count)
        for mail in signups:
            self.assertEqual(behind_the_trace(mail, arrived[mail.recipients[0]].data), mail.content)


class RingmxSink(EndToEnd):
    """The same mails to a backend of another make, that says of itself what it took."""

    def test_to_the_sink_with_and_without_its_extensions(self):
        corpus = mails.corpus()
        for options in ((), ("--no-pipelining",), ("--no-chunking",), ("--no-pipelining", "--no-chunking")):
            with self.subTest(options=options):
                port = free_port()
                store = self.folder / f"store-{port}"
                store.mkdir()
                sink = Program([BIN / "ringmx-sink", "--listen", f"127.0.0.1:{port}", "--store", store, *options], self.folder, "sink")
                self.addCleanup(sink.stop)
                wait_until(lambda: accepts_connections(port), what="the sink")
                gateway = self.gateway(config({"main": pool(f"127.0.0.1:{port}")}, limits=LOAD))
                by_recipient = {}
                client = self.client(gateway)
                for index, mail in enumerate(corpus):
                    way = WAYS[index % len(WAYS)]
                    self.assertEqual(send(client, mail, way)[1].code, 250, mail.name)
                    by_recipient[mail.recipients[0]] = mail, way
                client.close()
                gateway.stop()
                self.assertEqual(sink.stop(), 0, sink.log())
                stored = sorted(store.glob("*.eml"))
                self.assertEqual(len(stored), len(corpus))
                for path in stored:
                    envelope = json.loads(path.with_suffix(".envelope").read_text(encoding="utf-8"))
                    mail, way = by_recipient[envelope["rcpt_to"][0]]
                    self.assertEqual(tuple(envelope["rcpt_to"]), mail.recipients)
                    wanted = expected(mail, way, "--no-chunking" not in options)
                    self.assertTrue(behind_the_trace(mail, path.read_bytes()) == wanted, f"{mail.name} by {way}: the octets differ")


if __name__ == "__main__":
    unittest.main()
