"""Exports: a folder that is the model, whichever engine reads it."""

import os
import sys
import time
from pathlib import Path

import pytest
import torch
from support.policies import some_batch

from rlrun.engines.process import WorkerProcess
from rlrun.errors import EngineError
from rlrun.policy.model import load_model
from rlrun.serving import export


def test_what_is_written_is_the_same_model(micro_model: Path, tmp_path: Path) -> None:
    export.export(str(micro_model), "float32", tmp_path / "plain")
    before, tokenizer, _ = load_model(str(micro_model), "float32")
    after, same_tokenizer, source = load_model(str(tmp_path / "plain"), "float32")
    assert source.gguf_file is None
    with torch.no_grad():
        tokens = some_batch().input_ids
        assert torch.equal(before(input_ids=tokens).logits, after(input_ids=tokens).logits)
    assert tokenizer("12+3=") == same_tokenizer("12+3=")


def run(tmp_path: Path, model: str) -> object:
    command = [
        sys.executable, "-m", "rlrun.serving",
        "--export", str(tmp_path / "plain"), "--model", model,
    ]  # fmt: skip
    process = WorkerProcess(command, name="export", environ=os.environ, log=tmp_path / "log")
    try:
        return process.receive(time.monotonic() + 120)
    finally:
        process.kill()


def test_its_process_says_when_it_is_done(micro_model: Path, tmp_path: Path) -> None:
    assert run(tmp_path, str(micro_model)) == {"number": 0, "done": True}
    assert (tmp_path / "plain" / "model.safetensors").is_file()


def test_a_model_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(EngineError, match=r"ended on its own: struct\.error: "):
        run(tmp_path, str(tmp_path / "broken.gguf"))
