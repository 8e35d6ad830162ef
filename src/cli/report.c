/* report.c - `veredus report FILE…`: what others report, DMARC and TLS, in words or as JSON.
 *
 * Reads:      XML, JSON, gzip, zip, or a mail message with one of these attached; "-": standard input.
 * Output:     a summary of each on standard output, or with --json an object a line.
 * Exit code:  sysexits(3): 0; 65 a file holds no report, 66 it cannot be read. The others are printed all the same.
 * Tests:      tests/e2e/test_reports.py
 */
#include "cli/cli.h"

#include "cli/clean.h"
#include "io/fs.h"
#include "io/io.h"
#include "io/terminal.h"

#include <veredus/dmarc_report.h>
#include <veredus/message.h>
#include <veredus/report.h>
#include <veredus/tlsrpt.h>

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define FILE_MAX    (64u << 20)
#define CONTENT_MAX (64u << 20)
#define ARENA_MAX   (256u << 20)

struct wish {
    bool json, failed; /* --failed: only what did not pass */
};

static void usage(FILE *out)
{
    fputs(
        "usage: veredus report [--json] [--failed] FILE...\n\n"
        "Prints what others report: DMARC aggregate reports (XML) and TLS reports (JSON), packed by gzip or\n"
        "zip or not, or a mail message that has one attached. \"-\" is standard input.\n\n"
        "  --json     an object a line instead of words\n"
        "  --failed   only what did not pass: records of DMARC, policies of TLS\n",
        out);
}

/* ---- words ------------------------------------------------------------------------------------------------------------ */

static void put(struct vr_str s)
{
    cli_put_clean(stdout, s, "");
}

static void put_after(const char *words, struct vr_str s)
{
    if (s.n == 0)
        return;
    fputs(words, stdout);
    put(s);
}

static void put_time(int64_t time)
{
    char text[MESSAGE_RFC3339_SIZE];
    if (time < 0 || time > 253402300799) { /* the year 9999 */
        printf("(no date: %lld)", (long long)time);
        return;
    }
    message_rfc3339_write(text, time * 1000000);
    printf("%.19sZ", text);
}

static void put_head(const char *kind, struct vr_str who, struct vr_str address, struct vr_str about,
                     struct vr_str id, int64_t begin, int64_t end)
{
    printf("%s report of ", kind);
    put(who.n > 0 ? who : VR_STR("(nobody)"));
    put_after(" <", address);
    put_after(address.n > 0 ? "> about " : " about ", about.n > 0 ? about : VR_STR("(no domain)"));
    put_after("\n  id        ", id);
    fputs("\n  period    ", stdout);
    put_time(begin);
    fputs(" to ", stdout);
    put_time(end);
    putchar('\n');
}

static bool is(struct vr_str s, const char *word)
{
    return vr_str_equal_nocase(s, vr_str_from(word));
}

/* Aligned in one way at least (RFC 9989 §5.3.5). */
static bool passes(const struct dmarc_report_record *r)
{
    return is(r->dkim, "pass") || is(r->spf, "pass");
}

static void print_record(const struct dmarc_report_record *r)
{
    char source[64];
    snprintf(source, sizeof source, "%.*s", VR_STR_ARG(vr_str_sub(r->source_ip, 0, 45)));
    printf("\n%10llu  %-4s  from ", (unsigned long long)r->count, passes(r) ? "pass" : "FAIL");
    put(vr_str_from(source));
    put_after(", author ", r->header_from);
    put_after(", envelope ", r->envelope_from);
    put_after(" to ", r->envelope_to);
    put_after("\n            disposition ", r->disposition);
    put_after("; aligned: DKIM ", r->dkim);
    put_after(", SPF ", r->spf);
    for (size_t i = 0; i < r->reason_count; i++) {
        put_after("\n            since ", r->reasons[i].type);
        put_after(": ", r->reasons[i].comment);
    }
    for (size_t i = 0; i < r->dkim_count; i++) {
        put_after("\n            DKIM ", r->dkim_results[i].result);
        put_after(" for ", r->dkim_results[i].domain);
        put_after(", selector ", r->dkim_results[i].selector);
        put_after(": ", r->dkim_results[i].human_result);
    }
    for (size_t i = 0; i < r->spf_count; i++) {
        put_after("\n            SPF ", r->spf_results[i].result);
        put_after(" for ", r->spf_results[i].domain);
        put_after(", of ", r->spf_results[i].scope);
    }
    putchar('\n');
}

static void print_dmarc(const struct dmarc_report *r, bool failed)
{
    uint64_t all = 0, good = 0;
    for (size_t i = 0; i < r->record_count; i++) {
        all += r->records[i].count;
        good += passes(&r->records[i]) ? r->records[i].count : 0;
    }
    put_head("DMARC", r->organization, r->email, r->policy.domain, r->id, r->begin, r->end);
    put_after("  policy    p=", r->policy.p);
    put_after(" sp=", r->policy.sp);
    put_after(" np=", r->policy.np);
    put_after(" adkim=", r->policy.adkim);
    put_after(" aspf=", r->policy.aspf);
    put_after(" t=", r->policy.testing);
    put_after(" pct=", r->policy.pct);
    for (size_t i = 0; i < r->error_count; i++)
        put_after("\n  error     ", r->errors[i]);
    printf("\n  messages  %llu: %llu pass, %llu fail\n", (unsigned long long)all, (unsigned long long)good,
           (unsigned long long)(all - good));
    for (size_t i = 0; i < r->record_count; i++)
        if (!failed || !passes(&r->records[i]))
            print_record(&r->records[i]);
}

