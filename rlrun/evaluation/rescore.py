"""Grade stored completions again, without an engine: for new code, and after timeouts."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlrun.errors import RunNotFoundError, UsageError
from rlrun.evaluation import folder as folders
from rlrun.evaluation import questions, records, report
from rlrun.evaluation.folder import EvalFolder
from rlrun.evaluation.plan import Plan
from rlrun.evaluation.records import Key, Record
from rlrun.evaluation.request import Request
from rlrun.evaluation.targets import Target
from rlrun.evaluation.work import Job


@dataclass(frozen=True, slots=True)
class Rescored:
    """What grading a step again has changed."""

    folder: str  # its name
    label: str
    num_graded: int
    num_gained: int  # were not correct, and are
    num_lost: int


def rescore_run(request: Request) -> list[Rescored]:
    """Grade everything that is stored of a run with today's grader, and write the tables anew.

    Raises RunNotFoundError if nothing is stored.
    """
    dataset = request.dataset and questions.name_of(request.config.task, request.dataset)
    found = folders.evaluations_of(request.root, request.name, dataset)
    if not found:
        on = f" on {dataset}" if dataset else ""
        raise RunNotFoundError(
            f"run '{request.name}' was not evaluated{on} yet; 'rlrun eval {request.name} "
            "--all-steps' does it"
        )
    return [one for folder in found for one in _rescore_folder(request, folder)]


def _rescore_folder(request: Request, folder: EvalFolder) -> list[Rescored]:
    plan = folders.read_plan(folder)
    if plan is None:
        return []
    with folders.held(folder):
        job = _stored_job(request, folder, plan)
        stored = stored_targets(folder, plan)
        rescored = [_regrade(job, target, job.kept(target)) for target in stored]
        report.write(job, [one for one in stored if report.stands_for(job, one)])
    return rescored


def _stored_job(request: Request, folder: EvalFolder, plan: Plan) -> Job:
    """Return the job that a folder was made by, as far as grading needs it."""
    task, grader = questions.grader_of(request.config.task, plan.asked.dataset)
    return Job(folder, plan, folders.read_questions(folder), {}, task, grader, max_adapters=1)


def stored_targets(folder: EvalFolder, plan: Plan) -> list[Target]:
    """Return every model that completions are stored of, under this plan."""
    found: dict[tuple[str, str], Target] = {}
    for path in sorted(folder.path.glob("*/completions.jsonl")):
        label = path.parent.name.removesuffix(f"_{folder.dataset}")
        number = label.removeprefix("step_")
        step = int(number) if number.isdecimal() else None
        for record in records.lines(path):
            if record.get("plan") == plan.hash:
                model = str(record.get("model"))
                found[label, model] = Target(label, step, None, None, model)
    return list(found.values())


def retry_checks(job: Job, wanted: Sequence[Target]) -> None:
    """Grade those again whose checker timed out."""
    for target in wanted:
        timed_out = {
            key: record
            for key, record in job.kept(target).items()
            if record.verdict == "checker_timeout"
        }
        _regrade(job, target, timed_out)


def require_one_grader(job: Job) -> None:
    """Raise UsageError if completions are stored, of any step, that other code has graded.

    Their verdicts and new ones would not mean the same.
    """
    for target in stored_targets(job.folder, job.plan):
        kept = job.kept(target).values()
        num_others = sum(one.grader not in (None, job.grader) for one in kept)
        if num_others:
            path = job.folder.step(target.label).completions
            raise UsageError(
                f"{num_others} completions in {path} were graded by other code than today's; grade "
                "all that is stored again: the same command with --rescore, which starts no engine"
            )


def _regrade(job: Job, target: Target, kept: dict[Key, Record]) -> Rescored:
    changed = {
        key: records.graded(record, job.prompts[record.question], job.task, job.grader)
        for key, record in kept.items()
    }
    pairs = [(kept[key].verdict, record.verdict) for key, record in changed.items()]
    if any(changed[key] != record for key, record in kept.items()):
        path = job.folder.step(target.label).completions
        records.rewrite(path, changed, model=target.model_hash, plan=job.plan.hash)
    return Rescored(
        job.folder.path.name,
        target.label,
        num_graded=len(pairs),
        num_gained=sum(old != "correct" and new == "correct" for old, new in pairs),
        num_lost=sum(old == "correct" and new != "correct" for old, new in pairs),
    )
