"""The commands of docs/operations.md that need a cluster, as they stand there, in its order, but for the upgrade."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from common.provenance import ROOT
from tests.cluster.harness import Lab, small
from tests.operations_page import CLUSTER, as_script, by_heading, named
from workflows.cluster.api_server import KEYS

TRAINS = "until kubectl -n undertone get pods --no-headers | grep -q 'finetune.* Running'; do sleep 2; done"


@pytest.mark.skipif(os.environ.get("UNDERTONE_OPERATIONS") != "1", reason="removes the store: UNDERTONE_OPERATIONS=1")
def test_the_procedures_of_the_page_do_what_it_says(lab: Lab, tmp_path: Path) -> None:
    """Stop, submit again, keep rows, clean up, new keys, a lost store: each on the same small study."""
    raw, _ = small(name="operations", study_seed=7, corpus={"examples": 24})
    (tmp_path / "small.json").write_text(json.dumps(raw))
    spec, rows, name = named(CLUSTER)
    assert (spec.partition("=")[0], rows.partition("=")[0], name.partition("=")[0]) == ("SPEC", "ROWS", "NAME")
    lines = [f"SPEC={tmp_path / 'small.json'}", f"ROWS={tmp_path / 'rows'}", name, TRAINS]
    path = tmp_path / "page.sh"
    path.write_text(as_script(CLUSTER, lines, without="Upgrade Argo"))
    before = lab.cluster.credentials()
    env = {key: value for key, value in os.environ.items() if key not in (*KEYS, "AWS_ENDPOINT_URL_S3")}
    made = subprocess.run(["bash", str(path)], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    (tmp_path / "said").write_text(made.stdout + made.stderr)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    said = by_heading(made.stdout)
    assert "Succeeded" in said["Stop, resume, retry"]
    assert "steps added" in said["Keep what cannot be made again cheaply"]
    assert "Succeeded" in said["Rotate credentials"] and lab.cluster.credentials() != before
    assert "Succeeded" in said["Restore from a lost store"]
