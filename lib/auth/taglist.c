/* taglist.c - see taglist.h.
 *
 * tag-list = tag-spec *( ";" tag-spec ) [ ";" ], tag-spec = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS] (RFC 6376 §3.2).
 * Values may hold UTF-8 (RFC 8616 §3).
 * Tests: tests/unit/dkim_verify.c
 */
#include "taglist.h"

#include <string.h>

static bool is_alpha(char c)
{
    char l = vr_lower(c);
    return l >= 'a' && l <= 'z';
}

static bool is_name(struct vr_str name)
{
    if (name.n == 0 || !is_alpha(name.p[0]))
        return false;
    for (size_t i = 1; i < name.n; i++)
        if (!is_alpha(name.p[i]) && !(name.p[i] >= '0' && name.p[i] <= '9') && name.p[i] != '_')
            return false;
    return true;
}

static bool is_value(struct vr_str value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
            return false;
    }
    return vr_str_is_ascii(value) || vr_utf8_valid(value);
}

static bool add(struct taglist *out, struct vr_str spec, const char **why)
{
    size_t equals = vr_str_find(spec, '=');
    if (out->count == TAGS_MAX || equals == VR_NPOS) {
        *why = equals == VR_NPOS ? "a tag has no \"=\"" : "too many tags";
        return false;
    }
    struct tag *t = &out->tags[out->count];
    t->name = vr_str_trim(vr_str_sub(spec, 0, equals));
    t->space = vr_str_from_pos(spec, equals + 1);
    t->value = vr_str_trim(t->space);
    if (!is_name(t->name) || !is_value(t->value)) {
        *why = is_name(t->name) ? "a tag's value has a character that may not be there"
                                : "a tag's name has a character that may not be there";
        return false;
    }
    for (size_t i = 0; i < out->count; i++)
        if (vr_str_equal(out->tags[i].name, t->name)) {
            *why = "a tag is given twice";
            return false;
        }
    out->count++;
    return true;
}

bool taglist_parse(struct vr_str text, struct taglist *out, const char **why)
{
    size_t semicolon;
    out->count = 0;
    do {
        semicolon = vr_str_find(text, ';');
        struct vr_str spec = vr_str_sub(text, 0, semicolon);
        if (semicolon == VR_NPOS && out->count > 0 && vr_str_trim(spec).n == 0)
            return true; /* what follows the last ";" */
        if (!add(out, spec, why))
            return false;
        text = vr_str_from_pos(text, semicolon == VR_NPOS ? text.n : semicolon + 1);
    } while (semicolon != VR_NPOS);
    return true;
}

const struct tag *taglist_find(const struct taglist *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (vr_str_equal(list->tags[i].name, vr_str_from(name)))
            return &list->tags[i];
    return NULL;
}

bool taglist_word(struct vr_str *rest, struct vr_str *word)
{
    if (rest->p == NULL)
        return false;
    size_t colon = vr_str_find(*rest, ':');
    *word = vr_str_trim(vr_str_sub(*rest, 0, colon));
    *rest = colon == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(*rest, colon + 1);
    return true;
}

bool taglist_has(struct vr_str list, const char *word)
{
    struct vr_str w;
    while (taglist_word(&list, &w))
        if (vr_str_equal(w, vr_str_from(word)))
            return true;
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

size_t taglist_squeeze(char *text, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_blank(text[i]))
            text[kept++] = text[i];
    return kept;
}

bool taglist_base64(struct vr_buf *out, struct vr_str text)
{
    struct vr_buf plain;
    vr_buf_init(&plain, text.n + 4);
    char *p = vr_buf_reserve(&plain, text.n + 4);
    bool good = p != NULL && text.n > 0;
    if (good) {
        memcpy(p, text.p, text.n);
        size_t n = taglist_squeeze(p, text.n);
        while (n % 4 != 0)
            p[n++] = '=';
        good = n > 0 && vr_base64_decode(out, vr_str(p, n)) == VR_OK;
    }
    vr_buf_fini(&plain);
    return good;
}
