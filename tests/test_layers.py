"""The layers hold, and the check of them catches what it should."""
import shutil
import textwrap
from pathlib import Path

import pytest
from layers import Layers

ROOT = Path(__file__).resolve().parents[1]

TABLE = """
layers = [["base"], ["net", "route"], ["edge"]]
[[dependency]]
from = "net"
to = "base"
why = "bytes"
[[dependency]]
from = "edge"
to = "net"
why = "sockets"
[[dependency]]
from = "route"
to = "net"
tests = true
why = "a test's loop"
[[library]]
name = "asio"
headers = ["boost/asio/*"]
files = ["src/net/*"]
why = "one module"
[[clock]]
file = "src/net/loop.h"
why = "the loop's own"
[[crate]]
name = "bytes"
why = "buffers"
"""

FILES = {
    "tests/layers.toml": TABLE,
    "src/base/bytes.h": "#include <vector>\n",
    "src/net/tcp.h": '#include "base/bytes.h"\n#include <boost/asio/ip/tcp.hpp>\n',
    "src/net/loop.h": "TimePoint now() { return monotonic_now(); }\n",
    "src/route/table.cc": "int x;\n",
    "src/route/table_test.cc": '#include "net/tcp.h"\n',
    "src/edge/edge.cc": '#include "net/tcp.h"\n#include <memory>\n',
    "src/net/core/Cargo.toml": '[dependencies]\nbytes = "1"\n',
    "src/net/core/src/lib.rs": "use std::time::Instant;  // Instant::now() is the caller's\n",
}


def test_this_tree():
    assert Layers(ROOT).check() == []


@pytest.fixture
def tree(tmp_path):
    def make(**changes):
        shutil.rmtree(tmp_path / "tree", ignore_errors=True)
        for name, text in (FILES | changes.get("files", {})).items():
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return Layers(tmp_path / "tree").check()
    return make


def test_a_tree_within_its_table(tree):
    assert tree() == []


@pytest.mark.parametrize("name,text,complaint", [
    ("src/base/up.cc", '#include "net/tcp.h"\n', "base must not include net"),
    ("src/net/sideways.cc", '#include "route/table.cc"\n', "net must not include route"),
    ("src/route/up.cc", '#include "edge/edge.cc"\n', "route must not include edge"),
    ("src/edge/skip.cc", '#include "base/bytes.h"\n', "edge must not include base"),
    ("src/route/table.h", '#include "net/tcp.h"\n', "only tests of route may include net"),
    ("src/edge/asio.cc", "  #  include <boost/asio/post.hpp>\n", "is asio, which stays in src/net/*"),
    ("src/net/new.cc", "#include <curl/curl.h>\n", "<curl/curl.h> belongs to no library"),
    ("src/net/c.cc", "#include <stdint.h>\n", "<stdint.h> belongs to no library"),
    ("src/net/quoted.cc", '#include "curl/curl.h"\n', "is no file of src/"),
    ("src/net/clock.cc", "auto t = std::chrono::steady_clock::now();\n", "src/net/clock.cc:1: reads a clock"),
    ("src/net/alias.cc", "auto t = Clock::now(), u = system_clock ::now ();\n", "reads a clock"),
    ("src/net/ask.cc", "auto t = monotonic_now();\n", "src/net/ask.cc:1: asks the system for the time"),
    ("src/edge/wall.h", "auto t = culvert::unix_now();\n", "src/edge/wall.h:1: asks the system for the time"),
    ("src/edge/default.cc", "WallClock clock = unix_now;\n", "asks the system for the time"),
    ("src/net/spawn.cc", "co_spawn(x, y, boost::asio::detached);\n", "detached coroutine"),
    ("src/net/core/src/clock.rs", "let now = Instant::now();\n", "clock.rs:1: Instant::now( is I/O or a clock"),
    ("src/net/core/src/io.rs", "use std::net::UdpSocket;\n", "UdpSocket is I/O or a clock"),
    ("src/net/core/Cargo.toml", '[dependencies]\nbytes = "1"\n[dev-dependencies]\ntokio = "1"\n', "the crate tokio is not in"),
    ("src/net/core/Cargo.toml", "[dependencies]\n", "the crate bytes is used no more"),
    ("src/relay/new.cc", "int x;\n", "src/relay/ is not on any layer"),
])
def test_what_is_forbidden_is_caught(tree, name, text, complaint):
    errors = tree(files={name: text})
    assert any(complaint in error for error in errors), errors


@pytest.mark.parametrize("text", ['// #include "net/tcp.h"\n', '/*\n#include "net/tcp.h"\n*/\n',
                                  'const char* x = "steady_clock::now()";  // detached, steady_clock::now()\n'])
def test_comments_and_strings_are_not_code(tree, text):
    assert tree(files={"src/base/comment.cc": text}) == []


def test_clocks_are_allowed_in_base_and_in_tests(tree):
    assert tree(files={"src/base/clock.cc": "x = steady_clock::now();\n", "src/net/a_test.cc": "x = steady_clock::now();\n"}) == []


def test_the_time_is_asked_of_the_loop(tree):
    assert tree(files={"src/base/clock.cc": "x = monotonic_now();\n", "src/edge/a_test.cc": "x = monotonic_now();\n",
                       "src/edge/loop.cc": "x = loop.unix_now() + loop_->unix_now();\n"}) == []


def test_a_dependency_may_be_for_some_tests_only(tree):
    table = TABLE.replace("tests = true", 'tests = "src/route/sim/*"')
    errors = tree(files={"tests/layers.toml": table})
    assert any("src/route/table_test.cc:1: only tests of route may include net" in error for error in errors), errors
    files = {"tests/layers.toml": table, "src/route/table_test.cc": "int x;\n", "src/route/sim/world.h": '#include "net/tcp.h"\n'}
    assert tree(files=files) == []


@pytest.mark.parametrize("replace,by,complaint", [
    ('from = "edge"\nto = "net"', 'from = "edge"\nto = "base"', "edge -> base is used no more"),
    ('["edge"]]', '["edge"], ["gone"]]', "src/gone/ is gone"),
    ('layers = [["base"], ["net", "route"]', 'layers = [["net", "base"], ["route"]', "net -> base does not run downwards"),
    ('layers = [["base"], ["net", "route"]', 'layers = [["net"], ["base", "route"]', "net -> base does not run downwards"),
    ('why = "sockets"', 'why = " "', "edge -> net has no reason"),
    ('why = "buffers"', 'why = ""', "the crate bytes has no reason"),
    ('why = "the loop\'s own"', 'why = ""', "the clock in src/net/loop.h has no reason"),
    ('file = "src/net/loop.h"', 'file = "src/net/tcp.h"', "src/net/tcp.h asks no clock any more"),
    ('files = ["src/net/*"]', 'files = ["src/net/*", "src/edge/*"]', "asio is used no more in src/edge/*"),
])
def test_a_table_that_is_wrong_is_caught(tree, replace, by, complaint):
    assert replace in TABLE
    errors = tree(files={"tests/layers.toml": TABLE.replace(replace, by)})
    assert any(complaint in error for error in errors), errors
