#!/usr/bin/env python3
"""Faults planted into the server, one at a time, each of which the simulator must find: the proof that it bites.

    planted.py BUILD [--only NAME…] [--apply-only]

BUILD: a Meson build folder with tests/sim/simulate in it. A planted file is compiled by itself and linked in front of the libraries, so that
the tree is not touched. --apply-only: looks only whether each fault can still be planted.
"""
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SEEDS = "200"

# name, file, what stands there, what stands there instead, what may go wrong in the runs; messages in each run, if not 500
FAULTS = [
    ("appends are not synced", "src/io/sim/append.c",
     "    if (j->status >= 0)\n        j->status = io_fs_datasync(j->fd);\n", "", "power"),
    ("a new segment is not synced", "src/queue/log/append.c",
     "    if (status >= 0)\n        status = io_fs_datasync(b->fd);\n", "", "power", "2000"),
    ("the name of a new segment is not synced", "src/queue/log/append.c",
     "    if (status >= 0)\n        status = io_fs_sync_directory(b->log->folder);\n", "", "power"),
    ("acknowledged before it is durable", "src/queue/intake.c",
     "    if (p->message != NULL)\n        return;\n",
     "    if (p->message != NULL) {\n        answer(q, slot, in->envelope.id, IPC_SUBMIT_OK);\n        return;\n    }\n", "power"),
    ("a failed commit is acknowledged", "src/queue/log/append.c",
     "    b->status = status;\n    commit_done(b);", "    b->status = 0 * status;\n    commit_done(b);", "disk,power"),
    ("results are not written down", "src/queue/results.c",
     "    recipient_set(c->queue, m, r, relayed ? RECIPIENT_RELAYED : RECIPIENT_DELIVERED);\n    keep(c, index);\n",
     "    recipient_set(c->queue, m, r, relayed ? RECIPIENT_RELAYED : RECIPIENT_DELIVERED);\n", "reloads"),
    ("a segment is given back while something in it is alive", "src/queue/log/log.c",
     "    if (s->records_alive > 0 || ", "    if (s->records_alive > 1 || ", "kills,reloads"),
    ("a segment is given back while it is read", "src/queue/log/log.c",
     "s->records_alive > 0 || s->readers > 0 || !s->sealed", "s->records_alive > 40 || !s->sealed", "kills"),
    ("checksums of records are not looked at", "src/queue/log/scan.c",
     "    if (record_crc(s->seed, &h, p + sizeof h) != h.crc)\n        return SCAN_BAD;\n", "", "power"),
    ("a report is stored without what it reports", "src/queue/bounce.c",
     "vr_buf_str(&b->body), vr_buf_str(&cause), stored, b)", "vr_buf_str(&b->body), vr_str(NULL, 0), stored, b)", "kills,reloads"),
    ("a report is given up when the disk fails", "src/queue/bounce.c",
     "        io_timer_start(b->again, STORE_AGAIN_MS, 0);\n", "", "disk"),
    ("a new queue is not told what is under way", "src/ipc/inflight.c",
     "    ipc_put_u32(b, n);\n    vr_buf_add(b, vr_buf_str(&items));\n", "    ipc_put_u32(b, 0 * n);\n", "reloads,network"),
    ("a new queue is not told results that the old one may not have kept", "src/ipc/inflight.c",
     "    TAILQ_FOREACH(r, &f->reports, entry)\n    tell(f, r, queue);\n", "    forget_old(f);\n", "reloads,network"),
    ("a repeated result counts again", "src/queue/results.c",
     "return res->status == DELIVERY_TEMPORARY && res->attempt < r->attempts;", "return false && res->attempt < r->attempts;", "network,dns,reloads"),
    ("a large body is not synced", "src/queue/bodies.c",
     "    if (b->status == 0)\n        b->status = io_fs_datasync(b->fd);\n", "", "power"),
    ("the name of a large body is not synced", "src/queue/bodies.c",
     "    if (b->status == 0)\n        b->status = io_fs_sync_directory(b->folder);\n", "", "power"),
    ("a body is committed while it is opened", "src/queue/bodies.c",
     "    if (!opening) /* else open_done does */\n", "    if (b != NULL || opening)\n", "network,kills,power,disk,dns,reloads", "1000"),
    ("folders of a Maildir count as durable when they stand", "src/local/maildir.c",
     "if (status != 0 || (!made && m->durable == whole))", "if (status != 0 || (!made && whole > 0))", "disk"),
    ("a mail's file is not synced in its Maildir", "src/local/maildir.c",
     "        status = io_fs_sync(fd);\n", "        status = 0;\n", "power"),
    ("its name is not synced in its Maildir", "src/local/maildir.c",
     "    status = io_fs_sync_directory(new_folder);\n", "    status = 0;\n", "power"),
    ("a session lost behind the dot is a failure", "src/sender/transaction.c",
     "inflight_settle_rest(c->job, DELIVERY_TEMPORARY, 0, VR_STR(\"4.4.2\"), vr_str_from(text));\n    connection_next(c);\n    return false;",
     "inflight_settle_rest(c->job, DELIVERY_PERMANENT, 0, VR_STR(\"5.4.2\"), vr_str_from(text));\n    connection_next(c);\n    return false;", "network"),
    ("a session lost behind the dot is a success", "src/sender/transaction.c",
     "inflight_settle_rest(c->job, DELIVERY_TEMPORARY, 0, VR_STR(\"4.4.2\"), vr_str_from(text));\n    connection_next(c);\n    return false;",
     "inflight_settle_rest(c->job, DELIVERY_OK, 0, VR_STR(\"2.0.0\"), vr_str_from(text));\n    connection_next(c);\n    return false;", "network"),
    ("4xx is taken for success", "src/sender/transaction.c",
     "return ev->permanent ? DELIVERY_PERMANENT : DELIVERY_TEMPORARY;", "return ev->permanent ? DELIVERY_PERMANENT : DELIVERY_OK;", "none"),
    ("4xx is taken for failure", "src/sender/transaction.c",
     "return ev->permanent ? DELIVERY_PERMANENT : DELIVERY_TEMPORARY;", "return DELIVERY_PERMANENT;", "none"),
    ("what comes back from a sender is not scheduled", "src/queue/dispatch.c",
     "    schedule_message(q, m);\n    dispatch_forget(q, d);\n", "    dispatch_forget(q, d);\n", "network"),
    ("a dead destination stays dead", "src/queue/health.c",
     "    return d->dead_until_ms > io_monotonic_ms(q->io);\n", "    return d->deaths > 0 && q != NULL;\n", "network"),
    ("what waits for its RESULT is forgotten", "src/queue/records.c",
     "        guard_full(s->queue, status);\n        unsaved_add(s->queue, s->message);\n", "        guard_full(s->queue, status);\n", "disk,reloads"),
    ("a moved message is looked for at its old place", "src/queue/records.c",
     "        m->position = v->position;\n        m->record_length = v->length;\n    } else {", "        (void)m;\n    } else {", "network,kills", "3000"),
    ("a moved message forgets whom it was delivered to", "src/queue/records.c",
     "    if (!append_states(q, m, NULL, m->count, move_done, v))", "    if (!append_states(q, m, NULL, 1, move_done, v))", "network,kills,reloads", "3000"),
    ("a checkpoint begins behind what is durable", "src/queue/checkpoint.c",
     "qlog_position end = qlog_durable_end(q->log), copy", "qlog_position end = qlog_end(q->log), copy", "kills,power", "2000"),
    ("what a checkpoint leaves out is not replayed", "src/queue/log/replay.c",
     "    if (row != NULL)\n        s.at = row->used;\n", "    if (row != NULL)\n        s.at = s.size;\n", "kills", "2000"),
    ("silence of the DNS means that there is no record", "src/ipc/answers.c",
     ".type = question.type, .status = DNS_STATUS_FAILED, .why = why}", ".type = question.type, .status = DNS_STATUS_NXDOMAIN, .why = why}", "none"),
    ("a verdict that is not there is not waited for", "src/receiver/verifying.c",
     "    if (!all_is_done(v)) {\n", "    if (!all_is_done(v) && v->bound != v->settled && !v->bound) {\n", "none"),
    ("a slow question to the DNS holds up those behind it", "src/resolver/resolver.c",
     "    if (--a->open == 0)\n        last_answer(a);\n", "    struct resolver *r = a->resolver;\n    a->open--;\n    while ((a = TAILQ_FIRST(&r->asks)) != NULL && a->open == 0)\n        last_answer(a);\n", "none"),
    ("results in our name that others wrote stay", "src/receiver/forged.c",
     "    if (!forged_matters(t) || !has_any(t))\n        return;\n", "    if (!forged_matters(t) || t->digest != NULL)\n        return;\n", "none"),
    ("a message that was sent stays in memory", "src/ipc/inflight.c",
     "    vr_arena_fini(&j->arena);\n    free(j->payload);\n", "    vr_arena_fini(&j->arena);\n", "none"),
    ("what was accepted stays in the cache", "src/queue/cache.c",
     "    m->cached = NULL;\n    struct cache_chunk *k = c->chunk;\n    if (--k->entries > 0)\n        return;\n",
     "    m->cached = NULL;\n    struct cache_chunk *k = c->chunk;\n    if (k->entries > 0)\n        return;\n", "none", "3000"),
]


