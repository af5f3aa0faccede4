"""The fer-teach command."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from . import __version__, chapters, paths, regress, runner
from . import record as records
from .errors import FerTeachError

PROFILES = ("quick", "full", "paper")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 all well, 1 numbers drifted, 2 the user can mend it (one message, no traceback)."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _teller(warnings.showwarning)
            return options.action(options) or 0
    except FerTeachError as error:
        print(f"fer-teach: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        print("\nfer-teach: interrupted; start the same command again to go on.", file=sys.stderr)
        return 130


def _teller(otherwise):
    """Shows this package's warnings as sentences, each once: where in the code they arose is of no use to the user."""
    said = set()

    def told(message, category, *place):
        if not category.__module__.startswith("fer_teach"):
            otherwise(message, category, *place)
        elif str(message) not in said:
            said.add(str(message))
            print(f"fer-teach: {message}", file=sys.stderr)

    return told


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fer-teach", description=__doc__)
    parser.add_argument("--version", action="version", version=f"fer-teach {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="execute chapters and leave their notebooks and records")
    run.add_argument("chapters", nargs="*", metavar="CHAPTER", help="such as 01_deep_emotion (default: all)")
    run.add_argument("--profile", choices=PROFILES, default="quick")
    run.add_argument("--data", default="rendered", help="name of a data set (default: rendered)")
    run.add_argument("--root", type=_path, help="where your copy of the data set lies, or faces that you rendered")
    run.add_argument("--seed", type=_whole(0), default=0)
    run.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="more",
        help="another parameter of the chapter, such as WEAK=celeba for 05; may be given several times",
    )  # fmt: skip
    run.add_argument("--out", type=_path, help="gets CHAPTER.ipynb and CHAPTER.json (default: _build/run)")
    run.add_argument("--keep", type=_path, help="finished cells and checkpoints of long runs (default: OUT/kept)")
    run.add_argument("--force", action="store_true", help="execute even what did not change")
    run.add_argument(
        "--jobs", type=_whole(1), default=1, help="chapters at a time; the cores are shared out (default: 1)"
    )
    run.set_defaults(action=_run)

    compare = commands.add_parser("regress", help="run the quick profile and compare with baselines/")
    compare.add_argument("chapters", nargs="*", metavar="CHAPTER")
    compare.add_argument("--out", type=_path, help="where the runs and regress.html go (default: _build/run)")
    compare.add_argument("--force", action="store_true", help="execute even what did not change")
    compare.set_defaults(action=_regress)

    update = commands.add_parser("baseline", help="show how a chapter's quick run differs, then make it the baseline")
    update.add_argument("chapter", metavar="CHAPTER")
    update.add_argument("--out", type=_path)
    update.add_argument("--dry-run", action="store_true", help="show the difference only")
    update.set_defaults(action=_baseline)

    publish = commands.add_parser("publish", help="make the static book of the executed chapters")
    publish.add_argument("--executed", type=_path, help="folder of executed notebooks (default: _build/run)")
    publish.add_argument("--site", type=_path, help="where the book goes (default: _build/html)")
    publish.set_defaults(action=_publish)

    handout = commands.add_parser("handout", help="write chapters' notebooks without the solutions of their exercises")
    handout.add_argument("chapters", nargs="+", metavar="CHAPTER")
    handout.add_argument("--out", type=_path, required=True, help="folder that gets CHAPTER.ipynb")
    handout.set_defaults(action=_handout)

    grade = commands.add_parser("grade", help="check the exercises of notebooks that students handed in")
    grade.add_argument("notebooks", nargs="+", type=_path, metavar="NOTEBOOK")
    grade.add_argument("--out", type=_path, help="also write the marks as a table (.csv)")
    grade.add_argument("--seconds", type=float, default=60, help="for all checks of a notebook (default: 60)")
    grade.set_defaults(action=_grade)

    notebooks = commands.add_parser("notebooks", help="write the .ipynb without outputs beside each chapter")
    notebooks.add_argument("--check", action="store_true", help="write nothing; fail if one is not up to date")
    notebooks.set_defaults(action=_notebooks)

    data = commands.add_parser("data", help="data sets: what there is, and is yours complete?")
    kinds = data.add_subparsers(dest="kind", required=True, metavar="list|check|summary")
    listed = kinds.add_parser("list", help="a table of the data sets: what for, licence, access, found or not")
    listed.add_argument("--root", type=_path, help="where to look (default: $FER_TEACH_DATA)")
    listed.set_defaults(action=_data_list)
    check = kinds.add_parser("check", help="counts per class and split, duplicates, anything odd")
    check.add_argument("name")
    check.add_argument("--root", type=_path, help="folder or archive (default: $FER_TEACH_DATA)")
    check.set_defaults(action=_data_check)
    summary = kinds.add_parser("summary", help="a figure of your copy: class counts, image sizes, mean faces")
    summary.add_argument("name")
    summary.add_argument("--root", type=_path, help="folder or archive (default: $FER_TEACH_DATA)")
    summary.add_argument("--out", type=_path, help="where the picture goes (default: NAME.png here)")
    summary.set_defaults(action=_data_summary)
    _add_faces(commands)
    return parser


