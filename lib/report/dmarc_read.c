/* dmarc_read.c - aggregate reports of others. expat reads the XML; a document type ends it at once, so there are no entities to expand.
 *
 * elements[] says what is where: an element that is not a child of the right parent is passed over, with all that is in it.
 *
 * Tests: tests/unit/dmarc_report.c, tests/fuzz/fuzz_dmarc_report.c
 */
#include "inside.h"

#include <veredus/dmarc_report.h>

#include <expat.h>
#include <string.h>

enum element {
    NONE, /* outside of all; also: unknown */
    FEEDBACK,
    METADATA,
    RANGE,
    POLICY,
    RECORD,
    ROW,
    EVALUATED,
    REASON,
    IDENTIFIERS,
    RESULTS,
    DKIM,
    SPF,
    LEAF, /* a text */
    ERROR_TEXT,
    BEGIN_TEXT,
    END_TEXT,
    COUNT_TEXT
};

enum object { IN_REPORT, IN_RECORD, IN_REASON, IN_DKIM, IN_SPF };

#define AT_REPORT(m) IN_REPORT, offsetof(struct dmarc_report, m)
#define AT_RECORD(m) IN_RECORD, offsetof(struct dmarc_report_record, m)
#define AT_REASON(m) IN_REASON, offsetof(struct dmarc_report_reason, m)
#define AT_DKIM(m)   IN_DKIM, offsetof(struct dmarc_report_dkim, m)
#define AT_SPF(m)    IN_SPF, offsetof(struct dmarc_report_spf, m)

static const struct row {
    enum element parent;
    const char *name;
    enum element is;
    enum object object; /* LEAF: where the text goes */
    size_t offset;
} elements[] = {
    {NONE, "feedback", FEEDBACK, AT_REPORT(version)},
    {FEEDBACK, "version", LEAF, AT_REPORT(version)},
    {FEEDBACK, "report_metadata", METADATA, AT_REPORT(version)},
    {METADATA, "org_name", LEAF, AT_REPORT(organization)},
    {METADATA, "email", LEAF, AT_REPORT(email)},
    {METADATA, "extra_contact_info", LEAF, AT_REPORT(contact)},
    {METADATA, "report_id", LEAF, AT_REPORT(id)},
    {METADATA, "generator", LEAF, AT_REPORT(generator)},
    {METADATA, "error", ERROR_TEXT, AT_REPORT(version)},
    {METADATA, "date_range", RANGE, AT_REPORT(version)},
    {RANGE, "begin", BEGIN_TEXT, AT_REPORT(version)},
    {RANGE, "end", END_TEXT, AT_REPORT(version)},
    {FEEDBACK, "policy_published", POLICY, AT_REPORT(version)},
    {POLICY, "domain", LEAF, AT_REPORT(policy.domain)},
    {POLICY, "adkim", LEAF, AT_REPORT(policy.adkim)},
    {POLICY, "aspf", LEAF, AT_REPORT(policy.aspf)},
    {POLICY, "p", LEAF, AT_REPORT(policy.p)},
    {POLICY, "sp", LEAF, AT_REPORT(policy.sp)},
    {POLICY, "np", LEAF, AT_REPORT(policy.np)},
    {POLICY, "pct", LEAF, AT_REPORT(policy.pct)},
    {POLICY, "fo", LEAF, AT_REPORT(policy.fo)},
    {POLICY, "testing", LEAF, AT_REPORT(policy.testing)},
    {POLICY, "discovery_method", LEAF, AT_REPORT(policy.discovery_method)},
    {FEEDBACK, "record", RECORD, AT_REPORT(version)},
    {RECORD, "row", ROW, AT_REPORT(version)},
    {ROW, "source_ip", LEAF, AT_RECORD(source_ip)},
    {ROW, "count", COUNT_TEXT, AT_REPORT(version)},
    {ROW, "policy_evaluated", EVALUATED, AT_REPORT(version)},
    {EVALUATED, "disposition", LEAF, AT_RECORD(disposition)},
    {EVALUATED, "dkim", LEAF, AT_RECORD(dkim)},
    {EVALUATED, "spf", LEAF, AT_RECORD(spf)},
    {EVALUATED, "reason", REASON, AT_REPORT(version)},
    {REASON, "type", LEAF, AT_REASON(type)},
    {REASON, "comment", LEAF, AT_REASON(comment)},
    {RECORD, "identifiers", IDENTIFIERS, AT_REPORT(version)},
    {RECORD, "identities", IDENTIFIERS,
     AT_REPORT(version)}, /* of the drafts before RFC 7489, still written */
    {IDENTIFIERS, "envelope_to", LEAF, AT_RECORD(envelope_to)},
    {IDENTIFIERS, "envelope_from", LEAF, AT_RECORD(envelope_from)},
    {IDENTIFIERS, "header_from", LEAF, AT_RECORD(header_from)},
    {RECORD, "auth_results", RESULTS, AT_REPORT(version)},
    {RESULTS, "dkim", DKIM, AT_REPORT(version)},
    {DKIM, "domain", LEAF, AT_DKIM(domain)},
    {DKIM, "selector", LEAF, AT_DKIM(selector)},
    {DKIM, "result", LEAF, AT_DKIM(result)},
    {DKIM, "human_result", LEAF, AT_DKIM(human_result)},
    {RESULTS, "spf", SPF, AT_REPORT(version)},
    {SPF, "domain", LEAF, AT_SPF(domain)},
    {SPF, "scope", LEAF, AT_SPF(scope)},
    {SPF, "result", LEAF, AT_SPF(result)},
};

