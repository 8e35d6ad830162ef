/* tcp_run.c - a transcript against a server over TCP: the replies, and that it closes. Every wait is bounded.
 */
#include "transcript.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 15000

struct tcp {
    const struct transcript *t;
    int fd;
    bool closed; /* the server has closed its side */
    struct status_check check;
    struct vr_buf in;
};

static bool complain(const struct tcp *c, unsigned line, const char *what, struct vr_str text)
{
    fprintf(stderr, "%s:%u: over TCP: %s%s%.*s%s\n", c->t->path, line, what, text.n > 0 ? ": \"" : "",
            (int)(text.n > 300 ? 300 : text.n), text.n > 0 ? text.p : "", text.n > 0 ? "\"" : "");
    return false;
}

static int dial(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int fd = -1;
    if (getaddrinfo(host, port, &hints, &list) != 0)
        return -1;
    for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

/* Reads once, at most WAIT_MS. False when nothing came in that time. */
static bool read_some(struct tcp *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    char bytes[16384];
    if (poll(&p, 1, WAIT_MS) <= 0)
        return false;
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n <= 0)
        c->closed = true; /* a reset counts: the server need not read what nobody will answer */
    else
        vr_buf_add(&c->in, vr_str(bytes, (size_t)n));
    return true;
}

/* Writes all, and reads meanwhile, so that neither side waits for the other for ever. */
static bool write_all(struct tcp *c, struct vr_str s)
{
    while (s.n > 0 && !c->closed) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN | POLLOUT};
        if (poll(&p, 1, WAIT_MS) <= 0)
            return false;
        if (p.revents & (POLLIN | POLLHUP | POLLERR) && !read_some(c))
            return false;
        if (!(p.revents & POLLOUT) || c->closed)
            continue;
        ssize_t n = send(c->fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            break; /* closed: the replies that came before it are still to be read */
        if (n > 0)
            s = vr_str_from_pos(s, (size_t)n);
    }
    return true;
}

/* The next line: what it is, without taking it. */
static bool next_line(struct tcp *c, const struct step *step, struct vr_str *line)
{
    size_t end;
    while ((end = vr_str_find_str(vr_buf_str(&c->in), VR_STR("\r\n"))) == VR_NPOS) {
        if (c->closed)
            return complain(c, step->line, "the server closed instead of saying", step->text);
        if (!read_some(c))
            return complain(c, step->line, "the server has said nothing for 15 seconds, this was expected",
                            step->text);
    }
    *line = vr_str_sub(vr_buf_str(&c->in), 0, end);
    return true;
}

static bool expect_line(struct tcp *c, const struct step *step)
{
    struct vr_str line;
    do {
        if (!next_line(c, step, &line))
            return false;
        bool matches = pattern_matches(step->text, line);
        if (!matches)
            return step->any || complain(c, step->line, "the server said", line);
        if (!status_check_line(&c->check, line))
            return complain(c, step->line, "a reply has not the enhanced status of its class", line);
        vr_buf_consume(&c->in, line.n + 2);
    } while (step->any);
    return true;
}

static bool check_closed(struct tcp *c, const struct step *step)
{
    while (!c->closed)
        if (!read_some(c))
            return complain(c, step->line, "the server does not close", vr_str(NULL, 0));
    return vr_buf_size(&c->in) == 0 ||
           complain(c, step->line, "before it closed the server also said", vr_buf_str(&c->in));
}

static bool take_step(struct tcp *c, const struct step *step)
{
    switch (step->kind) {
    case STEP_CLIENT:
        return write_all(c, step->text) ||
               complain(c, step->line, "the server does not read", vr_str(NULL, 0));
    case STEP_SERVER:
        return expect_line(c, step);
    case STEP_EOF:
        shutdown(c->fd, SHUT_WR);
        return true;
    case STEP_FACT:
        return !vr_str_equal(step->text, VR_STR("closed")) || check_closed(c, step);
    default:
        return complain(c, step->line, "this step is not for TCP", vr_str(NULL, 0));
    }
}

/* Our side closes; nothing more may be said. */
static bool end(struct tcp *c)
{
    shutdown(c->fd, SHUT_WR);
    while (!c->closed)
        if (!read_some(c))
            return complain(c, 0, "the client has closed, the server does not", vr_str(NULL, 0));
    return vr_buf_size(&c->in) == 0 ||
           complain(c, 0, "the server said more than expected", vr_buf_str(&c->in));
}

bool tcp_run(const struct transcript *t, const char *host, const char *port)
{
    struct tcp c = {.t = t, .fd = dial(host, port), .check = status_check_of(t)};
    if (c.fd < 0)
        return complain(&c, 0, "cannot connect", vr_str(NULL, 0));
    vr_buf_init(&c.in, 64u << 20);
    bool good = true;
    for (size_t i = 0; good && i < t->count; i++)
        good = take_step(&c, &t->steps[i]);
    good = good && end(&c);
    close(c.fd);
    vr_buf_fini(&c.in);
    return good;
}
