"""The programs as an operator meets them: `ringmx status`, wrong command lines, odd files, scarce resources, signals at bad moments."""

import contextlib
import ctypes
import fcntl
import functools
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

from fake_backend import Drop
from harness import BIN, SANITIZED, EndToEnd, Program, address, config, free_port, pool, run, wait_until
from smtp_client import Client

NOBODY = 65534


def ringmx(*arguments, **options):
    return run(BIN / "ringmx", *arguments, **options)


def ringmx_as_nobody(folder, *arguments):
    """A copy in `folder`: nobody may not reach a build that stands in somebody's home."""
    folder.chmod(0o755)
    return run(shutil.copy(BIN / "ringmx", folder), *arguments, user=NOBODY, group=NOBODY, extra_groups=())


def deny_io_uring():
    """What a container's seccomp profile does: io_uring_setup() gives EPERM."""
    libc = ctypes.CDLL(None, use_errno=True)
    load_number, jump_if_equal, answer = 0x20, 0x15, 0x06
    program = b"".join(struct.pack("HBBI", *each) for each in (
        (load_number, 0, 0, 0), (jump_if_equal, 0, 1, 425), (answer, 0, 0, 0x00050000 | 1), (answer, 0, 0, 0x7FFF0000)))
    octets = ctypes.create_string_buffer(program)

    class Filter(ctypes.Structure):
        _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, ctypes.byref(Filter(4, ctypes.addressof(octets))), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def limited(**limits):
    """A preexec_fn that sets RLIMIT_… by name."""
    def apply():
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    return apply


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Status(EndToEnd):
    def status(self, *arguments):
        return run(BIN / "ringmx", "status", *arguments)

    def test_a_running_gateway_is_shown_as_a_table_and_as_json(self):
        gateway, backend = self.simple()
        self.client(gateway).message("a@example.com")
        gateway.wait_metric("ringmx_messages_forwarded_total", 1)
        admin = f"127.0.0.1:{gateway.admin_port}"
        table = self.status("--admin", admin)
        self.assertEqual((table.returncode, table.stderr), (0, ""))
        self.assertRegex(table.stdout, r"\Aringmx \d+\.\d+\.\d+ on mx\.example\.com, up .*, ready\n")
        self.assertRegex(table.stdout, r"(?m)^connections +1 open, \d+ in all, 0 refused$")
        self.assertRegex(table.stdout, r"(?m)^messages +1 accepted, 0 rejected")
        self.assertRegex(table.stdout, rf"(?m)^main +{re.escape(backend.address)} +up +1 +1 +0$")
        shown = self.status("--admin", admin.replace("127.0.0.1", "localhost"), "--json")
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertEqual(json.loads(shown.stdout)["messages"]["accepted"], 1)

    def test_no_gateway_is_exit_1_with_one_line_that_says_what_to_do(self):
        free = f"127.0.0.1:{free_port()}"
        for arguments in (("--admin", free), ("--admin", free, "--json"), ("--admin", "no-such-host.invalid:80")):
            result = self.status(*arguments)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertRegex(result.stderr, rf"\Aringmx: no gateway answers at {re.escape(arguments[1])} \(.+\): .*--admin HOST:PORT\n\Z")

    def test_what_is_no_gateway_is_exit_1(self):
        answers = (b"", b"220 mx.example.com ESMTP\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 404 Not Found\r\n\r\n",
                   b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}", b"HTTP/1.1 20", b"\0" * 100)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()

            def serve():
                for answer in answers:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            for answer in answers:
                with self.subTest(answer=answer):
                    result = self.status("--admin", f"127.0.0.1:{listener.getsockname()[1]}")
                    self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (1, "", 1), result)

    def test_a_closed_stdout_is_exit_1(self):
        gateway, _ = self.simple()
        with open("/dev/full", "wb") as full:
            result = subprocess.run([BIN / "ringmx", "status", "--admin", f"127.0.0.1:{gateway.admin_port}"], stdout=full, stderr=subprocess.PIPE, timeout=20)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"stdout", result.stderr)


