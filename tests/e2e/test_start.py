"""What can be wrong at the start, the code cache, and how a node ends."""

import os
import socket
import stat
import unittest

import harness


class StartTest(harness.TestCase):
    def start(self, config, *arguments, **options):
        """`rusm serve` that is expected to fail."""
        path = self.write("rusm.toml", config)
        result = self.rusm("serve", "--config", path, *arguments, **options)
        self.assertEqual(result.returncode, 1, result)
        return result.stderr.decode()

    def listener(self, component):
        return f'[[serve]]\nlisten = "127.0.0.1:0"\ncomponent = "it"\n[components.it]\nsource = "{component}"\n'

    def test_no_file(self):
        result = self.rusm("serve")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"rusm.toml: there is no such file", result.stderr)

    def test_every_mistake_of_the_file_is_shown(self):
        text = self.start("[node]\nworkrs = 1\n[log]\nlevel = 3\n[[serve]]\nprotocol = \"ws\"\ncomponent = \"x\"\n")
        self.assertIn("rusm.toml:2: [node]: there is no key workrs; did you mean workers?", text)
        self.assertIn("rusm.toml:4: [log] level = 3: expected one of", text)
        self.assertIn("is not offered by this version", text)
        self.assertIn("there is no component of that name", text)

    def test_check_says_the_same(self):
        path = self.write("rusm.toml", "[node]\nworkrs = 1\n")
        result = self.rusm("check", "--config", path)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"did you mean workers?", result.stderr)
        self.write("rusm.toml", self.listener(harness.guest("hello")))
        result = self.rusm("check", "--config", path)
        self.assertEqual(result.returncode, 0, result)

    def test_nothing_to_serve(self):
        self.assertIn("[[serve]]", self.start("[node]\nworkers = 1\n"))

    def test_busy_port(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = "127.0.0.1:%d" % other.getsockname()[1]
            text = self.start(self.listener(harness.guest("hello")), "--listen", address)
        self.assertIn(address, text)
        self.assertIn("--listen", text)

    def test_an_address_of_another_machine(self):
        self.assertIn("192.0.2.1", self.start(self.listener(harness.guest("hello")), "--listen", "192.0.2.1:80"))

    def test_wrong_listen_option(self):
        path = self.write("rusm.toml", self.listener(harness.guest("hello")))
        result = self.rusm("serve", "--config", path, "--listen", "8080")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"ADDRESS:PORT", result.stderr)

    def test_missing_component(self):
        text = self.start(self.listener("none.wasm"))
        self.assertIn("none.wasm", text)
        self.assertIn("there is no such file", text)

    def test_not_webassembly(self):
        path = self.write("it.wasm", b"#!/bin/sh\necho hello\n")
        self.assertIn(path, self.start(self.listener(path)))

    def test_empty_file(self):
        path = self.write("it.wasm", b"")
        self.assertIn(path, self.start(self.listener(path)))

    def test_truncated_component(self):
        with open(harness.guest("hello"), "rb") as file:
            whole = file.read()
        for share in (0.1, 0.5, 0.99):
            path = self.write("it.wasm", whole[:int(len(whole) * share)])
            self.assertIn(path, self.start(self.listener(path)))

    def test_wrong_world(self):
        text = self.start(self.listener(harness.guest("plain")))
        self.assertIn("plain.wasm", text)
        self.assertIn("wasi:http/incoming-handler", text)

    def test_import_that_nobody_grants(self):
        text = self.start(self.listener(harness.guest("foreign")))
        self.assertIn("nobody:offers/thing", text)

    def test_all_wrong_components_are_reported_at_once(self):
        text = self.start('[[serve]]\nlisten = "127.0.0.1:0"\n[serve.routes]\n"/a" = "a"\n"/b" = "b"\n'
                          '[components.a]\n[components.b]\n')
        self.assertIn("a.wasm", text)
        self.assertIn("b.wasm", text)


