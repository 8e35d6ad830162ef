/* process_testing.h - one process of the server in a child, with the test as its supervisor and its peers. */
#ifndef TESTS_PROCESS_TESTING_H
#define TESTS_PROCESS_TESTING_H

#include "folder_testing.h"

#include "ipc/process.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static struct config *config;
static struct io *io;
static struct io_channel *supervisor; /* the test's end */
static pid_t child;                   /* 0: it has ended, and was waited for */
static bool ready, timed_out;

/* Quiet, unless somebody looks: LOUD=1. */
static inline void config_from(const char *text, size_t n)
{
    struct config_load *l = config_load_text("test", vr_str(text, n));
    if (l->config == NULL)
        fail_msg("%s", l->problems->message);
    config = config_take(l);
    config->log_level = getenv("LOUD") != NULL ? EVENT_DEBUG : EVENT_ERROR + 1;
    config_load_free(l);
}

static inline void on_timeout(void *arg)
{
    (void)arg;
    timed_out = true;
    io_stop(io);
}

/* Until something stops the loop, or ms have passed. */
static inline void run(int64_t ms)
{
    struct io_timer *t = io_timer_new(io, on_timeout, NULL);
    timed_out = false;
    io_timer_start(t, ms, 0);
    io_run(io);
    io_timer_free(t);
}

static inline void on_supervisor_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    (void)arg, (void)payload, (void)fd;
    ready = type == IPC_READY;
    io_stop(io);
}

static inline void on_supervisor_closed(void *arg, int status)
{
    (void)arg, (void)status;
    io_stop(io);
}

/* Starts it. a: all but the supervisor's descriptor; it runs in the foreground. */
static inline void process_spawn(struct process_arguments a)
{
    static const struct io_channel_ops ops = {on_supervisor_frame, on_supervisor_closed};
    int fds[2];
    assert_int_equal(io_channel_pair(fds), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* not cmocka's: a crash is the process's */
        signal(SIGABRT, SIG_DFL);
        for (int fd = 3; fd < 256; fd++) { /* as io_supervise_fork does */
            bool keep = fd == fds[1];
            for (size_t i = 0; i < a.listen_count; i++)
                keep = keep || fd == a.listen_fds[i];
            if (!keep)
                close(fd);
        }
        a.supervisor_fd = fds[1];
        a.foreground = true;
        _exit(process_main(&a));
    }
    close(fds[1]);
    supervisor = io_channel_new(io, fds[0], &ops, NULL);
    ready = false;
}

/* Its channel to a peer of this role; the test's end. */
static inline struct io_channel *process_attach(enum ipc_role role, uint32_t slot, uint32_t generation,
                                                const struct io_channel_ops *ops, void *arg)
{
    int fds[2];
    struct vr_buf b;
    assert_int_equal(io_channel_pair(fds), 0);
    vr_buf_init(&b, 64);
    ipc_put_u32(&b, role);
    ipc_put_u32(&b, slot);
    ipc_put_u32(&b, generation);
    io_channel_send(supervisor, IPC_ATTACH, vr_buf_str(&b), fds[1]);
    io_channel_flush(supervisor);
    vr_buf_fini(&b);
    return io_channel_new(io, fds[0], ops, arg);
}

static inline void process_drain_ask(struct io_channel *of, uint32_t ms)
{
    io_channel_send(of, IPC_DRAIN, vr_str((const char *)&ms, sizeof ms), -1);
    io_channel_flush(of);
}

/* It must end by itself with this exit code. */
static inline void process_ends(pid_t pid, int code)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
    if (pid == child)
        child = 0;
}

static inline void process_drain(uint32_t ms)
{
    process_drain_ask(supervisor, ms);
    process_ends(child, 0);
}

static inline void supervisor_close(void)
{
    io_channel_close(supervisor);
    supervisor = NULL;
}

#endif