class CommandLines(EndToEnd):
    def test_each_wrong_command_line_is_exit_2_with_one_line_that_names_it(self):
        cases = (((), "command is missing"), (("frob",), "unknown command 'frob'"), (("--frob",), "--frob"), (("serve",), "--config"), (("serve", "--config"), "--config"),
                 (("serve", "--confg", "x"), "--confg"), (("check", "--config", "a", "--config", "b"), "--config"), (("check", "--config", "a", "more"), "more"),
                 (("serve", "check", "--config", "x"), "check"), (("serve", "-c", "x"), "-c x; see ringmx serve --help"), (("status", "more"), "more"), (("status", "--admin", "x"), "'x'"),
                 (("status", "--admin", "127.0.0.1:0"), "127.0.0.1:0"), (("status", "--admin", "127.0.0.1:70000"), "70000"), (("status", "--admin", "::1:80"), "::1:80"),
                 (("queue",), "missing, expected list"), (("queue", "list", "--all"), "'list --all'"), (("queue", "frob"), "frob"), (("queue", "show"), "show"), (("queue", "list", "X"), "list X"),
                 (("queue", "retry"), "retry"), (("queue", "remove", "--all"), "remove"), (("queue", "retry", "X", "--all"), "retry X"),
                 (("queue", "show", "X", "--limit", "3"), "only list takes"), (("queue", "retry", "--all", "--state", "held"), "only list takes"), (("queue", "list", "--limit", "x"), "--limit"))
        for arguments, named in cases:
            with self.subTest(arguments=arguments):
                result = run(BIN / "ringmx", *arguments)
                self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (2, "", 1), result)
                self.assertIn(named, result.stderr)

    def test_every_command_has_help_and_version(self):
        for command in ((), ("serve",), ("check",), ("status",), ("queue",)):
            for option, pattern in (("--help", "(?i)usage"), ("--version", r"\Aringmx \d+\.\d+\.\d+\n\Z")):
                result = run(BIN / "ringmx", *command, option)
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertRegex(result.stdout, pattern)


class ConfigFiles(EndToEnd):
    def both(self, path, start=ringmx):
        """The outputs of check and serve, which must fail alike with exit 2."""
        results = [start(command, "--config", path) for command in ("check", "serve")]
        for result in results:
            self.assertEqual((result.returncode, result.stdout), (2, ""), result)
        self.assertEqual(*(re.sub("not usable|not started", "", result.stderr) for result in results))
        return results[0].stderr

    def test_odd_files_are_faults_that_say_what_was_expected(self):
        good = json.dumps(config({"main": pool("127.0.0.1:2500")}))
        cases = {"empty": b"", "nul": good.encode() + b"\0", "utf16": good.encode("utf-16"), "twice": good.replace('"workers"', '"hostname": "a.example", "workers"').encode(),
                 "invalid-utf8": good.encode().replace(b"mx.example", b"\xff\xfe"), "blanks": b" \n\t"}
        for name, octets in cases.items():
            with self.subTest(name=name):
                path = self.folder / name
                path.write_bytes(octets)
                if name == "twice":
                    self.assertRegex(self.both(path), rf"\A{re.escape(str(path))}: \d faults?, .*\n  .*expected.*\n")
                else:
                    self.assertRegex(self.both(path), rf"\Aringmx: {re.escape(str(path))}: .*expected.*\n\Z")
        huge = self.folder / "huge"
        with open(huge, "wb") as file:
            file.truncate(3 << 30)
        self.assertIn("MiB", self.both(huge))
        for path in (self.folder, self.folder / "none", "/dev/null", "/dev/zero"):
            self.assertRegex(self.both(path), rf"\Aringmx: {re.escape(str(path))}: .*expected.*\n\Z")

    def test_what_recipients_files_have_twice_is_told_beside_all_other_faults(self):
        (self.folder / "one.txt").write_text("# first\nuser@example.org\n" + "".join(f"user{number}@example.com\n" for number in range(1000)))
        (self.folder / "two.txt").write_text("a.example\nUser@Example.org\nbad one\n")
        path = self.folder / "ringmx.json"
        files = ("one.txt", "two.txt", "one.txt")
        settings = config({"main": pool("127.0.0.1:2500")}, listener={"address": "127.0.0.1:2525"}, routes=[{"recipients_file": file, "pool": "main"} for file in files])
        settings["routes"].append({"recipients": [7, "A.example"], "pool": "main"})
        path.write_text(json.dumps({**settings, "zzz": 1}))
        lines = self.both(path).splitlines()
        one, two = (json.dumps(str(self.folder / name)) for name in ("one.txt", "two.txt"))
        self.assertEqual(lines[0], f"{path}: 16 faults, not usable")
        self.assertEqual(lines[3], '  /routes/1/recipients_file: "two.txt" line 3: found "bad one", expected a domain, "*.domain", an address or "*"')
        self.assertEqual(lines[4], f'  /routes/1/recipients_file: {two} line 2: found "User@Example.org", which is {one} line 2 (/routes/0/recipients_file) too, '
                                   'expected each entry in one route')
        self.assertTrue(all(line.startswith("  /routes/2/recipients_file: ") for line in lines[5:16]), lines)
        self.assertIn("only the first 10 are shown", lines[15])
        self.assertEqual(lines[16], f'  /routes/3/recipients/1: found "A.example", which is {two} line 1 (/routes/1/recipients_file) too, expected each entry in one route')

    def test_a_byte_order_mark_is_no_fault(self):
        path = self.folder / "ringmx.json"
        path.write_bytes(b"\xef\xbb\xbf" + json.dumps(config({"main": pool("127.0.0.1:2500")}, listener={"address": "127.0.0.1:2525"})).encode())
        result = run(BIN / "ringmx", "check", "--config", path)
        self.assertEqual(result.returncode, 0, result)

    @unittest.skipUnless(os.getuid() == 0, "needs root to become somebody else")
    def test_a_file_that_may_not_be_read_is_exit_2(self):
        path = self.folder / "ringmx.json"
        path.write_text("{}")
        path.chmod(0)
        self.assertIn("Permission denied", self.both(path, functools.partial(ringmx_as_nobody, self.folder)))


