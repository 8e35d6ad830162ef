/* follow.c - see follow.h.
 *
 * Tests: tests/e2e/test_certificates.py
 */
#include "supervisor/follow.h"

#include "io/certificate.h"
#include "io/env.h"

#include <veredus/message.h>

#include <string.h>

#define LOOK_MS   2000
#define WARN_MS   (24 * 3600 * 1000ll)
#define DAY_S     86400
#define ARENA_MAX (256u << 10)

void follow_begin(struct follow *f, struct certificates *certificates)
{
    certificates_free(f->certificates);
    int64_t now = io_supervise_now_ms();
    *f = (struct follow){.certificates = certificates, .look_at_ms = now + LOOK_MS, .warn_at_ms = now};
}

void follow_end(struct follow *f)
{
    certificates_free(f->certificates);
    f->certificates = NULL;
}

static void put_names(struct event_log *log, const struct certificate *c)
{
    event_text(log, "certificate", c->chain_path);
    if (c->names[0] != '\0')
        event_text(log, "names", c->names);
}

static void put_time(struct event_log *log, const char *key, int64_t seconds)
{
    char text[MESSAGE_RFC3339_SIZE];
    event_str(log, key, vr_str(text, message_rfc3339_write(text, seconds * 1000000)));
}

/* ---- another pair ---------------------------------------------------------------------------------------------- */

static void hand_on(struct children *all, uint32_t generation, uint32_t index, const struct certificate *c)
{
    struct vr_buf b;
    vr_buf_init(&b, 2 * CERTIFICATE_FILE_MAX + 64);
    vr_buf_reserve(&b, vr_buf_size(&c->chain) + vr_buf_size(&c->key) +
                           64); /* does not grow: one copy, to be wiped */
    for (size_t i = 0; i < CHILD_MAX; i++) {
        const struct child *child = &all->items[i];
        if (child->state != CHILD_RUNNING || child->draining || child->generation != generation ||
            (child->role & (IPC_RECEIVER | IPC_WEB | IPC_ADMIN)) == 0)
            continue;
        vr_buf_reset(&b);
        ipc_put_u32(&b, index);
        ipc_put_str(&b, vr_buf_str(&c->chain));
        ipc_put_str(&b, child->role == IPC_ADMIN ? vr_str(NULL, 0) : vr_buf_str(&c->key));
        io_supervise_send(all->io, child->channel, IPC_CERTIFICATE, vr_buf_str(&b), -1);
    }
    volatile char *p = b.p;
    for (size_t i = 0; i < b.capacity; i++)
        p[i] = 0;
    vr_buf_fini(&b);
}

static void tell_replaced(struct event_log *log, const struct certificate *c)
{
    struct vr_arena arena;
    struct io_certificate x;
    char error[256];
    vr_arena_init(&arena, ARENA_MAX);
    event_begin(log, EVENT_NOTICE, "tls.reloaded", 0);
    put_names(log, c);
    if (io_certificate_read(&arena, vr_buf_str(&c->chain), &x, error)) {
        event_str(log, "subject", x.subject);
        put_time(log, "expires", x.not_after);
    }
    event_end(log);
    vr_arena_fini(&arena);
}

static void look(struct follow *f, struct children *all, uint32_t generation, struct event_log *log)
{
    for (size_t i = 0; i < f->certificates->count; i++) {
        const struct certificate *c = &f->certificates->items[i];
        char error[256];
        switch (certificates_look(f->certificates, i, error)) {
        case CERTIFICATES_SAME:
            break;
        case CERTIFICATES_REPLACED:
            hand_on(all, generation, (uint32_t)i, c);
            tell_replaced(log, c);
            f->warn_at_ms = io_supervise_now_ms(); /* it may be an old one */
            break;
        case CERTIFICATES_REFUSED:
            event_begin(log, EVENT_ERROR, "tls.reload_refused", 0);
            put_names(log, c);
            event_text(log, "error", error);
            event_text(log, "next",
                       "the one from before stays in use; mend the files, they are looked at again");
            event_end(log);
            break;
        }
    }
}

/* ---- the end is near ------------------------------------------------------------------------------------------- */

static void warn(const struct follow *f, struct event_log *log)
{
    int64_t now = io_env_clock_us() / 1000000;
    for (size_t i = 0; i < f->certificates->count; i++) {
        const struct certificate *c = &f->certificates->items[i];
        struct vr_arena arena;
        struct io_certificate x;
        char error[256];
        vr_arena_init(&arena, ARENA_MAX);
        if (io_certificate_read(&arena, vr_buf_str(&c->chain), &x, error) &&
            x.not_after - now < (int64_t)FOLLOW_WARN_DAYS * DAY_S) {
            bool over = x.not_after <= now;
            event_begin(log, over ? EVENT_ERROR : EVENT_WARNING, over ? "tls.expired" : "tls.expires_soon",
                        0);
            put_names(log, c);
            put_time(log, "expires", x.not_after);
            event_text(log, "next",
                       "put a renewed certificate and its key into the files; no reload is needed");
            event_end(log);
        }
        vr_arena_fini(&arena);
    }
}

void follow_turn(struct follow *f, struct children *c, uint32_t generation, struct event_log *log)
{
    int64_t now = io_supervise_now_ms();
    if (f->certificates == NULL)
        return;
    if (now >= f->look_at_ms) {
        f->look_at_ms = now + LOOK_MS;
        look(f, c, generation, log);
    }
    if (now >= f->warn_at_ms) {
        f->warn_at_ms = now + WARN_MS;
        warn(f, log);
    }
}
