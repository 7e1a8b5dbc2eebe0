"""The alert rules and the dashboard, as a real Prometheus takes them; it also reads the metrics."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

import pytest

from support import programs, stand_in
from support.daemon import ROOT, STAND_IN, Daemon
from support.site import Server, Site
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs" / "monitoring"
EXPRESSIONS = [
    target["expr"]
    for panel in json.loads((DOCS / "dashboard.json").read_text())["panels"]
    for target in panel["targets"]
]

LISTENING = re.compile(r'msg="Listening on" address=(\S+)')


@pytest.fixture(scope="module")
def promtool() -> str:
    return programs.require("promtool")


def run(*command: str | Path, given: str | None = None) -> str:
    done = subprocess.run(
        command, cwd=DOCS, input=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_alerts_fire_when_they_should_and_only_then(promtool: str) -> None:
    assert "10 rules found" in run(promtool, "check", "rules", "alerts.yml")
    assert "SUCCESS" in run(promtool, "test", "rules", "alerts-test.yml")


def test_dashboard_asks_in_valid_promql(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(EXPRESSIONS)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(EXPRESSIONS)} rules found" in run(promtool, "check", "rules", file)


def test_prometheus_scrapes_the_review_page_and_knows_every_metric_in_use(
    promtool: str, tmp_path: Path
) -> None:
    prometheus = programs.require("prometheus")
    box = tmp_path / "box"
    box.mkdir()
    site = Site(box)
    site.configure(metrics_file="digitd.prom")
    with Daemon(site, STAND_IN) as daemon, Server(site) as server:
        daemon.wait_for_log("is ready")
        site.drop("digit1.png", stand_in.png_like("fine"))
        site.wait_for_rows(1)
        assert daemon.stop() == 0  # writes the file once more
        text = (box / "digitd.prom").read_text()
        run(promtool, "check", "metrics", given=text)
        target = {
            "job_name": "digitd",
            "scrape_interval": "1s",
            "authorization": {"credentials_file": str(site.outbox / ".digitd.review.token")},
            "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}],
        }
        config = tmp_path / "prometheus.yml"
        config.write_text(json.dumps({"scrape_configs": [target]}))
        command = [
            *(prometheus, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"),
            "--web.listen-address=127.0.0.1:0",
        ]
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            until(lambda: bool(LISTENING.search(log.read_text())), "Prometheus' port")
            (address,) = LISTENING.findall(log.read_text())

            def ask(query: str) -> list[dict[str, object]]:
                asked = urllib.parse.urlencode({"query": query})
                url = f"http://{address}/api/v1/query?{asked}"
                try:
                    with urllib.request.urlopen(url, timeout=10) as reply:
                        found: list[dict[str, object]] = json.load(reply)["data"]["result"]
                        return found
                except OSError:  # it is starting
                    return []

            until(lambda: bool(ask('digitd_files_total{status="ok"} == 1')), "a scrape")
            used = "\n".join([*EXPRESSIONS, (DOCS / "alerts.yml").read_text()])
            names = set(re.findall(r"digitd_[a-z_]+", used))
            assert len(names) >= 8
            assert {name for name in names if not ask(name)} == set()
        finally:
            process.terminate()
            process.wait(60)
