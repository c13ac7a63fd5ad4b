"""Tests of scripts/fetch: conversions against per-point references, and whole runs against a fake
npm on the PATH and a server on 127.0.0.1. Nothing leaves this machine."""

import base64
import fractions
import hashlib
import http.server
import io
import json
import os
import random
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FETCH = os.path.join(ROOT, "scripts", "fetch")
sys.path.insert(0, os.path.join(ROOT, "scripts"))
sys.dont_write_bytecode = True

import numpy as np  # noqa: E402

import download  # noqa: E402
import keysets  # noqa: E402

# --- references: one point at a time, plain integers ----------------------------------------------


def textbook_hilbert(order, x, y):
    """Position of a cell by recursion on the four quarters of the curve's definition."""
    if order == 0:
        return 0
    half = 1 << (order - 1)
    quarter = half * half
    if x < half and y < half:  # first: mirrored at the diagonal
        return textbook_hilbert(order - 1, y, x)
    if x < half:
        return quarter + textbook_hilbert(order - 1, x, y - half)
    if y >= half:
        return 2 * quarter + textbook_hilbert(order - 1, x - half, y - half)
    # last: mirrored at the other diagonal
    return 3 * quarter + textbook_hilbert(order - 1, half - 1 - y, half - 1 - (x - half))


def textbook_cell(degrees, half_range):
    """Grid coordinate of a decimal text, exactly."""
    share = (fractions.Fraction(degrees) + half_range) / (2 * half_range)
    return min(int(share * 2**31), 2**31 - 1)


def textbook_coast(points):
    ids = {textbook_hilbert(31, textbook_cell(a, 180), textbook_cell(b, 90)) for a, b in points}
    return sorted(ids)


def sosd_bytes(keys, key_bits=64):
    letter = "Q" if key_bits == 64 else "I"
    return struct.pack(f"<Q{len(keys)}{letter}", len(keys), *keys)


def geojson(points, holes=()):
    """A FeatureCollection with one polygon and one line; properties hold digits to trip over."""
    ring = ",".join(f"[{a},{b}]" for a, b in points)
    line = ",".join(f"[{a},{b}]" for a, b in holes)
    return (
        '{"type":"FeatureCollection", "features": [\n'
        '{"type":"Feature","geometry":{"type":"MultiPolygon","coordinates":[[['
        + ring
        + ']]]},"properties":{"A3":"AB1","n":[7,8,9]}},\n'
        '{"type":"Feature","geometry":{"coordinates" : [ '
        + line
        + ' ],\n"type":"LineString"},"properties":{"x":1.5}}\n]}\n'
    ).encode()


class Hilbert(unittest.TestCase):
    def test_whole_small_curves(self):
        for order in (1, 2, 3, 5):
            side = 1 << order
            x, y = (grid.ravel().astype(np.uint32) for grid in np.mgrid[0:side, 0:side])
            ids = keysets.hilbert_ids(x, y, order)
            path = np.argsort(ids)
            self.assertEqual(sorted(ids.tolist()), list(range(side * side)))
            self.assertEqual((x[path[0]], y[path[0]]), (0, 0))
            self.assertEqual((x[path[-1]], y[path[-1]]), (side - 1, 0))
            steps = np.abs(np.diff(x[path].astype(int))) + np.abs(np.diff(y[path].astype(int)))
            self.assertTrue((steps == 1).all(), f"order {order}: neighbours on the curve touch")

    def test_order_31_as_textbook(self):
        rng = random.Random(1)
        top = 2**31 - 1
        cells = [(0, 0), (top, 0), (0, top), (top, top), (1 << 30, (1 << 30) - 1)]
        cells += [(rng.randrange(2**31), rng.randrange(2**31)) for _ in range(500)]
        x, y = (np.array(column, dtype=np.uint32) for column in zip(*cells))
        expected = [textbook_hilbert(31, a, b) for a, b in cells]
        self.assertEqual(keysets.hilbert_ids(x, y).tolist(), expected)
        self.assertEqual(expected[1], 2**62 - 1)

    def test_more_cells_than_a_chunk(self):
        x = np.arange(70000, dtype=np.uint32)
        ids = keysets.hilbert_ids(x, x)
        for i in (0, 32767, 32768, 65535, 65536, 69999):
            self.assertEqual(int(ids[i]), textbook_hilbert(31, i, i))


