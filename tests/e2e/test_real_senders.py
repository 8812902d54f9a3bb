"""Other people's senders: whole mail servers with a queue to empty, command line clients, Python's asyncio; each octet compared."""

import asyncio
import unittest

from harness import LONG, config, free_port, pool, run, wait_until
from peer_case import DEBIAN_PYTHON, LOAD, PeerCase, debian_python_lacks, message_text, needs
from peer_mtas import Exim, Postfix, why_no_exim, why_no_postfix
from peers import smtp_source
from smtp_client import stuff


class Queues(PeerCase):
    """A mail server whose queue filled while the gateway was away empties it once the gateway is back."""

    def empties_its_queue(self, server_class, messages, connections=1, **options):
        port = free_port()
        server = self.keep(server_class(self.folder, relay=port, **options))
        file = self.message_file(3000)
        smtp_source(server.port, file, sessions=10, messages=messages)
        wait_until(lambda: server.queue_length() == messages, 120, "a queue with all of it")
        sinks = [self.sink(), self.sink()]
        # Round robin: the two see the same mail, whatever its recipient.
        gateway = self.gateway(config({"main": pool(*(f"127.0.0.1:{sink.port}" for sink in sinks), max_connections=200, hash="none")},
                                      listener={"address": f"127.0.0.1:{port}"}, workers=2, limits=LOAD), wait_ready=False)
        # Not by a quiet moment, as other tests wait: the server tries again at any time.
        gateway.wait_log(": ready: ")

        def empty():
            if server.queue_length() == 0:
                return True
            server.flush()
            return False

        wait_until(empty, 300, f"an empty queue; the end of the log of {server.name}: {server.log()[-3000:]}")
        gateway.wait_metric("ringmx_messages_accepted_total", messages)
        self.assertEqual(gateway.metric("ringmx_messages_rejected_total") or 0, 0)
        self.assertGreaterEqual(gateway.metric("ringmx_connections_total"), connections)
        gateway.stop()
        stored = [self.stored(sink) for sink in sinks]
        self.assertTrue(all(stored), "one backend saw nothing")
        self.assertEqual(sum(map(len, stored)), messages)
        # smtp-source ends the message with an empty line of its own; the server put its trace field under ours.
        expected = file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n"
        for data in stored[0] + stored[1]:
            inner = self.behind_the_trace(data).replace(b"\r\n\t", b"\r\n ")
            self.assertTrue(inner.startswith(b"Received: "), inner[:200])
            self.assertTrue(self.behind_the_trace(self.behind_the_trace(data)) == expected, "the octets differ")

    @unittest.skipIf(why_no_postfix(), why_no_postfix())
    @needs("smtp-source")
    def test_postfix_over_many_connections(self):
        self.empties_its_queue(Postfix, 1500 if LONG else 300, connections=5, sessions=50)

    @unittest.skipIf(why_no_exim(), why_no_exim())
    @needs("smtp-source")
    def test_exim_by_chunks(self):
        self.empties_its_queue(Exim, 300 if LONG else 60)

    @unittest.skipIf(why_no_exim(), why_no_exim())
    @needs("smtp-source")
    def test_exim_by_data(self):
        self.empties_its_queue(Exim, 300 if LONG else 60, chunking=False)


