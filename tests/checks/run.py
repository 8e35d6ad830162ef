#!/usr/bin/env python3
"""Checks that keep the house: what lib/ and src/ may touch, and that docs/architecture.md tells the truth.

usage: run.py BUILD_FOLDER. The last line is `N passed, N failed`.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))

# Headers by which a program reaches the system.
IO_HEADERS = {"aio.h", "dirent.h", "fcntl.h", "ifaddrs.h", "netdb.h", "poll.h", "pthread.h", "sched.h", "signal.h", "spawn.h", "stdio_ext.h",
              "sys/epoll.h", "sys/file.h", "sys/inotify.h", "sys/ioctl.h", "sys/mman.h", "sys/poll.h", "sys/resource.h", "sys/select.h",
              "sys/socket.h", "sys/stat.h", "sys/statvfs.h", "sys/syscall.h", "sys/time.h", "sys/uio.h", "sys/un.h", "sys/wait.h", "termios.h",
              "threads.h", "time.h", "unistd.h", "uv.h", "liburing.h", "netinet/in.h", "arpa/inet.h", "unbound.h", "openssl/ssl.h", "curl/curl.h",
              "security/pam_appl.h"}
# Functions by which it would, without a header of its own.
IO_SYMBOLS = {"accept", "bind", "clock", "clock_gettime", "close", "connect", "creat", "exit", "fopen", "fopen64", "fork", "fread", "freopen",
              "fwrite", "getenv", "getrandom", "gettimeofday", "getaddrinfo", "listen", "localtime", "mktime", "open", "open64", "openat",
              "pipe", "poll", "popen", "printf", "puts", "putchar", "rand", "random", "read", "recv", "rename", "secure_getenv", "select",
              "send", "sleep", "socket", "srand", "stat", "system", "time", "unlink", "usleep", "write", "RAND_bytes"}


def sources(*folders):
    for folder in folders:
        for path in glob.glob(os.path.join(TOP, folder, "**", "*.[ch]"), recursive=True):
            yield os.path.relpath(path, TOP)


def text_of(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def includes(path):
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text_of(path), re.M)


def check_lib_includes_no_io_header():
    return ["%s includes <%s>" % (path, h) for path in sources("lib", "include") for h in includes(path) if h in IO_HEADERS]


def check_lib_includes_nothing_of_src():
    own = {d for d in os.listdir(os.path.join(TOP, "src")) if os.path.isdir(os.path.join(TOP, "src", d))}
    return ["%s includes \"%s\"" % (path, h) for path in sources("lib", "include") for h in includes(path) if h.split("/")[0] in own]


def check_src_reaches_the_system_only_by_io():
    return ["%s includes <%s>" % (path, h) for path in sources("src") if not path.startswith("src/io/")
            for h in includes(path) if h in IO_HEADERS and h != "signal.h"]


def check_lib_objects_call_no_system():
    faults = []
    libraries = glob.glob(os.path.join(BUILD, "lib", "*", "libvr_*.a"))
    if not libraries:
        return ["no library was found below %s/lib" % BUILD]
    for library in libraries:
        out = subprocess.run(["nm", "-u", "-A", library], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True).stdout
        for line in out.splitlines():
            symbol = line.split()[-1].split("@")[0]
            if symbol in IO_SYMBOLS:
                faults.append(line.strip())
    return faults


def check_architecture_names_functions_that_exist():
    code = "\n".join(text_of(path) for path in sources("lib", "src", "include"))
    if not os.path.exists(os.path.join(TOP, "docs/architecture.md")):
        return ["docs/architecture.md is missing"]
    names = re.findall(r"`([a-z0-9_]+)\(\)`", text_of("docs/architecture.md"))
    faults = ["docs/architecture.md names %s(), which is nowhere" % n for n in sorted(set(names)) if not re.search(r"\b%s\(" % n, code)]
    return faults if len(set(names)) >= 10 else faults + ["docs/architecture.md names fewer than ten functions of a message's path"]


def check_every_folder_of_src_has_a_readme():
    return ["%s has no README.md" % d for d in sorted(glob.glob(os.path.join(TOP, "src", "*", ""))) if not os.path.exists(d + "README.md")]


def check_every_frame_is_in_a_readme():
    told = "".join(text_of(os.path.relpath(p, TOP)) for p in glob.glob(os.path.join(TOP, "src", "*", "README.md")))
    return ["no README of src/*/ names %s" % f for f in sorted(set(re.findall(r'\{(IPC_[A-Z_]+), "[a-z-]+", ', text_of("src/ipc/frames.c")))) if "`%s`" % f not in told]


def check_tests_that_are_named_exist():
    faults = []
    for path in list(sources("src", "lib", "include")) + [os.path.relpath(p, TOP) for p in glob.glob(os.path.join(TOP, "**", "*.md"), recursive=True)]:
        for name in re.findall(r"tests/[a-z_]+/[a-z_]+\.(?:c|py|h)\b", text_of(path)):
            if not os.path.exists(os.path.join(TOP, name)):
                faults.append("%s names %s, which does not exist" % (path, name))
    return faults


def check_every_frame_is_in_the_table():
    declared = set(re.findall(r"^\s+(IPC_[A-Z_]+)(?: = \d+)?,?\s*/\*.*→", text_of("src/ipc/ipc.h"), re.M))
    table = set(re.findall(r"\{(IPC_[A-Z_]+),", text_of("src/ipc/frames.c")))
    return ["%s has no row in src/ipc/frames.c" % n for n in sorted(declared - table)] + ([] if declared else ["no frames were found in src/ipc/ipc.h"])


def check_table_of_extensions():
    """docs/extensions.md holds what smtp_extensions[] says, and the tests that it names exist."""
    program = os.path.join(BUILD, "tests", "checks", "extension_table")
    if not os.path.exists(program):
        return ["%s was not built" % program]
    table = subprocess.run([program], stdout=subprocess.PIPE, universal_newlines=True).stdout
    faults = [] if table in text_of("docs/extensions.md") else ["docs/extensions.md is not what the code says: run script/docs"]
    named = re.findall(r"`(tests/\S+)` \|$", table, re.M)
    return faults + ["%s does not exist" % n for n in named if not os.path.exists(os.path.join(TOP, n))] + ([] if len(named) > 20 else ["no tests are named"])


def check_functions_are_not_long():
    faults = []
    for path in sources("lib", "src"):
        name, start = None, 0
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if re.match(r"[A-Za-z_].*\(", line) and not line.rstrip().endswith(";"):
                name, start = line, number
            elif line.startswith("}") and name:
                if number - start > 100:
                    faults.append("%s:%d: %d lines: %s" % (path, start, number - start, name[:60]))
                name = None
    return faults


def check_replies_have_a_status():
    """Each reply that a source spells out has an enhanced status of its class (RFC 2034 §4, RFC 3463), but those that the RFCs want without: the
    greeting, EHLO's, 354."""
    faults, seen = [], 0
    for path in sources("lib/smtp", "src/receiver"):
        for code, status in re.findall(r'(?:SMTP_REPLY\(|REFUSE\(|smtp_reply\)\s*\{|smtp_reply \w+ = \{|\] = \{)\s*(\d{3}),\s*(NULL|"[^"]*")', text_of(path)):
            seen += 1
            plain = code in ("220", "250", "354") and status in ("NULL", '""')
            if not plain and not re.fullmatch(r'"%s\.[0-7]\.\d{1,3}"' % code[0], status):
                faults.append("%s: %s goes with %s" % (path, code, status))
    return faults + ([] if seen > 80 else ["only %d replies were found" % seen])


