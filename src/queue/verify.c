/* verify.c - the owner's half of checking a spool: what records say, whom damage concerned, bodies. The log's half is log/verify.c,
 * guesses about damaged bytes are verify_guess.c's.
 *
 * Rule:  a record is brought into the index by record_replay, as at a start; here is only what replay passes over in silence.
 * A RESULT about a message that nobody names is no fault by itself: segments go oldest first, so the MESSAGE may have gone long ago. It is one when
 * the last that was said of a recipient is "waiting": who waits has a MESSAGE.
 * Tests: tests/unit/queue_verify.c
 */
#include "queue/verify_inside.h"

#include "io/fs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX (64u << 20)

/* ---- telling -------------------------------------------------------------------------------------------------------------- */

static void tell(struct verifying *v, const struct verify_finding *f)
{
    *(f->rank == VERIFY_DAMAGE ? &v->out->faults : &v->out->told) += 1;
    v->found(v->arg, f);
}

/* About a record whose checksum holds. */
static void tell_record(struct verifying *v, const struct qlog_record *r, const char *kind, uint64_t id,
                        const char *what)
{
    static const char *const names[] = {"record", "message", "result", "expansion"};
    char path[QLOG_PATH];
    segment_path(v->q.log, (uint32_t)(r->position >> 32), false, path);
    struct verify_concern c = {.id = id, .record = names[r->type <= RECORD_EXPAND ? r->type : 0]};
    tell(v, &(struct verify_finding){.rank = VERIFY_DAMAGE,
                                     .kind = kind,
                                     .file = path,
                                     .offset = r->position & UINT32_MAX,
                                     .bytes = record_space(r->payload.n),
                                     .what = what,
                                     .concerns = &c,
                                     .concern_count = id != 0});
}

/* ---- findings of the log ----------------------------------------------------------------------------------------------------- */

static const struct wording {
    enum verify_rank rank;
    const char *kind, *what;
} wordings[] = {
    [QLOG_FAULT_RECORD] = {VERIFY_DAMAGE, "record",
                           "checksum or framing does not hold; what was written there is lost, the records "
                           "behind it are not. Check the disk"},
    [QLOG_FAULT_END] = {VERIFY_DAMAGE, "end",
                        "the segment has no end: what was written there, if anything, is lost. Check the "
                        "disk"},
    [QLOG_FAULT_HEADER] = {VERIFY_DAMAGE, "header",
                           "both copies of the first page's header are bad, so nothing in the segment can be "
                           "read; a start sets the file aside as ….damaged. Bring it back from a copy if "
                           "there is one"},
    [QLOG_FAULT_HEADER_COPY] = {VERIFY_DAMAGE, "header_copy",
                                "one copy of the header is bad, the other one is whole: nothing is lost. "
                                "Check the disk"},
    [QLOG_FAULT_VERSION] = {VERIFY_DAMAGE, "version",
                            "another version of veredus or another machine wrote this segment; the server "
                            "refuses the spool. Serve it with that version"},
    [QLOG_FAULT_UNREADABLE] = {VERIFY_DAMAGE, "unreadable", NULL},
    [QLOG_FAULT_TAIL] = {VERIFY_TOLD, "tail",
                         "a torn tail: what was being written there was never acknowledged; a start cuts it"},
    [QLOG_FAULT_UNBEGUN] = {VERIFY_TOLD, "unbegun",
                            "the file was being made into a segment and holds nothing; a start removes it"},
    [QLOG_FAULT_GAP] = {VERIFY_TOLD, "gap",
                        "there are no segments with the numbers between two others; that is so after a write "
                        "failed, or when files were taken away"},
    [QLOG_FAULT_SPARE] = {VERIFY_TOLD, "spare", "a file kept for the next segment; it holds nothing"},
    [QLOG_FAULT_ASIDE] = {VERIFY_TOLD, "set_aside",
                          "an earlier start set this segment aside; remove it when nothing in it matters"},
    [QLOG_FAULT_FOREIGN] = {VERIFY_TOLD, "foreign",
                            "the queue makes no file of this name and leaves it alone"},
};

