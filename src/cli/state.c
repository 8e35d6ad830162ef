/* state.c - see state.h. No server needs to run; the keeper's user owns what root's commands make, so that both get at it.
 *
 * Tests: tests/e2e/test_tools.py, tests/e2e/test_sign.py
 */
#include "cli/state.h"

#include "io/io.h"
#include "io/process.h"

#include <errno.h>
#include <stdio.h>

#define DEFAULT_STATE "/var/lib/veredus"
#define STATE_MODE    0711 /* as the supervisor makes it (supervisor/folders.c) */

bool cli_state_find(struct cli_state *s)
{
    s->load = config_load_file(s->config_path);
    s->config = s->load->config;
    if (s->folder == NULL && s->config == NULL && s->config_given) {
        const struct config_problem *p = s->load->problems;
        while (p != NULL && p->warning)
            p = p->next;
        fprintf(stderr, "%s: %s:%d: %s; `veredus check --config %s` says more, --state DIR does without it\n",
                s->self, p != NULL ? p->file : s->config_path, p != NULL ? p->line : 0,
                p != NULL ? p->message : "cannot be read", s->config_path);
        return false;
    }
    if (s->folder == NULL)
        s->folder = s->config != NULL ? s->config->state : DEFAULT_STATE;
    return true;
}

void cli_state_free(struct cli_state *s)
{
    config_load_free(s->load);
}

bool cli_state_keeper(const struct cli_state *s, struct io_user *out)
{
    /* without that user it is not installed for the privileged mode: whoever runs `serve --foreground` owns all */
    return io_is_root() && s->config != NULL && io_user_by_name(s->config->user_keeper, out) == 0;
}

bool cli_state_give(const struct cli_state *s, const char *path)
{
    struct io_user keeper;
    if (!cli_state_keeper(s, &keeper))
        return true;
    int status = io_fs_chown(path, keeper.uid, keeper.gid);
    if (status != 0)
        fprintf(stderr, "%s: cannot give %s to the user %s: %s\n", s->self, path, keeper.name,
                io_error_text(status));
    return status == 0;
}

bool cli_state_make(const struct cli_state *s)
{
    struct io_fs_stat st;
    if (io_fs_stat(s->folder, &st) != -ENOENT)
        return true;
    int status = io_fs_mkdir_all(s->folder, STATE_MODE);
    if (status != 0) {
        fprintf(stderr, "%s: cannot make the folder %s: %s%s\n", s->self, s->folder, io_error_text(status),
                io_is_root() ? "" : " (not root: name a folder of your own with --state)");
        return false;
    }
    return cli_state_give(s, s->folder);
}
