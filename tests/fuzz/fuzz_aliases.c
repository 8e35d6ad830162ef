/* fuzz_aliases.c - any bytes as an alias file and as a virtual table: loading ends, and so does every expansion, with at least one target. */
#include "config/config.h"
#include "config/routing.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expand(const struct config *c, const char *address, bool catch_all)
{
    struct vr_arena arena;
    struct routing_target *t;
    vr_arena_init(&arena, 1 << 26);
    enum vr_err e = routing_expand(c, &arena, vr_str_from(address), catch_all, &t);
    assert(e == VR_OK && t);
    for (; t; t = t->next) {
        assert(t->address.n > 0);
        assert(t->next_hop.kind >= NEXT_HOP_MX && t->next_hop.kind <= NEXT_HOP_ERROR);
        assert(t->next_hop.kind != NEXT_HOP_ERROR || t->next_hop.host.p[0] == '5');
    }
    vr_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_str bytes = vr_str((const char *)data, size);
    if (size > 65536 || vr_str_find_str(bytes, VR_STR("/dev")) != VR_NPOS ||
        vr_str_find_str(bytes, VR_STR("/proc")) != VR_NPOS)
        return 0; /* :include: may name any file: none that never ends */
    int fd = memfd_create("aliases", MFD_CLOEXEC);
    assert(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
    for (int is_virtual = 0; is_virtual < 2; is_virtual++) {
        char text[256];
        snprintf(text, sizeof text,
                 "hostname = \"a.b\"\ndomain \"a.b\" { %s = \"/proc/self/fd/%d\" }\ndomain \"c.b\" { }\n",
                 is_virtual ? "virtual" : "aliases", fd);
        struct config_load *l = config_load_text("fuzz.conf", vr_str_from(text));
        if (l->config) {
            static const char *const addresses[] = {"a@a.b", "b@a.b",          "a+b@a.b",   "A@A.B",
                                                    "a@c.b", "postmaster@a.b", "postmaster"};
            for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
                expand(l->config, addresses[i], false);
                expand(l->config, addresses[i], true);
                routing_alias_of(l->config, vr_str_from(addresses[i]), VR_STR("a@a.b"));
            }
        }
        config_load_free(l);
    }
    close(fd);
    return 0;
}
