"""Guests that break the rules of wasi:http: each is answered for, and the server goes on."""

import unittest

import harness

# What the client gets, by what the guest does (tests/guests/README.md). A guest that was refused something by the
# host answers 200 "refused". None: the connection broke before the response was whole.
STATUS = {
    "/ok": {200},
    "/unset": {500},
    "/error": {500, 502},
    "/twice": {200, 500, None},
    "/after-drop": {200, 500, None},
    "/crlf-value": {200, 500, 502},
    "/crlf-name": {200, 500, 502},
    "/status-99": {200, 500, 502},
    "/status-999": {200, 500, 502, 999},
    "/big-headers": {200, 500, 502},
    "/early": {200},
    "/handles": {200, 500},
    "/log": {200, 500},
    "/stack": {500},
    "/trap-late": {200, None},
}


class HostileTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.serve(
            {"/*": "hostile"}, components=(), serve="request_timeout_ms = 2000\nbody_timeout_ms = 1000",
            extra="[capabilities.talker]\nallow-stdio = true\nmax-cpu-ms = 500\n"
            f'[components.hostile]\ncapability = "talker"\nsource = "{harness.guest("hostile")}"')

    def tearDown(self):
        self.assertEqual(self.server.ask("GET", "/ok").body.strip(), b"ok", self.server.log.text()[-4000:])
        self.assertIsNone(self.server.process.poll())

    def test_statuses(self):
        for path, statuses in STATUS.items():
            with self.subTest(path), self.server.connect() as connection:
                response = connection.complete_response("GET", path)
                self.assertIn(response and response.status, statuses)

    def test_never_answers(self):
        response = self.server.ask("GET", "/never")
        self.assertEqual(response.status, 504)
        self.server.log.wait_for(lambda line: line.get("id") == response.headers["x-request-id"], "the cut request")

    def test_no_header_of_a_guest_ends_a_line(self):
        for path in ("/crlf-value", "/crlf-name"):
            with self.subTest(path), self.server.connect() as connection:
                self.assertNotIn("x-injected", connection.ask("GET", path).headers)

    def test_a_body_that_ends_too_soon_is_not_mistaken_for_a_whole_one(self):
        for path in ("/body-trap", "/body-drop", "/short"):
            with self.subTest(path), self.server.connect() as connection:
                response = connection.complete_response("GET", path)
                self.assertTrue(response is None or response.status in (500, 502), response)

    def test_no_more_than_the_announced_length_is_sent(self):
        with self.server.connect() as connection:
            response = connection.complete_response("GET", "/long")
            self.assertTrue(response is None or response.status in (500, 502) or len(response.body) == 10, response)
            self.assertEqual(connection.rest(), b"", "nothing follows, which could pass for another response")

    def test_an_endless_body_ends_with_the_request(self):
        with self.server.connect() as connection:
            connection.send_head("GET", "/flood")
            self.assertEqual(connection.read_head()[0], 200)
            self.assertGreater(len(connection.rest()), 0)

    def test_a_client_that_leaves_an_endless_body(self):
        for _ in range(5):
            with self.server.connect() as connection:
                connection.send_head("GET", "/flood")
                self.assertEqual(connection.read_head()[0], 200)

    def test_outgoing_requests_are_denied(self):
        self.assertIn(b"denied", self.server.ask("GET", "/outgoing").body)

    def test_trailers_come_through_but_for_those_that_change_the_framing(self):
        with self.server.connect() as connection:
            connection.send_head("GET", "/trailers", [("connection", "close")])
            status, headers = connection.read_head()[:2]
            self.assertEqual((status, headers["transfer-encoding"]), (200, "chunked"))
            self.assertTrue(connection.rest().endswith(b"6\r\na body\r\n0\r\nx-sum: 6\r\n\r\n"))

    def test_the_log_of_a_guest_is_bounded(self):
        self.server.ask("GET", "/log")
        lines = [line for line in self.server.log.lines if line.get("area") == "guest"]
        self.assertLess(sum(len(line["msg"]) for line in lines), 1 << 20)


if __name__ == "__main__":
    unittest.main()