class Resources(EndToEnd):
    def serve(self, settings, start=ringmx, **options):
        path = self.folder / "second.json"
        path.write_text(json.dumps(settings))
        return start("serve", "--config", path, **options)

    def serve_as_nobody(self, settings):
        return self.serve(settings, functools.partial(ringmx_as_nobody, self.folder))

    def test_a_second_gateway_on_the_same_port_is_exit_1_and_harms_nobody(self):
        gateway, _ = self.simple()
        for admin in (free_port(), gateway.admin_port):
            result = self.serve({**gateway.settings, "admin": {"address": f"127.0.0.1:{admin}"}})
            self.assertEqual(result.returncode, 1, result)
            self.assertRegex(result.stderr, rf"(?m)^ringmx: .*127\.0\.0\.1:{gateway.ports[0]}\b.*: another program listens there")
        other = {**gateway.settings, "listeners": [{**gateway.settings["listeners"][0], "address": f"127.0.0.1:{free_port()}"}]}
        result = self.serve(other)
        self.assertEqual(result.returncode, 1, result)
        self.assertIn(f"127.0.0.1:{gateway.admin_port}", result.stderr)
        for _ in range(20):
            with gateway.client() as client:
                client.ehlo()
                client.message("a@example.com")

    @unittest.skipUnless(os.getuid() == 0, "needs root to become somebody else")
    def test_a_privileged_port_without_privilege_is_exit_1_and_says_the_mend(self):
        if int(open("/proc/sys/net/ipv4/ip_unprivileged_port_start").read()) <= 25:
            self.skipTest("every port is unprivileged here")
        settings = config({"main": pool("127.0.0.1:2500")}, listener={"address": "127.0.0.1:25"}, admin={"address": f"127.0.0.1:{free_port()}"})
        result = self.serve_as_nobody(settings)
        self.assertEqual(result.returncode, 1, result)
        self.assertRegex(result.stderr, r"127\.0\.0\.1:25: .*: start as root and set \"user\", or grant CAP_NET_BIND_SERVICE\n\Z")

    @unittest.skipUnless(os.getuid() == 0, "needs root to become somebody else")
    def test_the_user_is_switched_once_the_listeners_are_bound(self):
        gateway, _ = self.simple(user="nobody")
        status = open(f"/proc/{gateway.pid}/status").read()
        self.assertRegex(status, rf"(?m)^Uid:\s+{NOBODY}\s+{NOBODY}\s+{NOBODY}\s+{NOBODY}$")
        self.assertRegex(status, r"(?m)^CapEff:\s+0+$")
        for line in (line for task in os.listdir(f"/proc/{gateway.pid}/task") for line in open(f"/proc/{gateway.pid}/task/{task}/status")):
            if line.startswith("Uid:"):
                self.assertEqual(set(line.split()[1:]), {str(NOBODY)})
        self.client(gateway).message("a@example.com")

    @unittest.skipUnless(os.getuid() == 0, "needs root to become somebody else")
    def test_files_that_the_user_may_not_read_are_told_before_a_reload_fails(self):
        self.folder.chmod(0o755)
        recipients = self.folder / "recipients.txt"
        recipients.write_text("example.com\n")
        backend = self.backend()
        routes = [{"recipients_file": str(recipients), "pool": "main"}]
        recipients.chmod(0o600)
        gateway = self.gateway(config({"main": pool(backend)}, routes, user="nobody"))
        gateway.wait_log(rf"warning: /user: nobody can't read {re.escape(str(recipients))} \(Permission denied\), so that SIGHUP will keep the old configuration")
        gateway.wait_log(r"ready")
        self.assertEqual(gateway.log().count("/user: nobody can't read"), 1)
        gateway.config_path.chmod(0o600)
        gateway.signal(signal.SIGHUP)
        gateway.wait_log(r"configuration not reloaded.*can't be read \(Permission denied\)")
        recipients.chmod(0o644)
        gateway.config_path.chmod(0o644)
        gateway.signal(signal.SIGHUP)
        gateway.wait_metric("ringmx_config_reloads_total", 1)
        self.assertNotIn("can't read", self.gateway(config({"main": pool(backend)}, routes, user="nobody")).log())

    @unittest.skipUnless(os.getuid() == 0, "needs root to become somebody else")
    def test_a_user_that_may_not_be_taken_on_is_exit_1(self):
        settings = config({"main": pool("127.0.0.1:2500")}, listener={"address": f"127.0.0.1:{free_port()}"}, admin={"address": f"127.0.0.1:{free_port()}"}, user="root")
        result = self.serve_as_nobody(settings)
        self.assertEqual(result.returncode, 1, result)
        self.assertRegex(result.stderr, r"\Aringmx: switch to user root: .*\n\Z")

    @unittest.skipIf(SANITIZED, "a sanitizer wants descriptors and system calls of its own")
    def test_with_64_descriptors_clients_past_them_get_421_and_mail_flows(self):
        backend = self.backend()
        gateway = self.gateway(config({"main": pool(backend, max_connections=4)}), preexec_fn=limited(NOFILE=64))
        gateway.wait_log(r"warning: /limits/connections: \d+ now, since 64 descriptors")
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(gateway.client(greet=False)) for _ in range(90)]
            codes = [client.reply().code for client in clients]
            self.assertEqual(set(codes), {220, 421})
            self.assertGreaterEqual(codes.count(220), 10)
            # Who is told 421 has a descriptor until his connection has ended, and a backend's may be wanting as long.
            gateway.wait_metric("ringmx_connections_open", codes.count(220))
            served = clients[codes.index(220)]
            served.ehlo()
            served.message("a@example.com")
        gateway.wait_metric("ringmx_connections_open", 0)
        self.assertEqual(gateway.metric("ringmx_connections_refused_total", reason="connections"), codes.count(421))
        gateway.reload(gateway.settings)
        gateway.wait_metric("ringmx_config_reloads_total", 1)
        with contextlib.ExitStack() as stack:
            again = [stack.enter_context(gateway.client(greet=False)) for _ in range(90)]
            self.assertEqual([client.reply().code for client in again].count(220), codes.count(220))

    @unittest.skipIf(SANITIZED, "a sanitizer wants descriptors and system calls of its own")
    def test_no_descriptor_left_makes_clients_wait_and_nothing_spin(self):
        backend = self.backend()
        gateway = self.gateway(config({"main": pool(backend, max_connections=4)}), preexec_fn=limited(NOFILE=64))
        with contextlib.ExitStack() as stack:
            for _ in range(60):  # each has its descriptor too, though no client's
                stack.enter_context(socket.create_connection(address(gateway.admin_port), timeout=20))
            wait_until(lambda: gateway.descriptors() >= 60, what="the descriptors of those")
            sockets = [stack.enter_context(socket.create_connection(gateway.smtp, timeout=20)) for _ in range(20)]
            gateway.wait_log(r"warning: accept \(clients wait; raise LimitNOFILE= .*\): Too many open files")
            before = cpu_seconds(gateway.pid)
            time.sleep(1)
            self.assertLess(cpu_seconds(gateway.pid) - before, 0.3, "it spins")
            self.assertEqual(gateway.log().count("Too many open files"), 1)
            del sockets
        self.client(gateway).message("a@example.com")
        self.assertGreater(gateway.metric("ringmx_accept_failures_total"), 0)

    @unittest.skipIf(SANITIZED, "a sanitizer wants descriptors and system calls of its own")
    def test_too_few_descriptors_to_start_is_exit_1_with_one_line(self):
        settings = config({"main": pool("127.0.0.1:2500")}, listener={"address": f"127.0.0.1:{free_port()}"}, admin={"address": f"127.0.0.1:{free_port()}"})
        for count in range(3, 14):
            path = self.folder / "few.json"
            path.write_text(json.dumps(settings))
            program = Program([BIN / "ringmx", "serve", "--config", path], self.folder, preexec_fn=limited(NOFILE=count))
            try:
                code = program.process.wait(1)
            except subprocess.TimeoutExpired:
                self.assertEqual(program.stop(), 0)
                continue
            self.assertIn(code, (1, 2, 127), program.log())  # 127: not even the loader has enough
            if code != 127:
                self.assertRegex(program.log(), r"(?i)open files|descriptor|Too many")

    def test_no_locked_memory_is_no_hindrance(self):
        gateway, _ = self.simple_limited(MEMLOCK=0)
        self.client(gateway).message("a@example.com")

    def simple_limited(self, **limits):
        backend = self.backend()
        return self.gateway(config({"main": pool(backend)}), preexec_fn=limited(**limits)), backend

    def test_a_denied_io_uring_is_exit_1_and_says_who_denies_it(self):
        spool = self.folder / "spool"
        settings = config({"main": pool("127.0.0.1:2500")}, listener={"address": f"127.0.0.1:{free_port()}", "acknowledge": "spool"},
                          admin={"address": f"127.0.0.1:{free_port()}"}, spool={"directory": str(spool)})
        result = self.serve(settings, preexec_fn=deny_io_uring)
        self.assertEqual((result.returncode, result.stderr.count("\n")), (1, 1), result)
        self.assertRegex(result.stderr, r"\Aringmx: io_uring is denied by a seccomp filter, .*seccomp")
        self.assertFalse(spool.exists(), "a start that fails uses up no number of a run")
        result = run(BIN / "ringmx-sink", "--listen", "127.0.0.1:0", preexec_fn=deny_io_uring)
        self.assertEqual((result.returncode, result.stderr.count("\n")), (1, 1), result)
        self.assertIn("seccomp", result.stderr)