/* An array that grows in the arena. */
struct list {
    char *items;
    size_t count, max;
};

struct reading {
    XML_Parser parser;
    struct vr_arena *arena;
    struct dmarc_report *out;
    struct list records, errors, reasons, dkim, spf;
    struct {
        enum element is;
        const struct row *row;
    } stack[DMARC_REPORT_DEPTH_MAX + 1];
    size_t depth;
    struct vr_buf text; /* of the innermost leaf */
    bool feedback, begin, end;
    enum vr_err error;
    const char *why;
};

static void stop(struct reading *r, enum vr_err e, const char *why)
{
    if (r->error == VR_OK) {
        r->error = e;
        r->why = why;
        XML_StopParser(r->parser, XML_FALSE);
    }
}

static void *push(struct reading *r, struct list *l, size_t size)
{
    if (l->count == l->max) {
        size_t max = l->max > 0 ? 2 * l->max : 4;
        char *more = vr_arena_alloc(r->arena, max * size);
        if (more == NULL) {
            stop(r, VR_ERR_TOO_BIG, "the report holds more than is read");
            return NULL;
        }
        if (l->count > 0)
            memcpy(more, l->items, l->count * size);
        l->items = more;
        l->max = max;
    }
    return l->items + l->count++ * size;
}

static void *last(const struct list *l, size_t size)
{
    return l->count > 0 ? l->items + (l->count - 1) * size : NULL;
}

static void *object_of(struct reading *r, enum object o)
{
    switch (o) {
    case IN_REPORT:
        return r->out;
    case IN_RECORD:
        return last(&r->records, sizeof(struct dmarc_report_record));
    case IN_REASON:
        return last(&r->reasons, sizeof(struct dmarc_report_reason));
    case IN_DKIM:
        return last(&r->dkim, sizeof(struct dmarc_report_dkim));
    case IN_SPF:
        return last(&r->spf, sizeof(struct dmarc_report_spf));
    }
    return NULL;
}

/* ---- elements ---------------------------------------------------------------------------------------------------------- */

static const struct row *find(enum element parent, bool root, const char *name)
{
    const char *colon = strrchr(name, ':');
    if (colon != NULL)
        name = colon + 1;
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
        if (elements[i].parent == parent && (parent != NONE || root) && strcmp(elements[i].name, name) == 0)
            return &elements[i];
    return NULL;
}

static void begin_object(struct reading *r, enum element is)
{
    if (is == FEEDBACK)
        r->feedback = true;
    else if (is == RECORD) {
        push(r, &r->records, sizeof(struct dmarc_report_record));
        r->reasons = r->dkim = r->spf = (struct list){0};
    } else if (is == REASON)
        push(r, &r->reasons, sizeof(struct dmarc_report_reason));
    else if (is == DKIM)
        push(r, &r->dkim, sizeof(struct dmarc_report_dkim));
    else if (is == SPF)
        push(r, &r->spf, sizeof(struct dmarc_report_spf));
}

static void element_start(void *arg, const char *name, const char **attributes)
{
    struct reading *r = arg;
    (void)attributes;
    if (r->depth == DMARC_REPORT_DEPTH_MAX) {
        stop(r, VR_ERR_TOO_BIG, "the XML is nested too deep");
        return;
    }
    const struct row *row = find(r->stack[r->depth].is, r->depth == 0, name);
    r->depth++;
    r->stack[r->depth].row = row;
    r->stack[r->depth].is = row != NULL ? row->is : NONE;
    vr_buf_reset(&r->text);
    if (row != NULL)
        begin_object(r, row->is);
}

