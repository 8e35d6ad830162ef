/* dns.c - questions to the DNS by libunbound, which resolves in a thread of its own and tells us by a descriptor.
 *
 * Promise:    each question is answered once, from the loop, or not at all after io_dns_cancel; a name that is shown never holds blanks,
 *             line ends or bytes that a host name cannot have unescaped.
 * Confined:   configuration and trust anchors are read in io_dns_new; the thread starts with the first question, so a process can be
 *             confined between the two.
 * RFC:        1035 §3.1 (names), §3.3 (rdata), §5.1 (escapes); 4035 (DNSSEC, done by libunbound); 2181 §11 (any byte may be in a name).
 * Tests:      tests/unit/io_dns.c
 */
#include "io/dns.h"

#include "io/fs.h"
#include "io/real/real.h"

#include <stdio.h>
#include <string.h>
#include <unbound.h>

#define TIMEOUT_DEFAULT_MS 20000
#define NAME_WIRE_MAX      255
#define NAME_TEXT_MAX      (NAME_WIRE_MAX * 4 + 1) /* each byte escaped */
#define ANSWER_MAX         (1u << 20)
#define RCODE_NXDOMAIN     3
#define ANCHOR_FILE_MAX    (1u << 20)

static const char *const anchor_files[] = {"/usr/share/dns/root.key", "/var/lib/unbound/root.key",
                                           "/etc/unbound/root.key", NULL};

struct io_dns {
    struct io_watch watch;
    struct ub_ctx *ub;
    int64_t timeout_ms;
    struct io_dns_query *queries;
    bool processing; /* inside ub_process, which needs the context until it returns */
    bool freed;      /* io_dns_free was called meanwhile */
};

struct io_dns_query {
    struct io_dns *dns;
    struct io_dns_query *next, **at;
    struct io_task refuse; /* the answer to what is no question */
    struct io_timer *timer;
    int id;
    bool asked;     /* libunbound knows it */
    bool abandoned; /* answered or cancelled; waits for libunbound's last word */
    enum io_dns_type type;
    const char *why;
    void (*answer)(void *arg, const struct io_dns_answer *a);
    void *arg;
    char name[256];
};

/* ---- queries --------------------------------------------------------------------------------------------- */

static void query_free(struct io_dns_query *q)
{
    *q->at = q->next;
    if (q->next != NULL)
        q->next->at = q->at;
    io_timer_free(q->timer);
    io_task_cancel(&q->refuse);
    free(q);
}

/* No callback comes any more. libunbound may already be about to deliver: then q stays until it did. */
static void query_abandon(struct io_dns_query *q)
{
    io_timer_free(q->timer);
    q->timer = NULL;
    if (!q->asked || ub_cancel(q->dns->ub, q->id) == 0)
        query_free(q);
    else
        q->abandoned = true;
}

/* At the end of the resolver: libunbound is told to forget what it still works on. */
static void query_drop(struct io_dns_query *q)
{
    if (q->asked)
        ub_cancel(q->dns->ub, q->id);
    query_free(q);
}

static void query_fail(struct io_dns_query *q, enum io_dns_status status, const char *why)
{
    struct io_dns_answer a = {.status = status, .why = status == IO_DNS_FAILED ? why : NULL};
    void (*answer)(void *, const struct io_dns_answer *) = q->answer;
    void *arg = q->arg;
    char name[256];
    memcpy(name, q->name, sizeof name);
    a.canonical = vr_str_from(name);
    query_abandon(q); /* first: the owner holds it no more once the answer came */
    answer(arg, &a);
}

static void on_timeout(void *arg)
{
    query_fail(arg, IO_DNS_FAILED, "timed out");
}

static void on_refuse(struct io_task *t)
{
    struct io_dns_query *q = CONTAINER(t, struct io_dns_query, refuse);
    query_fail(q, q->why != NULL ? IO_DNS_FAILED : IO_DNS_NXDOMAIN, q->why);
}

/* ---- names and records ----------------------------------------------------------------------------------- */

static bool plain_byte(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '/';
}