static void on_log_finding(void *arg, const struct qlog_finding *f)
{
    struct verifying *v = arg;
    const struct wording *w = &wordings[f->fault];
    struct verify_concern concerns[VERIFY_CONCERNS];
    vr_arena_reset(&v->arena);
    struct verify_finding out = {.rank = w->rank,
                                 .kind = w->kind,
                                 .file = f->file,
                                 .offset = f->from,
                                 .bytes = f->to - f->from,
                                 .what = w->what,
                                 .concerns = concerns};
    char text[256];
    if (f->fault == QLOG_FAULT_UNREADABLE) {
        snprintf(text, sizeof text,
                 "the system refuses to read it (%s); the server would not start. Check the disk",
                 io_error_text(f->status));
        out.what = text;
    } else if (f->fault == QLOG_FAULT_GAP) {
        snprintf(text, sizeof text, "%s: %llu to %llu", w->what, (unsigned long long)f->from,
                 (unsigned long long)f->to);
        out = (struct verify_finding){.rank = w->rank, .kind = w->kind, .file = f->file, .what = text};
    }
    out.concern_count = verify_guess(v, f, concerns);
    tell(v, &out);
}

/* ---- records ------------------------------------------------------------------------------------------------------------------- */

static struct known *known_get(struct verifying *v, uint64_t id)
{
    struct known *k = idmap_find(&v->known, id);
    if (k != NULL)
        return k;
    k = calloc(1, sizeof *k);
    assert(k != NULL);
    k->id = id;
    idmap_add(&v->known, k);
    return k;
}

static void known_state(struct known *k, uint32_t index, bool waits, const struct qlog_record *record)
{
    uint32_t i = 0;
    while (i < k->waiting_n && k->waiting[i] != index)
        i++;
    if (i < k->waiting_n && !waits)
        k->waiting[i] = k->waiting[--k->waiting_n];
    if (i < k->waiting_n || !waits)
        return;
    if (k->waiting_n == k->waiting_capacity) {
        k->waiting_capacity = k->waiting_capacity > 0 ? 2 * k->waiting_capacity : 4;
        k->waiting = realloc(k->waiting, k->waiting_capacity * sizeof *k->waiting);
        assert(k->waiting != NULL);
    }
    k->waiting[k->waiting_n++] = index;
    k->last = record->position;
    k->last_n = record->payload.n;
}

static bool check_result(struct verifying *v, const struct qlog_record *record, struct vr_str payload)
{
    struct record_result r;
    struct record_result_item item;
    bool beyond = false;
    if (!record_result_read(payload, &r) || r.id == 0)
        return false;
    struct known *k = known_get(v, r.id);
    while (record_result_next(&r, &item)) {
        if (!k->named)
            known_state(k, item.index, !recipient_final(item.state), record);
        else
            beyond |= item.index >= k->count;
    }
    if (beyond)
        tell_record(v, record, "reference", r.id,
                    "it tells of a recipient that its message has not: the record that added it is lost, or "
                    "this was written by a fault of veredus (report it then)");
    return ipc_done(&r.in);
}

static bool check_expand(struct verifying *v, const struct qlog_record *record)
{
    struct record_expand r;
    if (!record_expand_read(record->payload, &r) || r.id == 0)
        return false;
    for (uint32_t i = 0; i < r.n; i++)
        ipc_get_str(&r.in);
    struct known *k = known_get(v, r.id);
    if (!k->named)
        known_state(k, r.parent, false, record);
    else if (r.parent >= k->count)
        tell_record(v, record, "reference", r.id,
                    "it tells of a recipient that its message has not: the record that added it is lost, or "
                    "this was written by a fault of veredus (report it then)");
    return ipc_done(&r.in);
}

static bool check_message(struct verifying *v, const struct qlog_record *record)
{
    struct record_message r;
    if (!record_message_read(record->payload, &v->arena, &r))
        return false;
    struct known *k = known_get(v, r.envelope.id);
    uint32_t count = r.envelope.rcpt_count + r.target_count;
    k->named = true;
    k->large = r.envelope.large;
    k->body_size = r.envelope.body_size;
    k->count = count > k->count ? count : k->count;
    if (!r.envelope.large && r.body.n != r.envelope.body_size)
        return false;
    return r.cause.n == 0 || check_result(v, record, r.cause);
}

