/* aliases.c - reads alias files (the format of /etc/aliases) and virtual tables ("user@domain  targets").
 *
 * An alias line is "name: target, target"; a line that begins with a blank continues the one before; "#" begins a comment line. Targets
 * without a domain belong to the domain of the table. ":include:/path" is read here, once. Pipes and files are not delivered to: such
 * a target refuses its mail (RFC 3463 X.3.5) and is warned of.
 * Tests: tests/unit/aliases.c, tests/fuzz/fuzz_aliases.c
 */
#include "config/aliases.h"

#include "config/routing.h"

#include <veredus/address.h>
#include <veredus/idn.h>

#include "io/fs.h"
#include "io/io.h"

#include <string.h>

#define FILE_MAX_BYTES ((size_t)64 << 20)
#define INCLUDE_DEPTH  10

struct reader {
    struct config *c;
    struct config_domain *d;
    struct problems *p;
    struct alias_table *table;
    bool is_virtual;
};

const struct alias_entry *alias_find(const struct alias_table *t, struct vr_str local)
{
    if (!t || t->count == 0)
        return NULL;
    const struct alias_entry *e = t->buckets[vr_crc32c(0, local.p, local.n) & t->mask];
    while (e && !vr_str_equal(e->local, local))
        e = e->next;
    return e;
}

static void grow(struct reader *r)
{
    struct alias_table *t = r->table;
    size_t size = t->buckets ? (t->mask + 1) * 4 : 16;
    struct alias_entry **buckets = must_alloc(&r->c->arena, size * sizeof *buckets);
    for (size_t i = 0; t->buckets && i <= t->mask; i++)
        for (struct alias_entry *e = t->buckets[i], *next; e; e = next) {
            struct alias_entry **bucket = &buckets[vr_crc32c(0, e->local.p, e->local.n) & (size - 1)];
            next = e->next;
            e->next = *bucket;
            *bucket = e;
        }
    t->buckets = buckets;
    t->mask = size - 1;
}

static struct alias_entry *entry_add(struct reader *r, struct vr_str local, struct place at)
{
    struct alias_table *t = r->table;
    if (!t->buckets || t->count > t->mask)
        grow(r);
    struct alias_entry *e = must_alloc(&r->c->arena, sizeof *e);
    struct alias_entry **bucket = &t->buckets[vr_crc32c(0, local.p, local.n) & t->mask];
    *e = (struct alias_entry){.local = local, .at = at, .next = *bucket};
    *bucket = e;
    t->count++;
    return e;
}

/* ---- targets ------------------------------------------------------------------------------------------------------ */

struct targets {
    struct reader *r;
    struct alias_target **end;
    const char *of; /* the alias, for messages */
    unsigned depth;
};

static void add_target(struct targets *t, struct alias_target target)
{
    struct alias_target *copy = must_alloc(&t->r->c->arena, sizeof *copy);
    *copy = target;
    *t->end = copy;
    t->end = &copy->next;
}

/* One past the closing quote of a text that begins with one; its length when it does not close. */
static size_t quoted_length(struct vr_str s)
{
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            return i + 1;
    }
    return s.n;
}

/* "user", "\"joe doe\"", "user@example.org", "<user@example.org>" → a mailbox; `domain` completes what has none. */
static bool read_mailbox(struct reader *r, struct vr_str text, struct address *out, const char **why)
{
    struct vr_arena *arena = &r->c->arena;
    if (text.n >= 2 && text.p[0] == '<' && text.p[text.n - 1] == '>')
        text = vr_str_sub(text, 1, text.n - 2);
    struct vr_str behind = text.n && text.p[0] == '"' ? vr_str_from_pos(text, quoted_length(text)) : text;
    if (vr_str_find(behind, '@') == VR_NPOS) {
        text = vr_arena_printf(arena, "%.*s@%.*s", VR_STR_ARG(text), VR_STR_ARG(r->d->name));
        if (!text.p)
            return *why = "it is too long", false;
    }
    *why = "it is empty";
    return address_parse(arena, text, ADDRESS_ALLOW_UTF8, out, why) == VR_OK;
}

static void read_targets(struct targets *t, struct vr_str list, struct place at);

