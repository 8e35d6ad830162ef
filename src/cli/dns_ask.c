/* dns_ask.c - see dns_inside.h. One question at a time: a command has a person's patience.
 *
 * Tests: tests/e2e/test_dns_tools.py
 */
#include "cli/dns_inside.h"

#include "io/dns.h"
#include "ipc/answers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 6000
#define PATIENCE                                                                                             \
    3 /* answers that fail in a row, before the first that came: then nothing is asked any more */

struct dns_asker {
    struct io *io;
    struct io_dns *dns;
    struct vr_arena *arena;
    struct dns_answer answers[DNS_ASKED_MAX];
    size_t count;
    bool answered, heard;
    unsigned failed;
};

struct dns_asker *dns_asker_new(struct vr_arena *arena, const char *const *servers, const char *trust_anchor,
                                char error[256])
{
    struct dns_asker *a = calloc(1, sizeof *a);
    assert(a != NULL);
    const struct io_dns_config config = {
        .forwarders = servers, .trust_anchor_file = trust_anchor, .timeout_ms = TIMEOUT_MS};
    a->arena = arena;
    a->io = io_new(1);
    a->dns = io_dns_new(a->io, &config, error);
    if (a->dns != NULL)
        return a;
    io_free(a->io);
    free(a);
    return NULL;
}

void dns_asker_free(struct dns_asker *a)
{
    if (a == NULL)
        return;
    io_dns_free(a->dns);
    io_free(a->io);
    free(a);
}

struct io *dns_asker_io(struct dns_asker *a)
{
    return a->io;
}

static void answered(void *arg, const struct io_dns_answer *answer)
{
    struct dns_asker *a = arg;
    struct dns_answer *m = &a->answers[a->count];
    *m = dns_answer_from(a->arena, (struct dns_question){.name = m->name, .type = m->type}, answer);
    a->answered = true;
    io_stop(a->io);
}

const struct dns_answer *dns_get(struct dns_asker *a, struct vr_str name, enum dns_type type)
{
    const struct dns_answer *known = dns_answer_find(a->answers, a->count, name, type);
    if (known != NULL)
        return known;
    if (a->count == DNS_ASKED_MAX || (!a->heard && a->failed >= PATIENCE)) {
        struct dns_answer *none = vr_arena_alloc(a->arena, sizeof *none);
        assert(none != NULL); /* the arena has room for far more than what was asked */
        *none = dns_answer_failed((struct dns_question){.name = name, .type = type},
                                  a->heard ? VR_STR("too many questions")
                                           : VR_STR("it was not asked, since the name server says nothing"));
        return none;
    }
    a->answers[a->count] = (struct dns_answer){.name = vr_arena_dup(a->arena, name), .type = type};
    a->answered = false;
    io_dns_ask(a->dns, name, (enum io_dns_type)type, answered, a);
    while (!a->answered)
        io_run(a->io);
    bool failed = a->answers[a->count].status == DNS_STATUS_FAILED;
    a->failed = failed ? a->failed + 1 : 0;
    a->heard = a->heard || !failed;
    return &a->answers[a->count++];
}

const struct dns_answer *dns_known(const struct dns_asker *a, size_t *count)
{
    *count = a->count;
    return a->answers;
}

struct vr_str dns_reverse(struct vr_arena *arena, const struct dns_address *address)
{
    const uint8_t *ip = address->ip;
    if (address->family == 4)
        return vr_arena_printf(arena, "%u.%u.%u.%u.in-addr.arpa", ip[3], ip[2], ip[1], ip[0]);
    char text[80];
    for (size_t i = 0; i < 16; i++) /* RFC 3596 §2.5: nibbles, the last one first */
        snprintf(text + 4 * i, 5, "%x.%x.", ip[15 - i] & 15u, ip[15 - i] >> 4);
    return vr_arena_printf(arena, "%sip6.arpa", text);
}

void dns_address_text(const struct dns_address *address, char out[IO_ADDRESS_TEXT])
{
    struct io_address a = {.family = address->family == 4 ? IO_INET : IO_INET6};
    memcpy(a.ip, address->ip, sizeof a.ip);
    io_address_ip_text(&a, out);
}
