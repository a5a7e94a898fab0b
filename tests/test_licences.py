"""scripts/licences reads licence expressions as SPDX does."""
import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

SCRIPT = str(Path(__file__).resolve().parents[1] / "scripts/licences")
LOADER = importlib.machinery.SourceFileLoader("licences", SCRIPT)
licences = importlib.util.module_from_spec(importlib.util.spec_from_loader("licences", LOADER))
LOADER.exec_module(licences)


@pytest.mark.parametrize("expression,allowed", [
    ("MIT", True),
    ("GPL-3.0-only", False),
    ("MIT OR GPL-3.0-only", True),
    ("GPL-3.0-only OR LGPL-2.1-or-later", False),
    ("MIT AND GPL-3.0-only", False),
    ("Apache-2.0 AND ISC", True),
    ("GPL-3.0-only AND MIT OR ISC", True),  # AND binds closer
    ("GPL-3.0-only AND (MIT OR ISC)", False),
    ("(MIT OR GPL-2.0-only) AND Unicode-3.0", True),
    ("Apache-2.0 WITH LLVM-exception", True),
    ("MIT WITH LLVM-exception", False),
    ("MIT/Apache-2.0", True),
    ("", False),
    ("(MIT", False),
    ("MIT)", False),
    ("(file LICENSE)", False),
])
def test_expressions(expression, allowed):
    assert licences.allowed(expression) is allowed
