"""Imports, in the fork server, all that a session needs, so that forks find it there."""

import peft.tuners.lora.model
import safetensors.torch
import transformers.models.llama.modeling_llama
import transformers.models.llama.tokenization_llama
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

# Commands are forked too; and the worker imports the others only when it holds its run.
import rlrun.cli.app
import rlrun.trainer.loop
import rlrun.trainer.preparation
import rlrun.trainer.worker

__all__ = ["AutoModelForCausalLM", "AutoTokenizer", "PreTrainedTokenizerFast", "peft",
           "rlrun", "safetensors", "transformers"]  # fmt: skip
