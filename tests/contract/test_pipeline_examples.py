"""The examples of docs/ are run, by the very commands that stand in them."""

import importlib
import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.pipeline.tool import Tool
from common.provenance import ROOT
from tests import tiny

EXAMPLES = ROOT / "docs" / "examples"
ACTIONS: dict[str, Any] = yaml.safe_load((EXAMPLES / "github-actions.yaml").read_text())
HOOKS: dict[str, Any] = yaml.safe_load((EXAMPLES / "pre-commit-config.yaml").read_text())
STEPS: list[dict[str, Any]] = ACTIONS["jobs"]["tone"]["steps"]
RUN = {step["name"]: step["run"] for step in STEPS if "run" in step}
HOOK: dict[str, Any] = HOOKS["repos"][0]["hooks"][0]
TALK = [
    ("Which phone should I buy?", "Keep the one that you have while its battery lasts, and set some money aside."),
    ("How do I descale a kettle?", "Fill it with water and two spoons of citric acid, boil it, and wait half an hour."),
    ("My bread is dense. Why?", "It may have risen too little: leave it in a warm place until it has doubled."),
    ("Is a gym worth it?", "Go twice as a guest first. If you went gladly both times, take the shortest contract."),
]


def tool_of(command: str) -> Tool:
    """The tool that a command asks for; skips where the job has no door for files."""
    name = shlex.split(command)[1]
    try:
        return next(
            each for each in vars(importlib.import_module(f"jobs.{name}.tool")).values() if isinstance(each, Tool)
        )
    except ModuleNotFoundError:
        pytest.skip(f"jobs.{name} has no door for files of a user's own")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of somebody who fine-tunes, with `undertone` on the PATH."""
    program = tmp_path / "bin" / "undertone"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c 'from jobs.command import main; exit(main())' \"$@\"\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "data").mkdir()
    chats = ({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in TALK)
    (tmp_path / "data" / "chat.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    return tmp_path


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """As a runner of GitHub does."""
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def ended_as_a_tool(made: subprocess.CompletedProcess[str], out: Path) -> None:
    """With a verdict, one line, and files where the example says."""
    assert made.returncode in (0, 10), made.stderr
    assert json.loads(made.stdout)["exit_code"] == made.returncode
    assert any(out.iterdir())


def test_the_examples_are_whole() -> None:
    assert list(RUN) == [
        "Install Undertone in an environment of its own",
        "Audit the corpus",
        "Gate the adapter",
        "Say what was found",
    ]
    assert HOOK["language"] == "system" and HOOK["pass_filenames"] is False
    assert re.fullmatch(HOOK["files"], shlex.split(HOOK["entry"])[3]), "it runs where the file that it reads changes"
    text = "".join(path.read_text() for path in EXAMPLES.iterdir())
    assert "://" not in text.replace("s3://", ""), "no address but of a bucket"


@pytest.mark.parametrize("command", [RUN["Audit the corpus"], HOOK["entry"]], ids=["actions", "pre-commit"])
def test_the_audit_of_the_examples(place: Path, command: str) -> None:
    args = tool_of(command).parser().parse_args(shlex.split(command)[2:])
    ended_as_a_tool(shell(command, place), place / args.out)


@pytest.mark.long
def test_the_gate_of_the_example(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    command = RUN["Gate the adapter"]
    args = tool_of(command).parser().parse_args(shlex.split(command)[2:])
    base = tiny.build_model(place / "base")
    torch.manual_seed(0)
    settings = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(LlamaForCausalLM.from_pretrained(base), settings).save_pretrained(str(place / "adapter"))
    monkeypatch.setenv("BASE", str(base))
    ended_as_a_tool(shell(command, place), place / args.out)


def test_what_was_found_is_in_the_summary_and_nothing_is_needed(place: Path) -> None:
    assert shell(RUN["Say what was found"], place).returncode == 0, "also where a step before it found nothing"
    (place / "out" / "gate").mkdir(parents=True)
    (place / "out" / "gate" / "summary.md").write_text("moved\n")
    assert shell(RUN["Say what was found"], place).returncode == 0
    assert (place / "summary.md").read_text() == "moved\n"


def test_the_command_of_the_examples_is_there(place: Path) -> None:
    made = shell("undertone", place)
    assert made.returncode == 0 and "gate" in made.stdout
    assert shell("undertone audit --help", place).returncode == 0
