#!/usr/bin/env python3
"""Runs the end-to-end tests: all of them, or those whose file or function name contains one of the arguments; two at a time, or `--jobs N`.

VEREDUS names the program (default build/src/veredus). The last line is `N passed, N failed, N skipped`.
"""
import collections
import concurrent.futures
import contextlib
import glob
import importlib
import io
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402


def copy_programs(folder):
    """Where every user may run them, wherever the build is."""
    os.chmod(folder, 0o755)
    for variable, name in (("VEREDUS", "veredus"), ("VEREDUS_RELEASE", "veredus-release")):
        source = os.environ.get(variable, harness.VEREDUS)
        os.environ[variable] = shutil.copy(source, os.path.join(folder, name))
    harness.VEREDUS = os.environ["VEREDUS"]


def main():
    wanted = sys.argv[1:]
    workers = 2
    if wanted and wanted[0] == "--jobs":
        workers, wanted = int(wanted[1]), wanted[2:]
    with tempfile.TemporaryDirectory(prefix="veredus-e2e-") as folder:
        copy_programs(folder)
        return run(wanted, workers)


def run_case(number):
    """One case, in a worker: its verdict, and all that is to be printed of it, so that what two say does not mingle."""
    case = harness.CASES[number]
    name = "%s.%s" % (case.__module__, case.__name__)
    world = harness.World(name)
    began = time.monotonic()
    verdict, detail, said = "ok", "", io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            case(world)
        except harness.Skip as reason:
            verdict, detail = "skipped", str(reason)
        except Exception:  # a failure of any kind is one of the case
            verdict, detail = "FAILED", traceback.format_exc()
        finally:
            world.end()
        print("%-8s %s (%.1f s)%s" % (verdict, name, time.monotonic() - began, ": " + detail if verdict == "skipped" else ""))
        if verdict == "FAILED":
            print(detail)
            for program in world.programs:
                print("--- the end of %s" % program.log_path)
                print("\n".join(program.text().splitlines()[-40:]))
    world.remove()
    return verdict, said.getvalue()


def begin_worker(numbers, workers):
    harness.share_ports(numbers.get(), workers)


def run(wanted, workers):
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "test_*.py"))):
        importlib.import_module(os.path.basename(path)[:-3])
    chosen = [n for n, case in enumerate(harness.CASES)
              if not wanted or any(w in "%s.%s" % (case.__module__, case.__name__) for w in wanted)]
    count = collections.Counter()
    fork = multiprocessing.get_context("fork")
    numbers = fork.SimpleQueue()
    for worker in range(workers):
        numbers.put(worker)
    with concurrent.futures.ProcessPoolExecutor(workers, fork, begin_worker, (numbers, workers)) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run_case, n) for n in chosen]):
            verdict, said = done.result()  # a worker that died has none: that ends the run, with the reason
            count[verdict] += 1
            print(said, end="", flush=True)
    print("%d passed, %d failed, %d skipped" % (count["ok"], count["FAILED"], count["skipped"]))
    return 1 if count["FAILED"] or count["ok"] == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
