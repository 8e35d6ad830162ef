/* oracle.c - see world.h. The invariants:
 *
 *  1. An acknowledged recipient ends delivered or reported to the sender: lost is a violation.
 *  2. Delivered once. A second time is a violation, unless a connection broke before the server's 250 was read, or a process died soon after.
 *  3. Not delivered and bounced, with the same excuse.
 *  4. A failure is reported once (two copies of one report are a duplicate of the report, with the same excuse).
 *  5. What is delivered is what was sent, byte for byte.
 *  6. What was never sent to its end is not delivered.
 *  7. Nothing is reported as failed that no server refused (unless the DNS lies: then a name may not exist for a while).
 *  8. Nothing in the log is found damaged: the simulated disk loses and tears, and does not corrupt what was synced.
 *  9. No destination starves: while seven others fail in all ways, the healthy one's mail is there within WAIT_MAX_US (of a run without deaths
 *     and without trouble of the disk, which stop everybody).
 * 10. Mail in the name of a domain that does not allow it, or whose DNS is silent, is never taken; that of one who may is never refused, nor put off when nothing is wrong.
 * 11. Who needs no answer of the DNS is answered at once, while others wait for one that never comes (of a run in which nothing else is wrong).
 * 12. What a stranger's mail says in our name of its verification is ours.
 */
#include "world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define CONTENT_MAX (300u << 10)
#define SOON_US     (10 * 1000000ll) /* results are on disk long before */
#define AMID_US     500000
#define ORPHAN_US   (8 * 1000000ll)
#define TROUBLES    256
#define WAIT_MAX_US (60 * 1000000ll)
#define SHOWN_MAX   8 /* of a run's violations: the first ones tell the most */

struct rcpt {
    bool acknowledged;
    bool unread;  /* the last 250 for it, as far as its server knows */
    bool excused; /* one before was never read */
    char mode;
    uint8_t domain;   /* DOMAINS: a mailbox of the server */
    uint8_t attempts; /* that a deferring server saw */
    uint16_t delivered, failed;
    uint64_t report; /* which one */
    int64_t acknowledged_us, delivered_us, failed_us;
};

struct mail {
    struct rcpt rcpts[RCPT_MAX];
    uint8_t count;
    bool dot_sent;
};

struct tally tally;
static struct mail *mails;
static uint32_t mail_count, mail_capacity;
static unsigned violation_count;
static struct killed {
    int64_t at;
    bool supervisor, amid_signal; /* of a reload or a stop: the generations were not wired yet */
} * kills;
static size_t kill_count;
static int64_t last_signal = INT64_MIN / 2;
static struct {
    int64_t from, to;
} troubles[TROUBLES];
static size_t trouble_count;
static char slowest[80]; /* whose mail took tally.slowest_us */

void violation(const char *format, ...)
{
    va_list args;
    if (violation_count++ >= SHOWN_MAX)
        return;
    va_start(args, format);
    printf("seed %llu: at %.3f s: VIOLATION: ", (unsigned long long)scenario.seed,
           (double)sim_now_us() / 1e6);
    vprintf(format, args);
    printf("\n");
    fflush(stdout);
    va_end(args);
}

unsigned violations(void)
{
    return violation_count;
}

/* ---- mails -------------------------------------------------------------------------------------------------------------------- */

uint32_t mail_new(void)
{
    if (mail_count == mail_capacity) {
        mail_capacity = mail_capacity > 0 ? 2 * mail_capacity : 1024;
        mails = realloc(mails, mail_capacity * sizeof *mails);
        assert(mails != NULL);
    }
    struct mail *m = &mails[mail_count];
    *m = (struct mail){.count = sim_below(4) > 0 ? 1 : (uint8_t)(1 + sim_below(RCPT_MAX))};
    for (unsigned k = 0; k < m->count; k++) {
        uint64_t dice = sim_below(100);
        m->rcpts[k].mode = dice < 88 ? MODE_OK : dice < 94 ? MODE_REFUSED : MODE_DEFERRED;
        m->rcpts[k].domain = (uint8_t)sim_below(DOMAINS + 2);
        if (m->rcpts[k].domain > DOMAINS)
            m->rcpts[k].domain = 0;
        if (m->rcpts[k].domain == DOMAINS)
            m->rcpts[k].mode = MODE_OK;
    }
    return mail_count++;
}

