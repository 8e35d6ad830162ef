"""What the disk itself can do, by the system calls that a durable queue cannot do without, below the same folder as the spools."""
import os
import shutil
import time

SMALL, LARGE = 4096, 1 << 20


def appends_rate(folder, count=4000):
    """Records of 4 KiB a second, each followed by fdatasync, into blocks that were written before."""
    path = os.path.join(folder, "appends.probe")
    record = os.urandom(SMALL)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for i in range(count):
            os.pwrite(fd, bytes(SMALL), SMALL * i)
        os.fsync(fd)
        began = time.monotonic()
        for i in range(count):
            os.pwrite(fd, record, SMALL * i)
            os.fdatasync(fd)
        return count / (time.monotonic() - began)
    finally:
        os.close(fd)
        os.unlink(path)


def files_rate(folder, count):
    """MiB a second: fresh files of 1 MiB, one after the other, each written and synced before the next."""
    into = os.path.join(folder, "files.probe")
    os.mkdir(into)
    content = os.urandom(LARGE)
    try:
        began = time.monotonic()
        for i in range(count):
            fd = os.open(os.path.join(into, str(i)), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            put = 0
            while put < LARGE:
                put += os.write(fd, content[put:] if put else content)
            os.fdatasync(fd)
            os.close(fd)
        return count / (time.monotonic() - began)
    finally:
        shutil.rmtree(into)