def check_no_machine_paths():
    faults = []
    for path in subprocess.run(["git", "-C", TOP, "ls-files"], stdout=subprocess.PIPE, universal_newlines=True).stdout.split():
        if path.endswith((".md", ".py")) or not os.path.isfile(os.path.join(TOP, path)):
            continue
        with open(os.path.join(TOP, path), encoding="utf-8", errors="replace") as f:
            for number, line in enumerate(f, 1):
                if re.search(r"/tmp/[a-z]+/|/work/[a-z]|/root/", line):
                    faults.append("%s:%d: %s" % (path, number, line.strip()[:80]))
    return faults


def man_options(page, section=None):
    """Long options that have an entry in a manual page: what stands in the macro Fl, or of one subsection's."""
    text = text_of("docs/man/" + page)
    if section is not None:
        text = text.split(".Ss %s\n" % section)[1].split("\n.S")[0]
    entries = re.findall(r"^\.It .*$", text, re.M)
    return {name for entry in entries for name in re.findall(r"(?:Fl |, |\| )-([a-z][a-z0-9-]+)", entry)}


def check_manual_pages_and_help_name_the_same_options():
    program, faults = os.path.join(BUILD, "src", "veredus"), []
    if not os.path.exists(program):
        return ["%s was not built" % program]
    for command, page, section in (("serve", "veredus.1", "veredus serve"), ("check", "veredus.1", "veredus check"), ("account", "veredus-account.1", None),
                                   ("queue", "veredus-queue.1", None), ("send", "veredus-send.1", None), ("etrn", "veredus-etrn.1", None), ("report", "veredus-report.1", None),
                                   ("tls", "veredus-tls.1", None), ("dns", "veredus-dns.1", None)):
        printed = subprocess.run([program, command, "--help"], stdout=subprocess.PIPE, universal_newlines=True).stdout
        helped, described = set(re.findall(r"--([a-z][a-z0-9-]+)", printed)) | {"help"}, man_options(page, section) | {"help"}
        faults += ["veredus %s --help has --%s, docs/man/%s has not" % (command, o, page) for o in sorted(helped - described)]
        faults += ["docs/man/%s has --%s, veredus %s --help has not" % (page, o, command) for o in sorted(described - helped)]
        faults += [] if len(helped) > 2 else ["veredus %s --help printed no options" % command]
    commands = set(re.findall(r"^  ([a-z]+) ", subprocess.run([program, "help"], stdout=subprocess.PIPE, universal_newlines=True).stdout, re.M))
    described = set(re.findall(r"^\.It Cm ([a-z]+)$", text_of("docs/man/veredus.1"), re.M)) - {"help"}
    return faults + ["the commands of docs/man/veredus.1 and of veredus help differ: %s" % o for o in sorted(commands ^ described)]