class CommandLine(PeerCase):
    def arrives(self, command, *arguments):
        gateway, backend = self.simple()
        path = self.folder / "mail.eml"
        content = message_text(60000).replace(b"\n", b"\r\n")
        path.write_bytes(content)
        full = [argument.replace("PORT", str(gateway.ports[0])).replace("FILE", str(path)) for argument in arguments]
        with open(path, "rb") as standard_input:
            result = run(command, *full, stdin=standard_input)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        message = backend.wait_messages(1)[0]
        self.assertEqual((message.sender, message.recipients), ("a@example.net", ["b@example.com", "c@example.com"]))
        self.assertEqual(message.original, content)

    @needs("curl")
    def test_curl(self):
        self.arrives("curl", "--silent", "--show-error", "smtp://127.0.0.1:PORT/curl.example", "--mail-from", "a@example.net", "--mail-rcpt", "b@example.com",
                     "--mail-rcpt", "c@example.com", "--upload-file", "FILE")

    @needs("msmtp")
    def test_msmtp(self):
        self.arrives("msmtp", "--host=127.0.0.1", "--port=PORT", "--from=a@example.net", "--tls=off", "--auth=off", "--set-from-header=off", "--set-date-header=off", "--set-msgid-header=off",
                     "--file=/dev/null", "--", "b@example.com", "c@example.com")

    @needs("curl")
    def test_a_refusal_reaches_curl(self):
        gateway, _ = self.simple({"RCPT": {None: "550 5.1.1 no such user"}})
        path = self.folder / "mail.eml"
        path.write_bytes(b"Subject: x\r\n\r\nx\r\n")
        result = run("curl", "--silent", "--show-error", f"smtp://127.0.0.1:{gateway.ports[0]}", "--mail-from", "a@example.net", "--mail-rcpt", "b@example.com", "--upload-file", path)
        self.assertEqual(result.returncode, 55, result.stderr)
        self.assertIn("550", result.stderr)


class Asyncio(PeerCase):
    def test_streams_over_many_connections(self):
        connections, messages = (400, 20) if LONG else (100, 4)
        sink = self.sink()
        gateway = self.gateway_to(sink.port)
        content = message_text(5000).replace(b"\n", b"\r\n")

        async def reply(reader):
            while (line := await reader.readline())[3:4] == b"-":
                pass
            return line

        async def one(number):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports[0])
            self.assertTrue((await reply(reader)).startswith(b"220"))
            writer.write(b"EHLO asyncio.example\r\n")
            self.assertTrue((await reply(reader)).startswith(b"250"))
            for index in range(messages):
                # The envelope and the message leave at once, as RFC 2920 lets BDAT; by turns in lock-step up to DATA.
                writer.write(b"MAIL FROM:<a%d@example.net>\r\nRCPT TO:<b%d@example.com>\r\n" % (number, index))
                if index % 2:
                    writer.write(b"BDAT %d LAST\r\n" % len(content) + content)
                else:
                    writer.write(b"DATA\r\n")
                await writer.drain()
                self.assertEqual([(await reply(reader))[:3] for _ in range(3)], [b"250", b"250", b"250" if index % 2 else b"354"])
                if index % 2 == 0:
                    writer.write(stuff(content) + b".\r\n")
                    self.assertTrue((await reply(reader)).startswith(b"250"))
            writer.write(b"QUIT\r\n")
            self.assertTrue((await reply(reader)).startswith(b"221"))
            self.assertEqual(await reader.read(), b"")
            writer.close()

        async def all_of_them():
            await asyncio.gather(*(one(number) for number in range(connections)))

        asyncio.run(asyncio.wait_for(all_of_them(), 200))
        gateway.stop()
        stored = self.stored(sink)
        self.assertEqual(len(stored), connections * messages)
        self.assertTrue(all(self.behind_the_trace(data) == content for data in stored), "the octets differ")

    @unittest.skipIf(debian_python_lacks("aiosmtplib"), debian_python_lacks("aiosmtplib"))
    def test_aiosmtplib(self):
        gateway, backend = self.simple(limits=LOAD)
        path = self.folder / "mail.eml"
        content = message_text(20000).replace(b"\n", b"\r\n")
        path.write_bytes(content)
        result = run(DEBIAN_PYTHON, self.here / "aio_peer.py", "send", gateway.ports[0], path, 50, timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        messages = backend.wait_messages(50)
        self.assertEqual(len(messages), 50)
        self.assertTrue(all(message.original == content for message in messages), "the octets differ")


if __name__ == "__main__":
    unittest.main()