class Stderr(EndToEnd):
    def settle(self, gateway, messages=50):
        client = self.client(gateway)
        for _ in range(messages):
            client.message("a@example.com")
        client.cmd("QUIT", "221")

    def test_a_closed_stderr_stops_nothing(self):
        backend = self.backend()
        gateway = self.gateway(config({"main": pool(backend)}, log={"level": "debug"}), preexec_fn=lambda: os.close(2))
        self.settle(gateway)
        self.assertEqual(gateway.stop(), 0)
        for message in backend.wait_messages(50):
            self.assertEqual(message.original, b"Subject: x\r\n\r\nhello\r\n")

    def test_a_reader_that_is_gone_stops_nothing(self):
        reader, writer = os.pipe()
        backend = self.backend()
        gateway = self.gateway(config({"main": pool(backend)}), stderr=writer)
        os.close(writer)
        os.close(reader)
        self.settle(gateway)
        self.assertEqual(gateway.stop(), 0)

    def test_a_full_pipe_stops_nothing_and_what_is_lost_is_counted(self):
        reader, writer = os.pipe()
        fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ
        backend = self.backend()
        gateway = self.gateway(config({"main": pool(backend)}, log={"level": "debug"}), stderr=writer)
        os.close(writer)
        client = self.client(gateway)
        for _ in range(30):  # 4,096 records fill the ring
            client.cmd("MAIL FROM:<a@example.net>", "250")
            client.lines(*["RCPT TO:<a b>"] * 15)
            for _ in range(15):
                client.expect("501")
            client.message_ended = client.cmd("RSET", "250")
            client.message("a@example.com")
        with gateway.client() as flood:
            flood.ehlo()
            for _ in range(300):
                with gateway.client() as other:
                    other.cmd("QUIT", "221")
        self.assertEqual(gateway.get("/healthz")[0], 200)
        start = time.monotonic()
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(20), 0)
        self.assertLess(time.monotonic() - start, 15)
        os.close(reader)


