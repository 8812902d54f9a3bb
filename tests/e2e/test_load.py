"""ringmx-load against ringmx-sink and through the gateway: counts, records and audit, open and closed loop, failures, reports."""

import html
import json
import re
import shutil
import signal
import struct
import tempfile
import unittest
import zlib

from harness import BIN, SIGNS_OF_A_CRASH, EndToEnd, Program, config, free_port, pool, run, wait_until


class Loading(EndToEnd):
    def sink(self, *options, listen=None):
        port = free_port()
        sink = Program([BIN / "ringmx-sink", "--listen", listen or f"127.0.0.1:{port}", *options], self.folder, "sink")
        self.addCleanup(sink.stop)
        sink.port = port
        sink.wait_log("listening on")
        return sink

    def load(self, to, *options, code=0, timeout=120):
        """Runs it to its end; gives its JSON."""
        path = self.folder / "load.json"
        path.unlink(missing_ok=True)
        result = run(BIN / "ringmx-load", "--to", to if isinstance(to, str) else f"127.0.0.1:{to.port}", "--json", path, *options, timeout=timeout)
        self.assertNotRegex(result.stderr + result.stdout, SIGNS_OF_A_CRASH)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.table = result.stdout
        found = json.loads(path.read_text())
        self.assertEqual(found["accepted"] + found["tempfailed"] + found["rejected"] + found["errors"], found["sent"])
        return found


