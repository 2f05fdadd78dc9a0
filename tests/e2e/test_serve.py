"""`rusm serve` answers from sandboxed processes, and nothing that a guest does reaches another request."""

import threading
import unittest

import harness

HELLO = {"GET /": "hello", "POST /echo": "hello", "GET /crash": "hello", "GET /spin": "hello", "GET /hog": "hello",
         "GET /rust": "hello-rust"}


class ServeTest(harness.TestCase):
    def hello(self, **options):
        return self.serve(HELLO, components=("hello", "hello-rust"), **options)

    def test_each_request_has_an_instance_of_its_own(self):
        server = self.hello()
        bodies = set()
        with server.connect() as connection:
            for _ in range(20):
                response = connection.ask("GET", "/")
                self.assertEqual(response.status, 200)
                self.assertTrue(response.body.rstrip().endswith(b" 1"), response.body)
                bodies.add(response.body)
        self.assertEqual(len(bodies), 20, "each answer names another process")

    def test_rust(self):
        response = self.hello().ask("GET", "/rust")
        self.assertEqual(response.status, 200)
        self.assertTrue(response.body.rstrip().endswith(b"1"), response.body)

    def test_head_has_the_headers_and_no_body(self):
        server = self.hello()
        with server.connect() as connection:
            self.assertEqual(connection.ask("HEAD", "/").status, 200)
            self.assertEqual(connection.ask("GET", "/").status, 200)

    def test_unknown_path_and_wrong_method(self):
        server = self.hello()
        self.assertEqual(server.ask("GET", "/nowhere").status, 404)
        response = server.ask("DELETE", "/")
        self.assertEqual(response.status, 405)
        self.assertEqual(response.headers["allow"], "GET, HEAD")

    def test_parameters_and_wildcards_reach_the_component(self):
        server = self.serve({"GET /:page": "hello", "GET /files/*": "hello"})
        self.assertIn(b"There is nothing here", server.ask("GET", "/somewhere").body)
        self.assertIn(b"There is nothing here", server.ask("GET", "/files/a/b").body)

    def test_a_crash_is_a_500_with_an_id_that_is_in_the_log(self):
        server = self.hello()
        response = server.ask("GET", "/crash")
        self.assertEqual(response.status, 500)
        request_id = response.headers["x-request-id"]
        self.assertIn(request_id.encode(), response.body)
        line = server.log.wait_for(lambda line: line.get("id") == request_id, request_id)
        self.assertEqual(line["status"], "500")
        self.assertIn("trap", line["reason"])
        crash = server.log.wait_for(lambda line: "crash" in line.get("backtrace", ""), "a symbolised backtrace")
        self.assertIn("crash", crash["backtrace"])
        self.assertEqual(server.ask("GET", "/").status, 200)

    def test_hog_dies_alone(self):
        server = self.hello()
        response = server.ask("GET", "/hog")
        self.assertEqual(response.status, 500)
        line = server.log.wait_for(lambda line: line.get("id") == response.headers["x-request-id"], "the failed request")
        self.assertIn("limit (memory)", line["reason"])
        self.assertEqual(server.ask("GET", "/").status, 200)

    def test_a_client_that_sends_its_head_byte_by_byte_is_cut_and_holds_up_nobody(self):
        server = self.hello(serve="header_timeout_ms = 1000")

        def next_byte():  # never the end of the head
            if not slow.has_answer():
                slow.send(b"x")
                self.assertEqual(others.ask("GET", "/").status, 200)
            return slow.has_answer()

        with server.connect() as slow, server.connect() as others:
            slow.send(b"GET / HTTP/1.1\r\nhost: test\r\nx-slow: ")
            harness.wait_until(next_byte, "the server gave it up")
            response = slow.read_response()
            self.assertEqual((response.status, response.headers["connection"]), (408, "close"))
            self.assertEqual(slow.rest(), b"")

    def test_a_client_that_sends_its_body_byte_by_byte_is_served_and_holds_up_nobody(self):
        server = self.hello()
        body = b"one byte at a time"
        with server.connect() as slow, server.connect() as others:
            slow.send_head("POST", "/echo", [("content-length", len(body))])
            for byte in body:
                slow.send(bytes([byte]))
                self.assertEqual(others.ask("GET", "/").status, 200)
            self.assertEqual(slow.read_response()[::2], (200, body))

    def test_a_body_that_stands_still_is_given_up(self):
        server = self.hello(serve="body_timeout_ms = 500")
        with server.connect() as slow:
            slow.send_head("POST", "/echo", [("content-length", 10)])
            slow.send(b"12345")
            slow.rest()  # until the server closes it
        self.assertEqual(server.ask("GET", "/").status, 200)

    def test_spin_is_preempted_and_cut(self):
        server = self.hello(serve="request_timeout_ms = 2000", extra="[node]\nworkers = 1")
        with server.connect() as spinning, server.connect() as others:
            spinning.send_head("GET", "/spin")
            for _ in range(50):
                self.assertEqual(others.ask("GET", "/").status, 200)
            response = spinning.read_response()
        self.assertEqual(response.status, 504)
        server.log.wait_for(lambda line: line.get("id") == response.headers["x-request-id"], "the id of the cut request")

    def test_cpu_time_is_limited(self):
        server = self.serve({"GET /*": "hello"}, components=(), extra="[capabilities.brief]\nmax-cpu-ms = 50\n"
                            f'[components.hello]\ncapability = "brief"\nsource = "{harness.guest("hello")}"')
        response = server.ask("GET", "/spin")
        self.assertEqual(response.status, 500)
        line = server.log.wait_for(lambda line: line.get("id") == response.headers["x-request-id"], "the failed request")
        self.assertIn("limit (cpu)", line["reason"])

    def test_a_client_that_disappears_takes_its_guest_along(self):
        # One place only: as long as the spinning guest lived, nobody else would be answered.
        server = self.hello(serve="max_in_flight = 1\nqueue_timeout_ms = 86400000\nrequest_timeout_ms = 86400000")
        with server.connect() as connection:
            connection.send_head("GET", "/spin")
            # It holds the place when another request has to wait.
            with server.connect() as waiting:
                waiting.send_head("GET", "/")
                connection.socket.close()
                self.assertEqual(waiting.read_response().status, 200)

    def test_echo_streams_both_ways_in_flat_memory(self):
        server = self.hello()
        self.assertEqual(server.ask("POST", "/echo", b"x" * 100_000).body, b"x" * 100_000)
        before_kb = server.memory_kb()
        piece, pieces = bytes(range(256)) * 4096, 192  # 1 MiB each
        received = []
        peak_kb = []
        with server.connect() as connection:
            connection.send_head("POST", "/echo", [("content-length", len(piece) * pieces)])

            def send():
                for i in range(pieces):
                    connection.send(piece)
                    if i % 16 == 0:
                        peak_kb.append(server.memory_kb())

            sender = threading.Thread(target=send)
            sender.start()
            status, headers = connection.read_head()
            self.assertEqual(status, 200)
            count = 0
            expected = piece * 2
            for chunk in connection.chunks():
                at = count % len(piece)
                if chunk != expected[at:at + len(chunk)]:
                    received.append(count)
                count += len(chunk)
            sender.join()
        self.assertEqual(received, [], "places where the body differs")
        self.assertEqual(count, len(piece) * pieces)
        self.assertLess(max(peak_kb) - before_kb, 64 * 1024, "KiB of growth for a body of 192 MiB")

    def test_more_requests_than_places_wait_or_are_refused(self):
        server = self.hello(serve="max_in_flight = 1\nmax_queue = 0\nrequest_timeout_ms = 86400000")
        spinning = []

        def refused():
            # The spinning request may itself be the one that finds no place; then it is sent again.
            if not spinning or spinning[-1].has_answer():
                spinning.append(server.connect())
                spinning[-1].send_head("GET", "/spin")
            response = server.ask("GET", "/")
            return response if response.status == 503 else None

        response = harness.wait_until(refused, "a refused request")
        for connection in spinning:
            connection.socket.close()
        self.assertGreaterEqual(int(response.headers["retry-after"]), 1)
        server.log.wait_for(lambda line: line.get("id") == response.headers["x-request-id"], "the id of the refused request")
        harness.wait_until(lambda: server.ask("GET", "/").status == 200, "the place is free again")

    def test_configured_headers(self):
        server = self.hello(serve='headers = { x-frame-options = "DENY" }')
        self.assertEqual(server.ask("GET", "/").headers["x-frame-options"], "DENY")

    def test_pipelined_requests_are_answered_in_order(self):
        server = self.serve({"/*": "hello"})
        with server.connect() as connection:
            connection.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nfirst"
                            b"GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n"
                            b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nthird\r\n0\r\n\r\n")
            self.assertEqual(connection.read_response().body, b"first")
            self.assertEqual(connection.read_response().status, 404)
            self.assertEqual(connection.read_response().body, b"third")

    def test_a_malformed_request_ends_the_connection(self):
        server = self.hello()
        with server.connect() as connection:
            connection.send(b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n"
                            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            self.assertEqual(connection.read_response().status, 400)
            self.assertEqual(connection.rest(), b"", "what follows is not answered")

    def test_descriptors_used_up(self):
        server = self.hello(limits=harness.limit(harness.resource.RLIMIT_NOFILE, 64))
        connections = [server.connect() for _ in range(100)]
        harness.wait_until(lambda: server.descriptors() >= 60, "the server has no descriptor left")
        for connection in connections:
            connection.socket.close()
        self.assertEqual(server.ask("GET", "/").status, 200)

    def test_it_says_what_it_serves(self):
        server = self.hello()
        server.signal(harness.SIGTERM)
        self.assertEqual(server.wait(), 0)
        url = "http://%s:%d/" % server.address
        self.assertIn(url, server.output())
        self.assertIn("curl", server.output())
        self.assertIsNotNone(server.log.find(lambda line: line.get("area") == "engine" and "guests_max" in line))


if __name__ == "__main__":
    unittest.main()
