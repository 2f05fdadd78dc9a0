"""What a stock component fetches through wasi:http, and what the node lets it reach: over TLS, too."""

import http.server
import os
import ssl
import subprocess
import tempfile
import threading
import unittest

import harness


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = b""
        if self.headers["transfer-encoding"] == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.send_response(200)
        self.send_header("content-length", str(len(body) + 4))
        self.end_headers()
        self.wfile.write(b"got " + body)

    def log_message(self, *_):
        pass


class OutgoingTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.certificate = os.path.join(folder.name, "cert.pem")
        key = os.path.join(folder.name, "key.pem")
        # Of a server and not of an authority: those may not be presented by a server.
        config = os.path.join(folder.name, "openssl.cnf")
        with open(config, "w", encoding="ascii") as file:
            file.write("[req]\ndistinguished_name = name\nx509_extensions = server\nprompt = no\n[name]\nCN = localhost\n"
                       "[server]\nbasicConstraints = critical,CA:FALSE\nsubjectAltName = DNS:localhost\n")
        subprocess.run(
            ["openssl", "req", "-x509", "-config", config, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-keyout", key, "-out", self.certificate], check=True, capture_output=True)
        self.remote = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.remote.socket = context.wrap_socket(self.remote.socket, server_side=True)
        self.port = self.remote.server_port
        thread = threading.Thread(target=self.remote.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.remote.server_close)
        self.addCleanup(self.remote.shutdown)

    def start(self, network, trusted):
        environment = harness.environment_for(tempfile.mkdtemp(dir=os.path.dirname(self.certificate)))
        if trusted:
            environment["SSL_CERT_FILE"] = self.certificate
            environment.pop("SSL_CERT_DIR", None)
        return self.serve(
            {"/*": "wstd"}, components=(), environment=environment,
            extra=f'[capabilities.client]\nnetwork = ["{network}"]\n'
            f'[components.wstd]\ncapability = "client"\nsource = "{harness.guest("foreign-wstd")}"')

    def fetch(self, server, url):
        return server.ask("POST", "/", b"hello", [("x-fetch", url)])

    def test_tls_to_a_server_that_the_system_trusts(self):
        server = self.start(f"localhost:{self.port}", trusted=True)
        answer = self.fetch(server, f"https://localhost:{self.port}/")
        self.assertEqual((answer.status, answer.body), (200, b"got hello"))
        # The certificate names localhost and no address, and the address is not named either.
        self.assertIn(b"DestinationIpProhibited", self.fetch(server, f"https://127.0.0.1:{self.port}/").body)

    def test_a_certificate_that_nobody_vouches_for_is_refused(self):
        server = self.start(f"localhost:{self.port}", trusted=False)
        answer = self.fetch(server, f"https://localhost:{self.port}/")
        self.assertEqual(answer.status, 502)
        self.assertIn(b"TlsCertificateError", answer.body)


if __name__ == "__main__":
    unittest.main()
