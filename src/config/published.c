/* published.c - see published.h. */
#include "config/published.h"

#include <veredus/mtasts.h>

#include <openssl/evp.h>
#include <stdio.h>

size_t published_mx(const struct config *c, const struct config_domain *d, const struct vr_str **out)
{
    *out = d->publish.mx_count > 0 ? d->publish.mx : &c->hostname;
    return d->publish.mx_count > 0 ? d->publish.mx_count : 1;
}

bool published_mta_sts(const struct config *c, const struct config_domain *d, struct vr_buf *out)
{
    const struct vr_str *mx;
    size_t n = published_mx(c, d, &mx);
    const struct mtasts_policy policy = {
        .mode = d->publish.mta_sts == MTA_STS_ENFORCE ? MTASTS_ENFORCE : MTASTS_TESTING,
        .max_age = (uint32_t)(d->publish.mta_sts_max_age / 1000),
        .mx = mx,
        .mx_count = n,
    };
    return d->publish.mta_sts != MTA_STS_NONE && mtasts_policy_write(out, &policy);
}

void published_mta_sts_id(struct vr_str policy, char out[PUBLISHED_ID_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    EVP_Digest(policy.p, policy.n, digest, NULL, EVP_sha256(), NULL);
    for (size_t i = 0; i < (PUBLISHED_ID_SIZE - 1) / 2; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