def commands(build):
    """How simulate is linked, and how each source is compiled: {path from the top: (arguments, object)}."""
    with open(build / "compile_commands.json") as f:
        entries = json.load(f)
    compile_by = {}
    for e in entries:
        source = (build / e["file"]).resolve()
        compile_by.setdefault(str(source.relative_to(TOP)) if source.is_relative_to(TOP) else str(source), e)
    out = subprocess.run(["ninja", "-C", str(build), "-t", "commands", "tests/sim/simulate"], capture_output=True, text=True, check=True)
    return out.stdout.strip().splitlines()[-1], compile_by


def planted(text, row):
    name, path, old, new = row[:4]
    if text.count(old) != 1:
        raise SystemExit(f"planted.py: \"{name}\": its place stands {text.count(old)} times in {path}, not once: the code has changed, "
                         "so must the row in FAULTS")
    return text.replace(old, new)


def build_one(build, link, entry, row, work):
    name, path = row[:2]
    source = work / Path(path).name
    source.write_text(planted((TOP / path).read_text(), row))
    arguments = shlex.split(entry["command"])
    keep, skip = [], False
    for i, a in enumerate(arguments):
        if skip:
            skip = False
        elif a in ("-o", "-MF", "-MQ"):
            skip = True
        elif a not in ("-MD", "-c", entry["file"]):
            keep.append(a)
    target = work / "planted.o"
    run = subprocess.run(keep + ["-Wno-error", "-I", str(TOP / Path(path).parent), "-c", str(source), "-o", str(target)], cwd=build, capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"planted.py: \"{name}\" does not compile:\n{run.stderr}")
    parts = shlex.split(link)
    at = parts.index("-o")
    binary = work / "simulate"
    parts[at + 1] = str(binary)
    parts.insert(at + 2, str(target))
    run = subprocess.run(parts, cwd=build, capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"planted.py: \"{name}\" does not link:\n{run.stderr}")
    return binary


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    build, options = Path(sys.argv[1]).resolve(), sys.argv[2:]
    only = options[options.index("--only") + 1:] if "--only" in options else None
    rows = [r for r in FAULTS if only is None or any(o in r[0] for o in only)]
    for row in FAULTS:
        planted((TOP / row[1]).read_text(), row)
    if "--apply-only" in options:
        print(f"{len(FAULTS)} passed, 0 failed")
        return 0
    link, compile_by = commands(build)
    passed = failed = 0
    for row in rows:
        name, path, faults, messages = row[0], row[1], row[4], (row[5:] or ("500",))[0]
        with tempfile.TemporaryDirectory() as folder:
            binary = build_one(build, link, compile_by[path], row, Path(folder))
            run = subprocess.run([str(binary), "--seeds", SEEDS, "--messages", messages, "--faults", faults, "--quiet", "--first", "--plain"],
                                 capture_output=True, text=True, errors="replace")
        lines = run.stdout.splitlines()
        said = next((line for line in lines if "VIOLATION" in line), next((line for line in lines if "crashed" in line), ""))
        if run.returncode != 0 and said:
            passed += 1
            print(f"found   {name}: {said[:220]}", flush=True)
        else:
            failed += 1
            print(f"MISSED  {name}: {SEEDS} seeds with {faults} went well", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    os.environ.pop("ASAN_OPTIONS", None)
    sys.exit(main())