static void take_list(struct reading *r)
{
    struct dmarc_report_record *record = object_of(r, IN_RECORD);
    if (record == NULL)
        return;
    record->reasons = (const void *)r->reasons.items;
    record->reason_count = r->reasons.count;
    record->dkim_results = (const void *)r->dkim.items;
    record->dkim_count = r->dkim.count;
    record->spf_results = (const void *)r->spf.items;
    record->spf_count = r->spf.count;
}

static void take_text(struct reading *r, const struct row *row)
{
    struct vr_str text = vr_str_trim(vr_buf_str(&r->text)), *slot = NULL;
    struct dmarc_report_record *record = object_of(r, IN_RECORD);
    uint64_t n = 0;
    bool number = vr_str_to_u64(text, &n) && n <= INT64_MAX;
    switch (row->is) {
    case LEAF:
        slot = object_of(r, row->object) != NULL ? (void *)((char *)object_of(r, row->object) + row->offset)
                                                 : NULL;
        break;
    case ERROR_TEXT:
        slot = push(r, &r->errors, sizeof *slot);
        break;
    case BEGIN_TEXT:
        r->begin = number;
        r->out->begin = (int64_t)n;
        break;
    case END_TEXT:
        r->end = number;
        r->out->end = (int64_t)n;
        break;
    default:
        if (record != NULL && number)
            record->count = n;
        break;
    }
    if (slot == NULL)
        return;
    *slot = report_clean(r->arena, text);
    if (text.n > 0 && slot->n == 0)
        stop(r, VR_ERR_TOO_BIG, "the report holds more than is read");
}

static void element_end(void *arg, const char *name)
{
    struct reading *r = arg;
    (void)name;
    if (r->error != VR_OK || r->depth == 0)
        return;
    const struct row *row = r->stack[r->depth].row;
    if (row != NULL && row->is >= LEAF)
        take_text(r, row);
    else if (row != NULL && row->is == RECORD)
        take_list(r);
    vr_buf_reset(&r->text);
    r->depth--;
}

static void characters(void *arg, const char *text, int n)
{
    struct reading *r = arg;
    if (r->stack[r->depth].is >= LEAF && r->error == VR_OK && !vr_buf_add(&r->text, vr_str(text, (size_t)n)))
        stop(r, VR_ERR_TOO_BIG, "a text in the report is too long");
}

static void doctype(void *arg, const char *name, const char *system, const char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    stop(arg, VR_ERR_SYNTAX, "the XML has a document type, which no report has");
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------ */

static void conclude(struct reading *r, enum XML_Status status)
{
    if (r->error == VR_OK && status != XML_STATUS_OK) {
        r->error = VR_ERR_SYNTAX;
        r->why = r->feedback ? "the XML is broken" : "it is no XML";
    }
    if (r->error == VR_OK && (!r->feedback || !r->begin || !r->end)) {
        r->error = VR_ERR_SYNTAX;
        r->why = r->feedback ? "the report has no date range" : "the XML is no DMARC report";
    }
    r->out->records = (const void *)r->records.items;
    r->out->record_count = r->records.count;
    r->out->errors = (const void *)r->errors.items;
    r->out->error_count = r->errors.count;
}

enum vr_err dmarc_report_read(struct vr_arena *arena, struct vr_str xml, struct dmarc_report *out,
                              const char **why)
{
    struct reading r = {.arena = arena, .out = out, .parser = XML_ParserCreate(NULL)};
    *out = (struct dmarc_report){0};
    *why = "the report is larger than is read";
    if (r.parser == NULL || xml.n > DMARC_REPORT_XML_MAX) {
        XML_ParserFree(r.parser);
        return VR_ERR_TOO_BIG;
    }
    vr_buf_init(&r.text, DMARC_REPORT_TEXT_MAX);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, element_start, element_end);
    XML_SetCharacterDataHandler(r.parser, characters);
    XML_SetStartDoctypeDeclHandler(r.parser, doctype);
    conclude(&r, XML_Parse(r.parser, xml.p != NULL ? xml.p : "", (int)xml.n, XML_TRUE));
    XML_ParserFree(r.parser);
    vr_buf_fini(&r.text);
    *why = r.why;
    return r.error;
}
