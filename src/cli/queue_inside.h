/* queue_inside.h - shared by queue.c (the command line), queue_ask.c (the control socket), queue_print.c (what people see). */
#ifndef CLI_QUEUE_INSIDE_H
#define CLI_QUEUE_INSIDE_H

#include <veredus/base.h>

#include <jansson.h>

/* ---- queue_ask.c ------------------------------------------------------------------------------------------------------------ */

struct queue_answer {
    /* A line of the answer, as soon as it is there; the last one has "end": true. raw: messages come as text only, line is NULL. */
    void (*line)(void *arg, json_t *line, struct vr_str text);
    bool raw;
    /* The lines that are there have been handed on: show them. False: no more of it, please. */
    bool (*shown)(void *arg);
    void *arg;
    bool *absent; /* NULL: a server that does not run is complained of, EX_TEMPFAIL; else set, and EX_OK */
};
/* The exit code, after having said what was wrong when it is not EX_OK. */
int queue_ask(const char *self, const char *run, const json_t *request, const struct queue_answer *answer);

/* ---- queue_print.c ---------------------------------------------------------------------------------------------------------- */

const char *queue_text_of(const json_t *object, const char *key); /* "" when there is none */
int64_t queue_number_of(const json_t *object, const char *key);
void queue_print_message(const json_t *m); /* of a list */
void queue_print_whole(const json_t *m);   /* of show */
void queue_print_done(const json_t *end);
void queue_print_summary(const json_t *end);

#endif