class Signals(EndToEnd):
    def load(self, gateway, stop, counts):
        """One client that sends until told to stop; counts what was acknowledged."""
        client = None
        while not stop.is_set():
            try:
                if client is None:
                    client = Client(gateway.smtp)
                    client.ehlo()
                client.cmd("MAIL FROM:<a@example.net>", "250")
                answer = client.cmd(f"RCPT TO:<u{counts['sent'] % 50}@example.com>")
                if answer.code != 250:
                    counts["refused"] += 1
                    client.cmd("RSET", "250")
                    continue
                client.cmd("DATA", "354")
                client.send(f"Subject: {counts['sent']}\r\n\r\nhello\r\n.\r\n")
                counts["sent"] += 1
                counts["accepted" if client.reply().code == 250 else "refused"] += 1
            except (OSError, AssertionError, EOFError) as error:
                counts["broken"].append(repr(error))
                client = None
        if client is not None:
            client.close()

    def run_load(self, gateway, during, clients=4):
        stop, all_counts = threading.Event(), [{"sent": 0, "accepted": 0, "refused": 0, "broken": []} for _ in range(clients)]
        threads = [threading.Thread(target=self.load, args=(gateway, stop, counts), daemon=True) for counts in all_counts]
        for thread in threads:
            thread.start()
        try:
            during()
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        return {"accepted": sum(each["accepted"] for each in all_counts), "refused": sum(each["refused"] for each in all_counts),
                "broken": [why for each in all_counts for why in each["broken"]]}

    def test_100_hangups_in_a_row_under_load_lose_and_refuse_nothing(self):
        gateway, backend = self.simple()

        def hangups():
            for _ in range(100):
                gateway.signal(signal.SIGHUP)
                time.sleep(0.005)
            wait_until(lambda: (gateway.metric("ringmx_config_reloads_total") or 0) >= 5)
            time.sleep(0.3)

        counts = self.run_load(gateway, hangups)
        self.assertEqual((counts["refused"], counts["broken"]), (0, []))
        self.assertGreater(counts["accepted"], 20)
        gateway.wait_metric("ringmx_messages_accepted_total", counts["accepted"])
        self.assertEqual(gateway.metric("ringmx_messages_forwarded_total"), counts["accepted"])
        self.assertEqual(len(backend.wait_messages(counts["accepted"])), counts["accepted"])
        self.assertEqual(gateway.stop(), 0)

    def test_hangups_with_a_bad_config_log_each_fault_and_keep_the_old_one(self):
        gateway, _ = self.simple()
        client = self.client(gateway)
        for broken in ("", "{", '{"pools": 1, "routes": []}', None):
            with self.subTest(broken=broken):
                before = gateway.metric("ringmx_config_reload_failures_total")
                if broken is None:
                    gateway.config_path.unlink()
                else:
                    gateway.config_path.write_text(broken)
                gateway.signal(signal.SIGHUP)
                gateway.wait_metric("ringmx_config_reload_failures_total", before + 1)
                client.message("a@example.com")
        gateway.wait_log(r"error: configuration not reloaded, the old one stays: .*/pools")
        gateway.wait_log(r"the old one stays: " + re.escape(str(gateway.config_path)) + ": can't be read")
        self.assertEqual(gateway.metric("ringmx_config_reloads_total"), 0)

    def test_a_backend_killed_under_load_costs_nothing_that_was_acknowledged(self):
        ports = [free_port(), free_port()]
        sinks = [Program([BIN / "ringmx-sink", "--listen", f"127.0.0.1:{port}", "--store", self.folder / f"store{index}", "--json", self.folder / f"{index}.json"],
                         self.folder, f"sink{index}") for index, port in enumerate(ports)]
        for sink in sinks:
            self.addCleanup(sink.stop)
            sink.wait_log("listening on")
        gateway = self.gateway(config({"main": pool(*(f"127.0.0.1:{port}" for port in ports), health={"interval": "200ms", "failures": 1})}))

        def kill():
            time.sleep(0.5)
            sinks[0].signal(signal.SIGKILL)
            sinks[0].wait()
            time.sleep(1)

        counts = self.run_load(gateway, kill)
        self.assertEqual(counts["broken"], [])
        self.assertGreater(counts["accepted"], 20)
        metrics = gateway.metrics()
        forwarded = sum(value for (name, _), value in metrics.items() if name == "ringmx_messages_forwarded_total")
        self.assertEqual((metrics["ringmx_messages_accepted_total", ()], forwarded), (counts["accepted"], counts["accepted"]))
        gateway.wait_log(rf"backend 127\.0\.0\.1:{ports[0]} of pool main is down: (probes|connections for mail) failed")
        self.assertEqual(gateway.stop(), 0)
        # What the killed one had stored is on its disk: stored before it was answered.
        stored = sum(len(list((self.folder / f"store{index}").glob("*.eml"))) for index in range(2))
        duplicates = sum(value for (name, labels), value in metrics.items()
                         if name == "ringmx_forward_failures_total" and dict(labels)["kind"] == "possible_duplicate")
        self.assertGreaterEqual(stored, counts["accepted"])
        self.assertLessEqual(stored, counts["accepted"] + duplicates)


    def test_a_killed_gateway_starts_again_at_once(self):
        backend = self.backend()
        settings = config({"main": pool(backend)}, workers=2)
        first = self.gateway(settings)
        for _ in range(5):
            idle = [first.client() for _ in range(20)]
            first.signal(signal.SIGKILL)
            first.process.wait()
            again = Program([BIN / "ringmx", "serve", "--config", first.config_path], self.folder, "ringmx")
            self.addCleanup(again.stop)
            again.wait_log(": ready: ")
            for each in idle:
                each.close()
            with first.client() as client:
                client.ehlo()
                client.message("a@example.com")
            first.process, first.log_path = again.process, again.log_path
        first.pid = first.process.pid