unsigned mail_rcpt_count(uint32_t id)
{
    return mails[id].count;
}

void mail_rcpt(uint32_t id, unsigned k, char out[80])
{
    const struct rcpt *r = &mails[id].rcpts[k];
    if (r->domain == DOMAINS)
        snprintf(out, 80, "box%u+m%u.%u%c@local.example", id % 8, id, k, r->mode);
    else
        snprintf(out, 80, "m%u.%u%c@d%u.example", id, k, r->mode, r->domain);
}

void mail_sender(uint32_t id, char out[80])
{
    snprintf(out, 80, "s%u@sender.example", id);
}

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

struct vr_str mail_content(uint32_t id)
{
    static char text[CONTENT_MAX];
    uint32_t state = id * 2654435761u + 12345;
    uint32_t kind = next(&state) % 20, some = next(&state);
    size_t size = kind == 0  ? 70000 + some % 80000 /* a file of its own */
                  : kind < 3 ? 5000 + some % 50000
                             : 200 + some % 4000;
    size_t n = (size_t)snprintf(
        text, sizeof text, "X-Sim: %u\r\nFrom: s%u@sender.example\r\nSubject: number %u\r\n\r\n", id, id, id);
    while (n < size) {
        unsigned width = 1 + next(&state) % 76;
        if (next(&state) % 16 == 0)
            text[n++] = '.';
        for (unsigned i = 0; i < width; i++)
            text[n++] = (char)('a' + next(&state) % 26);
        text[n++] = '\r';
        text[n++] = '\n';
    }
    return vr_str(text, n);
}

void mail_acknowledged(uint32_t id, unsigned k)
{
    mails[id].rcpts[k].acknowledged = true;
    mails[id].rcpts[k].acknowledged_us = sim_now_us();
    tally.acknowledged++;
}

void mail_dot_sent(uint32_t id)
{
    mails[id].dot_sent = true;
}

static struct rcpt *rcpt_of(struct vr_str address, uint32_t *id)
{
    char text[100];
    unsigned number, k;
    char mode;
    snprintf(text, sizeof text, "%.*s", VR_STR_ARG(vr_str_sub(address, 0, sizeof text - 1)));
    const char *m = strchr(text, '+') != NULL ? strchr(text, '+') + 1 : text;
    if (sscanf(m, "m%u.%u%c", &number, &k, &mode) != 3 || number >= mail_count || k >= mails[number].count) {
        violation("an address that nobody used: <%s>", text);
        return NULL;
    }
    *id = number;
    return &mails[number].rcpts[k];
}

/* ---- excuses ---------------------------------------------------------------------------------------------------------------------- */

void oracle_signal(void)
{
    last_signal = sim_now_us();
}

void oracle_kill(bool supervisor)
{
    kills = realloc(kills, (kill_count + 1) * sizeof *kills);
    assert(kills != NULL);
    kills[kill_count++] = (struct killed){sim_now_us(), supervisor, sim_now_us() - last_signal < AMID_US};
}

void oracle_trouble(bool begins)
{
    if (begins && trouble_count < TROUBLES)
        troubles[trouble_count++].from = sim_now_us(), troubles[trouble_count - 1].to = INT64_MAX;
    else if (!begins && trouble_count > 0)
        troubles[trouble_count - 1].to = sim_now_us();
}

/* Those whose supervisor was killed finish what they have within ORPHAN_US. If another one of them was killed as well, it may have been
 * the queue, and nobody hears what they did. */
static bool orphans_without_a_queue(int64_t t)
{
    for (size_t i = 0; i < kill_count; i++) {
        if (!kills[i].supervisor || kills[i].at > t || t - kills[i].at > ORPHAN_US)
            continue;
        if (kills[i].amid_signal)
            return true;
        for (size_t k = 0; k < kill_count; k++)
            if (k != i && kills[k].at <= t && t - kills[k].at < 2 * ORPHAN_US)
                return true;
    }
    return false;
}

/* Did somebody die between this moment and the one when its result was surely on disk? */
static bool died_soon_after(int64_t t)
{
    int64_t until = t + SOON_US;
    for (size_t i = 0; i < trouble_count; i++)
        if (troubles[i].from <= until && troubles[i].to >= t)
            until = troubles[i].to > INT64_MAX - SOON_US ? INT64_MAX : troubles[i].to + SOON_US;
    for (size_t i = 0; i < kill_count; i++)
        if (kills[i].at >= t && kills[i].at <= until)
            return true;
    return orphans_without_a_queue(t);
}

