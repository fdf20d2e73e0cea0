"""What a session had acknowledged, told by its file operations: the last one was never made."""


def saved_steps(calls: list[str]) -> set[int]:
    """Return the steps whose rename was synced."""
    steps, renamed = set(), None
    for call in calls[:-1]:
        if call.startswith("rename step_") and call.removeprefix("rename step_").isdigit():
            renamed = int(call.removeprefix("rename step_"))
        elif call == "fsync training_state" and renamed is not None:
            steps.add(renamed)
    return steps


def journaled_records(calls: list[str]) -> int:
    """Return how many records of the journal were synced."""
    return calls[:-1].count("fsync rollouts.jsonl")
