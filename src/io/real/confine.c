/* confine.c - giving up privileges: user, capabilities to gain more, files, network.
 *
 * Order:      user (needs root) → no_new_privs → Landlock → seccomp. Landlock and no_new_privs bind the calling thread and what it
 *             starts later: so confine before the first io_work and the first question to the DNS.
 * Landlock:   landlock(7), by raw system calls: the C library has no names for them. What the kernel's ABI lacks is said in `weaker`.
 * Seccomp:    a filter of a dozen instructions; sockets that exist (listening, passed) go on. io_uring can make sockets that no seccomp
 *             filter sees, so nobody makes a ring any more, or changes what one that he has may do (src/io/real/append.c).
 * Tests:      tests/unit/io_process.c
 */
#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void weaken(char weaker[256], const char *what)
{
    size_t n = strlen(weaker);
    snprintf(weaker + n, 256 - n, "%s%s", n > 0 ? "; " : "", what);
}

/* ---- user ------------------------------------------------------------------------------------------------ */

static int become(uint32_t uid, uint32_t gid)
{
    if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
        return -errno;
    uid_t r, e, s;
    if (getresuid(&r, &e, &s) != 0 || r != uid || e != uid || s != uid ||
        (uid != 0 && setresuid(0, 0, 0) == 0))
        return -EPERM; /* a way back to root must not exist */
    return 0;
}

/* ---- files ----------------------------------------------------------------------------------------------- */

/* Of newer kernels than the headers that we may be compiled with. */
struct ruleset_attr {
    uint64_t fs, net, scoped;
};
#define ACCESS_FS_TRUNCATE  (1ull << 14) /* ABI 3 */
#define ACCESS_FS_IOCTL_DEV (1ull << 15) /* ABI 5 */
#define ACCESS_NET_BIND_TCP (1ull << 0)  /* ABI 4 */
#define ACCESS_NET_CONNECT  (1ull << 1)  /* ABI 4 */
#define SCOPE_ABSTRACT_UNIX (1ull << 0)  /* ABI 6 */
#define SCOPE_SIGNAL        (1ull << 1)  /* ABI 6 */

#define FS_ABI1 ((1ull << 13) - 1)
#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE                                                                                             \
    (FS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                               \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |            \
     LANDLOCK_ACCESS_FS_REFER | ACCESS_FS_TRUNCATE)
#define FS_OF_FILE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_FS_TRUNCATE)

static int allow(int ruleset, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access};
    struct stat st;
    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return errno == ENOENT || errno == EACCES ? 0 : -errno; /* what cannot be reached needs no leave */
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= FS_OF_FILE;
    int status =
        syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0 ? 0 : -errno;
    close(rule.parent_fd);
    return status;
}

static int allow_all(int ruleset, const char *const *paths, uint64_t access)
{
    int status = 0;
    for (; status == 0 && paths != NULL && *paths != NULL; paths++)
        status = allow(ruleset, *paths, access);
    return status;
}

static bool everything_allowed(const struct io_confine *c)
{
    for (const char *const *p = c->paths_write; p != NULL && *p != NULL; p++)
        if (strcmp(*p, "/") == 0)
            return true;
    return false;
}

static int restrict_files(const struct io_confine *c, char weaker[256])
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) {
        weaken(weaker, "this kernel has no Landlock: files are protected by their permissions only");
        return 0;
    }
    uint64_t fs = FS_ABI1;
    fs |= abi >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0;
    fs |= abi >= 3 ? ACCESS_FS_TRUNCATE : 0;
    fs |= abi >= 5 ? ACCESS_FS_IOCTL_DEV : 0;
    struct ruleset_attr attr = {.fs = everything_allowed(c) ? 0 : fs};
    attr.net = c->no_network && abi >= 4 ? ACCESS_NET_BIND_TCP | ACCESS_NET_CONNECT : 0;
    attr.scoped = abi >= 6 && !c->keep_root ? SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL : 0;
    if (attr.fs == 0 && attr.net == 0 && attr.scoped == 0)
        return 0;
    size_t size = abi >= 6   ? 24
                  : abi >= 4 ? 16
                             : 8; /* older kernels refuse a larger structure with bits in it */
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (ruleset < 0)
        return -errno;
    int status = 0;
    if (attr.fs != 0)
        status = allow_all(ruleset, c->paths_read, FS_READ & fs);
    if (attr.fs != 0 && status == 0)
        status = allow_all(ruleset, c->paths_write, FS_WRITE & fs);
    if (status == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        status = -errno;
    close(ruleset);
    if (status == 0 && abi < 3)
        weaken(weaker, "this kernel's Landlock is too old to forbid truncating files");
    return status;
}

/* ---- network --------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#define NUMBER_MAX  0x3fffffffu /* above: the x32 ABI */
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#define NUMBER_MAX  0x7fffffffu
#endif

#ifdef NATIVE_ARCH
#define NUMBER_NONE           NUMBER_MAX /* of no system call */
#define LOAD(field)           BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define SKIP_IF(op, k, n)     BPF_JUMP(BPF_JMP | (op) | BPF_K, (k), (n), 0)
#define SKIP_IF_NOT(op, k, n) BPF_JUMP(BPF_JMP | (op) | BPF_K, (k), 0, (n))
#define ANSWER(what)          BPF_STMT(BPF_RET | BPF_K, (what))

/* No ring of io_uring is made or registered with; without the network, socket(2) makes UNIX sockets only; anything by another ABI than our
 * own ends the process. */
static int restrict_calls(bool no_network)
{
    const struct sock_filter code[] = {
        LOAD(arch),
        SKIP_IF(BPF_JEQ, NATIVE_ARCH, 1),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        SKIP_IF_NOT(BPF_JGT, NUMBER_MAX, 1),
        ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
        SKIP_IF(BPF_JEQ, SYS_io_uring_setup, 1),
        SKIP_IF_NOT(BPF_JEQ, SYS_io_uring_register, 1),
        ANSWER(SECCOMP_RET_ERRNO | EPERM),
        SKIP_IF(BPF_JEQ, no_network ? SYS_socket : NUMBER_NONE, 1),
        ANSWER(SECCOMP_RET_ALLOW),
        LOAD(args[0]), /* the low half, on a little-endian machine */
        SKIP_IF_NOT(BPF_JEQ, AF_UNIX, 1),
        ANSWER(SECCOMP_RET_ALLOW),
        ANSWER(SECCOMP_RET_ERRNO | EACCES),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = (struct sock_filter *)code};
    /* TSYNC: threads that run already, too */
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0 ? 0
                                                                                                   : -errno;
}
#else
static int restrict_calls(bool no_network)
{
    (void)no_network;
    return -ENOSYS;
}
#endif

int io_confine(const struct io_confine *c, char weaker[256])
{
    weaker[0] = '\0';
    if (c->uid != 0 && !c->keep_root) {
        int status = become(c->uid, c->gid);
        if (status != 0)
            return status;
    }
    if (!c->keep_root && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -errno;
    int status = restrict_files(c, weaker);
    if (status == -EPERM && c->keep_root)
        status = 0; /* neither no_new_privs nor CAP_SYS_ADMIN */
    if (status != 0)
        return status;
    if (restrict_calls(c->no_network) != 0)
        weaken(weaker,
               c->no_network
                   ? "this kernel takes no seccomp filter: nothing keeps this process from the network"
                   : "this kernel takes no seccomp filter: this process may use io_uring");
    return 0;
}

bool io_is_root(void)
{
    return geteuid() == 0;
}

uint64_t io_raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            return before;
    }
    return limit.rlim_cur;
}
