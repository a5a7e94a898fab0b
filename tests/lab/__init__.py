"""A laboratory of real processes in network namespaces, for the end-to-end tests and the benchmark."""
import os


def require_namespaces():
    """For conftest.py: pytest was started where namespaces can be made."""
    if os.environ.get("INSIDE_LAB") != "1":
        import pytest
        pytest.exit("these tests need network namespaces: run them by tests/run, which takes pytest's arguments", returncode=2)
