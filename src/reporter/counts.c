/* counts.c - see counts.h.
 *
 * A row's identity is the frame itself, packed anew without its time: what differs in anything is another row, and reading it back needs no columns.
 * Everything between two commits is one transaction: a second of counts is lost with the machine, never the file.
 *
 * Tests: tests/unit/reporter_counts.c
 */
#include "reporter/counts.h"

#include <veredus/address.h>
#include <veredus/idn.h>

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_TIMEOUT_MS 2000 /* the reporter of the last generation may still be closing it */
#define TEXT_MAX        512  /* octets of words of strangers that a row keeps */
#define SCHEMA          1

static const char schema[] =
    "CREATE TABLE domain("
    " period INTEGER NOT NULL, kind INTEGER NOT NULL, domain TEXT NOT NULL,"
    " length INTEGER NOT NULL, record BLOB NOT NULL, method INTEGER NOT NULL,"
    " rows INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY(period, kind, domain)) WITHOUT ROWID;"
    "CREATE TABLE row("
    " period INTEGER NOT NULL, kind INTEGER NOT NULL, domain TEXT NOT NULL,"
    " identity BLOB NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY(period, kind, domain, identity)) WITHOUT ROWID;"
    "PRAGMA user_version = 1;";

enum statement {
    SEE_DOMAIN,
    KNOWN_ROW,
    NEW_ROW,
    ONE_MORE,
    NEXT,
    DMARC_ROWS,
    TLS_ROWS,
    POSTPONE,
    DROP_ROWS,
    DROP_DOMAIN,
    STATEMENT_COUNT
};

static const char *const statements[STATEMENT_COUNT] = {
    [SEE_DOMAIN] =
        "INSERT INTO domain(period, kind, domain, length, record, method) VALUES(?1, ?2, ?3, ?4, ?5, ?6)"
        " ON CONFLICT DO UPDATE SET record = excluded.record, method = excluded.method RETURNING rows",
    [KNOWN_ROW] =
        "UPDATE row SET count = count + 1 WHERE period = ?1 AND kind = ?2 AND domain = ?3 AND identity = ?4",
    [NEW_ROW] = "INSERT INTO row VALUES(?1, ?2, ?3, ?4, 1)",
    [ONE_MORE] = "UPDATE domain SET rows = rows + 1 WHERE period = ?1 AND kind = ?2 AND domain = ?3",
    [NEXT] = "SELECT kind, period, length, domain, record, method, attempts FROM domain"
             " WHERE period + length <= ?2 AND due <= ?1 ORDER BY period, kind, domain LIMIT 1",
    [DMARC_ROWS] = "SELECT identity, count FROM row WHERE period = ?1 AND kind = ?2 AND domain = ?3 ORDER BY "
                   "count DESC, identity LIMIT ?4",
    [TLS_ROWS] = "SELECT identity, count FROM row WHERE period = ?1 AND kind = ?2 AND domain = ?3 ORDER BY "
                 "identity LIMIT ?4",
    [POSTPONE] =
        "UPDATE domain SET attempts = attempts + 1, due = ?4 WHERE period = ?1 AND kind = ?2 AND domain = ?3",
    [DROP_ROWS] = "DELETE FROM row WHERE period = ?1 AND kind = ?2 AND domain = ?3",
    [DROP_DOMAIN] = "DELETE FROM domain WHERE period = ?1 AND kind = ?2 AND domain = ?3",
};

struct counts {
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENT_COUNT];
    struct vr_buf frame;
    uint64_t total;
};

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s = NULL;
    int64_t out = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        out = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return out;
}

static bool prepare(struct counts *c)
{
    static const char settings[] =
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA trusted_schema = OFF";
    if (sqlite3_exec(c->db, settings, NULL, NULL, NULL) != SQLITE_OK)
        return false;
    if (number(c->db, "PRAGMA user_version") == 0 &&
        (sqlite3_exec(c->db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK ||
         (number(c->db, "PRAGMA user_version") == 0 &&
          sqlite3_exec(c->db, schema, NULL, NULL, NULL) != SQLITE_OK) ||
         sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK))
        return false;
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(c->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &c->prepared[i], NULL) !=
            SQLITE_OK)
            return false;
    return true;
}

struct counts *counts_open(const char *path, char error[256])
{
    struct counts *c = calloc(1, sizeof *c);
    assert(c != NULL);
    vr_buf_init(&c->frame, SEEN_MAX + 1024);
    bool good =
        sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) == SQLITE_OK;
    if (good)
        sqlite3_busy_timeout(c->db, BUSY_TIMEOUT_MS);
    if (good && prepare(c) && number(c->db, "PRAGMA user_version") == SCHEMA) {
        c->total = (uint64_t)number(c->db, "SELECT count(*) FROM row");
        return c;
    }
    snprintf(error, 256, "cannot use the data base of reports %s: %s; move it away to begin a new one", path,
             c->db != NULL ? sqlite3_errmsg(c->db) : "out of memory");
    counts_close(c);
    return NULL;
}