static void print_policy(const struct tlsrpt_policy *p)
{
    put_after("\n  policy    ", p->type.n > 0 ? p->type : VR_STR("(none)"));
    put_after(" for ", p->domain);
    printf(": %llu good, %llu failed\n", (unsigned long long)p->successful, (unsigned long long)p->failed);
    for (size_t k = 0; k < p->string_count; k++) {
        put_after("            ", p->strings[k]);
        putchar('\n');
    }
    for (size_t k = 0; k < p->detail_count; k++) {
        const struct tlsrpt_detail *d = &p->details[k];
        printf("%10llu  ", (unsigned long long)d->sessions);
        put(d->result_type);
        put_after(", server ", d->mx_hostname);
        put_after(" at ", d->receiving_ip);
        put_after(", from ", d->sending_ip);
        put_after(": ", d->reason);
        put_after(" ", d->information);
        putchar('\n');
    }
}

static void print_tls(const struct tlsrpt_report *r, bool failed)
{
    uint64_t good = 0, bad = 0;
    for (size_t i = 0; i < r->policy_count; i++) {
        good += r->policies[i].successful;
        bad += r->policies[i].failed;
    }
    put_head("TLS", r->organization, r->contact,
             r->policy_count > 0 ? r->policies[0].domain : vr_str(NULL, 0), r->id, r->begin, r->end);
    printf("  sessions  %llu good, %llu failed\n", (unsigned long long)good, (unsigned long long)bad);
    for (size_t i = 0; i < r->policy_count; i++)
        if (!failed || r->policies[i].failed > 0)
            print_policy(&r->policies[i]);
}

/* ---- JSON ---------------------------------------------------------------------------------------------------------------- */

static void set(json_t *object, const char *name, struct vr_str s)
{
    if (s.n > 0)
        json_object_set_new(object, name, json_stringn(s.p, s.n));
}

static void set_number(json_t *object, const char *name, uint64_t n)
{
    json_object_set_new(object, name, json_integer((json_int_t)(n < INT64_MAX ? n : INT64_MAX)));
}

static json_t *list_of(const struct vr_str *items, size_t n)
{
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(out, json_stringn(items[i].p, items[i].n));
    return out;
}

static json_t *json_record(const struct dmarc_report_record *r)
{
    json_t *out = json_object(), *reasons = json_array(), *dkim = json_array(), *spf = json_array();
    set(out, "source_ip", r->source_ip);
    set_number(out, "count", r->count);
    json_object_set_new(out, "result", json_string(passes(r) ? "pass" : "fail"));
    set(out, "disposition", r->disposition);
    set(out, "dkim_aligned", r->dkim);
    set(out, "spf_aligned", r->spf);
    set(out, "header_from", r->header_from);
    set(out, "envelope_from", r->envelope_from);
    set(out, "envelope_to", r->envelope_to);
    for (size_t i = 0; i < r->reason_count; i++) {
        json_t *one = json_object();
        set(one, "type", r->reasons[i].type);
        set(one, "comment", r->reasons[i].comment);
        json_array_append_new(reasons, one);
    }
    for (size_t i = 0; i < r->dkim_count; i++) {
        json_t *one = json_object();
        set(one, "domain", r->dkim_results[i].domain);
        set(one, "selector", r->dkim_results[i].selector);
        set(one, "result", r->dkim_results[i].result);
        set(one, "human_result", r->dkim_results[i].human_result);
        json_array_append_new(dkim, one);
    }
    for (size_t i = 0; i < r->spf_count; i++) {
        json_t *one = json_object();
        set(one, "domain", r->spf_results[i].domain);
        set(one, "scope", r->spf_results[i].scope);
        set(one, "result", r->spf_results[i].result);
        json_array_append_new(spf, one);
    }
    json_object_set_new(out, "reasons", reasons);
    json_object_set_new(out, "dkim", dkim);
    json_object_set_new(out, "spf", spf);
    return out;
}

static json_t *json_dmarc(const struct dmarc_report *r, bool failed)
{
    json_t *out = json_object(), *policy = json_object(), *records = json_array();
    json_object_set_new(out, "kind", json_string("dmarc"));
    set(out, "organization", r->organization);
    set(out, "email", r->email);
    set(out, "contact", r->contact);
    set(out, "id", r->id);
    set(out, "generator", r->generator);
    json_object_set_new(out, "begin", json_integer(r->begin));
    json_object_set_new(out, "end", json_integer(r->end));
    json_object_set_new(out, "errors", list_of(r->errors, r->error_count));
    set(policy, "domain", r->policy.domain);
    set(policy, "p", r->policy.p);
    set(policy, "sp", r->policy.sp);
    set(policy, "np", r->policy.np);
    set(policy, "adkim", r->policy.adkim);
    set(policy, "aspf", r->policy.aspf);
    set(policy, "pct", r->policy.pct);
    set(policy, "fo", r->policy.fo);
    set(policy, "testing", r->policy.testing);
    set(policy, "discovery_method", r->policy.discovery_method);
    json_object_set_new(out, "policy", policy);
    for (size_t i = 0; i < r->record_count; i++)
        if (!failed || !passes(&r->records[i]))
            json_array_append_new(records, json_record(&r->records[i]));
    json_object_set_new(out, "records", records);
    return out;
}

