"""The admin address: probes, metrics, HTTP's own manners; and the log."""

import contextlib
import json
import re
import socket
import unittest

from harness import BIN, EndToEnd, config, free_port, pool, run, wait_until


class Admin(EndToEnd):
    def raw(self, gateway, octets):
        with socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=10) as connection:
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while more := connection.recv(65536):
                answer += more
        return answer

    def test_probes_and_paths(self):
        gateway, _ = self.simple()
        self.assertEqual(gateway.get("/healthz")[0], 200)
        self.assertEqual(gateway.get("/readyz")[0], 200)
        self.assertEqual(gateway.get("/nothing/here")[0], 404)
        self.assertEqual(gateway.get("/metrics", method="DELETE")[0], 405)
        status, text = gateway.get("/api/status")
        self.assertEqual(status, 200)
        self.assertIsInstance(json.loads(text), dict)

    def test_readyz_is_503_with_a_reason_while_no_backend_is_up(self):
        gateway = self.gateway(config({"main": pool(f"127.0.0.1:{free_port()}", health={"interval": "100ms", "failures": 1})}), ready_statuses=(200, 503))
        wait_until(lambda: gateway.get("/readyz")[0] == 503, what="503 of /readyz")
        self.assertTrue(gateway.get("/readyz")[1].strip())

    def test_the_probe_address_serves_probes_only(self):
        port = free_port()
        gateway, _ = self.simple(admin={"address": f"127.0.0.1:{free_port()}", "probe_address": f"127.0.0.1:{port}"})
        for path, expected in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/api/status", 404), ("/", 404)):
            self.assertEqual(gateway.get(path, port=port)[0], expected, path)

    def test_malformed_requests(self):
        gateway, _ = self.simple()
        for octets in (b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET /healthz HTTP/9.9\r\n\r\n", b"GET " + b"/" * 100000 + b" HTTP/1.1\r\n\r\n",
                       b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 10000 + b"\r\n", b"\0\0\0\0\r\n\r\n", b"", b"POST /api/queue/retry HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
            with self.subTest(octets=octets[:30]):
                answer = self.raw(gateway, octets)
                if answer:
                    self.assertRegex(answer, rb"\AHTTP/1\.[01] [45]")
        self.assertEqual(gateway.get("/healthz")[0], 200)

    def test_methods_and_hosts_as_http_wants_them(self):
        gateway, _ = self.simple()
        for request, status, allow in ((b"DELETE /metrics HTTP/1.1\r\nHost: x", 405, True), (b"OPTIONS /healthz HTTP/1.1\r\nHost: x", 405, True),
                                       (b"DELETE /nope HTTP/1.1\r\nHost: x", 404, False), (b"GET /healthz HTTP/1.1\r\nX: y", 400, False),
                                       (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x", 400, False), (b"GET /healthz HTTP/1.0", 200, False)):
            with self.subTest(request=request):
                answer = self.raw(gateway, request + b"\r\n\r\n")
                self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), answer)
                self.assertEqual(b"\r\nAllow: GET, HEAD\r\n" in answer, allow, answer)

    def test_idle_connections_lock_out_neither_address(self):
        port = free_port()
        gateway, _ = self.simple(admin={"address": f"127.0.0.1:{free_port()}", "probe_address": f"127.0.0.1:{port}"})
        with contextlib.ExitStack() as stack:
            for each in (port, gateway.admin_port):
                for _ in range(70):
                    stack.enter_context(socket.create_connection(("127.0.0.1", each), timeout=10))
                for asked in (port, gateway.admin_port):
                    self.assertEqual(gateway.get("/healthz", port=asked)[0], 200)

    def test_keep_alive_pipelining_and_pieces(self):
        gateway, _ = self.simple()
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        self.assertEqual(self.raw(gateway, request + last).count(b"HTTP/1.1 200"), 2)
        with socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=10) as connection:
            for octet in request:
                connection.send(bytes([octet]))
            self.assertIn(b"200", connection.recv(4096))

    def test_no_get_changes_anything_and_posts_want_their_header(self):
        gateway, _ = self.simple()
        self.assertIn(gateway.get("/api/cache/purge")[0], (404, 405))
        self.assertGreaterEqual(gateway.get("/api/cache/purge", method="POST")[0], 400)