/* An uncompressed name at the front of *rdata to text; strange bytes as \DDD, which no later question accepts. */
static bool name_text(struct vr_str rdata, struct vr_arena *memory, struct vr_str *out)
{
    char text[NAME_TEXT_MAX + 1];
    size_t n = 0, i = 0;
    while (i < rdata.n && rdata.p[i] != 0) {
        size_t label = (unsigned char)rdata.p[i++];
        if (label > 63 || label > rdata.n - i || i + label >= NAME_WIRE_MAX)
            return false;
        if (n > 0)
            text[n++] = '.';
        for (; label > 0; label--, i++) {
            unsigned char c = (unsigned char)rdata.p[i];
            if (plain_byte(c))
                text[n++] = (char)c;
            else
                n += (size_t)snprintf(text + n, 5, "\\%03u", c);
        }
    }
    if (i + 1 != rdata.n) /* the root label, and nothing behind it */
        return false;
    *out = vr_arena_dup(memory, vr_str(text, n));
    return true;
}

/* RFC 1035 §3.3.14: strings with a length each; SPF and DKIM want them joined with nothing between (RFC 7208 §3.3). */
static bool strings_joined(struct vr_str rdata, struct vr_arena *memory, struct vr_str *out)
{
    char *joined = vr_arena_alloc(memory, rdata.n + 1);
    size_t n = 0;
    if (joined == NULL)
        return false;
    for (size_t i = 0; i < rdata.n;) {
        size_t length = (unsigned char)rdata.p[i++];
        if (length > rdata.n - i)
            return false;
        memcpy(joined + n, rdata.p + i, length);
        n += length;
        i += length;
    }
    *out = vr_str(joined, n);
    return true;
}

/* False: the record is malformed and left out. */
static bool record_read(enum io_dns_type type, struct vr_str rdata, struct vr_arena *memory,
                        struct io_dns_record *out)
{
    *out = (struct io_dns_record){.data = rdata};
    switch (type) {
    case IO_DNS_A:
        return rdata.n == 4;
    case IO_DNS_AAAA:
        return rdata.n == 16;
    case IO_DNS_TXT:
        return strings_joined(rdata, memory, &out->data);
    case IO_DNS_SRV:
        return rdata.n > 6; /* RFC 2782 */
    case IO_DNS_TLSA:
        return rdata.n > 3; /* RFC 6698 §2.1 */
    case IO_DNS_MX:
        if (rdata.n < 3)
            return false;
        out->preference = (uint16_t)((unsigned char)rdata.p[0] << 8 | (unsigned char)rdata.p[1]);
        rdata = vr_str_from_pos(rdata, 2);
        break;
    default:
        break;
    }
    return name_text(rdata, memory, &out->name);
}

