/* outside.c - pam.h and http.h: of the world beyond mail the simulator has nothing. PAM is in trouble, and no server answers.
 *
 * Promise: the answer comes later, from the loop, as it would.
 */
#include "io/http.h"
#include "io/pam.h"
#include "io/sim/inside.h"

#include <assert.h>
#include <stdlib.h>

struct io_http_call {
    struct io_timer *timer;
    void (*http)(void *arg, const struct io_http_answer *a);
    void (*pam)(void *arg, enum io_pam_verdict verdict, const char *why);
    void *arg;
};

struct io_http {
    struct io *io;
};

static void due(void *arg)
{
    struct io_http_call *c = arg;
    if (c->http != NULL)
        c->http(c->arg, &(struct io_http_answer){.error = "Connection refused", .content_type = ""});
    else
        c->pam(c->arg, IO_PAM_TROUBLE, "there is no PAM in the simulator");
    io_timer_free(c->timer);
    free(c);
}

static struct io_http_call *later(struct io *io)
{
    struct io_http_call *c = calloc(1, sizeof *c);
    assert(c != NULL);
    c->timer = io_timer_new(io, due, c);
    io_timer_start(c->timer, 1, 0);
    return c;
}

void io_pam_ask(struct io *io, const struct io_pam_question *q,
                void (*answer)(void *arg, enum io_pam_verdict verdict, const char *why), void *arg)
{
    struct io_http_call *c = later(io);
    (void)q;
    c->pam = answer;
    c->arg = arg;
}

struct io_http *io_http_new(struct io *io, const char *ca_file, char error[256])
{
    struct io_http *h = calloc(1, sizeof *h);
    assert(h != NULL);
    (void)ca_file;
    error[0] = '\0';
    h->io = io;
    return h;
}

void io_http_free(struct io_http *h)
{
    free(h);
}

struct io_http_call *io_http_ask(struct io_http *h, const struct io_http_request *r,
                                 void (*answer)(void *arg, const struct io_http_answer *a), void *arg)
{
    struct io_http_call *c = later(h->io);
    (void)r;
    c->http = answer;
    c->arg = arg;
    return c;
}

void io_http_cancel(struct io_http_call *c)
{
    io_timer_free(c->timer);
    free(c);
}
