/* dkim_inside.h - the parts of `veredus dkim`: its command line (dkim_options.c), changing keys (dkim.c), showing them (dkim_print.c). */
#ifndef CLI_DKIM_INSIDE_H
#define CLI_DKIM_INSIDE_H

#include "cli/state.h"
#include "keeper/dkim_store.h"

#include <stdio.h>

#define DKIM_SELF "veredus dkim"

struct dkim_arguments {
    struct cli_state state;
    const char *selector, *key_file;
    unsigned algorithms; /* bits 1 << enum dkim_algorithm; 0: not said */
    unsigned bits;
    int64_t after, keep; /* seconds; -1: not said */
    bool json, retired, force;
    int64_t now;
    struct vr_str domain;
    struct dkim_ring *ring;
};

#define DKIM_RSA     (1u << DKIM_RSA_SHA256)
#define DKIM_ED25519 (1u << DKIM_ED25519_SHA256)

void dkim_usage(FILE *out);
/* -1: go on; else the exit code. */
int dkim_read_options(int argc, char **argv, struct dkim_arguments *a);

/* What is to be published for these keys, as a zone file has it: what the prose around it is, is a comment. */
void dkim_print_record(const struct dkim_ring *r, const struct dkim_stored *k);
const char *dkim_algorithm_word(enum dkim_algorithm a); /* "rsa", "ed25519" */
#define DKIM_TIME_TEXT 24
const char *dkim_time_text(char out[DKIM_TIME_TEXT], int64_t seconds); /* "2026-11-28 01:30 UTC" */

/* `list`: of one domain, or of all when it is empty. Returns the exit code. */
int dkim_print_list(const struct cli_state *s, struct vr_str domain, bool json, int64_t now);
/* The exit code for a result of the store, after having said what is the matter. */
int dkim_complain(enum dkim_store_result r, struct vr_str domain, const char *error);

#endif
