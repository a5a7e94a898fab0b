"""What deploy/ says of the program is so: series and labels of the rules and dashboards, settings of the units."""
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"


def documented():
    """{series: {label: values}} of docs/metrics.md."""
    series = {}
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        row = re.match(r"\| `(culvert_\w+)` \| (\w+) \| (.*?) \|", line)
        if not row:
            continue
        name, kind, labels = row.groups()
        found = {label: {value.strip() for value in values.split(",")} for label, values in re.findall(r"`(\w+)`: ([^;|]*)", labels)}
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            series.setdefault(name + suffix, {}).update(found)
    return series


def expressions():
    """(file, expression) of each rule and panel."""
    for line in (DEPLOY / "prometheus/culvert.rules.yml").read_text().splitlines():
        if line.strip().startswith("expr: "):
            yield "culvert.rules.yml", line.split("expr: ", 1)[1]
    for path in sorted((DEPLOY / "grafana").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield path.name, target["expr"]


@pytest.mark.parametrize("file, expression", expressions())
def test_every_series_and_label_is_documented(file, expression):
    known = documented()
    used = re.findall(r"(culvert_\w+)(?:\{([^}]*)\})?", expression)
    assert used
    for name, selectors in used:
        assert name in known, f"{file}: {name} is not in docs/metrics.md"
        for label, operator, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', selectors):
            if label == "instance" or known[name].get(label) in (None, {"any"}):
                assert label in ("instance", "status") or label in known[name], f"{file}: {name} has no label {label}"
                continue
            if label == "status":
                continue
            matching = [each for each in known[name][label] if re.fullmatch(value if operator == "=~" else re.escape(value), each)]
            assert matching, f"{file}: {name} is never {label}={value}"
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        for label in grouped.split(", "):
            assert label in ("instance", "le") or any(label in known[name] for name, _ in used), f"{file}: no series has {label}"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed")
@pytest.mark.parametrize("command", [["check", "rules", "culvert.rules.yml"], ["test", "rules", "culvert.rules.test.yml"]])
def test_promtool_takes_the_rules_and_their_cases(command):
    done = subprocess.run(["promtool", *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case():
    rules = (DEPLOY / "prometheus/culvert.rules.yml").read_text()
    cases = (DEPLOY / "prometheus/culvert.rules.test.yml").read_text()
    for alert in re.findall(r"alert: (\w+)", rules):
        assert f'alertname="{alert}"' in cases


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", sorted(path.name for path in (DEPLOY / "systemd").glob("*.service")))
def test_systemd_takes_the_units(unit, tmp_path):
    # The program need not be installed here.
    text = (DEPLOY / "systemd" / unit).read_text().replace("/usr/local/bin/culvert", "/bin/true")
    (tmp_path / unit).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / unit)], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if unit in line]
    assert not complaints, complaints


def test_a_node_is_upgraded_with_the_arguments_that_it_is_started_with():
    text = (DEPLOY / "systemd/culvert-node.service").read_text()
    start, reload = (re.search(rf"^{name}=(.*)$", text, re.MULTILINE).group(1) for name in ("ExecStart", "ExecReload"))
    assert reload == start.replace(" node ", " node --upgrade ")
    assert "Type=notify" in text and "NotifyAccess=all" in text


def test_the_units_use_settings_that_exist():
    reference = (ROOT / "docs/configuration.md").read_text()
    for path in (DEPLOY / "systemd").glob("*.service"):
        for flag in re.findall(r" (--[a-z-]+)", re.search(r"ExecStart=(.*)", path.read_text()).group(1)):
            assert f"`{flag}" in reference, f"{path.name}: {flag}"
