/* routing.h - the way of a recipient: own domains, aliases, virtual tables, routes. Pure functions over the configuration.
 *
 * Domains are the same in U-labels and in A-labels; next hops are in A-labels. Local parts of own domains are folded (address_fold).
 * Does not ask the DNS (that is the sender's) nor the accounts (the keeper's): where an account decides, it says so.
 */
#ifndef CONFIG_ROUTING_H
#define CONFIG_ROUTING_H

#include "config/config.h"

const struct config_domain *routing_domain(const struct config *c, struct vr_str domain); /* NULL: not ours */

enum routing_rcpt {
    RCPT_KNOWN,       /* ours, and an alias, a virtual entry or "mailboxes = any" takes it */
    RCPT_ASK_ACCOUNT, /* ours: known if the keeper has account `mailbox` */
    RCPT_ASK_SYSTEM,  /* ours: known if the system has user `mailbox` */
    RCPT_FOREIGN      /* not ours: only for those who may relay */
};
struct routing_answer {
    enum routing_rcpt verdict;
    const struct config_domain *domain; /* NULL when foreign */
    struct vr_str mailbox; /* what to ask the keeper for: "user@domain", delimiter cut, as address_key has it */
    bool catch_all;        /* when the keeper says no: is there a catch-all? */
};
/* <postmaster> without a domain is ours always (RFC 5321 §4.5.1); postmaster@own-domain is known always. */
enum vr_err routing_check(const struct config *c, struct vr_arena *arena, const struct address *rcpt,
                          struct routing_answer *out);

/* Where an SRS address of ours leads (srs.h): SRS_GOOD, and *out is in the arena. SRS_NONE: it is none, or of another domain. now: seconds since 1970; negative:
 * its age does not count any more. */
enum srs_verdict routing_srs(const struct config *c, struct vr_arena *arena, const struct address *a, int64_t now,
                             struct address *out);
/* The reverse path with which mail from `reverse_path` is forwarded: {NULL,0}: as it is, since it is null or of a domain of ours, there is no
 * `srs.domain`, or the new one would be longer than a path may be. */
struct vr_str routing_srs_forward(const struct config *c, struct vr_arena *arena, struct vr_str reverse_path, int64_t now);

/* The route of a domain that is not ours; NULL: none, its MX hosts are asked. */
const struct config_route *routing_route(const struct config *c, struct vr_str domain);
/* Does an alias or a line of a virtual table stand for this address of ours? */
bool routing_is_alias(const struct config *c, struct vr_arena *arena, const struct address *a);

/* Do mails to `alias_address` go straight to this account (one step of its aliases)? Then the account may send as it. */
bool routing_alias_of(const struct config *c, struct vr_str alias_address, struct vr_str account);

struct routing_target {
    struct vr_str address; /* canonical text of where it goes now: in U-labels or A-labels, as it was given */
    struct next_hop next_hop;
    struct vr_str mailbox; /* MAILDIR: the account's or user's name, delimiter cut: "user@domain" */
    struct routing_target *next;
};
/* Expands one recipient to its final targets: SRS addresses of ours to the sender that they lead to, aliases nested (each address once; a loop ends quietly when other targets are found, else is NEXT_HOP_ERROR
 * "5.4.6 …"), :include: files (read when the configuration was loaded), virtual tables, catch_all when flagged, then routes.
 * At most 10,000 targets and 50 levels. Order is kept, duplicates dropped. An alias that names itself means its own mailbox ("joe: joe, archive").
 * *out is never NULL with VR_OK. VR_ERR_TOO_BIG: the arena is full (10,000 targets want some 4 MiB). */
enum vr_err routing_expand(const struct config *c, struct vr_arena *arena, struct vr_str address,
                           bool catch_all, struct routing_target **out);

#endif
