/* dmarc_from.c - the author domains of a message (RFC 9989 §5.3.1, §11.5).
 *
 * All From fields count, and all mailboxes in them: what a reader may be shown has to be evaluated.
 *
 * Tests: tests/unit/dmarc.c
 */
#include "dmarc_inside.h"

#include <veredus/address.h>
#include <veredus/idn.h>
#include <veredus/message.h>

bool dmarc_domain(struct vr_arena *arena, struct vr_str text, struct vr_str *out)
{
    if (text.n > 0 && text.p[text.n - 1] == '.')
        text.n--;
    return idn_to_ascii(arena, text, out) == VR_OK && address_domain_valid(*out, 0);
}

static void add(struct vr_arena *arena, struct vr_str domain, struct vr_str *domains, struct dmarc_from *out)
{
    struct vr_str name;
    if (!dmarc_domain(arena, domain, &name)) {
        out->unreadable = true;
        return;
    }
    for (size_t i = 0; i < out->count; i++)
        if (vr_str_equal(domains[i], name))
            return;
    if (out->count == DMARC_FROM_MAX)
        out->more = true;
    else
        domains[out->count++] = name;
}

enum vr_err dmarc_from(struct vr_arena *arena, struct vr_str header, struct dmarc_from *out)
{
    struct header_reader reader;
    struct header_field field;
    struct vr_str *domains = vr_arena_alloc(arena, DMARC_FROM_MAX * sizeof *domains);
    *out = (struct dmarc_from){.domains = domains};
    if (domains == NULL)
        return VR_ERR_TOO_BIG;
    header_reader_init(&reader, header);
    while (header_next(&reader, &field)) {
        struct address_mailbox *list = NULL;
        if (!vr_str_equal_nocase(field.name, VR_STR("From")))
            continue;
        out->fields++;
        if (address_parse_list(arena, field.body, &list) != VR_OK)
            return VR_ERR_TOO_BIG;
        if (list == NULL)
            out->unreadable = true;
        for (; list != NULL && !out->more; list = list->next)
            add(arena, list->domain, domains, out);
    }
    return VR_OK;
}
