/* http.h - HTTPS requests (libcurl), a few at a time, each with a time limit and a bound on the answer.
 *
 * Only https, certificates always verified; no redirects, no proxies, no cookies, nothing from the environment.
 */
#ifndef IO_HTTP_H
#define IO_HTTP_H

#include "io/io.h"

#define IO_HTTP_RUNNING_MAX 64
#define IO_HTTP_RESOLVE_MAX 1200 /* characters */

struct io_http;
/* ca_file: PEM, read now; NULL: the system's. Call it before the process is confined. NULL on failure, with a sentence. */
struct io_http *io_http_new(struct io *io, const char *ca_file, char error[256]);
void io_http_free(struct io_http *h); /* requests under way are cancelled */

struct io_http_request {
    const char *url;
    const char *resolve; /* "host:port:address,address" (IPv6 in brackets): where the host of the URL is; NULL: the system's resolver is asked */
    const char *accept;  /* a media type; NULL: application/json */
    struct vr_str body;       /* p NULL: GET, else POST */
    const char *content_type; /* of the body */
    const char *user, *password; /* HTTP Basic; NULL: none */
    int64_t timeout_ms;       /* for all of it */
    size_t answer_max;        /* bytes of body; more is an error */
};
struct io_http_answer {
    unsigned status;    /* 200, …; 0: there was no answer, and `error` says why */
    struct vr_str body;
    const char *content_type; /* as the server wrote it; "": it did not */
    const char *error;  /* a phrase for the log: "Connection refused", …; "" when there is a status */
};
struct io_http_call;
/* answer comes once, from the loop; what it is given lives until the return. NULL: too many under way. */
struct io_http_call *io_http_ask(struct io_http *h, const struct io_http_request *r,
                                 void (*answer)(void *arg, const struct io_http_answer *a), void *arg);
void io_http_cancel(struct io_http_call *c); /* before the answer came; no callback then */

#endif
