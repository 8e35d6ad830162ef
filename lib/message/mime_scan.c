/* mime_scan.c - what stretches of a message hold: lines and their lengths, octets that some transports do not take (RFC 2045 §2.7 to §2.9).
 *
 * Promise: the same in any pieces. Lines are found by memchr, octets looked at eight at a time.
 * Tests:   tests/unit/mime_convert.c
 */
#include "mime_inside.h"

#include <string.h>

static void look_at_octets(struct mime_scan *s, struct vr_str bytes)
{
    const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;
    uint64_t high = 0, zero = 0, word;
    size_t i = 0;
    for (; i + sizeof word <= bytes.n; i += sizeof word) {
        memcpy(&word, bytes.p + i, sizeof word);
        high |= word;
        zero |= (word - ones) & ~word;
    }
    for (; i < bytes.n; i++) {
        high |= (unsigned char)bytes.p[i];
        zero |= bytes.p[i] == '\0' ? 0x80 : 0;
    }
    s->eight_bit |= (high & tops) != 0;
    s->nul |= (zero & tops) != 0;
}

static void end_line(struct mime_scan *s)
{
    if (s->line > s->longest)
        s->longest = s->line;
    if (s->line > MIME_LINE_MAX) /* each line that is put in begins with a blank */
        s->breaks += (s->line - MIME_LINE_MAX + MIME_LINE_MAX - 2) / (MIME_LINE_MAX - 1);
    s->line = 0;
}

/* Octets up to and without an LF, or up to the end of the piece; `after` are those behind them. */
static void add_stretch(struct mime_scan *s, struct vr_str stretch, bool lf)
{
    bool cr = stretch.n > 0 && stretch.p[stretch.n - 1] == '\r';
    stretch.n -= cr;
    s->bare |= vr_str_find(stretch, '\r') != VR_NPOS || (lf && !cr);
    s->line += stretch.n;
    if (lf && cr)
        end_line(s);
    else if (lf)
        s->line++; /* content */
    else
        s->cr = cr;
}

void mime_scan_add(struct mime_scan *s, struct vr_str bytes)
{
    if (bytes.n == 0)
        return;
    s->octets += bytes.n;
    look_at_octets(s, bytes);
    if (s->cr) {
        s->cr = false;
        if (bytes.p[0] == '\n') {
            end_line(s);
            bytes = vr_str_from_pos(bytes, 1);
            s->ends_line = true;
        } else {
            s->bare = true;
            s->line++;
        }
    }
    for (size_t lf; bytes.n > 0; bytes = vr_str_from_pos(bytes, lf + 1)) {
        lf = vr_str_find(bytes, '\n');
        bool found = lf != VR_NPOS;
        add_stretch(s, found ? vr_str_sub(bytes, 0, lf) : bytes, found);
        s->ends_line = found && s->line == 0; /* a bare LF is in the line */
        if (!found)
            break;
    }
}

void mime_scan_end(struct mime_scan *s)
{
    if (s->cr) {
        s->bare = true;
        s->line++;
        s->cr = false;
    }
    if (s->line > 0)
        end_line(s);
}

enum mime_transport mime_scan_needs(const struct mime_scan *s)
{
    if (s->nul || s->bare || s->longest > MIME_LINE_MAX)
        return MIME_BINARY;
    return s->eight_bit ? MIME_8BIT : MIME_7BIT;
}

/* ---- UTF-8 (RFC 3629 §4) ------------------------------------------------------------------------------------------------ */

static void begin_sequence(struct mime_utf8 *u, unsigned char c)
{
    static const struct {
        unsigned char first_low, first_high, low, high, more;
    } forms[] = {
        {0xC2, 0xDF, 0x80, 0xBF, 1}, {0xE0, 0xE0, 0xA0, 0xBF, 2}, {0xE1, 0xEC, 0x80, 0xBF, 2},
        {0xED, 0xED, 0x80, 0x9F, 2}, {0xEE, 0xEF, 0x80, 0xBF, 2}, {0xF0, 0xF0, 0x90, 0xBF, 3},
        {0xF1, 0xF3, 0x80, 0xBF, 3}, {0xF4, 0xF4, 0x80, 0x8F, 3},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (c >= forms[i].first_low && c <= forms[i].first_high) {
            *u = (struct mime_utf8){.more = forms[i].more, .low = forms[i].low, .high = forms[i].high};
            return;
        }
    u->bad = true;
}

void mime_utf8_add(struct mime_utf8 *u, struct vr_str bytes)
{
    for (size_t i = 0; i < bytes.n && !u->bad; i++) {
        unsigned char c = (unsigned char)bytes.p[i];
        if (u->more == 0 && c < 0x80)
            continue;
        if (u->more == 0) {
            begin_sequence(u, c);
        } else if (c < u->low || c > u->high) {
            u->bad = true;
        } else {
            u->more--;
            u->low = 0x80;
            u->high = 0xBF;
        }
    }
}

bool mime_utf8_end(const struct mime_utf8 *u)
{
    return !u->bad && u->more == 0;
}