static const char *rcode_text(int rcode)
{
    static const char *const names[] = {"no error", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
    return rcode >= 0 && rcode < 6 ? names[rcode] : "an unknown error code";
}

static struct vr_str without_dot(const char *name)
{
    struct vr_str s = vr_str_from(name);
    return s.n > 0 && s.p[s.n - 1] == '.' ? vr_str_sub(s, 0, s.n - 1) : s;
}

static void records_read(const struct io_dns_query *q, const struct ub_result *r, struct vr_arena *memory,
                         struct io_dns_answer *a)
{
    size_t count = 0, got = 0;
    while (r->data[count] != NULL)
        count++;
    struct io_dns_record *records = vr_arena_alloc(memory, (count + 1) * sizeof *records);
    for (size_t i = 0; records != NULL && i < count; i++)
        if (record_read(q->type, vr_str(r->data[i], (size_t)r->len[i]), memory, &records[got]))
            got++;
    a->records = records;
    a->count = got;
    a->status = got > 0 ? IO_DNS_OK : IO_DNS_FAILED;
    a->why = got > 0 ? NULL : "malformed records";
}

static void answer_fill(const struct io_dns_query *q, const struct ub_result *r, struct vr_arena *memory,
                        struct io_dns_answer *a)
{
    a->secure = r->secure != 0;
    a->bogus = r->bogus != 0;
    a->ttl = r->ttl > 0 ? (uint32_t)r->ttl : 0;
    if (r->canonname != NULL)
        a->canonical = without_dot(r->canonname);
    if (r->bogus) {
        a->status = IO_DNS_FAILED;
        a->why = r->why_bogus != NULL ? r->why_bogus : "DNSSEC validation failed";
    } else if (r->rcode == RCODE_NXDOMAIN || r->nxdomain) {
        a->status = IO_DNS_NXDOMAIN;
    } else if (r->rcode != 0) {
        a->status = IO_DNS_FAILED;
        a->why = rcode_text(r->rcode);
    } else if (!r->havedata) {
        a->status = IO_DNS_NODATA;
    } else {
        records_read(q, r, memory, a);
    }
}

static void on_answer(void *arg, int error, struct ub_result *r)
{
    struct io_dns_query *q = arg;
    struct vr_arena memory;
    q->asked = false;
    if (q->abandoned) {
        query_free(q);
        ub_resolve_free(r);
        return;
    }
    if (error != 0 || r == NULL) {
        query_fail(q, IO_DNS_FAILED, ub_strerror(error));
        ub_resolve_free(r);
        return;
    }
    char name[256];
    memcpy(name, q->name, sizeof name);
    struct io_dns_answer a = {.canonical = vr_str_from(name)};
    void (*answer)(void *, const struct io_dns_answer *) = q->answer;
    void *answer_arg = q->arg;
    vr_arena_init(&memory, ANSWER_MAX);
    answer_fill(q, r, &memory, &a);
    query_free(q);
    answer(answer_arg, &a);
    vr_arena_fini(&memory);
    ub_resolve_free(r);
}

/* ---- asking ---------------------------------------------------------------------------------------------- */

/* Labels of 1 to 63 bytes, 253 together (RFC 1035 §2.3.4), visible ASCII, no escapes. */
static bool name_copy(struct vr_str name, char out[256])
{
    size_t label = 0;
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n > 253)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c <= ' ' || c >= 0x7f || c == '\\' || (c == '.' && label == 0) || (c != '.' && label == 63))
            return false;
        label = c == '.' ? 0 : label + 1;
        out[i] = vr_lower((char)c);
    }
    out[name.n] = '\0';
    return label > 0;
}

struct io_dns_query *io_dns_ask(struct io_dns *d, struct vr_str name, enum io_dns_type type,
                                void (*answer)(void *arg, const struct io_dns_answer *a), void *arg)
{
    struct io_dns_query *q = real_alloc(sizeof *q);
    q->dns = d;
    q->type = type;
    q->answer = answer;
    q->arg = arg;
    q->refuse.run = on_refuse;
    q->next = d->queries;
    q->at = &d->queries;
    if (q->next != NULL)
        q->next->at = &q->next;
    d->queries = q;
    if (!name_copy(name, q->name)) {
        q->name[0] = '\0';
        io_later(d->watch.io, &q->refuse);
        return q;
    }
    char absolute[258];
    snprintf(absolute, sizeof absolute, "%s.", q->name);
    int error = ub_resolve_async(d->ub, absolute, (int)type, 1 /* IN */, q, on_answer, &q->id);
    if (error != 0) {
        q->why = ub_strerror(error);
        io_later(d->watch.io, &q->refuse);
        return q;
    }
    q->asked = true;
    q->timer = io_timer_new(d->watch.io, on_timeout, q);
    io_timer_start(q->timer, d->timeout_ms, 0);
    return q;
}

void io_dns_cancel(struct io_dns_query *q)
{
    if (q != NULL)
        query_abandon(q);
}

/* ---- the resolver ---------------------------------------------------------------------------------------- */

static void dns_ready(struct io_watch *w, uint32_t events)
{
    struct io_dns *d = CONTAINER(w, struct io_dns, watch);
    (void)events;
    d->processing = true;
    ub_process(d->ub);
    d->processing = false;
    if (d->freed) {
        ub_ctx_delete(d->ub);
        d->ub = NULL;
    }
}

