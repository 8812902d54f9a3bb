"""The command line: help, version, exit codes, and every fault of a config in one run."""

import json
import re
import socket
import unittest

from harness import BIN, EndToEnd, config, free_port, pool, run


class CommandLine(EndToEnd):
    def ringmx(self, *arguments):
        return run(BIN / "ringmx", *arguments)

    def check(self, settings, command="check"):
        path = self.folder / "ringmx.json"
        path.write_text(settings if isinstance(settings, str) else json.dumps(settings))
        return self.ringmx(command, "--config", path)

    def valid(self, **sections):
        sections.setdefault("listeners", [{"address": f"127.0.0.1:{free_port()}", "tls": "none", "acknowledge": "backend"}])
        return config({"main": pool(f"127.0.0.1:{free_port()}")}, **{"postmaster": "postmaster@example.com", **sections})

    def test_help_and_version(self):
        for program in ("ringmx", "ringmx-sink"):
            with self.subTest(program=program):
                help_text = run(BIN / program, "--help")
                self.assertEqual(help_text.returncode, 0, help_text.stderr)
                self.assertRegex(help_text.stdout, r"(?i)usage")
                version = run(BIN / program, "--version")
                self.assertEqual(version.returncode, 0, version.stderr)
                self.assertRegex(version.stdout, r"\d+\.\d+\.\d+")
        for command in ("serve", "check"):
            self.assertIn("--config", self.ringmx(command, "--help").stdout)

    def test_a_bad_command_line_is_exit_2_with_one_line_on_stderr(self):
        for arguments in ((), ("frobnicate",), ("serve",), ("check",), ("serve", "--config"), ("serve", "--confg", "x"), ("check", "--config", "x", "--frob"),
                          ("queue", "list", "--sender", ""), ("queue", "list", "--limit", "0"), ("queue", "list", "--limit", "-1"), ("cache", "show", "--limit", "0")):
            with self.subTest(arguments=arguments):
                result = self.ringmx(*arguments)
                self.assertEqual(result.returncode, 2, result)
                self.assertTrue(result.stderr.strip())

    def test_spool_inspect_reads_a_spool_and_says_what_is_none(self):
        for arguments in (("spool",), ("spool", "inspect"), ("spool", "frob", "x"), ("spool", "inspect", "x", "y"), ("spool", "inspect", self.folder / "none"),
                          ("spool", "inspect", self.folder)):
            with self.subTest(arguments=arguments):
                result = self.ringmx(*arguments)
                self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (2, "", 1), result)
        run_folder = self.folder / "spool" / "00000001"
        run_folder.mkdir(parents=True)
        (run_folder / "w0000-000001.seg").write_bytes(bytes(8192))
        result = self.ringmx("spool", "inspect", self.folder / "spool")
        self.assertEqual(result.returncode, 0, result)
        self.assertIn("0 messages in 1 files of 1 runs", result.stdout)
        (run_folder / "w0000-000002.seg").write_bytes(b"something else")
        result = self.ringmx("spool", "inspect", "--json", self.folder / "spool")
        self.assertEqual(result.returncode, 1, result)
        told = json.loads(result.stdout)
        self.assertEqual([segment["fault"] for segment in told["runs"][0]["segments"]], [None, "it is no segment, or its header is damaged"])

    def test_a_missing_or_unreadable_config_is_exit_2(self):
        for command in ("serve", "check"):
            for path in (self.folder / "none.json", self.folder):
                result = self.ringmx(command, "--config", path)
                self.assertEqual(result.returncode, 2, result)
                self.assertIn(str(path), result.stderr)

    def test_a_valid_config_is_exit_0(self):
        result = self.check(self.valid())
        self.assertEqual(result.returncode, 0, result)

    def test_broken_json_is_exit_2(self):
        for text in ("", "{", "[]", "null", '{"pools": }', '{"a": 1} x', '{"hostname": "a", "hostname": "b"}', "\0", "{" * 100000):
            with self.subTest(text=text[:20]):
                result = self.check(text)
                self.assertEqual(result.returncode, 2, result)
                self.assertTrue(result.stderr.strip())

    def test_all_faults_are_reported_each_with_its_pointer(self):
        settings = self.valid(limits={"mesage_size": "1MiB", "recipients": 0}, timeouts={"command": "5 parsecs"}, workers=0, log={"level": "loud"})
        settings["pools"]["main"]["backends"].append({"address": "10.0.1.3"})
        for command in ("check", "serve"):
            result = self.check(settings, command)
            self.assertEqual(result.returncode, 2, result)
            for pointer in ("/limits/mesage_size", "/limits/recipients", "/timeouts/command", "/workers", "/log/level", "/pools/main/backends/1/address"):
                self.assertEqual(len(re.findall(re.escape(pointer) + r"\b", result.stderr)), 1, result.stderr)
            self.assertIn("message_size", result.stderr)

    def test_what_is_not_built_is_a_fault_that_says_so(self):
        result = self.check(self.valid(listeners=[{"address": "127.0.0.1:2525", "acknowledge": "backend_or_spool"}]))
        self.assertEqual(result.returncode, 2, result)
        self.assertIn("/listeners/0/acknowledge", result.stderr)

    def test_unknown_pools_and_repeated_recipients_are_faults(self):
        settings = self.valid()
        settings["routes"] = [{"recipients": ["a.example"], "pool": "mian"}, {"recipients": ["b.example", "B.Example"], "pool": "main"},
                              {"recipients": ["b.example"], "pool": "main"}]
        result = self.check(settings)
        self.assertEqual(result.returncode, 2, result)
        self.assertIn("/routes/0/pool", result.stderr)
        self.assertIn("/routes/2/recipients", result.stderr)

    def test_pools_and_routes_are_required(self):
        result = self.check({"hostname": "mx.example.com"})
        self.assertEqual(result.returncode, 2, result)
        self.assertIn("/pools", result.stderr)
        self.assertIn("/routes", result.stderr)

    def test_a_recipients_file_is_relative_to_the_config(self):
        (self.folder / "more.txt").write_text("# comment\nexample.com\n\nUser@Example.org\n")
        settings = self.valid()
        settings["routes"] = [{"recipients_file": "more.txt", "pool": "main"}]
        self.assertEqual(self.check(settings).returncode, 0)
        settings["routes"] = [{"recipients_file": "none.txt", "pool": "main"}]
        result = self.check(settings)
        self.assertEqual(result.returncode, 2, result)
        self.assertIn("/routes/0/recipients_file", result.stderr)

    def test_check_warns(self):
        backend = f"127.0.0.1:{free_port()}"
        two_pools = {**self.valid(), "pools": {"one": pool(backend), "two": pool(backend)}, "postmaster": "postmaster@c.example",
                     "routes": [{"recipients": ["a.example"], "pool": "one"}, {"recipients": ["b.example"], "pool": "two"}]}
        lmtp = {**self.valid(), "pools": {"main": pool(backend, protocol="lmtp")}}
        for settings, word in ((two_pools, "(?i)pools"), (lmtp, "(?i)lmtp"), (two_pools, "(?i)postmaster")):
            result = self.check(settings)
            self.assertEqual(result.returncode, 0, result)
            self.assertRegex(result.stderr + result.stdout, word)

    def test_check_advises_to_verify_where_a_spool_would_take_unknown_users(self):
        (self.folder / "list").write_text("user@example.com\nexample.org\n")
        address = f"127.0.0.1:{free_port()}"
        for acknowledge, recipients, is_advised in (("spool", {"recipients_file": "list"}, True), ("spool", {"recipients": ["user@example.com"]}, False),
                                                    ("backend", {"recipients_file": "list"}, False)):
            result = self.check(self.valid(listeners=[{"address": address, "tls": "none", "acknowledge": acknowledge}], routes=[{**recipients, "pool": "main"}]))
            self.assertEqual(result.returncode, 0, result)
            self.assertEqual("/routes/0: mail for users that do not exist is taken here" in result.stderr, is_advised, result)

    def test_check_warns_of_messages_that_the_spool_can_not_take(self):
        def warned(acknowledge, **limits):
            settings = self.valid(workers=2, listeners=[{"address": f"127.0.0.1:{free_port()}", "tls": "none", "acknowledge": acknowledge}],
                                  spool={"directory": str(self.folder / "spool"), "max_size": "64MiB"}, limits=limits)
            result = self.check(settings)
            self.assertEqual(result.returncode, 0, result)
            return "/limits/message_size: a message of 50.0 MiB can never be taken" in result.stderr + result.stdout
        self.assertTrue(warned("spool", message_size="50MiB"))
        self.assertFalse(warned("spool", message_size="5MiB"))
        self.assertFalse(warned("backend", message_size="50MiB"))

    def test_check_opens_no_port(self):
        running, _ = self.simple()
        result = self.check(running.settings)
        self.assertEqual(result.returncode, 0, result)
        self.assertTrue(running.running())

    def test_an_address_in_use_is_exit_1_and_named(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            result = self.check(self.valid(listeners=[{"address": f"127.0.0.1:{port}", "tls": "none", "acknowledge": "backend"}],
                                           admin={"address": f"127.0.0.1:{free_port()}"}), "serve")
        self.assertEqual(result.returncode, 1, result)
        self.assertIn(f"127.0.0.1:{port}", result.stderr)

    def test_an_unknown_user_stops_serve_and_check_warns(self):
        settings = self.valid(user="no-such-user-here", admin={"address": f"127.0.0.1:{free_port()}"})
        result = self.check(settings)
        self.assertEqual(result.returncode, 0, result)
        self.assertIn("no-such-user-here", result.stderr + result.stdout)
        result = self.check(settings, "serve")
        self.assertIn(result.returncode, (1, 2), result)
        self.assertIn("no-such-user-here", result.stderr)


if __name__ == "__main__":
    unittest.main()
