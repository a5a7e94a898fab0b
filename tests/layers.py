#!/usr/bin/python3
"""Checks the layers of src/: which module may include which, in which module a third-party header may be, and which crates
the Rust code of the QUIC core stands on.

    tests/layers.py [ROOT]

The one table is tests/layers.toml; every dependency and every library in it has a reason. Fails on an include that is not in
the table, on a dependency that runs sideways or upwards, on a row that nothing uses any more, on clocks read outside
base/, on code that has a loop (net/ and above) and asks the system for the time instead, and on detached coroutines. Rust code reads no clock and does no I/O at all.
"""
import fnmatch
import re
import sys
import tomllib
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CLOCK = re.compile(r"(?i:clock)\s*::\s*now\s*\(")
CLOCK_CALL = re.compile(r"(?<!\.)(?<!->)(?<!UnixTime )\b(?:monotonic_now|unix_now|system_clock)\b")
DETACHED = re.compile(r"\bdetached\b")
# Calls only: `get_or_init(Instant::now)` makes the origin that all times of the core count from, and an Instant has no other
# constructor.
RUST_IO = re.compile(r"\b(?:Instant|SystemTime)::now\s*\(|\bstd::(?:env|fs|process|thread)\b"
                     r"|\b(?:Udp|Tcp|Unix)(?:Socket|Stream|Listener|Datagram)\b|\be?print(?:ln)?!")
# The C++ library has neither dots nor slashes in its names; of C's headers only the <c...> forms are used.
STANDARD = re.compile(r"^[a-z_0-9]+$")
COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def strip_comments(text):
    """Comments and string contents blanked, line structure kept; include lines keep their quoted names."""
    def blank(match):
        found = match.group(0)
        if found.startswith('"'):
            line_start = text.rfind("\n", 0, match.start()) + 1
            return found if text[line_start:match.start()].lstrip().startswith("#") else '""'
        return re.sub(r"[^\n]", " ", found)
    return COMMENT.sub(blank, text)


def is_test_code(name):
    return name.endswith(("_test.cc", "_fixture.h", "/testing.h")) or "/testing_" in name or "_testing." in name


def may_include_for_tests(row, name):
    return is_test_code(name) if row["tests"] is True else fnmatch.fnmatchcase(name, row["tests"])


