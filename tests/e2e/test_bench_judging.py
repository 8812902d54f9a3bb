"""What the benchmarks make of their samples: verdicts, losses, tables, plots. No program is run."""

import pathlib
import sys
import unittest
import xml.etree.ElementTree
from unittest import mock

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path[:0] = [str(BENCH / "macro"), str(BENCH / "micro")]

import comparing  # noqa: E402
import counted  # noqa: E402
import judging  # noqa: E402
import report  # noqa: E402
import results  # noqa: E402
import scenes  # noqa: E402
import stand  # noqa: E402
import svg  # noqa: E402
from programs.peer import Server  # noqa: E402


class Judging(unittest.TestCase):
    def test_seven_values_have_their_extremes_as_spread(self):
        low, high, sure = judging.interval([7, 1, 6, 2, 5, 3, 4])
        self.assertEqual((low, high), (1, 7))
        self.assertAlmostEqual(sure, 1 - 2 / 2**7)

    def test_more_values_leave_out_as_many_as_keep_nineteen_in_twenty(self):
        # Order statistics of the binomial distribution: 12 values keep the third to the tenth.
        self.assertEqual(judging.interval(range(1, 13))[:2], (3, 10))
        self.assertEqual(judging.interval(range(1, 10))[:2], (2, 8))
        self.assertEqual(judging.interval(range(1, 9))[:2], (1, 8))

    def test_two_values_are_less_sure(self):
        self.assertEqual(judging.interval([2, 1]), (1, 2, 0.5))

    def test_the_whole_spread_decides(self):
        self.assertEqual(judging.verdict(0.4, 0.6, 0.6), "met")
        self.assertEqual(judging.verdict(0.61, 0.9, 0.6), "missed")
        self.assertEqual(judging.verdict(0.5, 0.61, 0.6), "undecided")
        self.assertEqual(judging.verdict(0.5, 0.61, None), "no bound")

    def test_pairs_are_compared_within_their_round(self):
        # The machine is twice as slow from the third round on: the ratio stays.
        found = judging.compare([10, 11, 20, 22, 20, 22, 20], [20, 20, 40, 40, 40, 40, 40], 0.56)
        self.assertEqual((found["median"], found["low"], found["high"]), (0.5, 0.5, 0.55))
        self.assertEqual(found["verdict"], "met")
        self.assertEqual(len(found["ratios"]), 7)

    def test_rounds_that_do_not_pair_are_no_comparison(self):
        with self.assertRaises(ValueError):
            judging.compare([1, 2], [1])


class Losses(unittest.TestCase):
    def settled(self, arrivals, acknowledged):
        there = iter(arrivals)
        last = arrivals[-1]
        server = Server(None, 0, kept=lambda: next(there, last))
        with mock.patch.object(stand, "SETTLE_SECONDS", 0.05):
            return stand.Stand("none").settle(server, 100, acknowledged)

    def test_what_arrives_late_is_waited_for(self):
        self.assertEqual(self.settled([100, 103, 103, 107, 110], 10), 0)

    def test_what_never_arrives_is_lost(self):
        self.assertEqual(self.settled([100, 107], 10), 3)

    def test_who_keeps_no_count_loses_nothing_that_is_known(self):
        self.assertIsNone(stand.Stand("none").settle(Server(None, 0), None, 10))


class Counting(unittest.TestCase):
    def test_perf(self):
        text = ("# started on Sat\n\n154,,context-switches,2000000,100.00,,\n"
                "3021,,raw_syscalls:sys_enter,2000000,100.00,,\n<not counted>,,cycles,0,0.00,,\n")
        self.assertEqual(counted.parse_perf(text),
                         {"context-switches": 154, "raw_syscalls:sys_enter": 3021})

    def test_strace_with_and_without_errors(self):
        head = "% time     seconds  usecs/call     calls    errors syscall\n"
        row = " 60.00    0.000120           1       100        10 io_uring_enter\n"
        self.assertEqual(counted.parse_strace(
            head + row + "100.00    0.000200           1       170        12 total\n"), 170)
        self.assertEqual(counted.parse_strace(
            head + "100.00    0.000200           1       170           total\n"), 170)
        self.assertEqual(counted.parse_strace(head + "100.00    0.000000                   171           total\n"), 171)
        self.assertIsNone(counted.parse_strace(""))


class Scenes(unittest.TestCase):
    def test_every_default_scene_has_a_key_of_its_own_and_is_found_by_it(self):
        keys = [scene.key for scene in scenes.DEFAULT]
        self.assertEqual(len(set(keys)), len(keys))
        for scene in scenes.DEFAULT:
            self.assertEqual(scenes.named([scene.key]), [scene])

    def test_the_aims_go_with_the_scene_however_it_is_asked_for(self):
        found = scenes.product(["forward"], ["4k", "1k"], [20], [True], ["source"], ["smtp-sink"])
        self.assertEqual(found[0].bounds["nginx"], 0.60)
        self.assertEqual(found[1].bounds, {})

    def test_an_unknown_scene_is_said(self):
        with self.assertRaisesRegex(ValueError, "no scene is called forward/9k"):
            scenes.named(["forward/9k/*"])


