"""Turns published files into sorted keys, and writes keys as SOSD files.

Each conversion takes the bytes of one or more published files and returns a numpy array of
strictly increasing uint64 keys. All steps are exact (integers, or doubles that are checked to
round trip), so the same bytes give the same keys on every machine.

The Hilbert curve is that of David Hilbert, "Ueber die stetige Abbildung einer Linie auf ein
Flaechenstueck", 1891. SOSD's osm_cellids (Kipf et al., "SOSD: A Benchmark for Learned Indexes",
2019) are cell ids of such a curve too.
"""

import hashlib
import json
import os
import re
import struct
import warnings

import numpy as np

GRID_ORDER = 31
MICRODEGREES = 1000000


class BadData(Exception):
    """A published file is not what its conversion expects; the text says what was found."""


# --- coast: the vertices of GeoJSON polygons and lines, as Hilbert-curve cell ids -----------------


def coordinate_texts(geojson):
    """Yields the text of each "coordinates" array in `geojson` (bytes).

    An array holds numbers only, so it ends where its object ends or the next member's name begins.
    """
    for match in re.finditer(rb'"coordinates"\s*:', geojson):
        begin = match.end()
        end = geojson.find(b"}", begin)
        end = len(geojson) if end < 0 else end
        name = geojson.find(b'"', begin, end)
        yield geojson[begin : end if name < 0 else name]


def read_points(geojson):
    """All vertices of `geojson` (bytes) in file order: int64 array of shape (points, 2), columns
    longitude and latitude in millionths of a degree.

    Numbers must have at most six decimals, which is what the files have: then the double nearest
    to the decimal is k / 1e6 for exactly one integer k, and taking k loses nothing.
    """
    parts = []
    for text in coordinate_texts(geojson):
        text = text.translate(None, b" \t\r\n")
        numbers = text.translate(None, b"[]").rstrip(b",")
        if not numbers:
            continue
        check_pairs(text)
        degrees = parse_numbers(numbers)
        micro = np.rint(degrees * MICRODEGREES)
        if not np.array_equal(micro / MICRODEGREES, degrees):
            raise BadData("GeoJSON: a coordinate has more than six decimals; expected at most six")
        parts.append(micro.astype(np.int64).reshape(-1, 2))
    if not parts:
        raise BadData("GeoJSON: no coordinates; expected at least one point")
    points = np.concatenate(parts)
    for column, name, limit in ((0, "longitude", 180), (1, "latitude", 90)):
        worst = int(np.abs(points[:, column]).max())
        if worst > limit * MICRODEGREES:
            raise BadData(f"GeoJSON: {name} {worst / MICRODEGREES} is beyond {limit} degrees")
    return points


def check_pairs(text):
    """Fails unless each innermost array of `text` (no blanks) holds two numbers: then what follows
    the numbers is a comma and a bracket in turn."""
    letters = np.frombuffer(text, dtype=np.uint8)
    digit = (letters[:-1] >= ord("0")) & (letters[:-1] <= ord("9"))
    after = letters[1:][digit & ((letters[1:] == ord(",")) | (letters[1:] == ord("]")))]
    if len(after) % 2 or (after[0::2] != ord(",")).any() or (after[1::2] != ord("]")).any():
        raise BadData("GeoJSON: a point has more or fewer than two numbers; expected [lon, lat]")


def parse_numbers(text):
    """The comma-separated decimals of `text` (bytes) as float64, each correctly rounded."""
    expected = text.count(b",") + 1
    try:
        with warnings.catch_warnings():
            # numpy warns and stops at the first thing that is no number: hence the count.
            warnings.simplefilter("ignore", DeprecationWarning)
            numbers = np.fromstring(text, dtype=np.float64, sep=",")
    except ValueError as error:
        raise BadData(f"GeoJSON: {error}") from error
    if len(numbers) != expected:
        raise BadData(f"GeoJSON: number {len(numbers) + 1} of {expected} can't be read")
    return numbers


def to_grid(points):
    """Cells (x, y) of the 2^31 x 2^31 grid over the whole globe, as two uint32 arrays.

    x = floor((lon + 180) / 360 * 2^31), y = floor((lat + 90) / 180 * 2^31), in exact integers; the
    far edges (longitude 180, latitude 90) belong to the last cell.
    """
    cells = []
    for column, half in ((0, 180 * MICRODEGREES), (1, 90 * MICRODEGREES)):
        # Below 2^60: 3.6e8 * 2^31 = 7.7e17.
        scaled = ((points[:, column] + half) << GRID_ORDER) // (2 * half)
        cells.append(np.minimum(scaled, (1 << GRID_ORDER) - 1).astype(np.uint32))
    return cells[0], cells[1]


