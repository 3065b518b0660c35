"""Reads core/LAYERS and fails on the first include that climbs, or on a library header outside its room."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = ROOT / "core"
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)


def read_layers():
    rooms, libraries = {}, []
    for line in (CORE / "LAYERS").read_text().splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        left, right = (part.strip() for part in line.split(":"))
        if left.startswith("library "):
            libraries.append((left.split()[1], right.split()))
        else:
            rooms[left] = set(right.split())
    return rooms, libraries


ROOMS, LIBRARIES = read_layers()


def sources():
    return [p for p in CORE.rglob("*") if p.suffix in (".c", ".h", ".cc")]


def includes(path):
    return INCLUDE.findall(path.read_text())


def climbing(room, included):
    target = included.split("/")[0]
    return target in ROOMS and target != room and target not in ROOMS.get(room, set())


def test_every_room_is_listed():
    folders = {p.name for p in CORE.iterdir() if p.is_dir()}
    assert folders == set(ROOMS)


def test_rooms_are_in_building_order():
    seen = set()
    for room, allowed in ROOMS.items():
        assert allowed <= seen, f"{room} may include {allowed - seen}, listed below it"
        seen.add(room)


def test_no_include_climbs():
    for path in sources():
        room = path.relative_to(CORE).parts[0]
        if room not in ROOMS:
            continue  # main.c and daemon.c see every room
        for kind, name in includes(path):
            assert not (kind == '"' and climbing(room, name)), f"{path.relative_to(ROOT)} includes {name}: {room} may not"


def test_the_check_itself_sees_a_climb():
    assert climbing("base", "api/api.h")
    assert not climbing("api", "base/str.h")


def test_library_headers_stay_home():
    for path in sources():
        where = str(path.relative_to(ROOT))
        for _, name in includes(path):
            for library, homes in LIBRARIES:
                if name.startswith(library):
                    assert any(where == home or where.startswith(home + "/") for home in homes), f"{where} includes {name}; only {homes} may"


def test_plugins_include_only_the_sdk():
    for path in (ROOT / "plugins").rglob("*.c"):
        for kind, name in includes(path):
            own = (path.parent / name).exists()
            assert kind == "<" or name == "cdpd_plugin.h" or own, f"{path.relative_to(ROOT)} includes {name}"
