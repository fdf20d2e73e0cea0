"""`rlrun list --remote`: one row for each run in an archive."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rlrun.archive import holdings
from rlrun.archive.holdings import Holding
from rlrun.cli import archive_options as given
from rlrun.cli import sentences, show, text
from rlrun.cli.archive_options import Reach
from rlrun.runs.layout import find_root

_HEADER = ("RUN", "STEPS", "NEWEST", "SIZE", "HERE")


def list_remote(reach: Reach, *, as_json: bool) -> None:
    """Show what an archive holds of each run, and whether that is here too."""
    with given.Archives() as archives:
        place = archives.open(reach, None)
        found = holdings.survey(place.storage, find_root(reach.root))
    if as_json:
        show.json_result({"archive": place.place, "runs": [asdict(one) for one in found]})
        return
    if not found:
        show.talk(f"there is no run in {place.place}")
        show.hints(sentences.commands_with_root([f"archive{reach.words}"], reach.root))
        return
    show.table(_HEADER, [row(one) for one in found])
    for one in found:
        if not one.has_records:
            show.warn(
                f"run '{one.run_name}' has no records in {place.place}, so its push was broken off "
                f"and only models can be restored; 'rlrun archive {one.run_name}' finishes it"
            )
    show.hints(next_commands(found, reach, reach.root))


def row(one: Holding) -> tuple[str, ...]:
    """Return the cells of a run."""
    newest = str(max(one.steps)) if one.steps else "-"
    return (one.run_name, str(len(one.steps)), newest, text.size(one.num_bytes), one.here)


def next_commands(found: Sequence[Holding], reach: Reach, root: Path | None) -> list[str]:
    """Return the commands that come next: restore what is not here, else check what is there."""
    words = given.for_restore(reach.words)
    away = [one.run_name for one in found if one.here in ("no", "partly") and one.has_records]
    command = (
        f"restore {away[0]}{words}" if away else f"verify {found[0].run_name} --remote{reach.words}"
    )
    return sentences.commands_with_root([command], root)
