"""What a session works with: how far it goes, which prompts come when, and how they are drawn."""

from collections.abc import Callable

import pytest
from support.micro_task import MicroTask

from rlrun.config.load import load_config
from rlrun.errors import ConfigError
from rlrun.policy.device import find_device
from rlrun.tasks import checker
from rlrun.trainer import workbench
from rlrun.trainer.workbench import Workbench, horizon, sampling_at
from rlrun.types import Prompt, Split

MakeBench = Callable[..., Workbench]

pytestmark = pytest.mark.filterwarnings("ignore:The PEFT config:UserWarning")


def test_the_horizon_is_max_steps_or_what_the_epochs_come_to() -> None:
    def steps(*settings: str) -> int:
        return horizon(load_config("tiny", ["grpo.prompts_per_step=4", *settings]).config, 10)

    epochs = "train.max_steps=null"
    assert steps("train.max_steps=7") == 7
    assert steps(epochs, "train.num_epochs=2") == 5  # 20 prompts
    assert steps(epochs, "train.num_epochs=1") == 3  # 10 prompts, the last batch not full
    assert steps(epochs, "train.num_epochs=0.5", "grpo.updates_per_batch=3") == 6  # 2 batches


def test_the_temperature_is_linear_until_the_warmup_ends() -> None:
    schedule = "sampling.temperature={initial: 1.5, final: 0.5, warmup_steps: 4}"
    config = load_config("tiny", [schedule]).config
    found = [sampling_at(config, step).temperature for step in range(1, 8)]
    assert found == [1.5, 1.25, 1.0, 0.75, 0.5, 0.5, 0.5]


def test_without_a_warmup_the_temperature_is_the_final_one() -> None:
    schedule = "sampling.temperature={initial: 1.5, final: 0.5}"
    assert sampling_at(load_config("tiny", [schedule]).config, 1).temperature == 0.5


def ids(bench: Workbench, position: int, count: int) -> list[str]:
    return [encoded.prompt.id for encoded in bench.prompts_at(position, count)]


def test_every_epoch_has_every_prompt_once_in_an_order_of_its_own(bench: Workbench) -> None:
    first, second = ids(bench, 0, 10), ids(bench, 10, 10)
    everything = [prompt.id for prompt in MicroTask().prompts("train")]
    assert sorted(first) == sorted(second) == sorted(everything)
    assert first != second


def test_prompts_do_not_depend_on_how_the_stream_is_cut(bench: Workbench) -> None:
    stream = ids(bench, 0, 35)
    for position in range(30):
        assert ids(bench, position, 5) == stream[position : position + 5]


def test_another_seed_is_another_order(make_bench: object) -> None:
    assert callable(make_bench)
    assert ids(make_bench("seed=1"), 0, 10) != ids(make_bench("seed=2"), 0, 10)


def test_a_task_without_training_questions_is_refused(
    make_bench: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(make_bench)
    monkeypatch.setattr(MicroTask, "prompts", lambda *_: ())
    with pytest.raises(ConfigError, match=r"no training questions; see task\.path"):
        make_bench()


class Asking(MicroTask):
    """The micro task with this gold answer."""

    def __init__(self, gold: str) -> None:
        self._gold = gold

    def prompts(self, split: Split) -> tuple[Prompt, ...]:
        return tuple(Prompt(p.id, p.question, self._gold) for p in super().prompts(split))


@pytest.mark.parametrize("gold", ["9", "nine"])
def test_numbers_and_words_do_not_depend_on_the_checkers_version(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, gold: str
) -> None:
    monkeypatch.setattr(workbench, "make_task", lambda *_, **__: Asking(gold))
    assert make_bench().fingerprint["checker"] is None


def test_formulas_depend_on_the_checkers_version(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbench, "make_task", lambda *_, **__: Asking("9x"))
    assert make_bench().fingerprint["checker"] == checker.versions()


def test_bad_questions_are_refused_before_the_model_is_read(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bad(MicroTask):
        def prompts(self, split: Split) -> tuple[Prompt, ...]:
            raise ConfigError("q.jsonl:1 is bad")

    monkeypatch.setattr(workbench, "make_task", lambda *_, **__: Bad())
    monkeypatch.setattr(workbench, "build_policy", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ConfigError, match="is bad"):
        make_bench()


def test_the_workbench_of_a_run_is_always_at_step_0(bench: Workbench) -> None:
    assert bench.max_steps == 6
    assert bench.learner.scheduler.last_epoch == 0
    assert bench.learner.optimizer.state_dict()["state"] == {}
    assert bench.fingerprint["deterministic"] is True
    assert find_device("cpu") == bench.learner.policy.device
