/* ids.c - queue ids: microseconds and the slot of the giver, in Crockford's base 32.
 *
 * Tests: tests/unit/ipc.c
 */
#include "ipc/ipc.h"

#define EPOCH_US  1577836800000000ll /* 2020-01-01T00:00:00Z */
#define SLOT_BITS 10
#define DIGITS    13

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

uint64_t queue_id_next(uint64_t *last, int64_t now_us, unsigned slot)
{
    uint64_t t = now_us > EPOCH_US ? (uint64_t)(now_us - EPOCH_US) : 0;
    uint64_t previous = *last >> SLOT_BITS;
    if (t <= previous)
        t = previous + 1; /* the clock stood still or went back */
    *last = t << SLOT_BITS | (slot & ((1u << SLOT_BITS) - 1));
    return *last;
}

void queue_id_text(uint64_t id, char out[QUEUE_ID_TEXT])
{
    for (int i = DIGITS - 1; i >= 0; i--) {
        out[i] = digits[id & 31];
        id >>= 5;
    }
    out[DIGITS] = '\0';
}

static int digit_value(char c)
{
    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    if (c == 'I' || c == 'L')
        return 1;
    if (c == 'O')
        return 0;
    for (int i = 0; i < 32; i++)
        if (digits[i] == c)
            return i;
    return -1;
}

bool queue_id_parse(struct vr_str text, uint64_t *out)
{
    if (text.n != DIGITS)
        return false;
    uint64_t id = 0;
    for (size_t i = 0; i < DIGITS; i++) {
        int v = digit_value(text.p[i]);
        if (v < 0 || id >> 59 != 0)
            return false;
        id = id << 5 | (uint64_t)v;
    }
    *out = id;
    return true;
}

int64_t queue_id_time_us(uint64_t id)
{
    return (int64_t)(id >> SLOT_BITS) + EPOCH_US;
}
