"""What can be known of a configuration before a worker has it: are its places and packages there.

A mistake found here costs nothing: no run is made of it.  What only the worker can know (is this a
model, does it fit) is not looked at.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from rlrun.config.schema import RunConfig
from rlrun.errors import ConfigError, MissingExtraError

_FILE_ENDINGS = (".gguf", ".jsonl", ".json", ".safetensors")

Finder = Callable[[str], object | None]


def located(config: RunConfig, folder: Path) -> RunConfig:
    """Return the configuration with its places absolute: a run is resumed from other folders.

    Relative ones are taken from `folder`.  What is no file or folder there and may be a name (of
    the hub, or built in) stays as it is.  Raises ConfigError naming each place that is not there.
    """
    model, task = config.model, config.task
    problems: list[str] = []
    path = _place(model.path, folder, "model.path", problems)
    adapter = model.initial_adapter
    if adapter is not None:
        adapter = str(_resolved(adapter, folder))
        if not Path(adapter, "adapter_config.json").is_file():
            problems.append(
                f"model.initial_adapter: {adapter} is not a PEFT adapter folder (it has no "
                "adapter_config.json); give the model/ folder of a checkpoint"
            )
    data = None if task.path is None else _place(task.path, folder, "task.path", problems)
    archive = config.archive
    is_folder = archive.to is not None and archive.to != "local" and "://" not in archive.to
    target = str(_resolved(archive.to or "", folder)) if is_folder else archive.to
    if problems:
        raise ConfigError("\n".join(problems))
    return config.model_copy(
        update={
            "model": model.model_copy(update={"path": path, "initial_adapter": adapter}),
            "task": task.model_copy(update={"path": data}),
            "archive": archive.model_copy(update={"to": target}),
        }
    )


def _place(text: str, folder: Path, key: str, problems: list[str]) -> str:
    resolved = _resolved(text, folder)
    if resolved.exists():
        return str(resolved)
    if _can_only_be_a_path(text):
        problems.append(f"{key}: there is no {resolved}; give the right one (--set {key}=PATH)")
    return text


def _resolved(text: str, folder: Path) -> Path:
    return folder / Path(text).expanduser()


def _can_only_be_a_path(text: str) -> bool:
    return text.startswith(("/", ".", "~")) or text.endswith(_FILE_ENDINGS) or text.count("/") > 1


def require_data_package(config: RunConfig, find: Finder = find_spec) -> None:
    """Raise MissingExtraError if the task's data are on the hub and nothing here can read them."""
    path = config.task.path
    is_on_hub = config.task.name == "gsm8k" and (path is None or not Path(path).is_absolute())
    if is_on_hub and find("datasets") is None:
        raise MissingExtraError(
            f"reading {path or 'openai/gsm8k'} from the hub needs the datasets package; run "
            "'pip install datasets', or give a local copy with --set task.path=FOLDER (train.jsonl "
            "and test.jsonl)"
        )
