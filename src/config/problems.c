/* problems.c - the list of complaints about a configuration, and the guess at what was meant.
 *
 * Promise: every complaint has a file and a line; the same one is kept once; PROBLEMS_MAX are kept, all are counted.
 * Tests:   tests/unit/config.c
 */
#include "config/load.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *must_alloc(struct vr_arena *a, size_t n)
{
    void *p = vr_arena_alloc(a, n ? n : 1);
    if (!p) {
        fprintf(stderr, "veredus: out of memory while loading the configuration\n");
        abort();
    }
    return p;
}

struct vr_str must_dup(struct vr_arena *a, struct vr_str s)
{
    char *p = must_alloc(a, s.n + 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    return vr_str(p, s.n);
}

const char *must_text(struct vr_arena *a, struct vr_str s)
{
    return must_dup(a, s).p;
}

static bool already_noted(const struct problems *p, struct place at, const char *message)
{
    for (const struct config_problem *i = p->list; i; i = i->next)
        if (i->line == at.line && strcmp(i->message, message) == 0 && strcmp(i->file, at.file) == 0)
            return true;
    return false;
}

static void note(struct problems *p, bool warning, struct place at, const char *format, va_list arguments)
{
    if (p->total >= PROBLEMS_MAX) {
        *(warning ? &p->warnings : &p->errors) += 1;
        return;
    }
    char text[PROBLEM_TEXT];
    vsnprintf(text, sizeof text, format, arguments);
    bool utf8 = vr_utf8_valid(vr_str_from(text));
    for (char *c = text; *c; c++) /* what a file says must not move the terminal's cursor */
        if ((unsigned char)*c < 0x20 || *c == 0x7f || ((unsigned char)*c >= 0x80 && !utf8))
            *c = '?';
    if (already_noted(p, at, text))
        return;
    struct config_problem *problem = must_alloc(p->arena, sizeof *problem);
    *problem = (struct config_problem){.file = must_text(p->arena, vr_str_from(at.file)),
                                       .line = at.line,
                                       .warning = warning,
                                       .message = must_text(p->arena, vr_str_from(text)),
                                       .next = p->list};
    p->list = problem;
    p->total++;
    *(warning ? &p->warnings : &p->errors) += 1;
}

void problem_error(struct problems *p, struct place at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    note(p, false, at, format, arguments);
    va_end(arguments);
}

void problem_warning(struct problems *p, struct place at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    note(p, true, at, format, arguments);
    va_end(arguments);
}

static bool goes_before(const struct config_problem *a, const struct config_problem *b)
{
    int order = strcmp(a->file, b->file);
    return order != 0 ? order < 0 : a->line < b->line;
}

void problems_sort(struct problems *p)
{
    /* The list is newest first: taking from its front and inserting before equals restores the order of noting. */
    struct config_problem *sorted = NULL;
    for (struct config_problem *i = p->list, *next; i; i = next) {
        next = i->next;
        struct config_problem **at = &sorted;
        while (*at && goes_before(*at, i))
            at = &(*at)->next;
        i->next = *at;
        *at = i;
    }
    p->list = sorted;
}

#define WORD_MAX 32
/* Typing errors between two words: letters put in, left out, changed, or two neighbours swapped. */
static unsigned distance(struct vr_str a, struct vr_str b)
{
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    if (a.n > WORD_MAX || b.n > WORD_MAX)
        return WORD_MAX;
    for (unsigned i = 0; i <= a.n; i++)
        for (unsigned j = 0; j <= b.n; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            unsigned best = d[i - 1][j - 1] + (vr_lower(a.p[i - 1]) != vr_lower(b.p[j - 1]));
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[a.n][b.n];
}

const char *closest_word(struct vr_str word, const char *const *words, size_t n)
{
    const char *best = NULL;
    unsigned best_distance = word.n < 4 ? 2 : 3; /* one error in a short word, two in a longer one */
    for (size_t i = 0; i < n; i++) {
        unsigned d = distance(word, vr_str_from(words[i]));
        if (d < best_distance) {
            best_distance = d;
            best = words[i];
        }
    }
    if (best)
        return best;
    for (size_t i = 0; i < n; i++) { /* "max_message_size", "size": a part of the word is right */
        struct vr_str w = vr_str_from(words[i]);
        if ((word.n >= 4 && vr_str_find_str(w, word) != VR_NPOS) ||
            (w.n >= 4 && vr_str_find_str(word, w) != VR_NPOS))
            return words[i];
    }
    return NULL;
}