static void on_record(void *arg, const struct qlog_record *r)
{
    struct verifying *v = arg;
    vr_arena_reset(&v->arena);
    if (!record_version_known(r)) {
        tell_record(v, r, "version", 0,
                    "a later version of veredus wrote this record; the server refuses the spool. Serve it "
                    "with that version");
        return;
    }
    bool good = r->type == RECORD_MESSAGE  ? check_message(v, r)
                : r->type == RECORD_RESULT ? check_result(v, r, r->payload)
                : r->type == RECORD_EXPAND ? check_expand(v, r)
                                           : true; /* others say nothing about messages */
    if (!good)
        tell_record(v, r, "payload", 0,
                    "the checksum holds, but what it says makes no sense: a fault of veredus wrote it; "
                    "report it");
    record_replay(&v->q, r); /* takes of it what makes sense, as at a start */
    if (r->type == RECORD_EXPAND) {
        uint64_t id = ipc_get_u64(&(struct ipc_reader){.rest = r->payload});
        const struct message *m = idmap_find(&v->q.messages, id);
        if (m != NULL)
            known_get(v, id)->count = m->count;
    }
}

/* ---- after the last record: who waits without a MESSAGE, bodies ------------------------------------------------------------------ */

static void check_body(struct verifying *v, const struct known *k, const struct message *m)
{
    char path[BODY_PATH], text[160];
    struct io_fs_stat st = {0};
    bodies_path(&v->q, k->id, path);
    int status = io_fs_stat(path, &st);
    if (status == 0 && st.is_file && st.size == k->body_size)
        return;
    if (status == 0)
        snprintf(text, sizeof text, "the body of a message that waits has %llu bytes, its record says %llu",
                 (unsigned long long)st.size, (unsigned long long)k->body_size);
    else
        snprintf(text, sizeof text, "the body of a message that waits cannot be read: %s",
                 io_error_text(status));
    struct verify_concern c = {.id = k->id, .record = "message", .in_queue = true};
    vr_arena_reset(&v->arena);
    verify_concern_recipients(v, &c, m);
    tell(v, &(struct verify_finding){.rank = VERIFY_DAMAGE,
                                     .kind = status == 0 ? "body_size" : "body_missing",
                                     .file = path,
                                     .what = text,
                                     .concerns = &c,
                                     .concern_count = 1});
}

static void check_known(struct verifying *v)
{
    for (size_t i = 0; i < v->known.capacity; i++) {
        const struct known *k = idmap_slot(&v->known, i);
        if (k == NULL)
            continue;
        const struct message *m = idmap_find(&v->q.messages, k->id);
        if (k->named && k->large && m != NULL)
            check_body(v, k, m);
        if (!k->named && k->waiting_n > 0)
            tell_record(
                v, &(struct qlog_record){.position = k->last, .type = RECORD_RESULT, .payload.n = k->last_n},
                "unnamed", k->id,
                "it tells of recipients that wait, and no record names their message: that one is "
                "lost");
        if (m == NULL)
            continue;
        v->out->messages++;
        v->out->recipients += m->open;
    }
}

static bool look_at_body(void *arg, const char *name)
{
    struct verifying *v = arg;
    char path[2 * BODY_PATH], right[BODY_PATH];
    uint64_t id = 0;
    struct io_fs_stat st = {0};
    snprintf(path, sizeof path, "%s/%s", v->folder, name);
    bool ours = queue_id_parse(vr_str_from(name), &id);
    if (ours)
        bodies_path(&v->q, id, right);
    ours = ours && strcmp(path, right) == 0;
    const struct message *m = ours ? idmap_find(&v->q.messages, id) : NULL;
    if (m != NULL && m->large)
        return true;
    (void)io_fs_stat(path, &st); /* a size that cannot be had is told as 0 */
    struct verify_concern c = {.id = id, .record = "message"};
    tell(v, &(struct verify_finding){
                .rank = VERIFY_TOLD,
                .kind = ours ? "orphan" : "foreign",
                .file = path,
                .bytes = st.size,
                .what =
                    ours ? "a body whose message does not wait; a start removes it when it is ten minutes old"
                         : "the queue makes no file of this name and leaves it alone",
                .concerns = &c,
                .concern_count = ours});
    return true;
}