static void include_list(struct targets *t, struct vr_str path, struct place at)
{
    struct reader *r = t->r;
    const char *name = must_text(&r->c->arena, path);
    if (t->depth >= INCLUDE_DEPTH) {
        problem_error(r->p, at, ":include:%s is %d levels deep; does the file include itself?", name,
                      INCLUDE_DEPTH);
        return;
    }
    if (name[0] != '/') {
        problem_error(r->p, at, ":include: has \"%s\"; expected a path that begins with /", name);
        return;
    }
    struct vr_buf content;
    vr_buf_init(&content, FILE_MAX_BYTES);
    int status = io_fs_read_file(name, &content);
    if (status < 0)
        problem_error(r->p, at,
                      "cannot read the list %s of the alias `%s`: %s; correct the path or its permissions",
                      name, t->of, io_error_text(status));
    struct vr_str rest = vr_buf_str(&content), line;
    struct place in = {name, 0};
    t->depth++;
    while (status >= 0 && vr_str_split(&rest, '\n', &line)) {
        in.line++;
        line = vr_str_trim(line);
        if (line.n && line.p[0] != '#')
            read_targets(t, line, in);
    }
    t->depth--;
    vr_buf_fini(&content);
}

static void refuse_target(struct targets *t, struct vr_str item, struct place at)
{
    struct vr_arena *arena = &t->r->c->arena;
    problem_warning(t->r->p, at,
                    "`%s` goes to \"%.*s\", but pipes and files are not delivered to by this version; the "
                    "recipient `%s` will be refused; expected an address",
                    t->of, VR_STR_ARG(item), t->of);
    add_target(
        t,
        (struct alias_target){
            .address = vr_arena_printf(
                arena, "5.3.5 the alias %s leads to a program or file, which this server does not deliver to",
                t->of),
            .error = true});
}

static void read_target(struct targets *t, struct vr_str item, struct place at)
{
    struct vr_str inner = item; /* what a quoted item holds: "|command", "/file", ":include:…" */
    if (item.n >= 2 && item.p[0] == '"' && quoted_length(item) == item.n)
        inner = vr_str_sub(item, 1, item.n - 2);
    if (vr_str_starts_nocase(inner, VR_STR(":include:"))) {
        include_list(t, vr_str_trim(vr_str_from_pos(inner, 9)), at);
        return;
    }
    if (inner.n && (inner.p[0] == '|' || inner.p[0] == '/')) {
        refuse_target(t, inner, at);
        return;
    }
    struct alias_target target = {.final = item.n && item.p[0] == '\\'};
    struct address a;
    const char *why;
    if (!read_mailbox(t->r, target.final ? vr_str_from_pos(item, 1) : item, &a, &why)) {
        problem_error(
            t->r->p, at,
            "the target \"%.*s\" of `%s` is no address: %s; expected \"user\" or \"user@example.org\"",
            VR_STR_ARG(item), t->of, why);
        return;
    }
    target.address = address_text(&t->r->c->arena, &a);
    add_target(t, target);
}

/* Items between commas, those in quotes not counted. */
static void read_targets(struct targets *t, struct vr_str list, struct place at)
{
    while (list.n) {
        size_t i = 0;
        while (i < list.n && list.p[i] != ',') {
            if (list.p[i] == '"')
                i += quoted_length(vr_str_from_pos(list, i));
            else
                i += list.p[i] == '\\' && i + 1 < list.n ? 2 : 1;
        }
        struct vr_str item = vr_str_trim(vr_str_sub(list, 0, i));
        list = vr_str_from_pos(list, i + 1);
        if (item.n)
            read_target(t, item, at);
    }
}

/* ---- lines -------------------------------------------------------------------------------------------------------- */

/* The address on the left as a local part of this domain. False: it is of another domain, or not to be used. */
static bool read_key(struct reader *r, struct vr_str key, struct place at, struct vr_str *local)
{
    struct address a;
    const char *why;
    if (!read_mailbox(r, key, &a, &why)) {
        problem_error(r->p, at, "the name \"%.*s\" is no local part and no address: %s", VR_STR_ARG(key),
                      why);
        return false;
    }
    *local = address_fold(&r->c->arena, a.local);
    if (idn_equal(a.domain, r->d->ascii))
        return true;
    if (r->is_virtual && routing_domain(r->c, a.domain))
        return false; /* one virtual table may serve several domains */
    problem_warning(r->p, at,
                    "\"%.*s\" is never used: %.*s is no domain of this server; expected an address of %.*s",
                    VR_STR_ARG(key), VR_STR_ARG(a.domain), VR_STR_ARG(r->d->name));
    return false;
}

static void fill_entry(struct reader *r, struct alias_entry *e, struct vr_str key, struct vr_str list)
{
    struct targets t = {.r = r, .end = &e->targets, .of = must_text(&r->c->arena, key)};
    unsigned errors = r->p->errors;
    read_targets(&t, list, e->at);
    if (!e->targets && r->p->errors == errors)
        problem_error(r->p, e->at, "`%s` has no targets; expected at least one address", t.of);
}

