"""ringmx-sink: takes mail, counts it, keeps it, records it, and misbehaves on demand (contract, section 8)."""

import json
import pathlib
import random
import re
import signal
import socket
import subprocess
import time
import unittest

from harness import BIN, SANITIZED, SIGNS_OF_A_CRASH, EndToEnd, Program, address, config, free_port, pool, run, wait_until
from smtp_client import Client, stuff


class Sink(EndToEnd):
    def sink(self, *options):
        port = free_port()
        sink = Program([BIN / "ringmx-sink", "--listen", f"127.0.0.1:{port}", *options], self.folder, "sink")
        self.addCleanup(sink.stop)
        sink.port = port
        sink.wait_log("listening on")  # its port is open a little earlier than its store
        return sink

    def client(self, sink, **options):
        client = Client(address(sink.port), **options)
        self.addCleanup(client.close)
        return client

    def test_takes_mail_by_data_and_by_chunks_and_counts_it(self):
        totals = self.folder / "totals.json"
        sink = self.sink("--json", totals)
        client = self.client(sink)
        reply = client.ehlo()
        for keyword in ("PIPELINING", "CHUNKING"):
            self.assertIn(keyword, str(reply))
        client.message("a@example.com", "b@example.com", body=b"Message-ID: <1@test>\r\n\r\n.x\r\n")
        client.envelope("a@example.com")
        client.send(b"BDAT 24\r\nMessage-ID: <2@test>\r\n\r\nBDAT 3 LAST\r\ny\r\n")
        client.expect("250")
        client.expect("250")
        client.message("a@example.com", body=b"Message-ID: <2@test>\r\n\r\nagain\r\n")
        client.cmd("QUIT", "221")
        self.assertEqual(sink.stop(), 0)
        counted = json.loads(totals.read_text())
        self.assertEqual((counted["messages"], counted["recipients"], counted["unique"], counted["duplicates"]), (3, 4, 2, 1))
        self.assertGreaterEqual(counted["connections"], 1)
        self.assertGreater(counted["bytes"], 70)

    def test_extensions_can_be_left_out(self):
        client = self.client(self.sink("--no-pipelining", "--no-chunking"))
        reply = str(client.ehlo())
        self.assertNotIn("PIPELINING", reply)
        self.assertNotIn("CHUNKING", reply)

    def test_stores_and_records_octets_after_unstuffing(self):
        store, record = self.folder / "store", self.folder / "record"
        store.mkdir()
        sink = self.sink("--store", store, "--record", record)
        client = self.client(sink)
        client.ehlo()
        body = b"Received: by x\r\nMessage-ID: <RUN.1@ringmx-load>\r\n\r\n.dot\r\n..\r\n"
        client.message("a@example.com", body=body)
        sink.stop()
        self.assertEqual([path.read_bytes() for path in store.glob("*.eml")], [body])
        # CRC-32C of what follows the trace field, reckoned bit by bit.
        counted = body[body.index(b"Message-ID"):]
        crc = 0xFFFFFFFF
        for octet in counted:
            crc ^= octet
            for _ in range(8):
                crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        fields = record.read_text().split()
        self.assertEqual(fields[1:], [str(len(counted)), f"{crc ^ 0xFFFFFFFF:08x}"])
        self.assertIn("RUN.1@ringmx-load", fields[0])

    def test_misbehaves_by_probability(self):
        for option, start in (("--tempfail", "4"), ("--reject", "5")):
            client = self.client(self.sink(option, "1"))
            client.ehlo()
            client.message("a@example.com", start=start)
        client = self.client(self.sink("--disconnect", "1"))
        client.ehlo()
        client.envelope("a@example.com")
        client.cmd("DATA", "354")
        client.send(stuff(b"x\r\n") + b".\r\n")
        client.expect_closed()

    def test_lmtp_answers_once_per_recipient(self):
        client = self.client(self.sink("--lmtp"))
        client.cmd("LHLO me.example", "250")
        client.envelope("a@example.com", "b@example.com")
        client.cmd("DATA", "354")
        client.send(b"x\r\n.\r\n")
        client.expect("250")
        client.expect("250")
        client.cmd("NOOP", "250")

    def test_without_json_the_totals_are_all_that_stdout_has(self):
        command = [BIN / "ringmx-sink", "--listen", f"127.0.0.1:{free_port()}"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sink:
            self.assertIn("listening on", sink.stderr.readline())
            sink.terminate()
            totals, _ = sink.communicate(timeout=60)
        self.assertEqual(set(json.loads(totals)), {"connections", "messages", "recipients", "bytes", "unique", "duplicates"})

    def test_a_message_without_message_id_has_a_line_in_the_record_and_was_never_sent(self):
        record, sent = self.folder / "record", self.folder / "sent"
        sink = self.sink("--record", record)
        with Client(address(sink.port)) as client:
            client.ehlo()
            client.message("a@example.com", body=b"Subject: x\r\n\r\nx\r\n")
        self.assertEqual(sink.stop(), 0, sink.log())
        self.assertEqual(record.read_text(), "- 0 00000000\n")
        sent.write_text("")
        audit = subprocess.run([BIN / "ringmx-load", "audit", sent, record], capture_output=True, text=True, check=False)
        self.assertEqual(audit.returncode, 1, audit.stdout + audit.stderr)
        self.assertIn("(without a Message-ID)", audit.stdout)

    def test_two_sinks_with_workers_do_not_share_an_address(self):
        first = self.sink("--workers", "2")
        second = subprocess.run([BIN / "ringmx-sink", "--listen", f"127.0.0.1:{first.port}", "--workers", "2"],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(second.returncode, 1)
        self.assertIn("Address already in use", second.stderr)
        self.assertEqual(first.stop(), 0, first.log())

    def test_port_0_and_unix_paths_are_announced_and_workers_share_them(self):
        path = self.folder / "sink.socket"
        sink = Program([BIN / "ringmx-sink", "--listen", "127.0.0.1:0", "--listen", f"unix:{path}", "--workers", "2"], self.folder, "sink")
        self.addCleanup(sink.stop)
        port = int(sink.wait_log(r"listening on 127\.0\.0\.1:(\d+)\n").group(1))
        sink.wait_log(re.escape(f"listening on unix:{path}\n"))
        for _ in range(20):
            with Client(address(port)) as client:
                client.ehlo()
                client.message("a@example.com", body=b"Message-ID: <same@test>\r\n\r\nx\r\n")
        with socket.socket(socket.AF_UNIX) as local:
            local.settimeout(20)
            local.connect(str(path))
            self.assertTrue(local.recv(100).startswith(b"220 "))
        self.assertEqual(sink.stop(), 0, sink.log())
        totals = json.loads(sink.log().splitlines()[-1])
        self.assertEqual((totals["connections"], totals["messages"], totals["unique"], totals["duplicates"]), (21, 20, 1, 19))
        self.assertFalse(path.exists())

    def test_a_delay_holds_back_one_client_and_no_other(self):
        sink = self.sink("--delay", "700ms")
        slow, other = self.client(sink), self.client(sink)
        slow.ehlo()
        begun = time.monotonic()
        # The next transaction is already there; it waits for the reply, and the end of the client's stream changes nothing.
        slow.send(2 * b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3 LAST\r\nx\r\n" + b"QUIT\r\n")
        slow.half_close()
        slow.expect("250 2.1.0")
        slow.expect("250 2.1.5")
        other.ehlo()
        self.assertLess(time.monotonic() - begun, 0.7)
        for start in ("250 2.0.0", "250 2.1.0", "250 2.1.5", "250 2.0.0", "221"):
            slow.expect(start)
        self.assertGreaterEqual(time.monotonic() - begun, 1.4)
        slow.expect_closed()

    def test_a_client_that_leaves_during_its_delay_harms_nobody(self):
        sink = self.sink("--delay", "300ms")
        for leave in (Client.close, Client.reset):
            client = self.client(sink)
            client.ehlo()
            client.lines("MAIL FROM:<a@b>", "RCPT TO:<c@d>", "BDAT 0 LAST")
            leave(client)
        client = self.client(sink)
        client.ehlo()
        client.message("c@d")

    def test_stores_in_order_with_envelopes_and_goes_on_behind_an_earlier_run(self):
        store = self.folder / "made" / "store"
        for run_number in range(2):
            sink = self.sink("--store", store)
            client = self.client(sink)
            client.ehlo("me.example")
            client.envelope("c@d", "e@f", mail_parameters=" BODY=8BITMIME")
            client.send(b"BDAT 3 LAST\r\n.\r\n")
            client.expect("250 2.0.0")
            client.message("x@y", body=b"second %d\r\n" % run_number)
            client.envelope("x@y")
            client.cmd("BDAT 0 LAST", "250")
            client.cmd("MAIL FROM:<half@way>", "250")
            client.cmd("RCPT TO:<x@y>", "250")
            client.cmd("DATA", "354")
            client.send(b"never finished\r\n")
            self.assertEqual(sink.stop(), 0, sink.log())
        self.assertEqual([path.read_bytes() for path in sorted(store.glob("*.eml"))],
                         [b".\r\n", b"second 0\r\n", b"", b".\r\n", b"second 1\r\n", b""])
        envelope = json.loads(sorted(store.glob("*.envelope"))[0].read_text())
        self.assertEqual({key: envelope[key] for key in ("mail_from", "rcpt_to", "hello", "lmtp", "chunking", "body")},
                         {"mail_from": "sender@example.net", "rcpt_to": ["c@d", "e@f"], "hello": "me.example", "lmtp": False,
                          "chunking": True, "body": "8BITMIME"})
        self.assertEqual(len(list(store.iterdir())), 12, "an unfinished message left something behind")

    def test_a_store_that_fails_is_451_and_says_why(self):
        store = self.folder / "store"
        sink = self.sink("--store", store)
        store.rmdir()
        client = self.client(sink)
        client.ehlo()
        client.message("a@example.com", start="451 4.3.0")
        self.assertRegex(sink.log(), r"--store: open .*: No such file")
        store.mkdir()
        client.message("a@example.com", start="250 2.0.0")

    def test_records_are_written_while_it_runs(self):
        record = self.folder / "record"
        sink = self.sink("--record", record)
        client = self.client(sink)
        client.ehlo()
        client.message("a@example.com", body=b"Message-ID: <1@test>\r\n\r\n")
        wait_until(lambda: record.read_text().startswith("1@test 24 "), 20, "the record's line")

    def test_what_was_acknowledged_is_recorded_though_the_sink_is_killed(self):
        record = self.folder / "record"
        sink = self.sink("--record", record, "--workers", "2")
        acknowledged = 0
        for number in range(40):
            with Client(address(sink.port)) as client:
                client.ehlo()
                client.envelope("a@example.com")
                client.cmd("DATA", "354")
                client.send(f"Message-ID: <{number}@test>\r\n\r\n.\r\n")
                client.expect("250")
                acknowledged += 1
        sink.signal(signal.SIGKILL)
        sink.wait()
        lines = record.read_text().splitlines()
        self.assertEqual(sorted(line.split()[0] for line in lines), sorted(f"{number}@test" for number in range(acknowledged)))
        for line in lines:
            self.assertRegex(line, r"\A\S+ [1-9][0-9]* [0-9a-f]{8}\Z")

    def test_what_is_recorded_was_acknowledged_though_the_sink_is_stopped(self):
        sent, record = self.folder / "sent", self.folder / "record"
        for _ in range(5):
            for path in (sent, record):
                path.unlink(missing_ok=True)
            sink = self.sink("--record", record)
            load = Program([BIN / "ringmx-load", "--to", f"127.0.0.1:{sink.port}", "--pipelining", "--connections", "50", "--messages", "1000000",
                            "--size", "1KiB", "--record", sent], self.folder, "load")
            self.addCleanup(load.stop)
            wait_until(lambda: record.stat().st_size > 10000, what="messages")
            self.assertEqual(sink.stop(), 0, sink.log())
            load.signal(signal.SIGINT)
            load.wait()
            acknowledged = {line.split()[0] for line in sent.read_text().splitlines() if not line.endswith(" unacknowledged")}
            recorded = {line.split()[0] for line in record.read_text().splitlines()}
            self.assertEqual(recorded - acknowledged, set())
            self.assertEqual(acknowledged - recorded, set())

    def test_refused_and_dropped_messages_are_neither_recorded_nor_counted(self):
        record, totals = self.folder / "record", self.folder / "totals.json"
        for option in ("--tempfail", "--reject", "--disconnect"):
            sink = self.sink(option, "1", "--record", record, "--json", totals)
            client = self.client(sink)
            client.ehlo()
            client.envelope("a@example.com")
            client.cmd("DATA", "354")
            client.send("Message-ID: <1@test>\r\n\r\n.\r\n")
            client.end() if option == "--disconnect" else client.reply()
            self.assertEqual(sink.stop(), 0)
            self.assertEqual(record.read_text(), "")
            counted = json.loads(totals.read_text())
            self.assertEqual({key: counted[key] for key in counted if key != "connections"},
                             {"messages": 0, "recipients": 0, "bytes": 0, "unique": 0, "duplicates": 0})
            self.assertGreaterEqual(counted["connections"], 1)

    def test_probabilities_of_0_do_nothing(self):
        client = self.client(self.sink("--tempfail", "0", "--reject", "0.0", "--disconnect", "0", "--delay", "0"))
        client.ehlo()
        for _ in range(50):
            client.message("a@example.com", start="250")

    def test_totals_go_to_stdout_on_sigterm_and_sigint_while_clients_hold_on(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            sink = Program([BIN / "ringmx-sink", "--listen", "[::1]:0", "--listen", "localhost:0", "--delay", "1h"], self.folder, "sink")
            self.addCleanup(sink.stop)
            sink.wait_log(r"(?s)listening on \[::1\]:\d+\n.*listening on 127\.0\.0\.1:\d+\n")
            port = int(re.search(r"listening on \[::1\]:(\d+)", sink.log()).group(1))
            idle, waiting = (self.client_at(("::1", port)) for _ in range(2))
            waiting.ehlo()
            waiting.envelope("a@example.com")
            waiting.cmd("DATA", "354")
            waiting.send(b"x\r\n.\r\n")
            self.assertTrue(waiting.silent())
            sink.signal(number)
            self.assertEqual(sink.wait(10), 0)
            counted = json.loads(sink.log().splitlines()[-1])
            self.assertEqual(list(counted), ["connections", "messages", "recipients", "bytes", "unique", "duplicates"])
            self.assertEqual((counted["connections"], counted["messages"]), (2, 0))
            idle.expect_closed()

    def client_at(self, where):
        client = Client(where)
        self.addCleanup(client.close)
        return client

    def test_what_can_not_be_opened_is_exit_1_before_any_mail_is_taken(self):
        missing = self.folder / "none" / "file"
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            for options, named in ((("--json", missing), missing), (("--record", missing), missing), (("--store", "/proc/none"), "/proc/none"),
                                   (("--listen", f"127.0.0.1:{port}"), f"127.0.0.1:{port}: .*: another program listens there"),
                                   (("--listen", f"unix:{missing}"), f"unix:{missing}")):
                with self.subTest(options=options):
                    result = run(BIN / "ringmx-sink", "--listen", "127.0.0.1:0", *options)
                    self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (1, "", 1), result)
                    self.assertRegex(result.stderr, rf"\Aringmx-sink: .*{named}")

    def test_a_unix_path_left_by_a_killed_sink_is_taken_over(self):
        path = self.folder / "sink.socket"
        for _ in range(2):
            sink = Program([BIN / "ringmx-sink", "--listen", f"unix:{path}"], self.folder, "sink")
            self.addCleanup(sink.stop)
            sink.wait_log("listening on")
            result = run(BIN / "ringmx-sink", "--listen", f"unix:{path}")
            self.assertEqual(result.returncode, 1, "a path that is in use is not taken over")
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                self.assertTrue(connection.recv(100).startswith(b"220 "))
            sink.signal(signal.SIGKILL)
            sink.wait()

    def test_lmtp_verdicts_are_each_recipients_own(self):
        totals = self.folder / "totals.json"
        sink = self.sink("--lmtp", "--tempfail", "0.3", "--reject", "0.3", "--seed", "7", "--json", totals)
        client = self.client(sink)
        client.cmd("LHLO me.example", "250")
        recipients = [f"r{number}@example.com" for number in range(300)]
        client.envelope(*recipients)
        client.cmd("DATA", "354")
        client.send(b"x\r\n.\r\n")
        codes = [client.reply().code for _ in recipients]
        for code, most in ((250, 170), (451, 140), (550, 140)):
            self.assertTrue(40 < codes.count(code) < most, (code, codes.count(code)))
        client.cmd("NOOP", "250")
        self.assertEqual(sink.stop(), 0)
        self.assertEqual(json.loads(totals.read_text())["recipients"], codes.count(250))

    def test_hostile_clients_neither_crash_nor_fill_it(self):
        sink = self.sink()
        before = sink.rss_bytes()
        chance = random.Random(5)
        words = [b"EHLO x\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n", b".\r\n", b"BDAT 5\r\n", b"BDAT 0 LAST\r\n", b"RSET\r\n",
                 b"\r", b"\n", b"\0", b"\xff", b"BDAT 99999999999999999999\r\n", b"LHLO x\r\n", b"Message-ID: <", b"QUIT", 3000 * b"x"]
        for _ in range(200):
            with Client(address(sink.port), greet=False) as client:
                try:
                    for _ in range(chance.randrange(12)):
                        client.send(b"".join(chance.choice(words) for _ in range(chance.randrange(40))))
                    if chance.random() < 0.5:
                        client.reset()
                except OSError:
                    pass
        # One that never reads its replies: what it may leave lying is bounded, and what it sends is not read on.
        deaf = self.client(sink, receive_buffer=4096)
        deaf.socket.settimeout(0.5)
        with self.assertRaises(OSError):
            for _ in range(2000):
                deaf.send(2000 * b"NOOP\r\n")
        good = self.client(sink)
        good.ehlo()
        good.message("a@example.com")
        if not SANITIZED:
            self.assertLess(sink.rss_bytes() - before, 100 << 20)
        self.assertEqual(sink.stop(), 0, sink.log())
        self.assertIsNone(SIGNS_OF_A_CRASH.search(sink.log()), sink.log())

    def test_a_bad_command_line_is_exit_2(self):
        for arguments in ((), ("--listen", "nowhere"), ("--listen", "127.0.0.1:0", "--tempfail", "2"), ("--frob",)):
            result = run(BIN / "ringmx-sink", *arguments)
            self.assertEqual(result.returncode, 2, result)
            self.assertTrue(result.stderr.strip())


class Personalities(EndToEnd):
    """Listeners that misbehave, each by its own file; the rules themselves are the unit tests'."""

    PHASES = ("connect", "ehlo", "mail", "rcpt", "data", "content", "end_of_data")
    MISCHIEFS = ("disconnect", "busy", "malformed", "endless_line", "endless_reply", "silence", "tempfail", "reject")

    def sink(self, *personalities, options=()):
        """One process that listens for each of the personalities."""
        arguments = [BIN / "ringmx-sink", *options]
        self.ports = [free_port() for _ in personalities]
        for index, (port, personality) in enumerate(zip(self.ports, personalities)):
            path = self.folder / f"personality.{index}.json"
            path.write_text(json.dumps(personality))
            arguments += ["--listen", f"127.0.0.1:{port}", "--personality", path]
        sink = Program(arguments, self.folder, "sink")
        self.addCleanup(sink.stop)
        wait_until(lambda: sink.log().count("listening on") == len(self.ports) or not sink.running(), what="the listeners")
        self.assertTrue(sink.running(), sink.log())
        return sink

    def client(self, index, **options):
        client = Client(address(self.ports[index]), **options)
        self.addCleanup(client.close)
        return client

    def test_each_listener_has_its_own(self):
        sink = self.sink({}, {"rcpt": {"reject": 1}}, {"connect": {"tempfail": 1}}, {"data": {"malformed": 1}})
        good, refusing = self.client(0), self.client(1)
        good.ehlo()
        good.message("a@example.com")
        refusing.ehlo()
        refusing.cmd("MAIL FROM:<a@b>", "250")
        refusing.cmd("RCPT TO:<a@b>", "550 5.7.1")
        closed = self.client(2, greet=False)
        closed.expect("451")
        closed.expect_closed()
        wild = self.client(3)
        wild.ehlo()
        wild.envelope("a@example.com")
        wild.send(b"DATA\r\n")
        with self.assertRaisesRegex(AssertionError, "not a reply line"):
            wild.reply()
        wild.send(b"NOOP\r\n")
        self.assertTrue(wild.silent())
        self.assertEqual(sink.stop(), 0, sink.log())
        self.assertEqual(json.loads(sink.log().splitlines()[-1]),
                         {"connections": 4, "messages": 1, "recipients": 1, "bytes": 21, "unique": 1, "duplicates": 0, "unanswered": 0})

    def test_endless_replies_have_no_end_and_silence_no_word(self):
        sink = self.sink({"ehlo": {"endless_line": 1}}, {"ehlo": {"endless_reply": 1}}, {"ehlo": {"silence": 1}})
        line, reply, silent = (self.client(index) for index in range(3))
        for client in (line, reply, silent):
            client.send(b"EHLO me\r\n")
        wanted = 1 << 20
        for client, pattern in ((line, rb"250 x+"), (reply, rb"(250-And there is more\r\n)+.{0,22}")):
            while len(client.input) < wanted:
                client.input += client.socket.recv(65536)
            self.assertRegex(client.input, re.compile(rb"\A" + pattern + rb"\Z", re.S))
        self.assertTrue(silent.silent())
        silent.half_close()  # it is not held on to: who leaves is let go
        silent.expect_closed()
        for client in (line, reply):
            client.close()
        wait_until(lambda: sink.descriptors() < 12, what="the end of the connections")
        self.assertLess(sink.rss_bytes() if not SANITIZED else 0, 100 << 20)

    def test_an_unanswered_message_is_stored_and_neither_counted_nor_recorded(self):
        store, record = self.folder / "store", self.folder / "record"
        sink = self.sink({"end_of_data": {"unanswered": 1}}, options=("--store", store, "--record", record))
        client = self.client(0)
        client.ehlo()
        client.envelope("a@example.com")
        client.cmd("DATA", "354")
        client.send(b"Message-ID: <1@test>\r\n\r\n.\r\n")
        client.expect_closed()
        self.assertEqual(sink.stop(), 0, sink.log())
        self.assertEqual([path.read_bytes() for path in store.glob("*.eml")], [b"Message-ID: <1@test>\r\n\r\n"])
        self.assertEqual(record.read_text(), "")
        counted = json.loads(sink.log().splitlines()[-1])
        self.assertEqual((counted["messages"], counted["unanswered"]), (0, 1))

    def test_idle_connections_are_closed_with_a_word_or_without(self):
        self.sink({"idle": {"timeout": "200ms"}}, {"idle": {"timeout": "200ms", "reply": False}})
        told, cut = self.client(0), self.client(1)
        for _ in range(3):  # as long as it talks it is not idle
            told.cmd("NOOP", "250")
            time.sleep(0.1)
        told.expect("421 4.4.2")
        told.expect_closed()
        cut.expect_closed()

    def test_a_storm_is_of_all_workers_and_greylists_are_shared(self):
        self.sink({"storm": {"every": "1h", "lasts": "1h"}}, {"greylist": {"delay": "1ms"}}, options=("--workers", "2"))
        for _ in range(8):
            self.client(0, greet=False).expect("421 4.3.2")
        codes = []
        for _ in range(16):  # the kernel spreads them over both workers
            with Client(address(self.ports[1])) as client:
                client.ehlo()
                client.cmd("MAIL FROM:<a@b>", "250")
                codes.append(client.cmd("RCPT TO:<c@d>").code)
            time.sleep(0.002)
        self.assertEqual(codes, [450] + [250] * 15)

    def test_the_manual_s_example_is_one(self):
        manual = (pathlib.Path(__file__).resolve().parents[2] / "gateway" / "docs" / "benchmarking.md").read_text()
        personality = json.loads(re.search(r"```json\n(.*?)```", manual, re.S).group(1))
        self.assertGreater(len(personality), 4)
        self.assertEqual(self.sink(personality).stop(), 0)

    def test_faults_of_all_files_are_exit_2(self):
        for index, text in enumerate(('{"mail": {"tempfial": 1}, "greylist": {"delay": 5}}', "{")):
            (self.folder / f"bad.{index}").write_text(text)
        result = run(BIN / "ringmx-sink", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--personality", self.folder / "bad.0",
                     "--personality", self.folder / "bad.1")
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertRegex(result.stderr, r'(?s)\A\S+bad\.0: 2 faults, not started\n  /mail/tempfial: unknown key, did you mean "tempfail"\?\n'
                                        r'  /greylist/delay: found 5, .*\nringmx-sink: \S+bad\.1: line 1, column 2: ')

    def test_a_gateway_survives_every_mischief_in_every_phase(self):
        """Whoever it is that misbehaves, the client gets an answer, nothing else suffers, and what is acknowledged has arrived."""
        cases = [(phase, mischief) for phase in self.PHASES for mischief in self.MISCHIEFS] + [("end_of_data", "unanswered")]
        record = self.folder / "record"
        self.sink({}, *({phase: {mischief: 1}} for phase, mischief in cases), options=("--no-chunking", "--record", record))
        pools = {"good": pool(f"127.0.0.1:{self.ports[0]}")}
        routes = [{"recipients": ["good.example"], "pool": "good"}]
        for (phase, mischief), port in zip(cases, self.ports[1:]):
            name = f"{phase}-{mischief}".replace("_", "-")
            pools[name] = pool(f"127.0.0.1:{port}")
            routes.append({"recipients": [f"{name}.example"], "pool": name})
        gateway = self.gateway(config(pools, routes=routes, limits={"exempt": ["127.0.0.0/8"]},
                                      timeouts={"backend_reply": "300ms", "backend_end_of_data": "300ms", "backend_wait": "300ms"}))
        body = b"Message-ID: <%d@test>\r\nSubject: x\r\n\r\n" + 300 * (70 * b"x" + b"\r\n")
        for number, (phase, mischief) in enumerate(cases):
            with self.subTest(phase=phase, mischief=mischief):
                with Client(gateway.smtp) as client:
                    client.ehlo()
                    client.cmd("MAIL FROM:<a@b.example>", "250")
                    answer = client.cmd(f"RCPT TO:<u@{phase}-{mischief}.example>".replace("_", "-"))
                    if answer.code == 250:
                        answer = client.cmd("DATA")
                    if answer.code == 354:
                        client.send(stuff(body % number) + b".\r\n")
                        answer = client.reply()
                    # A refusal that the backend gives to what was asked is passed on; anything else is a passing failure.
                    is_passed_on = mischief == "reject" and phase in ("mail", "rcpt", "data", "content", "end_of_data")
                    self.assertEqual(answer.code, 550 if is_passed_on else 451, answer)
                    client.cmd("RSET", "250")
                    client.message("a@good.example", body=body % (1000 + number))
        recorded = sorted(line.split()[0] for line in record.read_text().splitlines())
        self.assertEqual(recorded, sorted(f"{1000 + number}@test" for number in range(len(cases))))


if __name__ == "__main__":
    unittest.main()