static bool look_at_body_folder(void *arg, const char *name)
{
    struct verifying *v = arg;
    struct io_fs_stat st = {0};
    snprintf(v->folder, sizeof v->folder, "%.400s/body/%.64s", v->q.spool, name);
    if (io_fs_stat(v->folder, &st) == 0 && st.is_directory)
        (void)io_fs_list(v->folder, look_at_body, v); /* what cannot be listed shows as missing bodies */
    else
        tell(v, &(struct verify_finding){.rank = VERIFY_TOLD,
                                         .kind = "foreign",
                                         .file = v->folder,
                                         .bytes = st.size,
                                         .what = "the queue makes no file of this name and leaves it alone"});
    return true;
}

/* ---- the whole -------------------------------------------------------------------------------------------------------------------- */

/* 0: it is ours, or nobody can serve it (there is no lock yet, or the disk takes no writes). */
static int lock_take(const char *spool, int *fd, char where[512])
{
    snprintf(where, 512, "%s/lock", spool);
    *fd = io_fs_open(where, IO_FS_READ | IO_FS_WRITE | IO_FS_NO_FOLLOW, 0);
    if (*fd < 0)
        return *fd == -ENOENT || *fd == -EROFS ? 0 : *fd;
    return io_fs_lock(*fd);
}

static int look_at_all(struct verifying *v, char where[512])
{
    snprintf(where, 512, "%s/log", v->q.spool);
    struct qlog_options o = {
        .io = v->q.io, .events = v->q.events, .folder = where, .arg = v, .replay = on_record};
    int status = qlog_verify(&o, on_log_finding, &v->q.log);
    if (status != 0)
        return status;
    struct qlog_counts counts;
    qlog_counts(v->q.log, &counts);
    v->out->segments = counts.segments;
    v->out->records = counts.records;
    v->out->bytes = counts.bytes;
    v->out->alive = counts.alive;
    v->out->damaged = counts.damaged;
    check_known(v);
    char bodies[BODY_PATH];
    snprintf(bodies, sizeof bodies, "%.400s/body", v->q.spool);
    status = io_fs_list(bodies, look_at_body_folder, v);
    if (status != 0 && status != -ENOENT)
        snprintf(where, 512, "%s", bodies);
    return status == -ENOENT ? 0 : status; /* who needs a file in it was told of */
}

static void verifying_fini(struct verifying *v)
{
    for (size_t i = 0; i < v->q.messages.capacity;) {
        struct message *m = idmap_slot(&v->q.messages, i);
        if (m != NULL)
            message_free(&v->q, m); /* another one may take its slot */
        else
            i++;
    }
    for (size_t i = 0; i < v->known.capacity; i++) {
        struct known *k = idmap_slot(&v->known, i);
        if (k != NULL)
            free(k->waiting);
        free(k);
    }
    idmap_fini(&v->q.messages);
    idmap_fini(&v->known);
    free(v->q.finished);
    finished_clear(&v->q);
    vr_arena_fini(&v->arena);
    if (v->q.log != NULL)
        qlog_verify_end(v->q.log);
}

int queue_verify(const char *spool, void (*found)(void *arg, const struct verify_finding *f), void *arg,
                 struct verify_summary *out, char where[512])
{
    int fd = -1;
    *out = (struct verify_summary){0};
    struct verifying *v = calloc(1, sizeof *v);
    assert(v != NULL);
    int n = snprintf(v->q.spool, sizeof v->q.spool, "%s", spool);
    snprintf(where, 512, "%s", spool);
    int status = n < 0 || n > 400 ? -ENAMETOOLONG : lock_take(spool, &fd, where);
    if (status == 0) {
        v->q.io = io_new(1);
        v->q.events = event_log_new(v->q.io, "verify", EVENT_KEY_VALUE,
                                    (enum event_level)(EVENT_ERROR + 1)); /* what is wrong is told here */
        vr_arena_init(&v->arena, ARENA_MAX);
        v->found = found;
        v->arg = arg;
        v->out = out;
        status = look_at_all(v, where);
        verifying_fini(v);
        event_log_free(v->q.events);
        io_free(v->q.io);
    }
    if (fd >= 0)
        io_fs_close(fd);
    free(v);
    return status;
}
