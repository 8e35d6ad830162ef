/* engine_run.c - a transcript against the engine in memory: in one chunk, byte by byte, or in random pieces.
 *
 * What is sent between two handshakes is one phase. WAY_CHUNK feeds a phase in one piece and compares the replies at its end: input may run
 * ahead of every reply. The other ways feed up to the next S: lines and compare there: no reply comes late, none too early.
 * In WAY_SPLITS the owner's answers are delayed at random, so that input arrives while the engine waits.
 */
#include "owner.h"
#include "transcript.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MAX                                                                                            \
    131072 /* a feed of more might be more than the engine holds; an owner reads no more at once either */
#define START_MS 1000

const char *const way_names[WAY_COUNT] = {"in one chunk", "byte by byte", "in random splits"};

struct run {
    const struct transcript *t;
    enum way way;
    uint64_t seed, random;
    struct owner owner;
    struct vr_buf input; /* not yet fed */
    struct vr_buf said;  /* by the engine, all of it */
    size_t compared;     /* bytes of `said` that S: lines have matched */
    size_t expect;       /* the next S: step not yet compared */
};

static bool complain(struct run *r, unsigned line, const char *what, struct vr_str text)
{
    fprintf(stderr, "%s:%u: %s: %s%s%.*s%s\n", r->t->path, line, way_names[r->way], what,
            text.n > 0 ? ": \"" : "", (int)(text.n > 300 ? 300 : text.n), text.n > 0 ? text.p : "",
            text.n > 0 ? "\"" : "");
    if (r->way == WAY_SPLITS)
        fprintf(stderr, "  repeat it with --seed %" PRIu64 "\n", r->seed);
    return false;
}

static uint64_t random_next(struct run *r) /* xorshift64 */
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return r->random;
}

static void gather(struct run *r)
{
    struct vr_str out = smtp_server_pending(r->owner.engine);
    vr_buf_add(&r->said, out);
    smtp_server_sent(r->owner.engine, out.n);
}

/* Serves all that can be served; with `patient` an answer may be put off. */
static void pump(struct run *r, bool patient)
{
    struct smtp_server_event ev;
    enum smtp_server_event_kind kind;
    for (;;) {
        if (r->owner.has_reply || r->owner.has_challenge) {
            if (patient && random_next(r) % 3 == 0)
                break;
            owner_give(&r->owner);
        }
        if (r->owner.has_reply || r->owner.has_challenge)
            continue;
        kind = smtp_server_next(r->owner.engine, &ev);
        if (kind == SMTP_SERVER_IDLE)
            break;
        owner_hear(&r->owner, kind, &ev);
    }
    gather(r);
}

static size_t piece_size(struct run *r, size_t left)
{
    static const size_t sizes[] = {1, 2, 3, 5, 17, 100, 1000, 5000, 70000};
    size_t n = PIECE_MAX;
    if (r->way == WAY_BYTES)
        n = 1;
    else if (r->way == WAY_SPLITS)
        n = 1 + random_next(r) % sizes[random_next(r) % (sizeof sizes / sizeof *sizes)];
    return n < left ? n : left;
}

static void feed(struct run *r)
{
    struct vr_str left = vr_buf_str(&r->input);
    while (left.n > 0) {
        if (smtp_server_blocked(r->owner.engine))
            pump(r, false);
        size_t n = piece_size(r, left.n);
        smtp_server_feed(r->owner.engine, vr_str_sub(left, 0, n), r->owner.now_ms);
        left = vr_str_from_pos(left, n);
        pump(r, r->way == WAY_SPLITS);
    }
    pump(r, false);
    vr_buf_reset(&r->input);
}

/* Compares what was said with the S: lines before step `end`. */
static bool compare(struct run *r, size_t end)
{
    struct vr_str rest = vr_str_from_pos(vr_buf_str(&r->said), r->compared), line;
    for (; r->expect < end; r->expect++) {
        const struct step *step = &r->t->steps[r->expect];
        if (step->kind != STEP_SERVER)
            continue;
        size_t lf;
        while (step->any && (lf = vr_str_find_str(rest, VR_STR("\r\n"))) != VR_NPOS &&
               pattern_matches(step->text, vr_str_sub(rest, 0, lf)))
            rest = vr_str_from_pos(rest, lf + 2);
        if (step->any)
            continue;
        lf = vr_str_find_str(rest, VR_STR("\r\n"));
        if (lf == VR_NPOS)
            return complain(r, step->line, "the server has said nothing, this was expected", step->text);
        line = vr_str_sub(rest, 0, lf);
        rest = vr_str_from_pos(rest, lf + 2);
        if (!pattern_matches(step->text, line))
            return complain(r, step->line, "the server said", line);
    }
    r->compared = vr_buf_size(&r->said) - rest.n;
    if (rest.n > 0)
        return complain(r, end < r->t->count ? r->t->steps[end].line : 0,
                        "the server said more than expected", rest);
    return true;
}

