#!/usr/bin/env python3
"""Runs the end-to-end tests: all of them, or those whose file or function name contains one of the arguments.

VEREDUS names the program (default build/src/veredus). The last line is `N passed, N failed, N skipped`.
"""
import glob
import importlib
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
    with tempfile.TemporaryDirectory(prefix="veredus-e2e-") as folder:
        copy_programs(folder)
        return run(sys.argv[1:])


def run(wanted):
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "test_*.py"))):
        importlib.import_module(os.path.basename(path)[:-3])
    passed = failed = skipped = 0
    for case in harness.CASES:
        name = "%s.%s" % (case.__module__, case.__name__)
        if wanted and not any(w in name for w in wanted):
            continue
        world = harness.World(name)
        began = time.monotonic()
        verdict, detail = "ok", ""
        try:
            case(world)
            passed += 1
        except harness.Skip as reason:
            verdict, detail = "skipped", str(reason)
            skipped += 1
        except Exception:  # a failure of any kind is one of the case
            verdict, detail = "FAILED", traceback.format_exc()
            failed += 1
        finally:
            world.end()
        print("%-8s %s (%.1f s)%s" % (verdict, name, time.monotonic() - began, ": " + detail if verdict == "skipped" else ""), flush=True)
        if verdict == "FAILED":
            print(detail, flush=True)
            for program in world.programs:
                print("--- the end of %s" % program.log_path)
                print("\n".join(program.text().splitlines()[-40:]), flush=True)
        world.remove()
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
