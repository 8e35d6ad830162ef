/* state.h - commands that change what is in the `state` folder themselves: where it is, and whose its files are. */
#ifndef CLI_STATE_H
#define CLI_STATE_H

#include "config/config.h"
#include "io/fs.h"

struct cli_state {
    const char *self; /* "veredus account", for messages */
    const char *config_path;
    bool config_given;
    const char *folder;          /* of --state; NULL: the configuration's, or the default */
    const struct config *config; /* found; NULL: none could be read */
    struct config_load *load;
};

/* Reads the configuration and settles `folder`. False after having said why: a configuration was named that has errors. */
bool cli_state_find(struct cli_state *s);
void cli_state_free(struct cli_state *s);
/* Makes the folder where there is none. False after having said why. */
bool cli_state_make(const struct cli_state *s);
/* Root, and the keeper's user is there: then files are given to him. */
bool cli_state_keeper(const struct cli_state *s, struct io_user *out);
/* The same done, for one path. False after having said why. */
bool cli_state_give(const struct cli_state *s, const char *path);

#endif