void oracle_read(struct vr_str address)
{
    uint32_t id;
    struct rcpt *r = rcpt_of(address, &id);
    if (r != NULL)
        r->unread = false;
}

/* ---- what happens ------------------------------------------------------------------------------------------------------------------- */

static void check_content(uint32_t id, struct vr_str data, const char *where)
{
    struct vr_str sent = mail_content(id);
    if (data.n < sent.n || memcmp(data.p + data.n - sent.n, sent.p, sent.n) != 0)
        violation("mail %u came to %s altered (%zu bytes, %zu were sent): %.*s", id, where, data.n, sent.n,
                  VR_STR_ARG(vr_str_sub(data, 0, 300)));
}

void oracle_delivered(struct vr_str address, struct vr_str data)
{
    uint32_t id;
    struct rcpt *r = rcpt_of(address, &id);
    if (r == NULL)
        return;
    check_content(id, data, "a server");
    r->excused = r->unread;
    r->unread = true;
    if (!mails[id].dot_sent)
        violation("mail %u was delivered, and never sent to its end", id);
    if (r->delivered > 0) {
        tally.duplicates++;
        if (!r->excused && !died_soon_after(r->delivered_us))
            violation("<%.*s> got its mail twice, at %.3f s and now, without a reason", VR_STR_ARG(address),
                      (double)r->delivered_us / 1e6);
    } else {
        tally.delivered++;
    }
    if (r->failed > 0 && !r->excused && !died_soon_after(r->failed_us))
        violation("<%.*s> got its mail after it was reported as failed", VR_STR_ARG(address));
    r->delivered++;
    r->delivered_us = sim_now_us();
    if (r->domain == 0 && r->mode == MODE_OK && r->acknowledged && kill_count == 0 && trouble_count == 0 &&
        r->delivered_us - r->acknowledged_us > tally.slowest_us) {
        tally.slowest_us = r->delivered_us - r->acknowledged_us;
        snprintf(slowest, sizeof slowest, "%.*s", VR_STR_ARG(vr_str_sub(address, 0, sizeof slowest - 1)));
    }
}

static uint64_t hash(struct vr_str s)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (uint8_t)s.p[i]) * 1099511628211u;
    return h | 1;
}

static struct vr_str line_value(struct vr_str text, const char *key)
{
    size_t at = vr_str_find_str(text, vr_str_from(key));
    if (at == VR_NPOS)
        return vr_str(NULL, 0);
    struct vr_str rest = vr_str_from_pos(text, at + strlen(key));
    size_t end = vr_str_find(rest, '\r');
    return end == VR_NPOS ? rest : vr_str_sub(rest, 0, end);
}

static void failed(struct vr_str address, uint64_t report)
{
    uint32_t id;
    struct rcpt *r = rcpt_of(address, &id);
    if (r == NULL)
        return;
    if (r->failed > 0 && r->report != report && !died_soon_after(r->failed_us))
        violation("<%.*s> was reported as failed twice", VR_STR_ARG(address));
    if (r->delivered > 0 && !r->excused && !r->unread && !died_soon_after(r->delivered_us))
        violation("<%.*s> was reported as failed, and had been delivered", VR_STR_ARG(address));
    if (r->mode != MODE_REFUSED && !scenario.dns)
        violation("<%.*s> was reported as failed, and nobody refused it", VR_STR_ARG(address));
    if (r->failed == 0)
        tally.reported++;
    if (r->failed == 0 || r->report != report)
        r->failed_us = sim_now_us();
    r->failed++;
    r->report = report;
}

