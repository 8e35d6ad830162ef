/* srs.c - what a forwarder does with a reverse path: it goes out as one of its own domain, and a bounce finds back.
 *
 * A real forwarder reads its secrets from a file that nobody else can, and takes the time from a clock.
 */
#include <veredus/srs.h>

#include <stdio.h>

static bool come_back(const struct srs *srs, struct vr_str local, int64_t now, struct vr_arena *arena)
{
    struct address sender;
    enum srs_verdict v = srs_reverse(srs, local, now, arena, &sender);
    struct vr_str text = v == SRS_GOOD ? address_text(arena, &sender) : VR_STR("nowhere");
    printf("%.*s is %s: it leads to %.*s\n", VR_STR_ARG(local), srs_verdict_name(v), VR_STR_ARG(text));
    return v == SRS_GOOD;
}

int main(void)
{
    const struct vr_str secrets[] = {VR_STR("the secret of this year"), VR_STR("that of last year")};
    struct srs srs = {.domain = VR_STR("forwarder.example"), .secrets = secrets, .secret_count = 2};
    struct address ann = {.local = VR_STR("ann"), .domain = VR_STR("example.org")}, out;
    struct vr_arena arena;
    int64_t now = 1750000000, day = 86400;

    vr_arena_init(&arena, 8192);
    bool good = srs_forward(&srs, &ann, now, &arena, &out) == VR_OK;
    printf("MAIL FROM:<%.*s>\n", VR_STR_ARG(address_text(&arena, &out)));
    good = good && come_back(&srs, out.local, now + 3 * day, &arena);   /* a bounce */
    good = good && !come_back(&srs, out.local, now + 30 * day, &arena); /* somebody collects addresses */
    good = good && !come_back(&srs, VR_STR("SRS0=AAAA=AA=victim.example=ann"), now,
                              &arena); /* somebody makes one up */
    vr_arena_fini(&arena);
    return good ? 0 : 1;
}
