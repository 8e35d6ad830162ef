/* fuzz_config.c - any text as a configuration: it loads, or every error has a place; what loads prints to something that loads the same. */
#include "config/config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print_and_load_again(const struct config *c)
{
    struct vr_buf first, second;
    vr_buf_init(&first, 1 << 24);
    vr_buf_init(&second, 1 << 24);
    assert(config_print(c, &first));
    struct config_load *again = config_load_text("printed.conf", vr_buf_str(&first));
    bool login = false; /* passwords are not printed: a user then has none */
    for (size_t i = 0; i < c->route_count; i++)
        login |= c->routes[i].user.n > 0;
    if (!login) {
        assert(again->config && config_print(again->config, &second));
        assert(vr_str_equal(vr_buf_str(&first), vr_buf_str(&second)));
    }
    config_load_free(again);
    vr_buf_fini(&first);
    vr_buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_str text = vr_str((const char *)data, size);
    if (size > 65536 || vr_str_find_str(text, VR_STR("/dev")) != VR_NPOS ||
        vr_str_find_str(text, VR_STR("/proc")) != VR_NPOS)
        return 0; /* an include may name any file: none that never ends */
    struct config_load *l = config_load_text("fuzz.conf", text);
    assert((l->errors == 0) == (l->config != NULL));
    const struct config_problem *before = NULL;
    for (const struct config_problem *p = l->problems; p; p = p->next) {
        assert(p->line >= 1 && p->message[0] && p->file[0]);
        assert(!before || strcmp(before->file, p->file) < 0 ||
               (strcmp(before->file, p->file) == 0 && before->line <= p->line));
        before = p;
    }
    if (l->config)
        print_and_load_again(l->config);
    config_load_free(l);
    return 0;
}