/* "@domain targets" */
static bool read_rest(struct reader *r, struct vr_str key, struct vr_str list, struct place at)
{
    if (!r->is_virtual || key.n < 2 || key.p[0] != '@')
        return false;
    struct vr_str domain = vr_str_from_pos(key, 1);
    bool ours = idn_equal(domain, r->d->ascii);
    if (!ours && routing_domain(r->c, domain))
        return true;
    if (!ours) {
        problem_warning(r->p, at, "\"%.*s\" is never used: it is no domain of this server", VR_STR_ARG(key));
    } else if (r->table->rest) {
        problem_warning(r->p, at, "\"%.*s\" a second time; the one at %s:%d is used", VR_STR_ARG(key),
                        r->table->rest->at.file, r->table->rest->at.line);
    } else {
        r->table->rest = must_alloc(&r->c->arena, sizeof *r->table->rest);
        r->table->rest->at = at;
        fill_entry(r, r->table->rest, key, list);
    }
    return true;
}

static bool split_line(const struct reader *r, struct vr_str line, struct vr_str *key, struct vr_str *list)
{
    size_t i = line.n && line.p[0] == '"' ? quoted_length(line) : 0;
    if (r->is_virtual) {
        while (i < line.n && line.p[i] != ' ' && line.p[i] != '\t')
            i++;
        *list = vr_str_trim(vr_str_from_pos(line, i));
    } else {
        while (i < line.n && line.p[i] != ':')
            i++;
        *list = vr_str_trim(vr_str_from_pos(line, i + 1));
    }
    *key = vr_str_trim(vr_str_sub(line, 0, i));
    return i < line.n && key->n;
}

static void read_entry(struct reader *r, struct vr_str line, struct place at)
{
    struct vr_str key, list, local;
    if (!split_line(r, line, &key, &list)) {
        problem_error(r->p, at, "the line \"%.*s\" is not understood; expected %s",
                      (int)(line.n < 80 ? line.n : 80), line.p,
                      r->is_virtual ? "address  target, target" : "name: target, target");
        return;
    }
    if (read_rest(r, key, list, at) || !read_key(r, key, at, &local))
        return;
    const struct alias_entry *before = alias_find(r->table, local);
    if (before) {
        if (strcmp(before->at.file, at.file) == 0) /* a virtual table goes before the alias file by rule */
            problem_warning(r->p, at, "`%.*s` a second time; the one at %s:%d is used", VR_STR_ARG(key),
                            before->at.file, before->at.line);
        return;
    }
    fill_entry(r, entry_add(r, local, at), key, list);
}

static void read_lines(struct reader *r, const char *name, struct vr_str rest)
{
    struct vr_buf joined;
    vr_buf_init(&joined, FILE_MAX_BYTES);
    struct place at = {name, 0}, begins = {name, 0};
    struct vr_str line;
    if (vr_str_starts(rest, VR_STR("\xef\xbb\xbf")))
        rest = vr_str_from_pos(rest, 3);
    while (vr_str_split(&rest, '\n', &line)) {
        at.line++;
        struct vr_str text = vr_str_trim(line);
        if (text.n == 0 || text.p[0] == '#')
            continue;
        bool continues = line.p[0] == ' ' || line.p[0] == '\t';
        if (continues && begins.line == 0) {
            problem_error(r->p, at,
                          "a line that begins with a blank continues the one before, but there is none; "
                          "expected no blank");
            continue;
        }
        if (!continues && vr_buf_size(&joined)) {
            read_entry(r, vr_buf_str(&joined), begins);
            vr_buf_reset(&joined);
        }
        if (!continues)
            begins.line = at.line;
        else
            vr_buf_add_byte(&joined, ' ');
        vr_buf_add(&joined, text);
    }
    if (vr_buf_size(&joined))
        read_entry(r, vr_buf_str(&joined), begins);
    vr_buf_fini(&joined);
}

static void read_file(struct reader *r, const char *path, struct place configured_at)
{
    struct vr_buf content;
    vr_buf_init(&content, FILE_MAX_BYTES);
    int status = io_fs_read_file(path, &content);
    if (status < 0)
        problem_error(r->p, configured_at, "cannot read the %s %s: %s; correct the path or its permissions",
                      r->is_virtual ? "virtual table" : "alias file", path, io_error_text(status));
    else
        read_lines(r, must_text(&r->c->arena, vr_str_from(path)), vr_buf_str(&content));
    vr_buf_fini(&content);
}

void aliases_load(struct config *c, struct config_domain *d, struct problems *p, struct place aliases_at,
                  struct place virtual_at)
{
    struct reader r = {.c = c, .d = d, .p = p};
    if (!d->aliases_file && !d->virtual_file)
        return;
    r.table = d->aliases = must_alloc(&c->arena, sizeof *d->aliases);
    if (d->virtual_file) {
        r.is_virtual = true;
        read_file(&r, d->virtual_file, virtual_at);
    }
    if (d->aliases_file) {
        r.is_virtual = false;
        read_file(&r, d->aliases_file, aliases_at);
    }
}
