/* published.h - what follows from the configuration for what a domain publishes of itself.
 *
 * Tests: tests/unit/dns_plan.c
 */
#ifndef CONFIG_PUBLISHED_H
#define CONFIG_PUBLISHED_H

#include "config/config.h"

/* The hosts that take the domain's mail; names live with the configuration. */
size_t published_mx(const struct config *c, const struct config_domain *d, const struct vr_str **out);
/* Appends the domain's MTA-STS policy (RFC 8461 §3.2). False: it has none (mta_sts = none), or it does not fit. */
bool published_mta_sts(const struct config *c, const struct config_domain *d, struct vr_buf *out);
/* The id of a policy: it changes when the policy does (RFC 8461 §3.1). */
#define PUBLISHED_ID_SIZE 21
void published_mta_sts_id(struct vr_str policy, char out[PUBLISHED_ID_SIZE]);

#endif
