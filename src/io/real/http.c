/* http.c - see http.h. libcurl's multi interface on our epoll set: curl says which descriptors to watch and when to be woken.
 *
 * Invariants: (1) curl's sockets are curl's to close: our watch of one is taken out of the set before
 *             (2) curl is never called from inside one of its own callbacks; ends are told after they are collected
 * Sources:    curl_multi_socket_action(3), CURLMOPT_SOCKETFUNCTION(3), CURLMOPT_TIMERFUNCTION(3)
 * Tests:      tests/unit/io_http.c
 */
#include "io/http.h"

#include "io/fs.h"
#include "io/real/real.h"

#include <curl/curl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#define CA_FILE_MAX (16u << 20)

struct io_http_call {
    struct io_http *http;
    CURL *easy;
    struct curl_slist *headers, *resolve;
    void (*answer)(void *arg, const struct io_http_answer *a);
    void *arg;
    struct vr_buf body;
    char error[CURL_ERROR_SIZE];
    TAILQ_ENTRY(io_http_call) entry;
};

struct io_http {
    struct io *io;
    CURLM *multi;
    struct io_timer *timer;
    struct vr_buf ca; /* empty: the system's */
    TAILQ_HEAD(call_list, io_http_call) calls;
    unsigned count;
};

struct http_socket {
    struct io_watch watch;
    struct io_http *http;
};

static void collect(struct io_http *h);

/* ---- what curl waits for ----------------------------------------------------------------------------------- */

static void socket_release(struct io_watch *w)
{
    free(CONTAINER(w, struct http_socket, watch));
}

static void socket_ready(struct io_watch *w, uint32_t events)
{
    struct http_socket *s = CONTAINER(w, struct http_socket, watch);
    struct io_http *h = s->http;
    int running, bits = (events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                        (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                        (events & EPOLLERR ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(h->multi, w->fd, bits, &running);
    collect(h);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket)
{
    struct io_http *h = arg;
    struct http_socket *s = of_socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s == NULL)
            return 0;
        io_watch_set(&s->watch, 0);
        s->watch.fd = -1; /* not ours to close */
        io_watch_close(&s->watch);
        curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    if (s == NULL) {
        s = real_alloc(sizeof *s);
        s->http = h;
        s->watch = (struct io_watch){.io = h->io, .fd = fd, .ready = socket_ready, .release = socket_release};
        curl_multi_assign(h->multi, fd, s);
    }
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    return io_watch_set(&s->watch, events) == 0 ? 0 : -1;
}

static void timer_due(void *arg)
{
    struct io_http *h = arg;
    int running;
    curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(h);
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
    struct io_http *h = arg;
    (void)multi;
    if (ms < 0)
        io_timer_stop(h->timer);
    else
        io_timer_start(h->timer, ms, 0);
    return 0;
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

static size_t on_body(char *p, size_t one, size_t n, void *arg)
{
    struct io_http_call *c = arg;
    return vr_buf_add(&c->body, vr_str(p, one * n)) ? one * n : 0; /* 0 ends the transfer */
}

static void call_free(struct io_http_call *c)
{
    struct io_http *h = c->http;
    TAILQ_REMOVE(&h->calls, c, entry);
    h->count--;
    curl_multi_remove_handle(h->multi, c->easy);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    curl_slist_free_all(c->resolve);
    if (c->body.p != NULL)
        explicit_bzero(c->body.p, c->body.capacity);
    vr_buf_fini(&c->body);
    free(c);
}

static void call_finish(struct io_http_call *c, CURLcode result)
{
    struct io_http_answer a = {.error = "", .content_type = ""};
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (result == CURLE_OK && status > 0) {
        const char *type = NULL;
        a.status = (unsigned)status;
        a.body = vr_buf_str(&c->body);
        if (curl_easy_getinfo(c->easy, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != NULL)
            a.content_type = type;
    } else if (c->body.too_big) {
        a.error = "the answer is too long";
    } else {
        a.error = c->error[0] != '\0' ? c->error : curl_easy_strerror(result);
    }
    void (*answer)(void *, const struct io_http_answer *) = c->answer;
    answer(c->arg, &a);
    call_free(c);
}

/* Those that are through. An answer may ask anew, but cancels nobody who is in hand here: he was answered. */
static void collect(struct io_http *h)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
        struct io_http_call *c = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode result = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
        call_finish(c, result);
    }
}

static bool call_set_up(struct io_http_call *c, const struct io_http_request *r)
{
    CURL *e = c->easy;
    struct vr_buf *ca = &c->http->ca;
    bool good = curl_easy_setopt(e, CURLOPT_URL, r->url) == CURLE_OK &&
                curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
                curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
                curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
                curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
                curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(e, CURLOPT_PRIVATE, c);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "veredus");
    if (vr_buf_size(ca) > 0) {
        struct curl_blob blob = {(char *)(uintptr_t)vr_buf_str(ca).p, vr_buf_size(ca), CURL_BLOB_NOCOPY};
        good = good && curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &blob) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_CAPATH, NULL) == CURLE_OK;
    }
    if (r->user != NULL) {
        good = good && curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_USERNAME, r->user) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_PASSWORD, r->password) == CURLE_OK;
    }
    if (r->body.p != NULL) {
        char type[128];
        snprintf(type, sizeof type, "Content-Type: %s", r->content_type);
        c->headers = curl_slist_append(c->headers, type);
        good = good && curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)r->body.n) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, r->body.p) == CURLE_OK;
    }
    if (r->resolve != NULL) {
        char entry[IO_HTTP_RESOLVE_MAX + 2];
        snprintf(entry, sizeof entry, "+%s", r->resolve); /* not for ever, and until the next one that says */
        c->resolve = curl_slist_append(NULL, entry);
        good = good && curl_easy_setopt(e, CURLOPT_RESOLVE, c->resolve) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L) ==
                   CURLE_OK && /* to there, not to where it was before */
               curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK;
    }
    char accept[128];
    snprintf(accept, sizeof accept, "Accept: %s", r->accept != NULL ? r->accept : "application/json");
    c->headers = curl_slist_append(c->headers, accept);
    return good && curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK;
}

