"""What holds for the code as a whole: its size, its words about itself, its tests, and its map."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rlrun"
TESTS = ROOT / "tests"
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50

TESTED_BY = {
    # a command's name says more than its file's
    "cli/config.py": "cli/test_config_command.py",
    "policy/builtin/build_tiny.py": "policy/test_builtin_tiny.py",
    # they have no behaviour but through the commands
    "cli/archive_options.py": "cli/test_archive.py",
    "cli/archive_report.py": "cli/test_archive.py",
    "cli/batch.py": "cli/test_archive.py",
    "cli/eval_options.py": "cli/test_evaluate.py",
    "cli/options.py": "cli/test_train.py",
    "cli/watch.py": "cli/test_train.py",
    "__main__.py": "e2e/test_real_sessions.py",
    # a command that is about an archive if it is told so
    "cli/list_remote.py": "cli/test_list_runs.py",
    "cli/prune_remote.py": "cli/test_prune.py",
    "cli/verify_remote.py": "cli/test_verify.py",
    # what it puts in place is what is restored
    "archive/placing.py": "archive/test_restore.py",
    # what it refuses is what the command refuses
    "sessions/admission.py": "cli/test_resume.py",
    # the steps of loading, told apart by the sentences that come out
    "config/keys.py": "config/test_load.py",
    "config/problems.py": "config/test_load.py",
    "config/schema.py": "config/test_load.py",
    "config/settings.py": "config/test_load.py",
    "config/validation.py": "config/test_load.py",
    "config/yaml_source.py": "config/test_load.py",
    # it is used by training, and is tested there
    "engines/chat.py": "policy/test_encoding.py",
    # they need vLLM, and have a folder of tests that do
    "engines/vllm_engine.py": "with_vllm/test_vllm_engine.py",
    "engines/vllm_start.py": "with_vllm/test_vllm_start.py",
    # the process and what works in it are one
    "serving/__main__.py": "serving/test_torch_backend.py",
    # the other end of the pipe is tested by what the client sees
    "engines/pipes.py": "engines/test_process.py",
    "engines/serve.py": "engines/test_client.py",
    # a session's life is one: it is tested as its process lives it
    "trainer/__main__.py": "trainer/test_worker.py",
    "trainer/loop.py": "trainer/test_worker.py",
    "trainer/preparation.py": "trainer/test_worker.py",
    "trainer/session.py": "trainer/test_worker.py",
}
DECLARATIONS = {
    "types.py",
    "errors.py",
    "engines/protocol.py",
    "engines/spec.py",
}  # nothing in them can go wrong

TREE_LINE = re.compile(r"(?P<indent>(?:│   )*)[├└]── (?P<name>\S+) +(?P<words>\S.*)")

each_module = pytest.mark.parametrize("name", MODULES)


def parsed(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def mirror_of(name: str) -> str:
    """Return the test file that a module has unless it is listed above."""
    path = Path(name)
    return path.with_name(f"test_{path.name}").as_posix()


def described() -> dict[str, str]:
    """Return what the README's tree says of each module; a folder stands for its __init__."""
    _, _, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition("\nrlrun/\n")
    tree, _, _ = rest.partition("```")
    return dict(_entries(tree))


def _entries(tree: str) -> Iterator[tuple[str, str]]:
    folder = ""
    for match in filter(None, map(TREE_LINE.fullmatch, tree.splitlines())):
        name = match["name"]
        if name.endswith("/"):
            folder, name = name, "__init__.py"
        elif not match["indent"]:
            folder = ""
        yield folder + name, match["words"]


@each_module
def test_a_module_says_what_it_is_for(name: str) -> None:
    assert ast.get_docstring(parsed(name))


@each_module
def test_a_module_is_not_too_long(name: str) -> None:
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@each_module
def test_a_function_fits_a_screen(name: str) -> None:
    functions = [
        node
        for node in ast.walk(parsed(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    sizes = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {f: size for f, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}


@each_module
def test_a_module_has_a_test_of_its_name_or_is_listed_with_the_reason(name: str) -> None:
    if name.endswith("__init__.py") or name in DECLARATIONS:
        return
    assert (TESTS / TESTED_BY.get(name, mirror_of(name))).is_file()


@pytest.mark.parametrize("name", sorted({*TESTED_BY, *DECLARATIONS}))
def test_a_module_that_is_listed_is_there_and_has_no_test_of_its_name(name: str) -> None:
    assert name in MODULES
    assert not (TESTS / mirror_of(name)).exists()


@each_module
def test_the_readme_names_every_module_in_its_docstrings_words(name: str) -> None:
    if name == "__init__.py":
        return  # the tree's root
    docstring = " ".join((ast.get_docstring(parsed(name)) or "").split())
    assert name in described()
    assert docstring.startswith(described()[name])


def test_the_readme_names_no_module_that_is_not_there() -> None:
    assert set(described()) <= set(MODULES)