static json_t *json_policy(const struct tlsrpt_policy *p)
{
    json_t *out = json_object(), *details = json_array();
    set(out, "type", p->type);
    set(out, "domain", p->domain);
    json_object_set_new(out, "strings", list_of(p->strings, p->string_count));
    json_object_set_new(out, "mx_hosts", list_of(p->mx_hosts, p->mx_count));
    set_number(out, "successful", p->successful);
    set_number(out, "failed", p->failed);
    for (size_t i = 0; i < p->detail_count; i++) {
        const struct tlsrpt_detail *d = &p->details[i];
        json_t *one = json_object();
        set(one, "result_type", d->result_type);
        set(one, "sending_ip", d->sending_ip);
        set(one, "mx_hostname", d->mx_hostname);
        set(one, "mx_helo", d->mx_helo);
        set(one, "receiving_ip", d->receiving_ip);
        set_number(one, "sessions", d->sessions);
        set(one, "information", d->information);
        set(one, "reason", d->reason);
        json_array_append_new(details, one);
    }
    json_object_set_new(out, "details", details);
    return out;
}

static json_t *json_tls(const struct tlsrpt_report *r, bool failed)
{
    json_t *out = json_object(), *policies = json_array();
    json_object_set_new(out, "kind", json_string("tls"));
    set(out, "organization", r->organization);
    set(out, "contact", r->contact);
    set(out, "id", r->id);
    json_object_set_new(out, "begin", json_integer(r->begin));
    json_object_set_new(out, "end", json_integer(r->end));
    for (size_t i = 0; i < r->policy_count; i++)
        if (!failed || r->policies[i].failed > 0)
            json_array_append_new(policies, json_policy(&r->policies[i]));
    json_object_set_new(out, "policies", policies);
    return out;
}

static void print_json(json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);
    if (text != NULL)
        puts(text);
    free(text);
    json_decref(object);
}

/* ---- files ----------------------------------------------------------------------------------------------------------------- */

static enum vr_err print_report(enum report_kind kind, struct vr_str content, const struct wish *w,
                                const char **why)
{
    struct vr_arena arena;
    struct dmarc_report dmarc;
    struct tlsrpt_report tls;
    vr_arena_init(&arena, ARENA_MAX);
    enum vr_err e = kind == REPORT_DMARC ? dmarc_report_read(&arena, content, &dmarc, why)
                                         : tlsrpt_read(&arena, content, &tls, why);
    if (e == VR_OK && w->json)
        print_json(kind == REPORT_DMARC ? json_dmarc(&dmarc, w->failed) : json_tls(&tls, w->failed));
    else if (e == VR_OK && kind == REPORT_DMARC)
        print_dmarc(&dmarc, w->failed);
    else if (e == VR_OK)
        print_tls(&tls, w->failed);
    vr_arena_fini(&arena);
    return e;
}

static int report_file(const char *self, const char *path, const struct wish *w)
{
    struct vr_buf file, content;
    enum report_kind kind;
    const char *why = NULL;
    int code = EX_OK;
    vr_buf_init(&file, FILE_MAX);
    vr_buf_init(&content, CONTENT_MAX);
    int status =
        strcmp(path, "-") == 0 ? io_terminal_read_all(IO_STDIN, &file) : io_fs_read_file(path, &file);
    if (status < 0) {
        fprintf(stderr, "%s: %s cannot be read: %s\n", self, path, io_error_text(status));
        code = EX_NOINPUT;
    } else if (report_extract(&content, vr_buf_str(&file), &kind, &why) != VR_OK ||
               print_report(kind, vr_buf_str(&content), w, &why) != VR_OK) {
        fprintf(stderr, "%s: %s: %s\n", self, path, why);
        code = EX_DATAERR;
    }
    vr_buf_fini(&content);
    vr_buf_fini(&file);
    return code;
}

int cli_report(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"failed", no_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct wish w = {false, false};
    int option, code = EX_OK;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            return EX_OK;
        }
        if (option != 'j' && option != 'f')
            return cli_wrong_option(argv[0]);
        *(option == 'j' ? &w.json : &w.failed) = true;
    }
    if (optind == argc)
        return cli_wrong_usage(argv[0], "it takes the files to read, or - for standard input");
    for (int i = optind; i < argc; i++) {
        if (i > optind && !w.json)
            putchar('\n');
        int now = report_file(argv[0], argv[i], &w);
        code = code != EX_OK ? code : now;
    }
    return code;
}
