"""The benchmark programs run from end to end with tiny loads, on our own programs alone. What they measure is no matter here:
that they measure, count, audit, judge and write is."""

import json
import shutil
import sys
import unittest
import xml.etree.ElementTree

from harness import BIN, EndToEnd, run

BENCH = BIN.parents[1] / "bench"


class Bench(EndToEnd):
    def bench(self, program, *options):
        """Runs it, and returns its JSON and its table."""
        results = self.folder / "results"
        done = run(sys.executable, BENCH / program, "--ringmx", BIN / "ringmx", "--results", results, *options, timeout=240)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        name = "macro" if program.endswith("run") else program.rpartition("/")[2]
        plots = sorted(path.name for path in results.glob("*.svg"))
        for plot in plots:
            xml.etree.ElementTree.parse(results / plot)
        table = (results / f"{name}.md").read_text()
        self.assertEqual(done.stdout, table)
        return json.loads((results / f"{name}.json").read_text()), table, plots

    def test_run_forwards_audits_and_judges(self):
        found, table, plots = self.bench(
            "macro/run", "--servers", "ringmx,floor", "--client", "chunking", "--backend", "chunking", "--connections", "4",
            "--rounds", "2", "--seconds", "0.05")
        (scene,) = found["results"]
        self.assertEqual(scene["scene"], "forward/4k/4/kept/chunking/chunking")
        self.assertEqual(sorted(scene["servers"]), ["floor", "ringmx"])
        for figures in scene["servers"].values():
            self.assertEqual(len(figures["samples_cpu_us"]), 2)
            self.assertGreater(min(figures["samples_cpu_us"]), 0)
            self.assertGreater(figures["peak_rss_kib"], 1000)
            self.assertEqual(figures["lost"], 0)
            if figures["counted_by"]:
                self.assertGreater(figures["system_calls_per_message"], 0)
        self.assertEqual(scene["servers"]["ringmx"]["audit"], "passed")
        self.assertEqual(len(scene["ratios"]["floor"]["ratios"]), 2)
        self.assertIn("| ringmx |", table)
        self.assertEqual(plots, ["macro-forward-ratios.svg", "macro-forward.svg"])

    def test_run_through_every_form_that_the_floor_relays(self):
        found, _, _ = self.bench(
            "macro/run", "--servers", "ringmx,floor", "--client", "lockstep,pipelining", "--backend", "chunking,plain", "--connections",
            "4", "--reuse", "kept,single", "--rounds", "1", "--seconds", "0.05", "--no-count")
        self.assertEqual(len(found["results"]), 8)
        for scene in found["results"]:
            self.assertEqual([(name, figures["lost"]) for name, figures in scene["servers"].items()], [("ringmx", 0), ("floor", 0)])

    def test_run_sends_discards_and_says_what_is_absent(self):
        found, table, _ = self.bench(
            "macro/run", "--class", "send,discard,durable", "--servers",
            "ringmx-load,floor-load,ringmx-sink,floor-sink,ringmx-spool,floor-log", "--client", "lockstep", "--connections", "4",
            "--rounds", "1", "--seconds", "0.05", "--no-count", "--scratch", self.folder)
        send, discard, durable = found["results"]
        self.assertEqual(sorted(send["servers"]), ["floor-load", "ringmx-load"])
        self.assertEqual(sorted(discard["servers"]), ["floor-sink", "ringmx-sink"])
        self.assertIn("floor-log", durable["servers"])
        for name, reason in durable["skipped"].items():
            self.assertIn(f"| {name} | skipped: {reason}", table)

    def test_run_says_what_it_does_not_know(self):
        for options, words in ((("--size", "9k"), "expected 1k, 4k, 64k, 1m"), (("--scenes", "nosuch"), "no scene is called nosuch"),
                               (("--scenes", "*", "--size", "4k"), "--scenes goes without")):
            done = run(sys.executable, BENCH / "macro/run", *options)
            self.assertEqual(done.returncode, 2)
            self.assertIn(words, done.stderr)

    def test_scaling_goes_along_an_axis(self):
        for axis, points in (("routes", [10, 1000]), ("backends", [1, 3]), ("idle", [5, 50]), ("connections", [2, 8]), ("size", [1024, 5000])):
            with self.subTest(axis):
                found, _, plots = self.bench("macro/scaling", "--axes", axis, "--points", ",".join(map(str, points)), "--rounds", "1",
                                             "--seconds", "0.05")
                (one,) = found["results"]
                self.assertEqual([point["point"] for point in one["points"]], points)
                self.assertEqual((one["lost"], one["audit"]), (0, "passed"))
                self.assertIn(f"scaling-{axis}.svg", plots)

    @unittest.skipUnless(shutil.which("valgrind"), "valgrind is not installed")
    def test_micro_is_compared_with_what_was_kept(self):
        results = self.folder / "results"
        command = (sys.executable, BENCH / "micro/run", "--ringmx", BIN / "ringmx", "--results", results, "--filter",
                   "command/parse_mail_line", "--seconds", "0.01", "--fail-if-worse")
        first = run(*command, timeout=240)
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("No result was kept before", first.stdout)
        again = run(*command, timeout=240)
        self.assertEqual(again.returncode, 0, again.stdout)
        self.assertIn("1 same.", again.stdout)
        path = results / "micro.json"
        kept = json.loads(path.read_text())
        kept["results"]["command/parse_mail_line"]["instructions"] /= 2
        path.write_text(json.dumps(kept))
        worse = run(*command, timeout=240)
        self.assertEqual(worse.returncode, 1)
        self.assertIn("1 worse.", worse.stdout)


if __name__ == "__main__":
    unittest.main()