void counts_commit(struct counts *c)
{
    if (sqlite3_get_autocommit(c->db) == 0 && sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL); /* the disk is full: this second is lost */
}

void counts_close(struct counts *c)
{
    if (c == NULL)
        return;
    if (c->db != NULL)
        counts_commit(c);
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(c->prepared[i]);
    sqlite3_close(c->db);
    vr_buf_fini(&c->frame);
    free(c);
}

uint64_t counts_total(const struct counts *c)
{
    return c->total;
}

/* ---- counting -------------------------------------------------------------------------------------------------------- */

static void bind_text(sqlite3_stmt *s, int at, struct vr_str text)
{
    sqlite3_bind_text(s, at, text.n > 0 ? text.p : "", (int)text.n, SQLITE_STATIC);
}

static void bind_blob(sqlite3_stmt *s, int at, struct vr_str bytes)
{
    sqlite3_bind_blob(s, at, bytes.n > 0 ? bytes.p : "", (int)bytes.n, SQLITE_STATIC);
}

static sqlite3_stmt *bound(struct counts *c, enum statement which, const struct counts_domain *d)
{
    sqlite3_stmt *s = c->prepared[which];
    sqlite3_reset(s);
    sqlite3_bind_int64(s, 1, d->period);
    sqlite3_bind_int64(s, 2, d->kind);
    bind_text(s, 3, d->domain);
    return s;
}

