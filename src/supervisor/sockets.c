/* sockets.c - see sockets.h. */
#include "supervisor/sockets.h"

#include "io/fs.h"
#include "io/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBMIT_MODE  0666
#define CONTROL_MODE 0600

static void set_close(struct socket_set *set)
{
    for (unsigned i = 0; i < set->count; i++)
        io_fs_close(set->fds[i]);
    free(set->fds);
    *set = (struct socket_set){0};
}

static bool same_address(const struct io_address *a, const struct io_address *b)
{
    return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, sizeof a->ip) == 0 &&
           strcmp(a->path, b->path) == 0;
}

/* How many processes listen: each has its socket. */
static unsigned sockets_for(const struct config_listener *l, unsigned receivers)
{
    return l->role == LISTENER_MTA_STS ? 1 : receivers;
}

static struct socket_set *set_find(struct sockets *old, const struct io_address *a, unsigned receivers)
{
    for (size_t i = 0; old != NULL && i < old->count; i++)
        if (!old->listeners[i].taken && old->listeners[i].count == receivers &&
            same_address(&old->listeners[i].address, a))
            return &old->listeners[i];
    return NULL;
}

static bool set_bind(struct socket_set *set, const struct config_listener *l, unsigned receivers,
                     char error[256])
{
    *set = (struct socket_set){.address = l->address, .fds = calloc(receivers, sizeof *set->fds)};
    assert(set->fds != NULL);
    struct io_address bound = l->address;
    for (; set->count < receivers; set->count++) {
        bool shared =
            bound.family == IO_UNIX && set->count > 0; /* a path is bound once, and all accept from it */
        int fd = shared ? io_fs_dup(set->fds[0]) : io_listen_fd(&bound, bound.family != IO_UNIX, SUBMIT_MODE);
        if (fd < 0) {
            char text[IO_ADDRESS_TEXT];
            io_address_text(&l->address, text);
            const char *hint = fd == -EADDRINUSE ? " (another server has it; `ss -ltnp` tells which)"
                               : l->address.port < 1024
                                   ? " (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
                                   : "";
            snprintf(error, 256, "%s:%d: cannot listen on %s: %s%s", l->file, l->line, text,
                     io_error_text(fd), hint);
            set_close(set);
            return false;
        }
        set->fds[set->count] = fd;
        if (bound.port == 0)
            io_listen_address(fd, &bound); /* the other receivers share the port that was chosen */
    }
    return true;
}

static int unix_socket(const struct config *c, const char *name, unsigned mode, char error[256])
{
    struct io_address a = {.family = IO_UNIX};
    int n = snprintf(a.path, sizeof a.path, "%s/%s", c->run, name);
    int fd = n < (int)sizeof a.path ? io_listen_fd(&a, false, mode) : -1;
    if (n >= (int)sizeof a.path)
        snprintf(error, 256, "the path %s/%s is too long for a socket: choose a shorter \"run\" folder",
                 c->run, name);
    else if (fd < 0)
        snprintf(error, 256, "cannot listen on %s: %s%s", a.path, io_error_text(fd),
                 fd == -EADDRINUSE ? " (veredus runs already with this \"run\" folder)" : "");
    return fd;
}

bool sockets_open(struct sockets *s, struct sockets *old, const struct config *c, unsigned receivers,
                  char error[256])
{
    size_t count = c->listener_count + c->web_count;
    *s = (struct sockets){.count = count, .submit = -1, .control = -1};
    s->listeners = calloc(count + 1, sizeof *s->listeners);
    assert(s->listeners != NULL);
    struct socket_set **source = calloc(count + 1, sizeof *source);
    assert(source != NULL);
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
        source[i] = set_find(old, &c->listeners[i].address, sockets_for(&c->listeners[i], receivers));
        if (source[i] != NULL) {
            source[i]->taken = true;
            s->listeners[i] = *source[i];
            s->listeners[i].taken = false;
        } else {
            good =
                set_bind(&s->listeners[i], &c->listeners[i], sockets_for(&c->listeners[i], receivers), error);
        }
    }
    if (good && old != NULL) {
        s->submit = old->submit;
        s->control = old->control;
    } else if (good) {
        s->submit = unix_socket(c, "submit", SUBMIT_MODE, error);
        s->control = s->submit >= 0 ? unix_socket(c, "control", CONTROL_MODE, error) : -1;
        good = s->control >= 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (source[i] == NULL && !good)
            set_close(&s->listeners[i]);
        if (source[i] != NULL && good)
            *source[i] = (struct socket_set){0}; /* moved */
        if (source[i] != NULL && !good)
            source[i]->taken = false;
    }
    free(source);
    if (!good) {
        if (old == NULL && s->submit >= 0)
            io_fs_close(s->submit);
        free(s->listeners);
        *s = (struct sockets){.submit = -1, .control = -1};
    } else if (old != NULL) {
        old->submit = old->control = -1;
        sockets_close(old);
    }
    return good;
}

void sockets_close(struct sockets *s)
{
    for (size_t i = 0; i < s->count; i++)
        set_close(&s->listeners[i]);
    free(s->listeners);
    if (s->submit >= 0)
        io_fs_close(s->submit);
    if (s->control >= 0)
        io_fs_close(s->control);
    *s = (struct sockets){.submit = -1, .control = -1};
}