class AdminUnderStress(EndToEnd):
    def test_slow_clients_and_many_connections_leave_room_for_others(self):
        gateway, _ = self.simple()
        admin = address(gateway.admin_port)
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(socket.create_connection(admin, timeout=10)) for _ in range(40)]
            for each in idle:
                each.sendall(b"GET /metr")
            # One that asks much and reads nothing.
            greedy = stack.enter_context(socket.create_connection(admin, timeout=10))
            greedy.settimeout(1)
            with contextlib.suppress(OSError):
                for _ in range(200):
                    greedy.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            for _ in range(20):
                self.assertEqual(gateway.get("/healthz")[0], 200)
            self.client(gateway).message("a@example.com")
            for each in idle:
                each.sendall(b"ics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            for each in idle:
                octets = b""
                while more := each.recv(65536):
                    octets += more
                self.assertTrue(octets.startswith(b"HTTP/1.1 200 OK\r\n"))
                head, _, body = octets.partition(b"\r\n\r\n")
                self.assertEqual(int(re.search(rb"Content-Length: (\d+)", head).group(1)), len(body))

    def test_more_connections_than_it_takes_are_closed_and_it_recovers(self):
        gateway, _ = self.simple()
        with contextlib.ExitStack() as stack:
            for _ in range(200):
                with contextlib.suppress(OSError):
                    stack.enter_context(socket.create_connection(address(gateway.admin_port), timeout=10))
            self.client(gateway).message("a@example.com")
        wait_until(lambda: self.answers(gateway), what="an answer when the crowd has left")
        self.assertLess(gateway.descriptors(), 60)

    def answers(self, gateway):
        try:
            return gateway.get("/healthz")[0] == 200
        except OSError:
            return False

    def test_head_has_no_body_and_unknown_methods_are_refused(self):
        gateway, _ = self.simple()
        for method, path, status in (("HEAD", "/metrics", 200), ("HEAD", "/none", 404), ("PUT", "/metrics", 405), ("POST", "/metrics", 403), ("BREW", "/", 501)):
            self.assertEqual(gateway.get(path, method=method)[0], status, (method, path))
        self.assertEqual(gateway.get("/metrics", method="POST", headers={"X-Ringmx-Admin": "1"})[0], 405)
        self.assertEqual(gateway.get("/metrics", method="HEAD")[1], "")
        self.assertEqual(gateway.get("/metrics?name=x")[0], 200)


if __name__ == "__main__":
    unittest.main()