def _add_faces(commands) -> None:
    faces = commands.add_parser("faces", help="rendered faces: make more, or make the packed set anew")
    kinds = faces.add_subparsers(dest="kind", required=True, metavar="render|pack")
    render = kinds.add_parser("render", help="render faces into shards; a stopped run goes on where it was")
    render.add_argument("--out", type=_path, required=True, help="folder of the shards (.npz)")
    render.add_argument("--count", type=int, default=1000)
    render.add_argument("--seed", type=int, default=0)
    render.add_argument("--size", type=int, default=64, help="pixels (default: 64)")
    render.add_argument("--zoom", type=float, default=1.0, help="above 1 leaves a margin around the face")
    render.add_argument("--colour", action="store_true", help="RGB (default: grey)")
    render.add_argument("--balanced", action="store_true", help="every class equally often")
    render.add_argument("--first", type=int, default=0, help="number of the first person; other numbers, other people")
    render.add_argument("--workers", type=int, help="processes (default: one a core)")
    render.set_defaults(action=_faces_render)
    pack = kinds.add_parser("pack", help="render and pack the data set `rendered` that the package carries")
    pack.add_argument("--work", type=_path, required=True, help="folder for the shards; kept, so that it can go on")
    pack.add_argument("--workers", type=int)
    pack.set_defaults(action=_faces_pack)


def _whole(least: int, below: int = 2**32):
    """What argparse makes of a whole number: at least `least`, less than `below` (the seeds that numpy takes)."""

    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) < below):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {below - 1}")
        return int(text)

    return number


def _path(text: str) -> Path:
    try:
        return paths.given(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _chosen(names: list[str]) -> list[str]:
    chosen = names or chapters.names()
    for name in chosen:
        chapters.source(name)
    if not chosen:
        raise FerTeachError(f"There are no chapters in {paths.notebooks()}.")
    return chosen


def _out(options) -> Path:
    return (options.out or paths.build() / "run").resolve()


def _run(options) -> None:
    root = str(options.root) if options.root else None
    names = _chosen(options.chapters)
    more = runner.further(names, options.more)
    settings = runner.Settings(options.profile, options.data, root, options.seed, more)
    runner.run_all(names, settings, _out(options), jobs=options.jobs, force=options.force, keep=options.keep)


def _regress(options) -> int:
    out, tables, failed = _out(options), {}, []
    for chapter in _chosen(options.chapters):
        try:
            measured = runner.run(chapter, runner.Settings(), out, force=options.force)
            tables[chapter] = regress.lines_for(chapter, measured)
        except FerTeachError as error:
            failed.append(str(error))
            continue
        print(regress.as_text(chapter, tables[chapter]), flush=True)
    if tables:
        page = out / "regress.html"
        page.write_text(regress.as_html(tables))
        print(f"The same as a page: {page}")
    if failed:
        raise FerTeachError("not compared:\n" + "\n".join(failed))
    return int(any(line.verdict != "ok" for lines in tables.values() for line in lines))


def _baseline(options) -> None:
    (chapter,) = _chosen([options.chapter])
    measured = runner.run(chapter, runner.Settings(), _out(options))
    old = regress.read_baseline(chapter)
    if old:
        print(regress.as_text(chapter, regress.compare(old, measured)))
    if not options.dry_run:
        records.write(regress.baseline_from(measured, old), regress.baseline_path(chapter))
        print(f"written: {regress.baseline_path(chapter)}")


def _publish(options) -> None:
    from . import publish

    publish.publish(options.executed or paths.build() / "run", options.site or paths.build() / "html")


def _handout(options) -> None:
    from . import assignments

    paths.writable(options.out)
    for chapter in options.chapters:
        print(assignments.handout(chapter, options.out))


def _grade(options) -> None:
    from . import assignments

    marks, unread = [], []
    for path in options.notebooks:
        try:
            own = assignments.grade(path, options.seconds)
        except FerTeachError as error:
            unread.append(str(error))
            continue
        print(f"{path}: {own[0].chapter}, {sum(m.right for m in own)} of {len(own)} right", flush=True)
        for mark in own:
            print(f"  {mark.exercise:28} {'right' if mark.right else mark.message}", flush=True)
        marks += own
    if options.out:
        assignments.write_marks(marks, options.out)
        print(f"written: {options.out}")
    if unread:
        raise FerTeachError("\n".join(unread))


def _notebooks(options) -> int:
    stale = chapters.write_notebooks(check=options.check)
    for path in stale:
        print(f"{'not up to date' if options.check else 'written'}: {path}")
    return int(options.check and bool(stale))


def _data_list(options) -> None:
    from .data import check

    print(check.list_text(options.root))


def _data_check(options) -> None:
    from .data import check

    report = check.check(options.name, options.root)
    print(report, flush=True)
    if report.failed:
        why = "\n".join(f"No split {split!r}: {report.missing[split]}" for split in report.failed)
        raise FerTeachError(f"{options.name} is not whole.\n{why}")


def _faces_render(options) -> None:
    from .faces.produce import produce

    folder = produce(
        options.out, options.count, options.seed, options.size, options.zoom, options.colour, options.balanced,
        options.first, options.workers,
    )  # fmt: skip
    print(f"{options.count} faces: {folder}")


def _faces_pack(options) -> None:
    from .faces.pack import make

    sizes = make(options.work, options.workers)
    for split, size in sizes.items():
        print(f"{split:8} {size / 2**20:6.2f} MiB")


def _data_summary(options) -> None:
    from .data import overview

    print(f"written: {overview.write(options.name, options.root, options.out or Path(f'{options.name}.png'))}")


if __name__ == "__main__":
    sys.exit(main())
