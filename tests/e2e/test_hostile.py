"""Guests that break the rules of wasi:http: each is answered for, and the server goes on."""

import unittest

import harness

# What the client gets, by what the guest does (tests/guests/README.md). A guest that was refused something by the
# host answers 200 "refused".
STATUS = {
    "/ok": {200},
    "/unset": {500},
    "/error": {500, 502},
    "/twice": {200, 500},
    "/after-drop": {200, 500},
    "/crlf-value": {200, 500, 502},
    "/crlf-name": {200, 500, 502},
    "/status-99": {200, 500, 502},
    "/status-999": {200, 500, 502, 999},
    "/big-headers": {200, 500, 502},
    "/early": {200},
    "/handles": {200, 500},
    "/log": {200, 500},
    "/stack": {500},
    "/trap-late": {200},
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
            with self.subTest(path):
                self.assertIn(self.server.ask("GET", path).status, statuses)

    def test_never_answers(self):
        response = self.server.ask("GET", "/never")
        self.assertEqual(response.status, 504)
        self.server.log.wait_for(lambda line: line.get("id") == response.headers["x-request-id"], "the cut request")

    def test_no_header_of_a_guest_ends_a_line(self):
        for path in ("/crlf-value", "/crlf-name"):
            with self.subTest(path), self.server.connect() as connection:
                response = connection.ask("GET", path)
                self.assertNotIn("injected", response.headers)
                self.assertNotIn("x-injected", response.headers)

    def test_a_body_that_ends_too_soon_is_not_mistaken_for_a_whole_one(self):
        for path in ("/body-trap", "/body-drop"):
            with self.subTest(path), self.server.connect() as connection:
                connection.send_head("GET", path)
                status, headers = connection.read_head()
                self.assertEqual(status, 200)
                self.assertEqual(headers.get("transfer-encoding"), "chunked")
                rest = connection.rest()
                self.assertFalse(rest.endswith(b"0\r\n\r\n"), rest)

    def test_content_length_holds(self):
        with self.server.connect() as connection:
            connection.send_head("GET", "/short")
            status, headers = connection.read_head()
            self.assertTrue(status in (500, 502) or (status == 200 and headers["content-length"] == "10"))
            if status == 200:
                self.assertLess(len(connection.rest()), 10)
        with self.server.connect() as connection:
            connection.send_head("GET", "/long")
            status, headers = connection.read_head()
            self.assertTrue(status in (500, 502) or (status == 200 and headers["content-length"] == "10"))
            if status == 200:
                self.assertLessEqual(len(connection.rest()), 10)

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

    def test_the_log_of_a_guest_is_bounded(self):
        self.server.ask("GET", "/log")
        lines = [line for line in self.server.log.lines if line.get("area") == "guest"]
        self.assertLess(sum(len(line["msg"]) for line in lines), 1 << 20)


if __name__ == "__main__":
    unittest.main()