static bool take_step(struct run *r, size_t i)
{
    const struct step *step = &r->t->steps[i];
    bool last_of_group = i + 1 == r->t->count || r->t->steps[i + 1].kind != STEP_SERVER;
    switch (step->kind) {
    case STEP_CLIENT:
        vr_buf_add(&r->input, step->text);
        return true;
    case STEP_SERVER:
        if (r->way == WAY_CHUNK || !last_of_group)
            return true;
        feed(r);
        return compare(r, i + 1);
    case STEP_TLS:
        feed(r);
        if (!r->owner.secure)
            return complain(r, step->line, "the engine has not asked for a handshake", vr_str(NULL, 0));
        smtp_server_secured(r->owner.engine, r->owner.now_ms);
        r->owner.secure = false;
        pump(r, false);
        return compare(r, i);
    case STEP_EOF:
        feed(r);
        smtp_server_eof(r->owner.engine);
        pump(r, false);
        return true;
    case STEP_WAIT:
        feed(r);
        r->owner.now_ms += step->wait_ms;
        if (r->owner.now_ms >= smtp_server_deadline(r->owner.engine))
            smtp_server_tick(r->owner.engine, r->owner.now_ms);
        pump(r, false);
        return true;
    case STEP_FACT:
        return true;
    }
    return false;
}

static bool check_message_fact(struct run *r, const struct step *step, struct vr_str *facts)
{
    struct vr_str line = {NULL, 0};
    while (vr_str_split(facts, '\n', &line) && !vr_str_starts(line, VR_STR("message ")) &&
           step->text.p[0] == 'm')
        continue; /* bodies that the transcript does not tell */
    return pattern_matches(step->text, line) ||
           complain(r, step->line, "instead of this fact there is", line);
}

/* The facts of the messages stand in order, one on a line; the others are looked at one by one. */
static bool check_facts(struct run *r)
{
    struct vr_str facts = vr_buf_str(&r->owner.facts);
    bool told = false;
    for (size_t i = 0; i < r->t->count; i++) {
        const struct step *step = &r->t->steps[i];
        uint64_t n;
        if (step->kind != STEP_FACT)
            continue;
        if (vr_str_equal(step->text, VR_STR("closed")) || vr_str_equal(step->text, VR_STR("open"))) {
            if (r->owner.closed != vr_str_equal(step->text, VR_STR("closed")))
                return complain(r, step->line,
                                r->owner.closed ? "the session is closed" : "the session is open",
                                vr_str(NULL, 0));
        } else if (vr_str_starts(step->text, VR_STR("messages ")) &&
                   vr_str_to_u64(vr_str_from_pos(step->text, 9), &n)) {
            told = true;
            if (r->owner.messages != n)
                return complain(r, step->line, "another number of messages was accepted; these", facts);
        } else if (vr_str_starts(step->text, VR_STR("message ")) ||
                   vr_str_starts(step->text, VR_STR("body ")) || vr_str_starts(step->text, VR_STR("rest "))) {
            told = true;
            if (!check_message_fact(r, step, &facts))
                return false;
        } else {
            return complain(r, step->line, "this fact is not known; README.md lists them", step->text);
        }
    }
    if (!told && r->owner.messages > 0)
        return complain(r, 0, "a message was accepted of which the transcript says nothing", facts);
    return true;
}

static bool run_steps(struct run *r)
{
    smtp_server_grant(r->owner.engine, r->t->granted);
    if (r->t->bare_lf)
        smtp_server_allow_bare_lf(r->owner.engine, true);
    if (r->t->unix_seconds != 0)
        smtp_server_clock(r->owner.engine, r->t->unix_seconds, r->owner.now_ms);
    smtp_server_greet(r->owner.engine, r->t->greeting);
    pump(r, false);
    for (size_t i = 0; i < r->t->count; i++)
        if (!take_step(r, i))
            return false;
    feed(r);
    return compare(r, r->t->count) && check_facts(r);
}

static bool check_statuses(struct run *r)
{
    struct status_check check = status_check_of(r->t);
    struct vr_str rest = vr_buf_str(&r->said), line;
    while (vr_str_split(&rest, '\n', &line))
        if (!status_check_line(&check, line))
            return complain(r, 0, "a reply has not the enhanced status of its class", line);
    return true;
}

/* Keeps the first way's output and compares the others with it. */
static bool same_as_before(struct run *r, struct vr_buf *seen)
{
    struct vr_str said = vr_buf_str(&r->said), before = vr_buf_str(seen);
    vr_buf_add(&r->said, vr_buf_str(&r->owner.facts));
    vr_buf_add_byte(&r->said, r->owner.closed ? 'c' : 'o');
    said = vr_buf_str(&r->said);
    if (before.n == 0)
        return vr_buf_add(seen, said);
    return vr_str_equal(said, before) ||
           complain(r, 0, "the output or the messages differ from those of the first way", vr_str(NULL, 0));
}

bool engine_run(const struct transcript *t, enum way way, uint64_t seed, struct vr_buf *seen)
{
    struct run r = {.t = t, .way = way, .seed = seed, .random = seed * 2654435769u + 88172645463325252ull};
    struct smtp_server *engine = smtp_server_new(&t->config, t->implicit_tls, START_MS);
    if (engine == NULL)
        return complain(&r, 0, "out of memory", vr_str(NULL, 0));
    owner_init(&r.owner, engine);
    r.owner.mechanisms = t->config.auth_mechanisms;
    r.owner.now_ms = START_MS;
    vr_buf_init(&r.input, 64u << 20);
    vr_buf_init(&r.said, 64u << 20);
    bool good = run_steps(&r) && check_statuses(&r) && same_as_before(&r, seen);
    vr_buf_fini(&r.input);
    vr_buf_fini(&r.said);
    owner_fini(&r.owner);
    smtp_server_free(engine);
    return good;
}
