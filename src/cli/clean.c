/* clean.c - text of strangers on a terminal: letters of all scripts as they are, what could drive the terminal or turn its lines masked.
 *
 * Tests: tests/unit/sendmail_parse.c
 */
#include "cli/clean.h"

static bool is_safe(uint32_t c)
{
    return c >= 0x20 && !(c >= 0x7f && c <= 0x9f) && !(c >= 0x2028 && c <= 0x202e) &&
           !(c >= 0x2066 && c <= 0x2069);
}

bool cli_add_clean(struct vr_buf *out, struct vr_str text, const char *stays)
{
    while (text.n > 0) {
        struct vr_str at = text;
        uint32_t c;
        if (!vr_utf8_next(&text, &c)) {
            text = vr_str_from_pos(text, 1);
            vr_buf_add_byte(out, '?');
            continue;
        }
        bool kept = is_safe(c) || (c != 0 && c < 0x80 && vr_str_find(vr_str_from(stays), (char)c) != VR_NPOS);
        vr_buf_add(out, kept ? vr_str_sub(at, 0, at.n - text.n) : VR_STR("?"));
    }
    return !out->too_big;
}

void cli_put_clean(FILE *file, struct vr_str text, const char *stays)
{
    struct vr_buf b;
    vr_buf_init(&b, text.n + 1); /* it grows no longer */
    cli_add_clean(&b, text, stays);
    if (vr_buf_size(&b) > 0) /* fwrite wants an address even for nothing */
        fwrite(vr_buf_str(&b).p, 1, vr_buf_size(&b), file);
    vr_buf_fini(&b);
}