def hilbert_ids(x, y, order=GRID_ORDER):
    """Position of each cell (x, y) on the Hilbert curve of the given order (at most 31): uint64.

    Walks from the largest quadrant to the smallest. The curve starts at (0, 0), ends at
    (2^order - 1, 0), and visits the quadrants in the order (0,0), (0,1), (1,1), (1,0); within the
    first and the last of them it is mirrored, which the swap (and complement) undoes.
    """
    ids = np.empty(len(x), dtype=np.uint64)
    chunk = 1 << 15  # stays in the L2 cache through the 31 rounds
    for begin in range(0, len(x), chunk):
        cx = x[begin : begin + chunk].astype(np.uint32)
        cy = y[begin : begin + chunk].astype(np.uint32)
        d = np.zeros(len(cx), dtype=np.uint64)
        for level in range(order - 1, -1, -1):
            right = (cx >> np.uint32(level)) & np.uint32(1)
            upper = (cy >> np.uint32(level)) & np.uint32(1)
            d <<= np.uint64(2)
            d |= (np.uint32(3) * right) ^ upper
            # All ones where the quadrant is (1,0), where it is (0,0) or (1,0).
            flip = np.negative(right & ~upper)
            swap = np.negative(np.uint32(1) - upper)
            cx ^= flip
            cy ^= flip
            exchanged = (cx ^ cy) & swap
            cx ^= exchanged
            cy ^= exchanged
        ids[begin : begin + chunk] = d
    return ids


def coastline_keys(files):
    """Keys of the vertices of all GeoJSON `files` (an iterable of bytes): sorted, distinct."""
    cells = []
    for geojson in files:
        x, y = to_grid(read_points(geojson))
        # Most vertices occur twice or more: the curve is walked once for each.
        cells.append(np.unique(x.astype(np.uint64) << np.uint64(32) | y))
    if not cells:
        raise BadData("GeoJSON: no file")
    cells = np.unique(np.concatenate(cells))
    ids = hilbert_ids((cells >> np.uint64(32)).astype(np.uint32), cells.astype(np.uint32))
    ids.sort()
    return ids


# --- npm_downloads: running sum of popularity ----------------------------------------------------


def download_keys(files):
    """Running sum of (count + 1) over one JSON object {"package": count, ...} in file order."""
    (text,) = files
    try:
        # The hook keeps file order and repeated names; only an object becomes a tuple.
        counts = json.loads(text, object_pairs_hook=lambda pairs: tuple(c for _, c in pairs))
    except ValueError as error:
        raise BadData(f"JSON: {error}") from error
    if not isinstance(counts, tuple) or not counts:
        raise BadData("JSON: expected one object with a count for each package")
    for count in counts:
        if type(count) is not int or not 0 <= count < 1 << 53:
            raise BadData(f"JSON: {str(count)[:40]} is no download count; expected 0 or more")
    if sum(counts) + len(counts) >= 1 << 64:
        raise BadData("JSON: the sum of the counts is beyond 64 bits")
    return np.cumsum(np.array(counts, dtype=np.uint64) + np.uint64(1), dtype=np.uint64)


# --- ipv4: the start of each announced range ------------------------------------------------------


def range_start_keys(files):
    """First column (an IPv4 address as a number) of one CSV file: sorted, distinct."""
    (text,) = files
    column = re.findall(rb"^([^,\r\n]*)", text, re.MULTILINE)
    starts = []
    for line, cell in enumerate(column, 1):
        if not cell and line == len(column):
            continue  # after the last line's end
        if not cell.isdigit() or int(cell) >= 1 << 32:
            shown = cell[:40].decode("utf-8", "replace")
            raise BadData(f"CSV, line {line}: '{shown}' is no IPv4 address as a number")
        starts.append(int(cell))
    if not starts:
        raise BadData("CSV: no line; expected at least one range")
    return np.unique(np.array(starts, dtype=np.uint64))


CONVERSIONS = {
    "coastline": coastline_keys,
    "downloads": download_keys,
    "range_starts": range_start_keys,
}

# --- SOSD files: u64 count, then the sorted keys, little-endian ----------------------------------


def sosd_size(keys, key_bits):
    """Size in bytes of a SOSD file of that many keys."""
    return 8 + keys * key_bits // 8


def read_count(path):
    """The count in the first 8 bytes of a SOSD file, or None when the file is shorter."""
    with open(path, "rb") as file:
        head = file.read(8)
    return struct.unpack("<Q", head)[0] if len(head) == 8 else None


def sosd_parts(keys):
    """Head and body of the SOSD file of sorted uint64 keys, as bytes-like objects."""
    if len(keys) > 1 and not bool((keys[1:] >= keys[:-1]).all()):
        raise BadData("the keys are not sorted")
    body = memoryview(np.ascontiguousarray(keys, dtype="<u8")).cast("B")
    return struct.pack("<Q", len(keys)), body


def sosd_sha256(keys):
    """The sha256 that a SOSD file of these keys has."""
    digest = hashlib.sha256()
    for part in sosd_parts(keys):
        digest.update(part)
    return digest.hexdigest()


def write_sosd(path, keys):
    """Writes uint64 keys as a SOSD file that appears whole or not at all."""
    partial = path + ".tmp"
    try:
        with open(partial, "wb") as file:
            for part in sosd_parts(keys):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        publish(partial, path)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def publish(partial, path):
    """Gives a finished file its name, so that the name survives a crash too."""
    os.replace(partial, path)
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
