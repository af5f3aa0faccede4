"""Chapters as modules, records, baselines, sweeps and the runner, on a miniature book."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fer_teach import chapters, cli, paths, record, regress, runner, sweep, tables
from fer_teach.data import rendered
from fer_teach.errors import DataError, FerTeachError


class Tiny(list):
    name, fingerprint = "tiny", "0" * 16


@pytest.fixture
def begun(tiny_book):
    record.begin("07_tiny", "quick", {"train": Tiny([1, 2, 3])}, 0)
    yield tiny_book
    record._state.clear()


def rewrite(book, old, new):
    path = book / "notebooks" / "07_tiny.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    chapters._read.cache_clear()


# Chapters -----------------------------------------------------------------------------------------------------------


def test_loading_a_chapter_runs_its_method_cells_alone(tiny_book):
    module = chapters.load("07_tiny")
    assert module.double(4) == 8
    assert not hasattr(module, "Tiny")
    assert chapters.load("07_tiny") is module
    rewrite(tiny_book, "FACTOR = 2", "FACTOR = 3")
    assert chapters.load("07_tiny").double(4) == 12


def test_a_method_cell_must_not_run_anything(tiny_book):
    rewrite(tiny_book, "FACTOR = 2", "FACTOR = 2\nprint(FACTOR)")
    with pytest.raises(FerTeachError, match=r"print\(FACTOR\)"):
        chapters.load("07_tiny")


def test_an_unknown_chapter_is_answered_with_the_known_ones(tiny_book):
    with pytest.raises(FerTeachError, match="07_tiny"):
        chapters.load("08_missing")


def test_the_method_hash_follows_behaviour_and_what_is_reached(tiny_book):
    whole, part = chapters.method_hash("07_tiny"), chapters.method_hash("07_tiny", {"double"})
    rewrite(tiny_book, "Twice x.", "Two times x.")
    assert (chapters.method_hash("07_tiny"), chapters.method_hash("07_tiny", {"double"})) == (whole, part)
    rewrite(tiny_book, "    return x\n", "    return -x\n")
    assert chapters.method_hash("07_tiny") != whole
    assert chapters.method_hash("07_tiny", {"double"}) == part
    rewrite(tiny_book, "FACTOR = 2", "FACTOR = 5")
    assert chapters.method_hash("07_tiny", {"double"}) != part


def test_what_a_reader_edits_in_a_notebook_changes_the_method_hash(tiny_book, monkeypatch):
    import __main__

    def hashes():
        return chapters.method_hash("07_tiny"), chapters.method_hash("07_tiny", {"double"})

    printed = [c.source for c in chapters.cells("07_tiny") if c.cell_type == "code"]
    before = hashes()
    monkeypatch.setattr(__main__, "In", ["", *printed, "%time 1"], raising=False)
    assert hashes() == before  # every cell was run as it stands in the chapter
    __main__.In.append("def other(x):\n    return 3")
    assert hashes() == before  # no definition of the chapter's
    __main__.In.append("FACTOR = 5")
    assert hashes()[0] != before[0]
    assert hashes()[1] != before[1]
    __main__.In.append("FACTOR = 2")  # taken back
    assert hashes() == before


def test_notebooks_are_the_same_text_every_time(tiny_book):
    (made,) = chapters.write_notebooks()
    assert chapters.write_notebooks(check=True) == []
    assert json.loads(made.read_text())["metadata"]["kernelspec"]["language"] == "python"
    rewrite(tiny_book, "FACTOR = 2", "FACTOR = 4")
    assert chapters.write_notebooks(check=True) == [made]


# Records ------------------------------------------------------------------------------------------------------------


def test_a_record_is_written_as_it_grows_and_fits_its_schema(begun, tmp_path, monkeypatch):
    target = tmp_path / "record.json"
    monkeypatch.setenv(record.VARIABLE, str(target))
    record.record(accuracy=0.5, n=10, interval=(0.2, 0.8))
    record.table("rows", [{"a": 1, "b": "x"}])
    held = record.read(target)
    assert held["metrics"]["accuracy"] == {"value": 0.5, "n": 10, "interval": [0.2, 0.8]}
    assert held["tables"]["rows"] == [{"a": 1, "b": "x"}]
    with pytest.raises(FerTeachError, match="before"):
        record.record(accuracy=0.6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None])
def test_only_finite_numbers_are_recorded(begun, value):
    with pytest.raises(FerTeachError, match="accuracy"):
        record.record(accuracy=value)


def test_a_mean_over_seeds_has_an_interval_and_one_seed_has_none(begun):
    record.record_mean("three", [0.1, 0.2, 0.3], 50)
    record.record_mean("one", [0.1], 50)
    metrics = record.current()["metrics"]
    assert metrics["three"]["value"] == pytest.approx(0.2)
    assert metrics["three"]["interval"] == pytest.approx([0.2 - 0.24841, 0.2 + 0.24841], abs=1e-4)  # 4.3 / 10 sqrt 3
    assert metrics["one"] == {"value": 0.1, "n": 50, "interval": None}


def test_numbers_from_an_earlier_edition_of_the_faces_say_so(begun):
    held = record.current()
    assert held["data"]["edition"] == rendered.edition()
    for name, edition, older in (
        ("rendered", rendered.edition(), False),
        ("rendered", "0123456789abcdef", True),
        ("rendered", None, True),
        ("ferplus", None, False),
    ):
        held["data"]["name"] = name
        held["data"].pop("edition", None)
        held["data"] |= {} if edition is None else {"edition": edition}
        assert record.superseded(held) == older
        assert ("earlier edition" in tables.provenance(held)) == older
    held["data"]["counts"] = {"train": 3, "rendered train": 3}  # photographs, and maps learned from rendered faces
    assert record.superseded(held)


def test_what_is_no_record_is_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"schema": 1}')
    with pytest.raises(FerTeachError, match=r"x\.json"):
        record.read(tmp_path / "x.json")


def test_drift_missing_and_new_metrics_are_told_apart():
    baseline = {"metrics": {name: {"value": 1.0, "tolerance": 0.1} for name in ("same", "off", "gone")}}
    measured = {"metrics": {"same": {"value": 1.05}, "off": {"value": 1.2}, "extra": {"value": 3.0}}}
    verdicts = {line.metric: line.verdict for line in regress.compare(baseline, measured)}
    assert verdicts == {"same": "ok", "off": "drift", "gone": "missing", "extra": "new"}


def test_the_book_s_own_warnings_stay_on_the_page_and_reach_the_terminal(tmp_path):
    import nbformat

    streams = [
        ("stderr", "3 %|bar\nx.py:3: CollapseWarning: all 9 images\n  warn()\nx.py:4: UserWarning: theirs\n"),
        ("stdout", "9\n"),
    ]
    outputs = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in streams]
    cells = [nbformat.v4.new_code_cell("predict()", outputs=outputs), nbformat.v4.new_code_cell("x = 1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "page.ipynb")
    assert runner._tidy(tmp_path / "page.ipynb") == ["CollapseWarning: all 9 images"]
    first, second = nbformat.read(tmp_path / "page.ipynb", as_version=4).cells
    assert [output.text for output in first.outputs] == ["9\n", "CollapseWarning: all 9 images\n"]
    assert second.outputs == []


def test_a_worker_ends_with_its_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, os, signal, time\n"
        "from fer_teach.runner import _end_with_parent\n"
        "def work(started):\n    _end_with_parent()\n    started.set()\n    time.sleep(120)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    started = context.Event()\n"
        "    context.Process(target=work, args=(started,)).start()\n"
        "    print('alive' if started.wait(60) else 'late', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    start = time.monotonic()  # the pipe is the worker's too: it is read to its end when both are gone
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, timeout=110)
    assert (done.stdout.strip(), done.returncode) == ("alive", -9)
    assert time.monotonic() - start < 100


def test_other_vector_instructions_are_another_execution(tiny_book, monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    before = runner.fingerprint("07_tiny", runner.Settings())
    assert runner.fingerprint("07_tiny", runner.Settings()) == before
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert runner.fingerprint("07_tiny", runner.Settings()) != before


# Sweeps -------------------------------------------------------------------------------------------------------------

CALLS = []


def cell(x, seed):
    CALLS.append((x, seed))
    if x == 13:
        raise RuntimeError("unlucky")
    return {"y": 10 * x + seed}


def test_a_stopped_sweep_goes_on_and_a_finished_one_costs_nothing(begun):
    CALLS.clear()
    with pytest.raises(RuntimeError):
        sweep([{"x": 1, "seed": 0}, {"x": 13, "seed": 0}], cell)
    frame = sweep({"x": [1, 2], "seed": [0, 1]}, cell)
    assert CALLS == [(1, 0), (13, 0), (1, 1), (2, 0), (2, 1)]
    assert list(frame["y"]) == [10, 11, 20, 21]
    sweep({"x": [1, 2], "seed": [0, 1]}, cell)
    assert len(CALLS) == 5


def test_a_record_counts_what_earlier_runs_left(begun):
    sweep({"x": [1, 2], "seed": [0]}, cell)
    sweep({"x": [1, 2], "seed": [0]}, cell)
    assert record.current()["reused"] == 0  # its own cells, read twice
    time.sleep(0.05)
    record.begin("07_tiny", "quick", {"train": Tiny([1])}, 0)
    sweep({"x": [1, 2, 3], "seed": [0]}, cell)
    assert record.current()["reused"] == 2
    assert "besides 2 results kept from earlier runs" in tables.provenance(record.current())
    assert "minutes of computing" not in tables.provenance(record.current())  # no time at all
    run = paths.build() / "a training"
    run.mkdir(parents=True)
    (run / "checkpoint.ckpt").touch()
    (run / "history.csv").write_text("epoch,seconds\n1,100.5\n2,99.5\n")
    around = paths.build() / "the cell around it.json"
    around.write_text('{"seconds": 300}')
    for file, end in ((run / "checkpoint.ckpt", 900), (around, 1000)):
        os.utime(file, (end, end))
    record.reuse(run / "checkpoint.ckpt", around)
    assert record.current()["reused_seconds"] == pytest.approx(300, abs=1)
    assert "besides 4 results kept from earlier runs (5 minutes of computing)" in tables.provenance(record.current())
    (run / "history.csv").unlink()
    other = run.with_name("another")
    run.rename(other)
    record.reuse(other / "checkpoint.ckpt")  # stopped before it could say how long it took
    assert record.current()["reused"] == 5


def test_other_data_or_code_is_another_cell(begun):
    CALLS.clear()

    def doubling(x):
        CALLS.append(x)
        return {"y": chapters.load("07_tiny").double(x)}

    def by_name(x):
        CALLS.append(x)
        return {"y": double(x)}  # noqa: F821 - the name that the key must follow

    sweep({"x": [1]}, doubling)
    record.begin("07_tiny", "quick", {"train": type("Other", (Tiny,), {"fingerprint": "1" * 16})([1])}, 0)
    sweep({"x": [1]}, doubling)
    assert CALLS == [1, 1]
    record.begin("07_tiny", "quick", {"train": type("Told", (Tiny,), {"knowledge": "2" * 16})([1])}, 0)
    sweep({"x": [1]}, doubling)
    assert CALLS == [1, 1, 1]
    by_name.__globals__["double"] = lambda x: 2 * x
    sweep({"x": [1]}, by_name)
    rewrite(begun, "FACTOR = 2", "FACTOR = 3")
    sweep({"x": [1]}, by_name)
    assert len(CALLS) == 5


def test_two_processes_share_a_sweep(begun):
    script = begun / "share.py"
    script.write_text(
        "import sys, time, pathlib\n"
        "from fer_teach import paths, record, sweep\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "paths.root = lambda: root\n"
        "paths.build = lambda: root / '_build'\n"
        "class Tiny(list):\n    name, fingerprint = 'tiny', '0' * 16\n"
        "def slow(x):\n"
        "    with (root / 'calls').open('a') as f: f.write(f'{x}\\n')\n"
        "    time.sleep(0.2)\n    return {'y': x}\n"
        "record.begin('07_tiny', 'quick', {'train': Tiny([1])}, 0)\n"
        "print(list(sweep({'x': list(range(6))}, slow)['y']))\n"
    )
    both = [
        subprocess.Popen([sys.executable, script, begun], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == ["[0, 1, 2, 3, 4, 5]"] * 2
    assert sorted((begun / "calls").read_text().split()) == list("012345")


# The runner ---------------------------------------------------------------------------------------------------------


def without_time(content):
    return {key: value for key, value in content.items() if key not in record.TIME_FIELDS}


def test_a_run_leaves_notebook_and_record_and_is_not_repeated(tiny_book):
    out, said = tiny_book / "out", []
    first = runner.run("07_tiny", runner.Settings(seed=3), out, say=said.append)
    assert first["metrics"]["doubled"]["value"] == 6
    assert first["seed"] == 3
    left = {p.name for p in out.glob("*")} - {".07_tiny.lock"}
    assert left == {".07_tiny.fingerprint", "07_tiny.ipynb", "07_tiny.json"}
    runner.run("07_tiny", runner.Settings(seed=3), out, say=said.append)
    assert "unchanged" in said[-1]
    again = runner.run("07_tiny", runner.Settings(seed=3), out, force=True, say=said.append)
    assert without_time(again) == without_time(first)
    rewrite(tiny_book, "FACTOR = 2", "FACTOR = 3")
    assert runner.run("07_tiny", runner.Settings(seed=3), out)["metrics"]["doubled"]["value"] == 9


def test_a_changed_table_of_data_is_another_fingerprint(tiny_book):
    table = tiny_book / "mine.csv"
    table.write_text("emotion,pixels,Usage\n")
    settings = runner.Settings(data="fer2013", root=str(table))
    before = runner.fingerprint("07_tiny", settings)
    assert runner.fingerprint("07_tiny", settings) == before
    table.write_text("emotion,pixels,Usage\n0,1,Training\n")
    assert runner.fingerprint("07_tiny", settings) != before


def test_further_parameters_reach_the_chapter_and_its_fingerprint(tiny_book, monkeypatch):
    rewrite(tiny_book, "SEED = 0", "SEED = 0\nWEAK = None\nWEAK_ROOT = None")
    (tiny_book / "jaffe").mkdir()
    (tiny_book / "jaffe" / "KA.AN1.39.tiff").write_bytes(b"1")
    monkeypatch.chdir(tiny_book)
    words = ["WEAK=jaffe", "WEAK_ROOT=jaffe"]
    settings = runner.Settings(more=runner.further(["07_tiny"], words))
    assert settings.parameters()["WEAK"] == "jaffe"
    assert settings.parameters()["WEAK_ROOT"] == str(tiny_book / "jaffe")
    assert runner.further(["07_tiny"], ["WEAK=3"]) == (("WEAK", 3),)
    seen = [runner.fingerprint("07_tiny", runner.Settings()), runner.fingerprint("07_tiny", settings)]
    (tiny_book / "jaffe" / "KA.AN1.39.tiff").write_bytes(b"22")
    seen.append(runner.fingerprint("07_tiny", settings))
    assert len(set(seen)) == 3


@pytest.mark.parametrize("word", ["WEAK", "WEEK=celeba", "PROFILE=full"])
def test_a_parameter_that_the_chapter_lacks_is_one_message(tiny_book, capsys, word):
    rewrite(tiny_book, "SEED = 0", "SEED = 0\nWEAK = None")
    assert cli.main(["run", "07_tiny", "--set", word]) == 2
    assert "has WEAK" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--seed", "-1"], ["--seed", str(2**32)], ["--seed", "one"], ["--jobs", "0"]])
def test_a_number_that_cannot_be_is_one_sentence(tiny_book, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run", "07_tiny", *words])
    assert f"'{words[1]}' is no whole number" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "07_tiny", "--root"], ["data", "check", "jaffe", "--root"]])
@pytest.mark.parametrize("path", ["~nosuchuser/x", "a" * 300, "loop"])
def test_a_path_that_cannot_be_is_one_sentence(tiny_book, command, path, monkeypatch, capsys):
    monkeypatch.chdir(tiny_book)
    Path("loop").symlink_to("loop")
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, path])
    assert f"error: argument --root: {path}: " in capsys.readouterr().err
    rewrite(tiny_book, "SEED = 0", "SEED = 0\nWEAK_ROOT = None")
    with pytest.raises(FerTeachError, match="--set WEAK_ROOT: "):
        runner.further(["07_tiny"], [f"WEAK_ROOT={path}"])


def test_a_path_is_expanded_and_keeps_the_name_of_a_link(tiny_book, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny_book))
    (tiny_book / "blob").write_text("")
    (tiny_book / "set.zip").symlink_to("blob")
    for command in ("run", "data list"):
        assert cli._parser().parse_args([*command.split(), "--root=~/set.zip"]).root == tiny_book / "set.zip"


@pytest.mark.parametrize("root", ["root", "environment"])
def test_changed_data_are_another_fingerprint(tiny_book, root, monkeypatch):
    first, second = tiny_book / "a", tiny_book / "b"
    for folder in (first, second):
        (folder / "jaffe").mkdir(parents=True)
        (folder / "jaffe" / "KA.AN1.39.tiff").write_bytes(b"1")

    def print_of(folder):
        monkeypatch.setenv("FER_TEACH_DATA", str(folder))
        return runner.fingerprint(
            "07_tiny", runner.Settings(data="jaffe", root=str(folder) if root == "root" else None)
        )

    seen = [print_of(first), print_of(second)]
    assert print_of(first) == seen[0]
    (first / "jaffe" / "KA.AN1.39.tiff").write_bytes(b"22")
    seen.append(print_of(first))
    (tiny_book / "elsewhere").mkdir()
    (tiny_book / "elsewhere" / "KA.AN2.40.tiff").write_bytes(b"1")
    (first / "jaffe" / "more").symlink_to(tiny_book / "elsewhere")
    seen.append(print_of(first))
    (tiny_book / "elsewhere" / "KA.AN2.40.tiff").write_bytes(b"22")
    seen.append(print_of(first))
    (first / "jaffe" / "gone.tiff").symlink_to(tiny_book / "nowhere")
    seen.append(print_of(first))
    assert len(set(seen)) == 6
    with pytest.raises(DataError, match="does not exist"):
        print_of(tiny_book / "nowhere")


def test_a_closed_folder_beside_the_data_does_not_stop_a_run(tiny_book, request):
    for path in (tiny_book, *tiny_book.parents[:2]):
        if not os.geteuid():
            os.chmod(path, 0o755)
    for folder in ("jaffe", "lost+found"):
        (tiny_book / "data" / folder).mkdir(parents=True)
    os.chmod(tiny_book / "data" / "lost+found", 0)
    request.getfixturevalue("nobody")
    assert runner.fingerprint("07_tiny", runner.Settings(data="jaffe", root=str(tiny_book / "data")))


def test_an_installed_book_is_hashed_too(tiny_book, monkeypatch):
    book = tiny_book / "fer_teach" / "_book"
    book.mkdir(parents=True)
    for folder in ("notebooks", "baselines", "claims", "results"):
        (tiny_book / folder).rename(book / folder)
    monkeypatch.setattr(paths, "root", lambda: book)
    seen = [runner.fingerprint("07_tiny", runner.Settings())]
    (book / "results" / "07_tiny").mkdir()
    for file in ("notebooks/07_tiny.py", "claims/07_tiny.json", "results/07_tiny/full-rendered.json"):
        with open(book / file, "a") as opened:
            opened.write("# changed")
        seen.append(runner.fingerprint("07_tiny", runner.Settings()))
    assert len(set(seen)) == 4


def test_two_runs_into_one_folder_execute_once(tiny_book):
    out, said = tiny_book / "out", []
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(runner.run, "07_tiny", runner.Settings(), out, say=said.append) for _ in range(2)]
    assert both[0].result() == both[1].result()
    assert sum("executing" in line for line in said) == sum("unchanged" in line for line in said) == 1


def test_a_failing_cell_is_shown_with_the_partial_notebook(tiny_book, capsys):
    rewrite(tiny_book, "record(exact=7)", "record(exact=7)\n\n# %%\nraise ValueError('no mouth')")
    assert cli.main(["run", "07_tiny", "--out", str(tiny_book / "out")]) == 2
    said = capsys.readouterr().err
    assert "raise ValueError('no mouth')" in said
    assert "ValueError: no mouth" in said
    assert str(tiny_book / "out" / "07_tiny.ipynb") in said
    assert (tiny_book / "out" / "07_tiny.ipynb").is_file()
    assert "Traceback" not in said


def test_a_dying_kernel_is_one_sentence(tiny_book, capsys):
    rewrite(tiny_book, "record(exact=7)", "import os\nos.kill(os.getpid(), 9)")
    assert cli.main(["run", "07_tiny", "--out", str(tiny_book / "out")]) == 2
    said = capsys.readouterr().err
    assert "07_tiny: its kernel died" in said
    assert "Traceback" not in said


def test_an_error_in_one_of_several_jobs_reaches_the_user(tmp_path):
    with pytest.raises(FerTeachError, match="There is no chapter '98_none'"):
        runner.run_all(["98_none", "99_none"], runner.Settings(), tmp_path, jobs=2)


def test_regress_fails_on_drift_and_baseline_shows_the_difference(tiny_book, capsys):
    out = ["--out", str(tiny_book / "out")]
    assert cli.main(["regress", *out]) == 2  # no baseline yet
    assert "fer-teach baseline 07_tiny" in capsys.readouterr().err
    assert cli.main(["baseline", "07_tiny", *out]) == 0
    assert cli.main(["regress", *out]) == 0
    path = regress.baseline_path("07_tiny")
    held = json.loads(path.read_text())
    assert held["metrics"]["doubled"]["tolerance"] == 0.5
    assert held["metrics"]["exact"]["tolerance"] == 0
    held["metrics"]["exact"]["value"] = 8
    path.write_text(json.dumps(held))
    capsys.readouterr()
    assert cli.main(["regress", *out]) == 1
    assert "drift" in capsys.readouterr().out
    assert "<caption>07_tiny</caption>" in (tiny_book / "out" / "regress.html").read_text()
    assert cli.main(["baseline", "07_tiny", *out]) == 0
    assert "drift" in capsys.readouterr().out
    assert cli.main(["regress", *out]) == 0


def test_regress_goes_on_where_a_chapter_cannot_be_compared(tiny_book, monkeypatch, capsys):
    def run(chapter, *_, **__):
        if chapter == "06_other":
            raise FerTeachError("06_other failed in cell 3")

    (tiny_book / "notebooks" / "06_other.py").write_text((tiny_book / "notebooks" / "07_tiny.py").read_text())
    monkeypatch.setattr(runner, "run", run)
    drift = regress.Drift("exact", 1234.56, 1234.57, 0.0, "drift")
    monkeypatch.setattr(regress, "lines_for", lambda *_: [drift])
    assert cli.main(["regress", "--out", str(tiny_book)]) == 2
    said = capsys.readouterr()
    assert said.err == "fer-teach: not compared:\n06_other failed in cell 3\n"
    assert "exact   1234.56   1234.57" in said.out
    assert "<td>1234.57</td>" in (tiny_book / "regress.html").read_text()


@pytest.mark.parametrize(
    "content",
    [
        '{"schema": 1, "chapter": "07_tiny", "profile": "quick", "data": {}, "seed": 0}',
        '{"schema": 1, "chapter": "07", "profile": "quick", "data": {}, "seed": 0, "metrics": {"a": {"value": 1}}}',
        "[]",
        "{",
        "",
    ],
)
def test_a_damaged_baseline_is_one_sentence(tiny_book, content):
    regress.baseline_path("07_tiny").write_text(content)
    with pytest.raises(FerTeachError, match="07_tiny.json is no baseline"):
        regress.lines_for("07_tiny", {})


def test_the_committed_baselines_fit_their_schema():
    for chapter in chapters.names():
        assert regress.read_baseline(chapter)["chapter"] == chapter


@pytest.mark.parametrize("option", ["--out", "--keep"])
def test_a_place_that_cannot_be_written_is_one_sentence(tiny_book, option, capsys):
    (tiny_book / "file").write_text("")
    rest = [] if option == "--out" else ["--out", str(tiny_book / "out")]
    assert cli.main(["run", "07_tiny", *rest, option, str(tiny_book / "file")]) == 2
    assert f"Cannot write to {tiny_book / 'file'}: it is no folder" in capsys.readouterr().err


def test_an_out_without_permission_is_one_sentence(nobody):
    with pytest.raises(FerTeachError, match="Cannot write to /usr/mine: Permission denied"):
        runner.run("07_tiny", runner.Settings(), Path("/usr/mine"))