class Metrics(EndToEnd):
    def test_counters_follow_the_mail(self):
        gateway, backend = self.simple({"RCPT": {"no@example.com": "550 5.1.1 no", None: "250 2.1.5 ok"}})
        self.assertEqual(gateway.metric("ringmx_build_info"), 1)
        client = self.client(gateway)
        for _ in range(3):
            client.message("a@example.com")
        client.cmd("MAIL FROM:<a@example.net>", "250")
        client.cmd("RCPT TO:<no@example.com>", "550")
        client.cmd("RSET", "250")
        gateway.wait_metric("ringmx_messages_accepted_total", 3)
        gateway.wait_metric("ringmx_messages_forwarded_total", 3, pool="main", backend=backend.address)
        gateway.wait_metric("ringmx_connections_open", 1)
        gateway.wait_metric("ringmx_acknowledge_seconds_count", 3)
        gateway.wait_metric("ringmx_forward_seconds_count", 3)
        self.assertGreater(gateway.metric("ringmx_bytes_received_total"), 50)
        self.assertGreaterEqual(gateway.metric("ringmx_connections_total"), 1)
        self.assertEqual(gateway.metric("ringmx_backend_up", pool="main", backend=backend.address), 1)
        client.envelope("a@example.com")
        client.cmd("DATA", "354")
        client.send(b"a\nb\r\n.\r\n")
        client.expect("550")
        wait_until(lambda: (gateway.metric("ringmx_messages_rejected_total") or 0) >= 1)
        client.close()
        gateway.wait_metric("ringmx_connections_open", 0)

    def test_failures_are_counted_by_backend(self):
        gateway, backend = self.simple({"END": "451 4.3.0 later"})
        self.client(gateway).message("a@example.com", start="451")
        wait_until(lambda: (gateway.metric("ringmx_forward_failures_total", pool="main", backend=backend.address) or 0) >= 1)
        self.assertEqual(gateway.metric("ringmx_messages_accepted_total") or 0, 0)

    def test_histograms_are_whole(self):
        gateway, _ = self.simple()
        self.client(gateway).message("a@example.com")
        gateway.wait_metric("ringmx_acknowledge_seconds_count", 1)
        buckets = sorted((float(dict(labels)["le"]), value) for (name, labels), value in gateway.metrics().items() if name == "ringmx_acknowledge_seconds_bucket")
        self.assertEqual(buckets[-1], (float("inf"), 1.0))
        self.assertEqual([value for _, value in buckets], sorted(value for _, value in buckets))
        text = gateway.get("/metrics")[1]
        typed = set(re.findall(r"^# TYPE (\S+)", text, re.M))
        for name, _ in gateway.metrics():
            self.assertTrue({name, re.sub(r"_(bucket|sum|count)$", "", name)} & typed, f"{name} has no TYPE")


class Logs(EndToEnd):
    def test_json_lines_are_json(self):
        gateway, backend = self.simple(log={"level": "info", "format": "json"})
        self.client(gateway).message("a@example.com")
        backend.wait_messages(1)
        gateway.wait_metric("ringmx_messages_forwarded_total", 1)
        gateway.stop()
        lines = gateway.log().splitlines()
        self.assertTrue(lines)
        for line in lines:
            json.loads(line)

    def test_text_lines_have_postfixs_shape_and_an_accepted_message_has_two(self):
        gateway, backend = self.simple()
        self.client(gateway).message("a@example.com", "b@example.com")
        queue_id = re.search(r"\bid ([^\s;]+)", backend.wait_messages(1)[0].trace).group(1)
        gateway.wait_log(re.escape(queue_id) + r": client=unknown\[127\.0\.0\.1\]")
        gateway.wait_log(re.escape(queue_id) + r".*status=sent")
        self.assertRegex(gateway.log(), r"ringmx/smtpd\[\d+\]: ")

    def test_refusals_are_logged_as_fail2ban_expects(self):
        backend = self.backend()
        gateway = self.gateway(config({"main": pool(backend)}, routes=[{"recipients": ["example.com"], "pool": "main"}]))
        client = self.client(gateway)
        client.cmd("MAIL FROM:<a@example.net>", "250")
        client.cmd("RCPT TO:<x@elsewhere.example>", "550 5.7.1")
        gateway.wait_log(r"NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.1\]: 550 5\.7\.1 .*from=<a@example\.net> to=<x@elsewhere\.example>")


class Names(EndToEnd):
    def test_a_name_that_never_resolved_is_told_and_its_backend_is_not_up(self):
        # No resolver answers for .onion (RFC 7686), so that no name server is needed.
        gateway = self.gateway(config({"main": pool("nosuch.onion:25")}), ready_statuses=(503,))
        gateway.wait_log(r"warning: the backend name nosuch\.onion can't be resolved \(.+\): see DNS and /etc/hosts; no mail goes there until it can\n")
        gateway.wait_log(r"warning: backend nosuch\.onion:25 of pool main is down: its name has no address\n")
        self.assertEqual(gateway.metric("ringmx_backend_up"), 0)
        client = self.client(gateway)
        client.cmd("MAIL FROM:<a@example.net>", "250")
        client.cmd("RCPT TO:<a@example.com>", "451 4.4.1")
        self.assertEqual(gateway.metric("ringmx_forward_failures_total", kind="resolve"), 1)
        self.assertEqual(gateway.metric("ringmx_forward_failures_total", kind="no_backend"), 0)
        self.assertEqual(gateway.log().count("can't be resolved"), 1)

    def test_mail_goes_to_the_backends_that_resolve(self):
        backend = self.backend()
        gateway = self.gateway(config({"main": pool("nosuch.onion:25", backend)}))
        for number in range(20):  # a good half of them would rather have gone to the other
            self.client(gateway).message(f"user{number}@example.com")
        self.assertEqual(len(backend.delivered()), 20)
        self.assertEqual(gateway.metric("ringmx_forward_failures_total"), 0)


if __name__ == "__main__":
    unittest.main()