/* A report came to the sender: which recipients does it speak of? */
void oracle_report(struct vr_str reverse_path, struct vr_str address, struct vr_str data)
{
    unsigned id;
    char text[100];
    snprintf(text, sizeof text, "%.*s", VR_STR_ARG(vr_str_sub(address, 0, sizeof text - 1)));
    if (sscanf(text, "s%u@", &id) != 1 || id >= mail_count) {
        violation("a report to somebody who never sent: <%s>", text);
        return;
    }
    if (reverse_path.n > 0)
        violation("a report with a reverse-path: <%.*s>", VR_STR_ARG(reverse_path));
    uint64_t report = hash(line_value(data, "Message-ID:"));
    struct vr_str rest = data;
    for (;;) {
        size_t at = vr_str_find_str(rest, VR_STR("Final-Recipient:"));
        if (at == VR_NPOS)
            break;
        rest = vr_str_from_pos(rest, at);
        struct vr_str who = line_value(rest, "rfc822;"), action = line_value(rest, "Action: ");
        while (who.n > 0 && who.p[0] == ' ')
            who = vr_str_from_pos(who, 1);
        if (vr_str_equal(action, VR_STR("failed")))
            failed(who, report);
        rest = vr_str_from_pos(rest, 16);
    }
}

unsigned oracle_attempts(struct vr_str address)
{
    uint32_t id;
    struct rcpt *r = rcpt_of(address, &id);
    return r != NULL && r->attempts < 255 ? r->attempts++ : 255;
}

/* ---- the end ----------------------------------------------------------------------------------------------------------------------------- */

struct found {
    uint16_t *counts; /* of mail × RCPT_MAX */
};

static void mailbox_file(void *arg, const char *path, struct vr_str content)
{
    struct found *f = arg;
    uint32_t id;
    if (strstr(path, "/new/") == NULL)
        return;
    struct vr_str who = line_value(content, "Delivered-To: ");
    struct rcpt *r = rcpt_of(who, &id);
    if (r == NULL)
        return;
    f->counts[id * RCPT_MAX + (size_t)(r - mails[id].rcpts)]++;
    /* A Maildir has bare line ends. */
    struct vr_str sent = mail_content(id);
    static char bare[CONTENT_MAX];
    size_t n = 0;
    for (size_t i = 0; i < sent.n; i++)
        if (sent.p[i] != '\r')
            bare[n++] = sent.p[i];
    if (content.n < n || memcmp(content.p + content.n - n, bare, n) != 0)
        violation("mail %u lies in a mailbox altered: %s", id, path);
    if (!mails[id].dot_sent)
        violation("mail %u lies in a mailbox, and was never sent to its end", id);
}

void oracle_mailboxes(void)
{
    struct found f = {.counts = calloc((size_t)mail_count * RCPT_MAX + 1, sizeof *f.counts)};
    assert(f.counts != NULL);
    sim_disk_walk("/mail", mailbox_file, &f);
    for (uint32_t id = 0; id < mail_count; id++)
        for (unsigned k = 0; k < mails[id].count; k++) {
            struct rcpt *r = &mails[id].rcpts[k];
            if (r->domain != DOMAINS)
                continue;
            r->delivered = f.counts[id * RCPT_MAX + k];
            tally.delivered += r->delivered > 0;
            tally.duplicates += r->delivered > 1 ? r->delivered - 1u : 0;
            if (r->delivered > 1 && kill_count == 0)
                violation("recipient %u of mail %u lies %u times in its mailbox, and nobody died", k, id,
                          r->delivered);
        }
    free(f.counts);
}

bool oracle_settled(unsigned *open)
{
    *open = 0;
    for (uint32_t id = 0; id < mail_count; id++)
        for (unsigned k = 0; k < mails[id].count; k++) {
            const struct rcpt *r = &mails[id].rcpts[k];
            *open += r->acknowledged && r->domain != DOMAINS && r->delivered == 0 && r->failed == 0;
        }
    return *open == 0;
}

void oracle_final(void)
{
    if (tally.slowest_us > WAIT_MAX_US)
        violation("the healthy domain starves: <%s> got its mail %.1f s after the server had taken it",
                  slowest, (double)tally.slowest_us / 1e6);
    for (uint32_t id = 0; id < mail_count; id++)
        for (unsigned k = 0; k < mails[id].count; k++) {
            const struct rcpt *r = &mails[id].rcpts[k];
            if (!r->acknowledged)
                continue;
            char address[80];
            mail_rcpt(id, k, address);
            if (r->delivered == 0 && r->failed == 0)
                violation("<%s> was acknowledged at %.3f s, and LOST", address,
                          (double)r->acknowledged_us / 1e6);
            if (r->mode == MODE_REFUSED && r->failed == 0)
                violation("<%s> is refused by its server, and nobody was told", address);
        }
}