static bool add_anchors(struct ub_ctx *ub, const char *path, char error[256])
{
    struct vr_buf text;
    vr_buf_init(&text, ANCHOR_FILE_MAX);
    int status = io_fs_read_file(path, &text);
    struct vr_str rest = vr_buf_str(&text), line;
    int bad = 0;
    while (status == 0 && vr_str_split(&rest, '\n', &line)) {
        char record[2048];
        size_t comment = vr_str_find(line, ';');
        line = vr_str_trim(comment != VR_NPOS ? vr_str_sub(line, 0, comment) : line);
        if (line.n == 0)
            continue;
        if (line.n >= sizeof record)
            bad = 1;
        snprintf(record, sizeof record, "%.*s", VR_STR_ARG(line));
        if (bad == 0)
            bad = ub_ctx_add_ta(ub, record);
    }
    vr_buf_fini(&text);
    if (status != 0)
        snprintf(error, 256, "cannot read the DNSSEC trust anchors %s: %s", path, io_error_text(status));
    else if (bad != 0)
        snprintf(error, 256, "the DNSSEC trust anchors %s hold a line that is no DS or DNSKEY record", path);
    return status == 0 && bad == 0;
}

static bool configure_anchors(struct ub_ctx *ub, const char *path, char error[256])
{
    struct io_fs_stat st;
    if (path != NULL)
        return add_anchors(ub, path, error);
    for (size_t i = 0; anchor_files[i] != NULL; i++)
        if (io_fs_stat(anchor_files[i], &st) == 0)
            return add_anchors(ub, anchor_files[i], error);
    return true;
}

static bool configure_servers(struct ub_ctx *ub, const char *const *forwarders, char error[256])
{
    bool forwarding = forwarders != NULL && *forwarders != NULL;
    for (; forwarding && *forwarders != NULL; forwarders++) {
        int bad = ub_ctx_set_fwd(ub, *forwarders);
        if (bad != 0) {
            snprintf(error, 256,
                     "the DNS server \"%.100s\" is no address (\"192.0.2.1\" or \"127.0.0.1@5353\"): %s",
                     *forwarders, ub_strerror(bad));
            return false;
        }
    }
    if (!forwarding && ub_ctx_resolvconf(ub, NULL) != 0)
        return true; /* libunbound asks the root servers itself */
    /* The administrator's server decides what exists, also on this machine, in private networks' reverse zones and in
     * the names for tests (RFC 6761 §6.2), all of which libunbound would answer or refuse by itself. */
    ub_ctx_set_option(ub, "do-not-query-localhost:", "no");
    ub_ctx_set_option(ub, "unblock-lan-zones:", "yes");
    ub_ctx_set_option(ub, "insecure-lan-zones:", "yes");
    ub_ctx_set_option(ub, "domain-insecure:", "test.");
    return true;
}

struct io_dns *io_dns_new(struct io *io, const struct io_dns_config *config, char error[256])
{
    struct ub_ctx *ub = ub_ctx_create();
    if (ub == NULL) {
        snprintf(error, 256, "libunbound does not start: out of memory or of descriptors");
        return NULL;
    }
    ub_ctx_debuglevel(ub, 0);
    ub_ctx_set_option(ub, "use-syslog:", "no");
    if (ub_ctx_async(ub, 1) != 0 || !configure_servers(ub, config->forwarders, error) ||
        !configure_anchors(ub, config->trust_anchor_file, error)) {
        ub_ctx_delete(ub);
        return NULL;
    }
    ub_ctx_zone_remove(ub, "test."); /* after all options: it makes the configuration final */
    struct io_dns *d = real_alloc(sizeof *d);
    d->ub = ub;
    d->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_DEFAULT_MS;
    d->watch = (struct io_watch){.io = io, .fd = ub_fd(ub), .ready = dns_ready};
    io_watch_set(&d->watch, EPOLLIN);
    return d;
}

static void dns_release(struct io_watch *w)
{
    free(CONTAINER(w, struct io_dns, watch));
}

void io_dns_free(struct io_dns *d)
{
    if (d == NULL)
        return;
    io_watch_set(&d->watch, 0);
    while (d->queries != NULL)
        query_drop(d->queries);
    if (d->processing)
        d->freed = true;
    else
        ub_ctx_delete(d->ub);
    d->watch.fd = -1; /* was libunbound's */
    d->watch.release = dns_release;
    io_watch_close(&d->watch);
}
