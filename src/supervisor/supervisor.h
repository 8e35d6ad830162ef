/* supervisor.h - starts, wires, watches, restarts and reloads the other processes.
 *
 * Runs as root in the privileged mode; parses nothing from the network. It forks every child from one parsed
 * configuration and joins those that speak with each other by socket pairs (the table `wires`).
 */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include "config/config.h"

struct supervisor_options {
    bool foreground;         /* no user changes, no confinement; folders are made as the caller */
    const char *config_path; /* read again at SIGHUP; NULL: the configuration came as text and is kept */
};

/* Takes the configuration over; returns the exit code when all has ended (SIGTERM, SIGINT: 0). */
int supervisor_run(struct config *config, const struct supervisor_options *options);

#endif