struct io_http_call *io_http_ask(struct io_http *h, const struct io_http_request *r,
                                 void (*answer)(void *arg, const struct io_http_answer *a), void *arg)
{
    CURL *easy = h->count < IO_HTTP_RUNNING_MAX ? curl_easy_init() : NULL;
    if (easy == NULL)
        return NULL;
    struct io_http_call *c = real_alloc(sizeof *c);
    *c = (struct io_http_call){.http = h, .easy = easy, .answer = answer, .arg = arg};
    vr_buf_init(&c->body, r->answer_max);
    TAILQ_INSERT_TAIL(&h->calls, c, entry);
    h->count++;
    if (call_set_up(c, r) && curl_multi_add_handle(h->multi, easy) == CURLM_OK)
        return c; /* it begins when curl's timer fires */
    call_free(c);
    return NULL;
}

void io_http_cancel(struct io_http_call *c)
{
    call_free(c);
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

struct io_http *io_http_new(struct io *io, const char *ca_file, char error[256])
{
    struct vr_buf ca;
    vr_buf_init(&ca, CA_FILE_MAX);
    int status = ca_file != NULL ? io_fs_read_file(ca_file, &ca) : 0;
    if (status < 0) {
        snprintf(error, 256, "cannot read the certificate authorities %s: %s", ca_file,
                 io_error_text(status));
        vr_buf_fini(&ca);
        return NULL;
    }
    struct io_http *h = real_alloc(sizeof *h);
    *h = (struct io_http){.io = io, .ca = ca};
    TAILQ_INIT(&h->calls);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    h->multi = curl_multi_init();
    if (h->multi == NULL) {
        snprintf(error, 256, "libcurl cannot be used");
        vr_buf_fini(&h->ca);
        free(h);
        return NULL;
    }
    h->timer = io_timer_new(io, timer_due, h);
    /* asked once before the confinement: the C library may have to load modules for host names */
    struct addrinfo *found = NULL;
    if (getaddrinfo("localhost", NULL, NULL, &found) == 0)
        freeaddrinfo(found);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, 8L);
    return h;
}

void io_http_free(struct io_http *h)
{
    if (h == NULL)
        return;
    while (!TAILQ_EMPTY(&h->calls))
        call_free(TAILQ_FIRST(&h->calls));
    curl_multi_cleanup(h->multi);
    io_timer_free(h->timer);
    vr_buf_fini(&h->ca);
    free(h);
}