class Coast(unittest.TestCase):
    def test_as_textbook(self):
        rng = random.Random(2)
        points = [("180.0", "90"), ("-180", "-90.0"), ("0", "0"), ("-0.000001", "1e-6")]
        points += [
            (f"{rng.uniform(-180, 180):.{rng.randrange(7)}f}", f"{rng.uniform(-90, 90):.6f}")
            for _ in range(400)
        ]
        files = [geojson(points[:300], points[290:]), geojson(points[200:], [])]
        keys = keysets.coastline_keys(files)
        self.assertEqual(keys.dtype, np.uint64)
        self.assertEqual(keys.tolist(), textbook_coast(points))

    def test_duplicate_points_give_one_key(self):
        point = ("12.5", "-7.25")
        self.assertEqual(len(keysets.coastline_keys([geojson([point] * 3)])), 1)

    def refuse(self, text, words):
        with self.assertRaisesRegex(keysets.BadData, words):
            keysets.coastline_keys([text])

    def test_refuses_what_is_not_exact(self):
        self.refuse(geojson([("1.0000001", "2")]), "six decimals")
        self.refuse(b'{"coordinates":[[1,2,3],[4,5,6]]}', "two numbers")
        self.refuse(b'{"coordinates":[[1,2,3],[4]]}', "two numbers")
        self.refuse(b'{"coordinates":[[1,2],[3]]}', "two numbers")
        self.refuse(b'{"coordinates":[[1,2],[x3,4]]}', "can't be read|match")
        self.refuse(geojson([("180.000001", "2")]), "longitude")
        self.refuse(geojson([("2", "-90.5")]), "latitude")
        self.refuse(b'{"features":[]}', "no coordinates")
        self.refuse(b"", "no coordinates")


class Downloads(unittest.TestCase):
    def test_running_sum_in_file_order(self):
        text = rb'{"zz":3,"a\":9,\"b":0,"10":28,"a":5,"a":' + str(2**50).encode() + b"}"
        keys = keysets.download_keys([text])
        self.assertEqual(keys.tolist(), [4, 5, 34, 40, 41 + 2**50])
        self.assertEqual(keys.dtype, np.uint64)

    def test_refuses(self):
        for text in (b"[1,2]", b"{}", b'{"a":-1}', b'{"a":1.5}', b'{"a":true}', b'{"a":null}',
                     b'{"a":{"b":1}}', b'{"a":1', b'{"a":9007199254740993}'):  # fmt: skip
            with self.subTest(text), self.assertRaises(keysets.BadData):
                keysets.download_keys([text])


class RangeStarts(unittest.TestCase):
    def test_sorted_distinct(self):
        text = b'300,400,1,"A, B"\r\n5,6,2,x\n300,301,9,y\n4294967295,4294967295,1,z\n0,0,0,\n'
        self.assertEqual(keysets.range_start_keys([text]).tolist(), [0, 5, 300, 4294967295])
        self.assertEqual(keysets.range_start_keys([b"7"]).tolist(), [7])

    def test_refuses(self):
        for text in (b"", b"start,end\n1,2\n", b"1,2\n\n3,4\n", b"4294967296,1\n", b"-1,2\n"):
            with self.subTest(text), self.assertRaises(keysets.BadData):
                keysets.range_start_keys([text])


