/* queue_verify.c - `veredus queue verify`: checks a spool that no server has, and says what is damaged, where, and whom it concerned.
 *
 * Output:    file:offset: damage|note: bytes: what. An indented line for each message concerned; a summary last. --json: one object.
 * Exit code: 0 sound, 1 damage was found, 66 there is no such spool, 75 a server runs on it, 77 no permission, 74 it cannot be read,
 *            78 the configuration cannot be used.
 */
#include "cli/clean.h"
#include "cli/cli.h"

#include "config/config.h"
#include "io/io.h"
#include "ipc/ipc.h"
#include "queue/verify.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define EXIT_DAMAGE     1
#define RECIPIENTS_TOLD 5u /* on a line for people */

struct printing {
    json_t *findings; /* NULL: for people */
};

/* ---- for people -------------------------------------------------------------------------------------------------------------- */

/* Addresses of strangers, out of damaged bytes: control bytes could drive a terminal. */
static void print_address(struct vr_str a)
{
    putchar('<');
    cli_put_clean(stdout, a, "");
    putchar('>');
}

static void print_concern(const struct verify_concern *c)
{
    char id[QUEUE_ID_TEXT];
    queue_id_text(c->id, id);
    printf("    %s of %s", strcmp(c->record, "message") == 0 ? "message" : c->record, id);
    if (c->count > 0) {
        printf(" from ");
        print_address(c->sender);
        printf(" to ");
    }
    for (uint32_t i = 0; i < c->count && i < RECIPIENTS_TOLD; i++) {
        printf("%s", i > 0 ? ", " : "");
        print_address(c->recipients[i]);
    }
    if (c->count > RECIPIENTS_TOLD)
        printf(" and %u more", c->count - RECIPIENTS_TOLD);
    printf("%s\n", c->in_queue ? " (its record is whole)" : "");
}