def result(**others):
    """As bench/macro/run keeps it."""
    figures = {"cpu_us_per_message": 20.0, "messages_per_second": 9000.0, "messages": 100,
               "samples_cpu_us": [20.0], "system_calls_per_message": 1.5,
               "context_switches_per_message": None, "peak_rss_kib": 2048, "counted_by": "strace",
               "lost": 0, "audit": "passed"}
    return {"title": "4 KiB & <20>", "class": "forward",
            "servers": {"ringmx": {**figures, **others},
                        "nginx": {**figures, "cpu_us_per_message": 40.0, "audit": None}},
            "ratios": {"nginx": judging.compare([20.0], [40.0], 0.6)},
            "calls": {"bound": 1.0, "count": 1.5, "verdict": "missed"},
            "skipped": {"haraka": "npm is not installed"}, "failed": {}}


FACTS = {"date": "2026-01-01", "cpu": "a CPU", "cpus": 2, "kernel": "6.12", "compiler": "g++ 12",
         "load_average": [0.1], "commit": "abc", "versions": {"nginx": "1.22"}}


class Tables(unittest.TestCase):
    def test_markdown(self):
        self.assertEqual(results.table(("name", "µs:"), [("a|b", 1)]),
                         ["| name | µs |", "| --- | ---: |", "| a\\|b | 1 |"])
        self.assertEqual((results.figure(None), results.figure(1.25, 2)), ("–", "1.25"))

    def test_a_run_is_told_whole(self):
        text = "\n".join(report.lines(FACTS, [result()], "bench/macro/run"))
        self.assertIn("| 4 KiB & <20> | ringmx | 20.0 | 9000 | 2.0 | – | 1.50 | 0, audited |", text)
        self.assertIn("| 4 KiB & <20> | nginx | 0.50 | 0.50 to 0.50 | 0.60 | met |", text)
        self.assertIn("| haraka | skipped: npm is not installed | 4 KiB & <20> |", text)
        self.assertIn("| (system calls a message) | 1.50 | counted once | 1.00 | missed |", text)
        self.assertIn("by strace", text)
        self.assertIn("g++ 12", text)

    def test_losses_changes_and_failures_are_faults(self):
        self.assertEqual(report.faults([result()]), [])
        self.assertEqual(report.faults([result(lost=1)]), ["ringmx"])
        self.assertEqual(report.faults([result(audit="failed: 0 lost, 1 corrupted")]), ["ringmx"])
        self.assertEqual(report.faults([{**result(), "failed": {"nginx": "died"}}]), ["nginx"])


class Plots(unittest.TestCase):
    def parsed(self, text):
        root = xml.etree.ElementTree.fromstring(text)
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        return root

    @staticmethod
    def all_of(root, kind):
        return root.findall(f"{{http://www.w3.org/2000/svg}}{kind}")

    def test_bars_grow_with_their_values_and_names_are_escaped(self):
        root = self.parsed(svg.bars("a & b", [("<g>", [("x", 10.0), ("y", 1000.0)])], "µs"))
        widths = [float(bar.get("width")) for bar in self.all_of(root, "rect")[1:]]
        self.assertGreater(widths[1], 2 * widths[0])
        self.assertIn("<g>", [text.text for text in self.all_of(root, "text")])

    def test_an_interval_is_coloured_by_its_verdict(self):
        rows = [("met", 0.3, 0.4, 0.5, 0.6), ("missed", 0.7, 0.8, 0.9, 0.6),
                ("undecided", 0.5, 0.6, 0.7, 0.6), ("none", 0.5, 0.6, 0.7, None)]
        dots = self.all_of(self.parsed(svg.intervals("t", rows, "ratio")), "circle")
        self.assertEqual(len({dot.get("fill") for dot in dots}), 4)
        self.assertLess(float(dots[0].get("cx")), float(dots[1].get("cx")))

    def test_lines_rise_where_values_do(self):
        series = {"one": [(10, 1.0, 0.9, 1.1), (1000, 2.0, None, None)]}
        line = self.all_of(self.parsed(svg.lines("t", series, "x", "y")), "polyline")[0]
        (_, first), (_, second) = (map(float, place.split(",")) for place in
                                   line.get("points").split())
        self.assertLess(second, first)

    def test_every_axis_holds_its_values(self):
        for values in ([0.3], [1, 18000], [5, 5], [0.001, 7e6]):
            for log in (False, True):
                axis = svg.Axis(values, 100, 900, log=log)
                for value in values:
                    self.assertTrue(100 <= axis.place(value) <= 900.001, (values, log))
                self.assertGreaterEqual(len(axis.ticks()), 2)

    def test_a_run_is_drawn(self):
        drawn = report.plots([result()])
        self.assertEqual(sorted(drawn), ["forward", "forward-ratios"])
        for text in drawn.values():
            self.parsed(text)


class Comparing(unittest.TestCase):
    def test_benchmark_by_benchmark(self):
        now = {name: {"instructions": count, "nanoseconds": 1.0}
               for name, count in (("a", 101), ("b", 110), ("c", 90), ("d", None), ("e", 5))}
        before = {name: {"instructions": 100} for name in "abcdx"}
        found = comparing.compare(now, before, 0.02)
        self.assertEqual({name: one["verdict"] for name, one in found.items()},
                         {"a": "same", "b": "worse", "c": "better", "d": "not counted", "e": "new",
                          "x": "gone"})
        self.assertEqual(comparing.summary(found),
                         "1 worse, 1 better, 1 same, 1 not counted, 1 new, 1 gone")

    def test_a_part_leaves_the_others(self):
        self.assertEqual(list(comparing.compare({}, {"a": {"instructions": 1}}, 0.02, whole=False)),
                         [])


if __name__ == "__main__":
    unittest.main()