class Layers:
    def __init__(self, root):
        self.root = Path(root)
        with open(self.root / "tests/layers.toml", "rb") as file:
            table = tomllib.load(file)
        self.level = {module: number for number, layer in enumerate(table["layers"]) for module in layer}
        self.dependencies = {(row["from"], row["to"]): row for row in table["dependency"]}
        self.libraries = table["library"]
        self.clocks = {row["file"]: row for row in table.get("clock", [])}
        self.crates = {row["name"]: row for row in table.get("crate", [])}
        self.used_dependencies, self.used_files, self.used_clocks = set(), set(), set()
        self.errors = []

    def check(self):
        self._check_table()
        sources = sorted(path for path in (self.root / "src").rglob("*") if path.suffix in (".h", ".cc"))
        for path in sources:
            self._check_file(path)
        for path in sorted((self.root / "src").rglob("*.rs")):
            self._check_rust(path)
        self._check_crates()
        present = {path.name for path in (self.root / "src").iterdir() if path.is_dir()}
        for module in sorted(present ^ set(self.level)):
            self.errors.append(f"tests/layers.toml: src/{module}/ is {'not on any layer' if module in present else 'gone'}")
        for source, target in sorted(set(self.dependencies) - self.used_dependencies):
            self.errors.append(f"tests/layers.toml: the dependency {source} -> {target} is used no more; remove it")
        for library in self.libraries:
            for files in library["files"]:
                if (library["name"], files) not in self.used_files:
                    self.errors.append(f"tests/layers.toml: {library['name']} is used no more in {files}; remove it")
        for name in sorted(set(self.clocks) - self.used_clocks):
            self.errors.append(f"tests/layers.toml: {name} asks no clock any more; remove it")
        return self.errors

    def _check_table(self):
        for (source, target), row in self.dependencies.items():
            name = f"tests/layers.toml: the dependency {source} -> {target}"
            if not row.get("why", "").strip():
                self.errors.append(f"{name} has no reason")
            if source not in self.level or target not in self.level:
                self.errors.append(f"{name} names a module that is on no layer")
            elif self.level[target] >= self.level[source] and not row.get("tests"):
                # Strictly downwards: so there can be no cycle either.
                self.errors.append(f"{name} does not run downwards")
        for library in self.libraries:
            if not library.get("why", "").strip():
                self.errors.append(f"tests/layers.toml: the library {library['name']} has no reason")
        for name, row in self.clocks.items():
            if not row.get("why", "").strip():
                self.errors.append(f"tests/layers.toml: the clock in {name} has no reason")
        for crate in self.crates.values():
            if not crate.get("why", "").strip():
                self.errors.append(f"tests/layers.toml: the crate {crate['name']} has no reason")

    def _check_file(self, path):
        name = path.relative_to(self.root).as_posix()
        module = path.relative_to(self.root / "src").parts[0]
        lines = strip_comments(path.read_text()).splitlines()
        for number, line in enumerate(lines, 1):
            where = f"{name}:{number}"
            match = INCLUDE.match(line)
            if match:
                self._check_include(where, name, module, match.group(1), match.group(2))
                continue
            if CLOCK.search(line) and module != "base" and not name.endswith("_test.cc"):
                self.errors.append(f"{where}: reads a clock; take a TimePoint, or base/clock.h")
            if module != "base" and CLOCK_CALL.search(line) and not is_test_code(name):
                self.used_clocks.add(name)
                if name not in self.clocks:
                    self.errors.append(f"{where}: asks the system for the time; ask the event loop (now, unix_now)")
            if DETACHED.search(line):
                self.errors.append(f"{where}: a detached coroutine has no owner; give it to a TaskGroup")

    def _check_rust(self, path):
        for number, line in enumerate(strip_comments(path.read_text()).splitlines(), 1):
            if found := RUST_IO.search(line):
                self.errors.append(f"{path.relative_to(self.root).as_posix()}:{number}: {found.group(0)} is I/O or a clock; "
                                   "the QUIC core is given time, randomness and bytes")

    def _check_crates(self):
        used = set()
        for path in sorted((self.root / "src").rglob("Cargo.toml")):
            with open(path, "rb") as file:
                manifest = tomllib.load(file)
            for table in ("dependencies", "dev-dependencies", "build-dependencies"):
                used |= set(manifest.get(table, {}))
                for crate in sorted(set(manifest.get(table, {})) - set(self.crates)):
                    self.errors.append(f"{path.relative_to(self.root).as_posix()}: the crate {crate} is not in tests/layers.toml")
        for crate in sorted(set(self.crates) - used):
            self.errors.append(f"tests/layers.toml: the crate {crate} is used no more; remove it")

    def _check_include(self, where, name, module, bracket, target):
        if bracket == '"':
            other = target.split("/")[0]
            if not (self.root / "src" / target).is_file():
                self.errors.append(f'{where}: "{target}" is no file of src/; third-party headers go in <>')
            elif other != module:
                self._check_dependency(where, name, module, other)
        elif not STANDARD.match(target):
            self._check_library(where, name, target)

    def _check_dependency(self, where, name, module, other):
        row = self.dependencies.get((module, other))
        if row is None:
            self.errors.append(f"{where}: {module} must not include {other} (no such dependency in tests/layers.toml)")
        elif row.get("tests") and not may_include_for_tests(row, name):
            self.errors.append(f"{where}: only tests of {module} may include {other}")
        else:
            self.used_dependencies.add((module, other))

    def _check_library(self, where, name, target):
        owners = [library for library in self.libraries
                  if any(fnmatch.fnmatchcase(target, pattern) for pattern in library["headers"])]
        if not owners:
            self.errors.append(f"{where}: <{target}> belongs to no library of tests/layers.toml")
            return
        # The narrowest pattern decides: boost/json.hpp is JSON's, not Asio's.
        for library in owners:
            for files in library["files"]:
                if fnmatch.fnmatchcase(name, files):
                    self.used_files.add((library["name"], files))
                    return
        allowed = ", ".join(files for library in owners for files in library["files"])
        self.errors.append(f"{where}: <{target}> is {owners[0]['name']}, which stays in {allowed}")


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    errors = Layers(root).check()
    for error in errors:
        print(error)
    print(f"layers: {len(errors)} fault{'s' * (len(errors) != 1)}" if errors else "layers: every include is where it may be")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