def check_sendmail_manual_names_every_letter():
    letters = set(re.search(r'letters\[\] = "([^"]*)"', text_of("src/cli/sendmail_options.c")).group(1)) - {":"}
    page = text_of("docs/man/sendmail.1").split(".Sh OPTIONS")[1].split(".Sh FILES")[0]
    named = set()
    for line in re.findall(r"^\.(?:It Fl|Fl) .*$", page, re.M):
        for word in re.findall(r"(?:^\.(?:It )?Fl |, )([A-Za-z])", line):
            named.add(word)
    return ["docs/man/sendmail.1 and src/cli/sendmail_options.c do not both have -%s" % c for c in sorted(letters ^ named)]


def check_manual_pages_are_well_formed():
    if shutil.which("mandoc") is None:
        return ["mandoc is not installed"]
    pages = sorted(glob.glob(os.path.join(TOP, "docs", "man", "*.[1-8]")))
    out = subprocess.run(["mandoc", "-T", "lint", "-W", "style"] + pages, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    wrong = [line for line in out.stdout.splitlines() if "referenced manual not found" not in line and "mandoc.db" not in line]
    return wrong if pages else ["there are no manual pages in docs/man"]


def main():
    passed = failed = 0
    for name, check in sorted(globals().items()):
        if not name.startswith("check_"):
            continue
        faults = check()
        print("%-8s %s" % ("FAILED" if faults else "ok", name[6:].replace("_", " ")))
        for fault in faults:
            print("         " + fault)
        passed, failed = passed + (not faults), failed + bool(faults)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    BUILD = sys.argv[1]
    sys.exit(main())