class Load(Loading):
    def audit(self, sent, *received, code=0):
        result = run(BIN / "ringmx-load", "audit", sent, *received)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout

    def recorded(self, path):
        return [line.split() for line in path.read_text().splitlines()]

    def test_every_way_to_send_arrives_octet_for_octet(self):
        for ways in ((), ("--pipelining",), ("--chunking",), ("--pipelining", "--chunking")):
            for more in ((), ("--messages-per-connection", "1"), ("--workers", "2", "--connections", "7", "--recipients", "1-3")):
                with self.subTest(ways=ways, more=more):
                    sent, received = self.folder / "sent", self.folder / "received"
                    for path in (sent, received):
                        path.unlink(missing_ok=True)
                    sink = self.sink("--record", received)
                    found = self.load(sink, "--messages", 100, "--size", "300-200KiB", "--record", sent, *ways, *more)
                    self.assertEqual((found["sent"], found["accepted"], found["lost"]), (100, 100, 0))
                    self.assertEqual(sink.stop(), 0)
                    self.audit(sent, received)
                    lines = self.recorded(sent)
                    self.assertEqual(len(lines), 100)
                    self.assertEqual(sorted(lines), sorted(self.recorded(received)))
                    octets = sum(int(line[1]) for line in lines)
                    self.assertAlmostEqual(found["bytes_per_second"] * found["seconds"] / octets, 1, 3)
                    for line in lines:
                        self.assertRegex(line[0], r"^\w+\.\d+@ringmx-load$")

    def test_sizes_are_of_the_whole_message(self):
        store = self.folder / "store"
        sink = self.sink("--store", store)
        self.load(sink, "--messages", 5, "--size", "4KiB")
        sizes = [path.stat().st_size for path in store.glob("*.eml")]
        self.assertEqual(sizes, [4096] * 5)
        result = run(BIN / "ringmx-load", "--to", f"127.0.0.1:{sink.port}", "--size", "100")
        self.assertEqual((result.returncode, result.stdout), (2, ""), result)
        least = re.fullmatch(r"ringmx-load: --size: found 100 octets, expected at least (\d+): the header is part of the message\n", result.stderr).group(1)
        for path in store.glob("*.eml"):
            path.unlink()
        self.load(sink, "--messages", 12, "--size", least)
        self.assertEqual({path.stat().st_size for path in store.glob("*.eml")}, {int(least)})
        self.assertTrue(all(path.read_bytes().startswith(b"Message-ID: <") for path in store.glob("*.eml")))

    def test_through_the_gateway_to_two_sinks(self):
        records = [self.folder / "one", self.folder / "two"]
        sinks = [self.sink("--record", path) for path in records]
        gateway = self.gateway(config({"main": pool(*(f"127.0.0.1:{sink.port}" for sink in sinks), max_connections=50)},
                                      limits={"exempt": ["127.0.0.0/8"]}))
        sent = self.folder / "sent"
        found = self.load(f"127.0.0.1:{gateway.smtp[1]}", "--messages", 300, "--connections", 20, "--size", "1KiB-1MiB", "--record", sent)
        self.assertEqual(found["accepted"], 300)
        for sink in sinks:
            sink.stop()
        self.assertIn("300", self.audit(sent, *records))
        self.assertTrue(all(path.stat().st_size for path in records), "one sink got nothing")

    def test_lmtp_on_a_unix_socket(self):
        path = self.folder / "lmtp"
        sink = self.sink("--lmtp", listen=f"unix:{path}")
        found = self.load(f"unix:{path}", "--lmtp", "--messages", 50, "--recipients", 3)
        self.assertEqual(found["accepted"], 50)
        sink.stop()
        self.assertIn('"recipients":150', sink.log().replace(" ", ""))

    def test_the_server_s_refusals_are_told_apart(self):
        for option, field in (("--tempfail", "tempfailed"), ("--reject", "rejected"), ("--disconnect", "errors")):
            with self.subTest(option=option):
                found = self.load(self.sink(option, "1"), "--messages", 20, code=1)
                self.assertEqual((found["sent"], found[field]), (20, 20))
        self.assertEqual(found["lost"], 20)
        self.assertIn("end of data: connection closed", found["failures"])

    def test_nobody_there(self):
        found = self.load(f"127.0.0.1:{free_port()}", "--messages", 3, "--connections", 2, code=1)
        self.assertEqual((found["errors"], found["failures"]), (3, {"connect: Connection refused": 3}))

    def test_an_open_loop_does_not_wait_for_the_server(self):
        # One connection, an answer each 200 ms, a message due each 50 ms: the last of 20 is answered 3 s after it was due.
        found = self.load(self.sink("--delay", "200ms"), "--rate", "20", "--arrivals", "even", "--messages", 20, "--connections", 1)
        self.assertGreater(found["latency_us"]["max"], 2_500_000)
        self.assertGreater(found["latency_us"]["p50"], 1_000_000)
        # A closed loop asks when it has the answer: the stall stays hidden.
        found = self.load(self.sink("--delay", "200ms"), "--messages", 5, "--connections", 1)
        self.assertGreaterEqual(found["latency_us"]["p50"], 200_000)

    def test_an_open_loop_sends_what_was_due(self):
        found = self.load(self.sink(), "--rate", "200/1s", "--arrivals", "even", "--duration", "2s", "--connections", 20)
        self.assertEqual(found["sent"], 400)
        found = self.load(self.sink(), "--rate", "50-350", "--ramp", "2s", "--arrivals", "even", "--duration", "2s", "--workers", "2")
        self.assertIn(found["sent"], range(398, 403))

    def test_conditions_fail_a_run(self):
        sink = self.sink()
        self.load(sink, "--messages", 5, "--fail-if", "p99>10m", "--fail-if", "lost>0")
        self.load(sink, "--messages", 5, "--fail-if", "p99>1us", code=1)
        self.assertIn("p99>1us", self.table)

    def test_json_on_standard_output_stands_alone(self):
        sink = self.sink()
        result = run(BIN / "ringmx-load", "--to", f"127.0.0.1:{sink.port}", "--messages", 3, "--json", "-")
        self.assertEqual(json.loads(result.stdout)["accepted"], 3)
        self.assertIn("latency", result.stderr)

    def test_a_signal_ends_it_with_its_table(self):
        sink = self.sink()
        path = self.folder / "load.json"
        load = Program([BIN / "ringmx-load", "--to", f"127.0.0.1:{sink.port}", "--duration", "10m", "--json", path], self.folder, "load")
        self.addCleanup(load.stop)
        wait_until(lambda: sink.running() and sink.descriptors() > 15, what="connections")
        load.signal(signal.SIGINT)
        self.assertEqual(load.wait(), 0, load.log())
        found = json.loads(path.read_text())
        self.assertEqual(found["sent"], found["accepted"])
        self.assertIn("accepted", load.log())

    def test_proxy_headers_name_the_clients_and_sources_are_ours(self):
        sink = self.sink()
        gateway = self.gateway(config({"main": pool(f"127.0.0.1:{sink.port}")}, limits={"exempt": ["127.0.0.0/8", "10.0.0.0/8"]},
                                      listener={"proxy_protocol": {"trusted": ["127.0.0.0/8"]}}))
        for version in ("v1", "v2"):
            self.load(f"127.0.0.1:{gateway.smtp[1]}", "--messages", 10, "--messages-per-connection", 1, "--proxy", version,
                      "--proxy-clients", "10.7.0.0/16")
        wait_until(lambda: len(set(re.findall(r"10\.7\.0\.\d+", gateway.log()))) >= 10, what="the clients' addresses in the log")
        plain = self.gateway(config({"main": pool(f"127.0.0.1:{sink.port}")}, limits={"exempt": ["127.0.0.0/8"]}))
        self.load(f"127.0.0.1:{plain.smtp[1]}", "--messages", 10, "--messages-per-connection", 1, "--source", "127.9.0.0/16")
        wait_until(lambda: len(set(re.findall(r"127\.9\.0\.\d+", plain.log()))) >= 10, what="ten source addresses in the log")

    def test_a_corpus_arrives_as_it_is(self):
        corpus = self.folder / "corpus"
        corpus.mkdir()
        (corpus / "1").write_bytes(b"Subject: one\n\n.dot\n..two\n\nlast line without an end")
        (corpus / "2").write_bytes(b"Message-ID: <own@x>\r\nSubject: two\r\n\r\n\xe4\xf6\xfc\r\n.\r\n")
        store, sent, received = self.folder / "store", self.folder / "sent", self.folder / "received"
        sink = self.sink("--store", store, "--record", received)
        self.load(sink, "--messages", 4, "--connections", 1, "--corpus", corpus, "--record", sent)
        mails = sorted(path.read_bytes().split(b"\r\n", 1)[1] for path in store.glob("*.eml"))
        self.assertEqual(mails[2:], [b"X-Original-Message-ID: <own@x>\r\nSubject: two\r\n\r\n\xe4\xf6\xfc\r\n.\r\n"] * 2)
        self.assertEqual(mails[:2], [b"Subject: one\r\n\r\n.dot\r\n..two\r\n\r\nlast line without an end\r\n"] * 2)
        sink.stop()
        self.audit(sent, received)

    def test_an_audit_finds_what_is_missing_or_changed(self):
        sent, received = self.folder / "sent", self.folder / "received"
        sink = self.sink("--record", received)
        self.load(sink, "--messages", 10, "--record", sent)
        sink.stop()
        lines = received.read_text().splitlines()
        for damage, word in ((lines[1:], "lost"), (lines[:-1] + [lines[-1][:-1] + ("0" if lines[-1][-1] != "0" else "1")], "corrupted"),
                             (lines + ["other@ringmx-load 1 00000000"], "unsent")):
            received.write_text("\n".join(damage) + "\n")
            self.assertIn(word, self.audit(sent, received, code=1))
        received.write_text("\n".join(lines + lines[:2]) + "\n")
        self.assertRegex(self.audit(sent, received), r"duplicates?\D+2")

    def test_wrong_options_say_what_is_wrong(self):
        for options, said in (((), "--to"), (("--to", "127.0.0.1:1", "--size", "x"), "--size"), (("--to", "127.0.0.1:1", "--tls", "starttls"), "not built"),
                              (("--to", "127.0.0.1:1", "--json", "/no/such/file"), "--json: open /no/such/file: No such file or directory: give a file that can be written"),
                              (("--to", "127.0.0.1:1", "--html", "/no/such/file"), "--html: open /no/such/file: No such file or directory: give"),
                              (("--to", "127.0.0.1:1", "--record", "/no/such/file"), "--record: open /no/such/file: No such file or directory: give"),
                              (("audit",), "audit --help"), (("audit", "/no/such/file", "f"), "open /no/such/file: No such file or directory: give a record")):
            result = run(BIN / "ringmx-load", *options)
            self.assertEqual(result.returncode, 2, (options, result))
            self.assertIn(said, result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)

    def test_what_was_due_and_never_sent_is_counted_and_said(self):
        found = self.load(self.sink("--delay", "1s"), "--rate", "100", "--arrivals", "even", "--duration", "1s", "--connections", 2, code=1)
        self.assertEqual(found["sent"], 100)
        self.assertEqual(found["failures"], {"due, but never sent": found["errors"]})
        self.assertIn(found["accepted"], range(10, 26))

    def test_hostile_clients_are_what_they_say(self):
        sink = self.sink()
        gateway = self.gateway(config({"main": pool(f"127.0.0.1:{sink.port}")}, limits={"exempt": ["127.0.0.0/8"]}, timeouts={"command": "1s"}))
        to = f"127.0.0.1:{gateway.smtp[1]}"
        found = self.load(to, "--drip", "400/10ms", "--messages", 4, "--size", "4KiB")
        self.assertEqual(found["accepted"], 4)
        found = self.load(to, "--hostile", "abort", "--messages", 10, "--size", "100KiB", code=1)
        self.assertEqual(found["failures"], {"abort: in the middle of the data": 10})
        found = self.load(to, "--hostile", "reconnect", "--messages", 100, code=1)
        self.assertEqual(found["failures"], {"reconnect: as soon as connected": 100})
        found = self.load(to, "--hostile", "never-read", "--messages", 4, code=1)
        self.assertEqual(found["errors"], 4)
        self.load(to, "--messages", 10)
        gateway.wait_metric("ringmx_connections_open", 0)
        gateway.wait_metric("ringmx_messages_forwarded_total", 14)