class SosdFile(unittest.TestCase):
    def test_bytes_and_refusal(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x_uint64")
            for keys in ([], [0], [0, 5, 5, 2**64 - 1]):
                array = np.array(keys, dtype=np.uint64)
                keysets.write_sosd(path, array)
                with open(path, "rb") as file:
                    content = file.read()
                self.assertEqual(content, sosd_bytes(keys))
                self.assertEqual(keysets.sosd_sha256(array), hashlib.sha256(content).hexdigest())
                self.assertEqual(keysets.read_count(path), len(keys))
            with self.assertRaises(keysets.BadData):
                keysets.write_sosd(path, np.array([2, 1], dtype=np.uint64))
            self.assertEqual(os.listdir(folder), ["x_uint64"])
            self.assertEqual(content, sosd_bytes([0, 5, 5, 2**64 - 1]), "the old file is untouched")


class PinnedSources(unittest.TestCase):
    def test_tarball_names(self):
        self.assertEqual(download.tarball_name("@a-b/c@1.0.0"), "a-b-c-1.0.0.tgz")
        self.assertEqual(download.tarball_name("plain@2.2026.0"), "plain-2.2026.0.tgz")

    def test_list_shows_all(self):
        with tempfile.TemporaryDirectory() as folder:
            result = subprocess.run(
                [sys.executable, FETCH, "--list"], env={**os.environ, "LDB_DATA": folder},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
        for name in ("coast", "npm_downloads", "ipv4", "books_200M_uint32", "books_800M_uint64",
                     "fb_200M_uint64", "osm_cellids_800M_uint64", "wiki_ts_200M_uint64"):
            self.assertRegex(result.stdout, rf"(?m)^{name} ")  # fmt: skip
        self.assertRegex(result.stdout, r"(?m)^coast +7138872 +64 +57.1 MB +- +ODbL")


# --- whole runs -----------------------------------------------------------------------------------


class Run(unittest.TestCase):
    """A data folder, a folder for the PATH, and a list of sources, all made anew for each test."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.data = os.path.join(scratch.name, "data")
        self.bin = os.path.join(scratch.name, "bin")
        self.registry = os.path.join(scratch.name, "registry")
        self.sources = os.path.join(scratch.name, "sources.ini")
        for folder in (self.data, self.bin, self.registry):
            os.mkdir(folder)
        for tool in ("sh", "cp", "sleep", "zstd"):
            os.symlink(shutil.which(tool), os.path.join(self.bin, tool))

    def path(self, *parts):
        return os.path.join(self.data, *parts)

    def read(self, *parts):
        with open(self.path(*parts), "rb") as file:
            return file.read()

    def write(self, content, *parts):
        os.makedirs(os.path.dirname(self.path(*parts)), exist_ok=True)
        with open(self.path(*parts), "wb") as file:
            file.write(content)

    def tool(self, name, script):
        path = os.path.join(self.bin, name)
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "w", encoding="utf-8") as file:
            file.write(script)
        os.chmod(path, stat.S_IRWXU)

    def fetch(self, *arguments, code=0, timeout=60):
        result = subprocess.run(
            [sys.executable, FETCH, "--sources", self.sources, *arguments],
            env={"PATH": self.bin, "LDB_DATA": self.data, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        return result.stderr

    def left(self):
        """All files of the data folder but the lock."""
        found = []
        for folder, _, names in os.walk(self.data):
            found += [os.path.relpath(os.path.join(folder, name), self.data) for name in names]
        return sorted(name for name in found if name != os.path.join("download", ".lock"))


def tarball(members):
    """A .tgz of {name: bytes}, as npm packs it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo("package/" + name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


POINTS = [[("1.5", "2.25"), ("-77.036530", "38.897676")], [("1.5", "2.25"), ("151.215", "-33.857")]]
COUNTS = {"left-pad": 100, "is-odd": 7, "x": 0}
RANGES = b"16777216,16777471,13335,A\n16777472,1,1,B\n16777216,1,1,C\n"


class Npm(Run):
    """The sets that npm brings, from a fake npm that copies tarballs of a local folder."""

    def setUp(self):
        super().setUp()
        self.log = os.path.join(self.bin, "npm.log")
        self.tool(
            "npm",
            f'#!/bin/sh\necho "$2" >>"{self.log}"\nn=${{2#@}}\n'
            'while case $n in *[/@]*) true ;; *) false ;; esac; do\n'
            '\tcase $n in */*) n=${n%%/*}-${n#*/} ;; *) n=${n%%@*}-${n#*@} ;; esac\ndone\n'
            f'exec cp "{self.registry}/$n.tgz" .\n',
        )
        self.packages = {
            "@geo/one@1.0.0": {"README.md": b"", "map.json": geojson(POINTS[0])},
            "@geo/two@1.0.0": {"map.json": geojson(POINTS[1])},
            "counts@2.0.0": {"counts.json": json.dumps(COUNTS).encode()},
            "@ip/asn@3.1.0": {"a.csv": b"0", "num.csv": RANGES},
        }
        self.keys = {
            "coast": textbook_coast(POINTS[0] + POINTS[1]),
            "npm_downloads": [101, 109, 110],
            "ipv4": [16777216, 16777472],
        }
        self.pin = {}
        for package, members in self.packages.items():
            self.put(package, tarball(members))
        self.write_sources()

    def put(self, package, content):
        name = download.tarball_name(package)
        with open(os.path.join(self.registry, name), "wb") as file:
            file.write(content)
        self.pin.setdefault(package, base64.b64encode(hashlib.sha512(content).digest()).decode())

    def write_sources(self):
        plan = (
            ("coast", ("@geo/one@1.0.0", "@geo/two@1.0.0"), "map.json", "coastline"),
            ("npm_downloads", ("counts@2.0.0",), "counts.json", "downloads"),
            ("ipv4", ("@ip/asn@3.1.0",), "num.csv", "range_starts"),
        )
        with open(self.sources, "w", encoding="utf-8") as file:
            for name, packages, member, convert in plan:
                lines = "".join(f"\n\t{package} {self.pin[package]}" for package in packages)
                content = sosd_bytes(self.keys[name])
                file.write(
                    f"[{name}]\nfrom = npm\nlicence = none\npackages ={lines}\n"
                    f"member = package/{member}\nconvert = {convert}\nfile = {name}_uint64\n"
                    f"keys = {len(self.keys[name])}\nkey_bits = 64\n"
                    f"sha256 = {hashlib.sha256(content).hexdigest()}\n\n"
                )

    def calls(self):
        if not os.path.exists(self.log):
            return []
        with open(self.log, encoding="utf-8") as file:
            return file.read().split()

    def test_all_three(self):
        said = self.fetch()
        self.assertEqual(self.left(), ["coast_uint64", "ipv4_uint64", "npm_downloads_uint64"])
        for name, keys in self.keys.items():
            self.assertEqual(self.read(name + "_uint64"), sosd_bytes(keys))
        self.assertEqual(sorted(self.calls()), sorted(self.packages))
        self.assertRegex(said, r"coast: 3 keys made in \d+\.\d s")
        self.assertRegex(said, r"ipv4: written to \S+ in \d+\.\d s, sha256 right")

    def test_second_run_does_nothing(self):
        self.fetch()
        before = {name: os.stat(self.path(name)).st_mtime_ns for name in self.left()}
        calls = self.calls()
        said = self.fetch()
        self.assertEqual(said.count("already there and right"), 3)
        self.assertEqual({n: os.stat(self.path(n)).st_mtime_ns for n in self.left()}, before)
        self.assertEqual(self.calls(), calls)

    def test_keep_and_reuse_tarballs(self):
        self.fetch("--keep", "coast")
        kept = [os.path.join("download", f"geo-{n}-1.0.0.tgz") for n in ("one", "two")]
        self.assertEqual(self.left(), ["coast_uint64", *kept])
        os.unlink(self.path("coast_uint64"))
        os.unlink(os.path.join(self.bin, "npm"))
        said = self.fetch("coast", "coast")
        self.assertEqual(said.count("tarball already in"), 2)
        self.assertEqual(self.left(), ["coast_uint64"])

    def test_damaged_result_is_made_anew(self):
        self.fetch("ipv4")
        good = self.read("ipv4_uint64")
        for bad in (good[:-1], good[:-1] + b"\x01", b""):
            self.write(bad, "ipv4_uint64")
            said = self.fetch("ipv4")
            self.assertIn("ipv4_uint64.bad, fetching anew", said)
            self.assertEqual(self.read("ipv4_uint64"), good)
            self.assertEqual(self.read("ipv4_uint64.bad"), bad)

    def test_damaged_tarball_in_folder_is_fetched_anew(self):
        self.write(b"half", "download", "counts-2.0.0.tgz")
        said = self.fetch("npm_downloads")
        self.assertIn("wrong sha512", said)
        bad = os.path.join("download", "counts-2.0.0.tgz.bad")
        self.assertEqual(self.left(), [bad, "npm_downloads_uint64"])

    def test_wrong_tarball_from_registry(self):
        self.put("counts@2.0.0", tarball({"counts.json": b'{"evil":1}'}))
        said = self.fetch(code=1)
        self.assertRegex(said, r"npm_downloads: counts@2.0.0: sha512 is .* pinned is .*\.bad; try")
        bad = os.path.join("download", "counts-2.0.0.tgz.bad")
        self.assertEqual(self.left(), ["coast_uint64", bad, "ipv4_uint64"], "the others are made")

    def test_wrong_result(self):
        self.keys["ipv4"] = [1, 2]
        self.write_sources()
        said = self.fetch("ipv4", code=1)
        self.assertRegex(said, r"ipv4: keys: 2 of sha256 \w+, pinned are 2 of \w+; kept as .*\.bad")
        self.assertIn("ipv4_uint64.bad", self.left())
        self.assertNotIn("ipv4_uint64", self.left())

    def remake(self, package, content):
        del self.pin[package]
        self.put(package, content)
        self.write_sources()

    def test_tarball_without_member_or_broken(self):
        self.remake("@ip/asn@3.1.0", tarball({"other.csv": RANGES}))
        self.assertIn("has no package/num.csv", self.fetch("ipv4", code=1))
        self.remake("@ip/asn@3.1.0", tarball({"num.csv": RANGES * 1000})[:-40])
        os.unlink(self.path("download", "ip-asn-3.1.0.tgz"))
        self.assertIn("can't be unpacked", self.fetch("ipv4", code=1))

    def test_member_of_unexpected_form(self):
        self.remake("@ip/asn@3.1.0", tarball({"num.csv": b"start\n1\n"}))
        said = self.fetch("ipv4", code=1)
        self.assertIn("CSV, line 1: 'start' is no IPv4 address", said)

    def test_npm_missing(self):
        os.unlink(os.path.join(self.bin, "npm"))
        said = self.fetch(code=3)
        self.assertEqual(said.count("npm, which brings it, is not on the PATH; install npm"), 3)
        self.assertEqual(self.left(), [])

    def test_npm_offline(self):
        errors = ("code ENOTFOUND", "errno ENOTFOUND", "no such host")
        lines = "".join(f"echo 'npm error {error}' >&2\n" for error in errors)
        self.tool("npm", f"#!/bin/sh\n{lines}exit 1\n")
        said = self.fetch("coast", code=3)
        self.assertIn("coast: @geo/one@1.0.0: npm pack ended with 1", said)
        self.assertIn("1: code ENOTFOUND; no such host; check the network", said)

    def test_npm_reports_damage(self):
        self.tool("npm", "#!/bin/sh\necho 'npm error code EINTEGRITY' >&2\nexit 1\n")
        self.assertIn("npm cache clean", self.fetch("coast", code=1))

    def test_npm_makes_nothing(self):
        self.tool("npm", "#!/bin/sh\nexit 0\n")
        self.assertIn("made 0 tarballs", self.fetch("ipv4", code=1))

    def test_npm_hangs(self):
        child = os.path.join(self.bin, "child")
        self.tool("npm", f'#!/bin/sh\nsleep 300 &\necho $! >"{child}"\nwait\n')
        begin = time.monotonic()
        said = self.fetch("--timeout", "1", "ipv4", code=3)
        self.assertLess(time.monotonic() - begin, 30)
        self.assertIn("gave nothing within 1 s", said)
        with open(child, encoding="utf-8") as file:
            self.assertTrue(ended(int(file.read())), "what npm started is ended too")

    def test_one_bad_one_unreachable_is_bad(self):
        self.put("counts@2.0.0", b"x")
        os.unlink(os.path.join(self.registry, "ip-asn-3.1.0.tgz"))
        self.fetch(code=1)
        self.assertEqual(self.fetch("coast", "ipv4", code=3).count("already there"), 1)

    def test_unknown_name(self):
        said = self.fetch("npm_download", code=2)
        self.assertIn("'npm_download'; did you mean npm_downloads?", said)
        self.assertIn("--list", self.fetch("qqqqqq", code=2))
        self.fetch("--timeout", "0", code=2)
        self.fetch("--base-url", "nowhere", code=2)
        self.assertEqual(self.calls(), [])

    def test_broken_sources(self):
        for text in ("[a]\nfrom = npm\n", "[a]\nfrom = elsewhere\n", "a = 1\n", "[a]\n[a]\n"):
            with open(self.sources, "w", encoding="utf-8") as file:
                file.write(text)
            self.assertIn("sources.ini: ", self.fetch(code=2))
        os.unlink(self.sources)
        self.assertIn("No such file", self.fetch(code=2))

    def test_data_folder_is_a_file(self):
        os.rmdir(self.data)
        with open(self.data, "wb"):
            pass
        self.assertIn("check the disk", self.fetch(code=1))

    def test_two_runs_at_once(self):
        script = os.path.join(self.bin, "npm")
        with open(script, encoding="utf-8") as file:
            text = file.read()
        self.tool("npm", text.replace("exec cp", "sleep 1\nexec cp"))
        said = [None, None]

        def run(i):
            said[i] = self.fetch("ipv4")

        threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.calls(), ["@ip/asn@3.1.0"])
        self.assertEqual(sum("waiting for another run" in text for text in said), 1)


def ended(pid):
    """Whether a process ends within 5 seconds (a zombie has ended)."""
    for _ in range(50):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    return False


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves server.files; server.script holds one behaviour for each request to come."""

    def do_GET(self):  # noqa: N802 (the name is http.server's)
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append((self.path, asked))
        behaviour = server.script.pop(0) if server.script else "good"
        content = server.files.get(self.path)
        if behaviour in ("404", "500"):
            return self.send_error(int(behaviour))
        if content is None:
            return self.send_error(404)
        begin = int(re.match(r"bytes=(\d+)-$", asked)[1]) if asked else 0
        if behaviour == "no range":
            begin = 0
        if begin and begin >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        body = content[begin:]
        if behaviour == "wrong range":
            begin += 1
            body = body[1:]
        self.send_response(206 if asked and behaviour != "no range" else 200)
        if asked and behaviour != "no range":
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(10**15 if behaviour == "huge" else len(body)))
        self.end_headers()
        if behaviour == "truncated":
            body = body[: len(body) // 2]
        self.wfile.write(body)
        return None

    def log_message(self, *arguments):
        pass


class Sosd(Run):
    """SOSD's files, from a mirror on 127.0.0.1."""

    def setUp(self):
        super().setUp()
        rng = random.Random(3)
        self.keys = {
            "wiki_200_uint64": (sorted(rng.randrange(2**64) for _ in range(5000)), 64),
            "books_200_uint32": (sorted(rng.randrange(2**32) for _ in range(3000)), 32),
        }
        self.content = {name: sosd_bytes(*keys) for name, keys in self.keys.items()}
        self.packed = {name: pack(content) for name, content in self.content.items()}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
        self.server.files = {f"/sosd/{n}.zst": packed for n, packed in self.packed.items()}
        self.server.script, self.server.requests = [], []
        thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_port}/sosd"
        self.write_sources()

    def write_sources(self, **changed):
        with open(self.sources, "w", encoding="utf-8") as file:
            for name, (keys, key_bits) in self.keys.items():
                entry = {
                    "from": "sosd",
                    "also": name.split("_")[0],
                    "url": f"{self.url}/{name}.zst",
                    "file": name,
                    "keys": len(keys),
                    "key_bits": key_bits,
                    "md5": hashlib.md5(self.content[name]).hexdigest(),
                    **changed,
                }
                lines = "".join(f"{key} = {value}\n" for key, value in entry.items())
                file.write(f"[{name}]\n{lines}\n")

    WIKI = "wiki_200_uint64"
    PART = os.path.join("download", "wiki_200_uint64.zst.part")

    def check_there(self, name=WIKI):
        self.assertEqual(self.read(name), self.content[name])
        self.assertEqual(self.left(), [name])

    def test_whole(self):
        said = self.fetch("wiki")
        self.check_there()
        self.assertEqual(self.server.requests, [("/sosd/wiki_200_uint64.zst", None)])
        self.assertRegex(said, r"md5 right, in \d")
        self.assertIn("already there and right", self.fetch(self.WIKI))
        self.assertEqual(len(self.server.requests), 1)

    def test_32_bits_and_mirror(self):
        self.write_sources(url="http://127.0.0.1:9/nobody-listens-here")
        self.fetch("--base-url", self.url + "/", "books")
        self.check_there("books_200_uint32")

    def test_without_names_none_is_downloaded(self):
        self.fetch()
        self.assertEqual(self.server.requests, [])

    def test_keep(self):
        self.fetch("--keep", "wiki")
        self.assertEqual(self.read("download", self.WIKI + ".zst"), self.packed[self.WIKI])
        os.unlink(self.path(self.WIKI))
        self.fetch("wiki")
        self.check_there()
        self.assertEqual(len(self.server.requests), 1, "what was kept is not downloaded again")

    def test_resumed(self):
        self.write(self.packed[self.WIKI][:1000], self.PART)
        self.fetch("wiki")
        self.check_there()
        self.assertEqual(self.server.requests, [("/sosd/wiki_200_uint64.zst", "bytes=1000-")])

    def test_part_is_already_whole(self):
        self.write(self.packed[self.WIKI], self.PART)
        self.fetch("wiki")
        self.check_there()
        self.assertEqual(len(self.server.requests), 1)

    def test_part_is_longer_than_the_file(self):
        self.write(self.packed[self.WIKI] + b"more", self.PART)
        self.assertIn("starting anew", self.fetch("wiki"))
        self.check_there()
        self.assertEqual([asked for _, asked in self.server.requests][1:], [None])

    def test_server_ignores_range(self):
        self.write(self.packed[self.WIKI] + b"tail of something longer", self.PART)
        self.server.script = ["no range"]
        self.assertIn("does not resume", self.fetch("wiki"))
        self.check_there()

    def test_server_sends_another_range(self):
        self.write(self.packed[self.WIKI][:10], self.PART)
        self.server.script = ["wrong range"]
        self.assertIn("asked for bytes from 10, got bytes 11-", self.fetch("wiki"))
        self.check_there()

    def test_truncated_body_is_resumed(self):
        self.server.script = ["truncated", "truncated"]
        said = self.fetch("wiki")
        self.check_there()
        size = len(self.packed[self.WIKI])
        self.assertIn(f"transfer ended at byte {size // 2} of {size}", said)
        self.assertEqual(self.server.requests[1][1], f"bytes={size // 2}-")
        self.assertEqual(len(self.server.requests), 3)

    def test_truncated_for_good_keeps_the_part(self):
        self.server.script = ["truncated", "truncated"]
        said = self.fetch("--retries", "1", "wiki", code=3)
        self.assertIn("run again to go on from there", said)
        self.assertEqual(self.left(), [self.PART])
        self.fetch("wiki")
        self.check_there()

    def test_server_error_is_tried_again(self):
        self.server.script = ["500"]
        self.assertIn("answered 500", self.fetch("wiki"))
        self.check_there()

    def test_not_found(self):
        said = self.fetch("--base-url", self.url + "/elsewhere", "wiki", code=3)
        self.assertIn("answered 404", said)
        self.assertEqual(len(self.server.requests), 1, "no further try")
        self.assertEqual(self.left(), [])

    def test_nobody_listens(self):
        self.write_sources(url="http://127.0.0.1:9/x")
        said = self.fetch("--retries", "1", "wiki", code=3)
        self.assertIn("can't connect", said)

    def damaged(self, packed, words):
        self.server.files["/sosd/wiki_200_uint64.zst"] = packed
        said = self.fetch("wiki", code=1)
        self.assertRegex(said, words)
        self.assertRegex(said, r"removed \S+\.zst; run again")
        self.assertEqual(self.left(), [])

    def test_wrong_contents(self):
        good = self.content[self.WIKI]
        self.damaged(pack(good[:-1] + b"\x00"), "md5 is .* pinned is")
        self.damaged(pack(good + bytes(8)), "more than the expected 40008 bytes")
        self.damaged(pack(good + bytes(1 << 23)), "more than the expected 40008 bytes")
        self.damaged(pack(good[:-8]), "unpacks to 40000 bytes, expected 40008")
        self.damaged(self.packed[self.WIKI][:-100], "can't be unpacked")
        self.damaged(b"<html>please log in</html>", "can't be unpacked")

    def test_wrong_count(self):
        content = struct.pack("<Q", 4999) + self.content[self.WIKI][8:]
        self.content[self.WIKI] = content
        self.write_sources()
        self.damaged(pack(content), "says it holds 4999 keys, expected 5000")

    def test_no_room(self):
        self.server.script = ["huge"]
        said = self.fetch("wiki", code=1)
        self.assertIn("disk: 1000000.00 GB are needed", said)
        self.write_sources(keys=10**15)
        self.assertIn("are needed", self.fetch("wiki", code=1))
        self.assertEqual(len(self.server.requests), 1, "found out before the download")

    def test_zstd_missing(self):
        os.unlink(os.path.join(self.bin, "zstd"))
        self.assertIn("zstd: not on the PATH", self.fetch("wiki", code=2))
        self.assertEqual(self.server.requests, [], "found out before the download")

    def test_list_shows_a_part(self):
        self.write(bytes(2500000), self.PART)
        result = subprocess.run(
            [sys.executable, FETCH, "--sources", self.sources, "--list"],
            env={"PATH": self.bin, "LDB_DATA": self.data},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        self.assertIn("2.5 MB of it", result.stdout)


def pack(content):
    """Compressed as SOSD's files are."""
    return subprocess.run(
        ["zstd", "-q", "-c"], input=content, stdout=subprocess.PIPE, check=True
    ).stdout


if __name__ == "__main__":
    unittest.main()
