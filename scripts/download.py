"""Gets published files onto this machine: npm tarballs, and large files over HTTP with resume.

Whatever arrives is checked against a pinned checksum before it is used. A file that fails the
check never keeps its name. Every failure is a `Failure` that names the subject, the value found and
the remedy, and carries the exit code it deserves.
"""

import base64
import contextlib
import fcntl
import hashlib
import http.client
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib

import keysets

FAILED = 1  # a bad checksum, bad data, no room: something to look into
USAGE = 2  # wrong arguments, or a tool this machine lacks
UNREACHABLE = 3  # the source can't be reached; the rest of the project works without it

CHUNK = 1 << 20
STALL_S = 30  # a connection silent for so long is given up
NPM_ANSWER_S = 20  # so long npm waits for an answer to begin; how long a body takes is --timeout


class Failure(Exception):
    """What went wrong (subject: value), what to do about it, and the exit code."""

    def __init__(self, code, subject, value, remedy):
        super().__init__(f"{subject}: {value}; {remedy}")
        self.code = code


def file_digest(path, kind):
    """A hashlib object of that kind over the whole file."""
    digest = hashlib.new(kind)
    with open(path, "rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest


def set_aside(path):
    """Renames a file that failed its check to NAME.bad; returns that name."""
    bad = path + ".bad"
    os.replace(path, bad)
    return bad


def megabytes(size):
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"


def need_room(folder, needed):
    """Fails when the disk that holds `folder` has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise Failure(
            FAILED,
            "disk",
            f"{megabytes(needed)} are needed, {megabytes(free)} are free in {folder}",
            "free some room, or set LDB_DATA to a folder on a larger disk",
        )


@contextlib.contextmanager
def only_one(folder, who):
    """Two runs at once would write into the same part: the second waits for the first."""
    with open(os.path.join(folder, ".lock"), "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{who}: waiting for another run to end", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- npm tarballs ---------------------------------------------------------------------------------


def tarball_name(package):
    """File name that `npm pack` gives to PACKAGE@VERSION: "@a/b@1.0" -> "a-b-1.0.tgz"."""
    name, _, version = package.rpartition("@")
    return f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"


def npm_tarball(package, sha512, folder, timeout_s, say):
    """Path of the tarball of PACKAGE@VERSION in `folder`, fetched unless it is there, checked
    against `sha512` (base64)."""
    path = os.path.join(folder, tarball_name(package))
    if os.path.exists(path):
        if sha512_of(path) == sha512:
            say(f"{package}: tarball already in {folder}")
            return path
        say(f"{package}: tarball in {folder} has a wrong sha512; kept as {set_aside(path)}")
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="npm-", dir=folder) as scratch:
        run_npm(package, scratch, timeout_s)
        found = [name for name in os.listdir(scratch) if name.endswith(".tgz")]
        if len(found) != 1:
            raise Failure(
                FAILED,
                package,
                f"npm pack made {len(found)} tarballs, expected 1",
                f"put {tarball_name(package)} into {folder} yourself",
            )
        os.replace(os.path.join(scratch, found[0]), path)
    actual = sha512_of(path)
    if actual != sha512:
        raise Failure(
            FAILED,
            package,
            f"sha512 is {actual[:16]}..., pinned is {sha512[:16]}...; kept as {set_aside(path)}",
            "try again; if it stays so, the registry serves other bytes than were pinned",
        )
    seconds = time.monotonic() - begin
    say(f"{package}: fetched {megabytes(os.path.getsize(path))} in {seconds:.1f} s")
    return path


def sha512_of(path):
    return base64.b64encode(file_digest(path, "sha512").digest()).decode()


def run_npm(package, folder, timeout_s):
    """Runs `npm pack` in `folder`; ends it, with all it started, after timeout_s."""
    npm = shutil.which("npm")
    if not npm:
        raise Failure(
            UNREACHABLE,
            package,
            "npm, which brings it, is not on the PATH",
            "install npm (scripts/setup names it)",
        )
    command = [
        npm,
        "pack",
        package,
        "--ignore-scripts",
        "--loglevel=error",
        "--no-update-notifier",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=1000",
        f"--fetch-timeout={NPM_ANSWER_S * 1000}",
    ]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise Failure(
            UNREACHABLE,
            package,
            f"npm pack gave nothing within {timeout_s:g} s",
            "check the network, or raise --timeout",
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stderr.close()
    if process.returncode != 0:
        raise npm_failure(package, process.returncode, errors)


def npm_failure(package, returncode, errors):
    """The Failure for an `npm pack` that ended with an error."""
    lines = [re.sub(r"^npm (ERR!|error) ?", "", line).strip() for line in errors.splitlines()]
    noise = ("errno", "syscall", "A complete log", "npm warn")
    lines = [line for line in lines if line and not line.startswith(noise)]
    value = f"npm pack ended with {returncode}: {'; '.join(lines[:2])[:300] or 'no message'}"
    if "EINTEGRITY" in errors:
        return Failure(FAILED, package, value, "clear npm's cache (npm cache clean --force)")
    if "ENOSPC" in errors:
        return Failure(FAILED, package, value, "free some disk")
    return Failure(UNREACHABLE, package, value, "check the network and `npm ping`, and try again")


def read_member(tarball, member):
    """The bytes of one member of a .tgz, read as a stream: nothing else is unpacked."""
    try:
        with tarfile.open(tarball, "r|gz") as archive:
            for entry in archive:
                if entry.name == member and entry.isfile():
                    return archive.extractfile(entry).read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise Failure(
            FAILED, tarball, f"can't be unpacked: {error}", "remove it and try again"
        ) from error
    raise Failure(FAILED, tarball, f"has no {member}", "pin a version that has it")


# --- large files over HTTP ------------------------------------------------------------------------


class Stopped(Exception):
    """A transfer broke off; another try may go on from there."""


def http_download(url, path, extra_bytes, retries, say):
    """Downloads `url` to `path` by way of PATH.part, which later calls resume.

    extra_bytes is the room needed beside the file itself. After `retries` further attempts that
    brought less than 1 MiB each it gives up; the part stays.
    """
    part = path + ".part"
    left = retries
    while True:
        before = size_of(part)
        try:
            http_attempt(url, part, extra_bytes, say)
            break
        except Stopped as stop:
            have = size_of(part)
            left = retries if have >= before + CHUNK else left - 1
            if left < 0:
                raise Failure(
                    UNREACHABLE,
                    url,
                    f"{stop} ({megabytes(have)} are kept in {part})",
                    "run again to go on from there, or name a mirror by --base-url",
                ) from None
            pause_s = min(2.0 ** (retries - left - 1), 30)
            say(f"{stop}; next try in {pause_s:.1f} s from {megabytes(have)}")
            time.sleep(pause_s)
    keysets.publish(part, path)


def size_of(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def http_attempt(url, part, extra_bytes, say):
    """One request for what `part` still lacks. Raises Stopped, or Failure where a further try is of
    no use."""
    have = size_of(part)
    headers = {"User-Agent": "learneddb-fetch", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=STALL_S
        ) as response:
            begin = resume_offset(response, have, say)
            length = response.headers.get("Content-Length")
            total = begin + int(length) if length and length.isdigit() else None
            need_room(os.path.dirname(part), (total or begin) - begin + extra_bytes)
            receive(response, part, begin, total, say)
    except urllib.error.HTTPError as error:
        if error.code == 416 and already_whole(error, have):
            return
        if error.code == 416:
            os.unlink(part)
            raise Stopped(f"the server has no bytes from {have}: starting anew") from None
        if error.code in (408, 429) or error.code >= 500:
            raise Stopped(f"the server answered {error.code} {error.reason}") from None
        raise Failure(
            UNREACHABLE,
            url,
            f"the server answered {error.code} {error.reason}",
            "name a mirror by --base-url",
        ) from None
    except urllib.error.URLError as error:
        raise Stopped(f"can't connect: {error.reason}") from None
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise Stopped(f"transfer broke off: {error or type(error).__name__}") from None


def resume_offset(response, have, say):
    """Where the body of a response belongs in the file: `have`, or 0 when the server sends all."""
    if response.status != 206:
        if have:
            say("the server does not resume: starting anew")
        return 0
    given = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if not given or int(given[1]) != have:
        raise Stopped(f"asked for bytes from {have}, got {response.headers.get('Content-Range')}")
    return have


def already_whole(error, have):
    """Whether a 416 answer says that the file ends exactly where the part does."""
    total = re.match(r"bytes \*/(\d+)$", error.headers.get("Content-Range", ""))
    return bool(total) and int(total[1]) == have > 0


def receive(response, part, begin, total, say):
    """Writes the body into `part` from offset `begin`; Stopped when it ends before `total`."""
    progress = Progress(say, total)
    with open(part, "ab" if begin else "wb") as file:
        at = begin
        while block := response.read(CHUNK):
            file.write(block)
            at += len(block)
            progress.at(at)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and at < total:
        raise Stopped(f"transfer ended at byte {at} of {total}")


class Progress:
    """Says how far a transfer is, every tenth of it but not more often than every 2 seconds."""

    def __init__(self, say, total):
        self.say, self.total = say, total
        self.begin_s = self.said_s = time.monotonic()
        self.first = None
        self.next_share = 0.1

    def at(self, done):
        self.first = done if self.first is None else self.first
        now_s = time.monotonic()
        share = done / self.total if self.total else 0
        quiet_s = now_s - self.said_s
        if not (quiet_s >= 2 and share >= self.next_share) and quiet_s < 30:
            return
        rate = (done - self.first) / max(now_s - self.begin_s, 1e-9)
        of = f" of {megabytes(self.total)} ({share:.0%})" if self.total else ""
        self.say(f"{megabytes(done)}{of} at {megabytes(rate)}/s")
        self.said_s = now_s
        self.next_share = share + 0.1


def unpack_zstd(packed, path, size_bytes, keys, md5, say):
    """Decompresses `packed` to `path`, which appears only with the right size, count and md5."""
    begin = time.monotonic()
    partial = path + ".tmp"
    subject = os.path.basename(path)
    try:
        wrong = zstd_to_file(packed, partial, size_bytes, md5)
        if not wrong and keysets.read_count(partial) != keys:
            wrong = f"says it holds {keysets.read_count(partial)} keys, expected {keys}"
        if wrong:
            os.unlink(packed)
            raise Failure(
                FAILED,
                subject,
                f"{wrong}; removed {packed}",
                "run again to download it anew, or name a mirror by --base-url",
            )
        keysets.publish(partial, path)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
    say(f"unpacked, md5 right, in {time.monotonic() - begin:.1f} s")


def zstd_to_file(packed, partial, size_bytes, md5):
    """Streams `zstd -d` into a file; returns what is wrong with the result, or None."""
    digest = hashlib.md5()
    size = 0
    # Errors go to a file: an unread pipe could stall the decompressor.
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            ["zstd", "-d", "-q", "-c", "--", packed],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process, open(partial, "wb") as file:
            try:
                while size <= size_bytes and (block := process.stdout.read(CHUNK)):
                    size += len(block)
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            finally:
                if size > size_bytes:
                    process.kill()
                process.stdout.close()
        errors.seek(0)
        message = errors.read(300).decode("utf-8", "replace").strip().replace("\n", " ")
    if size > size_bytes:
        return f"unpacks to more than the expected {size_bytes} bytes"
    if process.returncode != 0:
        return f"can't be unpacked ({message or process.returncode})"
    if size != size_bytes:
        return f"unpacks to {size} bytes, expected {size_bytes}"
    if digest.hexdigest() != md5:
        return f"md5 is {digest.hexdigest()}, pinned is {md5}"
    return None


def need_zstd():
    if not shutil.which("zstd"):
        raise Failure(
            USAGE, "zstd", "not on the PATH", "install the package zstd (scripts/setup names it)"
        )