class CodeCacheTest(harness.TestCase):
    def cache_files(self):
        folder = os.path.join(self.folder, "code")
        return {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in os.listdir(folder) if name.endswith(".code")}

    def serve_with_cache(self, **options):
        return self.serve(extra='[engine]\ncode_cache_dir = "code"', **options)

    def answer_and_stop(self, server):
        self.assertEqual(server.ask("GET", "/").status, 200)
        server.signal(harness.SIGTERM)
        self.assertEqual(server.wait(), 0, server.log.text())

    def test_the_second_start_compiles_nothing(self):
        self.answer_and_stop(self.serve_with_cache())
        files = self.cache_files()
        self.assertEqual(len(files), 1)
        folder = os.path.join(self.folder, "code")
        self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o700)
        self.answer_and_stop(self.serve_with_cache())
        self.assertEqual(self.cache_files(), files, "the file was used, not written again")

    def test_a_changed_file_is_never_executed(self):
        self.answer_and_stop(self.serve_with_cache())
        (name, _), = self.cache_files().items()
        path = os.path.join(self.folder, "code", name)
        with open(path, "r+b") as file:
            file.seek(4096)
            byte = file.read(1)
            file.seek(4096)
            file.write(bytes([byte[0] ^ 1]))
        changed = self.cache_files()
        self.answer_and_stop(self.serve_with_cache())
        self.assertNotEqual(self.cache_files(), changed, "it was replaced")

    def test_a_folder_that_others_may_write_to_is_not_used(self):
        folder = os.path.join(self.folder, "code")
        os.mkdir(folder)
        os.chmod(folder, 0o777)
        server = self.serve_with_cache()
        server.log.wait_for(lambda line: "no code cache" in line["msg"], "a warning")
        self.answer_and_stop(server)
        self.assertEqual(os.listdir(folder), [])

    def test_a_folder_that_cannot_be_made(self):
        self.write("code", "a file is in the way")
        server = self.serve_with_cache()
        server.log.wait_for(lambda line: "no code cache" in line["msg"], "a warning")
        self.answer_and_stop(server)

    def test_a_full_disk(self):
        # A file may grow to 16 KiB: the key fits, compiled code does not.
        server = self.serve_with_cache(limits=harness.limit(harness.resource.RLIMIT_FSIZE, 16 << 10))
        server.log.wait_for(lambda line: line["level"] == "warn" and line["area"] in ("engine", "cache"), "a warning")
        self.answer_and_stop(server)
        self.assertEqual(self.cache_files(), {}, "no half file is left")


class LimitsTest(harness.TestCase):
    def engine_of(self, server):
        return server.log.wait_for(lambda line: line["area"] == "engine" and line["msg"] == "ready", "its sizes")

    def test_the_caps_are_derived_and_told(self):
        sizes = self.engine_of(self.serve())
        self.assertGreater(int(sizes["guests_max"]), int(sizes["pool_max"]))
        server = self.serve(extra="[engine]\nmax_instances = 100\npool_instances = 10")
        sizes = self.engine_of(server)
        self.assertEqual((sizes["guests_max"], sizes["pool_max"]), ("100", "10"))
        self.assertEqual(server.ask("GET", "/").status, 200)

    def test_few_addresses(self):
        server = self.serve(limits=harness.limit(harness.resource.RLIMIT_AS, 16 << 30))
        self.assertLess(int(self.engine_of(server)["pool_max"]), 500)
        for _ in range(20):
            self.assertEqual(server.ask("GET", "/").status, 200)

    def test_too_few_addresses(self):
        path = self.write("rusm.toml", '[[serve]]\nlisten = "127.0.0.1:0"\ncomponent = "it"\n'
                          f'[components.it]\nsource = "{harness.guest("hello")}"\n[engine]\nmax_memory_mb = 4096\n')
        result = self.rusm("serve", "--config", path, limits=harness.limit(harness.resource.RLIMIT_AS, 4 << 30))
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"ulimit -v", result.stderr)


class EndTest(harness.TestCase):
    def hostile(self, **options):
        return self.serve({"/*": "hostile"}, components=("hostile",), **options)

    PATIENT = "request_timeout_ms = 86400000\nbody_timeout_ms = 86400000"

    def begin_endless(self, connection):
        """A request that is in flight for sure, because its response has begun, and never ends by itself."""
        connection.send_head("GET", "/flood")
        self.assertEqual(connection.read_head()[0], 200)

    def draining(self, server):
        server.log.wait_for(lambda line: line["msg"].startswith("draining"), "draining")

    def test_sigterm_lets_requests_finish(self):
        server = self.hostile()
        with server.connect() as idle, server.connect() as busy:
            self.assertEqual(idle.ask("GET", "/ok").status, 200)
            busy.send_head("GET", "/slow")
            self.assertEqual(busy.read_head()[0], 200)
            chunks = busy.chunks()
            first = next(chunks)
            server.signal(harness.SIGTERM)
            self.draining(server)
            self.assertTrue(idle.is_closed(), "a connection without a request is closed at once")
            with self.assertRaises(OSError):
                harness.wait_until(lambda: server.connect().__exit__() and False, "new connections are refused", 10)
            rest = b"".join(chunks)
            self.assertGreater(len(rest), len(first), "the response in flight came whole")
        self.assertEqual(server.wait(), 0, server.log.text())

    def test_sigint_twice_stops_at_once(self):
        server = self.hostile(serve=self.PATIENT, extra="[node]\ndrain_timeout_ms = 86400000")
        with server.connect() as connection:
            self.begin_endless(connection)
            server.signal(harness.SIGINT)
            self.draining(server)
            self.assertIsNone(server.process.poll())
            server.signal(harness.SIGINT)
            self.assertEqual(server.wait(), 1, server.log.text())

    def test_a_drain_has_an_end(self):
        server = self.hostile(serve=self.PATIENT, extra="[node]\ndrain_timeout_ms = 300")
        with server.connect() as connection:
            self.begin_endless(connection)
            server.signal(harness.SIGTERM)
            self.assertEqual(server.wait(), 1, server.log.text())

    def test_nothing_in_flight_ends_at_once(self):
        server = self.hostile(extra="[node]\ndrain_timeout_ms = 86400000")
        server.signal(harness.SIGINT)
        self.assertEqual(server.wait(), 0, server.log.text())


if __name__ == "__main__":
    unittest.main()