# Runs in a copy of the report: everything that is drawn, with its extents, and everything that was asked for over a network. Then only
# the first plot is left, for the screenshot.
PROBE = """<script>
const drawn = [...document.querySelectorAll("figure > svg")].map(svg => ({
  box: svg.getBoundingClientRect().toJSON(),
  lines: [...svg.querySelectorAll("path.line")].map(line => line.getTotalLength()),
  texts: [...svg.querySelectorAll("text.tick")].map(text => ({...text.getBoundingClientRect().toJSON(), text: text.textContent})),
  hovers: svg.querySelectorAll("rect.hover > title").length,
}));
const found = {drawn, asked: performance.getEntriesByType("resource").map(entry => entry.name),
               overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth};
document.body.replaceChildren(document.querySelector("figure > svg"));
document.body.insertAdjacentHTML("beforeend", '<pre id="found" hidden></pre>');
document.getElementById("found").textContent = JSON.stringify(found);
</script>"""

# Whatever the page would fetch or run beside the probe is refused, and told on the console.
POLICY = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">"""


def pixels(png):
    """The rows of a PNG of 8 bits a channel, as lists of tuples."""
    position, chunks = 8, {}
    while position < len(png):
        length, kind = struct.unpack(">I4s", png[position:position + 8])
        chunks[kind] = chunks.get(kind, b"") + png[position + 8:position + 8 + length]
        position += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    step = {2: 3, 6: 4}[colour]
    assert depth == 8
    octets, above = zlib.decompress(chunks[b"IDAT"]), bytes(width * step)
    for row in range(height):
        start = row * (width * step + 1)
        kind, line = octets[start], bytearray(octets[start + 1:start + 1 + width * step])
        for index in range(len(line) if kind else 0):
            left = line[index - step] if index >= step else 0
            corner = above[index - step] if index >= step else 0
            if kind == 4:
                guess = left + above[index] - corner
                nearest = min((abs(guess - left), 0, left), (abs(guess - above[index]), 1, above[index]), (abs(guess - corner), 2, corner))[2]
            else:
                nearest = (0, left, above[index], (left + above[index]) // 2)[kind]
            line[index] = (line[index] + nearest) & 255
        above = bytes(line)
        yield [tuple(line[index:index + 3]) for index in range(0, len(line), step)]


class Report(Loading):
    """--html, as a browser shows it."""

    def browse(self, report, width, height):
        """(what the probe found, the screenshot)"""
        program = shutil.which("chromium")
        self.assertTrue(program, "chromium is not there: tools/setup installs it")
        page, shot = self.folder / "probed.html", self.folder / "shot.png"
        text = report.read_text(encoding="utf-8")
        self.assertIn("</body>", text)
        page.write_text(text.replace("<head>", "<head>" + POLICY).replace("</body>", PROBE + "</body>"), encoding="utf-8")
        with tempfile.TemporaryDirectory() as profile:
            result = run(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                         "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}", "--enable-logging=stderr", "--hide-scrollbars",
                         f"--window-size={width},{height}", "--dump-dom", f"--screenshot={shot}", page.as_uri(), timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotRegex(result.stderr, r"CONSOLE")
        found = re.search(r'<pre id="found" hidden="">(.*?)</pre>', result.stdout, re.S)
        self.assertTrue(found, result.stdout[-2000:])
        return json.loads(html.unescape(found.group(1))), shot.read_bytes()

    def test_a_browser_draws_the_plots(self):
        report = self.folder / "report.html"
        self.load(self.sink("--delay", "5ms", "--tempfail", "0.1"), "--rate", "200", "--duration", "2s", "--connections", 10, "--html", report, code=1)
        for width in (400, 1100):
            with self.subTest(width=width):
                found, shot = self.browse(report, width, 330)
                self.assertEqual(found["asked"], [], "a report is whole by itself")
                self.assertEqual(found["overflow"], 0, "the page is wider than the window")
                self.assertEqual(len(found["drawn"]), 3, "latency and throughput over time, latency by percentile")
                for plot in found["drawn"]:
                    self.assertGreater(plot["box"]["width"], 500)
                    self.assertGreater(plot["box"]["height"], 150)
                    self.assertGreaterEqual(len(plot["lines"]), 2)
                    for length in plot["lines"]:
                        self.assertGreater(length, 100)
                    self.assertGreaterEqual(plot["hovers"], 2)
                    self.check_texts(plot)
        # At the full width, where lines are not thinned.
        colours = [pixel for row in pixels(shot) for pixel in row]
        self.assertGreater(colours.count((0x00, 0x72, 0xb2)), 100, "the median's line is not to be seen")
        self.assertGreater(colours.count((0xd5, 0x5e, 0x00)), 100, "the 99th percentile's line is not to be seen")

    def check_texts(self, plot):
        """Labels can be read, lie inside the drawing, and don't lie on one another."""
        box, texts = plot["box"], plot["texts"]
        self.assertGreater(len(texts), 6)
        for text in texts:
            self.assertGreater(text["width"], 4, text)
            self.assertGreater(text["height"], 7, text)
            self.assertGreaterEqual(text["left"], box["left"] - 1, text)
            self.assertLessEqual(text["right"], box["right"] + 1, text)
            self.assertGreaterEqual(text["top"], box["top"] - 1, text)
            self.assertLessEqual(text["bottom"], box["bottom"] + 1, text)
        for index, one in enumerate(texts):
            for other in texts[index + 1:]:
                over = min(one["right"], other["right"]) - max(one["left"], other["left"])
                high = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
                self.assertFalse(over > 2 and high > 2, (one, other))  # a line's box is higher than its letters


if __name__ == "__main__":
    unittest.main()
