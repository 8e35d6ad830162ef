/* aliases.h - the alias and virtual tables of a domain, as they stand in memory. Internal to src/config/. */
#ifndef CONFIG_ALIASES_H
#define CONFIG_ALIASES_H

#include "config/load.h"

struct alias_target {
    struct vr_str address; /* canonical text; error: "5.3.5 …", the refusal */
    bool final;            /* "\user": the mailbox itself, no further alias */
    bool error;
    struct alias_target *next;
};
struct alias_entry {
    struct vr_str local; /* lower case */
    struct alias_target *targets;
    struct place at;
    struct alias_entry *next; /* of its bucket */
};
struct alias_table {
    struct alias_entry **buckets;
    size_t mask, count;
    struct alias_entry *rest; /* "@domain": who gets what nobody else does */
};

/* Reads d->virtual_file and d->aliases_file (both may be NULL) into d->aliases. What a virtual table says goes before aliases. */
void aliases_load(struct config *c, struct config_domain *d, struct problems *p, struct place aliases_at,
                  struct place virtual_at);
/* NULL when there is none. `local` in lower case; the table may be NULL. */
const struct alias_entry *alias_find(const struct alias_table *t, struct vr_str local);

#endif
