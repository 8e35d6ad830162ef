/* smtp_server_session.h - a session of the server engine whose owner takes everything, for tests that speak to it; for the smtp_server*.c only. */
#ifndef TESTS_SMTP_SERVER_SESSION_H
#define TESTS_SMTP_SERVER_SESSION_H

#include <veredus/smtp_server.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <malloc.h>

#include "../../lib/smtp/server_inside.h" /* to see that an idle session holds nothing */

static struct smtp_server_config config;

struct session {
    struct smtp_server *engine;
    struct vr_buf said, text;
    enum smtp_server_event_kind asked; /* wants an answer that was not given */
    unsigned events[SMTP_SERVER_CLOSE + 1];
    uint64_t text_bytes;
    struct smtp_reply refusal; /* of the last event that has one */
    uint16_t close_code;
    bool hold; /* do not answer by itself */
    bool keep; /* the message text */
};

static inline struct session *open_session(bool lmtp)
{
    struct session *s = calloc(1, sizeof *s);
    config = (struct smtp_server_config){.hostname = VR_STR("mx.d.test"), .starttls = true, .lmtp = lmtp};
    assert_non_null(s);
    vr_buf_init(&s->said, 1 << 24);
    vr_buf_init(&s->text, 1 << 24);
    s->engine = smtp_server_new(&config, false, 0);
    assert_non_null(s->engine);
    smtp_server_greet(s->engine, SMTP_REPLY(220, NULL, ""));
    s->keep = true;
    return s;
}

static inline void close_session(struct session *s)
{
    vr_buf_fini(&s->said);
    vr_buf_fini(&s->text);
    smtp_server_free(s->engine);
    free(s);
}

static inline bool wants_answer(enum smtp_server_event_kind kind, const struct smtp_server_event *ev)
{
    switch (kind) {
    case SMTP_SERVER_EHLO:
    case SMTP_SERVER_MAIL:
    case SMTP_SERVER_RCPT:
    case SMTP_SERVER_DATA:
    case SMTP_SERVER_AUTH:
    case SMTP_SERVER_AUTH_RESPONSE:
    case SMTP_SERVER_VRFY:
        return true;
    case SMTP_SERVER_DATA_END:
        return ev->refusal.code == 0;
    default:
        return false;
    }
}

static inline void gather(struct session *s)
{
    struct vr_str out = smtp_server_pending(s->engine);
    vr_buf_add(&s->said, out);
    smtp_server_sent(s->engine, out.n);
}

static inline void pump(struct session *s)
{
    struct smtp_server_event ev;
    enum smtp_server_event_kind kind;
    while ((kind = smtp_server_next(s->engine, &ev)) != SMTP_SERVER_IDLE) {
        s->events[kind]++;
        if (ev.refusal.code != 0)
            s->refusal = ev.refusal;
        if (kind == SMTP_SERVER_CLOSE)
            s->close_code = ev.refusal.code;
        if (kind == SMTP_SERVER_CHUNK) {
            s->text_bytes += ev.data.n;
            if (s->keep)
                vr_buf_add(&s->text, ev.data);
        }
        if (!wants_answer(kind, &ev))
            continue;
        s->asked = kind;
        for (unsigned n = kind == SMTP_SERVER_DATA_END && config.lmtp ? smtp_server_rcpt_count(s->engine) : 1;
             n > 0 && !s->hold; n--) {
            smtp_server_answer(s->engine, SMTP_REPLY(kind == SMTP_SERVER_DATA ? 354 : 250, "2.0.0", "ok"), 0);
            s->asked = SMTP_SERVER_IDLE;
        }
    }
    gather(s);
}

static inline void say(struct session *s, const char *text)
{
    smtp_server_feed(s->engine, vr_str_from(text), 0);
    pump(s);
}

static inline void say_at(struct session *s, const char *text, int64_t now_ms)
{
    smtp_server_feed(s->engine, vr_str_from(text), now_ms);
    pump(s);
}

/* The last line that the server said begins so. */
static inline void assert_last(struct session *s, const char *begin)
{
    struct vr_str said = vr_buf_str(&s->said);
    assert_true(said.n >= 2);
    size_t lf = vr_str_find_last(vr_str_sub(said, 0, said.n - 2), '\n');
    struct vr_str line = lf == VR_NPOS ? said : vr_str_from_pos(said, lf + 1);
    if (!vr_str_starts(line, vr_str_from(begin)))
        fail_msg("the server said \"%.*s\" instead of \"%s\"", VR_STR_ARG(line), begin);
}

static inline void begin_data(struct session *s)
{
    say(s, "EHLO c.test\r\nMAIL FROM:<a@s.test>\r\nRCPT TO:<ok@d.test>\r\nDATA\r\n");
    assert_last(s, "354 ");
}

static inline void assert_holds_nothing(const struct session *s)
{
    assert_int_equal(s->engine->in.capacity, 0);
    assert_int_equal(s->engine->out.capacity, 0);
    assert_null(s->engine->arena.head);
}

static inline size_t memory_in_use(void)
{
    return mallinfo2().uordblks + mallinfo2().hblkhd;
}

/* Feeds n bytes without an LF in pieces; memory may not grow by more than the engine's bounds. */
static inline void feed_flat(struct session *s, uint64_t n)
{
    static char piece[65536];
    memset(piece, 'x', sizeof piece);
    s->keep = false;
    size_t before = memory_in_use(), most = 0;
    for (uint64_t fed = 0; fed < n; fed += sizeof piece) {
        smtp_server_feed(s->engine, vr_str(piece, sizeof piece), 0);
        pump(s);
        size_t now = memory_in_use();
        most = now > most ? now : most;
        assert_true(vr_buf_size(&s->engine->in) <= 65536);
    }
#ifndef __SANITIZE_ADDRESS__ /* its quarantine keeps what was freed */
    assert_true(most < before + (1 << 20));
#else
    (void)before;
#endif
}

#endif
