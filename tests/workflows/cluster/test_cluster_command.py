"""The command line of the cluster, as far as it goes without one."""

from pathlib import Path

import pytest
import yaml

from common.errors import ExitCode
from common.provenance import ROOT
from workflows.cluster.command import main

DEMO = str(ROOT / "workflows" / "specs" / "demo.json")


def test_a_spec_as_it_is_shipped_goes_by_its_name_and_a_changed_one_by_its_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["submit", "--spec", DEMO, "--dry-run"]) == ExitCode.OK
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(
        (ROOT / "workflows" / "submit" / "demo.yaml").read_text()
    )
    assert main(["submit", "--spec", DEMO, "--set", "seeds=4", "--store", "s3://b/x", "--dry-run"]) == ExitCode.OK
    made = yaml.safe_load(capsys.readouterr().out)
    given = {parameter["name"]: parameter["value"] for parameter in made["spec"]["arguments"]["parameters"]}
    assert given["spec"].startswith("demo-") and given["store"] == "s3://b/x"
    words = ["submit", "--template", "release", "--spec", DEMO, "--releases", "s3://b/out", "--dry-run"]
    assert main(words) == ExitCode.OK
    made = yaml.safe_load(capsys.readouterr().out)["spec"]
    assert made["arguments"]["parameters"][1:] == [{"name": "releases", "value": "s3://b/out"}]


def test_what_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main(["submit", "--spec", "/nowhere.json"]) == ExitCode.SPEC
    assert capsys.readouterr().err == "error: cannot read /nowhere.json: No such file or directory\n"
    assert main(["submit", "--spec", DEMO, "--set", "seeds"]) == ExitCode.SPEC
    assert "not an override, --set: seeds" in capsys.readouterr().err


def test_ctrl_c_while_watching_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(namespace: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("workflows.cluster.command.Cluster", interrupted)
    assert main(["status", "--watch"]) == ExitCode.TRANSIENT