static void print_finding(const struct verify_finding *f)
{
    printf("%s:", f->file);
    if (f->bytes > 0)
        printf("%llu:", (unsigned long long)f->offset);
    printf(" %s: ", f->rank == VERIFY_DAMAGE ? "damage" : "note");
    if (f->bytes > 0)
        printf("%llu bytes: ", (unsigned long long)f->bytes);
    printf("%s\n", f->what);
    for (uint32_t i = 0; i < f->concern_count; i++)
        print_concern(&f->concerns[i]);
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void print_summary(const char *spool, const struct verify_summary *s)
{
    printf("%s: %llu segment%s, %llu record%s, %llu bytes; %llu message%s wait%s for %llu recipient%s (%llu "
           "bytes); ",
           spool, (unsigned long long)s->segments, plural(s->segments), (unsigned long long)s->records,
           plural(s->records), (unsigned long long)s->bytes, (unsigned long long)s->messages,
           plural(s->messages), s->messages == 1 ? "s" : "", (unsigned long long)s->recipients,
           plural(s->recipients), (unsigned long long)s->alive);
    if (s->faults == 0)
        printf("it is sound\n");
    else
        printf("%llu damaged stretch%s, %llu fault%s in all\n", (unsigned long long)s->damaged,
               s->damaged == 1 ? "" : "es", (unsigned long long)s->faults, plural(s->faults));
}

/* ---- for programs --------------------------------------------------------------------------------------------------------------- */

static json_t *text_json(struct vr_str s)
{
    if (vr_utf8_valid(s))
        return json_stringn(s.n > 0 ? s.p : "", s.n);
    struct vr_buf b;
    vr_buf_init(&b, s.n + 1);
    for (size_t i = 0; i < s.n; i++)
        vr_buf_add_byte(&b, (unsigned char)s.p[i] < 0x80 ? s.p[i] : '?');
    json_t *v = json_stringn(vr_buf_str(&b).p, s.n);
    vr_buf_fini(&b);
    return v;
}

static json_t *finding_json(const struct verify_finding *f)
{
    json_t *out =
        json_pack("{s:s,s:s,s:o,s:I,s:I,s:o}", "rank", f->rank == VERIFY_DAMAGE ? "damage" : "note", "kind",
                  f->kind, "file", text_json(vr_str_from(f->file)), "offset", (json_int_t)f->offset, "bytes",
                  (json_int_t)f->bytes, "what", text_json(vr_str_from(f->what)));
    json_t *concerns = json_array();
    for (uint32_t i = 0; i < f->concern_count; i++) {
        const struct verify_concern *c = &f->concerns[i];
        char id[QUEUE_ID_TEXT];
        queue_id_text(c->id, id);
        json_t *one = json_pack("{s:s,s:s,s:b}", "id", id, "record", c->record, "in_queue", (int)c->in_queue);
        if (c->count > 0) {
            json_t *to = json_array();
            for (uint32_t k = 0; k < c->count; k++)
                json_array_append_new(to, text_json(c->recipients[k]));
            json_object_set_new(one, "from", text_json(c->sender));
            json_object_set_new(one, "recipients", to);
        }
        json_array_append_new(concerns, one);
    }
    json_object_set_new(out, "concerns", concerns);
    return out;
}

static void print_json(const char *spool, const struct verify_summary *s, json_t *findings)
{
    json_t *out =
        json_pack("{s:o,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:O}", "spool", text_json(vr_str_from(spool)),
                  "sound", (int)(s->faults == 0), "segments", (json_int_t)s->segments, "records",
                  (json_int_t)s->records, "bytes", (json_int_t)s->bytes, "messages", (json_int_t)s->messages,
                  "recipients", (json_int_t)s->recipients, "alive", (json_int_t)s->alive, "damaged",
                  (json_int_t)s->damaged, "faults", (json_int_t)s->faults, "findings", findings);
    json_dumpf(out, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(out);
}

static void on_finding(void *arg, const struct verify_finding *f)
{
    struct printing *p = arg;
    if (p->findings != NULL)
        json_array_append_new(p->findings, finding_json(f));
    else
        print_finding(f);
}

/* ---- the command ---------------------------------------------------------------------------------------------------------------- */

static int cannot(const char *self, int status, const char *spool, const char *where)
{
    if (status == -EAGAIN) {
        fprintf(
            stderr,
            "%s: a server runs on %s and changes it meanwhile; stop it first (systemctl stop veredus), or "
            "verify a copy\n",
            self, spool);
        return EX_TEMPFAIL;
    }
    fprintf(stderr, "%s: %s cannot be read: %s", self, where, io_error_text(status));
    if (status == -EACCES || status == -EPERM) {
        fprintf(stderr, "; root may, or the user whom the queue runs as\n");
        return EX_NOPERM;
    }
    if (status == -ENOENT || status == -ENOTDIR) {
        fprintf(stderr, "; %s is no spool: name the folder that holds log/ and body/\n", spool);
        return EX_NOINPUT;
    }
    fputc('\n', stderr);
    return EX_IOERR;
}

static int verify(const char *self, const char *spool, bool json)
{
    char where[512];
    struct verify_summary summary;
    struct printing p = {.findings = json ? json_array() : NULL};
    int status = queue_verify(spool, on_finding, &p, &summary, where);
    int code = summary.faults > 0 ? EXIT_DAMAGE : EX_OK;
    if (status != 0)
        code = cannot(self, status, spool, where);
    else if (json)
        print_json(spool, &summary, p.findings);
    else
        print_summary(spool, &summary);
    json_decref(p.findings);
    return code;
}

int cli_queue_verify(const char *self, const char *spool, const char *config_path, bool json)
{
    if (spool != NULL)
        return verify(self, spool, json);
    struct config_load *load = config_load_file(config_path);
    const struct config_problem *p = load->problems;
    while (p != NULL && p->warning)
        p = p->next;
    int code = EX_CONFIG;
    if (load->config != NULL)
        code = verify(self, load->config->spool, json);
    else
        fprintf(stderr, "%s: %s:%d: %s; `%s verify FOLDER` does without the configuration\n", self,
                p != NULL ? p->file : config_path, p != NULL ? p->line : 0,
                p != NULL ? p->message : "cannot be read", self);
    config_load_free(load);
    return code;
}