static void begin(struct counts *c)
{
    if (sqlite3_get_autocommit(c->db) != 0)
        sqlite3_exec(c->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
}

static bool run(struct counts *c, sqlite3_stmt *s)
{
    int status;
    begin(c);
    do
        status = sqlite3_step(s);
    while (status == SQLITE_ROW);
    sqlite3_reset(s);
    return status == SQLITE_DONE;
}

static bool add(struct counts *c, const struct counts_domain *d, struct vr_str identity)
{
    sqlite3_stmt *s = bound(c, SEE_DOMAIN, d);
    sqlite3_bind_int64(s, 4, d->length);
    bind_blob(s, 5, d->record);
    sqlite3_bind_int64(s, 6, d->method);
    begin(c);
    int64_t rows = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : COUNTS_ROWS_MAX;
    sqlite3_reset(s);
    s = bound(c, KNOWN_ROW, d);
    bind_blob(s, 4, identity);
    if (!run(c, s))
        return false;
    if (sqlite3_changes(c->db) > 0)
        return true;
    if (rows >= COUNTS_ROWS_MAX || c->total >= COUNTS_TOTAL_MAX)
        return false;
    s = bound(c, NEW_ROW, d);
    bind_blob(s, 4, identity);
    if (!run(c, s) || !run(c, bound(c, ONE_MORE, d)))
        return false;
    c->total++;
    return true;
}

/* What a stranger wrote, no longer than a row should be. */
static struct vr_str cut(struct vr_str s)
{
    return vr_str_sub(s, 0, TEXT_MAX);
}

static struct vr_str lower(struct vr_arena *arena, struct vr_str domain)
{
    struct vr_str out;
    bool good = idn_to_ascii(arena, domain, &out) == VR_OK && address_domain_valid(out, 0);
    return good ? out : vr_str(NULL, 0);
}

static bool is_ip(struct vr_str text)
{
    uint8_t bytes[16];
    int family;
    return address_ip_parse(text, bytes, &family);
}

bool counts_dmarc(struct counts *c, int64_t period, int64_t length, const struct dmarc_seen *seen)
{
    struct vr_arena arena;
    struct dmarc_seen s = *seen;
    struct seen_signature signatures[SEEN_SIGNATURES_MAX];
    vr_arena_init(&arena, 65536);
    struct counts_domain d = {.kind = COUNTS_DMARC,
                              .period = period,
                              .length = length,
                              .domain = lower(&arena, s.policy_domain),
                              .record = s.record,
                              .method = s.method};
    s.header_from = lower(&arena, s.header_from);
    s.envelope_from = vr_arena_lower(&arena, cut(s.envelope_from));
    s.envelope_to = vr_arena_lower(&arena, cut(s.envelope_to));
    s.time_us = 0;
    s.policy_domain = s.organization = s.record = vr_str(NULL, 0); /* the domain's */
    s.comment = cut(s.comment);
    s.spf_domain = cut(s.spf_domain);
    s.spf_result = cut(s.spf_result);
    for (uint32_t i = 0; i < s.signature_count && i < SEEN_SIGNATURES_MAX; i++)
        signatures[i] =
            (struct seen_signature){cut(seen->signatures[i].domain), cut(seen->signatures[i].selector),
                                    seen->signatures[i].verdict, cut(seen->signatures[i].reason)};
    s.signatures = signatures;
    vr_buf_reset(&c->frame);
    bool good = d.domain.n > 0 && s.header_from.n > 0 && is_ip(s.source_ip) &&
                s.record.n <= DMARC_RECORD_MAX && ipc_put_dmarc_seen(&c->frame, &s) &&
                add(c, &d, vr_buf_str(&c->frame));
    vr_arena_fini(&arena);
    return good;
}

bool counts_tls(struct counts *c, int64_t period, int64_t length, const struct tls_seen *seen)
{
    struct vr_arena arena;
    struct tls_seen s = *seen;
    vr_arena_init(&arena, 65536);
    struct counts_domain d = {
        .kind = COUNTS_TLS, .period = period, .length = length, .domain = lower(&arena, s.policy_domain)};
    s.time_us = 0;
    s.policy_domain = vr_str(NULL, 0);
    s.mx_hostname = cut(s.mx_hostname);
    s.mx_helo = cut(s.mx_helo);
    s.reason = cut(s.reason);
    if (s.result == TLSRPT_SUCCESS) /* those are only counted (RFC 8460 §4.2.1) */
        s.sending_ip = s.mx_hostname = s.mx_helo = s.receiving_ip = s.reason = vr_str(NULL, 0);
    vr_buf_reset(&c->frame);
    bool good = d.domain.n > 0 && (s.sending_ip.n == 0 || is_ip(s.sending_ip)) &&
                (s.receiving_ip.n == 0 || is_ip(s.receiving_ip)) && ipc_put_tls_seen(&c->frame, &s) &&
                add(c, &d, vr_buf_str(&c->frame));
    vr_arena_fini(&arena);
    return good;
}

/* ---- reading ----------------------------------------------------------------------------------------------------------- */

static struct vr_str column(struct vr_arena *arena, sqlite3_stmt *s, int at)
{
    const void *p = sqlite3_column_blob(s, at);
    return vr_arena_dup(arena, vr_str(p, p != NULL ? (size_t)sqlite3_column_bytes(s, at) : 0));
}

bool counts_next(struct counts *c, int64_t now, int64_t ended, struct vr_arena *arena,
                 struct counts_domain *out)
{
    sqlite3_stmt *s = c->prepared[NEXT];
    sqlite3_reset(s);
    sqlite3_bind_int64(s, 1, now);
    sqlite3_bind_int64(s, 2, ended);
    bool found = sqlite3_step(s) == SQLITE_ROW;
    if (found)
        *out = (struct counts_domain){.kind = (enum counts_kind)sqlite3_column_int(s, 0),
                                      .period = sqlite3_column_int64(s, 1),
                                      .length = sqlite3_column_int64(s, 2),
                                      .domain = column(arena, s, 3),
                                      .record = column(arena, s, 4),
                                      .method = (uint8_t)sqlite3_column_int(s, 5),
                                      .attempts = (unsigned)sqlite3_column_int(s, 6)};
    sqlite3_reset(s);
    return found && out->domain.n > 0;
}

void counts_rows(struct counts *c, const struct counts_domain *d, size_t limit,
                 void (*row)(void *arg, struct vr_str frame, uint64_t count), void *arg)
{
    sqlite3_stmt *s = bound(c, d->kind == COUNTS_DMARC ? DMARC_ROWS : TLS_ROWS, d);
    sqlite3_bind_int64(s, 4, (int64_t)limit);
    while (sqlite3_step(s) == SQLITE_ROW) {
        const void *p = sqlite3_column_blob(s, 0);
        row(arg, vr_str(p, (size_t)sqlite3_column_bytes(s, 0)), (uint64_t)sqlite3_column_int64(s, 1));
    }
    sqlite3_reset(s);
}

void counts_postpone(struct counts *c, const struct counts_domain *d, int64_t until)
{
    sqlite3_stmt *s = bound(c, POSTPONE, d);
    sqlite3_bind_int64(s, 4, until);
    run(c, s);
    counts_commit(c);
}

void counts_drop(struct counts *c, const struct counts_domain *d)
{
    if (run(c, bound(c, DROP_ROWS, d)))
        c->total -= (uint64_t)sqlite3_changes(c->db);
    run(c, bound(c, DROP_DOMAIN, d));
    counts_commit(c);
}
